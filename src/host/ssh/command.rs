//! One command over an open connection: its input fed, its outputs read to a limit, its end told from a broken line.
//! It does not know how the connection was made.

use super::SshError;
use crate::host::agent::ExecOutput;
use crate::host::local::chain;
use openssh::{Error, Session, Stdio};
use std::cell::RefCell;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

/// Runs the command between two lines of its own: what a login shell prints before is not the command's. The first
/// tells the command's pid, which `exec` keeps; the last its exit code as shells have it. ssh tells neither the signal
/// that ended a command, nor, with some servers, the code of one that ended together with another. What the outer
/// shell says of a signal is dropped.
pub(super) const RUN: &str = r#"
PATH=${PATH:-/bin:/usr/bin}:/usr/local/sbin:/usr/sbin:/sbin
export PATH
exec 3>&2 2>/dev/null
sh -c 'exec 2>&3 3>&-; echo kvmtune-begins; echo "kvmtune-begins $$" >&2; exec "$@"' kvmtune "$@"
echo "kvmtune-ends $?" >&3
"#;
/// What needs no program of its own, between the same two lines.
macro_rules! framed {
    ($body:literal) => {
        concat!(
            "echo kvmtune-begins; echo \"kvmtune-begins $$\" >&2\n",
            $body,
            "\necho \"kvmtune-ends $?\" >&2\n"
        )
    };
}
/// Reads at most so many bytes of a file. Arguments: file, number.
pub(super) const READ: &str = framed!(r#"head -c "$2" <"$1""#);
/// Writes standard input to a file.
pub(super) const WRITE: &str = framed!(r#"cat >"$1""#);
/// Whether there is a file.
pub(super) const EXISTS: &str = framed!(r#"test -e "$1""#);

const BEGINS: &[u8] = b"kvmtune-begins";
const ENDS: &[u8] = b"kvmtune-ends ";

/// The kernel's limit of one argument is 128 KiB, and the guest's login shell gets the whole command as one.
const MAX_COMMAND: usize = 120 << 10;

const KILL: &str = r#"kill -s KILL "$1""#;
/// A killed command's channel must have ended by then, or all of the connection is given up.
const KILL_LIMIT: Duration = Duration::from_secs(3);

/// What login shells may print before the command begins.
const PREAMBLE: usize = 16 << 10;

/// What is asked of the guest.
pub(super) struct Asked<'a> {
    /// One of the texts above.
    pub(super) script: &'static str,
    /// Its arguments.
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
        said: Vec<u8>,
    },
    /// Killed; `clean` when its channel ended too.
    TooLarge {
        clean: bool,
    },
    /// Killed, unless nothing was heard of it.
    TooSlow {
        begun: bool,
        clean: bool,
    },
    /// With what is known of why.
    Broken(String),
}

/// What was read so far.
#[derive(Default)]
struct Outputs {
    stdout: RefCell<Vec<u8>>,
    stderr: RefCell<Vec<u8>>,
    flooded: Notify,
}

impl<'a> Asked<'a> {
    /// Without input, and without output.
    pub(super) fn of(script: &'static str, argv: &'a [&'a str], limit: Duration) -> Self {
        Self {
            script,
            argv,
            stdin: None,
            max: 0,
            limit,
        }
    }
}

impl Asked<'_> {
    /// Refuses what cannot be sent, or would be cut on the way.
    pub(super) fn check(&self) -> Result<(), SshError> {
        if self.argv.iter().any(|arg| arg.contains('\0')) {
            return Err(SshError::Request("an argument holds a NUL"));
        }
        // The library quotes a word with two quotes, and each `'` and `!` in it with three bytes more.
        let quoted = |arg: &&str| arg.len() + 3 + 3 * arg.matches(['\'', '!']).count();
        if self.argv.iter().map(quoted).sum::<usize>() + 2 * RUN.len() > MAX_COMMAND {
            return Err(SshError::Request(
                "more than 96 KiB of arguments; write a file in the guest first",
            ));
        }
        Ok(())
    }

    /// A command that is given up is killed while its channel is still read: a channel that is closed under a running
    /// command makes some servers break the next one.
    pub(super) async fn run(&self, session: &Session) -> Ended {
        let outputs = Outputs::default();
        let mut running = pin!(self.carry_out(session, &outputs));
        let flooded = tokio::select! {
            ended = &mut running => {
                return match ended {
                    Ok(()) => self.result(&outputs.stdout.borrow(), &outputs.stderr.borrow()),
                    Err(error) => Ended::Broken(chain(&error)),
                };
            }
            () = outputs.flooded.notified() => true,
            () = tokio::time::sleep(self.limit) => false,
        };
        let pid = after_begin(&outputs.stderr.borrow()).and_then(|(pid, _)| parse_pid(pid));
        let mut clean = false;
        if let Some(pid) = pid {
            let end = tokio::time::timeout(KILL_LIMIT, running);
            clean = tokio::join!(kill(session, pid), end).1.is_ok();
        }
        if flooded {
            Ended::TooLarge { clean }
        } else {
            let begun = pid.is_some();
            Ended::TooSlow { begun, clean }
        }
    }

    fn result(&self, stdout: &[u8], stderr: &[u8]) -> Ended {
        let (Some((_, out)), Some((_, err))) = (after_begin(stdout), after_begin(stderr)) else {
            return Ended::NotStarted {
                said: stderr.to_vec(),
            };
        };
        let Some((err, exit_code)) = before_end(err) else {
            return Ended::Broken("it ended without an exit code".into());
        };
        if out.len() > self.max || err.len() > self.max.max(PREAMBLE) {
            return Ended::TooLarge { clean: true };
        }
        Ended::Done(ExecOutput {
            exit_code,
            stdout: out.to_vec(),
            stderr: err.to_vec(),
        })
    }

    /// To the command's end.
    async fn carry_out(&self, session: &Session, outputs: &Outputs) -> Result<(), Error> {
        let input = if self.stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut command = session.command("/bin/sh");
        command.args(["-c", self.script, "kvmtune"]).args(self.argv);
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().await?;
        let (pipe, out, err) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let feed = async {
            if let (Some(mut pipe), Some(bytes)) = (pipe, self.stdin) {
                // A command need not read all of its input.
                let _ = pipe.write_all(bytes).await;
            }
            Ok(())
        };
        let max = self.max.saturating_add(PREAMBLE);
        let out = take(out, max, &outputs.stdout, &outputs.flooded);
        let err = take(err, max, &outputs.stderr, &outputs.flooded);
        tokio::try_join!(feed, out, err)?;
        let ended = after_begin(&outputs.stderr.borrow()).is_some_and(|(_, rest)| before_end(rest).is_some());
        if ended {
            return Ok(());
        }
        // Either the login shell ended before the command began, or the connection did.
        match child.wait().await {
            Ok(_) | Err(Error::Remote(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Reads to the end. What is more than `max` bytes is told at once, and dropped.
async fn take(
    pipe: Option<impl AsyncRead + Unpin>,
    max: usize,
    into: &RefCell<Vec<u8>>,
    flooded: &Notify,
) -> Result<(), Error> {
    let Some(mut pipe) = pipe else { return Ok(()) };
    let mut part = vec![0; 64 << 10];
    loop {
        let count = pipe.read(&mut part).await.map_err(Error::ChildIo)?;
        if count == 0 {
            return Ok(());
        }
        let mut into = into.borrow_mut();
        let room = max.saturating_sub(into.len());
        into.extend_from_slice(&part[..count.min(room)]);
        if count > room {
            flooded.notify_one();
        }
    }
}

/// What stands on the line that says the command begins, and all after it.
pub(super) fn after_begin(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = output.windows(BEGINS.len()).position(|part| part == BEGINS)?;
    let rest = &output[at + BEGINS.len()..];
    let end = rest.iter().position(|b| *b == b'\n')?;
    Some((&rest[..end], &rest[end + 1..]))
}

/// What stands before the line with the exit code, and that. The line is the last of its kind: a command that prints
/// such lines itself is followed by the shell's.
pub(super) fn before_end(output: &[u8]) -> Option<(&[u8], i32)> {
    let at = output.windows(ENDS.len()).rposition(|part| part == ENDS)?;
    let code = output[at + ENDS.len()..].strip_suffix(b"\n")?;
    let code: u8 = std::str::from_utf8(code).ok()?.parse().ok()?;
    Some((&output[..at], code.into()))
}

pub(super) fn parse_pid(text: &[u8]) -> Option<u32> {
    let pid = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    (pid > 1).then_some(pid)
}

/// Kills a command; how that goes changes nothing for the caller.
async fn kill(session: &Session, pid: u32) {
    let mut command = session.command("/bin/sh");
    command.args(["-c", KILL, "kvmtune"]).arg(pid.to_string());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let _ = tokio::time::timeout(KILL_LIMIT, command.status()).await;
}
