//! Live values of a machine that lead from one set of commits to another, and what they were before any.
//!
//! Does not know whose values they are: a host's, a domain's, a guest's.

use super::ledger::Extent;
use super::value::ValueChange;
use super::{CommitError, Wanted};
use crate::change::{WriteUndo, lasting};
use crate::host::{Host, HostError};
use crate::tunable::{Address, Setting};

/// A live value that counts, and whether what lasts holds it too.
pub(super) type Top = (Setting, bool);

/// The live values that count before and after.
pub(super) struct Tops {
    /// Of the commits that are in force.
    pub before: Vec<Top>,
    /// Of those that are to be.
    pub after: Vec<Top>,
    /// Whether there is a further commit: its names of devices are those of this boot.
    pub is_adding: bool,
    /// Places of devices whose names still are those of the devices that were committed, whatever boot it is.
    pub same_devices: Vec<Address>,
}

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
/// the last; what somebody else has set since, or taken away, is told in `changed`.
pub(super) fn between(
    tops: &Tops,
    origins: &mut Vec<WriteUndo>,
    wanted: Wanted,
    host: &mut dyn Host,
    changed: &mut Vec<String>,
) -> Result<Option<ValueChange>, CommitError> {
    let is_new = |(setting, _): &&Top| {
        let was = top(&tops.before, &setting.address);
        wanted == Wanted::Verified || was.is_none_or(|(other, _)| other.value != setting.value)
    };
    let is_left = |(setting, _): &&Top| top(&tops.after, &setting.address).is_none();
    let set: Vec<_> = tops.after.iter().filter(is_new).map(|(s, _)| s.clone()).collect();
    let left: Vec<_> = tops.before.iter().filter(is_left).map(|(s, _)| s).collect();
    let mut change = ValueChange {
        before: Vec::new(),
        back: Vec::new(),
        set: Vec::new(),
    };
    if wanted == Wanted::Verified {
        change.set = set;
    } else {
        for setting in set.iter().chain(left) {
            one(setting, tops, origins, wanted, host, changed, &mut change)?;
        }
    }
    let is_any = !change.set.is_empty() || !change.back.is_empty();
    Ok(is_any.then_some(change))
}

/// Adds what one place is to hold.
fn one(
    setting: &Setting,
    tops: &Tops,
    origins: &mut Vec<WriteUndo>,
    wanted: Wanted,
    host: &mut dyn Host,
    changed: &mut Vec<String>,
    change: &mut ValueChange,
) -> Result<(), CommitError> {
    let address = &setting.address;
    let known = origins.iter().position(|o| o.address == *address);
    let was = top(&tops.before, address);
    let is_left = top(&tops.after, address).is_none();
    let now = match lasting::found(host, setting) {
        Ok(now) => now,
        Err(error) => {
            let origin = known.map(|at| &origins[at]);
            // What is measured now is there.
            let committed = was.filter(|_| is_left || !tops.is_adding);
            match gone(error, origin, committed, host)? {
                Some(why) if wanted != Wanted::Forced => {
                    changed.push(format!("{address} cannot be read any more ({why})"));
                }
                _ => {
                    if let Some(at) = known.filter(|_| is_left) {
                        origins.remove(at);
                    }
                }
            }
            return Ok(());
        }
    };
    let same_run = known.is_some_and(|at| origins[at].scope == now.scope);
    // In another boot the device may have another name, and this name another device.
    let is_known = same_run || !is_of_device(address) || tops.same_devices.contains(address);
    if let Some((was, lasts)) = was
        && is_known
        && (same_run || *lasts)
        && was.canonical(&now.old).as_ref() != Some(&was.value)
    {
        changed.push(format!(
            "{address} was changed since: it reads `{}`, committed was `{}`",
            now.old.escape_default(),
            was.value
        ));
    }
    match (known, is_left) {
        // What lasts gives it to the device that is meant, whatever its name is now.
        (Some(_), false) if !is_known && !tops.is_adding => return Ok(()),
        (Some(at), false) if !is_known => origins[at] = now.clone(),
        (None, false) => origins.push(now.clone()),
        (Some(_), false) | (None, true) => {}
        (Some(at), true) => {
            let mut origin = origins.remove(at);
            // What lasts has set it again in this run.
            if is_known && was.is_some_and(|(_, lasts)| *lasts) {
                origin.scope = now.scope.clone();
            }
            change.back.push(origin);
        }
    }
    if !is_left {
        change.set.push(setting.clone());
    }
    change.before.push(now);
    Ok(())
}

/// Why a place that commits have set cannot be read; `None` when it went with its boot, or its run of the guest. Fails for a
/// place that none has set, and when it is the guest that does not answer.
fn gone(
    error: HostError,
    origin: Option<&WriteUndo>,
    was: Option<&Top>,
    host: &mut dyn Host,
) -> Result<Option<String>, HostError> {
    let Some((setting, _)) = was.filter(|_| !error.guest_lost) else {
        return Err(error);
    };
    let now = host.scope(&setting.address)?;
    let is_over = origin.is_some_and(|origin| origin.scope != now);
    Ok((!is_over).then(|| error.to_string()))
}

/// True for a file of a disk or a link, whose name may be another one after a boot.
pub(super) fn is_of_device(address: &Address) -> bool {
    let (Address::HostFile { path, .. } | Address::GuestFile { path, .. }) = address else {
        return false;
    };
    ["/sys/block/", "/sys/class/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}
