//! This machine without a guest: workloads run on it, and what is tuned is the machine itself.
//!
//! Knows its kernel's files and how a job's files are placed; does not know what the jobs are.

use super::command::Running;
use super::guest_job::within_limit;
use super::kernel::KernelHost;
use super::local::Cancel;
use super::telemetry::{Sampler, Subject};
use super::{Host, HostError, Job, JobOutput, Power, RESULT_FILE, SERIES_FILE, Scope, actors, survey};
use crate::facts::Facts;
use crate::telemetry::Series;
use crate::tunable::Address;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use uuid::Uuid;

/// This machine, whichever side a job is for.
#[derive(Debug)]
pub struct BareHost {
    scratch: Option<String>,
    cancel: Cancel,
    sampler: Option<Sampler>,
}

impl BareHost {
    /// The machine; disk workloads may overwrite the file `scratch`.
    pub fn new(scratch: Option<&str>, cancel: Cancel) -> Self {
        Self {
            scratch: scratch.map(str::to_string),
            cancel,
            sampler: None,
        }
    }
}

impl Host for BareHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        survey::bare_facts(self.scratch.as_deref())
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        KernelHost.read(address)
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        KernelHost.write(address, value)
    }

    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        KernelHost.scope(address)
    }

    fn power(&mut self, _: Power) -> Result<(), HostError> {
        Ok(())
    }

    fn is_read_only(&mut self, address: &Address) -> bool {
        super::kernel::is_read_only(address)
    }

    fn actors(&mut self, address: &Address) -> Vec<String> {
        actors::likely(address, &actors::processes())
    }

    fn watch(&mut self) {
        let disk = self.scratch.as_deref().and_then(device_behind);
        self.sampler = Sampler::start(Subject {
            disk,
            ..Subject::default()
        });
    }

    fn watched(&mut self) -> Option<Series> {
        self.sampler.take()?.end()
    }

    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        if job.server.is_some() {
            let why = "it has a counterpart on another machine, and there is none";
            return Err(HostError::new("run a workload on the host", why));
        }
        let folder = Folder::make()?;
        let placed = |text: &String| {
            text.replace(RESULT_FILE, &folder.path("result"))
                .replace(SERIES_FILE, &folder.path("series"))
        };
        let argv: Vec<_> = job.argv.iter().map(placed).collect();
        let max = job.max_output;
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        let running = Running::start(&argv, max)?;
        if let Some(sampler) = &self.sampler {
            sampler.began();
        }
        let done = running.finish(job.limit, &cancelled)?;
        // A command that failed may not have come to writing; its exit code tells more.
        let wants_result = job.argv.iter().any(|a| a.contains(RESULT_FILE));
        let result = wants_result.then(|| read(Path::new(&folder.path("result")), max.0));
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
}

/// The device that a file is on, or will be when it is made.
fn device_behind(file: &str) -> Option<String> {
    let folder = Path::new(file).parent()?.to_str()?;
    survey::host_device(file).or_else(|| survey::host_device(folder))
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

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::units::Bytes;
    use crate::workload::Side;
    use std::time::Duration;

    fn job(script: &str, max: u64) -> Job {
        let argv = ["sh", "-c", script, RESULT_FILE, SERIES_FILE];
        Job {
            side: Side::Guest,
            argv: argv.map(String::from).to_vec(),
            server: None,
            expected: Duration::ZERO,
            limit: Duration::from_secs(20),
            max_output: Bytes(max),
            series: Some(format!("{SERIES_FILE}.1")),
        }
    }

    #[test]
    fn a_job_leaves_its_files_and_no_folder() {
        let mut host = BareHost::new(None, Cancel::default());
        let script = "echo out; echo result >\"$0\"; echo series >\"$1.1\"; echo \"$0\" >&2; exit 3";
        let out = host.run(&job(script, 1000)).unwrap();
        assert_eq!((out.exit, &out.stdout[..]), (3, &b"out\n"[..]));
        assert_eq!(out.result.as_deref(), Some(&b"result\n"[..]));
        assert_eq!(out.series, Some(Ok(b"series\n".to_vec())));
        let path = String::from_utf8(out.stderr).unwrap();
        assert!(!Path::new(path.trim()).parent().unwrap().exists());
        let none = host.run(&job("exit 1", 1000)).unwrap();
        assert!(none.result.is_none() && matches!(none.series, Some(Err(_))));
    }

    #[test]
    fn a_flood_in_a_file_is_refused() {
        let mut host = BareHost::new(None, Cancel::default());
        let flood = host.run(&job("head -c 5000 /dev/zero >\"$0\"", 1000));
        assert!(flood.unwrap_err().to_string().contains("larger"));
        let facts = host.facts().unwrap();
        assert!(facts.record.contains_key("host.kernel") && facts.vcpus == 0);
    }
}
