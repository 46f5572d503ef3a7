//! How the numbers of each treatment are spread: every trial as a dot, and the quartiles as a box. Knows no other plot.

use super::axis::{Axis, Chart, Format, Frame, mesh, rules};
use super::backend::Drawn;
use super::mark::{Dots, INK, MOST, Mark, Shape, Told, Tone, pen, wash};
use super::paper::{COLUMNS, EDGE, LINE, Side, WIDTH, finish, heading, line, notes, text, whole, wrap};
use super::samples::axis_title;
use super::trials::{Trials, best, tones};
use super::{Plot, PlotKind};
use crate::design::Role;
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::{PathElement, Rectangle};
use plotters::style::Color;

/// Height of a treatment's dots.
const STRIP: f64 = 30.0;
/// Half the height of a row's lines, of which the dots take 1.
const REACH: f64 = 1.0 + 8.0 / STRIP;
/// Trials of which each can be pointed at.
const POINTED: usize = 3000;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    let trials = Trials::new(report, &report.header.protocol.response().metric);
    let some = (0..trials.names.len()).any(|t| trials.counted(t).next().is_some());
    (!some).then(|| "no trial of a judged block gave a number".into())
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let metric = &report.header.protocol.response().metric;
    let trials = Trials::new(report, metric);
    let values: Vec<Vec<f64>> = sorted_values(&trials);
    let all = || values.iter().flatten().copied();
    let format = Format::of(
        report.header.protocol.unit(metric),
        all().map(f64::abs).fold(0.0, f64::max),
    );
    let axis = Axis::over(all(), 6, &format);
    let tones = tones(report, MOST);
    let (title, top) = heading(4.0, &axis_title(report, &format));
    let middle = Quartiles::of(&values[0]).map(|q| q.middle);
    let mut y = top;
    let mut rows = Vec::new();
    let mut said = Vec::new();
    let pointed = trials.points.len() <= POINTED;
    for treatment in order(report) {
        let Some(quartiles) = Quartiles::of(&values[treatment]) else {
            continue;
        };
        let tone = tones[treatment];
        let row = Row {
            trials: &trials,
            treatment,
            tone,
            quartiles,
            baseline: middle,
            pointed: pointed || tone.is_some(),
        };
        let (part, next) = row.draw(&axis, y, !rows.is_empty())?;
        rows.push(part);
        said.push(row.says());
        y = next;
    }
    let bottom = y + 4.0;
    let mut told =
        vec!["Each dot is a trial; the box holds the middle half, its line is the median.".to_string()];
    if middle.is_some() {
        told.push("The dashed line is the baseline's median.".into());
    }
    if !pointed && tones.iter().any(Option::is_none) {
        told.push(format!(
            "Of more than {POINTED} trials only those with a colour tell what they are."
        ));
    }
    let (told, end) = notes(bottom + LINE + 8.0, &told);
    let scale = Frame::wide(bottom - 8.0, bottom).chart((&axis, &Axis::bare(0.0..1.0)), |c| mesh(c, true))?;
    let body = html! {
        (title)
        (scale)
        @for row in &rows { (row) }
        (told)
    };
    let description = format!("{}. {}", axis_title(report, &format), said.join("; "));
    Ok(finish(
        PlotKind::Distributions,
        "How the numbers of each treatment are spread",
        &description,
        end + 8.0,
        &body,
    ))
}

/// The baseline, its repeats, then the candidates, the largest gain first.
fn order(report: &Report<'_>) -> Vec<usize> {
    let treatments = report.header.plan.treatments.iter().enumerate();
    let own = treatments
        .filter(|(place, t)| *place == 0 || t.role != Role::Listed)
        .map(|(place, _)| place);
    let mut order: Vec<_> = own.collect();
    for place in best(report) {
        if !order.contains(&place) {
            order.push(place);
        }
    }
    order
}

/// By treatment.
fn sorted_values(trials: &Trials) -> Vec<Vec<f64>> {
    let mut values = vec![Vec::new(); trials.names.len()];
    for point in trials.points.iter().filter(|p| p.counts()) {
        values[point.treatment].extend(point.value);
    }
    for values in &mut values {
        values.sort_by(f64::total_cmp);
    }
    values
}

