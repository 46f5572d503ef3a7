//! This machine's /sys, as what makes settings last wants to read it.

use crate::persist::Sysfs;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The host's.
#[derive(Debug, Clone, Copy)]
pub struct HostSysfs;

impl Sysfs for HostSysfs {
    fn read(&mut self, path: &str) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn link(&mut self, path: &str) -> Option<String> {
        fs::read_link(path)
            .ok()
            .map(|target| target.to_string_lossy().into_owned())
    }

    fn is_writable(&mut self, path: &str) -> bool {
        fs::metadata(path).is_ok_and(|about| about.mode() & 0o200 != 0)
    }
}
