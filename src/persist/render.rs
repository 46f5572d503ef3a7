//! The text of one of kvmtune's own files, from all commits that are in force.

use super::device::{Device, DeviceMatch, Subsystem};
use super::lasting::Lasting;
use super::own_file::OwnFile;
use super::stamp::Stamp;
use super::unit;
use crate::tunable::{BootEdit, grub_edits};
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// What one commit adds to a machine's files.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'l> {
    /// Whose it is.
    pub stamp: &'l Stamp,
    /// What it makes last.
    pub items: &'l [Lasting],
    /// The profile of tuned that kvmtune's own builds upon, where tuned is installed.
    pub tuned: Option<&'l str>,
    /// What takes it back after a reboot, unless somebody keeps it.
    pub keeper: Option<&'l Keeper>,
}

/// The program that takes back what nobody kept in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keeper {
    /// Its absolute path.
    pub program: String,
    /// The absolute path of the folder that holds the ledger.
    pub state: String,
}

const HEAD: &str =
    "Written by kvmtune. Do not edit: what somebody changed is not taken back by `kvmtune revert`.";

/// The text of a file, from the layers in force, the oldest first; `None` when nothing is in it. Of two values with one key
/// the newer counts.
pub fn render(file: OwnFile, layers: &[Layer<'_>]) -> Option<String> {
    let parts: Vec<(&Stamp, Vec<&Lasting>)> = layers
        .iter()
        .enumerate()
        .map(|(n, layer)| (layer.stamp, in_force(file, layer, &layers[n + 1..])))
        .collect();
    match file {
        OwnFile::Overdue => overdue(layers),
        OwnFile::Tuned => tuned(layers, &parts),
        _ if parts.iter().all(|(_, items)| items.is_empty()) => None,
        OwnFile::Grub => Some(grub(&parts)),
        OwnFile::Unit => Some(headed(&parts, &unit::service(&parts))),
        OwnFile::UnitWanted => Some(headed(&parts, &unit::wanted())),
        _ => Some(lines(file, &parts)),
    }
}

/// Those of a layer's values that belong into the file and are in no newer layer.
fn in_force<'l>(file: OwnFile, layer: &Layer<'l>, newer: &[Layer<'_>]) -> Vec<&'l Lasting> {
    let belongs = |item: &&Lasting| {
        item.file() == file
            || file == OwnFile::UnitWanted && item.file() == OwnFile::Unit
            || file == OwnFile::Tuned && matches!(item, Lasting::Sysctl { .. } | Lasting::File { .. })
    };
    let is_hidden = |item: &Lasting| {
        let same = |other: &Lasting| other.file() == item.file() && other.key() == item.key();
        newer.iter().any(|layer| layer.items.iter().any(same))
    };
    layer
        .items
        .iter()
        .filter(belongs)
        .filter(|item| !is_hidden(item))
        .collect()
}

fn head(text: &mut String, stamps: &[&Stamp]) {
    let _ = writeln!(text, "# {HEAD}");
    for line in stamps.iter().flat_map(|stamp| stamp.lines()) {
        let _ = writeln!(text, "# {line}");
    }
}

/// A text with the stamps of those whose values are in it above.
fn headed(parts: &[(&Stamp, Vec<&Lasting>)], text: &str) -> String {
    let held = parts.iter().filter(|(_, items)| !items.is_empty());
    let stamps: Vec<_> = held.map(|(stamp, _)| *stamp).collect();
    let mut top = String::new();
    head(&mut top, &stamps);
    top + text
}

fn lines(file: OwnFile, parts: &[(&Stamp, Vec<&Lasting>)]) -> String {
    let mut text = format!("# {HEAD}\n");
    for (stamp, items) in parts.iter().filter(|(_, items)| !items.is_empty()) {
        text.push('\n');
        for line in stamp.lines() {
            let _ = writeln!(text, "# {line}");
        }
        for item in items {
            let _ = writeln!(text, "{}", line(file, item));
        }
    }
    text
}

/// One value as its file spells it.
fn line(file: OwnFile, item: &Lasting) -> String {
    match (file, item) {
        (_, Lasting::Sysctl { key, value }) => format!("{} = {value}", dotted(key)),
        (_, Lasting::File { path, value }) => format!("w {} - - - - {}", tmpfiles(path), tmpfiles(value)),
        (
            _,
            Lasting::Device {
                device,
                attribute,
                value,
            },
        ) => rule(device, attribute, value),
        (_, Lasting::Parameter { parameter, value }) => {
            let name = parameter.as_str().split_once('.').map_or("", |(_, name)| name);
            let value = if value.contains(' ') {
                format!("\"{value}\"")
            } else {
                value.clone()
            };
            format!("options {} {name}={value}", parameter.module())
        }
        (_, Lasting::Module(name)) => name.clone(),
        (_, Lasting::Boot(edit)) => edit.words(),
        (_, Lasting::Command { argv, .. }) => argv.join(" "),
    }
}

/// A sysctl as sysctl(8) and systemd both read it. Where a part has a dot (a link named `eth0.5`) slashes separate.
fn dotted(key: &str) -> String {
    if key.contains('.') {
        key.to_string()
    } else {
        key.replace('/', ".")
    }
}

/// Specifiers and escapes of tmpfiles.d(5) taken for what they are.
fn tmpfiles(text: &str) -> String {
    text.replace('\\', "\\\\").replace('%', "%%")
}

fn rule(device: &Device, attribute: &str, value: &str) -> String {
    let (subsystem, more) = match device.subsystem {
        Subsystem::Block => ("block", ", ENV{DEVTYPE}==\"disk\""),
        // Bridges and VLANs have the address of the link below them, and no driver.
        Subsystem::Net => ("net", ", DRIVERS==\"?*\""),
    };
    let known = match &device.known_by {
        DeviceMatch::Wwid(id) => format!("ATTR{{wwid}}==\"{id}\""),
        DeviceMatch::ParentWwid(id) => format!("ATTRS{{wwid}}==\"{id}\""),
        DeviceMatch::Serial(id) => format!("ATTR{{serial}}==\"{id}\""),
        DeviceMatch::Address(id) => format!("ATTR{{address}}==\"{id}\""),
        DeviceMatch::Bus(id) => format!("KERNELS==\"{id}\""),
    };
    let value = value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('$', "$$")
        .replace('%', "%%");
    format!(
        "ACTION==\"add|change\", SUBSYSTEM==\"{subsystem}\"{more}, {known}, ATTR{{{attribute}}}=\"{value}\""
    )
}

fn grub(parts: &[(&Stamp, Vec<&Lasting>)]) -> String {
    let mut text = String::new();
    let held: Vec<_> = parts.iter().filter(|(_, items)| !items.is_empty()).collect();
    let stamps: Vec<_> = held.iter().map(|(stamp, _)| *stamp).collect();
    head(&mut text, &stamps);
    text.push_str("# NEEDS A REBOOT to be in force.\n");
    let edits: Vec<BootEdit> = held
        .iter()
        .flat_map(|(_, items)| items.iter())
        .filter_map(|item| match item {
            Lasting::Boot(edit) => Some(edit.clone()),
            _ => None,
        })
        .collect();
    text + &grub_edits(&edits)
}

fn tuned(layers: &[Layer<'_>], parts: &[(&Stamp, Vec<&Lasting>)]) -> Option<String> {
    // Of several active profiles tuned takes no blanks in its files.
    let include = layers.iter().rev().find_map(|layer| layer.tuned)?;
    let include = include.split_whitespace().collect::<Vec<_>>().join(",");
    let items: Vec<_> = parts
        .iter()
        .flat_map(|(_, items)| items.iter().copied())
        .collect();
    if items.is_empty() {
        return None;
    }
    let mut text = String::new();
    let held: Vec<_> = parts
        .iter()
        .filter(|(_, items)| !items.is_empty())
        .map(|(stamp, _)| *stamp)
        .collect();
    head(&mut text, &held);
    let _ = writeln!(
        text,
        "\n[main]\nsummary=What kvmtune proved on this host\ninclude={include}"
    );
    let section = |text: &mut String, name: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let _ = writeln!(text, "\n[{name}]\n{}", lines.join("\n"));
        }
    };
    let sysctls = items.iter().filter_map(|item| match item {
        Lasting::Sysctl { key, value } => Some(format!("{}={value}", dotted(key))),
        _ => None,
    });
    section(&mut text, "sysctl", sysctls.collect());
    let files = items.iter().filter_map(|item| match item {
        Lasting::File { path, value } => Some(format!("{path}={value}")),
        _ => None,
    });
    section(&mut text, "sysfs", files.collect());
    Some(text)
}

/// A unit that is there as long as a commit waits to be kept.
fn overdue(layers: &[Layer<'_>]) -> Option<String> {
    let waiting: Vec<_> = layers
        .iter()
        .filter(|layer| layer.stamp.deadline.is_some())
        .collect();
    let keeper = waiting.iter().rev().find_map(|layer| layer.keeper)?;
    let mut text = String::new();
    head(
        &mut text,
        &waiting.iter().map(|layer| layer.stamp).collect::<Vec<_>>(),
    );
    let (program, state) = (unit_word(&keeper.program), unit_word(&keeper.state));
    let _ = write!(
        text,
        "[Unit]\nDescription=Takes back what kvmtune committed and nobody kept in time\n\
         After=local-fs.target systemd-sysctl.service systemd-tmpfiles-setup.service tuned.service \
         libvirtd.service\n\n\
         [Service]\nType=exec\nExecStart={program} --state {state} revert --overdue\nRestart=on-failure\nRestartSec=30\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    );
    Some(text)
}

/// A word of a command line in a unit, taken for what it is (systemd.service(5)).
fn unit_word(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$")
        .replace('\n', "\\n")
        .replace('\r', "\\r");
    format!("\"{escaped}\"")
}