/// The quartiles of some sorted numbers, and how many they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quartiles {
    pub(super) low: f64,
    pub(super) middle: f64,
    pub(super) high: f64,
    pub(super) count: usize,
}

impl Quartiles {
    /// `None` of nothing. Between two numbers by a straight line (Hyndman and Fan 1996, type 7).
    pub(super) fn of(sorted: &[f64]) -> Option<Self> {
        let at = |share: f64| {
            let place = share * sorted.len().checked_sub(1)? as f64;
            let below = sorted.get(whole(place))?;
            let above = sorted.get(whole(place.ceil()))?;
            Some(below + (above - below) * place.fract())
        };
        Some(Self {
            low: at(0.25)?,
            middle: at(0.5)?,
            high: at(0.75)?,
            count: sorted.len(),
        })
    }
}

struct Row<'a> {
    trials: &'a Trials,
    treatment: usize,
    tone: Option<Tone>,
    quartiles: Quartiles,
    /// The baseline's median.
    baseline: Option<f64>,
    pointed: bool,
}

impl Row<'_> {
    fn says(&self) -> String {
        let Quartiles {
            low,
            middle,
            high,
            count,
        } = self.quartiles;
        format!(
            "{}: median {}, middle half {} to {}, {count} trials",
            self.trials.names[self.treatment],
            wording::number(middle),
            wording::number(low),
            wording::number(high)
        )
    }

    fn draw(&self, axis: &Axis, top: f64, ruled: bool) -> Drawn<(Markup, f64)> {
        let names = wrap(&self.trials.names[self.treatment], COLUMNS, 3);
        let base = top + 18.0;
        let strip = base + LINE * (names.len() - 1) as f64 + 7.0;
        let end = strip + STRIP + 8.0;
        let across = Axis::bare(-REACH..REACH);
        let chart = Frame::wide(strip, end).chart((axis, &across), |chart| self.strip(chart))?;
        let markup = html! {
            @if ruled { (line((EDGE, top), (WIDTH - EDGE, top), 0.1)) }
            @for (place, name) in names.iter().enumerate() {
                (text(EDGE, base + LINE * place as f64, Side::Start, name))
            }
            (chart)
        };
        Ok((markup, end + 4.0))
    }

    /// The box, the dots above it, and the median above both; 1 is half of the strip's height.
    fn strip(&self, chart: &mut Chart<'_>) -> Drawn<()> {
        rules(chart)?;
        let up = |x: f64, reach: f64, style| PathElement::new([(x, -reach), (x, reach)], style);
        let baseline = self.baseline.map(|x| up(x, REACH, pen(&INK, 0.55, 1.0)));
        chart.draw_series(baseline.map(Told::dashed))?;
        let tone = self.tone.unwrap_or(Tone::Quiet);
        let corners = [(self.quartiles.low, 0.8), (self.quartiles.high, -0.8)];
        chart.draw_series([
            Told::of(Rectangle::new(corners, wash(&tone, 0.22)), None, self.says()),
            Told::of(Rectangle::new(corners, pen(&tone, 0.7, 1.0)), None, self.says()),
        ])?;
        let dots = self.trials.counted(self.treatment).map(|(point, value)| {
            // Spread in height by their order, so that equal numbers are told apart.
            let spread = f64::from(point.order.wrapping_mul(7919) % 13) / 12.0 - 0.5;
            (point, (value, 1.3 * spread))
        });
        if self.pointed {
            chart.draw_series(dots.map(|(point, at)| {
                let title = self.trials.tell(point);
                Mark::new(at, Shape::Dot, 2.8, &tone.mix(0.75)).told(Some(point.id()), title)
            }))?;
        } else {
            let (places, style) = (dots.map(|(_, at)| at).collect(), pen(&tone, 0.5, 4.0));
            chart.draw_series([Dots { places, style }])?;
        }
        chart.draw_series([up(self.quartiles.middle, 1.0, pen(&tone, 1.0, 3.0))])?;
        Ok(())
    }
}
