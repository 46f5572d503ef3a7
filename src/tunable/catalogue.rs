//! The table of every tunable that has a name of its own, and the escape hatches `sysctl:` and `guest-sysctl:`.
//!
//! Adding a tunable that is a kernel file is one entry here and no code.

use super::{Activation, DomainSetting, Format, Home, Kind, SysctlName, Tunable, XmlSetting};
use Activation::{DomainRestart, Live};
use Format::{Bracketed, Plain};

/// Old scheduler names and what the multi-queue block layer calls them (Linux 5.0 removed the old ones).
const OLD_SCHEDULERS: [(&str, &str); 3] = [("noop", "none"), ("deadline", "mq-deadline"), ("cfq", "bfq")];

fn word() -> Kind {
    Kind::Word { aliases: Vec::new() }
}

fn scheduler() -> Kind {
    Kind::Word {
        aliases: OLD_SCHEDULERS
            .map(|(old, today)| (old.into(), today.into()))
            .to_vec(),
    }
}

fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

fn choice(choices: &[&str]) -> Kind {
    Kind::Choice(choices.iter().map(ToString::to_string).collect())
}

fn sysctl(name: &str) -> SysctlName {
    name.parse()
        .expect("names in this table are legal; a test parses each")
}

fn host_sysctl(name: &str) -> Home {
    Home::HostSysctl(sysctl(name))
}

fn guest_sysctl(name: &str) -> Home {
    Home::GuestSysctl(sysctl(name))
}

const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const THP_DEFRAG: &str = "/sys/kernel/mm/transparent_hugepage/defrag";
const POOL_2M: &str = "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages";
const POOL_1G: &str = "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages";

/// Every named tunable, by area.
pub fn catalogue() -> Vec<Tunable> {
    [disk(), memory(), cpu(), network(), builds()]
        .concat()
        .into_iter()
        .map(|(name, home, kind, activation, summary)| Tunable {
            name: name.to_string(),
            home,
            kind,
            activation,
            summary,
        })
        .collect()
}

type Entry = (&'static str, Home, Kind, Activation, &'static str);

fn disk() -> Vec<Entry> {
    vec![
        (
            "host.disk.scheduler",
            Home::HostDiskQueue("scheduler", Bracketed),
            scheduler(),
            Live,
            "I/O scheduler of the host device behind the guest's data disk",
        ),
        (
            "host.disk.read-ahead-kb",
            Home::HostDiskQueue("read_ahead_kb", Plain),
            integer(0, 1 << 20),
            Live,
            "read-ahead of that host device, in KiB",
        ),
        (
            "guest.disk.scheduler",
            Home::GuestDiskQueue("scheduler", Bracketed),
            scheduler(),
            Live,
            "I/O scheduler of the data disk inside the guest; modules are loaded on demand",
        ),
        (
            "guest.disk.read-ahead-kb",
            Home::GuestDiskQueue("read_ahead_kb", Plain),
            integer(0, 1 << 20),
            Live,
            "read-ahead of the data disk inside the guest, in KiB",
        ),
        (
            "domain.disk.cache",
            Home::DomainXml(XmlSetting::DiskCache),
            choice(&["writeback", "none", "writethrough", "directsync"]),
            DomainRestart,
            "host page cache use of the data disk (QEMU cache mode)",
        ),
        (
            "domain.disk.io",
            Home::DomainXml(XmlSetting::DiskIo),
            choice(&["threads", "native", "io_uring"]),
            DomainRestart,
            "how QEMU submits I/O of the data disk; native needs cache none or directsync",
        ),
        (
            "domain.blkio.weight",
            Home::Domain(DomainSetting::BlkioWeight),
            integer(10, 1000),
            Live,
            "share of the disk under contention (cgroup blkio weight)",
        ),
    ]
}

