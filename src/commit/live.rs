//! Live values of a machine that lead from one set of commits to another, and what they were before any.
//!
//! Does not know whose values they are: a host's, a domain's, a guest's.

use super::ledger::Extent;
use super::value::ValueChange;
use super::{CommitError, Wanted};
use crate::change::{WriteUndo, lasting};
use crate::host::Host;
use crate::tunable::{Address, Setting};

/// A live value that counts, and whether what lasts holds it too.
pub(super) type Top = (Setting, bool);

/// The newest value of each place, from the commits' own, the oldest first.
pub(super) fn tops<'s>(layers: impl Iterator<Item = (Extent, &'s [Setting])>) -> Vec<Top> {
    let mut tops: Vec<Top> = Vec::new();
    for (extent, settings) in layers.filter(|(extent, _)| extent.is_live()) {
        for setting in settings {
            tops.retain(|(other, _)| other.address != setting.address);
            tops.push((setting.clone(), extent.is_config()));
        }
    }
    tops
}

fn top<'t>(tops: &'t [Top], address: &Address) -> Option<&'t Top> {
    tops.iter().find(|(setting, _)| setting.address == *address)
}

/// What is to be set and put back. What the places held before the first commit is put into `origins`, and taken out with
/// the last; what somebody else has set since is told in `changed`.
pub(super) fn between(
    (before, after): (&[Top], &[Top]),
    origins: &mut Vec<WriteUndo>,
    wanted: Wanted,
    host: &mut dyn Host,
    changed: &mut Vec<String>,
) -> Result<Option<ValueChange>, CommitError> {
    let is_new = |(setting, _): &&Top| {
        let was = top(before, &setting.address);
        wanted == Wanted::Verified || was.is_none_or(|(other, _)| other.value != setting.value)
    };
    let is_left = |(setting, _): &&Top| top(after, &setting.address).is_none();
    let set: Vec<_> = after.iter().filter(is_new).map(|(s, _)| s.clone()).collect();
    let left: Vec<_> = before.iter().filter(is_left).map(|(s, _)| s.clone()).collect();
    if set.is_empty() && left.is_empty() {
        return Ok(None);
    }
    if wanted == Wanted::Verified {
        let (before, back) = (Vec::new(), Vec::new());
        return Ok(Some(ValueChange { before, back, set }));
    }
    let all: Vec<_> = set.iter().chain(&left).cloned().collect();
    let found = lasting::found(host, &all)?;
    let mut back = Vec::new();
    for (setting, now) in all.iter().zip(&found) {
        let origin = origins.iter().position(|o| o.address == setting.address);
        let was = top(before, &setting.address);
        let same_run = origin.is_some_and(|at| origins[at].scope == now.scope);
        // In another boot the device may have another name, and this name another device.
        let is_known = same_run || !is_of_device(&setting.address);
        if let Some((was, lasts)) = was
            && is_known
            && (same_run || *lasts)
            && was.canonical(&now.old).as_ref() != Some(&was.value)
        {
            changed.push(format!(
                "{} was changed since: it reads `{}`, committed was `{}`",
                setting.address,
                now.old.escape_default(),
                was.value
            ));
        }
        match (origin, top(after, &setting.address)) {
            (None, Some(_)) => origins.push(now.clone()),
            (Some(_), Some(_)) | (None, None) => {}
            (Some(at), None) => {
                let mut origin = origins.remove(at);
                // What lasts has set it again in this run.
                if is_known && was.is_some_and(|(_, lasts)| *lasts) {
                    origin.scope = now.scope.clone();
                }
                back.push(origin);
            }
        }
    }
    Ok(Some(ValueChange {
        before: found,
        back,
        set,
    }))
}

/// True for a file of a disk or a link, whose name may be another one after a boot.
fn is_of_device(address: &Address) -> bool {
    let (Address::HostFile { path, .. } | Address::GuestFile { path, .. }) = address else {
        return false;
    };
    ["/sys/block/", "/sys/class/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}
