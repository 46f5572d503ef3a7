//! The catalogue: what can be set, where it lives, how hard it is to change and what a legal value looks like.
//!
//! Pure: knows addresses and texts, never touches a machine. `host` reads and writes what is named here.

mod address;
mod boot_line;
mod catalogue;
mod hatch;
mod hazard;
mod level;
mod name;
mod neighbour;
mod offer;
mod suggest;
mod value;
mod xml_path;

pub use address::{
    Address, DomainSetting, Format, GuestCommands, LinkField, ParameterGroup, QemuPart, QemuProperty,
    XmlPlace, XmlSetting,
};
pub use boot_line::{BootEdit, edited, grub_drop_in, grub_edits};
pub use catalogue::{LookupError, catalogue, lookup, nearest};
pub use hatch::HATCHES;
pub use hazard::{Hazard, hazard};
pub use level::{Level, LevelError, Setting, SettingRole, ambient_level, available_levels, level, told};
pub use name::{ABSENT, BootParameter, KernelFile, ModuleParameter, PRESENT, SysctlName};
pub use neighbour::NeighbourSetting;
pub use offer::{Offer, offer};
pub use suggest::{Rule, Suggestion, suggest, suggested_levels};
pub use value::{CpuSet, Kind, Value, ValueError};
pub use xml_path::{Choice, Step, XmlPath};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How hard a tunable is to change; decides whether its factor is a whole-plot factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Takes effect while the guest runs.
    Live,
    /// Takes effect when the guest is started again.
    DomainRestart,
    /// Takes effect when the host is booted again.
    HostReboot,
}

/// Whose kernel a setting belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KernelSide {
    /// The host's.
    Host,
    /// The guest's.
    Guest,
}

/// Where a tunable lives, before it is resolved for one host and guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// A sysctl, by its dotted name.
    Sysctl(KernelSide, SysctlName),
    /// A file below /sys.
    File(KernelSide, KernelFile, Format),
    /// A module's parameter.
    Module(KernelSide, ModuleParameter),
    /// A file in the `queue` folder of the data disk: inside the guest, or of the host device behind it.
    DiskQueue(KernelSide, String, Format),
    /// A file of every CPU of the host, below /sys/devices/system/cpu/cpuN.
    EachCpu(String),
    /// The host's end of the guest's network link.
    HostLink(LinkField),
    /// A file of the guest's network link, below /sys/class/net/LINK.
    GuestLink(String),
    /// A pair of commands in the guest.
    GuestCommand(GuestCommands),
    /// A live libvirt call on the domain.
    Domain(DomainSetting),
    /// The same on the domain of a neighbour in the lab.
    Neighbour(NeighbourSetting),
    /// A part of the domain XML.
    DomainXml(XmlSetting),
    /// A parameter of the host kernel's command line.
    HostBoot(BootParameter),
}

/// What must be there for a tunable to make sense.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// A kernel module, on the side the tunable is on; a guest's is loaded on demand.
    Module(String),
    /// More than one NUMA node.
    Numa,
    /// Anything else that [`crate::facts::Facts::has`] names: `kvm`, `vhost-net`, `hugetlbfs`, `controller cpu` …
    Has(String),
}

/// A largest value that only the guest tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Its number of vCPUs.
    Vcpus,
}

/// What else must be set for a level to be what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coupling {
    /// Of the two sysctls the kernel zeroes the one that was not written last; `0` is only reached by setting the other.
    Twin {
        /// The other.
        sysctl: SysctlName,
        /// What the other is set to when its value is not known.
        fallback: String,
    },
    /// The hash of connection tracking has a quarter of the entries.
    ConntrackHash,
    /// The pool of the host is grown by the guest's memory.
    PagePool,
    /// The domain has an I/O thread to be used.
    Iothread,
    /// The guest's CPU topology multiplies to its number of vCPUs.
    Topology,
}

