//! The host kernel's files below /proc/sys and /sys: bounded reads, exact writes.
//!
//! Does not know what the files mean. In a private network namespace /proc/sys/net is that namespace's.

use super::{Host, HostError, Job, JobOutput, MAX_SETTING, Power, Scope, TOO_LONG};
use crate::facts::Facts;
use crate::tunable::{Address, KernelFile};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;

/// The content of a kernel file.
pub(super) fn read(path: &str) -> Result<String, HostError> {
    let fail = |cause: &dyn ToString| HostError::new(format!("read host:{path}"), cause.to_string());
    if !KernelFile::is_one(path) {
        return Err(fail(&"not below /proc/sys or /sys"));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|e| fail(&e))?;
    file.take(MAX_SETTING as u64 + 1)
        .read_to_string(&mut text)
        .map_err(|e| fail(&e))?;
    if text.len() > MAX_SETTING {
        return Err(fail(&TOO_LONG));
    }
    Ok(text)
}

/// True for a file of this kernel that has no bit for writing: root is refused too, or changes nothing.
pub(super) fn is_read_only(address: &Address) -> bool {
    let Address::HostFile { path, .. } = address else {
        return false;
    };
    std::fs::metadata(path).is_ok_and(|about| about.mode() & 0o222 == 0)
}

/// Writes a value in one write(2), as sysfs and sysctl want it.
pub(super) fn write(path: &str, value: &str) -> Result<(), HostError> {
    let fail =
        |cause: &dyn ToString| HostError::new(format!("write `{value}` to host:{path}"), cause.to_string());
    if !KernelFile::is_one(path) {
        return Err(fail(&"not below /proc/sys or /sys"));
    }
    let mut file = OpenOptions::new().write(true).open(path).map_err(|e| fail(&e))?;
    // Of nothing there is no write(2), and nothing would change.
    let value = if value.is_empty() { "\n" } else { value };
    file.write_all(value.as_bytes()).map_err(|e| fail(&e))
}

/// What the running kernel was booted with.
pub(super) fn command_line() -> Result<String, HostError> {
    std::fs::read_to_string("/proc/cmdline").map_err(|e| HostError::new("read /proc/cmdline", e))
}

/// Tells this boot of the host from the next.
pub fn boot_id() -> Result<String, HostError> {
    read("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_string())
}

/// The inode that names the calling thread's network namespace.
pub(super) fn network_inode() -> Result<u64, HostError> {
    let path = "/proc/thread-self/ns/net";
    let meta = std::fs::metadata(path).map_err(|e| HostError::new(format!("read {path}"), e))?;
    Ok(meta.ino())
}

/// The host's kernel alone, without any guest: what `recover` needs.
#[derive(Debug, Clone, Copy)]
pub struct KernelHost;

impl KernelHost {
    fn no_guest(doing: &str) -> HostError {
        HostError::new(doing, "no guest is attached")
    }
}

impl Host for KernelHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        Err(Self::no_guest("gather facts"))
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        match address {
            Address::HostFile { path, .. } => read(path),
            Address::HostBoot(parameter) => command_line().map(|line| parameter.value_in(&line)),
            other => Err(Self::no_guest(&format!("read {other}"))),
        }
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        match address {
            Address::HostFile { path, .. } => write(path, value),
            other => Err(Self::no_guest(&format!("write {other}"))),
        }
    }

    fn scope(&mut self, _: &Address) -> Result<Scope, HostError> {
        boot_id().map(|id| Scope::Boot { id })
    }

    fn power(&mut self, _: Power) -> Result<(), HostError> {
        Ok(())
    }

    fn run(&mut self, _: &Job) -> Result<JobOutput, HostError> {
        Err(Self::no_guest("run a workload"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_are_touched() {
        for path in [
            "/etc/passwd",
            "/sys/../etc/passwd",
            "/proc/self/mem",
            "/proc/sysrq-trigger",
            "/sys/a\0b",
        ] {
            assert!(!KernelFile::is_one(path), "{path}");
            assert!(write(path, "x").is_err());
        }
        assert!(read("/proc/sys/vm/swappiness").is_ok_and(|t| t.trim().parse::<u32>().is_ok()));
    }
}
