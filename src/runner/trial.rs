//! One trial: the live settings of a treatment, the workloads under them, and what came of it.
//!
//! Does not know blocks or the order of trials.

use super::Task;
use crate::change::{Change, ChangeError, Drift as Found, Outcome as Changed, Stage as Step, Verified};
use crate::event::{Drift, Outcome, RawOutput, Stage, Timing};
use crate::tunable::{Activation, Setting};
use crate::workload::{Observation, Workload};
use jiff::Timestamp;
use std::time::Duration;

/// What a trial gave.
pub(super) struct Measured {
    pub(super) started: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) timing: Timing,
    pub(super) raw: Vec<RawOutput>,
    pub(super) guest_lost: bool,
}

/// What the workloads of a trial gave, under settings that are still to be rechecked.
struct Work {
    result: Result<Vec<Observation>, (Stage, String)>,
    wall: Duration,
    raw: Vec<RawOutput>,
    /// Settings of the whole plot that no longer hold.
    drift: Vec<Drift>,
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
    let done = verified.nested(&change, |verified| work(verified, task, &treatment.restart))?;
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
            Outcome::Measured { .. } => outcome_of(Changed::<()>::Failed {
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
    /// Takes over what the workloads left, and gives their outcome.
    fn take(&mut self, work: Work) -> Outcome {
        self.raw = work.raw;
        self.timing.workload = work.wall;
        match work.result {
            Ok(observations) => Outcome::Measured { observations },
            Err((stage, message)) => Outcome::Failed { stage, message },
        }
    }
}

/// Runs every workload, stopping at the first that fails, then rereads the settings of the whole plot: a number
/// is stored at once, so it cannot wait for the end of the plot to be believed.
fn work(verified: &mut Verified<'_>, task: &Task<'_>, whole_plot: &[Setting]) -> Work {
    let mut work = Work {
        result: Ok(Vec::new()),
        wall: Duration::ZERO,
        raw: Vec::new(),
        drift: Vec::new(),
    };
    for workload in &task.header.protocol.workloads {
        match one(verified, task, workload, &mut work) {
            Ok(more) => {
                if let Ok(observations) = &mut work.result {
                    observations.extend(more);
                }
            }
            Err(failure) => {
                work.result = Err(failure);
                return work;
            }
        }
    }
    match verified.drifts(whole_plot) {
        Ok(drifts) => work.drift = told(drifts, true),
        Err(error) => work.result = Err((Stage::Verify, error.to_string())),
    }
    work
}

fn one(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    workload: &Workload,
    work: &mut Work,
) -> Result<Vec<Observation>, (Stage, String)> {
    let output = verified
        .run(&workload.job(task.places))
        .map_err(|e| (Stage::Measure, e.to_string()))?;
    work.wall += output.wall;
    let content = output.result.clone().unwrap_or_else(|| output.stdout.clone());
    work.raw.push(RawOutput {
        workload: workload.name.clone(),
        content,
    });
    workload
        .observations(&output)
        .map_err(|e| (Stage::Parse, e.to_string()))
}

fn told(found: Vec<Found>, during: bool) -> Vec<Drift> {
    let tell = |f: Found| Drift {
        address: f.address.to_string(),
        wanted: f.wanted,
        found: f.found,
        during,
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
