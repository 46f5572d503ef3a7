//! All or nothing: changes announced on disk, made one after the other, and undone when one fails.

use super::{Change, CommitError, Ledger, LedgerStore, Machine};
use serde::{Deserialize, Serialize};

/// Changes that were announced: with the ledger they lead to they are done, with any other half-made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Serial of the ledger they lead to.
    pub serial: u64,
    /// In the order they are made.
    pub changes: Vec<Change>,
}

/// Makes all changes and then the ledger `next` the one that counts; or, when anything fails, undoes what was made.
///
/// # Errors
/// [`CommitError::NotPutBack`] when that could not be undone: it stays announced, and [`put_back_half_made`] tries again.
/// After any other error everything is as before.
pub fn carry_out(
    store: &LedgerStore,
    machine: &mut Machine<'_>,
    mut next: Ledger,
    changes: Vec<Change>,
) -> Result<(), CommitError> {
    next.serial += 1;
    let pending = Pending {
        serial: next.serial,
        changes,
    };
    let watch = machine.watch.clone();
    store.fits(&next)?;
    if let Err(failed) = store.announce(&pending, &watch) {
        // Nothing was changed, and what may stand there says so.
        let _ = store.settle(&watch);
        return Err(failed);
    }
    let mut made = 0;
    let mut done = Ok(());
    for change in &pending.changes {
        made += 1;
        done = change.apply(machine);
        if done.is_err() {
            break;
        }
    }
    match done.and_then(|()| store.save(&next, &watch)) {
        Ok(()) => {
            // The ledger says that they are done; one that stays announced is taken away by the next verb.
            let _ = store.settle(&watch);
            Ok(())
        }
        Err(failed) if is_saved(store, next.serial) => {
            let _ = failed;
            Ok(())
        }
        Err(failed) => {
            undo(&pending.changes[..made], machine)
                .and_then(|()| store.settle(&watch))
                .map_err(|left| CommitError::NotPutBack {
                    failed: failed.to_string(),
                    left: left.to_string(),
                })?;
            Err(failed)
        }
    }
}

/// A ledger that could not be synced may still be the one that counts.
fn is_saved(store: &LedgerStore, serial: u64) -> bool {
    store.load().is_ok_and(|ledger| ledger.serial == serial)
}

/// Undoes changes, the last one first; each is tried, and the first failure is told.
fn undo(changes: &[Change], machine: &mut Machine<'_>) -> Result<(), CommitError> {
    let mut first = Ok(());
    for change in changes.iter().rev() {
        let undone = change.undo(machine);
        if first.is_ok() {
            first = undone;
        }
    }
    first
}

/// Puts back what a verb that was killed had half made. Gives how many changes that were, `None` when nothing was left.
pub fn put_back_half_made(
    store: &LedgerStore,
    machine: &mut Machine<'_>,
) -> Result<Option<usize>, CommitError> {
    let Some(pending) = store.pending::<Pending>()? else {
        return Ok(None);
    };
    let watch = machine.watch.clone();
    if store.load()?.serial == pending.serial {
        store.settle(&watch)?;
        return Ok(None);
    }
    undo(&pending.changes, machine)
        .and_then(|()| store.settle(&watch))
        .map_err(|left| CommitError::NotPutBack {
            failed: "an earlier verb was killed half-way".into(),
            left: left.to_string(),
        })?;
    Ok(Some(pending.changes.len()))
}

/// The same, but what of it is in domains and their guests, and cannot be undone, is given up. Gives what that is.
pub fn give_up_half_made(store: &LedgerStore, machine: &mut Machine<'_>) -> Result<Vec<String>, CommitError> {
    let Some(pending) = store.pending::<Pending>()? else {
        return Ok(Vec::new());
    };
    let watch = machine.watch.clone();
    let (mut left, mut given_up) = (Ok(()), Vec::new());
    if store.load()?.serial != pending.serial {
        for change in pending.changes.iter().rev() {
            match (change.undo(machine), change.in_domain()) {
                (Err(error), Some(what)) => given_up.push(format!("{what} ({error})")),
                (undone, _) if left.is_ok() => left = undone,
                _ => {}
            }
        }
    }
    left.and_then(|()| store.settle(&watch))
        .map_err(|left| CommitError::NotPutBack {
            failed: "an earlier verb was killed half-way".into(),
            left: left.to_string(),
        })?;
    Ok(given_up)
}
