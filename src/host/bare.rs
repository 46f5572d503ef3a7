//! This machine without a guest: workloads run on it, and what is tuned is the machine itself.
//!
//! Knows its kernel's files; does not know what the jobs are.

use super::kernel::KernelHost;
use super::local::Cancel;
use super::telemetry::{Sampler, Subject};
use super::{Host, HostError, Job, JobOutput, Power, Scope, actors, caches, host_job, survey};
use crate::facts::Facts;
use crate::telemetry::Series;
use crate::tunable::Address;
use std::path::Path;
use std::sync::atomic::Ordering;

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
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        if !job.drop_caches.is_off() {
            caches::drop_here(&cancelled)?;
        }
        let began = || {
            if let Some(sampler) = &self.sampler {
                sampler.began();
            }
        };
        host_job::run(job, &began, &cancelled)
    }
}

/// The device that a file is on, or will be when it is made.
fn device_behind(file: &str) -> Option<String> {
    let folder = Path::new(file).parent()?.to_str()?;
    survey::host_device(file).or_else(|| survey::host_device(folder))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::host::{RESULT_FILE, SERIES_FILE};
    use crate::units::Bytes;
    use crate::workload::{DropCaches, JobFile, Side};
    use std::path::Path;
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
            files: Vec::new(),
            drop_caches: DropCaches::Off,
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
    fn kvmtunes_own_program_is_there_without_being_installed() {
        let argv = ["kvmtune-guest", "at", "0", "--", "echo", "here"];
        let own = Job {
            argv: argv.map(String::from).to_vec(),
            series: None,
            ..job("", 1000)
        };
        let out = BareHost::new(None, Cancel::default()).run(&own).unwrap();
        assert_eq!((out.exit, &out.stdout[..]), (0, &b"here\n"[..]), "{out:?}");
    }

    #[test]
    fn files_that_come_with_a_job_are_there_when_it_starts() {
        let mut host = BareHost::new(None, Cancel::default());
        let mut job = job("cat \"$2/x.fio\"; stat -c %a \"$2\" \"$2/x.fio\"", 1000);
        job.argv.push("{job}".into());
        let text = "[job]\nfilename=${SCRATCH}{result}\n".to_string();
        let name = "x.fio".to_string();
        job.files.push(JobFile {
            name,
            text: text.clone(),
        });
        let out = host.run(&job).unwrap();
        assert_eq!(
            String::from_utf8(out.stdout).unwrap(),
            format!("{text}700\n600\n")
        );
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
