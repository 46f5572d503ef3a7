//! One trial: the live settings of a treatment, the workloads under them, and what came of it.
//!
//! Does not know blocks or the order of trials.

use super::settle::{Settling, correct, judge};
use super::witness::{Seen, Witness};
use super::{Task, beside};
use crate::change::{Change, ChangeError, Drift as Found, Outcome as Changed, Stage as Step, Verified};
use crate::event::{Drift, Outcome, RawOutput, Stage, Timing};
use crate::host::JobOutput;
use crate::tunable::{Activation, Setting};
use crate::units::Span;
use crate::workload::{Observation, Workload};
use jiff::Timestamp;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// What a trial gave.
pub(super) struct Measured {
    pub(super) started: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) timing: Timing,
    pub(super) raw: Vec<RawOutput>,
    pub(super) guest_lost: bool,
    /// Workloads, and what the user should know of each.
    pub(super) notices: Vec<(String, String)>,
}

/// What the workloads of a trial gave, under settings that are still to be rechecked.
struct Work {
    observations: Vec<Observation>,
    /// Why they do not count.
    lost: Option<Lost>,
    wall: Duration,
    raw: Vec<RawOutput>,
    notices: Vec<(String, String)>,
    /// Settings of the whole plot that no longer hold.
    drift: Vec<Drift>,
    /// What the host did meanwhile.
    witness: Witness,
}

/// What one run of a workload gave.
struct Once {
    observations: Vec<Observation>,
    settling: Settling,
    seen: Seen,
}

/// Why a trial has no numbers that count.
enum Lost {
    /// Something failed.
    Failed(Stage, String),
    /// A workload never settled.
    Unsteady(String),
}

pub(super) fn measure(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    treatment: usize,
) -> Result<Measured, ChangeError> {
    let treatment = &task.header.plan.treatments[treatment];
    let started = verified.host().now();
    let clock = verified.host().clock();
    let change = Change {
        settings: &treatment.live,
        activation: Activation::Live,
    };
    let whole_plot = [treatment.boot.as_slice(), &treatment.restart].concat();
    let done = verified.nested(&change, |verified| work(verified, task, &whole_plot))?;
    let timing = Timing {
        total: verified.host().since(clock),
        workload: Duration::ZERO,
        apply: done.timings.apply,
        verify: done.timings.verify,
        restore: done.timings.restore,
    };
    let mut measured = Measured {
        started,
        outcome: Outcome::Invalid { drift: Vec::new() },
        timing,
        raw: Vec::new(),
        guest_lost: done.guest_lost,
        notices: Vec::new(),
    };
    measured.outcome = match done.outcome {
        Changed::Held(work) if work.drift.is_empty() => measured.take(work),
        Changed::Held(work) => {
            let drift = work.drift.clone();
            measured.take(work);
            Outcome::Invalid { drift }
        }
        Changed::Drifted { drifts, value } => {
            measured.take(value);
            Outcome::Invalid {
                drift: told(drifts, true),
            }
        }
        // The body's own failure is the cause; the recheck failed in its wake.
        Changed::Failed {
            value: Some(work),
            stage,
            error,
        } => match measured.take(work) {
            Outcome::Measured { .. } | Outcome::Unsteady { .. } => outcome_of(Changed::<()>::Failed {
                stage,
                error,
                value: None,
            }),
            failed => failed,
        },
        other => outcome_of(other),
    };
    Ok(measured)
}

impl Measured {
    /// Whether the workloads came to their end: such a trial is kept, also when it is the last.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.outcome, Outcome::Measured { .. } | Outcome::Unsteady { .. })
    }

    /// Takes over what the workloads left, and gives their outcome.
    fn take(&mut self, work: Work) -> Outcome {
        self.raw = work.raw;
        self.notices = work.notices;
        self.timing.workload = work.wall;
        let observations = work.observations;
        match work.lost {
            None => Outcome::Measured {
                observations,
                suspect: work.witness.suspect,
            },
            Some(Lost::Unsteady(message)) => Outcome::Unsteady {
                observations,
                message,
            },
            Some(Lost::Failed(stage, message)) => Outcome::Failed { stage, message },
        }
    }
}

/// Runs every workload, stopping at the first that gives nothing that counts, then rereads the settings of the whole
/// plot: a number is stored at once, so it cannot wait for the end of the plot to be believed.
fn work(verified: &mut Verified<'_>, task: &Task<'_>, whole_plot: &[Setting]) -> Work {
    let mut work = Work {
        observations: Vec::new(),
        lost: None,
        wall: Duration::ZERO,
        raw: Vec::new(),
        notices: Vec::new(),
        drift: Vec::new(),
        witness: Witness::default(),
    };
    for workload in &task.header.protocol.workloads {
        work.lost = settled(verified, task, workload, &mut work).err();
        if work.lost.is_some() {
            break;
        }
    }
    if work.lost.is_none() {
        match work.witness.observations(task, &work.observations) {
            Ok(told) => work.observations.extend(told),
            Err(why) => work.lost = Some(Lost::Failed(Stage::Measure, why)),
        }
    }
    if matches!(work.lost, Some(Lost::Failed(..))) {
        return work;
    }
    match verified.drifts(whole_plot) {
        Ok(drifts) => work.drift = told(drifts, true),
        Err(error) => work.lost = Some(Lost::Failed(Stage::Verify, error.to_string())),
    }
    work
}

