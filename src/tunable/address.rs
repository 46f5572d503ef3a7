//! Concrete places a setting is read from and written to, on one host and guest.
//!
//! An [`Address`] is what the undo journal stores: it must mean the same after kvmtune was killed.

use super::name::BootParameter;
use super::neighbour::NeighbourSetting;
use super::value::ValueError;
use super::xml_path::XmlPath;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a kernel file spells what is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The content is the value.
    Plain,
    /// The selected word stands in brackets: `none [mq-deadline] bfq`.
    Bracketed,
    /// Not known: brackets count where there is one pair of them.
    Auto,
}

impl Format {
    /// What is selected in `content`. Without brackets the whole content is (a scheduler file of a device that
    /// has no choice says just `none`).
    pub fn selected(self, content: &str) -> &str {
        let content = content.trim();
        match self {
            Self::Plain => content,
            Self::Auto if content.matches('[').count() != 1 => content,
            Self::Bracketed | Self::Auto => {
                let inside = content.split_once('[').and_then(|(_, tail)| tail.split_once(']'));
                inside.map_or(content, |(word, _)| word)
            }
        }
    }

    /// Every word offered in `content`; empty for a plain file.
    pub fn choices(self, content: &str) -> Vec<String> {
        match self {
            Self::Plain => Vec::new(),
            Self::Auto if content.matches('[').count() != 1 => Vec::new(),
            Self::Bracketed | Self::Auto => content
                .split_whitespace()
                .map(|w| w.trim_matches(['[', ']']).to_string())
                .collect(),
        }
    }
}

/// A group of values libvirt can change on a running domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParameterGroup {
    /// `virsh schedinfo`: shares, periods and quotas; times in microseconds, a quota of -1 is none.
    Scheduler,
    /// `virsh memtune`: limits in KiB; 9007199254740991 is none.
    Memory,
    /// `virsh blkiotune`: the weight of the domain.
    Blkio,
    /// `virsh blkdeviotune` of the data disk: limits that QEMU itself keeps; 0 is none.
    Throttle,
}

/// A live libvirt call on the domain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainSetting {
    /// One CPU set for each vCPU thread (`virsh vcpupin --live`).
    VcpuPins,
    /// The CPU set of QEMU's other threads (`virsh emulatorpin --live`).
    EmulatorPin,
    /// One CPU set for each I/O thread (`virsh iothreadpin --live`).
    IothreadPins,
    /// One typed parameter, by libvirt's own name of it.
    Parameter(ParameterGroup, String),
}

impl fmt::Display for DomainSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VcpuPins => f.write_str("vCPU pins"),
            Self::EmulatorPin => f.write_str("emulator pin"),
            Self::IothreadPins => f.write_str("I/O thread pins"),
            Self::Parameter(_, field) => f.write_str(field),
        }
    }
}

/// A part of the domain XML that is set before the guest is started.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum XmlSetting {
    /// `cache=` of the data disk's `<driver>`.
    DiskCache,
    /// `io=` of the data disk's `<driver>`.
    DiskIo,
    /// `<memoryBacking><hugepages/>`: `off`, `2MiB` or `1GiB`.
    Hugepages,
    /// `machine=` of `<os><type>`.
    Machine,
    /// `<devices><emulator>`.
    Emulator,
    /// `<os><kernel>`: a path, `none`, or a kernel release in the lab.
    Kernel,
    /// `<os><initrd>`: a path or `none`.
    Initrd,
    /// `<source>` of the data disk.
    DiskImage,
    /// `mode=` of `<cpu>`; `none` for QEMU's default.
    CpuMode,
    /// `<cpu><topology/>`: `1x2x1`, sockets, cores and threads.
    Topology,
    /// `mode=` of `<numatune><memory/>`; `none` without it.
    NumaMode,
    /// `nodeset=` of `<numatune><memory/>`.
    NumaNodes,
    /// vCPU affinity and memory's nodes as one: `cpus=0-1 nodes=0 mode=strict`, or `none`.
    Placement,
    /// A parameter of the guest kernel's command line, `<os><cmdline>`.
    GuestBoot(BootParameter),
    /// Any other text or attribute.
    Place(XmlPlace),
}

impl fmt::Display for XmlSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DiskCache => "disk cache",
            Self::DiskIo => "disk io",
            Self::Hugepages => "hugepages",
            Self::Machine => "machine",
            Self::Emulator => "emulator",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::DiskImage => "disk image",
            Self::CpuMode => "cpu mode",
            Self::Topology => "cpu topology",
            Self::NumaMode => "numa mode",
            Self::NumaNodes => "numa nodeset",
            Self::Placement => "placement",
            Self::GuestBoot(parameter) => return write!(f, "cmdline {parameter}"),
            Self::Place(place) => return write!(f, "{}", place.path),
        })
    }
}

/// A text or attribute of the domain XML, and how the running QEMU is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct XmlPlace {
    /// Where it stands.
    pub path: XmlPath,
    /// What libvirt or QEMU takes when nothing stands there; `absent` is read when this is not known.
    pub default: Option<String>,
    /// The property that tells it in the running QEMU; without one libvirt's XML of the running domain is all there is.
    pub qemu: Option<QemuProperty>,
}

/// A property of a part of the running QEMU.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct QemuProperty {
    /// Whose property it is.
    pub part: QemuPart,
    /// The name QEMU gives it: `num-queues`.
    pub name: String,
}

