//! Workloads inside the guest: a job's folder, the files it leaves there, and the servers that jobs talk to.
//!
//! Does not know what the workloads are.

use super::command::Running;
use super::local::chain;
use super::transport::{Job as GuestJob, Transport, TransportError};
use super::{HostError, Job, JobOutput, RESULT_FILE, ServerJob};
use crate::units::Bytes;
use crate::workload::{Side, program};
use std::fs;
use std::thread;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// A server that does not listen after this will not.
const LISTEN_LIMIT: Duration = Duration::from_secs(10);
/// State LISTEN in /proc/net/tcp (`include/net/tcp_states.h`).
const LISTEN: &str = "0A";

/// A transport's failure as the host's: a guest that does not answer, or lost what was asked of it, is lost.
pub(super) fn failed(doing: String, error: &TransportError) -> HostError {
    let host = HostError::new(doing, chain(error));
    if error.is_silent() {
        host.losing_guest()
    } else {
        host
    }
}

fn bound(max: Bytes) -> usize {
    usize::try_from(max.0).unwrap_or(usize::MAX)
}

/// Runs a job in the guest to its end and takes its results; tells when it `began`.
pub(super) fn run(
    job: &Job,
    guest: &Transport,
    began: &dyn Fn(),
    cancelled: &dyn Fn() -> bool,
) -> Result<JobOutput, HostError> {
    let started = start(job, &[], guest)?;
    began();
    guest
        .wait_job(&started, job.expected, job.limit, cancelled)
        .map_err(|e| failed(doing(job), &e))?;
    take(job, &started, guest)
}

fn doing(job: &Job) -> String {
    format!("run `{}` in the guest", program(&job.argv))
}

/// Starts a job in the guest through a program that becomes it, such as one that waits; in the words of that program
/// [`RESULT_FILE`] stands for the same file.
pub(super) fn start(job: &Job, through: &[String], guest: &Transport) -> Result<GuestJob, HostError> {
    let token = Uuid::now_v7();
    let started = start_as(token, job, through, guest);
    if started.as_ref().is_err_and(|e| !e.guest_lost) {
        // The first failure is the one to be told.
        let _ = guest.clear_job(token);
    }
    started
}

fn start_as(token: Uuid, job: &Job, through: &[String], guest: &Transport) -> Result<GuestJob, HostError> {
    let folder = format!("/run/kvmtune/{token}");
    for file in &job.files {
        guest
            .put_file(token, &file.name, file.text.as_bytes())
            .map_err(|e| failed(format!("put {} into the guest", file.name), &e))?;
    }
    let words = through.iter().chain(&job.argv);
    let argv: Vec<_> = words.map(|word| super::placed(word, &folder)).collect();
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    guest
        .start_job(token, &argv, bound(job.max_output))
        .map_err(|e| failed(doing(job), &e))
}

/// Takes the results of a job that has ended.
pub(super) fn take(job: &Job, started: &GuestJob, guest: &Transport) -> Result<JobOutput, HostError> {
    let program = program(&job.argv);
    let wants_result = job.argv.iter().any(|a| a.contains(RESULT_FILE));
    let read = |path: &str| guest.read_file(&super::placed(path, started.directory()), bound(job.max_output));
    let content = wants_result.then(|| read(RESULT_FILE));
    // Whatever goes wrong with the series: a guest that is lost does not answer what is asked next either.
    let series = job.series.as_ref().map(|path| read(path).map_err(|e| chain(&e)));
    let done = guest.collect_job(started).map_err(|e| failed(doing(job), &e))?;
    if done.truncated {
        return Err(flooded(program, job.max_output));
    }
    let result = match content {
        None => None,
        Some(Ok(bytes)) => Some(bytes),
        // A command that failed may not have come to writing; its exit code tells more.
        Some(Err(error)) if error.is_refused() => None,
        Some(Err(error)) if error.is_too_large() => return Err(flooded(program, job.max_output)),
        Some(Err(error)) => return Err(failed(doing(job), &error)),
    };
    Ok(JobOutput {
        exit: done.exit_code,
        wall: done.wall,
        stdout: done.stdout,
        stderr: done.stderr,
        result,
        series,
    })
}

fn flooded(program: &str, max: Bytes) -> HostError {
    HostError::new(
        format!("take the output of `{program}`"),
        format!("it is larger than {max}"),
    )
}

/// An error when an output passed the limit.
pub(super) fn within_limit(argv: &[String], max: Bytes, outputs: [&Vec<u8>; 2]) -> Result<(), HostError> {
    let program = program(argv);
    if outputs.iter().any(|o| o.len() > bound(max)) {
        Err(flooded(program, max))
    } else {
        Ok(())
    }
}

/// A command that a workload talks to.
pub(super) struct Server {
    process: Process,
    side: Side,
    port: u16,
}

enum Process {
    Here(Running),
    Guest(GuestJob),
}

