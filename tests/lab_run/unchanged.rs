//! After a run the host is as it was before: settings, devices, processes, folders.

use crate::place::{Place, entries, script, wait_until};
use kvmtune::event::End;
use nix::mount::MsFlags;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// Numbers and tables that the kernel counts by itself.
const COUNTERS: [&str; 9] = [
    "/proc/sys/fs/dentry-state",
    "/proc/sys/fs/file-nr",
    "/proc/sys/fs/inode-nr",
    "/proc/sys/fs/inode-state",
    "/proc/sys/fs/aio-nr",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/kernel/random",
    "/proc/sys/kernel/pty/nr",
    "/proc/sys/net/netfilter/nf_conntrack_count",
];

/// What a run could leave changed, by name.
type Snapshot = BTreeMap<String, String>;

fn snapshot() -> Snapshot {
    let mut all = Snapshot::new();
    for folder in ["vm", "net", "kernel", "fs"] {
        read_below(&Path::new("/proc/sys").join(folder), &mut all);
    }
    for file in entries("/sys/kernel/mm/transparent_hugepage") {
        read(&file, &mut all);
    }
    for pool in entries("/sys/kernel/mm/hugepages") {
        for file in ["nr_hugepages", "nr_overcommit_hugepages", "free_hugepages"] {
            read(&pool.join(file), &mut all);
        }
    }
    for disk in entries("/sys/block") {
        for file in ["queue/scheduler", "queue/read_ahead_kb"] {
            read(&disk.join(file), &mut all);
        }
    }
    for command in ["ip netns", "ip -o link", "ip -o address"] {
        all.insert(command.into(), output_of(command));
    }
    all
}

fn read_below(folder: &Path, all: &mut Snapshot) {
    for path in entries(folder) {
        if path.is_dir() {
            read_below(&path, all);
        } else {
            read(&path, all);
        }
    }
}

/// Files that cannot be read are triggers, or not for us.
fn read(path: &Path, all: &mut Snapshot) {
    if COUNTERS.iter().any(|counter| path.starts_with(counter)) {
        return;
    }
    if let Ok(text) = fs::read_to_string(path) {
        all.insert(path.display().to_string(), text);
    }
}

fn output_of(command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What differs, as text for a message.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = keys.into_iter().filter(|k| before.get(*k) != after.get(*k));
    differs
        .map(|k| format!("{k}\n  before: {:?}\n  after: {:?}", before.get(k), after.get(k)))
        .collect()
}

/// A place where huge pages are mounted while it lives: without one no guest can be backed by them.
struct HugePages {
    mount: tempfile::TempDir,
}

impl HugePages {
    fn mount() -> Self {
        let mount = tempfile::tempdir().unwrap();
        let (flags, none) = (MsFlags::empty(), None::<&str>);
        nix::mount::mount(none, mount.path(), Some("hugetlbfs"), flags, none).unwrap();
        Self { mount }
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        if let Err(error) = nix::mount::umount(self.mount.path()) {
            eprintln!("left mounted: {}: {error}", self.mount.path().display());
        }
    }
}

#[test]
fn the_host_is_as_before() {
    let experiment = r#"
        factor = [
            { tunable = "host.disk.scheduler", levels = ["none", "mq-deadline"] },
            { tunable = "host.thp", levels = ["always", "never"] },
            { tunable = "domain.memory.hugepages", levels = ["off", "2MiB"] },
            { tunable = "sysctl:vm.swappiness", levels = [60, 61] },
            { tunable = "host.net.tcp-rmem", levels = ["4096 131072 33554432"] },
            { tunable = "domain.disk.cache", levels = ["none", "writeback"] },
        ]
        workload = { use = "load" }
        design = { kind = "one-at-a-time", blocks = 2 }
        budget = { time = "1s" }
    "#;
    let Some(place) = Place::new(experiment, &script("n=1;")) else {
        return;
    };
    let _mounted = HugePages::mount();
    let before = snapshot();
    let mut run = place.start(&["run", "experiment.toml"]);
    wait_until("the lab", || run.has_ended() || place.lab().is_some());
    let lab = place.lab();
    let done = run.finish();
    assert!(done.status.success(), "{done:?}");
    place.assert_all_measured();
    // No block but the discarded one and the first begins after the budget is used up.
    assert_eq!(place.summary().end, Some(End::TimeBudget));
    let treatments = place.header().plan.treatments.len();
    assert!(treatments >= 7, "{:#?}", place.header().plan.notices);
    assert_eq!(place.records().len(), 2 * treatments);
    assert_eq!(place.remains(&lab.unwrap()), Vec::<String>::new());
    let left = differences(&before, &snapshot());
    assert!(left.is_empty(), "{}", left.join("\n"));
    let journal = fs::read_to_string(place.path().join("state/journal.jsonl")).unwrap();
    assert_eq!(journal, "");
}
