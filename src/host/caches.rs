//! Dropping page caches before a workload: what was read before must not make a disk look faster than it is.
//!
//! An action, not a setting: nothing is to be undone. Dirty pages are written back first, for only clean ones can go.

use super::command::Running;
use super::guest_job::failed;
use super::transport::{Transport, TransportError};
use super::{HostError, kernel};
use crate::diagnostic::one_line;
use crate::units::Bytes;
use crate::workload::DropCaches;
use std::time::Duration;
use uuid::Uuid;

const FILE: &str = "/proc/sys/vm/drop_caches";
/// The page cache alone; dentries and inodes stay (Documentation/admin-guide/sysctl/vm.rst).
const PAGES: &str = "1";
/// The same inside the guest, in one command. No text of anybody is part of it.
const IN_GUEST: &str = "sync && echo 1 >/proc/sys/vm/drop_caches";
/// Writing back all of a machine's dirty memory takes no longer.
const LIMIT: Duration = Duration::from_mins(5);

/// Bytes of what is said that are kept.
const SAID: usize = 200;

/// Drops what a job asks for, unless it is `cancelled` before.
pub(super) fn drop_caches(
    which: DropCaches,
    guest: &Transport,
    cancelled: &dyn Fn() -> bool,
) -> Result<(), HostError> {
    if matches!(which, DropCaches::Guest | DropCaches::Both) {
        drop_in(guest, cancelled)?;
    }
    if matches!(which, DropCaches::Host | DropCaches::Both) {
        drop_here(cancelled)?;
    }
    Ok(())
}

/// Writes back and drops the page cache of the whole host.
pub(super) fn drop_here(cancelled: &dyn Fn() -> bool) -> Result<(), HostError> {
    // A command, because the system call can neither be limited nor interrupted.
    write_back(&["sync".into()], LIMIT, cancelled)?;
    kernel::write(FILE, PAGES)
}

fn write_back(argv: &[String], limit: Duration, cancelled: &dyn Fn() -> bool) -> Result<(), HostError> {
    let done = Running::start(argv, Bytes(SAID as u64))?.finish(limit, cancelled)?;
    if done.exit == 0 {
        return Ok(());
    }
    let said = one_line(&String::from_utf8_lossy(&done.stderr), SAID);
    let why = format!("exit code {}: {said}", done.exit);
    Err(HostError::new("write back the host's page cache", why))
}

fn drop_in(guest: &Transport, cancelled: &dyn Fn() -> bool) -> Result<(), HostError> {
    let doing = || "drop the guest's page cache".to_string();
    let run = || -> Result<_, TransportError> {
        let job = guest.start_job(Uuid::now_v7(), &["/bin/sh", "-c", IN_GUEST], SAID)?;
        guest.wait_job(&job, Duration::ZERO, LIMIT, cancelled)?;
        guest.collect_job(&job)
    };
    let done = run().map_err(|e| failed(doing(), &e))?;
    if done.exit_code == 0 {
        return Ok(());
    }
    let why = format!("its shell says {}; kvmtune must be root there", done.exit_code);
    Err(HostError::new(doing(), why))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn writing_back_ends_at_its_limit_and_on_request() {
        let run = |script: &str, limit, cancelled: bool| {
            let argv = ["sh", "-c", script].map(String::from);
            write_back(&argv, limit, &|| cancelled).map_err(|e| e.to_string())
        };
        let long = Duration::from_mins(1);
        assert_eq!(run("true", long, false), Ok(()));
        let failed = run("printf 'no \\033[31mdisk' >&2; exit 4", long, false).unwrap_err();
        assert!(
            failed.contains("exit code 4: no ") && !failed.contains('\x1b'),
            "{failed}"
        );
        let late = run("sleep 600", Duration::from_millis(50), false).unwrap_err();
        assert!(late.contains("longer than"), "{late}");
        let stopped = run("sleep 600", long, true).unwrap_err();
        assert!(stopped.contains("interrupted"), "{stopped}");
    }
}
