//! One command over an open connection: its input fed, its outputs read to a limit, its end told from a broken line.
//! It does not know how the connection was made.

use super::{MAX_COMMAND, SshError};
use crate::host::agent::ExecOutput;
use openssh::{Error, Session, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

/// Runs the command after saying so on both outputs: what a login shell prints before is not the command's. The
/// second line tells the command's pid, which `exec` keeps. The outer shell gives the exit code as shells do, because
/// ssh does not tell which signal ended a command; what it says of a signal itself is dropped.
pub(super) const RUN: &str = r#"
PATH=${PATH:-/bin:/usr/bin}:/usr/local/sbin:/usr/sbin:/sbin
export PATH
exec 3>&2 2>/dev/null
sh -c 'exec 2>&3 3>&-; echo kvmtune-begins; echo "kvmtune-begins $$" >&2; exec "$@"' kvmtune "$@"
exit $?
"#;
const BEGINS: &[u8] = b"kvmtune-begins";

const KILL: &str = r#"kill -s KILL "$1""#;
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// What login shells may print before the command begins.
const PREAMBLE: usize = 16 << 10;

/// What is asked of the guest.
pub(super) struct Asked<'a> {
    pub(super) argv: &'a [&'a str],
    pub(super) stdin: Option<&'a [u8]>,
    /// The most bytes of each output.
    pub(super) max: usize,
    pub(super) limit: Duration,
}

/// How it ended.
pub(super) enum Ended {
    Done(ExecOutput),
    NotStarted {
        exit_code: i32,
        said: Vec<u8>,
    },
    TooLarge {
        pid: Option<u32>,
    },
    /// Without a pid nothing was heard of it.
    TooSlow {
        pid: Option<u32>,
    },
    Broken,
}

enum Stop {
    TooLarge,
    Broken,
}

/// Refuses what cannot be sent, or would be cut on the way.
pub(super) fn check(argv: &[&str]) -> Result<(), SshError> {
    if argv.iter().any(|arg| arg.contains('\0')) {
        return Err(SshError::Request("an argument holds a NUL"));
    }
    // The library quotes a word with two quotes, and each `'` and `!` in it with three bytes more.
    let quoted = |arg: &&str| arg.len() + 3 + 3 * arg.matches(['\'', '!']).count();
    if argv.iter().map(quoted).sum::<usize>() + 2 * RUN.len() > MAX_COMMAND {
        return Err(SshError::Request(
            "more than 96 KiB of arguments; write a file in the guest first",
        ));
    }
    Ok(())
}

impl Asked<'_> {
    pub(super) async fn run(&self, session: &Session) -> Ended {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let running = self.carry_out(session, &mut stdout, &mut stderr);
        let ended = tokio::time::timeout(self.limit, running).await;
        let begun = after_begin(&stderr).and_then(|(pid, rest)| Some((parse_pid(pid)?, rest)));
        let pid = begun.map(|(pid, _)| pid);
        match ended {
            Err(_) => Ended::TooSlow { pid },
            Ok(Err(Stop::TooLarge)) => Ended::TooLarge { pid },
            Ok(Err(Stop::Broken)) => Ended::Broken,
            Ok(Ok(exit_code)) => {
                let (Some((_, out)), Some((_, err))) = (after_begin(&stdout), begun) else {
                    return Ended::NotStarted {
                        exit_code,
                        said: stderr,
                    };
                };
                if out.len() > self.max || err.len() > self.max.max(PREAMBLE) {
                    return Ended::TooLarge { pid: None };
                }
                Ended::Done(ExecOutput {
                    exit_code,
                    stdout: out.to_vec(),
                    stderr: err.to_vec(),
                })
            }
        }
    }

    /// To the command's end; what was read stands in the buffers also when it is given up.
    async fn carry_out(
        &self,
        session: &Session,
        stdout: &mut Vec<u8>,
        stderr: &mut Vec<u8>,
    ) -> Result<i32, Stop> {
        let input = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut command = session.command("/bin/sh");
        command.args(["-c", RUN, "kvmtune"]).args(self.argv);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().await.map_err(|_| Stop::Broken)?;
        let pipe = child.stdin().take();
        let feed = async {
            if let (Some(mut pipe), Some(bytes)) = (pipe, self.stdin) {
                // A command need not read all of its input.
                let _ = pipe.write_all(bytes).await;
            }
            Ok(())
        };
        let max = self.max.saturating_add(PREAMBLE);
        let (out, err) = (child.stdout().take(), child.stderr().take());
        tokio::try_join!(feed, take(out, max, stdout), take(err, max, stderr))?;
        match child.wait().await {
            Ok(status) => status.code().ok_or(Stop::Broken),
            // The library takes a shell's word for a program that is missing.
            Err(Error::Remote(_)) => Ok(127),
            Err(_) => Err(Stop::Broken),
        }
    }
}

/// Reads to the end; more than `max` bytes are not waited for.
async fn take(pipe: Option<impl AsyncRead + Unpin>, max: usize, into: &mut Vec<u8>) -> Result<(), Stop> {
    let Some(pipe) = pipe else { return Ok(()) };
    let limit = u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1);
    let read = pipe.take(limit).read_to_end(into).await;
    match read {
        Ok(_) if into.len() > max => Err(Stop::TooLarge),
        Ok(_) => Ok(()),
        Err(_) => Err(Stop::Broken),
    }
}

/// What stands on the line that says the command begins, and all after it.
pub(super) fn after_begin(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = output.windows(BEGINS.len()).position(|part| part == BEGINS)?;
    let rest = &output[at + BEGINS.len()..];
    let end = rest.iter().position(|b| *b == b'\n')?;
    Some((&rest[..end], &rest[end + 1..]))
}

pub(super) fn parse_pid(text: &[u8]) -> Option<u32> {
    let pid = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (pid > 1).then_some(pid)
}

/// Kills a command; how that goes changes nothing for the caller.
pub(super) async fn kill(session: &Session, pid: Option<u32>) {
    let Some(pid) = pid else { return };
    let mut command = session.command("/bin/sh");
    command.args(["-c", KILL, "kvmtune"]).arg(pid.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _ = tokio::time::timeout(KILL_LIMIT, command.status()).await;
}
