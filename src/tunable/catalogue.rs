//! The table of every tunable that has a name of its own, read from `catalogue/*.toml`; and the escape hatches.
//!
//! Adding a tunable that is a kernel file or a place of the domain XML is one entry there and no code.

use super::hatch::escaped;
use super::{
    Activation, BootParameter, Coupling, DomainSetting, Format, GuestCommands, Hazard, Home, KernelFile,
    KernelSide, KernelVersion, Kind, Limit, LinkField, ModuleParameter, ParameterGroup, QemuProperty,
    Requirement, Rule, SysctlName, Tunable, ValueError, XmlPath, XmlPlace, XmlSetting,
};
use crate::units::Bytes;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

const FILES: [&str; 6] = [
    include_str!("catalogue/disk.toml"),
    include_str!("catalogue/memory.toml"),
    include_str!("catalogue/cpu.toml"),
    include_str!("catalogue/network.toml"),
    include_str!("catalogue/link.toml"),
    include_str!("catalogue/start.toml"),
];

/// Old scheduler names and what the multi-queue block layer calls them (Linux 5.0 removed the old ones).
const OLD_SCHEDULERS: [(&str, &str); 3] = [("noop", "none"), ("deadline", "mq-deadline"), ("cfq", "bfq")];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tunable: Vec<Entry>,
}

