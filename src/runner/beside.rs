//! A workload with those of the neighbours beside it, behind one barrier.
//!
//! Does not know how guests are started together: the host does it.

use super::Task;
use crate::change::Verified;
use crate::event::{RawOutput, Stage};
use crate::experiment::{BARRIER, Neighbour, SKEW};
use crate::host::{BesideJob, JobOutput, Together};
use crate::units::Span;
use crate::workload::{Observation, Workload};
use std::time::Duration;

/// Guests that started further apart than this did not compete from the start.
const LARGEST_SKEW: Duration = Duration::from_millis(250);

/// What the neighbours gave, and how far apart all started.
pub(super) struct Beside {
    pub(super) observations: Vec<Observation>,
    pub(super) raw: Vec<RawOutput>,
}

/// Of its measured time, or at least two seconds, the workload may run on when a neighbour has ended: tools need unlike
/// times to start.
const LARGEST_SHARE_ALONE: f64 = 0.1;
const SHORTEST_ALONE: Duration = Duration::from_secs(2);

/// Runs the workload, with those of the neighbours where there are any.
pub(super) fn run(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    workload: &Workload,
) -> Result<(JobOutput, Beside), (Stage, String)> {
    let neighbours = loading(task.header.protocol.guest.neighbours());
    let job = workload.job(task.places);
    let failed = |e: crate::host::HostError| (Stage::Measure, e.to_string());
    if neighbours.is_empty() {
        let none = Beside {
            observations: Vec::new(),
            raw: Vec::new(),
        };
        return Ok((verified.run(&job).map_err(failed)?, none));
    }
    let beside: Vec<_> = neighbours
        .iter()
        .map(|own| beside_job(task, workload, own))
        .collect();
    let together = verified.run_together(&job, &beside).map_err(failed)?;
    competed(workload, &together).map_err(|why| (Stage::Measure, why))?;
    let told = tell(&neighbours, &together)?;
    Ok((together.output, told))
}

/// Those that run something, with what it is: their numbers, and workloads that are called by their names.
fn loading(neighbours: &[Neighbour]) -> Vec<(usize, &Workload)> {
    let all = neighbours.iter().enumerate();
    all.filter_map(|(number, neighbour)| Some((number, neighbour.workload.as_ref()?)))
        .collect()
}

/// What a neighbour runs: as long as the workload beside it, which may be run for longer than the experiment says.
fn beside_job(task: &Task<'_>, workload: &Workload, (number, own): &(usize, &Workload)) -> BesideJob {
    // One without a warm-up loads the guest from the start all the same.
    let before = if own.honours_warmup() {
        Duration::ZERO
    } else {
        workload.warmup.0
    };
    let as_long = Workload {
        time: Span(workload.time.0.saturating_add(before)),
        warmup: workload.warmup,
        ..(*own).clone()
    };
    let mut job = as_long.job(&task.places.of_neighbour(*number));
    // Whether it settled is not asked: it is there to be in the way.
    job.series = None;
    BesideJob {
        neighbour: own.name.clone(),
        job,
    }
}

fn competed(workload: &Workload, together: &Together) -> Result<(), String> {
    let Together { skew, alone, .. } = together;
    if *skew > LARGEST_SKEW {
        return Err(format!(
            "the guests started {skew:.0?} apart, more than {LARGEST_SKEW:.0?}: they did not compete from the start"
        ));
    }
    let most = workload.time.0.mul_f64(LARGEST_SHARE_ALONE).max(SHORTEST_ALONE);
    if *alone > most {
        return Err(format!(
            "the workload ran on for {alone:.1?} when a neighbour had ended, more than {most:.1?}: they did not compete \
             to the end"
        ));
    }
    Ok(())
}

fn tell(neighbours: &[(usize, &Workload)], together: &Together) -> Result<Beside, (Stage, String)> {
    let mut told = Beside {
        observations: vec![Observation {
            workload: BARRIER.into(),
            metric: SKEW.into(),
            value: together.skew.as_secs_f64() * 1e3,
        }],
        raw: Vec::new(),
    };
    for ((_, own), output) in neighbours.iter().zip(&together.beside) {
        let found = own.observations(output);
        let found = found.map_err(|e| (Stage::Parse, format!("neighbour {}: {e}", own.name)))?;
        told.observations.extend(found);
        told.raw.push(RawOutput {
            workload: own.name.clone(),
            content: output.result.as_ref().unwrap_or(&output.stdout).clone(),
        });
    }
    Ok(told)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::workload::Library;

    #[test]
    fn guests_that_start_or_end_too_far_apart_did_not_compete() {
        let library = Library::builtin();
        let workload = library.get("fio-randread-4k").unwrap();
        let with = |skew, alone| {
            let together = Together {
                skew: Duration::from_millis(skew),
                alone: Duration::from_millis(alone),
                ..Together::default()
            };
            competed(workload, &together)
        };
        assert_eq!(with(250, 2000), Ok(()));
        assert!(with(251, 0).is_err_and(|why| why.contains("251ms apart")));
        assert!(with(0, 2001).is_err_and(|why| why.contains("ran on for 2.0s")));
    }
}
