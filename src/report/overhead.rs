//! What a trial costs beside its workload. Knows timings, not verdicts.

use super::table::table;
use super::{Report, pace, wording};
use crate::event::{Outcome, Timing, TrialRecord};
use crate::experiment::{BARRIER, SKEW};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

/// Measured trials by whether the guest was started for them; a start itself is in none of the times.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Overhead {
    /// Trials in a guest that was already running.
    pub live: Option<OverheadGroup>,
    /// The first trial after each guest start.
    pub restart: Option<OverheadGroup>,
    /// How far apart guests started that were to start together, in measured trials; `None` without neighbours.
    pub skew: Option<Spread>,
}

/// Where the time of one group of trials went.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct OverheadGroup {
    /// How many trials it is of.
    pub trials: usize,
    /// The whole trial minus the workloads' wall time.
    pub outside_workload: Spread,
    /// Reading old values, journal and writing.
    pub apply: Spread,
    /// Reading back, before and after.
    pub verify: Spread,
    /// Restoring and reading back.
    pub restore: Spread,
}

/// Median and maximum, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub median_seconds: f64,
    /// The largest value.
    pub max_seconds: f64,
}

/// The overhead of the measured trials; those without a number stopped early and would look fast.
pub fn overhead(report: &Report<'_>) -> Overhead {
    let mut ordered: Vec<&TrialRecord> = report.records.iter().collect();
    ordered.sort_by_key(|r| r.trial.order);
    let mut boots = BTreeSet::new();
    let (mut live, mut restart) = (Vec::new(), Vec::new());
    for record in ordered {
        let first = boots.insert(record.trial.boot);
        if matches!(record.outcome, Outcome::Measured { .. }) {
            let group = if first { &mut restart } else { &mut live };
            group.push(record.timing);
        }
    }
    Overhead {
        live: group(&live),
        restart: group(&restart),
        skew: skew(report.records),
    }
}

fn skew(records: &[TrialRecord]) -> Option<Spread> {
    let observations = records.iter().flat_map(|r| match &r.outcome {
        Outcome::Measured { observations, .. } => observations.as_slice(),
        _ => &[],
    });
    let told = observations.filter(|o| o.workload == BARRIER && o.metric == SKEW);
    spread(told.filter_map(|o| Duration::try_from_secs_f64(o.value / 1e3).ok()))
}

fn spread(values: impl Iterator<Item = Duration>) -> Option<Spread> {
    let values: Vec<_> = values.collect();
    Some(Spread {
        median_seconds: pace::median(&values)?.as_secs_f64(),
        max_seconds: values.iter().max()?.as_secs_f64(),
    })
}

fn group(timings: &[Timing]) -> Option<OverheadGroup> {
    let spread = |pick: fn(&Timing) -> Duration| spread(timings.iter().map(pick));
    Some(OverheadGroup {
        trials: timings.len(),
        outside_workload: spread(|t| t.total.saturating_sub(t.workload))?,
        apply: spread(|t| t.apply)?,
        verify: spread(|t| t.verify)?,
        restore: spread(|t| t.restore)?,
    })
}

/// A table of medians, with the largest in brackets.
impl fmt::Display for Overhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |spread: Spread| {
            let of = |seconds| wording::seconds(Duration::from_secs_f64(seconds));
            format!("{} ({})", of(spread.median_seconds), of(spread.max_seconds))
        };
        let row = |(name, group): (&str, &Option<OverheadGroup>)| {
            let group = group.as_ref()?;
            Some(vec![
                format!("{name}, {}", group.trials),
                cell(group.outside_workload),
                cell(group.apply),
                cell(group.verify),
                cell(group.restore),
            ])
        };
        let groups = [("live", &self.live), ("restart", &self.restart)];
        let rows: Vec<_> = groups.into_iter().filter_map(row).collect();
        if rows.is_empty() {
            return f.write_str("no trial was measured, so there is no overhead to tell\n");
        }
        let header = ["trials", "outside", "apply", "verify", "restore"];
        f.write_str(&table(&header, rows, &[], 80))?;
        f.write_str(
            "median (max) a trial; outside: the trial without its workload; restart: the first\ntrial after each guest start, the start itself not counted\n",
        )?;
        self.skew.map_or(Ok(()), |skew| {
            let milliseconds = |seconds: f64| seconds * 1e3;
            writeln!(
                f,
                "the guests of measured trials started {:.1} ms ({:.1} ms) apart",
                milliseconds(skew.median_seconds),
                milliseconds(skew.max_seconds)
            )
        })
    }
}
