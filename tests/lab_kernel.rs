//! Every tunable of a kernel, of its links and of commands in the guest: changed, proven and given back in the lab; and how
//! fast many are given back.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[path = "common/mod.rs"]
mod common;
#[path = "common/own_lab.rs"]
mod own_lab;

use kvmtune::change::{Change, Journal, Outcome, with_treatment};
use kvmtune::experiment::Company;
use kvmtune::facts::Facts;
use kvmtune::host::Host;
use kvmtune::tunable::{
    Activation, Address, Home, Kind, Offer, Setting, Tunable, catalogue, level, lookup, offer,
};
use own_lab::OwnLab;
use std::fmt::Write;
use std::time::Duration;

struct Bench {
    lab: OwnLab,
    facts: Facts,
    journal: Journal,
}

impl Bench {
    fn open() -> Option<Self> {
        let mut lab = OwnLab::open(&Company::default())?;
        let host = &mut lab.host;
        let mut facts = host.facts().unwrap();
        let addresses: Vec<_> = kernel_tunables()
            .flat_map(|t| t.addresses_to_read(&facts))
            .collect();
        let read = host.read_all(&addresses);
        let readings = addresses
            .iter()
            .zip(read)
            .filter_map(|(a, raw)| Some((a.to_string(), raw.ok()?)));
        facts.readings.extend(readings);
        let fixed: Vec<_> = addresses.iter().filter(|a| host.is_read_only(a)).collect();
        facts.read_only = fixed.iter().map(ToString::to_string).collect();
        Some(Self {
            facts,
            journal: Journal::open(lab.state.path()).unwrap(),
            lab,
        })
    }

    /// What is read of an address, or why it is not there.
    fn reading(&mut self, address: &Address) -> Option<String> {
        self.lab
            .host
            .read(address)
            .ok()
            .map(|raw| address.selected(&raw).to_string())
    }

    fn change(&mut self, settings: &[Setting]) -> Result<Duration, String> {
        let change = Change {
            settings,
            activation: Activation::Live,
        };
        let done = with_treatment(&mut self.lab.host, &mut self.journal, &change, |_| ())
            .map_err(|e| e.to_string())?;
        match done.outcome {
            Outcome::Held(()) => Ok(done.timings.restore),
            other => Err(format!("{other:?}")),
        }
    }
}

/// Settings of a kernel, a link or a command, changed while the guest runs.
fn kernel_tunables() -> impl Iterator<Item = &'static Tunable> {
    let elsewhere = |t: &&Tunable| matches!(t.home, Home::Domain(_) | Home::DomainXml(_) | Home::HostBoot(_));
    catalogue().iter().filter(move |t| !elsewhere(t))
}

/// A level near the one that is set, which every kernel takes.
fn another(tunable: &Tunable, now: Option<&str>, choices: &[String]) -> String {
    // Values the kernel ties to others, or to what the machine has.
    let special = match tunable.name.rsplit_once('.').map_or("", |(_, tail)| tail) {
        "max-sectors-kb" => Some("512"),
        "mtu" => Some("1400"),
        "tcp-mem" => Some("4000 6000 8000"),
        "ip-local-port-range" => Some("33000 60000"),
        "default-qdisc" => Some("pfifo_fast"),
        "qdisc" => Some("pfifo"),
        "conntrack-max" => Some("40000"),
        "conntrack-timeout-established" => Some("7200"),
        "2MiB" | "overcommit" => Some("3"),
        "node0" if !tunable.name.contains("1GiB") => Some("3"),
        "1GiB" => Some("0"),
        "netdev-budget-usecs" => Some("16000"),
        "dirty-bytes" | "dirty-background-bytes" => Some("64MiB"),
        // A page of 1 GiB may not be granted; that is another test's.
        "node0" if tunable.name.contains("1GiB") => Some("0"),
        // The governor of a CPU, the clock of a guest: what is offered.
        _ => None,
    };
    if let Some(text) = special {
        return text.into();
    }
    if let Some(other) = choices.iter().find(|c| Some(c.as_str()) != now) {
        return other.clone();
    }
    let number = now.and_then(|now| now.parse::<i64>().ok());
    match (&tunable.kind, number) {
        (Kind::Integer { min, max }, Some(now)) => {
            let nearby = [now / 2, now + 1, now - 1];
            nearby
                .into_iter()
                .find(|n| (*min..=*max).contains(n) && *n != now)
                .unwrap()
                .to_string()
        }
        (Kind::Bytes { min, max }, Some(now)) => {
            let now = u64::try_from(now).unwrap();
            [now / 2, now + 4096, 1 << 26]
                .into_iter()
                .find(|n| (*min..=*max).contains(n) && *n != now)
                .unwrap()
                .to_string()
        }
        (Kind::Sizes { .. }, _) => "8192 65536 1048576".into(),
        other => panic!("{}: {other:?} {now:?}", tunable.name),
    }
}