/// A version of Linux: `5.0`, `6.1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KernelVersion(u32, u32);

impl FromStr for KernelVersion {
    type Err = ValueError;

    /// Takes a whole release such as `6.1.0-56-cloud-amd64` too.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        let mut parts = text.split(|c: char| !c.is_ascii_digit());
        let mut number = || parts.next()?.parse().ok();
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(Self(major, minor)),
            _ => Err(ValueError::new(text, "a version of Linux such as `6.1`")),
        }
    }
}

impl TryFrom<String> for KernelVersion {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<KernelVersion> for String {
    fn from(version: KernelVersion) -> String {
        version.to_string()
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

/// One setting that can be read, written, verified and restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tunable {
    /// Its name in experiment files, e.g. `guest.disk.scheduler`.
    pub name: String,
    /// Where it lives.
    pub home: Home,
    /// What a legal value looks like.
    pub kind: Kind,
    /// How hard it is to change.
    pub activation: Activation,
    /// What a bare number counts: `KiB`, `µs`, `packets`; empty for words and for sizes that carry their own.
    pub unit: String,
    /// What the kernel, libvirt or QEMU takes when nobody sets it.
    pub default: Option<String>,
    /// The danger of every level.
    pub hazard: Option<Hazard>,
    /// The danger of single levels.
    pub hazards: BTreeMap<String, Hazard>,
    /// What must be there.
    pub needs: Vec<Requirement>,
    /// A largest value that only the guest tells.
    pub limit: Option<Limit>,
    /// What else is set with it.
    pub coupling: Option<Coupling>,
    /// How levels are suggested, where that is not by what the tunable offers.
    pub suggest: Option<Rule>,
    /// The first kernel that has it.
    pub since: Option<KernelVersion>,
    /// The first kernel that no longer has it, and what to say then.
    pub gone: Option<(KernelVersion, String)>,
    /// What it does, in one line.
    pub summary: String,
    /// Where that is written.
    pub source: String,
}

/// How a value is made to outlive a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Persistence {
    /// A file in /etc/sysctl.d.
    SysctlD,
    /// A file in /etc/tmpfiles.d, which writes the value at boot.
    TmpfilesD,
    /// A udev rule, which writes it when the device appears.
    UdevRule,
    /// A file in /etc/modprobe.d.
    ModprobeD,
    /// The domain's definition.
    DomainXml,
    /// The boot loader's command line.
    BootLoader,
    /// Whatever runs the command at boot.
    Unit,
}

impl Persistence {
    /// Where the value is written down, in words.
    pub fn place(self) -> &'static str {
        match self {
            Self::SysctlD => "/etc/sysctl.d",
            Self::TmpfilesD => "/etc/tmpfiles.d",
            Self::UdevRule => "a udev rule",
            Self::ModprobeD => "/etc/modprobe.d",
            Self::DomainXml => "the domain's definition",
            Self::BootLoader => "the boot loader's command line",
            Self::Unit => "a unit that runs the command at boot",
        }
    }
}

