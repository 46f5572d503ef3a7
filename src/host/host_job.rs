//! A job on this machine: a folder of its own, the files that come with it, and those it leaves there.
//!
//! Does not know what the jobs are.

use super::command::Running;
use super::guest_job::within_limit;
use super::{HostError, Job, JobOutput, RESULT_FILE};
use crate::workload::JobFile;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// Runs a job to its end, in the calling thread's namespaces, and takes its results; tells when it `began`.
pub(super) fn run(job: &Job, began: &dyn Fn(), cancelled: &dyn Fn() -> bool) -> Result<JobOutput, HostError> {
    let folder = Folder::make()?;
    for file in &job.files {
        folder.put(file)?;
    }
    let placed = |text: &String| super::placed(text, &folder.path());
    let argv: Vec<_> = job.argv.iter().map(placed).collect();
    let max = job.max_output;
    let running = Running::start(&argv, max)?;
    began();
    let done = running.finish(job.limit, cancelled)?;
    // A command that failed may not have come to writing; its exit code tells more.
    let wants_result = job.argv.iter().any(|a| a.contains(RESULT_FILE));
    let result = wants_result.then(|| read(&folder.0.join("result"), max.0));
    let result = result.and_then(Result::ok);
    let whole = result.clone().unwrap_or_default();
    within_limit(&argv, max, [&done.stdout, &done.stderr])?;
    within_limit(&argv, max, [&whole, &whole])?;
    let series = job.series.as_ref().map(placed);
    let series = series.map(|path| match read(Path::new(&path), max.0) {
        Ok(bytes) if bytes.len() as u64 > max.0 => Err(format!("it is larger than {max}")),
        read => read.map_err(|e| e.to_string()),
    });
    Ok(JobOutput {
        exit: done.exit,
        wall: done.wall,
        stdout: done.stdout,
        stderr: done.stderr,
        result,
        series,
    })
}

/// A file, and one byte more than `max` when it is longer.
fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A job's own folder; removed with all that is in it when dropped.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, HostError> {
        let path = std::env::temp_dir().join(format!("kvmtune-job-{}", Uuid::now_v7()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|e| HostError::new(format!("make the folder {}", path.display()), e))?;
        Ok(Self(path))
    }

    fn path(&self) -> String {
        self.0.display().to_string()
    }

    /// Puts a file in that is for root's eyes only.
    fn put(&self, file: &JobFile) -> Result<(), HostError> {
        let path = self.0.join(&file.name);
        let opened = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        let written = opened.and_then(|mut opened| opened.write_all(file.text.as_bytes()));
        written.map_err(|e| HostError::new(format!("write {}", path.display()), e))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
