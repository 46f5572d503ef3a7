//! The files that are kvmtune's own: one of each kind, whatever is committed.

use serde::{Deserialize, Serialize};

/// A file of kvmtune's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OwnFile {
    /// Sysctls: systemd-sysctl, `sysctl --system`.
    Sysctl,
    /// Kernel files that are written at boot: systemd-tmpfiles.
    Tmpfiles,
    /// Files of devices, written when one appears: udev.
    Udev,
    /// Parameters of modules: modprobe.
    Modprobe,
    /// Modules that a value needs: systemd-modules-load.
    ModulesLoad,
    /// A profile of tuned.
    Tuned,
    /// The kernel's command line: grub-mkconfig. Needs a reboot.
    Grub,
    /// Commands that are run once at boot: a unit of systemd.
    Unit,
    /// What has the boot want that unit: a drop-in of systemd's usual target.
    UnitWanted,
    /// A unit that takes back, after a reboot, what nobody kept in time: systemd.
    Overdue,
}

impl OwnFile {
    /// All of them, in the order they are written.
    pub const ALL: [Self; 10] = [
        Self::ModulesLoad,
        Self::Modprobe,
        Self::Sysctl,
        Self::Tmpfiles,
        Self::Udev,
        Self::Unit,
        Self::UnitWanted,
        Self::Tuned,
        Self::Overdue,
        Self::Grub,
    ];

    /// Where it stands.
    pub fn path(self) -> &'static str {
        match self {
            Self::Sysctl => "/etc/sysctl.d/60-kvmtune.conf",
            Self::Tmpfiles => "/etc/tmpfiles.d/60-kvmtune.conf",
            Self::Udev => "/etc/udev/rules.d/60-kvmtune.rules",
            Self::Modprobe => "/etc/modprobe.d/60-kvmtune.conf",
            Self::ModulesLoad => "/etc/modules-load.d/60-kvmtune.conf",
            Self::Tuned => "/etc/tuned/kvmtune/tuned.conf",
            Self::Grub => "/etc/default/grub.d/60-kvmtune.cfg",
            Self::Unit => "/etc/systemd/system/kvmtune-settings.service",
            Self::UnitWanted => "/etc/systemd/system/multi-user.target.d/60-kvmtune.conf",
            Self::Overdue => "/etc/systemd/system/kvmtune-overdue.service",
        }
    }
}
