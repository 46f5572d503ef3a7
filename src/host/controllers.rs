//! Which cgroup controllers and files of theirs this kernel offers, in the words tunables ask for.
//!
//! Knows version 1 and 2; does not know the groups of any guest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The controllers that tunables use, by their names in version 1 and 2.
const CONTROLLERS: [(&str, &str); 4] = [
    ("cpu", "cpu"),
    ("cpuset", "cpuset"),
    ("memory", "memory"),
    ("blkio", "io"),
];

/// What only some kernels offer: the word, its controller, a file that is in every group of the controller, and the
/// files of which one is enough.
///
/// A device's weight is counted in version 1 only: libvirt could not take it away again in version 2, where the kernel
/// refuses the 0 that libvirt writes.
const EXTRAS: [(&str, &str, [&str; 2], &[&str]); 3] = [
    (
        "memory swap limit",
        "memory",
        ["memory.limit_in_bytes", "memory.max"],
        &["memory.memsw.limit_in_bytes", "memory.swap.max"],
    ),
    (
        "blkio weight",
        "blkio",
        ["blkio.throttle.read_bps_device", "io.max"],
        &["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"],
    ),
    (
        "blkio device weight",
        "blkio",
        ["blkio.throttle.read_bps_device", "io.max"],
        &["blkio.weight_device"],
    ),
];

/// The words for this host: `controller cpu`, `memory swap limit` …
pub fn controllers() -> BTreeSet<String> {
    words(&fs::read_to_string("/proc/self/mounts").unwrap_or_default())
}

fn words(mounts: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for (old, new) in CONTROLLERS {
        let Some(folder) = mount(mounts, old, new) else {
            continue;
        };
        words.insert(format!("controller {old}"));
        let extras = EXTRAS.iter().filter(|(_, controller, ..)| *controller == old);
        let offered = extras.filter(|(.., common, files)| offers(&folder, common, files));
        words.extend(offered.map(|(word, ..)| (*word).to_string()));
    }
    words
}

/// Where a controller's hierarchy is mounted; version 1 has it alone when it has it at all.
fn mount(mounts: &str, old: &str, new: &str) -> Option<PathBuf> {
    let lines: Vec<Vec<&str>> = mounts.lines().map(|l| l.split(' ').collect()).collect();
    let of_kind = |kind: &'static str| {
        lines
            .iter()
            .filter(move |fields| fields.get(2) == Some(&kind) && fields.len() > 3)
    };
    let has_old = |fields: &&Vec<&str>| fields[3].split(',').any(|option| option == old);
    let has_new = |fields: &&Vec<&str>| {
        let path = Path::new(fields[1]).join("cgroup.controllers");
        let listed = fs::read_to_string(path).unwrap_or_default();
        listed.split_whitespace().any(|controller| controller == new)
    };
    let found = of_kind("cgroup").find(has_old);
    let found = found.or_else(|| of_kind("cgroup2").find(has_new))?;
    Some(PathBuf::from(found[1]))
}

/// Whether a group that has one of `common` has one of `files`: the root lacks some. With no such group nobody can
/// tell, and an attempt will.
fn offers(root: &Path, common: &[&str], files: &[&str]) -> bool {
    let has = |folder: &PathBuf, names: &[&str]| names.iter().any(|name| folder.join(name).exists());
    let groups: Vec<_> = children(root)
        .into_iter()
        .flat_map(|child| [children(&child), vec![child]].concat())
        .filter(|folder| has(folder, common))
        .collect();
    let root = root.to_path_buf();
    groups.is_empty() || has(&root, files) || groups.iter().any(|folder| has(folder, files))
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        root
    }

    fn told(mounts: &str) -> Vec<String> {
        words(mounts).into_iter().collect()
    }

    #[test]
    fn version_1_tells_by_its_mounts() {
        let root = tree(&[
            ("memory/memory.limit_in_bytes", ""),
            ("memory/machine/memory.limit_in_bytes", ""),
            ("blkio/machine/blkio.throttle.read_bps_device", ""),
            ("blkio/machine/blkio.bfq.weight", ""),
        ]);
        let line = |folder: &str, options: &str| {
            format!(
                "cgroup {}/{folder} cgroup rw,{options} 0 0\n",
                root.path().display()
            )
        };
        let mounts = line("cpu,cpuacct", "cpu,cpuacct") + &line("memory", "memory") + &line("blkio", "blkio");
        let wanted = [
            "blkio weight",
            "controller blkio",
            "controller cpu",
            "controller memory",
        ];
        assert_eq!(told(&mounts), wanted);
        fs::write(root.path().join("memory/memory.memsw.limit_in_bytes"), "").unwrap();
        assert!(told(&mounts).contains(&"memory swap limit".to_string()));
    }

    #[test]
    fn version_2_tells_by_its_list() {
        let root = tree(&[
            ("cgroup.controllers", "cpuset cpu io memory hugetlb pids\n"),
            ("machine.slice/memory.max", ""),
            ("machine.slice/memory.swap.max", ""),
            ("machine.slice/a.scope/io.max", ""),
        ]);
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        let wanted = [
            "controller blkio",
            "controller cpu",
            "controller cpuset",
            "controller memory",
            "memory swap limit",
        ];
        assert_eq!(told(&mounts), wanted);
        fs::write(root.path().join("machine.slice/a.scope/io.bfq.weight"), "").unwrap();
        assert!(told(&mounts).contains(&"blkio weight".to_string()));
    }

    #[test]
    fn nothing_is_offered_where_nothing_is_mounted() {
        assert!(told("").is_empty());
        assert!(told("proc /proc proc rw 0 0\ncgroup2\n").is_empty());
    }
}
