//! After a run the host is as it was before: settings, devices, processes, folders.

use crate::place::{Place, script, wait_until};
use kvmtune::event::End;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
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
    read_below(Path::new("/sys/kernel/mm/transparent_hugepage"), &mut all);
    for pool in folders(Path::new("/sys/kernel/mm/hugepages")) {
        for file in ["nr_hugepages", "nr_overcommit_hugepages", "free_hugepages"] {
            read(&pool.join(file), &mut all);
        }
    }
    for disk in folders(Path::new("/sys/block")) {
        for file in ["queue/scheduler", "queue/read_ahead_kb"] {
            read(&disk.join(file), &mut all);
        }
    }
    for command in ["losetup --list --raw", "ip netns", "ip -o link", "ip -o address"] {
        all.insert(command.into(), output_of(command));
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    all.insert("mounts".into(), mounts);
    all.insert("processes".into(), guests().join("\n"));
    all.insert("/run/kvmtune".into(), names(Path::new("/run/kvmtune")));
    for controller in folders(Path::new("/sys/fs/cgroup")) {
        let machine = controller.join("machine");
        all.insert(machine.display().to_string(), names(&machine));
    }
    all
}

fn read_below(folder: &Path, all: &mut Snapshot) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
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

fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.path()).filter(|p| p.is_dir()).collect()
}

fn names(folder: &Path) -> String {
    let names: BTreeSet<_> = folders(folder).iter().map(|p| p.display().to_string()).collect();
    names.into_iter().collect::<Vec<_>>().join("\n")
}

fn output_of(command: &str) -> String {
    let words: Vec<_> = command.split(' ').collect();
    let output = Command::new(words[0]).args(&words[1..]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Processes of kvmtune and its guests, without this one and its parent.
fn guests() -> Vec<String> {
    let command = |path: PathBuf| {
        let words = fs::read(path.join("cmdline")).ok()?;
        let program = words.split(|b| *b == 0).next()?.to_vec();
        let program = String::from_utf8_lossy(&program).into_owned();
        let ours = program.contains("qemu-system") || program.ends_with("/kvmtune");
        ours.then(|| format!("{} {program}", path.display()))
    };
    folders(Path::new("/proc"))
        .into_iter()
        .filter_map(command)
        .collect()
}

/// What differs, as text for a message.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<String> {
    let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs = keys.into_iter().filter(|k| before.get(*k) != after.get(*k));
    differs
        .map(|k| format!("{k}\n  before: {:?}\n  after: {:?}", before.get(k), after.get(k)))
        .collect()
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
    let Some(place) = Place::new(experiment, &script("n=1")) else {
        return;
    };
    let before = snapshot();
    place.run();
    place.assert_all_measured();
    // No block but the discarded one and the first begins after the budget is used up.
    assert_eq!(place.summary().end, Some(End::TimeBudget));
    let treatments = place.header().plan.treatments.len();
    assert!(treatments >= 7, "{:#?}", place.header().plan.notices);
    assert_eq!(place.records().len(), 2 * treatments);
    // The kernel takes down a network namespace some time after its last process.
    let mut left = Vec::new();
    let mut looks = 0;
    wait_until("a look", || {
        left = differences(&before, &snapshot());
        looks += 1;
        if !left.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        left.is_empty() || looks == 50
    });
    assert!(left.is_empty(), "{}", left.join("\n"));
    let journal = fs::read_to_string(place.path().join("state/journal.jsonl")).unwrap();
    assert_eq!(journal, "");
}
