//! Puts a host back after a run that was killed. May be killed itself at any moment and started again.
//!
//! Knows the journal's entries; how a scope is reached and a session ended is the [`Restorer`]'s.

use super::ChangeError;
use super::journal::{Entry, Journal, SessionUndo, Undo, WriteUndo};
use super::next_boot::undo_next_boot;
use super::restore::restore;
use crate::host::{Boots, Host, HostError, Scope};
use std::collections::{BTreeMap, VecDeque};
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
    /// Whether the note of the host's own command line stays, for a run that goes on from it.
    fn keeps_next_boot(&self) -> bool {
        false
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

/// Undoes every open entry, the last change first, and closes those that are done.
///
/// Old values of one scope are put back together, as they are at the end of a change: of two that zero each other neither
/// comes back alone. What a guest holds, as its huge pages, is tried once more when its session was ended.
pub fn recover(journal: &mut Journal, restorer: &mut dyn Restorer) -> Result<RecoverReport, ChangeError> {
    let open = journal.open_entries().rev().cloned().collect();
    let mut all = undo_in_turn(open, journal, restorer)?;
    let has_ended =
        |(entry, fate): &(Entry, Fate)| matches!(entry.undo, Undo::Session(_)) && *fate == Fate::Restored;
    if all.iter().any(has_ended) {
        let is_held =
            |(entry, fate): &&(Entry, Fate)| matches!((&entry.undo, fate), (Undo::Write(_), Fate::Left(_)));
        let held = all.iter().filter(is_held).map(|(entry, _)| entry.clone());
        for (again, fate) in undo_in_turn(held.collect(), journal, restorer)? {
            if let Some(first) = all.iter_mut().find(|(entry, _)| entry.seq == again.seq) {
                first.1 = fate;
            }
        }
    }
    journal.compact()?;
    let entries = all.into_iter().map(|(entry, fate)| Recovered {
        what: entry.undo.to_string(),
        fate,
    });
    Ok(RecoverReport {
        entries: entries.collect(),
    })
}

fn undo_in_turn(
    mut open: VecDeque<Entry>,
    journal: &mut Journal,
    restorer: &mut dyn Restorer,
) -> Result<Vec<(Entry, Fate)>, ChangeError> {
    let mut all = Vec::new();
    while let Some(entry) = open.pop_front() {
        let mut entries = vec![entry];
        if let Undo::Write(first) = &entries[0].undo {
            let scope = first.scope.clone();
            let together = |e: &Entry| matches!(&e.undo, Undo::Write(undo) if undo.scope == scope);
            let (same, others): (VecDeque<_>, VecDeque<_>) = open.into_iter().partition(together);
            entries.extend(same);
            open = others;
        }
        let fates = undo(&entries, restorer);
        let done = entries
            .iter()
            .zip(&fates)
            .filter(|(_, fate)| matches!(fate, Fate::Restored | Fate::Gone));
        journal.close(done.map(|(entry, _)| entry.seq).collect())?;
        all.extend(entries.into_iter().zip(fates));
    }
    Ok(all)
}

/// What becomes of entries that belong together: a session alone, or old values of one scope.
fn undo(entries: &[Entry], restorer: &mut dyn Restorer) -> Vec<Fate> {
    let all = |fate: Fate| vec![fate; entries.len()];
    let undos: Vec<_> = entries.iter().filter_map(write_undo).collect();
    let scope = match (&entries[0].undo, undos.first()) {
        (Undo::Session(session), _) => {
            let ended = restorer.end(session);
            return all(ended.map_or_else(|e| Fate::Left(e.to_string()), |()| Fate::Restored));
        }
        (Undo::NextBoot(undo), _) => {
            let keeps = restorer.keeps_next_boot();
            let undone = restorer
                .boots()
                .and_then(|boots| undo_next_boot(boots, undo, keeps));
            return all(undone.unwrap_or_else(|e| Fate::Left(e.to_string())));
        }
        (_, Some((_, first))) => &first.scope,
        (Undo::Write(_), None) => return Vec::new(),
    };
    let host = match restorer.reach(scope) {
        Ok(Some(host)) => host,
        Ok(None) => return all(Fate::Gone),
        Err(error) => return all(Fate::Left(error.to_string())),
    };
    // The last change comes first here, and restoring begins with the last of what it is given.
    let in_order: Vec<_> = undos.iter().rev().copied().collect();
    let mut left: BTreeMap<u64, String> = restore(host, &in_order, false).into_iter().collect();
    let fate = |(seq, _): &(u64, &WriteUndo)| left.remove(seq).map_or(Fate::Restored, Fate::Left);
    undos.iter().map(fate).collect()
}

fn write_undo(entry: &Entry) -> Option<(u64, &WriteUndo)> {
    match &entry.undo {
        Undo::Write(undo) => Some((entry.seq, undo)),
        Undo::Session(_) | Undo::NextBoot(_) => None,
    }
}
