//! The machine an experiment asks for: facts and values made up so that every level it lists is offered.
//!
//! Knows the experiment alone; nothing of the machine it runs on.

use crate::experiment::{Experiment, Factor, Guest, Levels};
use crate::facts::{Facts, Node, Ram};
use crate::tunable::{
    ABSENT, Address, Coupling, CpuSet, DomainSetting, Format, Kind, Level, Requirement, XmlSetting,
    ambient_level, available_levels, catalogue, level, suggested_levels,
};
use crate::units::Bytes;
use std::collections::BTreeSet;

/// Enough for the pin generators to differ.
const FEWEST_CPUS: u16 = 8;
/// A domain of the user's is not looked at.
const DOMAIN_VCPUS: u16 = 2;
const DOMAIN_MEMORY: Bytes = Bytes::mib(2048);
/// Of each node.
const NODE_MEMORY: [Bytes; 2] = [Bytes::mib(1 << 20), Bytes::mib(1 << 19)];

/// What kernels set themselves, by the end of the address; other places hold the default of their tunable.
const DEFAULTS: [(&str, &str); 9] = [
    ("/queue/scheduler", "none"),
    ("/queue/read_ahead_kb", "128"),
    ("/transparent_hugepage/enabled", "madvise"),
    ("/transparent_hugepage/defrag", "madvise"),
    ("/net/ipv4/tcp_rmem", "4096 131072 6291456"),
    ("/net/ipv4/tcp_wmem", "4096 16384 4194304"),
    ("/net/ipv4/tcp_congestion_control", "cubic"),
    ("domain cpu_shares", "1024"),
    ("domain weight", "500"),
];
const UNKNOWN: &str = "0";

/// What is offered where the experiment asks for all that is available.
const CHOICES: [(&str, &[&str]); 8] = [
    ("/queue/scheduler", &["none", "mq-deadline", "kyber", "bfq"]),
    ("/transparent_hugepage/enabled", &["always", "madvise", "never"]),
    (
        "/transparent_hugepage/defrag",
        &["always", "defer", "madvise", "never"],
    ),
    (
        "/transparent_hugepage/shmem_enabled",
        &["always", "advise", "never"],
    ),
    ("/net/ipv4/tcp_congestion_control", &["reno", "cubic", "bbr"]),
    (
        "/cpufreq/scaling_governor",
        &["performance", "powersave", "schedutil"],
    ),
    (
        "/cpufreq/energy_performance_preference",
        &["performance", "balance_performance", "power"],
    ),
    ("/clocksource0/current_clocksource", &["tsc", "kvm-clock", "hpet"]),
];
/// What is offered of words nobody knows.
const TWO_WORDS: &[&str] = &["one", "other"];

/// A made-up host and guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// What it says of itself, its readings among it.
    pub facts: Facts,
    /// What each place holds before anything is changed.
    pub values: Vec<(Address, String)>,
    /// Places that take certain words only.
    pub offers: Vec<(Address, Vec<String>)>,
    /// Places of which writing one zeroes the other.
    pub twins: Vec<(Address, Address)>,
}

impl Machine {
    /// The machine on which `experiment` can be planned.
    pub fn of(experiment: &Experiment) -> Self {
        let mut machine = Self {
            facts: bare_facts(experiment),
            values: Vec::new(),
            offers: Vec::new(),
            twins: Vec::new(),
        };
        for factor in &experiment.factors {
            machine.furnish(factor);
        }
        machine
    }

    /// Gives the machine every place that the factor's levels are decided by.
    fn furnish(&mut self, factor: &Factor) {
        let tunable = &factor.tunable;
        let Ok(own) = tunable.address(&self.facts) else {
            return;
        };
        let words = words(factor, &own);
        let ambient = ambient(factor, &own, &self.facts);
        for address in tunable.addresses_to_read(&self.facts) {
            let raw = match &address {
                a if *a == own && is_bracketed(a) => bracketed(&words, &ambient),
                a if *a == own => ambient.clone(),
                a if Some(a) == tunable.choices_address(&self.facts).as_ref() => words.join(" "),
                other => match &tunable.coupling {
                    Some(Coupling::Twin { sysctl, fallback })
                        if other.to_string().ends_with(&sysctl.path()) =>
                    {
                        if ambient == "0" {
                            fallback.clone()
                        } else {
                            "0".into()
                        }
                    }
                    _ => default(other).to_string(),
                },
            };
            let known = self.values.iter().any(|(a, _)| *a == address);
            // The place itself is decided by its factor, whatever another one reads there.
            if known && address != own {
                continue;
            }
            self.values.retain(|(a, _)| *a != address);
            let held = address.selected(&raw).to_string();
            self.values.push((address.clone(), held));
            self.facts.readings.insert(address.to_string(), raw);
        }
        if is_bracketed(&own) {
            self.offers.push((own.clone(), words));
        }
        self.furnish_coupled(factor, &own);
    }

