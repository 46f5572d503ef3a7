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

/// What a setting that only follows another would be by itself: a file that sets it to something else undoes the other.
pub fn followed(settings: &[Setting], sysfs: &mut dyn Sysfs) -> Vec<Lasting> {
    let follows = settings.iter().filter(|s| s.role == SettingRole::Follows);
    let alone = follows.map(|s| s.clone().in_role(SettingRole::Own));
    alone
        .flat_map(|setting| lasting(&setting, sysfs).unwrap_or_default())
        .collect()
}

fn of_file(path: &str, value: String, sysfs: &mut dyn Sysfs) -> Result<Vec<Lasting>, String> {
    if value.contains(['\n', '\r', '\0']) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::persist::{CommitId, DeviceMatch, Layer, OwnFile, Stamp, render};
    use crate::tunable::Format;
    use std::collections::BTreeMap;

    /// A machine of these files and links.
    struct Machine(BTreeMap<&'static str, &'static str>);

    impl Sysfs for Machine {
        fn read(&mut self, path: &str) -> Option<String> {
            self.0.get(path).map(ToString::to_string)
        }

        fn link(&mut self, path: &str) -> Option<String> {
            self.read(&format!("-> {path}"))
        }

        fn is_writable(&mut self, path: &str) -> bool {
            !path.contains("nested")
        }
    }

    fn machine() -> Machine {
        Machine(BTreeMap::from([
            ("/sys/block/nvme0n1/wwid", "eui.0025385b71b00d5f\n"),
            ("/sys/block/sda/device/wwid", "naa.5000c500a1b2c3d4\n"),
            ("/sys/block/vda/serial", "disk-1\n"),
            ("/sys/block/vdb/serial", "\n"),
            (
                "-> /sys/block/vdb",
                "../devices/pci0000:00/0000:00:05.0/virtio2/block/vdb",
            ),
            (
                "-> /sys/block/sdb",
                "../devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sdb",
            ),
            ("-> /sys/block/dm-0", "../devices/virtual/block/dm-0"),
            ("/sys/block/vdc/serial", "a\"; reboot"),
            ("/sys/module/kvm/initstate", "live\n"),
            (
                "-> /sys/class/net/eth0",
                "../../devices/pci0000:00/0000:00:03.0/net/eth0",
            ),
            ("/sys/class/net/eth0/addr_assign_type", "0\n"),
            ("/sys/class/net/eth0/address", "52:54:00:12:34:56\n"),
            ("-> /sys/class/net/vnet0", "../../devices/virtual/net/vnet0"),
        ]))
    }

    fn of(path: &str, value: &str) -> Result<Vec<Lasting>, Unfit> {
        let address = Address::HostFile {
            path: path.into(),
            format: Format::Plain,
        };
        let setting = Setting::own(address, Kind::Words.parse(value).unwrap(), Kind::Words);
        lasting(&setting, &mut machine())
    }

    #[test]
    fn every_place_has_its_file() {
        let cases = [
            ("/proc/sys/vm/swappiness", OwnFile::Sysctl),
            ("/sys/kernel/mm/ksm/run", OwnFile::Tmpfiles),
            (
                "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
                OwnFile::Tmpfiles,
            ),
            ("/sys/module/kvm/parameters/halt_poll_ns", OwnFile::Modprobe),
            ("/sys/module/built_in/parameters/x", OwnFile::Tmpfiles),
            ("/sys/module/kvm_intel/parameters/nested", OwnFile::Grub),
            ("/sys/block/sda/queue/scheduler", OwnFile::Udev),
            ("/sys/class/net/eth0/tx_queue_len", OwnFile::Udev),
        ];
        for (path, file) in cases {
            let items = of(path, "1").unwrap();
            assert_eq!(
                items.iter().map(Lasting::file).collect::<Vec<_>>(),
                [file],
                "{path}"
            );
        }
        let modules = of("/proc/sys/net/ipv4/tcp_congestion_control", "htcp").unwrap();
        assert_eq!(modules[0], Lasting::Module("tcp_htcp".into()));
        assert_eq!(
            of("/proc/sys/net/ipv4/tcp_congestion_control", "cubic")
                .unwrap()
                .len(),
            1
        );
        assert_eq!(
            of("/proc/sys/net/netfilter/nf_conntrack_max", "9").unwrap().len(),
            2
        );
    }

    #[test]
    fn devices_are_known_by_what_stays_and_passing_ones_are_refused() {
        let known = |name: &str| match of(&format!("/sys/block/{name}/queue/scheduler"), "none") {
            Ok(items) => match &items[..] {
                [Lasting::Device { device, .. }] => Ok(device.known_by.clone()),
                other => panic!("{other:?}"),
            },
            Err(unfit) => Err(unfit.to_string()),
        };
        assert_eq!(
            known("nvme0n1"),
            Ok(DeviceMatch::Wwid("eui.0025385b71b00d5f".into()))
        );
        assert_eq!(
            known("sda"),
            Ok(DeviceMatch::ParentWwid("naa.5000c500a1b2c3d4".into()))
        );
        assert_eq!(known("vda"), Ok(DeviceMatch::Serial("disk-1".into())));
        assert_eq!(known("vdb"), Ok(DeviceMatch::Bus("0000:00:05.0".into())));
        for (name, why) in [
            ("loop7", "loop device"),
            ("dm-0", "no place on a bus"),
            ("vdc", "no world-wide id"),
            ("sdb", "may have other disks"),
        ] {
            let refused = known(name).unwrap_err();
            assert!(refused.contains(name) && refused.contains(why), "{refused}");
        }
        let link = of("/sys/class/net/vnet0/tx_queue_len", "9")
            .unwrap_err()
            .to_string();
        assert!(link.contains("link vnet0 is made by software"), "{link}");
        assert!(of("/sys/fs/cgroup/cpu/x", "1").is_err());
    }

    #[test]
    fn a_setting_that_follows_is_looked_for_elsewhere_and_not_written() {
        let path = "/proc/sys/vm/dirty_bytes".to_string();
        let format = Format::Plain;
        let zero = Kind::Words.parse("0").unwrap();
        let own = Setting::own(Address::HostFile { path, format }, zero, Kind::Words);
        let follows = own.clone().in_role(SettingRole::Follows);
        assert_eq!(lasting(&follows, &mut machine()).unwrap(), []);
        let found = followed(&[own, follows], &mut machine());
        let (key, value) = ("vm/dirty_bytes".into(), "0".into());
        assert_eq!(found, [Lasting::Sysctl { key, value }]);
    }

    #[test]
    fn the_profile_of_tuned_includes_what_the_newest_commit_found_active() {
        let stamp = stamp();
        let items = of("/proc/sys/vm/swappiness", "1").unwrap();
        let layer = |tuned| Layer {
            stamp: &stamp,
            items: &items,
            tuned: Some(tuned),
            keeper: None,
        };
        let text = render(OwnFile::Tuned, &[layer("old"), layer("base  mine")]).unwrap();
        assert!(text.contains("\ninclude=base,mine\n"), "{text}");
    }

    fn stamp() -> Stamp {
        Stamp {
            commit: CommitId(1),
            run: "0123".into(),
            experiment: "x\nvm.swappiness = 99".into(),
            at: "2026-07-01T10:00:00Z".parse().unwrap(),
            evidence: vec!["\u{2028}options kvm x=1\\".into()],
            deadline: None,
        }
    }

    #[test]
    fn no_value_becomes_anything_but_a_value() {
        let stamp = stamp();
        // Kinds refuse such texts; the files must not depend on that.
        let mut items = Vec::new();
        for (path, value) in [
            ("/sys/block/sda/queue/x", "a\" b$c%d\\"),
            ("/sys/kernel/x", "50%"),
            ("/proc/sys/net/ipv4/conf/eth0.5/x", "1"),
        ] {
            items.extend(of_file(path, value.into(), &mut machine()).unwrap());
        }
        for end in ["\n", "\r"] {
            assert!(of_file("/sys/kernel/x", format!("1{end}w /etc/x"), &mut machine()).is_err());
        }
        let layer = Layer {
            stamp: &stamp,
            items: &items,
            tuned: None,
            keeper: None,
        };
        let lines = |file| {
            let text = render(file, &[layer]).unwrap();
            let lines = text
                .lines()
                .filter(|line| !line.starts_with('#') && !line.is_empty());
            lines.map(str::to_string).collect::<Vec<_>>()
        };
        assert_eq!(lines(OwnFile::Tmpfiles), ["w /sys/kernel/x - - - - 50%%"]);
        assert_eq!(lines(OwnFile::Sysctl), ["net/ipv4/conf/eth0.5/x = 1"]);
        let rule = lines(OwnFile::Udev);
        assert!(
            rule.len() == 1 && rule[0].ends_with(r#"ATTR{queue/x}="a\" b$$c%%d\\""#),
            "{rule:?}"
        );
    }
}
