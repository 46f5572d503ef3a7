//! One setting as something that lasts: which of kvmtune's own files it goes into, and under which key.

use super::device::{self, Device, Sysfs};
use super::own_file::OwnFile;
use crate::tunable::{ABSENT, Address, BootEdit, Kind, ModuleParameter, Setting, SettingRole};
use serde::{Deserialize, Serialize};

/// A value that outlives a reboot of the machine it is written on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lasting {
    /// A sysctl, by its path below /proc/sys: `net/ipv4/tcp_rmem`.
    Sysctl {
        /// The path.
        key: String,
        /// Its value.
        value: String,
    },
    /// A file below /sys that is there once the kernel runs.
    File {
        /// Absolute path.
        path: String,
        /// Its value.
        value: String,
    },
    /// A file of a device.
    Device {
        /// Which one.
        device: Device,
        /// The file, below the device's folder: `queue/scheduler`.
        attribute: String,
        /// Its value.
        value: String,
    },
    /// A parameter of a module that is loaded.
    Parameter {
        /// Which one.
        parameter: ModuleParameter,
        /// Its value.
        value: String,
    },
    /// A module that is loaded at boot.
    Module(String),
    /// A word of the kernel's command line.
    Boot(BootEdit),
    /// A command that is run once at boot.
    Command {
        /// Program and arguments; `{value}` stands for the value.
        argv: Vec<String>,
        /// Its value.
        value: String,
    },
}

impl Lasting {
    /// The file it goes into.
    pub fn file(&self) -> OwnFile {
        match self {
            Self::Sysctl { .. } => OwnFile::Sysctl,
            Self::File { .. } => OwnFile::Tmpfiles,
            Self::Device { .. } => OwnFile::Udev,
            Self::Parameter { .. } => OwnFile::Modprobe,
            Self::Module(_) => OwnFile::ModulesLoad,
            Self::Boot(_) => OwnFile::Grub,
            Self::Command { .. } => OwnFile::Unit,
        }
    }

    /// What of its file it sets: of two with the same key the newer counts.
    pub fn key(&self) -> String {
        match self {
            Self::Sysctl { key, .. } => key.clone(),
            Self::File { path, .. } => path.clone(),
            Self::Device {
                device, attribute, ..
            } => format!("{device} {attribute}"),
            Self::Parameter { parameter, .. } => parameter.to_string(),
            Self::Module(name) => name.clone(),
            Self::Boot(edit) => edit.parameter.to_string(),
            Self::Command { argv, .. } => argv.join(" "),
        }
    }

    /// What it is set to, as text.
    pub fn value(&self) -> &str {
        match self {
            Self::Sysctl { value, .. }
            | Self::File { value, .. }
            | Self::Device { value, .. }
            | Self::Parameter { value, .. }
            | Self::Command { value, .. } => value,
            Self::Module(_) => "loaded",
            Self::Boot(edit) => edit.value.as_str(),
        }
    }
}

/// Why a setting cannot be made to last.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place} cannot be made to last: {why}")]
pub struct Unfit {
    /// The setting's place.
    pub place: String,
    /// The reason, and what to do about it.
    pub why: String,
}

/// A setting of a kernel, the host's or a guest's, as what makes it last there. Empty for one that only follows another.
pub fn lasting(setting: &Setting, sysfs: &mut dyn Sysfs) -> Result<Vec<Lasting>, Unfit> {
    let unfit = |why: String| Unfit {
        place: setting.address.to_string(),
        why,
    };
    if setting.role == SettingRole::Follows {
        return Ok(Vec::new());
    }
    let value = setting.value.to_string();
    match &setting.address {
        Address::HostFile { path, .. } | Address::GuestFile { path, .. } => {
            of_file(path, value, sysfs).map_err(unfit)
        }
        Address::HostBoot(parameter) => Ok(vec![Lasting::Boot(BootEdit {
            parameter: parameter.clone(),
            value: setting.value.clone(),
        })]),
        Address::GuestModule(_) if value == ABSENT => Ok(Vec::new()),
        Address::GuestModule(name) => Ok(vec![Lasting::Module(name.clone())]),
        Address::GuestCommand(commands) => Ok(vec![Lasting::Command {
            argv: commands.set.clone(),
            value,
        }]),
        Address::HostLink(_) | Address::Domain(_) | Address::Neighbour(_) | Address::DomainXml(_) => {
            Err(unfit("it is no setting of a kernel".into()))
        }
    }
}

