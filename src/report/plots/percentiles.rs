//! Percentiles of latency on an axis of nines, of the baseline and the best candidates. Knows metrics by their names: what
//! ends in `p50`, `p99`, `p999`, with or without a unit behind it, is a percentile.

use super::axis::{Axis, Chart, Format, Frame, mesh, ticks_beside};
use super::backend::Drawn;
use super::distributions::Quartiles;
use super::mark::{INK, Mark, Tone, pen};
use super::paper::{LINE, Side, finish, heading, notes, small};
use super::samples::legend;
use super::trials::{Trials, tones};
use super::{Plot, PlotKind};
use crate::experiment::MetricId;
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::PathElement;
use std::collections::BTreeMap;

/// Candidates beside the baseline.
const BEST: usize = 4;
const HEIGHT: f64 = 230.0;
/// Of the part with the changes.
const CHANGES: f64 = 130.0;

/// Percentiles of one distribution.
#[derive(Debug, PartialEq)]
struct Group {
    workload: String,
    /// The metrics' names with `p*` in the place of the percentile.
    name: String,
    unit: String,
    /// The share of what is below, ascending.
    percentiles: Vec<(f64, MetricId)>,
}

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    groups(report).is_empty().then(|| {
        "no workload of the run gives two percentiles of one latency, such as `p50` and `p99`".into()
    })
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let tones = tones(report, BEST);
    let mut top = 4.0;
    let (mut parts, mut said) = (Vec::new(), Vec::new());
    let mut names = Vec::new();
    for group in groups(report) {
        let unit = if group.unit == "us" { "µs" } else { &group.unit };
        let title = format!("{} of {}", group.name, group.workload);
        let title = if unit.is_empty() {
            title
        } else {
            format!("{title}, {unit}")
        };
        let (drawn, next) = heading(top, &wording::tame(&title, wording::NAME));
        let curves = curves(report, &group, &tones);
        names.clone_from(&curves.names);
        let (part, next) = curves.draw(&group, next + 10.0)?;
        parts.extend([drawn, part]);
        said.push(format!("{title}: {}", curves.says(&group)));
        top = next;
    }
    let mut shown: Vec<_> = tones
        .iter()
        .enumerate()
        .filter_map(|(t, tone)| Some((t, (*tone)?)))
        .collect();
    shown.sort_by_key(|(_, tone)| match tone {
        Tone::Series(series) => series + 1,
        _ => 0,
    });
    let listed = shown.len();
    let (drawn, next) = legend(&shown, &names, listed, top)?;
    let left = (tones.len() - 1).saturating_sub(listed);
    let others = (left > 0).then(|| format!("{left} other treatments with smaller gains are not drawn."));
    let told = "Medians over the judged blocks; a bar holds the middle half of them.".to_string();
    let (told, end) = notes(next, &[told].into_iter().chain(others).collect::<Vec<_>>());
    Ok(finish(
        PlotKind::Percentiles,
        "Percentiles of latency on an axis of nines",
        &said.join(". "),
        end + 8.0,
        &html! { @for part in &parts { (part) } (drawn) (told) },
    ))
}

