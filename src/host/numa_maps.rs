//! Where a guest's memory really is: `/proc/PID/maps` and `/proc/PID/numa_maps` of its QEMU, read and understood.
//! Knows what the kernel writes there; does not know libvirt, nor which placement was asked for.
//!
//! Source: Documentation/filesystems/proc.rst of the kernel, and `mpol_to_str` in its mm/mempolicy.c.

use super::HostError;
use crate::tunable::CpuSet;
use crate::units::Bytes;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

/// A QEMU with many devices has some thousand mappings of about 100 bytes.
const MAX_READ: u64 = 4 << 20;

/// Names of policies that are two words.
const TWO_WORDS: [&str; 2] = ["prefer (many)", "weighted interleave"];

/// Memory of devices that are passed through: as large as a guest's, and not the host's.
const DEVICES: [&str; 2] = ["/dev/vfio", "anon_inode:"];

/// How the kernel chooses a node for a page. Nodes are a [`CpuSet`]: they are written like CPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// The node of the CPU that first uses the page, or what the cpuset allows.
    Default,
    /// These nodes and no other: libvirt's `strict`.
    Bind(CpuSet),
    /// These nodes in turn.
    Interleave(CpuSet),
    /// These nodes while they have memory.
    Preferred(CpuSet),
    /// One this version does not know, as the kernel writes it.
    Other(String),
}

/// One mapping of guest memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// What is to be done with pages to come.
    pub policy: Policy,
    /// What has been used so far, by node.
    pub resident: BTreeMap<u16, Bytes>,
    /// The size of its pages; transparent huge pages do not show.
    pub page: Bytes,
}

/// The mappings of a guest's memory: one, or one for each NUMA cell of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestMemory(pub Vec<Mapping>);

impl GuestMemory {
    /// Reads where the `memory` of the guest is that the QEMU process `pid` runs.
    pub fn of_process(pid: u32, memory: Bytes) -> Result<Self, HostError> {
        let [maps, numa_maps] = ["maps", "numa_maps"].map(|name| read(&format!("/proc/{pid}/{name}")));
        let found = Self::find(&maps?, &numa_maps?, memory);
        found.ok_or_else(|| {
            let cause = format!("it has no mappings that hold {memory}; does this kernel have NUMA?");
            HostError::new(format!("find the guest's memory in process {pid}"), cause)
        })
    }

    /// The largest mappings of data that together hold `memory`. Only `maps` tells sizes, and what is code: an
    /// emulator's translated code can be larger than its guest.
    pub fn find(maps: &str, numa_maps: &str, memory: Bytes) -> Option<Self> {
        let mut data: Vec<(u64, &str)> = maps.lines().filter_map(data_mapping).collect();
        data.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        let mut missing = memory.0;
        let guest = data.into_iter().take_while(|(size, _)| {
            let wanted = missing > 0;
            missing = missing.saturating_sub(*size);
            wanted
        });
        let starts: Vec<&str> = guest.map(|(_, start)| start).collect();
        let mapping = |start: &&str| {
            let line = numa_maps
                .lines()
                .find_map(|l| l.strip_prefix(start)?.strip_prefix(' '));
            Mapping::parse(line?)
        };
        let mappings: Option<Vec<Mapping>> = starts.iter().map(mapping).collect();
        mappings
            .filter(|found| missing == 0 && !found.is_empty())
            .map(Self)
    }

    /// The policy, when all mappings have the same.
    pub fn policy(&self) -> Option<&Policy> {
        let (first, rest) = self.0.split_first()?;
        rest.iter()
            .all(|m| m.policy == first.policy)
            .then_some(&first.policy)
    }

    /// What has been used so far, by node.
    pub fn resident(&self) -> BTreeMap<u16, Bytes> {
        let mut all = BTreeMap::new();
        for (node, bytes) in self.0.iter().flat_map(|m| &m.resident) {
            let sum: &mut Bytes = all.entry(*node).or_default();
            sum.0 = sum.0.saturating_add(bytes.0);
        }
        all
    }

