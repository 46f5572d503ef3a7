//! Percentiles of latency on an axis of nines, of the baseline and the best candidates. Knows metrics by their names: what
//! ends in `p50`, `p99`, `p999`, with or without a unit behind it, is a percentile.

use super::axis::{Axis, Format, beside};
use super::distributions::Quartiles;
use super::mark::{About, Tone};
use super::paper::{LINE, Side, WIDTH, finish, heading, line, n, notes, small};
use super::samples::legend;
use super::trials::{Trials, tones};
use super::{Plot, PlotKind};
use crate::experiment::MetricId;
use crate::report::{Report, wording};
use maud::{Markup, html};

/// Candidates beside the baseline.
const BEST: usize = 4;
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 14.0;
const HEIGHT: f64 = 260.0;

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

pub(super) fn draw(report: &Report<'_>) -> Plot {
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
        let (part, next) = curves.draw(&group, next + 4.0);
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
    let (drawn, next) = legend(&shown, &names, listed, top);
    let left = (tones.len() - 1).saturating_sub(listed);
    let others = (left > 0).then(|| format!("{left} other treatments with smaller gains are not drawn."));
    let told = "Medians over the trials of the judged blocks; a bar holds their middle half.".to_string();
    let (told, end) = notes(next, &[told].into_iter().chain(others).collect::<Vec<_>>());
    finish(
        PlotKind::Percentiles,
        "Percentiles of latency on an axis of nines",
        &said.join(". "),
        end + 8.0,
        &html! { @for part in &parts { (part) } (drawn) (told) },
    )
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

/// The quartiles of each treatment that is drawn, by percentile.
struct Curves {
    names: Vec<String>,
    of: Vec<(usize, Tone, Vec<Option<Quartiles>>)>,
}

fn curves(report: &Report<'_>, group: &Group, tones: &[Option<Tone>]) -> Curves {
    let columns: Vec<_> = group
        .percentiles
        .iter()
        .map(|(_, id)| Trials::new(report, id))
        .collect();
    let quartiles = |trials: &Trials, treatment| {
        let mut values: Vec<_> = trials
            .counted(treatment)
            .map(|(_, v)| v)
            .filter(|v| *v > 0.0)
            .collect();
        values.sort_by(f64::total_cmp);
        Quartiles::of(&values)
    };
    let one = |(treatment, tone): (usize, &Option<Tone>)| {
        Some((
            treatment,
            (*tone)?,
            columns.iter().map(|c| quartiles(c, treatment)).collect(),
        ))
    };
    Curves {
        of: tones.iter().enumerate().filter_map(one).collect(),
        names: columns.first().map(|c| c.names.clone()).unwrap_or_default(),
    }
}

impl Curves {
    fn draw(&self, group: &Group, top: f64) -> (Markup, f64) {
        let bottom = top + HEIGHT;
        let all = self.of.iter().flat_map(|(.., quartiles)| quartiles).flatten();
        let ends: Vec<_> = all.flat_map(|q| [q.low, q.high]).collect();
        let y = Axis::log_over(ends.iter().copied(), bottom - 6.0, top + 6.0);
        let shares = || group.percentiles.iter().map(|(share, _)| *share);
        let x = Axis::over(shares().map(nines), LEFT + 16.0, RIGHT - 16.0);
        let format = Format::of(&group.unit, ends.iter().copied().fold(0.0, f64::max));
        let markup = html! {
            (beside(&y, (LEFT, RIGHT), &format))
            @for share in shares() {
                @let at = x.at(nines(share));
                (line((at, top), (at, bottom), 0.08))
                (small(at, bottom + 16.0, Side::Middle, &percent(share)))
            }
            (line((LEFT, bottom), (RIGHT, bottom), 0.35))
            @for (place, curve) in self.of.iter().enumerate() {
                @let beside = (place as f64 - (self.of.len() - 1) as f64 / 2.0) * 4.0;
                (self.curve(curve, group, |share| x.at(nines(share)) + beside, &y))
            }
        };
        (markup, bottom + LINE + 12.0)
    }

    fn curve(
        &self,
        (treatment, tone, quartiles): &(usize, Tone, Vec<Option<Quartiles>>),
        group: &Group,
        x: impl Fn(f64) -> f64,
        y: &Axis,
    ) -> Markup {
        let known = || {
            group
                .percentiles
                .iter()
                .zip(quartiles)
                .filter_map(|((s, _), q)| Some((*s, (*q)?)))
        };
        let path: Vec<_> = known()
            .map(|(s, q)| format!("{} {}", n(x(s)), n(y.at(q.middle))))
            .collect();
        tone.paint(&html! {
            @if path.len() > 1 {
                path d={ "M" (path.join("L")) } fill="none" stroke="currentColor" stroke-width="1.8" {}
            }
            @for (share, q) in known() {
                @let title = format!("{}, {}: {}, middle half {} to {}, {} trials", self.names[*treatment], percent(share),
                    wording::quantity(q.middle, &group.unit), wording::number(q.low), wording::number(q.high), q.count);
                path d={ "M" (n(x(share))) " " (n(y.at(q.low))) "V" (n(y.at(q.high))) } stroke="currentColor" stroke-width="4"
                    stroke-opacity=".35" stroke-linecap="round" {}
                (tone.shape().at((x(share), y.at(q.middle)), 3.8, Some(&About { trial: None, title: &title })))
            }
        })
    }

    fn says(&self, group: &Group) -> String {
        let one = |(treatment, _, quartiles): &(usize, Tone, Vec<Option<Quartiles>>)| {
            let values = group.percentiles.iter().zip(quartiles);
            let values: Vec<_> = values
                .filter_map(|((share, _), q)| {
                    Some(format!("{} {}", percent(*share), wording::number((*q)?.middle)))
                })
                .collect();
            format!("{}: {}", self.names[*treatment], values.join(", "))
        };
        self.of.iter().map(one).collect::<Vec<_>>().join("; ")
    }
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
