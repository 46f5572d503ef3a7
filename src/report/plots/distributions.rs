//! How the numbers of each treatment are spread: every trial as a dot, and the quartiles as a box. Knows no other plot.

use super::axis::{Axis, Format, below};
use super::mark::{About, MOST, Shape, Tone};
use super::paper::{COLUMNS, EDGE, LINE, Side, WIDTH, finish, heading, line, n, notes, text, whole, wrap};
use super::samples::axis_title;
use super::trials::{Trials, best, tones};
use super::{Plot, PlotKind};
use crate::design::Role;
use crate::report::{Report, wording};
use maud::{Markup, html};
use std::fmt::Write as _;

/// Height of a treatment's dots.
const STRIP: f64 = 30.0;
/// Trials of which each can be pointed at.
const POINTED: usize = 3000;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    let trials = Trials::new(report, &report.header.protocol.response().metric);
    let some = (0..trials.names.len()).any(|t| trials.counted(t).next().is_some());
    (!some).then(|| "no trial of a judged block gave a number".into())
}

pub(super) fn draw(report: &Report<'_>) -> Plot {
    let metric = &report.header.protocol.response().metric;
    let trials = Trials::new(report, metric);
    let values: Vec<Vec<f64>> = sorted_values(&trials);
    let all = || values.iter().flatten().copied();
    let axis = Axis::over(all(), EDGE + 8.0, WIDTH - EDGE - 8.0);
    let format = Format::of(
        report.header.protocol.unit(metric),
        all().map(f64::abs).fold(0.0, f64::max),
    );
    let tones = tones(report, MOST);
    let (title, top) = heading(4.0, &axis_title(report, &format));
    let middle = Quartiles::of(&values[0]).map(|q| axis.at(q.middle));
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
        let (part, next) = row.draw(&axis, y, !rows.is_empty());
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
    let body = html! {
        (title)
        (below(&axis, (bottom - 6.0, bottom), &format))
        @for row in &rows { (row) }
        (told)
    };
    let description = format!("{}. {}", axis_title(report, &format), said.join("; "));
    finish(
        PlotKind::Distributions,
        "How the numbers of each treatment are spread",
        &description,
        end + 8.0,
        &body,
    )
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
    /// The place of the baseline's median.
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

    fn draw(&self, axis: &Axis, top: f64, ruled: bool) -> (Markup, f64) {
        let names = wrap(&self.trials.names[self.treatment], COLUMNS, 3);
        let base = top + 18.0;
        let strip = base + LINE * (names.len() - 1) as f64 + 11.0;
        let middle = strip + STRIP / 2.0;
        let says = self.says();
        let Quartiles {
            low,
            middle: median,
            high,
            ..
        } = self.quartiles;
        let (from, to) = (axis.at(low), axis.at(high));
        let tone = self.tone.unwrap_or(Tone::Quiet);
        let markup = html! {
            @if ruled { (line((EDGE, top), (WIDTH - EDGE, top), 0.1)) }
            @for (place, name) in names.iter().enumerate() {
                (text(EDGE, base + LINE * place as f64, Side::Start, name))
            }
            @for x in axis.places(6) { (line((x, strip - 4.0), (x, strip + STRIP + 4.0), 0.12)) }
            @if let Some(x) = self.baseline {
                path d={ "M" (n(x)) " " (n(strip - 4.0)) "V" (n(strip + STRIP + 4.0)) } stroke="currentColor" stroke-opacity=".55"
                    stroke-dasharray="4 3" {}
            }
            (tone.paint(&html! {
                rect x=(n(from)) y=(n(strip + 3.0)) width=(n((to - from).max(1.0))) height=(n(STRIP - 6.0)) rx="3" fill-opacity=".22"
                    stroke="currentColor" stroke-opacity=".7" { title { (says) } }
                (self.dots(axis, middle))
                path d={ "M" (n(axis.at(median))) " " (n(strip)) "V" (n(strip + STRIP)) } stroke="currentColor" stroke-width="3" {}
            }))
        };
        (markup, strip + STRIP + 8.0)
    }

    /// Spread in height by their order, so that equal numbers are told apart.
    fn dots(&self, axis: &Axis, middle: f64) -> Markup {
        let place = |order: u32, value: f64| {
            let spread = f64::from(order.wrapping_mul(7919) % 13) / 12.0 - 0.5;
            (axis.at(value), middle + spread * (STRIP - 10.0))
        };
        if !self.pointed {
            let mut path = String::new();
            for (point, value) in self.trials.counted(self.treatment) {
                let (x, y) = place(point.order, value);
                let _ = write!(path, "M{} {}h0", n(x), n(y));
            }
            return html! {
                path d=(path) fill="none" stroke="currentColor" stroke-opacity=".5" stroke-width="4" stroke-linecap="round" {}
            };
        }
        html! {
            g fill-opacity=".75" {
                @for (point, value) in self.trials.counted(self.treatment) {
                    @let title = self.trials.tell(point);
                    @let about = About { trial: Some(point.id()), title: &title };
                    (Shape::Dot.at(place(point.order, value), 2.8, Some(&about)))
                }
            }
        }
    }
}
