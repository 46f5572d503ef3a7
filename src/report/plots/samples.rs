//! Every trial in the order it was run, block by block: drift shows as a slope. Knows no other plot.

use super::axis::{Axis, Chart, Format, Frame, mesh, ticks_beside, title_below};
use super::backend::Drawn;
use super::mark::{Dots, INK, MOST, Mark, Shape, Told, Tone, pen, wash};
use super::paper::{COLUMNS, EDGE, LINE, Side, finish, heading, notes, text, wrap};
use super::trials::{Point, State, Trials, tones};
use super::{Plot, PlotKind};
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::{PathElement, Rectangle};
use plotters::style::Color;
use std::ops::Range;

const HEIGHT: f64 = 300.0;
/// Trials of which each can be pointed at. Of a longer run the treatments without a colour are one faint path of dots.
const POINTED: usize = 3000;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    report.records.is_empty().then(|| "the run has no trials".into())
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let response = report.header.protocol.response();
    let trials = Trials::new(report, &response.metric);
    let picture = Picture::new(report, &trials);
    let (title, top) = heading(4.0, &picture.title);
    let (body, mut y) = picture.draw(top + 6.0)?;
    let (legend, next) = picture.legend(y)?;
    y = next;
    let (told, end) = notes(y, &picture.notes());
    Ok(finish(
        PlotKind::Samples,
        "Every trial in the order it was run",
        &picture.description(),
        end + 8.0,
        &html! { (title) (body) (legend) (told) },
    ))
}

