//! Dropping page caches before a workload: what was read before must not make a disk look faster than it is.
//!
//! An action, not a setting: nothing is to be undone. Dirty pages are written back first, for only clean ones can go.

use super::guest_job::failed;
use super::transport::Transport;
use super::{HostError, kernel};
use crate::workload::DropCaches;
use std::time::Duration;

const FILE: &str = "/proc/sys/vm/drop_caches";
/// The page cache alone; dentries and inodes stay (Documentation/admin-guide/sysctl/vm.rst).
const PAGES: &str = "1";
/// The same inside the guest, in one command. No text of anybody is part of it.
const IN_GUEST: &str = "sync && echo 1 >/proc/sys/vm/drop_caches";
/// Writing back a guest's memory takes no longer.
const LIMIT: Duration = Duration::from_mins(5);

/// Drops what a job asks for.
pub(super) fn drop_caches(which: DropCaches, guest: &Transport) -> Result<(), HostError> {
    if matches!(which, DropCaches::Guest | DropCaches::Both) {
        drop_in(guest)?;
    }
    if matches!(which, DropCaches::Host | DropCaches::Both) {
        drop_here()?;
    }
    Ok(())
}

/// Writes back and drops the page cache of the whole host.
pub(super) fn drop_here() -> Result<(), HostError> {
    nix::unistd::sync();
    kernel::write(FILE, PAGES)
}

fn drop_in(guest: &Transport) -> Result<(), HostError> {
    let doing = || "drop the guest's page cache".to_string();
    let done = guest
        .exec(&["/bin/sh", "-c", IN_GUEST], None, LIMIT)
        .map_err(|e| failed(doing(), &e))?;
    if done.exit_code == 0 {
        return Ok(());
    }
    let why = format!("its shell says {}; kvmtune must be root there", done.exit_code);
    Err(HostError::new(doing(), why))
}
