//! The catalogue: what can be set, where it lives, how hard it is to change and what a legal value looks like.
//!
//! Pure: knows addresses and texts, never touches a machine. `host` reads and writes what is named here.

mod address;
mod catalogue;
mod level;
mod value;

pub use address::{Address, DomainSetting, Format, SysctlName, XmlSetting};
pub use catalogue::{LookupError, catalogue, lookup, nearest};
pub use level::{Level, LevelError, Setting, ambient_level, available_levels, level};
pub use value::{CpuSet, Kind, Value, ValueError};

/// How hard a tunable is to change; decides whether its factor is a whole-plot factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// Takes effect while the guest runs.
    Live,
    /// Takes effect when the guest is started again.
    DomainRestart,
}

/// Where a tunable lives, before it is resolved for one host and guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// A host sysctl, by its dotted name.
    HostSysctl(SysctlName),
    /// A guest sysctl, by its dotted name.
    GuestSysctl(SysctlName),
    /// A host file below /sys.
    HostFile(&'static str, Format),
    /// A guest file below /sys.
    GuestFile(&'static str, Format),
    /// A file in the `queue` folder of the host disk that backs the guest's data disk.
    HostDiskQueue(&'static str, Format),
    /// A file in the `queue` folder of the guest's data disk.
    GuestDiskQueue(&'static str, Format),
    /// A live libvirt call on the domain.
    Domain(DomainSetting),
    /// A part of the domain XML.
    DomainXml(XmlSetting),
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
    /// What it does, in one line.
    pub summary: &'static str,
}

/// Words that make a pin map from the host's topology.
pub const PIN_GENERATORS: [&str; 4] = ["none", "compact", "spread", "same-node"];

impl Tunable {
    /// The canonical text of a level, before it is known whether this host offers it.
    pub fn canonical_level(&self, text: &str) -> Result<String, ValueError> {
        if self.kind == Kind::Pins && PIN_GENERATORS.contains(&text.trim()) {
            return Ok(text.trim().to_string());
        }
        self.kind.parse(text).map(|value| value.to_string())
    }

    /// True when host and guest can be asked which levels they offer.
    pub fn lists_levels(&self) -> bool {
        match &self.kind {
            Kind::Choice(_) | Kind::Pins => true,
            // A QEMU has dozens of machine types, most of them the same.
            Kind::Word { .. } => !matches!(self.home, Home::DomainXml(_)),
            _ => false,
        }
    }

    /// True when the setting is inside the guest, so that it needs a running guest to be read.
    pub fn in_guest(&self) -> bool {
        matches!(
            self.home,
            Home::GuestSysctl(_) | Home::GuestFile(..) | Home::GuestDiskQueue(..)
        )
    }

    /// The kernel module that offers `value`, when the kernel can load it on demand.
    ///
    /// Source: `request_module("%s-iosched")` in block/elevator.c and `request_module("tcp_%s")` in
    /// `net/ipv4/tcp_cong.c`.
    pub fn module_for(&self, value: &Value) -> Option<String> {
        match &self.home {
            Home::GuestDiskQueue("scheduler", _) => match value.as_str() {
                "bfq" => Some("bfq".into()),
                "kyber" => Some("kyber-iosched".into()),
                "mq-deadline" => Some("mq-deadline".into()),
                _ => None,
            },
            Home::GuestSysctl(name) if name.as_str() == "net.ipv4.tcp_congestion_control" => {
                Some(format!("tcp_{value}"))
            }
            _ => None,
        }
    }
}
