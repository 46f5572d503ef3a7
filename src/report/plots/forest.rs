//! Changes with their intervals below each other, on one axis, with the lines that matter: none, the smallest effect of
//! interest, a margin. Knows no comparison.

use super::axis::{Axis, Chart, Format, Frame, mesh, rules, title_below};
use super::backend::Drawn;
use super::element::{Mark, Told};
use super::mark::{INK, Shape, Tone, pen, wash};
use super::paper::{COLUMNS, EDGE, LINE, Side, WIDTH, finish, heading, line, notes, text, wrap};
use super::{Plot, PlotKind};
use crate::analysis::Effect;
use crate::experiment::Goal;
use crate::report::wording;
use maud::{Markup, html};
use plotters::element::{PathElement, Rectangle};

/// Of the part of a row that has the interval.
const BAND: f64 = 22.0;
/// Most lines of a name.
const LINES: usize = 4;
/// An interval this many times as wide as the middle one is cut, with an arrow at the cut.
const WIDEST: f64 = 12.0;

/// One change.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) name: String,
    /// In percent.
    pub(super) change: Option<f64>,
    pub(super) interval: Option<(f64, f64)>,
    pub(super) tone: Tone,
    pub(super) shape: Shape,
    /// What is said of it, in a word or two.
    pub(super) word: String,
    /// For whatever points at it.
    pub(super) title: String,
}

impl Row {
    /// A row of an effect on which something is said in `word`.
    pub(super) fn new(name: &str, effect: &Effect, (tone, shape): (Tone, Shape), word: &str) -> Self {
        let change = wording::change(effect);
        Self {
            name: name.into(),
            change: effect.change_percent().filter(|c| c.is_finite()),
            interval: effect.change_interval_percent().map(|i| (i.low, i.high)),
            tone,
            shape,
            word: word.into(),
            title: format!("{name}: {change}, {word}, {} blocks", effect.blocks),
        }
    }
}

/// Rows on one axis.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    /// Of the metric.
    pub(super) goal: Goal,
    pub(super) rows: Vec<Row>,
    /// Changes smaller than this are of no interest, in percent.
    pub(super) smallest: Option<f64>,
    /// The change that a guard does not let pass, in percent.
    pub(super) margin: Option<f64>,
    /// What the axis and the intervals are.
    pub(super) notes: Vec<String>,
}

/// A plot of these panels.
pub(super) fn below_each_other(kind: PlotKind, title: &str, panels: &[Panel]) -> Drawn<Plot> {
    let mut top = 4.0;
    let mut parts = Vec::new();
    for panel in panels {
        let (part, next) = panel.draw(top)?;
        parts.push(part);
        top = next;
    }
    let said: Vec<_> = panels.iter().map(Panel::says).collect();
    let body = html! { @for part in &parts { (part) } };
    Ok(finish(kind, title, &said.join(". "), top, &body))
}

impl Panel {
    /// The panel from `top`; where the next may begin.
    pub(super) fn draw(&self, top: f64) -> Drawn<(Markup, f64)> {
        let (title, mut y) = heading(top, &self.title);
        let axis = self.axis();
        let mut drawn = Vec::new();
        for (place, row) in self.rows.iter().enumerate() {
            let (part, next) = self.row(&axis, row, y, place > 0)?;
            drawn.push(part);
            y = next;
        }
        let bottom = y + 2.0;
        let (worse, better) = match self.goal {
            Goal::Maximize => ("◂ worse", "better ▸"),
            Goal::Minimize => ("◂ better", "worse ▸"),
        };
        let (notes, end) = notes(bottom + 2.0 * LINE + 4.0, &self.notes());
        let scale = Frame::wide(bottom - 6.0, bottom)
            .chart((&axis, &Axis::bare(-1.0..1.0)), |chart| mesh(chart, true))?;
        let markup = html! {
            (title)
            (scale)
            @for part in &drawn { (part) }
            (title_below(bottom + LINE, "change against the baseline"))
            (super::paper::small(EDGE, bottom + 2.0 * LINE - 5.0, Side::Start, worse))
            (super::paper::small(WIDTH - EDGE, bottom + 2.0 * LINE - 5.0, Side::End, better))
            (notes)
        };
        Ok((markup, end + LINE))
    }

    /// Every row in words.
    pub(super) fn says(&self) -> String {
        let rows: Vec<_> = self.rows.iter().map(|r| r.title.as_str()).collect();
        format!("{}: {}", self.title, rows.join("; "))
    }

    /// The widest interval that is drawn whole.
    fn widest(&self) -> f64 {
        let mut widths: Vec<_> = self
            .rows
            .iter()
            .filter_map(|r| r.interval)
            .map(|(l, h)| h - l)
            .collect();
        widths.retain(|w| w.is_finite());
        widths.sort_by(f64::total_cmp);
        widths
            .get(widths.len() / 2)
            .map_or(f64::INFINITY, |middle| (WIDEST * middle).max(1.0))
    }