    /// The nodes that hold any of it.
    pub fn nodes(&self) -> CpuSet {
        self.resident().into_keys().collect()
    }
}

impl Mapping {
    /// One line of `numa_maps` without its address.
    fn parse(line: &str) -> Option<Self> {
        let two_words = TWO_WORDS.iter().find(|name| line.starts_with(*name));
        let from = two_words.map_or(0, |name| name.len());
        let end = line.get(from..)?.find(' ').map_or(line.len(), |i| from + i);
        let (policy, rest) = line.split_at_checked(end)?;
        let words = || rest.split_whitespace().filter_map(|word| word.split_once('='));
        // A mapping that nothing has touched tells neither nodes nor its page size.
        let page = words().find(|(name, _)| *name == "kernelpagesize_kB");
        let page = Bytes(
            page.map_or(Some(0), |(_, kib)| kib.parse::<u64>().ok())?
                .checked_mul(1024)?,
        );
        let resident = words().filter_map(|(name, pages)| {
            let node: u16 = name.strip_prefix('N')?.parse().ok()?;
            let bytes = pages.parse::<u64>().ok()?.checked_mul(page.0)?;
            Some((node, Bytes(bytes)))
        });
        Some(Self {
            policy: Policy::parse(policy),
            resident: resident.collect(),
            page,
        })
    }
}

impl Policy {
    fn parse(text: &str) -> Self {
        let (name, nodes) = text.split_once(':').unwrap_or((text, ""));
        // `bind=static:0`: how the nodes follow a changed cpuset.
        let name = name.split('=').next().unwrap_or_default();
        let nodes = nodes.parse().ok().filter(|nodes: &CpuSet| !nodes.0.is_empty());
        match (name, nodes) {
            // As a policy of its own `local` means what `default` does without a policy of the process.
            ("default" | "local", None) => Self::Default,
            ("bind", Some(nodes)) => Self::Bind(nodes),
            ("interleave", Some(nodes)) => Self::Interleave(nodes),
            ("prefer" | "prefer (many)", Some(nodes)) => Self::Preferred(nodes),
            _ => Self::Other(text.to_owned()),
        }
    }
}

/// Size and start of a mapping of `maps` that can be a guest's memory.
fn data_mapping(line: &str) -> Option<(u64, &str)> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| u64::from_str_radix(text, 16).ok();
    let size = address(end)?.checked_sub(address(start)?)?;
    let is_data = words.next()?.starts_with("rw-");
    // Offset, device and inode come before the path.
    let path = words.nth(3).unwrap_or_default();
    let is_device = DEVICES.iter().any(|device| path.starts_with(device));
    (is_data && !is_device).then_some((size, start))
}

