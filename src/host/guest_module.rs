//! Modules of the guest's kernel: whether one is loaded, loading it, and taking it out again.
//!
//! Does not know what a module is good for.

use super::transport::Transport;
use super::{HostError, guest_job};
use std::time::Duration;

/// Whether a module is loaded. Only a guest that says there is no such file says that it is not.
pub(super) fn is_loaded(guest: &Transport, module: &str) -> Result<bool, HostError> {
    let path = format!("/sys/module/{}/initstate", module.replace('-', "_"));
    match guest.read_file(&path, 64) {
        Ok(state) => Ok(state.starts_with(b"live")),
        Err(error) if error.is_refused() => Ok(false),
        Err(error) => Err(guest_job::failed(
            format!("look for guest module {module}"),
            &error,
        )),
    }
}

/// Loads a module, or takes it out.
pub(super) fn set(guest: &Transport, module: &str, value: &str) -> Result<(), HostError> {
    let doing = format!("make guest module {module} {value}");
    let tame = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !module.chars().all(tame) || module.starts_with('-') {
        return Err(HostError::new(doing, "not a module name"));
    }
    let argv = match value {
        "loaded" => vec!["/sbin/modprobe", module],
        _ => vec!["/sbin/modprobe", "-r", module],
    };
    let done = guest
        .exec(&argv, None, Duration::from_secs(20))
        .map_err(|e| guest_job::failed(doing.clone(), &e))?;
    if done.exit_code == 0 {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr)
        .trim()
        .chars()
        .take(200)
        .collect::<String>();
    Err(HostError::new(
        doing,
        format!("modprobe gave {}: {said}", done.exit_code),
    ))
}