    fn axis(&self) -> Axis {
        let widest = self.widest();
        let ends = self.rows.iter().flat_map(|row| {
            let centre = row.change.unwrap_or(0.0);
            let (low, high) = row.interval.unwrap_or((centre, centre));
            [low.max(centre - widest), high.min(centre + widest), centre]
        });
        let smallest = self.smallest.into_iter().flat_map(|s| [s, -s]);
        Axis::over(
            ends.chain(smallest).chain(self.margin).chain([0.0]),
            6,
            &Format::percent(),
        )
    }

    /// What a row is seen against.
    fn guides(&self, chart: &mut Chart<'_>) -> Drawn<()> {
        if let Some(smallest) = self.smallest {
            let band = Rectangle::new([(-smallest, -1.0), (smallest, 1.0)], wash(&INK, 0.08));
            chart.draw_series([band])?;
        }
        rules(chart)?;
        let up = |x: f64, style| PathElement::new([(x, -1.0), (x, 1.0)], style);
        chart.draw_series([up(0.0, pen(&INK, 0.6, 1.0))])?;
        let margin = self
            .margin
            .map(|m| Told::dashed(up(m, pen(&Tone::Bad, 1.0, 1.5))));
        chart.draw_series(margin)?;
        Ok(())
    }

    fn row(&self, axis: &Axis, row: &Row, top: f64, ruled: bool) -> Drawn<(Markup, f64)> {
        let change = row.change.map(wording::percent).unwrap_or_default();
        let said = format!("{change} {}", row.word).trim().replacen('-', "−", 1);
        let mut names = wrap(&row.name, COLUMNS, LINES);
        let room = COLUMNS.saturating_sub(said.chars().count() + 3);
        if names.first().is_some_and(|name| name.chars().count() > room) {
            // Where name and verdict do not fit beside each other, the verdict has a line of its own.
            names.push(String::new());
        }
        let base = top + 18.0;
        let last = base + LINE * (names.len() - 1) as f64;
        let first = if names.last().is_some_and(String::is_empty) {
            last
        } else {
            base
        };
        let y = last + BAND / 2.0 + 6.0;
        // From its centre to both sides.
        let across = Axis::bare(-1.0..1.0);
        let band = Frame::wide(y - BAND / 2.0, y + BAND / 2.0 + 4.0).chart((axis, &across), |chart| {
            self.guides(chart)?;
            self.bar(chart, row)
        })?;
        let markup = html! {
            @if ruled { (line((EDGE, top), (WIDTH - EDGE, top), 0.1)) }
            @for (place, name) in names.iter().enumerate() {
                (text(EDGE, base + LINE * place as f64, Side::Start, name))
            }
            (row.tone.paint(&html! {
                text x=(super::paper::n(WIDTH - EDGE)) y=(super::paper::n(first)) text-anchor="end" font-weight="600" { (said) }
            }))
            (band)
        };
        Ok((markup, y + BAND / 2.0 + 4.0))
    }

    /// The interval, cut where it is very wide, and the estimate's sign on it.
    fn bar(&self, chart: &mut Chart<'_>, row: &Row) -> Drawn<()> {
        let widest = self.widest();
        let centre = row.change.unwrap_or(0.0);
        if let Some((low, high)) = row.interval {
            let bar = PathElement::new([(low, 0.0), (high, 0.0)], pen(&row.tone, 1.0, 3.0));
            chart.draw_series([Told::of(bar, None, row.title.clone())])?;
            let cuts = [
                (low < centre - widest).then_some((low, Shape::Left)),
                (high > centre + widest).then_some((high, Shape::Right)),
            ];
            let arrow = |(end, shape)| Mark::new((end, 0.0), shape, 6.0, &row.tone);
            chart.draw_series(cuts.into_iter().flatten().map(arrow))?;
        }
        let sign = |change| Mark::new((change, 0.0), row.shape, 5.5, &row.tone).told(None, row.title.clone());
        chart.draw_series(row.change.map(sign))?;
        Ok(())
    }

    fn notes(&self) -> Vec<String> {
        let smallest = self.smallest.map(|s| {
            let s = trimmed(s);
            format!("Shaded: less than the smallest effect of interest, ±{s} %.")
        });
        let margin = self.margin.map(|m| {
            let sign = if m < 0.0 { "−" } else { "+" };
            format!("Dashed: the guard's margin, {sign}{} %.", trimmed(m.abs()))
        });
        let cut = self
            .rows
            .iter()
            .any(|r| r.interval.is_some_and(|(l, h)| h - l > self.widest()));
        let cut = cut.then(|| "An arrow: the interval goes on.".to_string());
        smallest
            .into_iter()
            .chain(margin)
            .chain(cut)
            .chain(self.notes.iter().cloned())
            .collect()
    }
}

/// Shares such as 0.05 are not exact in binary; no margin is finer than this.
fn trimmed(percent: f64) -> f64 {
    (percent * 1e6).round() / 1e6
}
