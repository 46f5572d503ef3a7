//! Concrete places a setting is read from and written to, on one host and guest.
//!
//! An [`Address`] is what the undo journal stores: it must mean the same after kvmtune was killed.

use super::value::ValueError;
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
}

impl Format {
    /// What is selected in `content`. Without brackets the whole content is (a scheduler file of a device that
    /// has no choice says just `none`).
    pub fn selected(self, content: &str) -> &str {
        let content = content.trim();
        match self {
            Self::Plain => content,
            Self::Bracketed => {
                let inside = content.split_once('[').and_then(|(_, tail)| tail.split_once(']'));
                inside.map_or(content, |(word, _)| word)
            }
        }
    }

    /// Every word offered in `content`; empty for a plain file.
    pub fn choices(self, content: &str) -> Vec<String> {
        match self {
            Self::Plain => Vec::new(),
            Self::Bracketed => content
                .split_whitespace()
                .map(|w| w.trim_matches(['[', ']']).to_string())
                .collect(),
        }
    }
}

/// The dotted name of a sysctl, safe to be made a path below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SysctlName(String);

impl SysctlName {
    /// The dotted name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file that holds it. As in sysctl(8), a `/` in a name stands for a literal dot.
    pub fn path(&self) -> String {
        let swapped: String = self
            .0
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect();
        format!("/proc/sys/{swapped}")
    }
}

impl FromStr for SysctlName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let part_ok = |part: &str| {
            !part.is_empty()
                && !part.contains("//")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '@'))
                && !part.starts_with(['/', '-'])
                && !part.ends_with('/')
        };
        let ok = text.len() <= 200 && text.contains('.') && text.split('.').all(part_ok);
        if ok {
            Ok(Self(text.to_string()))
        } else {
            Err(ValueError::new(text, "a sysctl name such as `vm.swappiness`"))
        }
    }
}

impl TryFrom<String> for SysctlName {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<SysctlName> for String {
    fn from(name: SysctlName) -> String {
        name.0
    }
}

/// A live libvirt call on the domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainSetting {
    /// One CPU set for each vCPU thread (`virsh vcpupin --live`).
    VcpuPins,
    /// `virsh schedinfo --set cpu_shares=`.
    CpuShares,
    /// `virsh schedinfo --set vcpu_quota=`, microseconds in each period; -1 is no limit.
    VcpuQuota,
    /// `virsh blkiotune --weight`.
    BlkioWeight,
}

/// A part of the domain XML that is set before the guest is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// A live libvirt call.
    Domain(DomainSetting),
    /// A part of the domain XML, in force from the next start.
    DomainXml(XmlSetting),
}

impl Address {
    /// True when it can be written only while the guest is off.
    pub fn needs_guest_off(&self) -> bool {
        matches!(self, Self::DomainXml(_))
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
            Self::Domain(setting) => write!(f, "domain {setting:?}"),
            Self::DomainXml(setting) => write!(f, "domain XML {setting:?}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sysctl_names_cannot_leave_proc_sys() {
        assert_eq!(
            "net.ipv4.tcp_rmem".parse::<SysctlName>().unwrap().path(),
            "/proc/sys/net/ipv4/tcp_rmem"
        );
        assert_eq!(
            "net.ipv4.conf.eth0/5.mtu".parse::<SysctlName>().unwrap().path(),
            "/proc/sys/net/ipv4/conf/eth0.5/mtu"
        );
        for bad in [
            "",
            "vm",
            "..",
            "a..b",
            "/etc.passwd",
            "vm.x;y",
            "vm.\0",
            "a.//b",
            "a.b/",
            "vm swappiness.x",
        ] {
            let path = bad.parse::<SysctlName>().map(|n| n.path());
            assert!(
                path.as_ref().is_err() || !path.as_ref().unwrap().contains(".."),
                "{bad} gave {path:?}"
            );
        }
        assert!("a.//.//b".parse::<SysctlName>().is_err());
    }

    #[test]
    fn bracketed_files_tell_selection_and_choices() {
        let raw = "none [mq-deadline] kyber\n";
        assert_eq!(Format::Bracketed.selected(raw), "mq-deadline");
        assert_eq!(Format::Bracketed.choices(raw), ["none", "mq-deadline", "kyber"]);
        assert_eq!(Format::Bracketed.selected("none\n"), "none");
    }
}
