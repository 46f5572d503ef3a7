//! What the host did beside each trial, by the second, one trial after the other. Knows no other plot.

use super::axis::{Axis, Chart, Format, Frame, mesh, ticks_beside, title_below};
use super::backend::Drawn;
use super::mark::{MOST, Told, Tone, pen};
use super::paper::{EDGE, LINE, Side, finish, notes, text};
use super::samples::{legend, numbers, shade};
use super::trials::{Trials, tones};
use super::{Plot, PlotKind};
use crate::report::{Report, wording};
use crate::telemetry::{HostMetric, Seconds, TABLE};
use maud::{Markup, html};
use plotters::element::PathElement;
use std::collections::BTreeMap;
use std::ops::Range;

const HEIGHT: f64 = 74.0;
/// Trials of which each is a line of its own that can be pointed at; of more, each is its mean.
const POINTED: usize = 300;
/// Points of a metric in all.
const POINTS: usize = 3000;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    if !shown(report.telemetry).is_empty() {
        return None;
    }
    Some(if report.header.facts.simulated().is_some() {
        "a simulated host has no counters to be watched".into()
    } else {
        "no trial kept what the host did by the second: it was not watched, or the run is of an older version"
            .into()
    })
}

/// The metrics that are something somewhere.
fn shown(telemetry: &[Seconds]) -> Vec<&'static HostMetric> {
    let is_some = |m: &&HostMetric| {
        telemetry
            .iter()
            .any(|s| s.of(m.name).any(|(_, value)| value != 0.0))
    };
    TABLE.iter().filter(is_some).collect()
}

/// One trial's part of the axis of time.
struct Span<'a> {
    seconds: Vec<&'a Seconds>,
    order: u32,
    from: f64,
    to: f64,
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let trials = Trials::new(report, &report.header.protocol.response().metric);
    let tones = tones(report, MOST);
    let picture = Picture::new(report, &trials, &tones);
    let mut top = 4.0;
    let (mut parts, mut said) = (Vec::new(), Vec::new());
    let mut shown = shown(report.telemetry).into_iter().peekable();
    while let Some(metric) = shown.next() {
        let (part, next, told) = picture.panel(metric, top, shown.peek().is_none())?;
        parts.push(part);
        said.push(told);
        top = next;
    }
    let seconds = wording::duration(std::time::Duration::from_secs_f64(picture.length));
    let title = title_below(top + 8.0, &format!("block; {seconds} of watched seconds"));
    let mut listed: Vec<_> = tones
        .iter()
        .enumerate()
        .filter_map(|(t, tone)| Some((t, (*tone)?)))
        .collect();
    listed.sort_by_key(|(_, tone)| match tone {
        Tone::Series(series) => series + 1,
        _ => 0,
    });
    let (keys, next) = legend(&listed, &trials.names, tones.len() - 1, top + 2.0 * LINE + 4.0)?;
    let (told, end) = notes(next, &picture.notes());
    Ok(finish(
        PlotKind::Telemetry,
        "What the host did beside each trial",
        &said.join("; "),
        end + 8.0,
        &html! { @for part in &parts { (part) } (title) (keys) (told) },
    ))
}

struct Picture<'a> {
    trials: &'a Trials,
    /// The place of each trial among the points, by its order.
    places: BTreeMap<u32, usize>,
    tones: &'a [Option<Tone>],
    spans: Vec<Span<'a>>,
    length: f64,
}

impl<'a> Picture<'a> {
    fn new(report: &'a Report<'_>, trials: &'a Trials, tones: &'a [Option<Tone>]) -> Self {
        let mut spans: Vec<Span<'a>> = Vec::new();
        let mut length = 0.0;
        for seconds in report.telemetry {
            let ends = seconds.rows.first().zip(seconds.rows.last());
            let took = ends.map_or(0.0, |(first, last)| last.0 - first.0).max(1.0);
            match spans.last_mut().filter(|s| s.order == seconds.order) {
                Some(span) => {
                    span.to += took;
                    span.seconds.push(seconds);
                }
                None => spans.push(Span {
                    seconds: vec![seconds],
                    order: seconds.order,
                    from: length,
                    to: length + took,
                }),
            }
            length += took;
        }
        Self {
            places: trials
                .points
                .iter()
                .enumerate()
                .map(|(place, p)| (p.order, place))
                .collect(),
            trials,
            tones,
            spans,
            length,
        }
    }

    /// The values of a metric in a trial with their places along the axis of time.
    fn values(span: &Span<'_>, metric: &HostMetric) -> Vec<(f64, f64)> {
        let mut values = Vec::new();
        let mut from = span.from;
        for seconds in &span.seconds {
            let first = seconds.rows.first().map_or(0.0, |r| r.0);
            let last = seconds.rows.last().map_or(0.0, |r| r.0);
            values.extend(
                seconds
                    .of(metric.name)
                    .map(|(at, value)| (from + at - first, value)),
            );
            from += (last - first).max(1.0);
        }
        values
    }