impl Tunable {
    /// Words that make pins from the host's topology; none where levels are no pins.
    pub fn generators(&self) -> &'static [&'static str] {
        match &self.home {
            Home::Domain(DomainSetting::VcpuPins) => {
                &["none", "compact", "spread", "same-node", "sibling-free"]
            }
            Home::Domain(DomainSetting::EmulatorPin) => &["all", "own"],
            Home::Domain(DomainSetting::IothreadPins) => &["none", "own"],
            _ => &[],
        }
    }

    /// The canonical text of a level, before it is known whether this host offers it.
    pub fn canonical_level(&self, text: &str) -> Result<String, ValueError> {
        if self.generators().contains(&text.trim()) {
            return Ok(text.trim().to_string());
        }
        if self.kind == Kind::Placement && level::is_placement_word(text.trim()) {
            return Ok(text.trim().to_string());
        }
        self.kind.parse(text).map(|value| value.to_string())
    }

    /// True when host and guest can be asked which levels they offer.
    pub fn lists_levels(&self) -> bool {
        if !self.generators().is_empty() {
            return true;
        }
        match &self.kind {
            Kind::Choice(_) | Kind::Placement => true,
            Kind::Word { .. } => match &self.home {
                Home::File(_, _, format) | Home::DiskQueue(_, _, format) if *format == Format::Bracketed => {
                    true
                }
                Home::File(_, file, _) => level::has_list(file.as_str()),
                Home::Sysctl(_, name) => level::has_list(&name.path()),
                Home::EachCpu(file) => level::has_list(file),
                _ => false,
            },
            _ => false,
        }
    }

    /// Whose kernel it belongs to; `None` for the domain between them.
    pub fn side(&self) -> Option<KernelSide> {
        match &self.home {
            Home::Sysctl(side, _)
            | Home::File(side, ..)
            | Home::Module(side, _)
            | Home::DiskQueue(side, ..) => Some(*side),
            Home::EachCpu(_) | Home::HostLink(_) | Home::HostBoot(_) => Some(KernelSide::Host),
            Home::GuestLink(_) | Home::GuestCommand(_) => Some(KernelSide::Guest),
            Home::Domain(_) | Home::Neighbour(_) | Home::DomainXml(_) => None,
        }
    }

    /// True when the host has it, with or without a guest.
    pub fn is_of_host(&self) -> bool {
        let by_guest = matches!(self.home, Home::DiskQueue(..) | Home::HostLink(_));
        self.side() == Some(KernelSide::Host) && !by_guest
    }

    /// What the kernel or libvirt calls it, where that is one name.
    pub fn own_name(&self) -> String {
        match &self.home {
            Home::Sysctl(_, name) => name.to_string(),
            Home::File(_, path, _) => path.to_string(),
            Home::Module(_, name) => name.to_string(),
            Home::DiskQueue(_, file, _) | Home::EachCpu(file) | Home::GuestLink(file) => file.clone(),
            Home::HostLink(field) => field.word().into(),
            Home::Domain(setting) => setting.to_string(),
            Home::Neighbour(setting) => setting.to_string(),
            Home::DomainXml(setting) => setting.to_string(),
            Home::HostBoot(name) => name.to_string(),
            Home::GuestCommand(_) => String::new(),
        }
    }

    /// How a value is made to outlive a reboot.
    pub fn persistence(&self) -> Persistence {
        match &self.home {
            Home::Sysctl(..) => Persistence::SysctlD,
            Home::File(..) | Home::EachCpu(_) => Persistence::TmpfilesD,
            Home::Module(..) => Persistence::ModprobeD,
            Home::DiskQueue(..) | Home::GuestLink(_) => Persistence::UdevRule,
            Home::HostLink(_) | Home::Domain(_) | Home::Neighbour(_) | Home::DomainXml(_) => {
                Persistence::DomainXml
            }
            Home::HostBoot(_) => Persistence::BootLoader,
            Home::GuestCommand(_) => Persistence::Unit,
        }
    }

    /// The module of the guest that offers `value`, when its kernel can load it on demand.
    ///
    /// Source: `request_module("%s-iosched")` in block/elevator.c and `request_module("tcp_%s")` in
    /// `net/ipv4/tcp_cong.c`.
    pub fn module_for(&self, value: &Value) -> Option<String> {
        match &self.home {
            Home::DiskQueue(KernelSide::Guest, file, _) if file == "scheduler" => match value.as_str() {
                "bfq" => Some("bfq".into()),
                "kyber" => Some("kyber-iosched".into()),
                "mq-deadline" => Some("mq-deadline".into()),
                _ => None,
            },
            Home::Sysctl(KernelSide::Guest, name) if name.as_str() == "net.ipv4.tcp_congestion_control" => {
                Some(format!("tcp_{value}"))
            }
            _ => None,
        }
    }
}
