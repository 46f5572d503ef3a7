//! Whether a workload settled while it was measured, and its throughput without the time until it did.
//!
//! Knows samples and the rule they are judged by; does not run anything.

use crate::analysis::{FEWEST_SAMPLES, Movement, Rounds, Steadiness, movement, steadiness};
use crate::diagnostic::one_line;
use crate::host::JobOutput;
use crate::workload::{Observation, SteadyRule, Workload};

/// What the samples of a workload show.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Settling {
    /// Nobody asked, or the plan already says that its time is too short.
    NotAsked,
    /// There should be samples and there are not: the numbers count as they are.
    Unknown {
        /// Why.
        why: String,
    },
    /// It settled.
    Settled {
        /// Mean of what is kept over the mean of all.
        correction: f64,
    },
    /// It did not.
    Unsettled {
        /// What it did instead.
        what: String,
    },
}

/// Judges what a finished job of `workload` left.
pub(super) fn judge(workload: &Workload, output: &JobOutput) -> Settling {
    if !workload.is_long_enough_for(FEWEST_SAMPLES) {
        return Settling::NotAsked;
    }
    let samples = match workload.samples(output) {
        Ok(Some(samples)) => samples,
        Ok(None) => return Settling::NotAsked,
        Err(error) => {
            let why = one_line(&error.to_string(), 200);
            return Settling::Unknown { why };
        }
    };
    let found = match workload.steady {
        SteadyRule::Off => return Settling::NotAsked,
        SteadyRule::Mser5 => by_mser5(workload, &samples),
        SteadyRule::Snia => by_snia(workload, &samples),
    };
    found.unwrap_or_else(|| Settling::Unknown {
        why: format!(
            "the series has {} samples, and {FEWEST_SAMPLES} are needed",
            samples.len()
        ),
    })
}

fn by_mser5(workload: &Workload, samples: &[f64]) -> Option<Settling> {
    match steadiness(samples) {
        Steadiness::TooShort => None,
        Steadiness::Steady { warmup } => Some(Settling::Settled {
            correction: ratio(mean(&samples[warmup..]), mean(samples)),
        }),
        Steadiness::NotSteady => {
            let Movement { samples, share } = movement(samples)?;
            let way = if share < 0.0 { "fell" } else { "rose" };
            let what = format!(
                "{} still {way} {:.1} % over the last {samples} s",
                metric(workload),
                100.0 * share.abs()
            );
            Some(Settling::Unsettled { what })
        }
    }
}

fn by_snia(workload: &Workload, samples: &[f64]) -> Option<Settling> {
    let rounds = Rounds::of(samples)?;
    if rounds.are_steady() {
        return Some(Settling::Settled { correction: 1.0 });
    }
    let what = format!(
        "{} of five rounds of {} s ranges over {:.1} % of its mean and moves by {:.1} %; 20 % and 10 % are allowed",
        metric(workload),
        samples.len() / 5,
        100.0 * rounds.range,
        100.0 * rounds.excursion
    );
    Some(Settling::Unsettled { what })
}

fn metric(workload: &Workload) -> &'static str {
    workload.parser.sampled_metric().unwrap_or("it")
}

fn mean(samples: &[f64]) -> f64 {
    samples.iter().sum::<f64>() / samples.len() as f64
}

/// A tool that did nothing all the time has nothing to correct.
fn ratio(kept: f64, all: f64) -> f64 {
    if all > 0.0 { kept / all } else { 1.0 }
}

/// Takes the time until it settled out of the metric that the samples are of.
///
/// The tool's own mean is scaled rather than replaced: samples may be taken at another place (iperf3's are the
/// sender's, its number the receiver's), and a number must not depend on whether anything was left out.
pub(super) fn correct(workload: &Workload, correction: f64, observations: &mut [Observation]) {
    let sampled = workload.parser.sampled_metric();
    for observation in observations {
        if Some(observation.metric.as_str()) == sampled {
            observation.value *= correction;
        }
    }
}