    /// Adds the places that are set along with the factor's own.
    fn furnish_coupled(&mut self, factor: &Factor, own: &Address) {
        let levels = texts(factor).filter_map(|text| level(&factor.tunable, text, &self.facts).ok());
        let settings: Vec<_> = levels.flat_map(|level| level.settings).collect();
        for setting in settings {
            if matches!(factor.tunable.coupling, Some(Coupling::Twin { .. })) && setting.address != *own {
                self.twins.push((own.clone(), setting.address.clone()));
            }
            if !self.values.iter().any(|(a, _)| *a == setting.address) {
                let is_module = matches!(setting.address, Address::GuestModule(_));
                let held = if is_module { "absent" } else { UNKNOWN };
                self.values.push((setting.address, held.into()));
            }
        }
    }
}

fn is_bracketed(address: &Address) -> bool {
    let (Address::HostFile { format, .. } | Address::GuestFile { format, .. }) = address else {
        return false;
    };
    *format == Format::Bracketed
}

fn bracketed(words: &[String], selected: &str) -> String {
    let shown = words.iter().map(|w| {
        if w == selected {
            format!("[{w}]")
        } else {
            w.clone()
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

/// The texts a factor names: its levels and its baseline.
fn texts(factor: &Factor) -> impl Iterator<Item = &str> {
    factor.texts().map(|t| t.text.as_str())
}

/// What a place that takes words is made to offer: the usual ones, and all the factor names.
fn words(factor: &Factor, own: &Address) -> Vec<String> {
    let usual = CHOICES.iter().find(|(end, _)| own.to_string().ends_with(end));
    let mut words: Vec<String> = usual
        .map_or(TWO_WORDS, |(_, w)| w)
        .iter()
        .map(ToString::to_string)
        .collect();
    let named = texts(factor).filter_map(|t| factor.tunable.canonical_level(t).ok());
    for word in named {
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

/// What the factor's place holds at first: as kernels do, or a value of the kind where that is none.
fn ambient(factor: &Factor, own: &Address, facts: &Facts) -> String {
    let usual = match own {
        Address::Domain(DomainSetting::VcpuPins) => {
            let all = |vcpu| format!("{vcpu}={}", facts.host_cpus);
            (0..facts.vcpus).map(all).collect::<Vec<_>>().join(" ")
        }
        Address::Domain(DomainSetting::EmulatorPin) => facts.host_cpus.to_string(),
        Address::DomainXml(XmlSetting::Topology) => format!("{}x1x1", facts.vcpus),
        other => default(other).to_string(),
    };
    let legal = |text: &&str| factor.tunable.kind.parse(text).is_ok();
    let first_choice = match &factor.tunable.kind {
        Kind::Choice(choices) => choices.first().map(String::as_str),
        _ => None,
    };
    let least = match &factor.tunable.kind {
        Kind::Integer { min, .. } => min.to_string(),
        Kind::Bytes { min, .. } => min.to_string(),
        Kind::Sizes { count, .. } => vec!["4096"; *count].join(" "),
        _ => UNKNOWN.into(),
    };
    let first_word = words(factor, own).into_iter().next();
    [
        Some(usual.as_str()).filter(|usual| *usual != UNKNOWN),
        factor.tunable.default.as_deref(),
        first_choice,
        first_word.as_deref().filter(|_| factor.tunable.lists_levels()),
        Some(UNKNOWN),
        Some("1"),
        Some(least.as_str()),
    ]
    .into_iter()
    .flatten()
    .chain(texts(factor))
    .find(legal)
    .unwrap_or(UNKNOWN)
    .to_string()
}

fn default(address: &Address) -> &'static str {
    match address {
        // As the lab's own guest has it: every way of submitting I/O is possible. A domain boots from its disk.
        Address::DomainXml(XmlSetting::DiskCache | XmlSetting::Kernel | XmlSetting::Initrd) => "none",
        Address::DomainXml(XmlSetting::DiskIo) => "threads",
        Address::DomainXml(XmlSetting::Hugepages) => "off",
        Address::DomainXml(XmlSetting::Machine) => "pc-q35-7.2",
        Address::DomainXml(XmlSetting::Emulator) => "/usr/bin/qemu-system-x86_64",
        Address::DomainXml(XmlSetting::DiskImage) => "/var/lib/libvirt/images/simulated.img",
        Address::HostBoot(_) => ABSENT,
        other => {
            let name = other.to_string();
            let known = DEFAULTS.iter().find(|(end, _)| name.ends_with(end));
            known.map_or(UNKNOWN, |(_, value)| value)
        }
    }
}

/// Two nodes, and as many CPUs and vCPUs as the experiment names.
fn bare_facts(experiment: &Experiment) -> Facts {
    let (vcpus, memory) = match &experiment.guest {
        Guest::Lab { vcpus, memory, .. } => (*vcpus, *memory),
        Guest::Domain { .. } => {
            let named = named_pins(experiment).map(|(vcpu, _)| vcpu + 1).max();
            (named.unwrap_or(0).max(DOMAIN_VCPUS), DOMAIN_MEMORY)
        }
        Guest::Host { .. } => (0, Bytes(0)),
    };
    let named = named_pins(experiment).filter_map(|(_, cpus)| cpus.iter().max());
    let cpus = named
        .map(|c| c + 1)
        .max()
        .unwrap_or(0)
        .max(FEWEST_CPUS)
        .max(vcpus);
    let node = |id: u16, cpus: std::ops::Range<u16>, memory| Node {
        id,
        cpus: cpus.collect(),
        memory,
        distances: [0, 1].map(|to| (to, if to == id { 10 } else { 21 })).into(),
    };
    let modules = needs(|need| match need {
        Requirement::Module(name) => Some(name),
        _ => None,
    });
    Facts {
        host_cpus: (0..cpus).collect(),
        siblings: (0..cpus).map(|cpu| [cpu].into_iter().collect()).collect(),
        nodes: vec![
            node(0, 0..cpus / 2, NODE_MEMORY[0]),
            node(1, cpus / 2..cpus, NODE_MEMORY[1]),
        ],
        vcpus,
        guest_memory: memory,
        host_ram: Some(unused(Bytes(NODE_MEMORY.iter().map(|node| node.0).sum()))),
        guest_ram: Some(unused(memory)),
        host_disk: Some("simulated".into()),
        guest_disk: Some("simulated".into()),
        guest_link: Some("simulated".into()),
        guest_nodes: 2,
        iothreads: 1,
        has: needs(|need| match need {
            Requirement::Has(what) => Some(what),
            _ => None,
        }),
        host_modules: modules.clone(),
        guest_modules: modules,
        ..Facts::default()
    }
}

/// Nothing else runs there.
fn unused(total: Bytes) -> Ram {
    Ram {
        total,
        available: total,
    }
}

/// All that some tunable needs: the machine lacks nothing.
fn needs(of: impl Fn(&'static Requirement) -> Option<&'static String>) -> BTreeSet<String> {
    let all = catalogue().iter().flat_map(|tunable| &tunable.needs);
    all.filter_map(of).cloned().collect()
}

/// Every vCPU with its CPUs in the pin maps of the experiment.
fn named_pins(experiment: &Experiment) -> impl Iterator<Item = (u16, CpuSet)> {
    let factors = experiment.factors.iter().filter(|f| f.tunable.kind == Kind::Pins);
    let maps = factors.flat_map(|f| texts(f).filter_map(|t| f.tunable.kind.parse(t).ok()));
    maps.flat_map(|map| {
        let pin = |pin: &str| {
            let (vcpu, cpus) = pin.split_once('=')?;
            // The largest number of all would overflow when counted up; no machine has it.
            let vcpu: u16 = vcpu.parse().ok().filter(|v| *v < 1024)?;
            let cpus: CpuSet = cpus.parse().ok()?;
            Some((vcpu, cpus.iter().filter(|c| *c < 4096).collect()))
        };
        map.as_str()
            .split_whitespace()
            .filter_map(pin)
            .collect::<Vec<_>>()
    })
}

/// Whether the factor has the level `text` here: listed, available, its baseline, or what is set when it has none.
pub(super) fn has_level(factor: &Factor, text: &str, facts: &Facts) -> bool {
    let Ok(wanted) = level(&factor.tunable, text, facts) else {
        return false;
    };
    let is_wanted = |found: Level| found.settings == wanted.settings;
    let named = texts(factor).any(|t| level(&factor.tunable, t, facts).is_ok_and(is_wanted));
    let ambient = factor.baseline.is_none() && ambient_level(&factor.tunable, facts).is_ok_and(is_wanted);
    let all = match factor.levels {
        Levels::Listed(_) => Vec::new(),
        Levels::Available(_) => available_levels(&factor.tunable, facts).unwrap_or_default(),
        Levels::Suggested(_) => suggested_levels(&factor.tunable, facts).unwrap_or_default(),
    };
    named || ambient || all.into_iter().any(is_wanted)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::design::{Pace, Part, Plan};
    use crate::diagnostic::Source;
    use crate::experiment::parse;
    use crate::tunable::Tunable;
    use crate::workload::Library;
    use std::time::Duration;

    fn plan(factor: &str) -> Result<Plan, crate::diagnostic::Diagnostics> {
        let source = Source {
            name: "x.toml".into(),
            text: format!(
                "allow = [\"data-loss\", \"security\", \"lockout\"]\n[[factor]]\n{factor}\n[workload]\nuse = \"stress-ng-memory\"\n"
            ),
        };
        let experiment = parse(&source, &Library::builtin()).unwrap();
        let pace = Pace {
            boot: Duration::ZERO,
            overhead: Duration::ZERO,
        };
        Plan::new(&experiment, &Machine::of(&experiment).facts, Part::Whole, pace, 1)
    }

    #[test]
    fn whatever_can_be_listed_is_available() {
        // A format goes with an image of it.
        let alone = |t: &&Tunable| t.lists_levels() && t.name != "domain.disk.format";
        for tunable in catalogue().iter().filter(alone) {
            for baseline in ["", "\nbaseline = \"none\""] {
                let legal = tunable.canonical_level("none").is_ok();
                if !baseline.is_empty() && (!legal || tunable.name.contains("thp")) {
                    continue;
                }
                let text = format!("tunable = \"{}\"\nlevels = \"available\"{baseline}", tunable.name);
                let plan = plan(&text).unwrap_or_else(|e| panic!("{}: {e}", tunable.name));
                assert!(
                    plan.treatments.len() >= 2,
                    "{}: {}",
                    tunable.name,
                    plan.treatments.len()
                );
            }
        }
    }

    #[test]
    fn every_listed_level_is_offered_with_and_without_a_baseline() {
        for (tunable, level) in [
            ("host.disk.scheduler", "my-own"),
            ("guest.disk.read-ahead-kb", "4096"),
            ("domain.disk.io", "io_uring"),
            ("domain.disk.cache", "directsync"),
            ("domain.memory.hugepages", "2MiB"),
            ("domain.cpu.pin", "0=12 1=3-5"),
            ("domain.cpu.shares", "2048"),
            ("domain.cpu.quota", "50000"),
            ("domain.blkio.weight", "100"),
            ("host.hugepages.2MiB", "64"),
            ("host.net.tcp-rmem", "4096 131072 32MiB"),
            ("guest.net.congestion-control", "vegas"),
            ("sysctl:vm.dirty_ratio", "40"),
            ("guest-sysctl:vm.swappiness", "10"),
            ("sysctl:kernel.numa_balancing", "1"),
        ] {
            let text = format!("tunable = \"{tunable}\"\nlevels = [\"{level}\"]");
            let plan = plan(&text).unwrap_or_else(|e| panic!("{tunable}: {e}"));
            assert_eq!(plan.treatments.len(), 2, "{tunable}");
            assert!(
                !plan.notices.iter().any(|n| n.contains("left out")),
                "{:?}",
                plan.notices
            );
        }
    }
}