fn of_file(path: &str, value: String, sysfs: &mut dyn Sysfs) -> Result<Vec<Lasting>, String> {
    if value.contains(['\n', '\0']) {
        return Err("its value has several lines".into());
    }
    if let Some(key) = path.strip_prefix("/proc/sys/") {
        let key = key.to_string();
        let module = module_of(&key, &value).map(Lasting::Module);
        return Ok(module
            .into_iter()
            .chain([Lasting::Sysctl { key, value }])
            .collect());
    }
    if let Some(rest) = path.strip_prefix("/sys/module/")
        && let Some((module, parameter)) = rest.split_once("/parameters/")
    {
        return of_parameter(path, &format!("{module}.{parameter}"), value, sysfs).map(|one| vec![one]);
    }
    if let Some((subsystem, name, attribute)) = device::split(path) {
        let device = device::identify(subsystem, name, sysfs)?;
        let attribute = attribute.to_string();
        return Ok(vec![Lasting::Device {
            device,
            attribute,
            value,
        }]);
    }
    if path.starts_with("/sys/fs/cgroup") {
        return Err(
            "control groups are made anew at each boot; set it in the unit or domain they belong to".into(),
        );
    }
    let path = path.to_string();
    Ok(vec![Lasting::File { path, value }])
}

/// A loadable module takes its parameters from modprobe; one that is built in, from a write at boot where that is
/// allowed, else from the command line.
fn of_parameter(path: &str, name: &str, value: String, sysfs: &mut dyn Sysfs) -> Result<Lasting, String> {
    let parameter: ModuleParameter = name.parse().map_err(|e| format!("{e}"))?;
    if sysfs
        .read(&format!("/sys/module/{}/initstate", parameter.module()))
        .is_some()
    {
        return Ok(Lasting::Parameter { parameter, value });
    }
    if sysfs.is_writable(path) {
        return Ok(Lasting::File {
            path: path.into(),
            value,
        });
    }
    let edit = BootEdit {
        parameter: parameter.as_str().parse().map_err(|e| format!("{e}"))?,
        value: Kind::Boot.parse(&value).map_err(|e| e.to_string())?,
    };
    Ok(Lasting::Boot(edit))
}

/// The module without which the sysctl is not there, or the kernel does not know the value, when sysctls are set at boot.
///
/// Source: `net.netfilter.nf_conntrack_*` and `net.nf_conntrack_max` are made by module `nf_conntrack`; of a congestion
/// control that is not loaded `tcp_set_default_congestion_control` asks for module `tcp_NAME`; `net.core.default_qdisc`
/// for `sch_NAME`.
fn module_of(key: &str, value: &str) -> Option<String> {
    let is_word = value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    match key {
        "net/nf_conntrack_max" => Some("nf_conntrack".into()),
        key if key.starts_with("net/netfilter/nf_conntrack_") => Some("nf_conntrack".into()),
        key if key.starts_with("net/bridge/bridge-nf-") => Some("br_netfilter".into()),
        "net/ipv4/tcp_congestion_control" if is_word && !["cubic", "reno"].contains(&value) => {
            Some(format!("tcp_{value}"))
        }
        "net/core/default_qdisc"
            if is_word && !["pfifo_fast", "pfifo", "bfifo", "noqueue"].contains(&value) =>
        {
            Some(format!("sch_{value}"))
        }
        _ => None,
    }
}