fn read(path: &str) -> Result<String, HostError> {
    let fail = |e: std::io::Error| HostError::new(format!("read {path}"), e);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(fail)?;
    file.take(MAX_READ).read_to_end(&mut bytes).map_err(fail)?;
    // Names of files are bytes of anybody's choice.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// Guests of 256 MiB on a host of two nodes with this memory tuning, by libvirt 9.0 and QEMU 7.2; a few lines of
    /// some 300, the largest mappings among them.
    macro_rules! recorded {
        ($name:literal) => {
            GuestMemory::find(
                include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/data/numa/",
                    $name,
                    ".maps"
                )),
                include_str!(concat!(
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/data/numa/",
                    $name,
                    ".numa_maps"
                )),
                Bytes::mib(256),
            )
            .unwrap()
        };
    }

    fn nodes(text: &str) -> CpuSet {
        text.parse().unwrap()
    }

    fn told(memory: &GuestMemory) -> (Policy, Vec<(u16, u64)>) {
        let resident = memory
            .resident()
            .into_iter()
            .map(|(node, bytes)| (node, bytes.0 >> 20));
        (memory.policy().unwrap().clone(), resident.collect())
    }

    #[test]
    fn every_mode_of_libvirt_is_told_by_policy_and_place() {
        assert_eq!(
            told(&recorded!("default")),
            (Policy::Default, vec![(0, 126), (1, 130)])
        );
        assert_eq!(
            told(&recorded!("strict")),
            (Policy::Bind(nodes("1")), vec![(1, 256)])
        );
        let halves = vec![(0, 128), (1, 128)];
        assert_eq!(
            told(&recorded!("interleave")),
            (Policy::Interleave(nodes("0-1")), halves)
        );
        assert_eq!(
            told(&recorded!("preferred")),
            (Policy::Preferred(nodes("1")), vec![(1, 256)])
        );
        // `restrictive` is the work of cgroups: the policy does not tell.
        assert_eq!(told(&recorded!("restrictive")), (Policy::Default, vec![(1, 256)]));
        assert_eq!(
            told(&recorded!("emulated")),
            (Policy::Bind(nodes("1")), vec![(1, 256)])
        );
    }

    #[test]
    fn huge_pages_count_by_their_size() {
        let memory = recorded!("hugepages");
        assert_eq!(memory.0[0].page, Bytes::mib(2));
        assert_eq!(told(&memory), (Policy::Bind(nodes("1")), vec![(1, 256)]));
    }

    #[test]
    fn cells_of_the_guest_are_mappings_of_their_own() {
        let memory = recorded!("cells");
        let policies: Vec<_> = memory.0.iter().map(|m| m.policy.clone()).collect();
        assert_eq!(
            policies,
            [Policy::Preferred(nodes("1")), Policy::Bind(nodes("0"))]
        );
        assert_eq!(memory.policy(), None);
        assert_eq!(memory.nodes(), nodes("0-1"));
    }

    #[test]
    fn what_is_no_guest_memory_is_not_taken_for_it() {
        let maps = "1000-fff000 rwxp 00000000 00:00 0 \n2000-fff000 rw-s 00000000 00:0e 1 /dev/vfio/12\n\
                    3000-fff000 ---p 00000000 00:00 0 \n4000-5000 rw-p 00000000 00:00 0 ";
        let numa_maps = "1000 bind:0 anon=1 N0=1 kernelpagesize_kB=4\n4000 default";
        let found = GuestMemory::find(maps, numa_maps, Bytes(4096)).unwrap();
        assert_eq!(told(&found), (Policy::Default, vec![]));
        assert_eq!(GuestMemory::find(maps, numa_maps, Bytes(4097)), None);
        assert_eq!(GuestMemory::find(maps, "4000", Bytes(4096)), None);
        assert_eq!(GuestMemory::find("", "", Bytes(0)), None);
    }

    #[test]
    fn policies_are_known_or_kept_as_they_are_written() {
        let policy = |text: &str| {
            Mapping::parse(&format!("{text} anon=1 N1=1 kernelpagesize_kB=4"))
                .unwrap()
                .policy
        };
        assert_eq!(policy("bind=static:0,2-3"), Policy::Bind(nodes("0,2-3")));
        assert_eq!(policy("prefer (many):0-1"), Policy::Preferred(nodes("0-1")));
        assert_eq!(policy("local"), Policy::Default);
        for other in ["weighted interleave:0-1", "prefer=relative:", "bind", "novel:0"] {
            assert_eq!(policy(other), Policy::Other(other.into()));
        }
        assert_eq!(Mapping::parse("default N0=1 kernelpagesize_kB=x"), None);
    }

    #[test]
    fn this_process_has_memory_somewhere() {
        let wanted = Bytes::mib(64);
        let memory = vec![1u8; usize::try_from(wanted.0).unwrap()];
        let found = GuestMemory::of_process(std::process::id(), wanted);
        // Only a kernel without NUMA has no such file.
        if std::path::Path::new("/proc/self/numa_maps").exists() {
            let used: u64 = found.unwrap().resident().values().map(|b| b.0).sum();
            assert!(used >= wanted.0, "{used}");
        } else {
            assert!(found.is_err());
        }
        drop(memory);
    }
}
