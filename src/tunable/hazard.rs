//! Which levels are dangerous, and how: they are refused unless the experiment allows their kind of danger.
//!
//! Judges names and values alone; does not know any machine.

use super::{Home, KernelSide, Tunable, XmlSetting};
use serde::{Deserialize, Serialize};

/// What a setting can cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hazard {
    /// Data that was written may be lost.
    DataLoss,
    /// Host or guest are easier to attack.
    Security,
    /// The operator may no longer reach the host, or it may no longer serve.
    Lockout,
}

impl Hazard {
    /// Every kind of danger.
    pub const ALL: [Self; 3] = [Self::DataLoss, Self::Security, Self::Lockout];

    /// Its word in `allow`.
    pub fn word(self) -> &'static str {
        match self {
            Self::DataLoss => "data-loss",
            Self::Security => "security",
            Self::Lockout => "lockout",
        }
    }

    /// What it means, to follow "it can".
    pub fn consequence(self) -> &'static str {
        match self {
            Self::DataLoss => "lose data that was written",
            Self::Security => "make host or guest easier to attack",
            Self::Lockout => "lock you out of this host, or stop what it serves",
        }
    }
}

/// Host sysctls of which a wrong value lets nobody in any more, by the beginning of their names.
const LOCKOUT: [&str; 14] = [
    "net.",
    "fs.file-max",
    "fs.nr_open",
    "kernel.pid_max",
    "kernel.threads-max",
    "kernel.panic",
    "kernel.hung_task_panic",
    "kernel.softlockup_panic",
    "kernel.hardlockup_panic",
    "kernel.sysrq",
    "kernel.ctrl-alt-del",
    "vm.panic_on_oom",
    "vm.overcommit",
    "vm.min_free_kbytes",
];

/// Sysctls that guard a kernel, by the beginning of their names.
const SECURITY: [&str; 22] = [
    "kernel.randomize_va_space",
    "kernel.kptr_restrict",
    "kernel.dmesg_restrict",
    "kernel.yama.",
    "kernel.unprivileged_",
    "kernel.perf_event_paranoid",
    "kernel.modprobe",
    "kernel.modules_disabled",
    "kernel.core_pattern",
    "kernel.core_uses_pid",
    "kernel.kexec_load_disabled",
    "kernel.io_uring_disabled",
    "fs.protected_",
    "fs.suid_dumpable",
    "vm.mmap_min_addr",
    "vm.mmap_rnd_",
    "vm.unprivileged_userfaultfd",
    "net.core.bpf_jit_harden",
    "kernel.hotplug",
    "kernel.poweroff_cmd",
    "kernel.usermodehelper.",
    "kernel.uevent_helper",
];

/// The danger of a level; `None` when there is none that is known. In the lab the network belongs to nobody else: with
/// `private_network` its sysctls are harmless.
pub fn hazard(tunable: &Tunable, value: &str, private_network: bool) -> Option<Hazard> {
    let own = tunable.hazards.get(value).copied().or(tunable.hazard);
    let found = own.or_else(|| of_home(tunable, value))?;
    let is_network =
        matches!(&tunable.home, Home::Sysctl(KernelSide::Host, name) if name.as_str().starts_with("net."));
    (!(is_network && private_network && found == Hazard::Lockout)).then_some(found)
}

/// The danger of what a user names directly; the catalogue's own entries say theirs themselves.
fn of_home(tunable: &Tunable, value: &str) -> Option<Hazard> {
    let is_named = tunable.name.contains(':');
    let begins = |name: &str, list: &[&str]| list.iter().any(|start| name.starts_with(start));
    match &tunable.home {
        Home::Sysctl(_, name) if begins(name.as_str(), &SECURITY) => Some(Hazard::Security),
        Home::Sysctl(KernelSide::Host, name) if is_named && begins(name.as_str(), &LOCKOUT) => {
            Some(Hazard::Lockout)
        }
        Home::File(KernelSide::Host, file, _) if is_named => of_file(file.as_str()),
        Home::File(KernelSide::Guest, file, _) if is_named => of_guest_file(file.as_str()),
        Home::Module(_, name) if is_named && begins(name.as_str(), &SECURITY) => Some(Hazard::Security),
        Home::Module(KernelSide::Host, name) if is_named && begins(name.as_str(), &LOCKOUT) => {
            Some(Hazard::Lockout)
        }
        Home::HostBoot(name) | Home::DomainXml(XmlSetting::GuestBoot(name)) if of_boot(name.as_str()) => {
            Some(Hazard::Security)
        }
        Home::HostBoot(_) if is_named => Some(Hazard::Lockout),
        Home::DomainXml(XmlSetting::Place(place)) if is_named => of_xml(place.path.as_str(), value),
        Home::DomainXml(XmlSetting::DiskCache) if value == "unsafe" => Some(Hazard::DataLoss),
        _ => None,
    }
}

/// Folders of which no file takes the machine away or opens it; others may unbind devices, freeze services, cut links.
const HARMLESS: [&str; 9] = [
    "/sys/kernel/mm/",
    "/sys/block/",
    "/sys/class/block/",
    "/sys/devices/virtual/block/",
    "/sys/devices/virtual/workqueue/",
    "/sys/devices/virtual/bdi/",
    "/sys/devices/system/node/",
    "/sys/devices/system/clocksource/",
    "/sys/devices/system/cpu/",
];

fn of_file(path: &str) -> Option<Hazard> {
    let tail = path.rsplit('/').next().unwrap_or_default();
    let cuts = [
        "online", "unbind", "remove", "delete", "reset", "state", "control", "hotplug",
    ];
    let of_guest = path.starts_with("/sys/fs/cgroup/") && path.contains("/machine");
    let harmless = of_guest || HARMLESS.iter().any(|folder| path.starts_with(folder));
    if let Some(danger) = of_guest_file(path) {
        Some(danger)
    } else if harmless && !cuts.contains(&tail) {
        None
    } else {
        Some(Hazard::Lockout)
    }
}

/// What is dangerous in a guest, too.
fn of_guest_file(path: &str) -> Option<Hazard> {
    if path.ends_with("/queue/write_cache") {
        Some(Hazard::DataLoss)
    } else if path.starts_with("/sys/kernel/security/") || path.starts_with("/sys/fs/selinux/") {
        Some(Hazard::Security)
    } else {
        None
    }
}

/// Boot parameters that guard a kernel; those of the catalogue have levels that do not, and say so there.
fn of_boot(name: &str) -> bool {
    const GUARDS: [&str; 18] = [
        "nokaslr",
        "kaslr",
        "nosmap",
        "nosmep",
        "nopti",
        "pti",
        "spectre_v2",
        "spectre_v2_user",
        "spec_store_bypass_disable",
        "l1tf",
        "mds",
        "tsx_async_abort",
        "selinux",
        "apparmor",
        "lsm",
        "lockdown",
        "init",
        "rdinit",
    ];
    GUARDS.contains(&name)
}

fn of_xml(path: &str, value: &str) -> Option<Hazard> {
    let places = ["/source", "/backingStore", "/driver/@type"];
    let is_disk = path.contains("/disk") || path.contains("/filesystem");
    if is_disk && (value == "unsafe" || places.iter().any(|place| path.contains(place))) {
        Some(Hazard::DataLoss)
    } else if ["/seclabel", "/launchSecurity", "/hostdev", "/graphics"]
        .iter()
        .any(|part| path.contains(part))
    {
        Some(Hazard::Security)
    } else {
        None
    }
}