impl Server {
    pub(super) fn start(job: &ServerJob, guest: &Transport, max: Bytes) -> Result<Self, HostError> {
        let process = match job.side {
            Side::Host => Process::Here(Running::start(&job.argv, max)?),
            Side::Guest | Side::Neighbour => {
                let argv: Vec<_> = job.argv.iter().map(String::as_str).collect();
                let started = guest.start_job(Uuid::now_v7(), &argv, bound(max));
                Process::Guest(started.map_err(|e| failed("start a server in the guest".into(), &e))?)
            }
        };
        Ok(Self {
            process,
            side: job.side,
            port: job.port,
        })
    }

    /// Waits by looking at the kernel's socket table: a probing connection would be a client of its own.
    pub(super) fn wait_until_listening(
        &self,
        guest: &Transport,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), HostError> {
        let started = Instant::now();
        while started.elapsed() < LISTEN_LIMIT && !cancelled() {
            let tables = ["/proc/thread-self/net/tcp", "/proc/thread-self/net/tcp6"];
            let listening = tables.iter().any(|path| {
                let table = match self.side {
                    Side::Host => fs::read(path).unwrap_or_default(),
                    Side::Guest | Side::Neighbour => guest.read_file(path, 1 << 20).unwrap_or_default(),
                };
                listens(&String::from_utf8_lossy(&table), self.port)
            });
            if listening {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let cause = format!(
            "nothing listens on TCP port {} after {LISTEN_LIMIT:.0?}",
            self.port
        );
        Err(HostError::new("start the workload's server", cause))
    }

    pub(super) fn end(self, guest: &Transport) -> Result<(), HostError> {
        match self.process {
            Process::Here(running) => running.end(),
            Process::Guest(job) => {
                guest
                    .kill_job(&job)
                    .map_err(|e| failed("end the server in the guest".into(), &e))?;
            }
        }
        Ok(())
    }
}

fn listens(table: &str, port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&wanted)) && fields.nth(1) == Some(LISTEN)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use super::*;
    use crate::host::agent::Agent;
    use crate::host::libvirt::{LibvirtError, LibvirtErrorKind};
    use crate::workload::{DropCaches, JobFile};
    use std::sync::{Arc, Mutex};

    /// A guest whose agent fails at what `answers` says, and does nothing with the rest; and what it was asked.
    pub(in crate::host) fn stand_in(
        answers: impl Fn(&str) -> Result<(), LibvirtErrorKind> + Send + Sync + 'static,
    ) -> (Transport, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let agent = Agent::over(move |json, _| {
            log.lock().unwrap().push(json.to_string());
            answers(json).map_err(|kind| LibvirtError::stand_in(kind, "stand-in"))?;
            let value = match json {
                _ if json.contains("guest-file-open") => "7",
                _ if json.contains("guest-exec-status") => r#"{"exited":true,"exitcode":0}"#,
                _ if json.contains("guest-exec") => r#"{"pid":5}"#,
                _ if json.contains("guest-file-write") => r#"{"count":4}"#,
                _ => "{}",
            };
            Ok(format!("{{\"return\":{value}}}"))
        });
        (Transport::Agent(agent), asked)
    }

    #[test]
    fn what_was_put_for_a_job_that_does_not_start_is_removed() {
        let file = |name: &str| JobFile {
            name: name.into(),
            text: "four".into(),
        };
        let job = Job {
            side: Side::Guest,
            argv: vec!["fio".into()],
            server: None,
            expected: Duration::ZERO,
            limit: Duration::from_secs(1),
            max_output: Bytes(1),
            series: None,
            files: vec![file("one"), file("two")],
            drop_caches: DropCaches::Off,
        };
        // Without a refusal it is the start that fails, which tells no process.
        for refuses_second in [true, false] {
            let (guest, asked) = stand_in(move |json| {
                if refuses_second && json.contains(".two") {
                    return Err(LibvirtErrorKind::AgentRefused);
                }
                Ok(())
            });
            let error = start(&job, &[], &guest).unwrap_err();
            assert!(!error.guest_lost, "{error}");
            let asked = asked.lock().unwrap();
            let put = asked.iter().find(|json| json.contains(".one")).unwrap();
            let (_, token) = put.split_once("/run/kvmtune-").unwrap();
            let (token, _) = token.split_once('.').unwrap();
            let clear = asked.iter().rfind(|json| json.contains("rm -rf")).unwrap();
            assert!(clear.contains(&format!("\"{token}\"")), "{clear}");
            assert!(clear.contains("/run/kvmtune-$1.\\\"*"), "{clear}");
        }
        let (guest, asked) = stand_in(|_| Err(LibvirtErrorKind::AgentTimeout));
        assert!(start(&job, &[], &guest).unwrap_err().guest_lost);
        assert_eq!(asked.lock().unwrap().len(), 1, "a lost guest is left alone");
    }

    #[test]
    fn a_listening_port_is_found_in_the_table() {
        let table = "  sl  local_address rem_address   st\n   0: 00000000:1451 00000000:0000 0A 0:0\n   1: 0100007F:1452 0100007F:9 01 0:0\n";
        assert!(listens(table, 5201));
        assert!(!listens(table, 5202));
        assert!(!listens("garbage", 5201));
    }
}
