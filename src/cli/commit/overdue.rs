//! The process that waits for the deadline of `commit --confirm`, and takes back what nobody kept.
//!
//! It is this same program in a session of its own. The deadline is in the ledger, so nothing is lost with the process: the
//! next verb, or a unit at the next boot, does the same.

use crate::change::{ChangeError, Keeper};
use crate::cli::exit::Code;
use crate::cli::failure::Failure;
use crate::cli::say;
use crate::commit::{CommitError, Opened, is_half_made, next_deadline};
use crate::host::{BareHost, Cancel};
use crate::session::Logbook;
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What it says when it has taken up its wait.
const READY: &str = "ready";
/// A clock that is set, and a commit that is kept, are noticed within this.
const LOOK: Duration = Duration::from_secs(1);
/// After this what failed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// Starts the process for the ledger of `state`, and returns once it waits.
pub(super) fn start(state: &Path) -> io::Result<()> {
    let mut child = Command::new("/proc/self/exe")
        .arg0("kvmtune")
        .arg("--state")
        .arg(state.canonicalize()?)
        .args(["revert", "--overdue", "--detached"])
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(READY.len() as u64).read_to_string(&mut said)?;
    }
    if said == READY {
        Ok(())
    } else {
        Err(io::Error::other(format!("it ended with {}", child.wait()?)))
    }
}

/// Waits until nothing in the ledger has a deadline any more, taking back what is overdue, and what was killed half-way. What
/// cannot be taken back now is told once and tried again: a disk may get room, and libvirt or a guest start.
pub(super) fn wait(state: &Path, detached: bool) -> Result<Code, Failure> {
    if detached {
        detach().map_err(|e| Failure::environment(format!("cannot wait in a session of its own: {e}")))?;
    }
    let (mut ends, mut told) = (BTreeMap::new(), String::new());
    loop {
        match look(state, &mut ends) {
            Ok(None) => return Ok(Code::Done),
            Ok(Some(pause)) => thread::sleep(pause),
            // Whoever holds the lock will be done some time.
            Err(CommitError::Change(ChangeError::Locked { .. })) => thread::sleep(LOOK),
            Err(error) => {
                let error = error.to_string();
                if error != told {
                    let news = format!(
                        "a commit that nobody kept could not be taken back ({error}): it is tried again and again, or do it with \
                         `kvmtune revert`"
                    );
                    Logbook::of(state).announce(&news);
                    say(&news);
                    told = error;
                }
                thread::sleep(AGAIN);
            }
        }
    }
}

/// Takes back what is to be; then says how long there is nothing to do, `None` when nothing waits any more.
fn look(state: &Path, ends: &mut Ends) -> Result<Option<Duration>, CommitError> {
    if !state.exists() {
        return Ok(None);
    }
    let now = Timestamp::now();
    if is_half_made(state) {
        take_back(state, now)?;
    }
    let Some(deadline) = next_deadline(state)? else {
        return Ok(None);
    };
    let left = Duration::try_from(deadline.duration_since(now)).unwrap_or(Duration::ZERO);
    // A clock that is set back gives no more time.
    let end = ends
        .entry(deadline)
        .or_insert_with(|| Instant::now().checked_add(left));
    let left = end.map_or(left, |end| {
        left.min(end.saturating_duration_since(Instant::now()))
    });
    if left.is_zero() {
        take_back(state, now.max(deadline))?;
    }
    Ok(Some(left.min(LOOK)))
}

/// By the clock that nobody sets, when each deadline comes.
type Ends = BTreeMap<Timestamp, Option<Instant>>;

fn take_back(state: &Path, now: Timestamp) -> Result<(), CommitError> {
    let mut host = BareHost::new(None, Cancel::default());
    let (mut opened, half) = Opened::host(state, &mut host, Keeper::Watchman)?;
    if half.is_some() {
        Logbook::of(state).announce("a verb of commits was killed half-way: what it had done was put back");
    }
    for id in opened.revert_overdue(now)? {
        Logbook::of(state).announce(&format!("commit {id} was not kept in time: it was taken back"));
    }
    Ok(())
}

/// Ends with no terminal, Ctrl-C or group, and lets go of its output.
fn detach() -> io::Result<()> {
    let mut deaf = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP] {
        deaf.add(signal);
    }
    deaf.thread_block()?;
    setsid()?;
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}
