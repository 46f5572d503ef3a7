//! What this machine and its guest are: the facts recorded with every run.
//!
//! Reads only. A fact that cannot be read is left out; only what a plan needs is an error.

use super::local::LocalHost;
use super::{HostError, kernel};
use crate::facts::{Facts, Node, Ram};
use crate::tunable::{CpuSet, ParameterGroup};
use crate::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

mod guest;
mod offers;

/// Longest text kept of one fact.
const MAX_FACT: usize = 64 * 1024;

/// Where the kernel describes CPUs and nodes.
const DEVICES: &str = "/sys/devices/system";

pub(super) fn facts(host: &LocalHost) -> Result<Facts, HostError> {
    let mut facts = Facts {
        host_cpus: cpus()?,
        nodes: nodes(Path::new(DEVICES)),
        siblings: siblings(Path::new(DEVICES)),
        host_ram: text("/proc/meminfo").as_deref().and_then(ram),
        record: host_record(host),
        ..Facts::default()
    };
    let (vcpus, memory) =
        super::xml::size(host.definition()).map_err(|e| HostError::new("read the guest's size", e))?;
    (facts.vcpus, facts.guest_memory) = (vcpus, memory);
    let disk = super::xml::disk(host.definition(), Some(host.disk()))
        .map_err(|e| HostError::new("find the data disk", e))?;
    facts.host_disk = disk.source.as_deref().and_then(host_device);
    facts.guest_disk = host.is_on().then(|| host.disk().to_string());
    facts.iothreads = super::xml::iothreads(host.definition());
    facts.has.extend(domain_words(host, facts.iothreads));
    facts.has.extend(offers::words(host));
    facts.host_modules = entries("/sys/module").into_iter().collect();
    if host.is_on() {
        guest::facts(host, &mut facts)?;
    }
    Ok(facts)
}

/// What is known of a host without a guest; `scratch` is the file that stands for the data disk.
pub(super) fn bare_facts(scratch: Option<&str>) -> Result<Facts, HostError> {
    let folder = scratch.and_then(|path| Path::new(path).parent()?.to_str());
    Ok(Facts {
        host_cpus: cpus()?,
        nodes: nodes(Path::new(DEVICES)),
        siblings: siblings(Path::new(DEVICES)),
        host_ram: text("/proc/meminfo").as_deref().and_then(ram),
        host_disk: folder.and_then(host_device),
        host_modules: entries("/sys/module").into_iter().collect(),
        // The host's network is its own here.
        has: std::iter::once("host-network".to_string())
            .chain(super::controllers())
            .collect(),
        record: machine_record(),
        ..Facts::default()
    })
}

/// What the domain can be tuned by: cgroup controllers that libvirt really uses for it, I/O threads.
fn domain_words(host: &LocalHost, iothreads: u16) -> BTreeSet<String> {
    let mut words = super::controllers();
    // libvirt manages no cgroups for a user's session, whatever is mounted.
    if let Some(domain) = host.running_domain() {
        let groups = [
            ("cpu", ParameterGroup::Scheduler),
            ("memory", ParameterGroup::Memory),
            ("blkio", ParameterGroup::Blkio),
        ];
        for (controller, group) in groups {
            if domain.parameters(group).is_err() {
                words.retain(|word| {
                    word != &format!("controller {controller}")
                        && !word.starts_with(&format!("{controller} "))
                });
            }
        }
    }
    if iothreads > 0 {
        words.insert("iothread".into());
    }
    words
}

/// Sizes of huge pages that a CPU with these flags has.
fn pages(flags: &str) -> String {
    let has = |flag: &str| flags.split_whitespace().any(|f| f == flag);
    let sizes = [("pse", "2MiB"), ("pdpe1gb", "1GiB")];
    let there: Vec<_> = sizes
        .iter()
        .filter(|(flag, _)| has(flag))
        .map(|(_, size)| *size)
        .collect();
    if there.is_empty() {
        "4KiB only".into()
    } else {
        there.join(" ")
    }
}

fn cpus() -> Result<CpuSet, HostError> {
    let path = "/sys/devices/system/cpu/online";
    kernel::read(path)?
        .trim()
        .parse()
        .map_err(|e| HostError::new(format!("read {path}"), e))
}

