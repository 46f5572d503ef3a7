//! How long a block of this run takes, from the trials that are done. Does not know what the time is for.

use super::{Report, wording};
use crate::analysis;
use crate::design::Guests;
use crate::event::{RunHeader, TrialRecord};
use jiff::Timestamp;
use std::time::Duration;

/// What is kept of a trial to tell the pace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    order: u32,
    boot: u32,
    started: Timestamp,
    total: Duration,
}

impl From<&TrialRecord> for Mark {
    fn from(record: &TrialRecord) -> Self {
        Self {
            order: record.trial.order,
            boot: record.trial.boot,
            started: record.started,
            total: record.timing.total,
        }
    }
}

/// Mean time from the start of one trial to the start of the next, guest starts included; `None` before the first
/// trial is done.
///
/// Steps with and without a guest start are each taken by their median, so that a pause of hours between a run and
/// its resumption does not count as work.
pub(super) fn step(marks: &[Mark], restarts: bool) -> Option<Duration> {
    let mut marks = marks.to_vec();
    marks.sort_by_key(|m| m.order);
    let (mut live, mut restart) = (Vec::new(), Vec::new());
    for pair in marks.windows(2).filter(|p| p[1].order == p[0].order + 1) {
        let step = Duration::try_from(pair[1].started.duration_since(pair[0].started)).unwrap_or_default();
        if restarts && pair[1].boot != pair[0].boot {
            restart.push(step);
        } else {
            live.push(step);
        }
    }
    let steps = live.len() + restart.len();
    if steps == 0 {
        return marks.first().map(|m| m.total);
    }
    let weigh = |group: &[Duration]| {
        let share = group.len() as f64 / steps as f64;
        median(group).unwrap_or_default().mul_f64(share)
    };
    Some(weigh(&live) + weigh(&restart))
}

/// Time a block of so many `trials` takes in this run.
pub(super) fn block(header: &RunHeader, records: &[TrialRecord], trials: usize) -> Option<Duration> {
    let marks: Vec<_> = records.iter().map(Mark::from).collect();
    let fresh = header.plan.guests != Guests::Shared;
    let restarts = fresh || header.plan.treatments.iter().any(|t| !t.restart.is_empty());
    let trials = u32::try_from(trials).unwrap_or(u32::MAX);
    step(&marks, restarts).map(|step| step.saturating_mul(trials))
}

/// What the run took: `44 trials in about 6m31s, 5m8s of it the workload`; `None` before the first trial is done.
pub(super) fn cost(report: &Report<'_>) -> Option<String> {
    let trials = report.records.len();
    let all = block(report.header, report.records, trials)?;
    let workload: Duration = report.records.iter().map(|r| r.timing.workload).sum();
    let plural = if trials == 1 { "trial" } else { "trials" };
    let (all, workload) = (wording::duration(all), wording::duration(workload));
    Some(format!(
        "{trials} {plural} in about {all}, {workload} of it the workload"
    ))
}

/// The middle of these times.
pub(super) fn median(times: &[Duration]) -> Option<Duration> {
    analysis::median(times.iter().map(Duration::as_secs_f64).collect()).map(Duration::from_secs_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(order: u32, boot: u32, second: i64) -> Mark {
        let started = Timestamp::constant(second, 0);
        Mark {
            order,
            boot,
            started,
            total: Duration::from_secs(9),
        }
    }

    #[test]
    fn a_pause_between_two_parts_of_a_run_is_not_work() {
        let marks = [
            mark(0, 0, 0),
            mark(1, 0, 10),
            mark(2, 0, 20),
            mark(3, 1, 90_000),
            mark(4, 1, 90_010),
        ];
        assert_eq!(step(&marks, false), Some(Duration::from_secs(10)));
    }

    #[test]
    fn guest_starts_count_by_their_share() {
        let marks = [
            mark(0, 0, 0),
            mark(1, 0, 10),
            mark(2, 1, 30),
            mark(3, 1, 40),
            mark(4, 2, 60),
        ];
        assert_eq!(step(&marks, true), Some(Duration::from_secs(15)));
        assert_eq!(step(&marks[..1], true), Some(Duration::from_secs(9)));
        assert_eq!(step(&[], true), None);
    }
}
