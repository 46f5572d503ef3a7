//! hugetlbfs mounts of the lab's own, so that a host without any can back the guest by huge pages.
//!
//! Does not know how large the pools are.

use super::{LabError, file_error};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount as mount_at, umount2};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Page sizes as mount(8) takes them, and the pool that exists when the kernel knows the size.
const SIZES: [(&str, &str); 2] = [("2M", "hugepages-2048kB"), ("1G", "hugepages-1048576kB")];

fn folder(root: &Path, size: &str) -> PathBuf {
    root.join(format!("hugepages-{size}"))
}

/// Mounts one hugetlbfs below `root` for each page size this kernel has.
pub(super) fn mount(root: &Path) -> Result<Vec<PathBuf>, LabError> {
    let mut mounts = Vec::new();
    for (size, pool) in SIZES {
        if !Path::new("/sys/kernel/mm/hugepages").join(pool).is_dir() {
            continue;
        }
        let place = folder(root, size);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&place);
        made.map_err(|source| file_error("make", &place, source))?;
        let options = format!("pagesize={size},mode=0700");
        mount_at(
            Some("kvmtune"),
            &place,
            Some("hugetlbfs"),
            MsFlags::empty(),
            Some(options.as_str()),
        )
        .map_err(|errno| file_error("mount hugetlbfs on", &place, errno.into()))?;
        mounts.push(place);
    }
    Ok(mounts)
}

/// Unmounts what [`mount`] mounted; there may be nothing.
pub(super) fn unmount(root: &Path) -> Result<(), LabError> {
    for (size, _) in SIZES {
        let place = folder(root, size);
        match umount2(&place, MntFlags::MNT_DETACH) {
            // EINVAL: not a mount point.
            Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => {}
            Err(errno) => return Err(file_error("unmount", &place, errno.into())),
        }
        let _ = fs::remove_dir(&place);
    }
    Ok(())
}