/// From a kernel's /proc/meminfo; a guest's is not trusted.
fn ram(meminfo: &str) -> Option<Ram> {
    let field = |name: &str| {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kib.checked_mul(1024).map(Bytes)
    };
    let (total, available) = (field("MemTotal:")?, field("MemAvailable:")?);
    Some(Ram {
        total,
        available: available.min(total),
    })
}

fn nodes(devices: &Path) -> Vec<Node> {
    let folder = devices.join("node");
    let numbers = numbered(&folder, "node");
    let node = |id: u16| {
        let folder = folder.join(format!("node{id}"));
        let meminfo = text(folder.join("meminfo"))?;
        let total = meminfo.lines().find(|l| l.contains("MemTotal:"))?;
        let kib: u64 = total.split_whitespace().rev().nth(1)?.parse().ok()?;
        Some(Node {
            id,
            cpus: text(folder.join("cpulist"))?.parse().ok()?,
            memory: Bytes(kib << 10),
            distances: distances(&text(folder.join("distance")).unwrap_or_default(), &numbers),
        })
    };
    numbers.iter().filter_map(|id| node(*id)).collect()
}

/// The kernel lists the distances to all nodes that are online, ascending; a list of another length tells nothing.
fn distances(text: &str, nodes: &BTreeSet<u16>) -> BTreeMap<u16, u16> {
    let listed: Option<Vec<u16>> = text.split_whitespace().map(|d| d.parse().ok()).collect();
    let listed = listed.filter(|l| l.len() == nodes.len()).unwrap_or_default();
    nodes.iter().copied().zip(listed).collect()
}

/// CPUs that are offline have no topology.
fn siblings(devices: &Path) -> Vec<CpuSet> {
    let folder = devices.join("cpu");
    let threads = |cpu: u16| {
        let list = folder.join(format!("cpu{cpu}/topology/thread_siblings_list"));
        text(&list)?.parse().ok()
    };
    let cores: BTreeSet<CpuSet> = numbered(&folder, "cpu").into_iter().filter_map(threads).collect();
    cores.into_iter().collect()
}

/// The numbers of entries such as `node0`.
fn numbered(folder: &Path, name: &str) -> BTreeSet<u16> {
    let number = |entry: &String| entry.strip_prefix(name)?.parse().ok();
    entries(folder).iter().filter_map(number).collect()
}

fn entries(folder: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path)
        .ok()
        .map(|t| t.trim().chars().take(MAX_FACT).collect())
}

/// The kernel's name of the block device that holds a disk's source: the device itself, or the one its file
/// system is on.
pub(super) fn host_device(source: &str) -> Option<String> {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let meta = fs::metadata(source).ok()?;
    let number = if meta.file_type().is_block_device() {
        meta.rdev()
    } else {
        meta.dev()
    };
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let link = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    // A partition has no queue; its disk is the folder above.
    let disk = if link.join("queue").exists() {
        link.as_path()
    } else {
        link.parent()?
    };
    disk.join("queue")
        .exists()
        .then(|| disk.file_name()?.to_str().map(str::to_string))?
}

fn host_record(host: &LocalHost) -> BTreeMap<String, String> {
    let mut record = machine_record();
    if let Ok(versions) = host.connection().version() {
        record.insert("libvirt".into(), versions.library.to_string());
        record.insert("qemu".into(), versions.hypervisor.to_string());
    }
    record.insert(
        "domain.xml".into(),
        super::xml::without_secrets(host.definition()),
    );
    if let Some(lab) = host.lab_of() {
        record.insert("lab.image".into(), lab.image().hash.to_string());
        record.insert("lab.acceleration".into(), acceleration(lab.probe()));
    }
    record
}