    /// A metric's panel; the last has the numbers of the blocks below.
    fn panel(&self, metric: &HostMetric, top: f64, is_last: bool) -> Drawn<(Markup, f64, String)> {
        let values: Vec<_> = self.spans.iter().map(|span| Self::values(span, metric)).collect();
        let all = || values.iter().flatten().map(|(_, value)| *value);
        let (upper, bottom) = (top + LINE + 4.0, top + LINE + 4.0 + HEIGHT);
        // What is a share of time or a rate begins at nothing; a frequency never comes near it.
        let zero = (metric.unit != "MHz").then_some(0.0);
        let format = Format::of(metric.unit, all().map(f64::abs).fold(0.0, f64::max));
        let y = Axis::over(all().chain(zero), ticks_beside(HEIGHT), &format);
        let mean = all().sum::<f64>() / (all().count().max(1)) as f64;
        let title = format!("{}, {}", metric.name, format.unit);
        let blocks = self.by_block();
        let numbers = if is_last { numbers(&blocks) } else { Vec::new() };
        let x = Axis::named(0.0..self.length.max(1.0), numbers);
        let chart = Frame::beside(upper, bottom).chart((&x, &y), |chart| {
            shade(chart, &blocks, &y)?;
            mesh(chart, false)?;
            self.lines(chart, &values, metric)
        })?;
        let markup = html! { (text(EDGE, top + 15.0, Side::Start, &title)) (chart) };
        let told = format!("{}: mean {}", metric.name, wording::quantity(mean, metric.unit));
        Ok((markup, bottom + 12.0, told))
    }

    /// Each trial's line, or the means of all trials as one.
    fn lines(&self, chart: &mut Chart<'_>, values: &[Vec<(f64, f64)>], metric: &HostMetric) -> Drawn<()> {
        if self.spans.len() > POINTED {
            let means: Vec<_> = values.iter().filter_map(|values| mean(values)).collect();
            let line = PathElement::new(thinned(&means, POINTS), pen(&Tone::Same, 1.0, 1.0));
            chart.draw_series([line])?;
            return Ok(());
        }
        let most = (POINTS / self.spans.len().max(1)).max(4);
        let lines = self.spans.iter().zip(values).filter_map(|(span, values)| {
            let point = self.trials.points.get(*self.places.get(&span.order)?)?;
            let tone = self.tones.get(point.treatment).copied().flatten();
            let line = PathElement::new(thinned(values, most), pen(&tone.unwrap_or(Tone::Quiet), 1.0, 1.6));
            let name = self.trials.names.get(point.treatment).map_or("", String::as_str);
            let (_, mean) = mean(values)?;
            let title = format!(
                "block {}, trial {}, {name}: mean {}",
                point.block,
                point.order,
                wording::quantity(mean, metric.unit)
            );
            Some(Told::of(line, Some(point.id()), title))
        });
        chart.draw_series(lines)?;
        Ok(())
    }

    /// The block of each span, joined, with its seconds.
    fn by_block(&self) -> Vec<(u32, Range<f64>)> {
        let mut blocks: Vec<(u32, Range<f64>)> = Vec::new();
        for span in &self.spans {
            let place = self.places.get(&span.order);
            let block = place
                .and_then(|p| self.trials.points.get(*p))
                .map_or(0, |p| p.block);
            match blocks.last_mut() {
                Some((last, seconds)) if *last == block => seconds.end = span.to,
                _ => blocks.push((block, span.from..span.to)),
            }
        }
        blocks
    }

    fn notes(&self) -> Vec<String> {
        let line = if self.spans.len() > POINTED {
            format!("Of more than {POINTED} trials each is drawn as its mean.")
        } else {
            "Each line is a trial; what was between two trials is left out.".to_string()
        };
        let discarded = self.by_block().iter().any(|(block, ..)| *block == 0);
        let discarded = discarded.then(|| "The darker block is discarded.".to_string());
        let told =
            "Metrics that were zero all the time, or are not told by this host, are left out.".to_string();
        [line].into_iter().chain(discarded).chain([told]).collect()
    }
}

/// `None` of nothing.
fn mean(values: &[(f64, f64)]) -> Option<(f64, f64)> {
    let sum = values.iter().fold((0.0, 0.0), |s, v| (s.0 + v.0, s.1 + v.1));
    let count = values.len() as f64;
    (!values.is_empty()).then(|| (sum.0 / count, sum.1 / count))
}

/// At most so many points: each the mean of as many that follow each other.
fn thinned(values: &[(f64, f64)], most: usize) -> Vec<(f64, f64)> {
    let every = values.len().div_ceil(most.max(1)).max(1);
    values.chunks(every).filter_map(mean).collect()
}
