//! What is known of one host and one guest before anything is changed.
//!
//! Pure data: `host` fills it, `tunable` and `design` read it, `store` keeps it with every run.

use crate::tunable::{Address, CpuSet, KernelSide};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Names, in the record of a simulated host, the model it follows.
pub const SIMULATED: &str = "simulated";
/// Holds the model's whole text there, so that a run can be read and resumed without its file.
pub const SIMULATED_MODEL: &str = "simulated.model";

/// What a level means on one host, where only the host can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meaning {
    /// It stands for this text: a machine type without its alias, a kernel's whole release.
    Is(String),
    /// It is the path of an image in this format.
    Image {
        /// `raw` or `qcow2`, by how it begins.
        format: String,
    },
    /// It cannot be used, for this reason.
    Unusable(String),
}

/// One NUMA node of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The kernel's number of the node.
    pub id: u16,
    /// Its CPUs.
    pub cpus: CpuSet,
    /// Its memory.
    pub memory: Bytes,
    /// How far each node is, by its number: 10 is here, 20 twice as far. Empty when the kernel does not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub distances: BTreeMap<u16, u16>,
}

/// Memory of the host or the guest when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ram {
    /// All of it that the kernel has.
    pub total: Bytes,
    /// What programs could still be given without swapping.
    pub available: Bytes,
}

/// What was measured between host and guest, one TCP stream into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFacts {
    /// What arrived, in bit/s.
    pub bandwidth: u64,
    /// Mean round trip under that load, in microseconds.
    pub rtt: u64,
    /// What the guest's link says of itself, in bit/s; virtual ones mostly say nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link_speed: Option<u64>,
}

/// What is known of the host and the guest.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// CPUs of the host that are online.
    pub host_cpus: CpuSet,
    /// NUMA nodes of the host.
    pub nodes: Vec<Node>,
    /// The CPUs of each core: hardware threads that share it. A set for each core, ascending; empty when unknown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub siblings: Vec<CpuSet>,
    /// Number of vCPUs of the guest.
    pub vcpus: u16,
    /// Memory of the guest.
    pub guest_memory: Bytes,
    /// The host's memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ram: Option<Ram>,
    /// The memory the guest's kernel has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest_ram: Option<Ram>,
    /// The network between them, where an experiment needed it measured and it could be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkFacts>,
    /// The host's block device behind the guest's data disk, e.g. `loop3`.
    pub host_disk: Option<String>,
    /// The guest's name of its data disk, e.g. `vdb`.
    pub guest_disk: Option<String>,
    /// The guest's name of its first network link, e.g. `eth0`.
    #[serde(default)]
    pub guest_link: Option<String>,
    /// Number of NUMA nodes the guest sees.
    #[serde(default)]
    pub guest_nodes: u16,
    /// I/O threads of the domain.
    #[serde(default)]
    pub iothreads: u16,
    /// Modules the guest's kernel could load on demand.
    pub guest_modules: BTreeSet<String>,
    /// Modules loaded on the host, and those built in that have parameters.
    #[serde(default)]
    pub host_modules: BTreeSet<String>,
    /// What else host and domain have that tunables need: `kvm`, `vhost-net`, `hugetlbfs`, `controller cpu` …
    #[serde(default)]
    pub has: BTreeSet<String>,
    /// Raw contents read at the addresses an experiment uses, by the address as text.
    pub readings: BTreeMap<String, String>,
    /// What levels mean, by the address as text and the level's canonical text. Others mean what they say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meanings: BTreeMap<String, BTreeMap<String, Meaning>>,
    /// Everything recorded with a run for the reader: CPU, kernel, versions, mitigations …
    pub record: BTreeMap<String, String>,
}

/// What makes results comparable: hosts that differ in one of these are of another class.
pub const CLASS: [&str; 6] = [
    "host.cpu.model",
    "host.kernel",
    "guest.kernel",
    "qemu",
    "lab.acceleration",
    SIMULATED_MODEL,
];

impl Facts {
    /// Four hex digits that hosts with equal [`CLASS`] facts share. Results of unlike hosts are never pooled.
    pub fn class(&self) -> String {
        let mut hash = Sha256::new();
        for name in CLASS {
            hash.update(format!("{name}={}\n", self.record.get(name).map_or("", |v| v)));
        }
        let digits = hash.finalize();
        format!("{:02x}{:02x}", digits[0], digits[1])
    }

    /// Number of NUMA nodes of the guest, or of the host.
    pub fn numa_nodes(&self, side: Option<KernelSide>) -> usize {
        match side {
            Some(KernelSide::Guest) => usize::from(self.guest_nodes),
            _ => self.nodes.len(),
        }
    }

    /// Memory of the guest's kernel, or of the host's.
    pub fn ram(&self, side: Option<KernelSide>) -> Option<Ram> {
        match side {
            Some(KernelSide::Guest) => self.guest_ram,
            _ => self.host_ram,
        }
    }

    /// The model these facts are of, when there is no machine behind them.
    pub fn simulated(&self) -> Option<&str> {
        self.record.get(SIMULATED).map(String::as_str)
    }

    /// What the level `text` means at `address`, when the host was asked.
    pub fn meaning(&self, address: &Address, text: &str) -> Option<&Meaning> {
        self.meanings.get(&address.to_string())?.get(text)
    }

    /// The raw content that was read at `address`.
    pub fn reading(&self, address: &Address) -> Option<&str> {
        self.readings.get(&address.to_string()).map(String::as_str)
    }
}
