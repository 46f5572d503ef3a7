//! The process that waits for the deadline of `commit --confirm`, and takes back what nobody kept.
//!
//! It is this same program in a session of its own. The deadline is in the ledger, so nothing is lost with the process: the
//! next verb, or a unit at the next boot, does the same.

use crate::change::{ChangeError, Keeper};
use crate::cli::exit::Code;
use crate::cli::failure::Failure;
use crate::commit::{CommitError, Opened, next_deadline};
use crate::host::{BareHost, Cancel};
use crate::session::Logbook;
use jiff::Timestamp;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout, setsid};
use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

/// What it says when it has taken up its wait.
const READY: &str = "ready";
/// A clock that is set, and a commit that is kept, are noticed within this.
const LOOK: Duration = Duration::from_secs(1);

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

/// Waits until nothing in the ledger has a deadline any more, taking back what is overdue.
pub(super) fn wait(state: &Path, detached: bool) -> Result<Code, Failure> {
    if detached {
        detach().map_err(|e| Failure::environment(format!("cannot wait in a session of its own: {e}")))?;
    }
    while let Some(deadline) = next_deadline(state)? {
        let left = deadline.duration_since(Timestamp::now());
        let left = Duration::try_from(left).unwrap_or(Duration::ZERO);
        if !left.is_zero() {
            thread::sleep(left.min(LOOK));
            continue;
        }
        match take_back(state) {
            Ok(()) => {}
            // Whoever holds the lock will be done some time.
            Err(CommitError::Change(ChangeError::Locked { .. })) => thread::sleep(LOOK),
            Err(error) => {
                Logbook::of(state).announce(&format!(
                    "a commit that nobody kept could not be taken back ({error}): do it with `kvmtune revert`"
                ));
                return Err(error.into());
            }
        }
    }
    Ok(Code::Done)
}

fn take_back(state: &Path) -> Result<(), CommitError> {
    let mut host = BareHost::new(None, Cancel::default());
    let (mut opened, _) = Opened::host(state, &mut host, Keeper::Watchman)?;
    for id in opened.revert_overdue(Timestamp::now())? {
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
