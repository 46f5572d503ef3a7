//! Every trial in the order it was run, block by block: drift shows as a slope. Knows no other plot.

use super::axis::{Axis, Format, beside, title_below};
use super::mark::{About, MOST, Shape, Tone};
use super::paper::{
    COLUMNS, EDGE, LINE, Side, WIDTH, area, finish, heading, line, n, notes, small, text, wrap,
};
use super::trials::{Point, State, Trials, tones};
use super::{Plot, PlotKind};
use crate::report::{Report, wording};
use maud::{Markup, html};
use std::fmt::Write as _;

/// Left end of the points: the labels of the axis stand before it.
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 14.0;
const HEIGHT: f64 = 300.0;
/// Trials of which each can be pointed at. Of a longer run the treatments without a colour are one faint path of dots.
const POINTED: usize = 3000;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    report.records.is_empty().then(|| "the run has no trials".into())
}

pub(super) fn draw(report: &Report<'_>) -> Plot {
    let response = report.header.protocol.response();
    let trials = Trials::new(report, &response.metric);
    let picture = Picture::new(report, &trials);
    let (title, top) = heading(4.0, &picture.title);
    let (body, mut y) = picture.draw(top + 6.0);
    let (legend, next) = picture.legend(y);
    y = next;
    let (told, end) = notes(y, &picture.notes());
    finish(
        PlotKind::Samples,
        "Every trial in the order it was run",
        &picture.description(),
        end + 8.0,
        &html! { (title) (body) (legend) (told) },
    )
}

struct Picture<'a> {
    trials: &'a Trials,
    tones: Vec<Option<Tone>>,
    title: String,
    format: Format,
    first: f64,
    last: f64,
}

impl<'a> Picture<'a> {
    fn new(report: &Report<'_>, trials: &'a Trials) -> Self {
        let metric = &report.header.protocol.response().metric;
        let unit = report.header.protocol.unit(metric);
        let largest = trials.points.iter().filter_map(|p| p.value).map(f64::abs);
        let format = Format::of(unit, largest.fold(0.0, f64::max));
        let ends = (trials.points.first(), trials.points.last());
        Self {
            title: axis_title(report, &format),
            tones: tones(report, MOST),
            first: ends.0.map_or(0.0, |p| f64::from(p.order)) - 0.5,
            last: ends.1.map_or(1.0, |p| f64::from(p.order)) + 0.5,
            trials,
            format,
        }
    }

    fn x(&self, order: f64) -> f64 {
        LEFT + 6.0 + (order - self.first) / (self.last - self.first) * (RIGHT - LEFT - 12.0)
    }

    fn is_lost(point: &Point) -> bool {
        point.value.is_none()
    }

    fn draw(&self, top: f64) -> (Markup, f64) {
        let points = &self.trials.points;
        let bottom = top + HEIGHT;
        let axis = Axis::over(points.iter().filter_map(|p| p.value), bottom - 6.0, top + 6.0);
        let has_lost = points.iter().any(Self::is_lost);
        let floor = if has_lost { bottom + 22.0 } else { bottom };
        let lost = self.points(Self::is_lost, |_| bottom + 11.0);
        let shown = self.points(|p| !Self::is_lost(p), |value| axis.at(value));
        let markup = html! {
            (self.blocks(top, floor))
            (beside(&axis, (LEFT, RIGHT), &self.format))
            @if has_lost {
                (line((LEFT, bottom), (RIGHT, bottom), 0.2))
                (small(LEFT - 6.0, bottom + 15.0, Side::End, "none"))
                (lost)
            }
            (line((LEFT, floor), (RIGHT, floor), 0.35))
            (self.baseline(&axis))
            (shown)
            (title_below(floor + LINE, "block; in each, the trials in the order they were run"))
        };
        (markup, floor + 2.0 * LINE + 6.0)
    }

