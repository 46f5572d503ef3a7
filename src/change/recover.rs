//! Puts a host back after a run that was killed. May be killed itself at any moment and started again.
//!
//! Knows the journal's entries; how a scope is reached and a session ended is the [`Restorer`]'s.

use super::ChangeError;
use super::journal::{Journal, SessionUndo, Undo};
use super::next_boot::undo_next_boot;
use super::restore::restore;
use crate::host::{Boots, Host, HostError, Scope};
use std::fmt;

/// Reaches what an earlier run had changed.
pub trait Restorer {
    /// A host that reads and writes within `scope`; `None` when the scope no longer exists.
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError>;
    /// Ends a session; doing nothing for what is already gone.
    fn end(&mut self, session: &SessionUndo) -> Result<(), HostError>;
    /// The host whose next boot was arranged for.
    fn boots(&mut self) -> Result<&mut dyn Boots, HostError> {
        Err(HostError::new(
            "reach the host's next boot",
            "there is none to be booted",
        ))
    }
}

/// What became of an open entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Undone, and read back.
    Restored,
    /// What it had changed no longer exists.
    Gone,
    /// Still open, for this reason.
    Left(String),
    /// Undone from the next boot of the host on, and open until that is seen.
    Awaits(String),
}

/// One entry and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// What was to be undone, in words.
    pub what: String,
    /// What became of it.
    pub fate: Fate,
}

/// What a recovery did, in its order: the last change first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecoverReport {
    /// Every entry that was open.
    pub entries: Vec<Recovered>,
}

impl RecoverReport {
    /// True when nothing is left to be undone.
    pub fn is_complete(&self) -> bool {
        !self
            .entries
            .iter()
            .any(|e| matches!(e.fate, Fate::Left(_) | Fate::Awaits(_)))
    }

    /// True when a reboot of the host is all that is left to be done.
    pub fn awaits_reboot(&self) -> bool {
        let is_left = self.entries.iter().any(|e| matches!(e.fate, Fate::Left(_)));
        !self.is_complete() && !is_left
    }
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fate {
            Fate::Restored => write!(f, "{}: restored", self.what),
            Fate::Gone => write!(f, "{}: nothing to restore, what held it is gone", self.what),
            Fate::Left(why) => write!(f, "{}: not restored: {why}", self.what),
            Fate::Awaits(what) => write!(f, "{}: restored from the next boot on; {what}", self.what),
        }
    }
}

/// Undoes every open entry, the last change first, and closes each that is done.
pub fn recover(journal: &mut Journal, restorer: &mut dyn Restorer) -> Result<RecoverReport, ChangeError> {
    let open: Vec<_> = journal.open_entries().rev().cloned().collect();
    let mut report = RecoverReport::default();
    for entry in open {
        let fate = undo(entry.seq, &entry.undo, restorer).unwrap_or_else(|e| Fate::Left(e.to_string()));
        if matches!(fate, Fate::Restored | Fate::Gone) {
            journal.close(vec![entry.seq])?;
        }
        report.entries.push(Recovered {
            what: entry.undo.to_string(),
            fate,
        });
    }
    journal.compact()?;
    Ok(report)
}

fn undo(seq: u64, undo: &Undo, restorer: &mut dyn Restorer) -> Result<Fate, HostError> {
    let undo = match undo {
        Undo::Session(session) => return restorer.end(session).map(|()| Fate::Restored),
        Undo::NextBoot(undo) => return undo_next_boot(restorer.boots()?, undo),
        Undo::Write(undo) => undo,
    };
    let Some(host) = restorer.reach(&undo.scope)? else {
        return Ok(Fate::Gone);
    };
    Ok(match restore(host, &[(seq, undo)], false).pop() {
        None => Fate::Restored,
        Some((_, why)) => Fate::Left(why),
    })
}
