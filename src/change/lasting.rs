//! Values that are to stay: set, read back, and put back when they are taken back.
//!
//! Knows values, not why they are committed; what must be undone is on disk before, in the ledger of commits.

use super::journal::WriteUndo;
use super::restore::restore;
use super::treatment::{SETTLING, drifts};
use crate::host::{Host, HostError};
use crate::tunable::{Setting, SettingRole};

/// What the place of a setting holds now.
pub fn found(host: &mut dyn Host, setting: &Setting) -> Result<WriteUndo, HostError> {
    let raw = host.read(&setting.address)?;
    Ok(WriteUndo {
        address: setting.address.clone(),
        kind: setting.kind.clone(),
        old: setting.address.selected(&raw).to_string(),
        scope: host.scope(&setting.address)?,
    })
}

/// Sets values in this order, and reads them back. What follows from others is only read.
pub fn set(host: &mut dyn Host, settings: &[Setting]) -> Result<(), HostError> {
    let written = settings.iter().filter(|s| s.role != SettingRole::Follows);
    let writes: Vec<_> = written
        .map(|s| (s.address.clone(), s.value.to_string()))
        .collect();
    for done in host.write_all(&writes) {
        done?;
    }
    let Some(drift) = drifts(host, settings, &SETTLING)?.into_iter().next() else {
        return Ok(());
    };
    let by = match drift.actors.as_slice() {
        [] => String::new(),
        actors => format!("; {} may have set it", actors.join(", ")),
    };
    Err(HostError::new(
        format!("set {} to `{}`", drift.address, drift.wanted),
        format!("it reads `{}`{by}", drift.found.escape_default()),
    ))
}

/// Puts values back together, the last one first, and reads them. What lived in another boot or another run of the guest is
/// gone by itself.
pub fn put_back(host: &mut dyn Host, values: &[WriteUndo]) -> Result<(), HostError> {
    let numbered: Vec<_> = (0..).zip(values).collect();
    let left = restore(host, &numbered, false);
    let Some((number, why)) = left.first() else {
        return Ok(());
    };
    let place = numbered
        .iter()
        .find(|(n, _)| n == number)
        .map(|(_, undo)| undo.address.to_string());
    Err(HostError::new(
        format!("put {} back", place.unwrap_or_default()),
        why,
    ))
}
