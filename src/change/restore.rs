//! Puts old values back, tries every one, and believes only what reads back.
//!
//! Shared by the end of a treatment and by recovery; does not know the journal's file.

use super::journal::WriteUndo;
use crate::host::{Host, HostError, Power};
use crate::tunable::Kind;
use std::time::Duration;

/// Waits before each attempt: a module may be in use until the last socket is closed, a page pool until QEMU's
/// memory is freed.
const WAITS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1500),
];

/// Undoes `undos`, the last change first, and returns those that are not undone with the reason. With `off` the guest is stopped
/// before; it also is when it turns out to be lost, as then its own values are gone with it.
pub(super) fn restore(host: &mut dyn Host, undos: &[(u64, &WriteUndo)], off: bool) -> Vec<(u64, String)> {
    let mut off = off || undos.iter().any(|(_, undo)| undo.address.needs_guest_off());
    let mut left: Vec<_> = undos
        .iter()
        .rev()
        .map(|(seq, undo)| (*seq, *undo, String::new()))
        .collect();
    for wait in WAITS {
        if wait > Duration::ZERO {
            host.pause(wait);
        }
        let stopped = !off || host.power(Power::Off).is_ok();
        // What held the changed value may no longer exist. A scope that cannot be told counts as there.
        left.retain(|(_, undo, _)| host.scope(&undo.address).map_or(true, |now| now == undo.scope));
        // All are written before one is read: a value may only settle once those it depends on are back.
        let writes: Vec<_> = left
            .iter()
            .map(|(_, undo, _)| (undo.address.clone(), old_text(undo)))
            .collect();
        let exchanged = host.exchange(&writes);
        for ((_, undo, why), (written, read)) in left.iter_mut().zip(exchanged) {
            off |= lost(&written) || lost(&read);
            *why = match (read.map(|raw| differs(undo, &raw)), written) {
                // A guest that was lost in writing cannot be believed to have been read.
                (_, Err(e)) if e.guest_lost => e.to_string(),
                (Ok(None), _) => String::new(),
                (_, Err(e)) | (Err(e), Ok(())) => e.to_string(),
                (Ok(Some(found)), Ok(())) => format!("it reads `{}`", found.escape_default()),
            };
        }
        left.retain(|(_, _, why)| !why.is_empty());
        if left.is_empty() && stopped {
            break;
        }
    }
    left.into_iter().map(|(seq, _, why)| (seq, why)).collect()
}

pub(super) fn lost<T>(result: &Result<T, HostError>) -> bool {
    result.as_ref().is_err_and(|e| e.guest_lost)
}

/// An old value outside the tunable's own range has no canonical form, and is written as it was read.
fn old_text(undo: &WriteUndo) -> String {
    // Of words nobody knows what they mean, so they are not respelled.
    if undo.kind == Kind::Words {
        return undo.old.clone();
    }
    undo.kind
        .parse(&undo.old)
        .map_or_else(|_| undo.old.clone(), |value| value.to_string())
}

/// `None` when the old value is back, else what is found instead.
fn differs(undo: &WriteUndo, raw: &str) -> Option<String> {
    let found = undo.address.selected(raw);
    let same = match (undo.kind.parse(found), undo.kind.parse(&undo.old)) {
        _ if undo.kind == Kind::Words => found.split_whitespace().eq(undo.old.split_whitespace()),
        (Ok(found), Ok(old)) => found == old,
        _ => found == undo.old,
    };
    (!same).then(|| found.to_string())
}
