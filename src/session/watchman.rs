//! kvmtune's side of its watchman: the small process that outlives it and restores the host when kvmtune is killed or
//! hangs.
//!
//! Knows how it is started, given signs of life and dismissed; what it does on its watch is `vigil`'s.

use crate::change::Journal;
use crate::units::Span;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The verb a watchman is started by.
pub const VERB: &str = "watchman";

/// What a watchman says when it has taken up its watch.
pub(super) const READY: &str = "ready";

/// Signs of life are rare, so that no measurement notices them.
const RAREST: Duration = Duration::from_secs(5);

/// A shorter silence is an everyday thing on a busy host.
const SHORTEST: Span = Span::secs(1);

/// Whether a watchman looks after the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// Nobody does: what a kill leaves is for `recover`.
    Off,
    /// It does, and takes a kvmtune that was silent for so long for one that hangs.
    Within(Span),
}

impl Default for Watch {
    fn default() -> Self {
        Self::Within(Span::secs(300))
    }
}

impl FromStr for Watch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let limit: Span = text.parse().map_err(|e| format!("{e}, or `off`"))?;
        if limit < SHORTEST {
            return Err(format!(
                "`{limit}` is too short: use at least {SHORTEST}, or `off`"
            ));
        }
        Ok(Self::Within(limit))
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => write!(f, "off"),
            Self::Within(limit) => write!(f, "{limit}"),
        }
    }
}

/// One byte on the line to the watchman. The end of the line without a last word is the death of kvmtune.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    /// A sign of life.
    Alive = b'.',
    /// The last word: nothing is to be undone.
    Done = b'd',
    /// The last word: kvmtune could not restore the host, and has said so.
    Left = b'l',
}

/// Why there is no watchman.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot start the watchman, which restores the host if kvmtune is killed: {why}; `--dead-man off` goes without"
)]
pub struct WatchmanError {
    why: String,
}

impl From<io::Error> for WatchmanError {
    fn from(error: io::Error) -> Self {
        Self {
            why: error.to_string(),
        }
    }
}

/// A watchman on its watch. Dropped without a last word, it takes kvmtune for dead.
pub(super) struct Watchman {
    child: Child,
    line: Arc<ChildStdin>,
    stop: Sender<()>,
    beat: JoinHandle<()>,
}

impl Watchman {
    /// Starts one for what is journaled in `state`, unless none is wanted. It lives in the network namespace of the
    /// calling thread.
    pub(super) fn start(watch: Watch, state: &Path) -> Result<Option<Self>, WatchmanError> {
        let Watch::Within(limit) = watch else {
            return Ok(None);
        };
        // The running program, also when its file has been replaced since.
        let mut child = Command::new("/proc/self/exe")
            .arg0("kvmtune")
            .arg(VERB)
            .arg("--state")
            .arg(state.canonicalize()?)
            .args(["--parent", &std::process::id().to_string()])
            .args(["--limit", &format!("{}ms", limit.0.as_millis())])
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = child.stdout.take() {
            stdout.take(READY.len() as u64).read_to_string(&mut said)?;
        }
        let line = child.stdin.take().filter(|_| said == READY);
        let Some(line) = line else {
            // Nobody listens on its line, so it ends by itself.
            let ended = child.wait()?;
            return Err(WatchmanError {
                why: format!("it ended with {ended}"),
            });
        };
        // A watchman that is stopped must not stop kvmtune when the pipe is full.
        fcntl(&line, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(io::Error::from)?;
        let line = Arc::new(line);
        let (stop, stopped) = mpsc::channel();
        let beat = thread::spawn({
            let line = Arc::clone(&line);
            let pause = (limit.0 / 10).min(RAREST);
            move || {
                while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                    say(&line, Word::Alive);
                }
            }
        });
        Ok(Some(Self {
            child,
            line,
            stop,
            beat,
        }))
    }

    /// Says the last word, which follows from what the journal holds.
    pub(super) fn dismiss(mut self, journal: &Journal) {
        drop(self.stop);
        let _ = self.beat.join();
        let word = if journal.is_done_for_now() {
            Word::Done
        } else {
            Word::Left
        };
        say(&self.line, word);
        drop(self.line);
        let asked = Instant::now();
        // It has nothing left to do; the limit is for one that somebody has stopped.
        while word == Word::Done && asked.elapsed() < Duration::from_secs(2) {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(Duration::from_millis(2)),
                _ => break,
            }
        }
    }
}

/// A word that is not heard does no harm: the end of the line makes the watchman look into the journal.
fn say(mut line: &ChildStdin, word: Word) {
    let _ = line.write_all(&[word as u8]);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_watch_reads_as_written() {
        assert_eq!("off".parse(), Ok(Watch::Off));
        assert_eq!("90s".parse(), Ok(Watch::Within(Span::secs(90))));
        assert_eq!(Watch::default().to_string().parse(), Ok(Watch::default()));
        for text in ["", "on", "5", "0s", "999ms"] {
            let refused = text.parse::<Watch>().unwrap_err();
            assert!(refused.contains("`off`"), "{text}: {refused}");
        }
    }
}
