//! Puts old values back, tries every one, and believes only what reads back.
//!
//! Shared by the end of a treatment and by recovery; does not know the journal's file.

use super::journal::WriteUndo;
use crate::host::{Host, HostError, Power};
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
        // All are written before one is read: a value may only settle once those it depends on are back.
        let written: Vec<_> = left.iter().map(|(_, undo, _)| write(host, undo)).collect();
        for ((_, undo, why), written) in left.iter_mut().zip(written) {
            let back = is_back(host, undo);
            off |= lost(&written) || lost(&back);
            *why = match (back, written) {
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

/// True when what held the changed value no longer exists. A scope that cannot be told counts as there.
fn is_gone(host: &mut dyn Host, undo: &WriteUndo) -> bool {
    host.scope(&undo.address).is_ok_and(|now| now != undo.scope)
}

fn write(host: &mut dyn Host, undo: &WriteUndo) -> Result<(), HostError> {
    if is_gone(host, undo) {
        return Ok(());
    }
    // An old value outside the tunable's own range has no canonical form, and is written as it was read.
    match undo.kind.parse(&undo.old) {
        Ok(value) => host.write(&undo.address, value.as_str()),
        Err(_) => host.write(&undo.address, &undo.old),
    }
}

/// `None` when the old value is back or has nothing to come back to, else what is found instead.
fn is_back(host: &mut dyn Host, undo: &WriteUndo) -> Result<Option<String>, HostError> {
    if is_gone(host, undo) {
        return Ok(None);
    }
    let raw = host.read(&undo.address)?;
    let found = undo.address.selected(&raw);
    let same = match (undo.kind.parse(found), undo.kind.parse(&undo.old)) {
        (Ok(found), Ok(old)) => found == old,
        _ => found == undo.old,
    };
    Ok((!same).then(|| found.to_string()))
}