fn memory() -> Vec<Entry> {
    vec![
        (
            "host.hugepages.2MiB",
            Home::HostFile(POOL_2M, Plain),
            integer(0, 1 << 30),
            Live,
            "pages in the host's 2 MiB pool",
        ),
        (
            "host.hugepages.1GiB",
            Home::HostFile(POOL_1G, Plain),
            integer(0, 1 << 20),
            Live,
            "pages in the host's 1 GiB pool",
        ),
        (
            "domain.memory.hugepages",
            Home::DomainXml(XmlSetting::Hugepages),
            choice(&["off", "2MiB", "1GiB"]),
            DomainRestart,
            "page size that backs the guest's memory; the host's pool is grown with it",
        ),
        (
            "host.thp",
            Home::HostFile(THP, Bracketed),
            word(),
            DomainRestart,
            "transparent huge pages on the host; taken up by a guest as it starts",
        ),
        (
            "host.thp.defrag",
            Home::HostFile(THP_DEFRAG, Bracketed),
            word(),
            DomainRestart,
            "when the host compacts memory for huge pages",
        ),
        (
            "guest.thp",
            Home::GuestFile(THP, Bracketed),
            word(),
            Live,
            "transparent huge pages inside the guest",
        ),
        (
            "host.swappiness",
            host_sysctl("vm.swappiness"),
            integer(0, 200),
            Live,
            "how readily the host swaps",
        ),
        (
            "guest.swappiness",
            guest_sysctl("vm.swappiness"),
            integer(0, 200),
            Live,
            "how readily the guest swaps",
        ),
    ]
}

fn cpu() -> Vec<Entry> {
    vec![
        (
            "domain.cpu.pin",
            Home::Domain(DomainSetting::VcpuPins),
            Kind::Pins,
            Live,
            "host CPUs each vCPU may run on: none, compact, spread, or a map such as `0=0 1=1`",
        ),
        (
            "domain.cpu.shares",
            Home::Domain(DomainSetting::CpuShares),
            integer(2, 262_144),
            Live,
            "share of the CPU under contention (cgroup cpu.shares)",
        ),
        (
            "domain.cpu.quota",
            Home::Domain(DomainSetting::VcpuQuota),
            integer(-1, 17_592_186_044_415),
            Live,
            "CPU time each vCPU may use in a period, in microseconds; -1 is no limit",
        ),
    ]
}

fn network() -> Vec<Entry> {
    vec![
        (
            "host.net.rmem-max",
            host_sysctl("net.core.rmem_max"),
            Kind::Bytes,
            Live,
            "largest receive buffer a host socket may ask for",
        ),
        (
            "host.net.wmem-max",
            host_sysctl("net.core.wmem_max"),
            Kind::Bytes,
            Live,
            "largest send buffer a host socket may ask for",
        ),
        (
            "host.net.tcp-rmem",
            host_sysctl("net.ipv4.tcp_rmem"),
            Kind::Words,
            Live,
            "TCP receive buffer on the host: min, default, max",
        ),
        (
            "host.net.tcp-wmem",
            host_sysctl("net.ipv4.tcp_wmem"),
            Kind::Words,
            Live,
            "TCP send buffer on the host: min, default, max",
        ),
        (
            "host.net.congestion-control",
            host_sysctl("net.ipv4.tcp_congestion_control"),
            word(),
            Live,
            "TCP congestion control of new connections from the host",
        ),
        (
            "guest.net.rmem-max",
            guest_sysctl("net.core.rmem_max"),
            Kind::Bytes,
            Live,
            "largest receive buffer a guest socket may ask for",
        ),
        (
            "guest.net.wmem-max",
            guest_sysctl("net.core.wmem_max"),
            Kind::Bytes,
            Live,
            "largest send buffer a guest socket may ask for",
        ),
        (
            "guest.net.tcp-rmem",
            guest_sysctl("net.ipv4.tcp_rmem"),
            Kind::Words,
            Live,
            "TCP receive buffer in the guest: min, default, max",
        ),
        (
            "guest.net.tcp-wmem",
            guest_sysctl("net.ipv4.tcp_wmem"),
            Kind::Words,
            Live,
            "TCP send buffer in the guest: min, default, max",
        ),
        (
            "guest.net.congestion-control",
            guest_sysctl("net.ipv4.tcp_congestion_control"),
            word(),
            Live,
            "TCP congestion control of new connections from the guest; modules are loaded on demand",
        ),
    ]
}