#[test]
fn every_setting_of_a_kernel_is_proven_and_given_back() {
    let Some(mut bench) = Bench::open() else { return };
    let (mut told, mut failed, mut proven) = (String::new(), String::new(), 0);
    for tunable in kernel_tunables() {
        let (now, choices) = match offer(tunable, &bench.facts) {
            Offer::Available { now, choices } => (now, choices),
            Offer::Unavailable { why } => {
                let _ = writeln!(told, "{}: not here: {why}", tunable.name);
                continue;
            }
        };
        let text = another(tunable, now.as_deref(), &choices);
        if now.as_deref() == Some(text.as_str()) {
            let _ = writeln!(
                told,
                "{}: not changed, this machine takes only {text}",
                tunable.name
            );
            continue;
        }
        let settings = match level(tunable, &text, &bench.facts) {
            Ok(level) => level.settings,
            Err(error) => panic!("{} = {text}: {error}", tunable.name),
        };
        let before: Vec<_> = settings.iter().map(|s| bench.reading(&s.address)).collect();
        match bench.change(&settings) {
            Ok(_) => proven += 1,
            // What a kernel offers and refuses: without a performance counter there is no such watchdog.
            Err(why) if tunable.name == "guest.nmi-watchdog" && why.contains("524") => {
                let _ = writeln!(told, "{}: refused by the kernel", tunable.name);
                continue;
            }
            Err(why) => {
                let _ = writeln!(failed, "{} = {text}: {why}", tunable.name);
            }
        }
        let after: Vec<_> = settings.iter().map(|s| bench.reading(&s.address)).collect();
        assert_eq!(before, after, "{} is given back", tunable.name);
        let now = now.unwrap_or("no module".into());
        let _ = writeln!(told, "{}: proven {now} -> {text} -> {now}", tunable.name);
    }
    eprintln!("{told}{proven} settings of a kernel proven and given back");
    assert_eq!(failed, "");
    assert!(proven > 90, "{proven}");
}

/// Settings of both kernels that nothing else depends on.
const MANY: [(&str, &str); 30] = [
    ("host.swappiness", "61"),
    ("host.vfs-cache-pressure", "101"),
    ("host.dirty-expire-centisecs", "3001"),
    ("host.dirty-writeback-centisecs", "501"),
    ("host.stat-interval", "2"),
    ("host.page-cluster", "2"),
    ("host.net.tcp-rmem", "4096 65536 1048576"),
    ("host.net.tcp-wmem", "4096 65536 1048576"),
    ("host.net.tcp-fin-timeout", "59"),
    ("host.net.tcp-keepalive-time", "7100"),
    ("host.disk.read-ahead-kb", "256"),
    ("host.disk.nomerges", "1"),
    ("guest.swappiness", "61"),
    ("guest.vfs-cache-pressure", "101"),
    ("guest.dirty-expire-centisecs", "3001"),
    ("guest.dirty-writeback-centisecs", "501"),
    ("guest.stat-interval", "2"),
    ("guest.page-cluster", "2"),
    ("guest.net.rmem-max", "1MiB"),
    ("guest.net.wmem-max", "1MiB"),
    ("guest.net.tcp-rmem", "4096 65536 1048576"),
    ("guest.net.tcp-wmem", "4096 65536 1048576"),
    ("guest.net.tcp-fin-timeout", "59"),
    ("guest.net.tcp-keepalive-time", "7100"),
    ("guest.net.netdev-max-backlog", "1001"),
    ("guest.net.somaxconn", "4095"),
    ("guest.net.txqueuelen", "999"),
    ("guest.disk.read-ahead-kb", "256"),
    ("guest.disk.nomerges", "1"),
    ("guest.thp", "never"),
];

#[test]
fn many_settings_are_given_back_together() {
    let Some(mut bench) = Bench::open() else { return };
    let settings: Vec<_> = MANY
        .iter()
        .flat_map(|(name, text)| {
            level(&lookup(name).unwrap(), text, &bench.facts)
                .unwrap()
                .settings
        })
        .collect();
    assert_eq!(settings.len(), MANY.len());
    let (mut together, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        together.push(bench.change(&settings).unwrap());
        let each = settings
            .iter()
            .map(|s| bench.change(std::slice::from_ref(s)).unwrap());
        alone.push(each.sum::<Duration>());
    }
    together.sort();
    alone.sort();
    eprintln!(
        "{} live settings given back in {:.0?} (median of 5; at most {:.0?}); one at a time it takes {:.0?}",
        settings.len(),
        together[2],
        together[4],
        alone[2]
    );
    assert!(together[0] < alone[0], "{together:?} {alone:?}");
}
