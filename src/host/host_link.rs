//! The host's end of the guest's network link, by `ip`: /sys/class/net shows the links of the network namespace it was
//! mounted in, which is not always that of the guest.
//!
//! Does not know whose link it is.

use super::HostError;
use crate::tunable::LinkField;
use serde_json::Value;
use std::process::{Command, Stdio};

/// The value of a field.
pub(super) fn read(device: &str, field: LinkField) -> Result<String, HostError> {
    let doing = format!("read {} of link {device}", field.word());
    let text = ip(&["-json", "link", "show", "dev", device], &doing)?;
    let links: Value = serde_json::from_str(&text).map_err(|e| HostError::new(&doing, e))?;
    let key = match field {
        LinkField::TxQueueLen => "txqlen",
        LinkField::Mtu => "mtu",
    };
    let value = links[0][key].as_u64();
    value
        .map(|n| n.to_string())
        .ok_or_else(|| HostError::new(doing, "`ip` does not tell it"))
}

/// Sets a field.
pub(super) fn write(device: &str, field: LinkField, value: &str) -> Result<(), HostError> {
    let doing = format!("set {} of link {device} to {value}", field.word());
    ip(&["link", "set", "dev", device, field.word(), value], &doing).map(drop)
}

fn ip(arguments: &[&str], doing: &str) -> Result<String, HostError> {
    let done = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| HostError::new(doing, format!("cannot run `ip`: {e}; install iproute2")))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(HostError::new(
        doing,
        String::from_utf8_lossy(&done.stderr).trim(),
    ))
}