/// Runs a workload, and once more with twice the time when it did not settle: then the second numbers are the ones.
fn settled(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    workload: &Workload,
    work: &mut Work,
) -> Result<(), Lost> {
    let first = once(verified, task, workload, work)?;
    let Settling::Unsettled { .. } = first.settling else {
        return work.count(workload, first).map(drop);
    };
    if task.cancel.load(Ordering::Relaxed) {
        let why = format!("interrupted before {} could be run again", workload.name);
        return Err(Lost::Failed(Stage::Measure, why));
    }
    let longer = Workload {
        time: Span(workload.time.0.saturating_mul(2)),
        ..workload.clone()
    };
    let second = once(verified, task, &longer, work)?;
    let what = match work.count(&longer, second)? {
        Settling::Settled { .. } | Settling::NotAsked => return Ok(()),
        Settling::Unsettled { what } => what,
        // It is known not to have settled, and not known to have.
        Settling::Unknown { why } => format!(
            "not in {}, and of the {} after that {why}",
            workload.time, longer.time
        ),
    };
    Err(Lost::Unsteady(format!(
        "{} did not settle: {what}",
        workload.name
    )))
}

/// Runs a workload: its numbers, without the time until it settled where that is known.
fn once(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    workload: &Workload,
    work: &mut Work,
) -> Result<Once, Lost> {
    verified.host().watch();
    let ran = beside::run(verified, task, workload);
    let series = verified.host().watched();
    let (output, beside) = ran.map_err(|(stage, why)| Lost::Failed(stage, why))?;
    work.keep(workload, &output);
    work.raw.extend(beside.raw);
    let mut seen = Seen::of(workload, &output, series.as_ref());
    work.raw.extend(seen.raw.take());
    let mut observations = workload
        .observations(&output)
        .map_err(|e| Lost::Failed(Stage::Parse, e.to_string()))?;
    let settling = judge(workload, &output);
    match &settling {
        Settling::Settled { correction } => correct(workload, *correction, &mut observations),
        Settling::Unknown { why } => {
            let name = workload.name.clone();
            let text = format!("cannot tell whether {name} settled: {why}; its numbers count as they are");
            work.notices.push((name, text));
        }
        Settling::NotAsked | Settling::Unsettled { .. } => {}
    }
    observations.extend(beside.observations);
    Ok(Once {
        observations,
        settling,
        seen,
    })
}

impl Work {
    /// Takes the numbers of a workload as those of the trial, unless what the host did not see fails it.
    fn count(&mut self, workload: &Workload, once: Once) -> Result<Settling, Lost> {
        if let Some(why) = once.seen.fails(workload) {
            return Err(Lost::Failed(Stage::Measure, why));
        }
        self.observations.extend(once.observations);
        let known = self.witness.suspect.len();
        self.witness.take(once.seen);
        for doubt in &self.witness.suspect[known..] {
            let text = format!("suspect: {doubt}; the trial counts, and reports say so");
            self.notices.push((format!("suspect {}", workload.name), text));
        }
        Ok(once.settling)
    }

    /// Keeps what a tool left as it is: its numbers, then its samples where they have a file of their own.
    fn keep(&mut self, workload: &Workload, output: &JobOutput) {
        self.wall += output.wall;
        let numbers = output.result.as_ref().unwrap_or(&output.stdout);
        let series = output.series.iter().flatten();
        let raw = std::iter::once(numbers).chain(series).map(|content| RawOutput {
            workload: workload.name.clone(),
            content: content.clone(),
        });
        self.raw.extend(raw);
    }
}

fn told(found: Vec<Found>, during: bool) -> Vec<Drift> {
    let tell = |f: Found| Drift {
        address: f.address.to_string(),
        wanted: f.wanted,
        found: f.found,
        during,
        actors: f.actors,
    };
    found.into_iter().map(tell).collect()
}

/// The outcome of a trial whose workloads gave nothing, because the change itself did not come about.
pub(super) fn outcome_of<T>(changed: Changed<T>) -> Outcome {
    match changed {
        Changed::NotInEffect(drifts) => Outcome::Invalid {
            drift: told(drifts, false),
        },
        Changed::Drifted { drifts, .. } => Outcome::Invalid {
            drift: told(drifts, true),
        },
        Changed::Failed { stage, error, .. } => {
            let stage = match stage {
                Step::Prepare | Step::Apply => Stage::Apply,
                Step::Start => Stage::Start,
                Step::Verify | Step::Recheck => Stage::Verify,
            };
            Outcome::Failed {
                stage,
                message: error.to_string(),
            }
        }
        Changed::Held(_) => Outcome::Failed {
            stage: Stage::Measure,
            message: "nothing was measured".into(),
        },
    }
}
