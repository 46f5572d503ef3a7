//! Disks made ready before a trial: what is due, and what becomes of a trial whose disk could not be.
//!
//! Done before the live settings of the trial, so that all treatments find the same disk. Knows no blocks.

use super::Task;
use super::trial::{self, Measured};
use crate::change::{ChangeError, Verified};
use crate::diagnostic::one_line;
use crate::event::{Outcome, Stage, Timing};
use crate::host::HostError;
use crate::workload::{Prepare, PrepareWhen, Workload, program};
use std::time::Duration;

/// What was made ready in this sitting, and the last start of the guest it was done under.
#[derive(Debug, Default)]
pub(super) struct Prepared(Vec<(Prepare, u32)>);

/// Why a disk could not be made ready.
struct Unprepared {
    message: String,
    guest_lost: bool,
}

impl Prepared {
    /// Measures a treatment, once what its workloads need first is done. That is in no time of the trial.
    pub(super) fn measure(
        &mut self,
        verified: &mut Verified<'_>,
        task: &Task<'_>,
        (treatment, boot): (usize, u32),
    ) -> Result<Measured, ChangeError> {
        let started = verified.host().now();
        match self.make_ready(verified, task, boot) {
            Ok(notices) => {
                let mut measured = trial::measure(verified, task, treatment)?;
                measured.notices.splice(0..0, notices);
                Ok(measured)
            }
            Err(Unprepared { message, guest_lost }) => Ok(Measured {
                started,
                outcome: Outcome::Failed {
                    stage: Stage::Prepare,
                    message,
                },
                timing: Timing::default(),
                raw: Vec::new(),
                guest_lost,
                notices: Vec::new(),
            }),
        }
    }

    /// Does what is due, once where several workloads ask for the same; tells what it took.
    fn make_ready(
        &mut self,
        verified: &mut Verified<'_>,
        task: &Task<'_>,
        boot: u32,
    ) -> Result<Vec<(String, String)>, Unprepared> {
        let mut notices = Vec::new();
        let mut done: Vec<&Prepare> = Vec::new();
        for workload in &task.header.protocol.workloads {
            let Some(prepare) = workload.prepare.as_ref() else {
                continue;
            };
            if done.contains(&prepare) || !self.is_due(prepare, boot) {
                continue;
            }
            let name = prepare.name();
            let took = run(verified, task, workload).map_err(|(message, guest_lost)| Unprepared {
                message: format!("{name}, before {}: {message}", workload.name),
                guest_lost,
            })?;
            done.push(prepare);
            self.0.retain(|(known, _)| known != prepare);
            self.0.push((prepare.clone(), boot));
            let text = format!("{name} made the disk ready in {:.1} s", took.as_secs_f64());
            notices.push((format!("prepare {name}"), text));
        }
        Ok(notices)
    }

    fn is_due(&self, prepare: &Prepare, boot: u32) -> bool {
        let last = self.0.iter().find(|(known, _)| known == prepare);
        match (prepare.when, last) {
            (_, None) | (PrepareWhen::Trial, _) => true,
            (PrepareWhen::Run, Some(_)) => false,
            (PrepareWhen::Start, Some((_, under))) => *under != boot,
        }
    }
}

/// Makes the disk of a workload ready; what that took.
fn run(
    verified: &mut Verified<'_>,
    task: &Task<'_>,
    workload: &Workload,
) -> Result<Duration, (String, bool)> {
    let Some(job) = workload.prepare_job(task.places) else {
        return Ok(Duration::ZERO);
    };
    let clock = verified.host().clock();
    let failed = |error: HostError| (error.to_string(), error.guest_lost);
    let output = verified.run(&job).map_err(failed)?;
    if output.exit == 0 {
        return Ok(verified.host().since(clock));
    }
    let said = [&output.stderr, &output.stdout]
        .into_iter()
        .map(|bytes| String::from_utf8_lossy(bytes))
        .find_map(|text| {
            text.lines()
                .rev()
                .find(|l| !l.trim().is_empty())
                .map(|l| one_line(l, 200))
        })
        .unwrap_or_else(|| "it said nothing".into());
    let message = format!("{} exited with {}: {said}", program(&job.argv), output.exit);
    Err((message, false))
}
