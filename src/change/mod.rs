//! Changes a host so that it can always be put back: apply, verify, run, recheck, restore, recover.
//!
//! Knows settings, the host's seam and the undo journal; does not know designs, statistics or reports.

mod journal;
pub mod lasting;
mod lock;
mod next_boot;
mod recover;
mod restore;
#[cfg(test)]
mod tests;
mod treatment;

pub use journal::{Entry, Journal, NextBootUndo, SessionUndo, Undo, WriteUndo, journal_file, open_private};
pub use lock::{HOST_LOCK, Holder, HostLock, Keeper};
pub use next_boot::{disarm_next_boot, end_next_boot, is_boot_original, note_next_boot, set_next_boot};
pub use recover::{Fate, RecoverReport, Recovered, Restorer, recover};
pub use treatment::{Change, Done, Drift, Outcome, Stage, Timings, Verified, with_treatment};

use crate::host::HostError;
use std::fmt;
use std::io;
use std::path::PathBuf;

/// An entry of the journal that is still to be undone, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its number in the journal.
    pub seq: u64,
    /// What is to be undone, in words.
    pub what: String,
    /// Why it could not be.
    pub why: String,
}

/// Why a change could not be made safely, or not be undone.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The journal or the lock could not be read or written.
    #[error(
        "failed to {doing} {}: {source}; see that its disk has space and that only you may write to its folder, or \
         name another one with --state",
        path.display()
    )]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Somebody else could have written the journal.
    #[error("will not trust {}: {why}, or name another folder with --state", path.display())]
    Untrusted {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it, and what mends it.
        why: &'static str,
    },
    /// A line that is not the torn last one makes no sense.
    #[error(
        "{} is damaged in line {line}: {source}; restore by hand what its `old` fields say, then move it away",
        path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong with the line.
        source: serde_json::Error,
    },
    /// Another kvmtune changes this host now.
    #[error("{holder} ({} is locked): wait for it to end", path.display())]
    Locked {
        /// The lock's file.
        path: PathBuf,
        /// Who holds it.
        holder: Holder,
    },
    /// An earlier run was killed before it had restored the host.
    #[error("an earlier run left {} to be undone: run `kvmtune recover`", List(entries))]
    Unclean {
        /// What is to be undone.
        entries: Vec<Left>,
    },
    /// A commit was killed before it was whole, or is under way.
    #[error("a commit was killed half-way: run `kvmtune recover`, which puts back what it did")]
    HalfCommitted,
    /// The next boot could not be arranged for.
    #[error(transparent)]
    NextBoot(#[from] HostError),
    /// The host does not hold its old values. The journal stays open.
    #[error("the host is not restored: {}; run `kvmtune recover`", List(entries))]
    NotRestored {
        /// What is left to be undone.
        entries: Vec<Left>,
    },
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.what, self.why)
    }
}

/// Shows items separated by `; `.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if i == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}
