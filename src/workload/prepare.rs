//! What makes a disk ready before it is measured: written once over, or a file laid out.
//!
//! Does not run it, nor know when it was run.

use super::argv::Hole;
use super::file::{Barred, argv, whole_seconds};
use super::job_file::{JobFile, JobFiles, Use, command, named, program};
use super::{Places, Workload};
use crate::decode::Reader;
use crate::host::Job;
use crate::units::Span;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often a disk is made ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PrepareWhen {
    /// Before the first trial of a sitting.
    Run,
    /// Before the first trial after each start of the guest.
    Start,
    /// Before each trial.
    Trial,
}

/// A command that makes the disk ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepare {
    /// Program and arguments, with placeholders.
    pub argv: Vec<String>,
    /// What it needs beside it.
    pub files: Vec<JobFile>,
    /// How often.
    pub when: PrepareWhen,
    /// After this it is ended, and the trial failed.
    pub limit: Span,
}

const WHEN: [(&str, PrepareWhen); 3] = [
    ("run", PrepareWhen::Run),
    ("start", PrepareWhen::Start),
    ("trial", PrepareWhen::Trial),
];

/// The table `[prepare]`.
pub(super) fn parse(mut table: Reader<'_>, files: &JobFiles) -> Option<Prepare> {
    let job = table.take("job");
    let (argv, files) = if let Some(field) = job {
        table.refuse(
            "argv",
            "a job file has a command line of its own; remove one of the two",
        );
        let file = named(&field, files, Use::Preparing);
        let argv = file.as_ref().map(|file| command(file, Use::Preparing));
        (argv, file.into_iter().collect())
    } else {
        let barred = Barred {
            holes: &[Hole::Time, Hole::Warmup, Hole::Result, Hole::Series],
            message: "a preparation has no time of its own, and nothing that it writes is read",
            hint: "remove the placeholder",
        };
        let hint = "write argv = [\"program\", \"argument\"], or job = \"x.fio\"";
        let field = table.required("argv", hint);
        (field.and_then(|f| argv(&f, &barred)), Vec::new())
    };
    let when = table
        .take("when")
        .map_or(Some(PrepareWhen::Run), |f| f.word(&WHEN));
    let limit = table
        .take("limit")
        .map_or(Some(Span::secs(1800)), |f| whole_seconds(&f, 1));
    table.finish();
    Some(Prepare {
        argv: argv?,
        files,
        when: when?,
        limit: limit?,
    })
}

impl Workload {
    /// The job that makes its disk ready.
    pub fn prepare_job(&self, places: &Places) -> Option<Job> {
        let prepare = self.prepare.as_ref()?;
        Some(Job {
            argv: self.filled(&prepare.argv, places),
            server: None,
            expected: Duration::ZERO,
            limit: prepare.limit.0,
            series: None,
            files: prepare.files.clone(),
            drop_caches: super::DropCaches::Off,
            ..self.job(places)
        })
    }
}

impl Prepare {
    /// What it is called in messages: its job file, or its program.
    pub fn name(&self) -> &str {
        let file = self.files.first().map(|file| file.name.as_str());
        file.unwrap_or_else(|| program(&self.argv))
    }
}