struct Picture<'a> {
    trials: &'a Trials,
    tones: Vec<Option<Tone>>,
    title: String,
    format: Format,
    /// Along the axis below: orders of trials.
    orders: Range<f64>,
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
            orders: ends.0.map_or(0.0, |p| f64::from(p.order)) - 0.5
                ..ends.1.map_or(1.0, |p| f64::from(p.order)) + 0.5,
            trials,
            format,
        }
    }

    fn is_lost(point: &Point) -> bool {
        point.value.is_none()
    }

    fn draw(&self, top: f64) -> Drawn<(Markup, f64)> {
        let points = &self.trials.points;
        let bottom = top + HEIGHT;
        let has_lost = points.iter().any(Self::is_lost);
        let floor = if has_lost { bottom + 22.0 } else { bottom };
        let blocks = blocks(points.iter().map(|p| (p.block, f64::from(p.order))));
        let orders = Axis::bare(self.orders.clone());
        let all = points.iter().filter_map(|p| p.value);
        let values = Axis::over(all, ticks_beside(HEIGHT), &self.format);
        let below = Axis::named(self.orders.clone(), numbers(&blocks));
        // What gave no number stands in a row of its own.
        let lost = Axis::named(-1.0..1.0, vec![(0.0, "none".into())]);
        let (main, row) = (Frame::beside(top, bottom), Frame::beside(bottom, floor));
        let x = if has_lost { &orders } else { &below };
        let main = main.chart((x, &values), |chart| {
            shade(chart, &blocks, &values)?;
            mesh(chart, false)?;
            let joined = self
                .trials
                .counted(0)
                .map(|(p, value)| (f64::from(p.order), value));
            let line = PathElement::new(joined.collect::<Vec<_>>(), pen(&Tone::Quiet, 0.55, 1.2));
            chart.draw_series([line])?;
            self.points(chart, |p| p.value)
        })?;
        let row = has_lost.then(|| {
            row.chart((&below, &lost), |chart| {
                shade(chart, &blocks, &lost)?;
                mesh(chart, false)?;
                self.points(chart, |p| Self::is_lost(p).then_some(0.0))
            })
        });
        let markup = html! {
            (main)
            @if let Some(row) = row { (row?) }
            (title_below(floor + LINE, "block; in each, the trials in the order they were run"))
        };
        Ok((markup, floor + 2.0 * LINE + 6.0))
    }

    /// What has a colour stands above what has none.
    fn points(&self, chart: &mut Chart<'_>, height: impl Fn(&Point) -> Option<f64>) -> Drawn<()> {
        let r = if self.trials.points.len() > 400 { 2.4 } else { 3.6 };
        let mut layers: [Vec<_>; MOST + 2] = Default::default();
        let mut faint = Vec::new();
        let pointed = self.trials.points.len() <= POINTED;
        for point in &self.trials.points {
            let Some(y) = height(point) else { continue };
            let at = (f64::from(point.order), y);
            let tone = self.tones.get(point.treatment).copied().flatten();
            if tone.is_none() && !pointed && point.state == State::Counted {
                faint.push(at);
                continue;
            }
            let layer = match tone {
                None => 0,
                Some(Tone::Series(series)) => series + 2,
                Some(_) => 1,
            };
            layers[layer].extend(self.signs(point, at, tone, r));
        }
        let (places, style) = (faint, pen(&INK, 0.3, 2.4));
        chart.draw_series([Dots { places, style }])?;
        for layer in layers {
            chart.draw_series(layer)?;
        }
        Ok(())
    }

    /// The signs of one trial: what is not just counted has another.
    fn signs(&self, point: &Point, at: (f64, f64), tone: Option<Tone>, r: f64) -> impl Iterator<Item = Told> {
        let own = tone.map_or(Shape::Dot, Tone::shape);
        let colour = tone.map_or(INK.mix(0.3), |t| t.to_rgba());
        let (shape, r) = match point.state {
            State::Counted | State::Discarded | State::Suspect => (own, r),
            State::Unsteady => (Shape::Ring, r + 1.0),
            State::Failed => (Shape::Cross, r + 1.0),
            State::Invalid => (Shape::Plus, r + 1.0),
            State::Without => (Shape::Ring, r),
        };
        let halo = (point.state == State::Suspect)
            .then(|| Told::dashed(Mark::new(at, Shape::Ring, r + 3.5, &colour)));
        let sign = Mark::new(at, shape, r, &colour).told(Some(point.id()), self.trials.tell(point));
        halo.into_iter().chain([sign])
    }

    /// The treatments that have a colour.
    fn legend(&self, top: f64) -> Drawn<(Markup, f64)> {
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

/// Blocks that follow each other, with the first and the last place of each.
pub(super) fn blocks(places: impl Iterator<Item = (u32, f64)>) -> Vec<(u32, Range<f64>)> {
    let mut blocks: Vec<(u32, Range<f64>)> = Vec::new();
    for (block, place) in places {
        match blocks.last_mut().filter(|(last, _)| *last == block) {
            Some((_, range)) => range.end = place + 0.5,
            None => blocks.push((block, place - 0.5..place + 0.5)),
        }
    }
    blocks
}

/// The numbers of as many blocks as there is room for, each at its middle.
pub(super) fn numbers(blocks: &[(u32, Range<f64>)]) -> Vec<(f64, String)> {
    let every = blocks.len().div_ceil(12).max(1);
    let numbers = blocks.iter().step_by(every);
    numbers
        .map(|(block, range)| (f64::midpoint(range.start, range.end), block.to_string()))
        .collect()
}

/// Every other block shaded, and the discarded one more.
pub(super) fn shade(chart: &mut Chart<'_>, blocks: &[(u32, Range<f64>)], y: &Axis) -> Drawn<()> {
    let many = blocks.len() > 200;
    let shade = |(block, range): &(u32, Range<f64>)| {
        let opacity = match block {
            0 => 0.16,
            even if even.is_multiple_of(2) && !many => 0.05,
            _ => return None,
        };
        let (low, high) = (y.ends().start, y.ends().end);
        let corners = [(range.start, high), (range.end, low)];
        Some(Rectangle::new(corners, wash(&INK, opacity)))
    };
    chart.draw_series(blocks.iter().filter_map(shade))?;
    Ok(())
}

/// Signs and names of some treatments below each other; `all` is how many the run has.
pub(super) fn legend(
    shown: &[(usize, Tone)],
    names: &[String],
    all: usize,
    top: f64,
) -> Drawn<(Markup, f64)> {
    let others = match all.saturating_sub(shown.len()) {
        0 => None,
        1 => Some("1 other treatment".to_string()),
        others => Some(format!("{others} other treatments")),
    };
    let mut y = top + 14.0;
    let mut parts = Vec::new();
    for (treatment, tone) in shown {
        let name = names.get(*treatment).map_or("", String::as_str);
        parts.push(Mark::new((EDGE + 6.0, y - 4.5), tone.shape(), 4.0, tone).alone()?);
        for line in wrap(name, COLUMNS - 2, 2) {
            parts.push(text(EDGE + 20.0, y, Side::Start, &line));
            y += LINE;
        }
    }
    if let Some(others) = others {
        let dot = Mark::new((EDGE + 6.0, y - 4.5), Shape::Dot, 4.0, &INK.mix(0.3)).alone()?;
        parts.push(html! { (dot) (text(EDGE + 20.0, y, Side::Start, &others)) });
        y += LINE;
    }
    Ok((html! { @for part in &parts { (part) } }, y - 10.0))
}