/// One entry of the table. It makes a tunable for each side it is on, called `SIDE.NAME`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Entry {
    on: Vec<Side>,
    name: String,
    home: HomeEntry,
    value: ValueEntry,
    #[serde(default)]
    unit: String,
    /// Of a place in the domain XML it is also what is meant when nothing stands there.
    default: Option<String>,
    /// Live for what is live by its home.
    activation: Option<Activation>,
    hazard: Option<Hazard>,
    #[serde(default)]
    hazards: BTreeMap<String, Hazard>,
    #[serde(default)]
    needs: Vec<NeedEntry>,
    limit: Option<Limit>,
    coupling: Option<Coupling>,
    /// How levels are suggested.
    suggest: Option<Rule>,
    since: Option<KernelVersion>,
    gone: Option<Gone>,
    /// The property of the running QEMU that tells a place of the domain XML.
    qemu: Option<QemuProperty>,
    /// `{side}` stands for the host or the guest.
    does: String,
    source: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Side {
    Host,
    Guest,
    Domain,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum HomeEntry {
    Sysctl(SysctlName),
    File(KernelFile),
    ChoiceFile(KernelFile),
    Module(ModuleParameter),
    DiskQueue(String),
    DiskQueueChoice(String),
    EachCpu(String),
    Link(LinkField),
    GuestLink(String),
    GuestCommand(GuestCommands),
    Pins(Threads),
    Scheduler(String),
    Memtune(String),
    Blkio(String),
    Throttle(String),
    Xml(NamedXml),
    Place(XmlPath),
    Boot(BootParameter),
    GuestBoot(BootParameter),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Threads {
    Vcpus,
    Emulator,
    Iothreads,
}

/// Parts of the XML that are more than one text.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NamedXml {
    DiskCache,
    DiskIo,
    DiskImage,
    Hugepages,
    Machine,
    Emulator,
    Kernel,
    Initrd,
    CpuMode,
    Topology,
    NumaMode,
    NumaNodes,
    Placement,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ValueEntry {
    Integer([i64; 2]),
    Bytes([Bytes; 2]),
    Sizes(usize),
    Choice(Vec<String>),
    Word,
    Scheduler,
    Words,
    Pins,
    Set,
    Topology,
    Placement,
    Boot,
    Path(PathEntry),
}

#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PathEntry {
    Plain,
    OrName,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum NeedEntry {
    Module(String),
    Has(String),
    Numa,
    Kvm,
    VhostNet,
    KvmModule,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Gone {
    version: KernelVersion,
    instead: String,
}

impl Entry {
    fn tunable(&self, side: Side) -> Tunable {
        let (prefix, words) = match side {
            Side::Host => ("host", "the host"),
            Side::Guest => ("guest", "the guest"),
            Side::Domain => ("domain", "the domain"),
        };
        let home = self.home(side);
        let activation = self.activation.unwrap_or(match &home {
            Home::DomainXml(_) => Activation::DomainRestart,
            Home::HostBoot(_) => Activation::HostReboot,
            _ => Activation::Live,
        });
        Tunable {
            name: format!("{prefix}.{}", self.name),
            home,
            kind: self.value.kind(),
            activation,
            unit: self.unit.clone(),
            default: self.default.clone(),
            hazard: self.hazard,
            hazards: self.hazards.clone(),
            needs: self.needs.iter().map(NeedEntry::requirement).collect(),
            limit: self.limit,
            coupling: self.coupling.clone(),
            suggest: self.suggest.clone(),
            since: self.since,
            gone: self.gone.clone().map(|gone| (gone.version, gone.instead)),
            summary: self.does.replace("{side}", words),
            source: self.source.clone(),
        }
    }

    fn home(&self, side: Side) -> Home {
        let kernel = match side {
            Side::Guest => KernelSide::Guest,
            Side::Host | Side::Domain => KernelSide::Host,
        };
        let parameter = |group, name: &String| Home::Domain(DomainSetting::Parameter(group, name.clone()));
        match self.home.clone() {
            HomeEntry::Sysctl(name) => Home::Sysctl(kernel, name),
            HomeEntry::File(path) => Home::File(kernel, path, Format::Plain),
            HomeEntry::ChoiceFile(path) => Home::File(kernel, path, Format::Bracketed),
            HomeEntry::Module(name) => Home::Module(kernel, name),
            HomeEntry::DiskQueue(file) => Home::DiskQueue(kernel, file, Format::Plain),
            HomeEntry::DiskQueueChoice(file) => Home::DiskQueue(kernel, file, Format::Bracketed),
            HomeEntry::EachCpu(file) => Home::EachCpu(file),
            HomeEntry::Link(field) => Home::HostLink(field),
            HomeEntry::GuestLink(file) => Home::GuestLink(file),
            HomeEntry::GuestCommand(commands) => Home::GuestCommand(commands),
            HomeEntry::Pins(Threads::Vcpus) => Home::Domain(DomainSetting::VcpuPins),
            HomeEntry::Pins(Threads::Emulator) => Home::Domain(DomainSetting::EmulatorPin),
            HomeEntry::Pins(Threads::Iothreads) => Home::Domain(DomainSetting::IothreadPins),
            HomeEntry::Scheduler(name) => parameter(ParameterGroup::Scheduler, &name),
            HomeEntry::Memtune(name) => parameter(ParameterGroup::Memory, &name),
            HomeEntry::Blkio(name) => parameter(ParameterGroup::Blkio, &name),
            HomeEntry::Throttle(name) => parameter(ParameterGroup::Throttle, &name),
            HomeEntry::Xml(named) => Home::DomainXml(named.setting()),
            HomeEntry::Place(path) => Home::DomainXml(XmlSetting::Place(XmlPlace {
                path,
                default: self.default.clone(),
                qemu: self.qemu.clone(),
            })),
            HomeEntry::Boot(name) => Home::HostBoot(name),
            HomeEntry::GuestBoot(name) => Home::DomainXml(XmlSetting::GuestBoot(name)),
        }
    }
}

impl NamedXml {
    fn setting(self) -> XmlSetting {
        match self {
            Self::DiskCache => XmlSetting::DiskCache,
            Self::DiskIo => XmlSetting::DiskIo,
            Self::DiskImage => XmlSetting::DiskImage,
            Self::Hugepages => XmlSetting::Hugepages,
            Self::Machine => XmlSetting::Machine,
            Self::Emulator => XmlSetting::Emulator,
            Self::Kernel => XmlSetting::Kernel,
            Self::Initrd => XmlSetting::Initrd,
            Self::CpuMode => XmlSetting::CpuMode,
            Self::Topology => XmlSetting::Topology,
            Self::NumaMode => XmlSetting::NumaMode,
            Self::NumaNodes => XmlSetting::NumaNodes,
            Self::Placement => XmlSetting::Placement,
        }
    }
}

impl ValueEntry {
    fn kind(&self) -> Kind {
        match self {
            Self::Integer([min, max]) => Kind::Integer { min: *min, max: *max },
            Self::Bytes([min, max]) => Kind::Bytes {
                min: min.0,
                max: max.0,
            },
            Self::Sizes(count) => Kind::Sizes {
                count: *count,
                max: 1 << 31,
            },
            Self::Choice(choices) => Kind::Choice(choices.clone()),
            Self::Word => Kind::Word { aliases: Vec::new() },
            Self::Scheduler => Kind::Word {
                aliases: OLD_SCHEDULERS
                    .map(|(old, today)| (old.into(), today.into()))
                    .to_vec(),
            },
            Self::Words => Kind::Words,
            Self::Pins => Kind::Pins,
            Self::Set => Kind::Set,
            Self::Topology => Kind::Topology,
            Self::Placement => Kind::Placement,
            Self::Boot => Kind::Boot,
            Self::Path(path) => Kind::Path {
                named: *path == PathEntry::OrName,
            },
        }
    }
}

impl NeedEntry {
    fn requirement(&self) -> Requirement {
        match self {
            Self::Module(name) => Requirement::Module(name.clone()),
            Self::KvmModule => Requirement::Module("kvm".into()),
            Self::Numa => Requirement::Numa,
            Self::Has(what) => Requirement::Has(what.clone()),
            Self::Kvm => Requirement::Has("kvm".into()),
            Self::VhostNet => Requirement::Has("vhost-net".into()),
        }
    }
}

static CATALOGUE: LazyLock<Vec<Tunable>> = LazyLock::new(|| {
    let entries = FILES.iter().flat_map(|text| {
        let file: Result<File, _> = toml::from_str(text);
        file.expect("the table is part of the program; a test reads it")
            .tunable
    });
    let tunables =
        entries.flat_map(|entry| entry.on.clone().into_iter().map(move |side| entry.tunable(side)));
    tunables.collect()
});

/// Every named tunable, by area.
pub fn catalogue() -> &'static [Tunable] {
    &CATALOGUE
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
    /// An escape hatch with an illegal name.
    #[error(transparent)]
    Name(#[from] ValueError),
}

/// The tunable called `name`: from the table, or through one of [`super::HATCHES`].
pub fn lookup(name: &str) -> Result<Tunable, LookupError> {
    if let Some(found) = escaped(name) {
        return Ok(found?);
    }
    let all = catalogue();
    if let Some(found) = all.iter().find(|t| t.name == name) {
        return Ok(found.clone());
    }
    of_node(name).ok_or_else(|| LookupError::Unknown {
        name: name.chars().take(60).flat_map(char::escape_debug).collect(),
        nearest: nearest(name, all.iter().map(|t| t.name.as_str())),
    })
}

/// The entry of node 0 stands for every node.
fn of_node(name: &str) -> Option<Tunable> {
    let (stem, number) = name.rsplit_once(".node")?;
    let number: u16 = number.parse().ok().filter(|n: &u16| n.to_string() == number)?;
    let entry = catalogue().iter().find(|t| t.name == format!("{stem}.node0"))?;
    let Home::File(side, path, format) = &entry.home else {
        return None;
    };
    let path = path.as_str().replace("/node0/", &format!("/node{number}/"));
    Some(Tunable {
        name: name.to_string(),
        home: Home::File(*side, path.parse().ok()?, *format),
        summary: entry.summary.replace("node 0", &format!("node {number}")),
        ..entry.clone()
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
        assert!(all.len() > 200, "only {}", all.len());
        for tunable in all {
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
    fn entries_say_what_they_must() {
        for tunable in catalogue() {
            let name = &tunable.name;
            assert!(
                !tunable.summary.is_empty() && !tunable.source.is_empty(),
                "{name}"
            );
            assert!(
                !tunable.summary.contains('{') && !tunable.summary.ends_with('.'),
                "{name}"
            );
            if let Some(default) = &tunable.default {
                let legal = tunable.canonical_level(default);
                assert!(legal.is_ok(), "{name}: {legal:?}");
            }
            for level in tunable.hazards.keys() {
                assert!(tunable.kind.parse(level).is_ok(), "{name} = {level}");
            }
        }
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_name() {
        let Err(LookupError::Unknown { nearest, .. }) = lookup("guest.disk.schedulr") else {
            panic!()
        };
        assert_eq!(nearest.as_deref(), Some("guest.disk.scheduler"));
    }

    #[test]
    fn every_node_has_a_pool() {
        let pool = lookup("host.hugepages.2MiB.node12").unwrap();
        let Home::File(_, path, _) = &pool.home else {
            panic!()
        };
        assert!(path.as_str().contains("/node12/"), "{path}");
        assert!(pool.summary.contains("node 12"));
        assert!(lookup("host.hugepages.2MiB.node012").is_err());
        assert!(lookup("host.hugepages.2MiB.nodeX").is_err());
        assert!(lookup("host.swappiness.node1").is_err());
    }
}
