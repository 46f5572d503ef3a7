//! The host's block device behind the data disk, and libvirt's lists of devices with a number each.
//!
//! Does not know limits or weights.

use crate::host::libvirt::Domain;
use crate::host::{survey, xml};
use std::fs;
use std::path::Path;

/// A whole block device of the host.
#[derive(Debug)]
pub(super) struct BlockDevice {
    /// `/dev/loop3`.
    path: String,
    /// `7:3`.
    pub(super) numbers: String,
}

/// The device behind the disk with this target name.
pub(super) fn behind(domain: &Domain, target: &str) -> Result<BlockDevice, String> {
    let xml = domain.xml_live().map_err(|e| e.to_string())?;
    let disk = xml::disk(&xml, Some(target)).map_err(|e| e.to_string())?;
    let name = disk.source.as_deref().and_then(survey::host_device);
    let name = name.ok_or_else(|| format!("no block device of the host is behind disk {target}"))?;
    let file = format!("/sys/block/{name}/dev");
    let numbers = fs::read_to_string(&file).map_err(|e| format!("{file}: {e}"))?;
    Ok(BlockDevice {
        // In /sys a slash of a name is spelled so.
        path: format!("/dev/{}", name.replace('!', "/")),
        numbers: numbers.trim().to_string(),
    })
}

impl BlockDevice {
    /// Its number in libvirt's list, `/dev/sda,500,/dev/sdb,10`; 0 when it is not in it.
    pub(super) fn told(&self, list: &str) -> i64 {
        self.find(list).map_or(0, |(_, number)| number)
    }

    /// The element to set for it. A device libvirt knows by another path keeps that, lest it be there twice.
    pub(super) fn entry(&self, list: &str, number: i64) -> String {
        let path = self.find(list).map_or(self.path.as_str(), |(path, _)| path);
        format!("{path},{number}")
    }

    fn find<'l>(&self, list: &'l str) -> Option<(&'l str, i64)> {
        let parts: Vec<_> = list.split(',').collect();
        let pairs = parts.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        let (path, number) = pairs.into_iter().find(|(path, _)| self.is_at(path))?;
        Some((path, number.trim().parse().ok()?))
    }

    fn is_at(&self, path: &str) -> bool {
        path == self.path || fs::canonicalize(path).is_ok_and(|target| target == Path::new(&self.path))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_found_in_libvirts_list() {
        let device = BlockDevice {
            path: "/dev/sda".into(),
            numbers: "8:0".into(),
        };
        assert_eq!(device.told("/dev/sdb,10,/dev/sda,500"), 500);
        assert_eq!(device.told("/dev/sdaa,10"), 0);
        assert_eq!(device.told(""), 0);
        assert_eq!(device.entry("", 7), "/dev/sda,7");
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().canonicalize().unwrap().join("disk");
        let link = temp.path().join("by-id");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let device = BlockDevice {
            path: file.display().to_string(),
            numbers: String::new(),
        };
        let list = format!("{},20", link.display());
        assert_eq!(device.told(&list), 20);
        assert_eq!(device.entry(&list, 0), format!("{},0", link.display()));
    }
}
