//! What host and domain have that tunables need, as the words of [`crate::facts::Facts::has`].
//!
//! Reads only.

use super::{LocalHost, text};
use crate::host::xml;
use std::collections::BTreeSet;
use std::path::Path;

pub(super) fn words(host: &LocalHost) -> BTreeSet<String> {
    let is_lab = host.lab_of().is_some();
    let is_kvm = xml::build(host.definition()).is_ok_and(|build| build.kind == "kvm");
    // The lab mounts it for itself.
    let has_pages = is_lab || has_hugetlbfs(&text("/proc/self/mounts").unwrap_or_default());
    let found = [
        ("kvm", is_kvm),
        ("vhost-net", Path::new("/dev/vhost-net").exists()),
        ("hugetlbfs", has_pages),
        ("host-network", !is_lab),
    ];
    let there = found.into_iter().filter(|(_, there)| *there);
    there.map(|(word, _)| word.to_string()).collect()
}

fn has_hugetlbfs(mounts: &str) -> bool {
    mounts
        .lines()
        .any(|line| line.split_whitespace().nth(2) == Some("hugetlbfs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_known_by_its_type() {
        assert!(has_hugetlbfs(
            "proc /proc proc rw 0 0\nhugetlbfs /dev/hugepages hugetlbfs rw 0 0\n"
        ));
        assert!(!has_hugetlbfs("tmpfs /hugetlbfs tmpfs rw 0 0\n"));
    }
}
