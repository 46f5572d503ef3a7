//! What this machine and its guest are: the facts recorded with every run.
//!
//! Reads only. A fact that cannot be read is left out; only what a plan needs is an error.

use super::local::LocalHost;
use super::{HostError, kernel};
use crate::facts::{Facts, Node};
use crate::tunable::{CpuSet, ParameterGroup};
use crate::units::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

mod guest;
mod offers;

/// Longest text kept of one fact.
const MAX_FACT: usize = 64 * 1024;

pub(super) fn facts(host: &LocalHost) -> Result<Facts, HostError> {
    let mut facts = Facts {
        host_cpus: cpus()?,
        nodes: nodes(),
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
    let folder = scratch.and_then(|path| std::path::Path::new(path).parent()?.to_str());
    Ok(Facts {
        host_cpus: cpus()?,
        nodes: nodes(),
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

fn cpus() -> Result<CpuSet, HostError> {
    let path = "/sys/devices/system/cpu/online";
    kernel::read(path)?
        .trim()
        .parse()
        .map_err(|e| HostError::new(format!("read {path}"), e))
}

fn nodes() -> Vec<Node> {
    let mut nodes: Vec<Node> = entries("/sys/devices/system/node")
        .iter()
        .filter_map(|name| {
            let id: u16 = name.strip_prefix("node")?.parse().ok()?;
            let folder = format!("/sys/devices/system/node/{name}");
            let cpus = text(&format!("{folder}/cpulist"))?.parse().ok()?;
            let meminfo = text(&format!("{folder}/meminfo"))?;
            let total = meminfo.lines().find(|l| l.contains("MemTotal:"))?;
            let kib: u64 = total.split_whitespace().rev().nth(1)?.parse().ok()?;
            Some(Node {
                id,
                cpus,
                memory: Bytes(kib << 10),
            })
        })
        .collect();
    nodes.sort_by_key(|n| n.id);
    nodes
}

fn entries(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().into_string().ok()).collect()
}

fn text(path: &str) -> Option<String> {
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
        if let Some(state) = text(&format!("/sys/devices/system/cpu/vulnerabilities/{name}")) {
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