    /// Every other block shaded, and the numbers of as many as there is room for.
    fn blocks(&self, top: f64, bottom: f64) -> Markup {
        let mut blocks: Vec<(u32, u32, u32)> = Vec::new();
        for point in &self.trials.points {
            match blocks.last_mut() {
                Some((block, _, last)) if *block == point.block => *last = point.order,
                _ => blocks.push((point.block, point.order, point.order)),
            }
        }
        let every = blocks.len().div_ceil(12).max(1);
        let shaded = blocks.len() <= 200;
        html! {
            @for (place, (block, first, last)) in blocks.iter().enumerate() {
                @let from = self.x(f64::from(*first) - 0.5);
                @let to = self.x(f64::from(*last) + 0.5);
                @if *block == 0 { (area(from, top, to - from, bottom - top, 0.16)) }
                @else if shaded && block.is_multiple_of(2) { (area(from, top, to - from, bottom - top, 0.05)) }
                @if place % every == 0 {
                    (small(f64::midpoint(from, to), bottom + 16.0, Side::Middle, &block.to_string()))
                }
            }
        }
    }

    /// The baseline's numbers, joined: what drifts under all treatments.
    fn baseline(&self, axis: &Axis) -> Markup {
        let mut path = String::new();
        for (point, value) in self.trials.counted(0) {
            let step = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(
                path,
                "{step}{} {}",
                n(self.x(f64::from(point.order))),
                n(axis.at(value))
            );
        }
        html! {
            @if !path.is_empty() {
                (Tone::Quiet.paint(&html! {
                    path d=(path) fill="none" stroke="currentColor" stroke-opacity=".55" stroke-width="1.2" {}
                }))
            }
        }
    }

    fn points(&self, takes: impl Fn(&Point) -> bool, y: impl Fn(f64) -> f64) -> Markup {
        let r = if self.trials.points.len() > 400 { 2.4 } else { 3.6 };
        let mut plain: Vec<String> = vec![String::new(); MOST + 2];
        let mut faint = String::new();
        let pointed = self.trials.points.len() <= POINTED;
        // What has a colour stands above what has none.
        for point in self.trials.points.iter().filter(|p| takes(p)) {
            let place = (self.x(f64::from(point.order)), y(point.value.unwrap_or(0.0)));
            let tone = self.tones.get(point.treatment).copied().flatten();
            if tone.is_none() && !pointed && point.state == State::Counted {
                let _ = write!(faint, "M{} {}h0", n(place.0), n(place.1));
                continue;
            }
            let layer = match tone {
                None => 0,
                Some(Tone::Series(series)) => series + 2,
                Some(_) => 1,
            };
            plain[layer].push_str(&self.sign(point, place, tone, r).into_string());
        }
        html! {
            @if !faint.is_empty() {
                path d=(faint) fill="none" stroke="currentColor" stroke-opacity=".3" stroke-width="2.4" stroke-linecap="round" {}
            }
            @for (layer, drawn) in plain.into_iter().enumerate().filter(|(_, drawn)| !drawn.is_empty()) {
                @let drawn = html! { (maud::PreEscaped(drawn)) };
                @match layer {
                    0 => g fill-opacity=".3" stroke-opacity=".4" { (drawn) }
                    1 => { (Tone::Quiet.paint(&drawn)) }
                    _ => { (Tone::Series(layer - 2).paint(&drawn)) }
                }
            }
        }
    }

    /// The sign of one trial: what is not just counted has another.
    fn sign(&self, point: &Point, place: (f64, f64), tone: Option<Tone>, r: f64) -> Markup {
        let title = self.trials.tell(point);
        let about = About {
            trial: Some(point.id()),
            title: &title,
        };
        let own = tone.map_or(Shape::Dot, Tone::shape);
        match point.state {
            State::Counted | State::Discarded => own.at(place, r, Some(&about)),
            State::Suspect => html! {
                circle cx=(n(place.0)) cy=(n(place.1)) r=(n(r + 3.5)) fill="none" stroke="currentColor" stroke-dasharray="2 2" {}
                (own.at(place, r, Some(&about)))
            },
            State::Unsteady => Shape::Ring.at(place, r + 1.0, Some(&about)),
            State::Failed => Shape::Cross.at(place, r + 1.0, Some(&about)),
            State::Invalid => Shape::Plus.at(place, r + 1.0, Some(&about)),
            State::Without => Shape::Ring.at(place, r, Some(&about)),
        }
    }

