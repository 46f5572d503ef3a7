//! Programs that change settings behind one's back, and which of them run: the likely reason when a value does not hold.
//!
//! Knows names of programs; does not know whether one of them did it.

use crate::tunable::Address;
use std::fs;

/// What a program is known to set: a part of the address as text.
const KNOWN: [(&str, &[&str]); 20] = [
    ("tuned", &["host:", "boot parameter"]),
    ("ktune", &["host:"]),
    ("systemd-udevd", &["/queue/", "/sys/class/net/", "host link"]),
    ("systemd-sysctl", &["/proc/sys/"]),
    ("multipathd", &["/queue/"]),
    ("irqbalance", &["/proc/irq/", "smp_affinity", "/rps_cpus"]),
    (
        "numad",
        &[
            "vCPU pins",
            "emulator pin",
            "I/O thread pins",
            "numa",
            "placement",
            "cpuset",
        ],
    ),
    ("ksmtuned", &["/mm/ksm/"]),
    ("ksmd-tuned", &["/mm/ksm/"]),
    ("thermald", &["/cpufreq/", "intel_pstate"]),
    ("power-profiles-daemon", &["/cpufreq/", "intel_pstate"]),
    ("tlp", &["/cpufreq/", "intel_pstate", "/queue/"]),
    ("auto-cpufreq", &["/cpufreq/", "intel_pstate"]),
    (
        "NetworkManager",
        &["/proc/sys/net/", "/sys/class/net/", "host link"],
    ),
    (
        "systemd-networkd",
        &["/proc/sys/net/", "/sys/class/net/", "host link"],
    ),
    ("dockerd", &["/proc/sys/net/"]),
    ("kubelet", &["/proc/sys/", "cgroup"]),
    ("libvirtd", &["domain ", "cgroup"]),
    ("virtqemud", &["domain ", "cgroup"]),
    ("systemd", &["cgroup"]),
];

/// A process by its name, and its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    /// Its name, at most 15 bytes of it.
    pub(super) name: String,
    /// Its number.
    pub(super) pid: u32,
}

/// Those of `processes` that are known to set such a place, as `name (process N)`.
pub(super) fn likely(address: &Address, processes: &[Process]) -> Vec<String> {
    let place = address.to_string();
    // Inside the guest the same programs do the same to the guest's files.
    let place = place
        .strip_prefix("guest:")
        .map_or(place.clone(), |path| format!("host:{path}"));
    let sets = |name: &str| {
        let known = KNOWN.iter().find(|(known, _)| is_called(name, known));
        known.is_some_and(|(_, parts)| parts.iter().any(|part| place.contains(part)))
    };
    let mut found: Vec<_> = processes.iter().filter(|p| sets(&p.name)).collect();
    found.dedup_by(|a, b| a.name == b.name);
    found
        .iter()
        .map(|p| format!("{} (process {})", p.name, p.pid))
        .collect()
}

/// The processes of a program that run on this host, as `name (process N)`.
pub fn retuning(program: &str) -> Vec<String> {
    let all = processes().into_iter().filter(|p| is_called(&p.name, program));
    all.map(|p| format!("{program} (process {})", p.pid)).collect()
}

/// Names of the guests that run on this host, other than kvmtune's own, as their QEMU was told them.
pub fn other_guests() -> Vec<String> {
    let names = processes().into_iter().filter_map(|process| {
        let command = fs::read(format!("/proc/{}/cmdline", process.pid)).ok()?;
        let words: Vec<_> = command.split(|b| *b == 0).map(String::from_utf8_lossy).collect();
        if !words.first()?.contains("qemu-system") && !process.name.starts_with("qemu-") {
            return None;
        }
        let name = words.iter().skip_while(|w| *w != "-name").nth(1)?;
        let name = name.split(',').next()?;
        let name = name.strip_prefix("guest=").unwrap_or(name);
        Some(
            name.chars()
                .take(60)
                .flat_map(char::escape_debug)
                .collect::<String>(),
        )
    });
    let mut names: Vec<_> = names.filter(|name| !name.starts_with("kvmtune-")).collect();
    names.sort();
    names
}

/// The kernel keeps 15 bytes of a name.
fn is_called(name: &str, program: &str) -> bool {
    name == program.get(..15).unwrap_or(program)
}

/// The processes of this machine.
pub(super) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let process = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        Some(Process {
            name: name.trim().to_string(),
            pid,
        })
    };
    let mut all: Vec<_> = entries.filter_map(process).collect();
    all.sort_by(|a, b| (&a.name, a.pid).cmp(&(&b.name, b.pid)));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tunable::{DomainSetting, Format};

    fn process(name: &str, pid: u32) -> Process {
        Process {
            name: name.into(),
            pid,
        }
    }

    #[test]
    fn only_those_that_set_such_places_are_named() {
        let running = [
            process("irqbalance", 4),
            process("libvirtd", 9),
            process("power-profiles-", 5),
            process("tuned", 7),
            process("tuned", 8),
        ];
        let file = |path: &str| Address::HostFile {
            path: path.into(),
            format: Format::Plain,
        };
        assert_eq!(
            likely(&file("/proc/sys/vm/swappiness"), &running),
            ["tuned (process 7)"]
        );
        let governor = file("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
        let expected = ["power-profiles- (process 5)", "tuned (process 7)"];
        assert_eq!(likely(&governor, &running), expected);
        let pins = Address::Domain(DomainSetting::VcpuPins);
        assert_eq!(likely(&pins, &running), ["libvirtd (process 9)"]);
        let guest = Address::GuestFile {
            path: "/proc/sys/vm/swappiness".into(),
            format: Format::Plain,
        };
        assert_eq!(likely(&guest, &running[3..4]), ["tuned (process 7)"]);
    }

    #[test]
    fn this_process_is_among_them() {
        let own = std::process::id();
        assert!(processes().iter().any(|p| p.pid == own));
    }
}
