//! A workload with those of the neighbours beside it, behind one barrier.
//!
//! Does not know how guests are started together: the host does it.

use super::Task;
use crate::change::Verified;
use crate::event::{RawOutput, Stage};
use crate::experiment::{BARRIER, Neighbour, SKEW};
use crate::host::{BesideJob, JobOutput, Together};
use crate::workload::{Observation, Workload};
use std::time::Duration;

/// Guests that started further apart than this did not compete from the start.
const LARGEST_SKEW: Duration = Duration::from_millis(250);

/// What the neighbours gave, and how far apart all started.
pub(super) struct Beside {
    pub(super) observations: Vec<Observation>,
    pub(super) raw: Vec<RawOutput>,
}

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
    competed(together.skew).map_err(|why| (Stage::Measure, why))?;
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
    let as_long = Workload {
        time: workload.time,
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

fn competed(skew: Duration) -> Result<(), String> {
    if skew <= LARGEST_SKEW {
        return Ok(());
    }
    Err(format!(
        "the guests started {skew:.0?} apart, more than {LARGEST_SKEW:.0?}: they did not compete from the start"
    ))
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
mod tests {
    use super::*;

    #[test]
    fn guests_that_start_too_far_apart_did_not_compete() {
        assert_eq!(competed(LARGEST_SKEW), Ok(()));
        let why = competed(Duration::from_millis(251));
        assert!(why.is_err_and(|why| why.contains("251ms apart")));
    }
}
