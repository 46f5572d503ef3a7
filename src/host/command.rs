//! Running one command on the host itself: bounded output, bounded time, ended by its process group.
//!
//! Does not know what the command is for.

use super::{HostError, program};
use crate::units::Bytes;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is killed is gone by then, or hangs in the kernel.
const DYING: Duration = Duration::from_secs(5);

/// A started command; ending it ends its whole process group.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    program: String,
    started: Instant,
    stdout: Option<JoinHandle<Vec<u8>>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
}

/// What a command left.
#[derive(Debug)]
pub(super) struct Finished {
    /// Exit code; 128 + number after a signal.
    pub exit: i32,
    /// Wall time.
    pub wall: Duration,
    /// Standard output up to the limit plus one byte.
    pub stdout: Vec<u8>,
    /// Standard error up to the limit plus one byte.
    pub stderr: Vec<u8>,
}

impl Running {
    /// Starts `argv` in the calling thread's namespaces, at most `max` bytes kept of each output.
    pub(super) fn start(argv: &[String], max: Bytes) -> Result<Self, HostError> {
        let (program, arguments) = argv
            .split_first()
            .ok_or_else(|| HostError::new("start a command", "it has no program"))?;
        let found = match program.as_str() {
            program::NAME => program::here()?,
            other => find(other).ok_or_else(|| {
                let mend = format!("not installed; try `apt-get install {other}`");
                HostError::new(format!("start `{other}` on the host"), mend)
            })?,
        };
        // The kernel ends the command with the thread that started it, also when kvmtune is killed.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(found)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| HostError::new("start `setpriv` (package util-linux) on the host", e))?;
        let stdout = child.stdout.take().map(|pipe| drain(pipe, max));
        let stderr = child.stderr.take().map(|pipe| drain(pipe, max));
        Ok(Self {
            child,
            program: program.clone(),
            started: Instant::now(),
            stdout,
            stderr,
        })
    }

    /// Waits for its end; at `limit`, or when `cancelled` says so, it is killed and an error returned.
    pub(super) fn finish(
        mut self,
        limit: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Finished, HostError> {
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) => {}
                Err(e) => return Err(HostError::new(format!("wait for `{}`", self.program), e)),
            }
            let too_long = self.started.elapsed() > limit;
            if too_long || cancelled() {
                let program = self.program.clone();
                self.end();
                let why = if too_long {
                    format!("it ran longer than {limit:.1?}")
                } else {
                    "interrupted".into()
                };
                return Err(HostError::new(format!("run `{program}` on the host"), why));
            }
            thread::sleep(Duration::from_millis(10));
        };
        let wall = self.started.elapsed();
        // What it left running must not hold the pipes open.
        let _ = killpg(self.group(), Signal::SIGKILL);
        self.await_outputs(limit, cancelled)?;
        Ok(Finished {
            exit: exit_code(status),
            wall,
            stdout: join(self.stdout.take()),
            stderr: join(self.stderr.take()),
        })
    }

    /// Waits for the ends of its outputs: a process that left the group can hold them open for ever.
    fn await_outputs(&self, limit: Duration, cancelled: &dyn Fn() -> bool) -> Result<(), HostError> {
        let is_read = |reader: &Option<JoinHandle<_>>| reader.as_ref().is_none_or(JoinHandle::is_finished);
        while !(is_read(&self.stdout) && is_read(&self.stderr)) {
            if self.started.elapsed() > limit || cancelled() {
                let why = "it ended and left a process that holds its output open";
                return Err(HostError::new(format!("run `{}` on the host", self.program), why));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// Ends the command and everything it started. One that hangs in the kernel, in a disk that does not answer, ends
    /// when it comes out of there, and is not waited for.
    pub(super) fn end(mut self) {
        let _ = killpg(self.group(), Signal::SIGKILL);
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < DYING {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn group(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX))
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    status
        .code()
        .unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// The program's path by `PATH`; a name with a slash is one already.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut paths = std::env::split_paths(&folders).map(|folder| folder.join(program));
    paths.find(|path| path.is_file())
}

fn drain(mut pipe: impl Read + Send + 'static, max: Bytes) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut kept = Vec::new();
        // One byte more tells that the limit was passed; the rest is read and dropped so that nobody blocks.
        let _ = pipe.by_ref().take(max.0 + 1).read_to_end(&mut kept);
        let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        kept
    })
}

fn join(reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    reader.and_then(|r| r.join().ok()).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn run(script: &str, max: u64, limit: Duration) -> Result<Finished, HostError> {
        let argv = ["sh", "-c", script].map(String::from);
        Running::start(&argv, Bytes(max))
            .unwrap()
            .finish(limit, &|| false)
    }

    #[test]
    fn output_and_exit_code_come_back() {
        let done = run("echo out; echo err >&2; exit 3", 100, Duration::from_secs(20)).unwrap();
        assert_eq!(
            (done.exit, &done.stdout[..], &done.stderr[..]),
            (3, &b"out\n"[..], &b"err\n"[..])
        );
    }

    #[test]
    fn a_flood_is_cut_and_a_hang_is_ended() {
        let flood = run("head -c 1000000 /dev/zero", 1000, Duration::from_secs(20)).unwrap();
        assert_eq!(flood.stdout.len(), 1001);
        let hang = run("sleep 600 & sleep 600", 10, Duration::from_millis(100)).unwrap_err();
        assert!(hang.to_string().contains("longer than"), "{hang}");
        let held = run("setsid sleep 5 & sleep 0.3", 10, Duration::from_secs(1)).unwrap_err();
        assert!(held.to_string().contains("left a process"), "{held}");
        let missing = Running::start(&["kvmtune-no-such-tool".into()], Bytes(1)).unwrap_err();
        assert!(missing.to_string().contains("apt-get install"), "{missing}");
    }
}
