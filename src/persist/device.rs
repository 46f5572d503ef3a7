//! Devices by what stays the same when their names change.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A machine's /sys, to be read: this host's, or a guest's through its agent.
pub trait Sysfs {
    /// The content of a file; `None` when it is not there.
    fn read(&mut self, path: &str) -> Option<String>;
    /// Where a symbolic link leads, as it is written.
    fn link(&mut self, path: &str) -> Option<String>;
    /// True when root may write the file.
    fn is_writable(&mut self, path: &str) -> bool;
}

/// Which devices udev is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subsystem {
    /// Disks.
    Block,
    /// Network links.
    Net,
}

/// By what a device is known again, the most stable there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeviceMatch {
    /// The world-wide id of the disk itself (`wwid` of an `NVMe` disk).
    Wwid(String),
    /// The world-wide id of the SCSI device the disk is of.
    ParentWwid(String),
    /// The serial number of the disk (virtio).
    Serial(String),
    /// The hardware address of the link.
    Address(String),
    /// The place on its bus, where it has no number of its own: a PCI address such as `0000:00:05.0`.
    Bus(String),
}

/// A device as a udev rule finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its subsystem.
    pub subsystem: Subsystem,
    /// What it is called now.
    pub name: String,
    /// By what it is known again.
    pub known_by: DeviceMatch,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (how, what) = match &self.known_by {
            DeviceMatch::Wwid(id) | DeviceMatch::ParentWwid(id) => ("wwid", id),
            DeviceMatch::Serial(id) => ("serial", id),
            DeviceMatch::Address(id) => ("address", id),
            DeviceMatch::Bus(id) => ("bus", id),
        };
        match self.subsystem {
            Subsystem::Block => write!(f, "disk {how} {what}"),
            Subsystem::Net => write!(f, "link {how} {what}"),
        }
    }
}

/// Takes a path of a device apart: its subsystem, its name and the file below its folder.
pub(super) fn split(path: &str) -> Option<(Subsystem, &str, &str)> {
    let (subsystem, rest) = [
        ("/sys/block/", Subsystem::Block),
        ("/sys/class/block/", Subsystem::Block),
        ("/sys/class/net/", Subsystem::Net),
    ]
    .into_iter()
    .find_map(|(folder, subsystem)| Some((subsystem, path.strip_prefix(folder)?)))?;
    let (name, attribute) = rest.split_once('/')?;
    Some((subsystem, name, attribute))
}

/// By what a device can be known again; the reason when there is nothing, or when it is none of the machine's own.
pub(super) fn identify(subsystem: Subsystem, name: &str, sysfs: &mut dyn Sysfs) -> Result<Device, String> {
    let known_by = match subsystem {
        Subsystem::Block => disk(name, sysfs),
        Subsystem::Net => link(name, sysfs),
    }?;
    let name = name.to_string();
    Ok(Device {
        subsystem,
        name,
        known_by,
    })
}

fn disk(name: &str, sysfs: &mut dyn Sysfs) -> Result<DeviceMatch, String> {
    const PASSING: [(&str, &str); 4] = [
        ("loop", "a loop device"),
        ("ram", "a RAM disk"),
        ("zram", "a compressed RAM disk"),
        ("nbd", "a network block device"),
    ];
    if let Some((_, what)) = PASSING.iter().find(|(prefix, _)| {
        let number = name.strip_prefix(prefix).unwrap_or_default();
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
    }) {
        return Err(format!(
            "{name} is {what}, which is gone with the lab or a reboot; measure with a disk that stays"
        ));
    }
    let folder = format!("/sys/block/{name}");
    if let Some(id) = identity(sysfs, &format!("{folder}/wwid")) {
        return Ok(DeviceMatch::Wwid(id));
    }
    if let Some(id) = identity(sysfs, &format!("{folder}/device/wwid")) {
        return Ok(DeviceMatch::ParentWwid(id));
    }
    if let Some(id) = identity(sysfs, &format!("{folder}/serial")) {
        return Ok(DeviceMatch::Serial(id));
    }
    if sysfs.link(&folder).is_some_and(|path| shares_its_slot(&path)) {
        return Err(format!(
            "disk {name} has no world-wide id and no serial number, and its controller may have other disks: it could not be told \
             from them"
        ));
    }
    on_bus(&folder, sysfs).ok_or_else(|| {
        format!("disk {name} has no world-wide id, no serial number and no place on a bus by which it could be known again")
    })
}

fn link(name: &str, sysfs: &mut dyn Sysfs) -> Result<DeviceMatch, String> {
    let folder = format!("/sys/class/net/{name}");
    // 0: the address is the hardware's own.
    let own = sysfs
        .read(&format!("{folder}/addr_assign_type"))
        .is_some_and(|kind| kind.trim() == "0");
    let made = sysfs.link(&folder).is_none_or(|path| path.contains("/virtual/"));
    if made {
        return Err(format!(
            "link {name} is made by software (a tap, a bridge, a pair) and not there when the host boots; set it where it is made"
        ));
    }
    if own && let Some(address) = identity(sysfs, &format!("{folder}/address")) {
        return Ok(DeviceMatch::Address(address));
    }
    on_bus(&folder, sysfs).ok_or_else(|| {
        format!(
            "link {name} has no address of its own and no place on a bus by which it could be known again"
        )
    })
}

/// True for a disk of a controller that can have several: SCSI, SATA, USB, which all come as hosts of SCSI; and MMC.
fn shares_its_slot(path: &str) -> bool {
    path.split('/').any(|part| {
        let number = ["host", "mmc"]
            .into_iter()
            .find_map(|start| part.strip_prefix(start));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    })
}

/// The last PCI address, or name of another parent, on the way to the device.
fn on_bus(folder: &str, sysfs: &mut dyn Sysfs) -> Option<DeviceMatch> {
    let path = sysfs.link(folder)?;
    let is_pci = |part: &&str| {
        part.len() == 12
            && part
                .bytes()
                .all(|b| b.is_ascii_hexdigit() || b == b':' || b == b'.')
            && part.contains(':')
    };
    path.split('/')
        .rfind(is_pci)
        .map(|slot| DeviceMatch::Bus(slot.into()))
}

/// A number that is one: plain characters only, so that it stands in a rule as it is.
fn identity(sysfs: &mut dyn Sysfs, path: &str) -> Option<String> {
    let text = sysfs.read(path)?;
    let text = text.trim();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.:+ ".contains(c);
    let is_one = (1..=200).contains(&text.len())
        && text.chars().all(plain)
        && text.chars().any(|c| !"0:- .".contains(c));
    is_one.then(|| text.to_string())
}