/// The place of a share on the axis: 0.9 is 1, 0.99 is 2.
fn nines(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// `99.9`.
fn percent(share: f64) -> String {
    let text = format!("{:.4}", 100.0 * share);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The name without its percentile, and the share: `clat_p999_us` is `clat_p*_us` and 0.999.
fn percentile(name: &str) -> Option<(String, f64)> {
    let parts: Vec<_> = name.split('_').collect();
    let found = parts.iter().enumerate().rev().find_map(|(place, part)| {
        let digits = part.strip_prefix('p')?;
        let plain = (2..=6).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let share: f64 = format!("0.{digits}").parse().ok().filter(|_| plain)?;
        // 100 is the largest of all, and no share of them.
        (share > 0.0 && digits != "100").then_some((place, share))
    });
    let (place, share) = found?;
    let mut named = parts;
    named[place] = "p*";
    Some((named.join("_"), share))
}

/// What was observed in some trial; at least two percentiles of each.
fn groups(report: &Report<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for workload in &report.header.protocol.workloads {
        for metric in &workload.metrics {
            let Some((name, share)) = percentile(&metric.name) else {
                continue;
            };
            let id = MetricId {
                workload: workload.name.clone(),
                metric: metric.name.clone(),
            };
            let of_it =
                |g: &&mut Group| g.workload == workload.name && g.name == name && g.unit == metric.unit;
            match groups.iter_mut().find(of_it) {
                Some(group) => group.percentiles.push((share, id)),
                None => groups.push(Group {
                    workload: workload.name.clone(),
                    name,
                    unit: metric.unit.clone(),
                    percentiles: vec![(share, id)],
                }),
            }
        }
    }
    for group in &mut groups {
        group.percentiles.sort_by(|a, b| a.0.total_cmp(&b.0));
        group.percentiles.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq());
        group.percentiles.retain(|(_, id)| {
            let all = Trials::new(report, id);
            all.points
                .iter()
                .any(|p| p.counts() && p.value.is_some_and(|v| v > 0.0))
        });
    }
    groups.retain(|g| g.percentiles.len() > 1);
    groups
}

/// A treatment that is drawn.
struct Curve {
    treatment: usize,
    tone: Tone,
    /// By percentile.
    values: Vec<Option<Quartiles>>,
    /// By percentile: the change against the baseline in the same block, in percent.
    changes: Vec<Option<Quartiles>>,
}

struct Curves {
    names: Vec<String>,
    of: Vec<Curve>,
}

fn curves(report: &Report<'_>, group: &Group, tones: &[Option<Tone>]) -> Curves {
    let columns: Vec<_> = group
        .percentiles
        .iter()
        .map(|(_, id)| Trials::new(report, id))
        .collect();
    let one = |(treatment, tone): (usize, &Option<Tone>)| {
        Some(Curve {
            treatment,
            tone: (*tone)?,
            values: columns
                .iter()
                .map(|c| quartiles(by_block(c, treatment).into_values()))
                .collect(),
            changes: columns.iter().map(|c| quartiles(changes(c, treatment))).collect(),
        })
    };
    Curves {
        of: tones.iter().enumerate().filter_map(one).collect(),
        names: columns.first().map(|c| c.names.clone()).unwrap_or_default(),
    }
}

fn quartiles(values: impl IntoIterator<Item = f64>) -> Option<Quartiles> {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    Quartiles::of(&values)
}

/// The numbers above zero of a treatment; a latency is never less.
fn by_block(trials: &Trials, treatment: usize) -> BTreeMap<u32, f64> {
    let counted = trials.counted(treatment).filter(|(_, value)| *value > 0.0);
    counted.map(|(point, value)| (point.block, value)).collect()
}

/// In each block: by how many percent the treatment differs from the baseline.
fn changes(trials: &Trials, treatment: usize) -> Vec<f64> {
    let (own, baseline) = (by_block(trials, treatment), by_block(trials, 0));
    let pairs = own
        .iter()
        .filter_map(|(block, value)| Some((*value, *baseline.get(block)?)));
    pairs.map(|(value, base)| 100.0 * (value / base - 1.0)).collect()
}

impl Curves {
    fn draw(&self, group: &Group, top: f64) -> Drawn<(Markup, f64)> {
        let ends = |of: fn(&Curve) -> &Vec<Option<Quartiles>>| {
            let all = self.of.iter().flat_map(of).flatten();
            all.flat_map(|q| [q.low, q.high]).collect::<Vec<_>>()
        };
        let (values, changes) = (ends(|c| &c.values), ends(|c| &c.changes));
        let (bottom, from) = (top + HEIGHT, top + HEIGHT + 2.0 * LINE + 12.0);
        let end = from + CHANGES;
        let format = Format::of(&group.unit, values.iter().copied().fold(0.0, f64::max));
        let x = axis_of_nines(group);
        let y = Axis::log_over(values.into_iter(), ticks_beside(HEIGHT), &format);
        let all = changes.into_iter().chain([0.0]);
        let change = Axis::over(all, ticks_beside(CHANGES), &Format::percent());
        let upper = Frame::beside(top, bottom);
        let drawn = upper.chart((&x, &y), |chart| {
            mesh(chart, true)?;
            self.lines(chart, group, |c| &c.values, &|value| {
                wording::quantity(value, &group.unit)
            })
        })?;
        let lower = Frame::beside(from, end).chart((&x, &change), |chart| {
            mesh(chart, true)?;
            let ends = [(x.ends().start, 0.0), (x.ends().end, 0.0)];
            chart.draw_series([PathElement::new(ends, pen(&INK, 0.5, 1.0))])?;
            self.lines(chart, group, |c| &c.changes, &wording::percent)
        })?;
        let markup = html! {
            (drawn)
            (small(upper.left, from - 6.0, Side::Start, "change against the baseline in the same block"))
            (lower)
        };
        Ok((markup, end + LINE + 12.0))
    }

    fn lines(
        &self,
        chart: &mut Chart<'_>,
        group: &Group,
        of: impl Fn(&Curve) -> &Vec<Option<Quartiles>>,
        write: &dyn Fn(f64) -> String,
    ) -> Drawn<()> {
        // Beside each other, so that none hides another.
        let ends = axis_of_nines(group).ends();
        let step = (ends.end - ends.start) / 94.0;
        for (number, curve) in self.of.iter().enumerate() {
            let aside = (number as f64 - (self.of.len() - 1) as f64 / 2.0) * step;
            let known = group.percentiles.iter().zip(of(curve));
            let known = known.filter_map(|((share, _), q)| Some((*share, nines(*share) + aside, (*q)?)));
            let known: Vec<_> = known.collect();
            let middles: Vec<_> = known.iter().map(|(_, x, q)| (*x, q.middle)).collect();
            chart.draw_series([PathElement::new(middles, pen(&curve.tone, 1.0, 1.8))])?;
            let bar = |(_, x, q): &(f64, f64, Quartiles)| {
                PathElement::new([(*x, q.low), (*x, q.high)], pen(&curve.tone, 0.4, 4.0))
            };
            chart.draw_series(known.iter().map(bar))?;
            let sign = |(share, x, q): &(f64, f64, Quartiles)| {
                let title = format!(
                    "{}, {}: {}, middle half {} to {}, {} blocks",
                    self.names[curve.treatment],
                    percent(*share),
                    write(q.middle),
                    write(q.low),
                    write(q.high),
                    q.count
                );
                Mark::new((*x, q.middle), curve.tone.shape(), 3.8, &curve.tone).told(None, title)
            };
            chart.draw_series(known.iter().map(sign))?;
        }
        Ok(())
    }

    fn says(&self, group: &Group) -> String {
        let one = |curve: &Curve| {
            let values = group.percentiles.iter().zip(&curve.values);
            let values: Vec<_> = values
                .filter_map(|((share, _), q)| {
                    Some(format!("{} {}", percent(*share), wording::number((*q)?.middle)))
                })
                .collect();
            format!("{}: {}", self.names[curve.treatment], values.join(", "))
        };
        self.of.iter().map(one).collect::<Vec<_>>().join("; ")
    }
}

/// The percentiles of a group, with room at both ends.
fn axis_of_nines(group: &Group) -> Axis {
    let places = group
        .percentiles
        .iter()
        .map(|(share, _)| (nines(*share), percent(*share)));
    let places: Vec<_> = places.collect();
    let (first, last) = (
        places.first().map_or(0.0, |p| p.0),
        places.last().map_or(1.0, |p| p.0),
    );
    let room = 0.1 * (last - first);
    Axis::named(first - room..last + room, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_known_by_their_names() {
        for (name, found) in [
            ("clat_p99_us", Some(("clat_p*_us", 0.99))),
            ("p50_us", Some(("p*_us", 0.5))),
            ("read_clat_p9999_us", Some(("read_clat_p*_us", 0.9999))),
            ("p999", Some(("p*", 0.999))),
            ("p100", None),
            ("p5", None),
            ("iops", None),
            ("top_pages", None),
            ("p00", None),
        ] {
            let found = found.map(|(name, share)| (name.to_string(), share));
            assert_eq!(percentile(name), found, "{name}");
        }
        assert_eq!(percent(0.999), "p99.9");
        assert_eq!(percent(0.5), "p50");
        assert!((nines(0.999) - 3.0).abs() < 1e-9);
    }
}