/// A part of the running QEMU, and how it is asked for a property: the strongest way there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QemuPart {
    /// The data disk's device: `qom-get`.
    Disk,
    /// The first network interface's device: `qom-get`.
    Link,
    /// What is behind the data disk: `query-block`, and its `-blockdev` option for what that does not tell.
    Blockdev,
    /// What is behind the interface: its `-netdev` option, since no command tells.
    Netdev,
    /// The guest's memory: `query-memdev`, and `qom-get` for its type.
    Memory,
    /// The CPU: a word of the `-cpu` option, since its flags only tell what is left of it after the host was asked.
    Cpu,
}

impl QemuPart {
    const WORDS: [(Self, &str); 6] = [
        (Self::Disk, "disk"),
        (Self::Link, "link"),
        (Self::Blockdev, "blockdev"),
        (Self::Netdev, "netdev"),
        (Self::Memory, "memory"),
        (Self::Cpu, "cpu"),
    ];

    /// Its word in the catalogue.
    pub fn word(self) -> &'static str {
        let found = Self::WORDS.iter().find(|(part, _)| *part == self);
        found.map_or("", |(_, word)| word)
    }
}

impl FromStr for QemuProperty {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (part, name) = text.split_once('.').unwrap_or((text, ""));
        let found = QemuPart::WORDS.iter().find(|(_, word)| *word == part);
        let tame = !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        match found {
            Some((part, _)) if tame => Ok(Self {
                part: *part,
                name: name.into(),
            }),
            _ => Err(ValueError::new(text, "a property such as `disk.num-queues`")),
        }
    }
}

impl TryFrom<String> for QemuProperty {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<QemuProperty> for String {
    fn from(property: QemuProperty) -> String {
        format!("{}.{}", property.part.word(), property.name)
    }
}

/// A field of the host's end of the guest's network link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LinkField {
    /// Length of the transmit queue, in packets.
    TxQueueLen,
    /// Largest packet, in bytes.
    Mtu,
}

impl LinkField {
    /// The word `ip link` has for it, to set it and to show it.
    pub fn word(self) -> &'static str {
        match self {
            Self::TxQueueLen => "txqueuelen",
            Self::Mtu => "mtu",
        }
    }
}

/// A pair of commands in the guest that read and set a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GuestCommands {
    /// Prints the value, alone on its line. Program and arguments.
    pub get: Vec<String>,
    /// Sets it; `{value}` stands for it.
    pub set: Vec<String>,
}

/// One concrete place of one host and guest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Address {
    /// A file of the host's kernel below /proc/sys or /sys.
    HostFile {
        /// Absolute path.
        path: String,
        /// How it spells what is selected.
        format: Format,
    },
    /// A file of the guest's kernel below /proc/sys or /sys.
    GuestFile {
        /// Absolute path in the guest.
        path: String,
        /// How it spells what is selected.
        format: Format,
    },
    /// Whether a module is loaded in the guest: `loaded` or `absent`.
    GuestModule(String),
    /// What a command in the guest tells.
    GuestCommand(GuestCommands),
    /// The host's end of the guest's network link.
    HostLink(LinkField),
    /// A parameter of the host kernel's command line, in force from the next boot.
    HostBoot(BootParameter),
    /// A live libvirt call.
    Domain(DomainSetting),
    /// The same for a neighbour in the lab.
    Neighbour(NeighbourSetting),
    /// A part of the domain XML, in force from the next start.
    DomainXml(XmlSetting),
}

impl Address {
    /// True when it can be written only while the guest is off.
    pub fn needs_guest_off(&self) -> bool {
        matches!(self, Self::DomainXml(_))
    }

    /// True when the host has it, with or without the guest.
    pub fn is_of_host(&self) -> bool {
        matches!(self, Self::HostFile { .. } | Self::HostBoot(_))
    }

    /// True when it is inside the guest, so that only a running one has it.
    pub fn in_guest(&self) -> bool {
        matches!(
            self,
            Self::GuestFile { .. } | Self::GuestModule(_) | Self::GuestCommand(_)
        )
    }

    /// What is selected in a raw reading of this place.
    pub fn selected<'r>(&self, raw: &'r str) -> &'r str {
        match self {
            Self::HostFile { format, .. } | Self::GuestFile { format, .. } => format.selected(raw),
            _ => raw.trim(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostFile { path, .. } => write!(f, "host:{path}"),
            Self::GuestFile { path, .. } => write!(f, "guest:{path}"),
            Self::GuestModule(name) => write!(f, "guest module {name}"),
            Self::GuestCommand(commands) => write!(f, "guest command {}", commands.set.join(" ")),
            Self::HostLink(field) => write!(f, "host link {}", field.word()),
            Self::HostBoot(parameter) => write!(f, "boot parameter {parameter}"),
            Self::Domain(setting) => write!(f, "domain {setting}"),
            Self::Neighbour(setting) => write!(f, "domain {setting}"),
            Self::DomainXml(setting) => write!(f, "domain XML {setting}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn bracketed_files_tell_selection_and_choices() {
        let raw = "none [mq-deadline] kyber\n";
        assert_eq!(Format::Bracketed.selected(raw), "mq-deadline");
        assert_eq!(Format::Bracketed.choices(raw), ["none", "mq-deadline", "kyber"]);
        assert_eq!(Format::Bracketed.selected("none\n"), "none");
    }
}