    /// The treatments that have a colour.
    fn legend(&self, top: f64) -> (Markup, f64) {
        let mut shown: Vec<(usize, Tone)> = Vec::new();
        let coloured = self.tones.iter().enumerate();
        shown.extend(coloured.filter_map(|(place, tone)| Some((place, (*tone)?))));
        let rank = |tone: Tone| match tone {
            Tone::Series(series) => series + 1,
            _ => 0,
        };
        shown.sort_by_key(|(_, tone)| rank(*tone));
        legend(&shown, &self.trials.names, self.tones.len() - 1, top)
    }

    fn notes(&self) -> Vec<String> {
        let has = |state| self.trials.points.iter().any(|p| p.state == state);
        let told = [
            (State::Discarded, "The darker block is discarded."),
            (State::Failed, "×: failed, no number."),
            (State::Invalid, "+: invalid, the settings did not hold."),
            (State::Unsteady, "Hollow: the workload never settled; not judged."),
            (
                State::Suspect,
                "Dashed ring: suspect, the host did not see what the workload says.",
            ),
            (
                State::Without,
                "Hollow below the plot: measured, but not this metric.",
            ),
        ];
        let states = told
            .into_iter()
            .filter(|(state, _)| has(*state))
            .map(|(_, text)| text);
        let states = states.collect::<Vec<_>>().join(" ");
        let bare = self
            .tones
            .iter()
            .enumerate()
            .any(|(t, tone)| tone.is_none() && self.trials.counted(t).next().is_some());
        let dots = (bare && self.trials.points.len() > POINTED)
            .then(|| format!("Of more than {POINTED} trials only those with a colour tell what they are."));
        let line = "The line joins the baseline's trials.".to_string();
        [line]
            .into_iter()
            .chain((!states.is_empty()).then_some(states))
            .chain(dots)
            .collect()
    }

    fn description(&self) -> String {
        let counted = self.trials.points.iter().filter(|p| p.counts()).count();
        let lost = self.trials.points.iter().filter(|p| Self::is_lost(p)).count();
        let baseline: Vec<_> = self.trials.counted(0).map(|(_, value)| value).collect();
        let ends = baseline.first().zip(baseline.last());
        let drift = ends.map(|(first, last)| {
            format!(
                " The baseline went from {} to {}.",
                wording::number(*first),
                wording::number(*last)
            )
        });
        format!(
            "{} of {} trials, {counted} of them judged, {lost} without a number.{} The numbers stand in the table of trials.",
            self.title,
            self.trials.points.len(),
            drift.unwrap_or_default()
        )
    }
}

/// The name of the first response with the unit its axis has.
pub(super) fn axis_title(report: &Report<'_>, format: &Format) -> String {
    let name = report.response_name(60);
    if format.unit.is_empty() {
        name
    } else {
        format!("{name}, {}", wording::tame(&format.unit, 20))
    }
}

/// Signs and names of some treatments below each other; `all` is how many the run has.
pub(super) fn legend(shown: &[(usize, Tone)], names: &[String], all: usize, top: f64) -> (Markup, f64) {
    let others = match all.saturating_sub(shown.len()) {
        0 => None,
        1 => Some("1 other treatment".to_string()),
        others => Some(format!("{others} other treatments")),
    };
    let mut y = top + 14.0;
    let mut parts = Vec::new();
    for (treatment, tone) in shown {
        let name = names.get(*treatment).map_or("", String::as_str);
        parts.push(tone.paint(&tone.shape().at((EDGE + 6.0, y - 4.5), 4.0, None)));
        for line in wrap(name, COLUMNS - 2, 2) {
            parts.push(text(EDGE + 20.0, y, Side::Start, &line));
            y += LINE;
        }
    }
    if let Some(others) = others {
        let dot = Shape::Dot.at((EDGE + 6.0, y - 4.5), 4.0, None);
        parts.push(html! { g fill-opacity=".3" { (dot) } (text(EDGE + 20.0, y, Side::Start, &others)) });
        y += LINE;
    }
    (html! { @for part in &parts { (part) } }, y - 10.0)
}
