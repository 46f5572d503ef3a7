//! What an A/A run certifies of its host, and whether that holds for another run. Knows records, not stores.

use super::numbers::{Numbers, judged_blocks};
use crate::analysis::{AaBlock, AnalysisError, Arm, Noise};
use crate::design::Role;
use crate::event::{Certificate, Purpose, RunHeader, TrialRecord};
use jiff::Timestamp;
use std::time::Duration;

/// From fewer blocks the noise is a guess: of two, off by more than twice in almost every second run.
const FEWEST: usize = 6;

/// The certificate of an A/A run, for its first response; `None` for another run, or with fewer than six blocks.
pub fn certificate(
    header: &RunHeader,
    records: &[TrialRecord],
) -> Result<Option<Certificate>, AnalysisError> {
    let again = header.plan.treatments.iter().position(|t| t.role == Role::Again);
    let (Purpose::Noise, Some(again)) = (&header.purpose, again) else {
        return Ok(None);
    };
    let numbers = Numbers::new(&header.protocol, &header.plan, records);
    let metric = &header.protocol.response().metric;
    let mut blocks = Vec::new();
    let mut starts: Vec<Timestamp> = Vec::new();
    let columns = numbers
        .column(0, metric)
        .into_iter()
        .zip(numbers.column(again, metric));
    for (block, values) in judged_blocks(&header.plan).zip(columns) {
        let trials = (numbers.trial(block, 0), numbers.trial(block, again));
        let ((Some(own), Some(other)), (Some(own_trial), Some(other_trial))) = (values, trials) else {
            continue;
        };
        starts.push(own_trial.started.min(other_trial.started));
        blocks.push(if own_trial.trial.order < other_trial.trial.order {
            AaBlock {
                first: own,
                second: other,
                first_arm: Arm::Baseline,
            }
        } else {
            AaBlock {
                first: other,
                second: own,
                first_arm: Arm::Candidate,
            }
        });
    }
    let (Some(first), Some(last), true) = (starts.first(), starts.last(), blocks.len() >= FEWEST) else {
        return Ok(None);
    };
    let span = last.duration_since(*first).as_secs_f64();
    let each = (span / (starts.len() - 1) as f64).max(f64::MIN_POSITIVE);
    Ok(Some(Certificate {
        run: header.run,
        started: header.started,
        metric: metric.clone(),
        noise: Noise::measure(&blocks, each)?,
        trial: Duration::from_secs_f64(each / 2.0),
    }))
}

/// Whether a certificate made by one run speaks for another: the same guest, workloads and response on a host of the
/// same class, and as many starts of the guest, which are noise too. A confirmation has a fresh guest for each trial
/// whatever the experiment says, as an ablation has, and takes the certificate of its sweep.
pub fn certifies(certified: &RunHeader, other: &RunHeader) -> bool {
    let (a, b) = (&certified.protocol, &other.protocol);
    let confirms = matches!(other.purpose, Purpose::Confirm { .. } | Purpose::Ablate { .. });
    certified.purpose == Purpose::Noise
        && a.guest == b.guest
        && (confirms || certified.plan.guests == other.plan.guests)
        && a.workloads == b.workloads
        && a.response() == b.response()
        && certified.facts.class() == other.facts.class()
}
