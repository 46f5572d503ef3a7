//! What may disturb a run on this host: programs that retune it, other guests, a busy or swapping machine.
//!
//! Reads only. Nothing of it stops a run; the settings a run makes are read back after each trial all the same.

use super::Lack;
use crate::host::{other_guests, retuning};
use std::fs;

/// Load for each CPU above which a host counts as busy.
const BUSY: f64 = 0.5;

/// All that is found, each with what mends it.
pub fn unrest() -> Vec<Lack> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let found = [
        profile(&text("/etc/tuned/active_profile"), !retuning("tuned").is_empty()),
        guests(&other_guests()),
        governor(&text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        load(&text("/proc/loadavg"), cpus),
        swap(&text("/proc/meminfo")),
        merging(&text("/sys/kernel/mm/ksm/run")),
    ];
    daemons().into_iter().chain(found.into_iter().flatten()).collect()
}

fn daemons() -> Vec<Lack> {
    const STOPPED_BY: [(&str, &str); 9] = [
        ("numad", "it moves guests between nodes while they are measured"),
        (
            "irqbalance",
            "it moves interrupts between CPUs while guests are measured",
        ),
        ("ksmtuned", "it sets how KSM runs"),
        ("thermald", "it sets the limits of the CPUs' frequency"),
        (
            "power-profiles-daemon",
            "it sets how the CPUs' frequency is chosen",
        ),
        ("tlp", "it sets how the CPUs' frequency is chosen"),
        ("auto-cpufreq", "it sets how the CPUs' frequency is chosen"),
        ("multipathd", "it sets the queues of its disks"),
        ("kubelet", "it sets sysctls and cgroups"),
    ];
    let runs = |(name, does): &(&str, &str)| {
        let found = retuning(name);
        let first = found.first()?;
        Some(Lack::new(
            format!("{first} runs: {does}"),
            format!("systemctl stop {name}, for the time of the run"),
        ))
    };
    STOPPED_BY.iter().filter_map(runs).collect()
}

fn profile(active: &str, runs: bool) -> Option<Lack> {
    let name: String = active.trim().chars().take(60).collect();
    if !runs || name.is_empty() {
        return None;
    }
    Some(Lack::new(
        format!(
            "tuned is active with profile {name}: it sets the same places, and again when its devices change"
        ),
        "compare with it in place, knowing that; or tuned-adm off, for the time of the run",
    ))
}

fn guests(names: &[String]) -> Option<Lack> {
    let shown: Vec<_> = names.iter().take(5).map(String::as_str).collect();
    let more = if names.len() > shown.len() {
        " and others"
    } else {
        ""
    };
    (!names.is_empty()).then(|| {
        Lack::new(
            format!(
                "other guests run on this host: {}{more}; they take CPU, memory and disk when they please",
                shown.join(", ")
            ),
            "virsh shutdown or suspend them, for the time of the run",
        )
    })
}

fn governor(set: &str) -> Option<Lack> {
    let set = set.trim();
    (!set.is_empty() && set != "performance").then(|| {
        Lack::new(
            format!("the CPUs' frequency follows the load (governor {set})"),
            "cpupower frequency-set -g performance, or make host.cpu.governor a factor",
        )
    })
}

fn load(average: &str, cpus: usize) -> Option<Lack> {
    let minute: f64 = average.split_whitespace().next()?.parse().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "a number of CPUs")]
    let each = minute / cpus as f64;
    (each > BUSY).then(|| {
        Lack::new(
            format!("the host is busy: load {minute} on {cpus} CPUs"),
            "wait until it is idle; noise makes runs long and hides small effects",
        )
    })
}

fn swap(meminfo: &str) -> Option<Lack> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|l| l.strip_prefix(name))?;
        line.trim().trim_end_matches(" kB").trim().parse().ok()
    };
    let used = kib("SwapTotal:")?.saturating_sub(kib("SwapFree:")?);
    (used > 100 << 10).then(|| {
        Lack::new(
            format!("{} MiB of memory are swapped out", used >> 10),
            "free memory, then swapoff -a && swapon -a",
        )
    })
}

fn merging(run: &str) -> Option<Lack> {
    (run.trim() == "1").then(|| {
        Lack::new(
            "KSM merges pages of guests in the background",
            "echo 0 > /sys/kernel/mm/ksm/run, or make host.ksm.run a factor",
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_quiet_host_is_quiet() {
        assert_eq!(profile("virtual-host\n", false), None);
        assert_eq!(profile("", true), None);
        assert_eq!(guests(&[]), None);
        assert_eq!(governor("performance\n"), None);
        assert_eq!(governor(""), None);
        assert_eq!(load("0.50 0.1 0.1 1/200 7", 2), None);
        assert_eq!(load("nonsense", 2), None);
        assert_eq!(swap("SwapTotal: 0 kB\nSwapFree: 0 kB\n"), None);
        assert_eq!(merging("0\n"), None);
    }

    #[test]
    fn what_disturbs_is_told_with_its_mend() {
        let says = |lack: Option<Lack>, what: &str| {
            let lack = lack.unwrap();
            assert!(lack.what.contains(what) && !lack.mend.is_empty(), "{lack:?}");
        };
        says(profile("virtual-host\n", true), "profile virtual-host");
        says(guests(&["web".to_string(), "db".into()]), "web, db");
        says(governor("powersave\n"), "powersave");
        says(load("3.10 1 1 1/200 7", 2), "load 3.1");
        says(swap("SwapTotal: 1000000 kB\nSwapFree: 500000 kB\n"), "488 MiB");
        says(merging("1\n"), "KSM");
    }
}