/// What the guest is started from, to compare two builds of it.
fn builds() -> Vec<Entry> {
    let xml = Home::DomainXml;
    vec![
        (
            "domain.machine",
            xml(XmlSetting::Machine),
            word(),
            DomainRestart,
            "machine type; `pc` and `q35` stand for the newest of their family that the QEMU has",
        ),
        (
            "domain.emulator",
            xml(XmlSetting::Emulator),
            Kind::Path { named: false },
            DomainRestart,
            "QEMU binary that runs the guest, by its path",
        ),
        (
            "domain.kernel",
            xml(XmlSetting::Kernel),
            Kind::Path { named: true },
            DomainRestart,
            "kernel the guest boots directly, by its path; in the lab also a release such as `6.12`",
        ),
        (
            "domain.initrd",
            xml(XmlSetting::Initrd),
            Kind::Path { named: true },
            DomainRestart,
            "first root of that kernel, by its path, or `none`",
        ),
        (
            "domain.disk.image",
            xml(XmlSetting::DiskImage),
            Kind::Path { named: false },
            DomainRestart,
            "image file behind the data disk, of the disk's format; it is written to",
        ),
    ]
}

/// Why a name is not a tunable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// Not in the table.
    #[error("unknown tunable `{name}`")]
    Unknown {
        /// The name as given, cut to a line.
        name: String,
        /// The nearest known name.
        nearest: Option<String>,
    },
    /// An escape hatch with an illegal sysctl name.
    #[error(transparent)]
    Name(#[from] super::ValueError),
}

/// The tunable called `name`: from the table, or `sysctl:NAME` and `guest-sysctl:NAME`.
pub fn lookup(name: &str) -> Result<Tunable, LookupError> {
    let escaped = |home, summary| Tunable {
        name: name.into(),
        home,
        kind: Kind::Words,
        activation: Live,
        summary,
    };
    if let Some(sysctl) = name.strip_prefix("sysctl:") {
        return Ok(escaped(
            Home::HostSysctl(sysctl.parse()?),
            "a host sysctl by its own name",
        ));
    }
    if let Some(sysctl) = name.strip_prefix("guest-sysctl:") {
        return Ok(escaped(
            Home::GuestSysctl(sysctl.parse()?),
            "a guest sysctl by its own name",
        ));
    }
    let all = catalogue();
    all.iter()
        .find(|t| t.name == name)
        .cloned()
        .ok_or_else(|| LookupError::Unknown {
            name: name.chars().take(60).flat_map(char::escape_debug).collect(),
            nearest: nearest(name, all.iter().map(|t| t.name.as_str())),
        })
}

/// The candidate most like `name`, when one is near enough to be what was meant.
pub fn nearest<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> Option<String> {
    if name.len() > 200 {
        return None;
    }
    candidates
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c.to_string())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let all = catalogue();
        for tunable in &all {
            assert_eq!(lookup(&tunable.name).unwrap(), *tunable);
            assert_eq!(
                all.iter().filter(|t| t.name == tunable.name).count(),
                1,
                "{}",
                tunable.name
            );
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_name() {
        let Err(LookupError::Unknown { nearest, .. }) = lookup("guest.disk.schedulr") else {
            panic!()
        };
        assert_eq!(nearest.as_deref(), Some("guest.disk.scheduler"));
        assert!(lookup("sysctl:../../etc").is_err());
        assert_eq!(lookup("sysctl:vm.swappiness").unwrap().kind, Kind::Words);
    }
}