/// What is recorded of the host, whatever guest it has.
fn machine_record() -> BTreeMap<String, String> {
    let mut record = BTreeMap::new();
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            record.insert(format!("host.{name}"), value);
        }
    };
    let cpuinfo = text("/proc/cpuinfo").unwrap_or_default();
    let cpu = |name: &str| {
        let line = cpuinfo.lines().find(|l| l.starts_with(name))?;
        line.split_once(':').map(|(_, value)| value.trim().to_string())
    };
    put("cpu.model", cpu("model name"));
    put("cpu.microcode", cpu("microcode"));
    put("cpu.pages", cpu("flags").map(|flags| pages(&flags)));
    put("cpu.flags", cpu("flags"));
    put(
        "cpu.governor",
        text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
    );
    put("kernel", text("/proc/sys/kernel/osrelease"));
    put("kernel.version", text("/proc/version"));
    put("kernel.command-line", text("/proc/cmdline"));
    put(
        "memory",
        text("/proc/meminfo").and_then(|m| m.lines().next().map(str::to_string)),
    );
    put("thp", text("/sys/kernel/mm/transparent_hugepage/enabled"));
    put("tuned.profile", text("/etc/tuned/active_profile"));
    put(
        "cpu.times",
        text("/proc/stat").and_then(|s| s.lines().next().map(str::to_string)),
    );
    let steal = record
        .get("host.cpu.times")
        .and_then(|t| t.split_whitespace().nth(8))
        .map(str::to_string);
    if let Some(steal) = steal {
        record.insert("host.cpu.steal-ticks".into(), steal);
    }
    for name in entries("/sys/devices/system/cpu/vulnerabilities") {
        if let Some(state) = text(format!("/sys/devices/system/cpu/vulnerabilities/{name}")) {
            record.insert(format!("host.mitigation.{name}"), state);
        }
    }
    record
}

fn acceleration(probe: &crate::lab::probe::KvmProbe) -> String {
    match probe {
        crate::lab::probe::KvmProbe::Works => "kvm".into(),
        crate::lab::probe::KvmProbe::Unusable { reason } => format!("software emulation: {reason}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    #[test]
    fn memory_is_read_or_unknown() {
        let found = ram("MemTotal:  1003820 kB\nMemFree: 1 kB\nMemAvailable:    903820 kB\n").unwrap();
        let kib = |n: u64| Bytes(n << 10);
        assert_eq!((found.total, found.available), (kib(1_003_820), kib(903_820)));
        for bad in [
            "",
            "MemTotal: 5 kB\n",
            "MemTotal: x kB\nMemAvailable: 1 kB\n",
            "MemTotal: 99999999999999999999 kB\nMemAvailable: 1 kB\n",
            "MemTotal: 18446744073709551615 kB\nMemAvailable: 1 kB\n",
        ] {
            assert_eq!(ram(bad), None, "{bad}");
        }
    }

    #[test]
    fn nodes_have_their_distances_by_number() {
        let meminfo = |id: u16| format!("Node {id} MemTotal:        1003820 kB\nNode {id} MemFree: 1 kB\n");
        let (zero, two) = (meminfo(0), meminfo(2));
        let found = machine(&[
            ("node/node2/cpulist", "2-3\n"),
            ("node/node2/meminfo", &two),
            ("node/node2/distance", "21 10\n"),
            ("node/node0/cpulist", "0-1\n"),
            ("node/node0/meminfo", &zero),
            ("node/node0/distance", "10 21 21\n"),
            ("node/online", "0,2\n"),
        ]);
        let nodes = nodes(found.path());
        let told: Vec<_> = nodes
            .iter()
            .map(|n| (n.id, n.cpus.to_string(), n.memory))
            .collect();
        let memory = Bytes(1_003_820 << 10);
        assert_eq!(told, [(0, "0-1".to_string(), memory), (2, "2-3".into(), memory)]);
        assert_eq!(nodes[1].distances, [(0, 21), (2, 10)].into());
        assert!(nodes[0].distances.is_empty(), "a list that does not fit");
    }

    #[test]
    fn cores_are_named_once_in_order() {
        let list = |cpu: u16| format!("cpu/cpu{cpu}/topology/thread_siblings_list");
        let paths = [0, 1, 2, 10, 11].map(list);
        let lists = ["0,10\n", "1,11\n", "2\n", "0,10\n", "1,11\n"];
        let mut files: Vec<_> = paths.iter().map(String::as_str).zip(lists).collect();
        files.extend([("cpu/cpu3/online", "0\n"), ("cpu/cpufreq/boost", "1\n")]);
        let found = machine(&files);
        let cores: Vec<_> = siblings(found.path()).iter().map(ToString::to_string).collect();
        assert_eq!(cores, ["0,10", "1,11", "2"]);
        assert!(siblings(Path::new("/nowhere")).is_empty());
    }
}
