//! Live values of the host from what they are to what they are to be.

use super::change::{Finding, Held, Layer};
use super::{CommitError, Machine};
use crate::change::{WriteUndo, lasting};
use crate::tunable::Setting;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Live values that change together: of twins that zero each other neither comes back alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueChange {
    /// As they were found.
    pub before: Vec<WriteUndo>,
    /// Those that go back to what they were before any commit.
    pub back: Vec<WriteUndo>,
    /// Those that are set, in this order.
    pub set: Vec<Setting>,
}

impl ValueChange {
    pub(super) fn apply(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        machine.step("set values of", Path::new("/proc/sys and /sys"))?;
        let host = machine.host()?;
        lasting::put_back(host, &self.back)?;
        Ok(lasting::set(host, &self.set)?)
    }

    pub(super) fn undo(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        machine.step("put back values of", Path::new("/proc/sys and /sys"))?;
        Ok(lasting::put_back(machine.host()?, &self.before)?)
    }

    pub(super) fn verify(&self, machine: &mut Machine<'_>) -> Vec<Finding> {
        let one = |setting: &Setting| {
            let held = match machine.host().and_then(|host| Ok(host.read(&setting.address)?)) {
                Ok(raw) if setting.canonical(&raw).as_ref() == Some(&setting.value) => Held::Yes,
                Ok(raw) => Held::No(format!(
                    "it reads `{}`",
                    setting.address.selected(&raw).escape_default()
                )),
                Err(error) => Held::No(error.to_string()),
            };
            Finding {
                layer: Layer::Value,
                place: setting.address.to_string(),
                wanted: setting.value.to_string(),
                held,
            }
        };
        self.set.iter().map(one).collect()
    }
}
