//! A simulated host with one place of every kind, and changes of all of them, for the sweeps.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::change::*;
use kvmtune::host::fake::{FakeHost, FakeState};
use kvmtune::host::{Host, HostError, Job, Power, Scope};
use kvmtune::tunable::{
    Activation, Address, DomainSetting, Format, Kind, ParameterGroup, Setting, XmlSetting,
};
use kvmtune::units::Bytes;
use kvmtune::workload::Side;
use std::path::Path;
use std::time::Duration;

pub fn host_file(path: &str, format: Format) -> Address {
    Address::HostFile {
        path: path.into(),
        format,
    }
}

pub fn guest_file(path: &str, format: Format) -> Address {
    Address::GuestFile {
        path: path.into(),
        format,
    }
}

pub fn setting(address: Address, value: &str) -> Setting {
    let kind = Kind::Words;
    Setting::own(address, kind.parse(value).unwrap(), kind)
}

/// Every place of the simulated host, its value before, and one it is changed to.
pub fn places() -> Vec<(Address, &'static str, &'static str)> {
    vec![
        (host_file("/sys/pool", Format::Plain), "0", "512"),
        (Address::DomainXml(XmlSetting::DiskIo), "threads", "native"),
        (Address::DomainXml(XmlSetting::DiskCache), "writeback", "none"),
        (
            host_file("/sys/queue/scheduler", Format::Bracketed),
            "mq-deadline",
            "bfq",
        ),
        (
            host_file("/proc/sys/net/ipv4/tcp_rmem", Format::Plain),
            "4096\t131072\t6291456",
            "4096 65536 1048576",
        ),
        (Address::GuestModule("bfq".into()), "absent", "loaded"),
        (
            guest_file("/sys/queue/scheduler", Format::Bracketed),
            "none",
            "bfq",
        ),
        (guest_file("/proc/sys/vm/swappiness", Format::Plain), "60", "10"),
        (
            Address::Domain(DomainSetting::Parameter(
                ParameterGroup::Scheduler,
                "cpu_shares".into(),
            )),
            "1024",
            "2048",
        ),
    ]
}

/// How many of the places belong to the whole plot; the others are live.
pub const COLD: usize = 3;

pub fn settings() -> Vec<Setting> {
    let changed = places().into_iter().map(|(address, _, to)| setting(address, to));
    changed.collect()
}

pub fn fresh_host() -> FakeHost {
    let mut host = FakeHost::new(places().into_iter().map(|(address, from, _)| (address, from)));
    offer(&mut host);
    host
}

/// What a kernel would offer is not part of the state that is kept.
pub fn offer(host: &mut FakeHost) {
    host.offer(
        &host_file("/sys/queue/scheduler", Format::Bracketed),
        &["none", "mq-deadline", "bfq"],
    );
    host.offer(
        &guest_file("/sys/queue/scheduler", Format::Bracketed),
        &["none", "bfq"],
    );
}

pub fn job() -> Job {
    Job {
        side: Side::Guest,
        argv: vec!["true".into()],
        server: None,
        expected: Duration::ZERO,
        limit: Duration::from_secs(1),
        max_output: Bytes(1),
        series: None,
        files: Vec::new(),
        drop_caches: kvmtune::workload::DropCaches::Off,
    }
}

pub fn cold(settings: &[Setting]) -> Change<'_> {
    Change {
        settings,
        activation: Activation::DomainRestart,
    }
}

pub fn live(settings: &[Setting]) -> Change<'_> {
    Change {
        settings,
        activation: Activation::Live,
    }
}

/// A whole plot with two trials in it, each running one job.
pub fn split_plot(host: &mut dyn Host, journal: &mut Journal) -> Result<(), ChangeError> {
    let settings = settings();
    let (whole, split) = settings.split_at(COLD);
    let done = with_treatment(host, journal, &cold(whole), |plot| {
        for _ in 0..2 {
            plot.nested(&live(split), |trial| trial.run(&job()).is_ok())?;
        }
        Ok(())
    })?;
    match done.outcome {
        Outcome::Held(ended) | Outcome::Drifted { value: ended, .. } => ended,
        Outcome::NotInEffect(_) => Ok(()),
        Outcome::Failed { value, .. } => value.unwrap_or(Ok(())),
    }
}

/// Reaches a simulated host as recovery does a real one.
pub struct FakeRestorer<'h>(pub &'h mut FakeHost);

impl Restorer for FakeRestorer<'_> {
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError> {
        let state = self.0.state();
        let exists = match scope {
            Scope::Domain { instance, .. } => state.on && state.instance.to_string() == *instance,
            Scope::Boot { .. } | Scope::Network { .. } | Scope::Definition { .. } => true,
        };
        Ok(exists.then_some(self.0 as &mut dyn Host))
    }

    fn end(&mut self, _: &SessionUndo) -> Result<(), HostError> {
        self.0.power(Power::Off)
    }
}

/// What differs from `before`, save what a stop of the guest takes with it; empty when all is restored.
pub fn difference(before: &FakeState, now: &FakeState) -> String {
    let running = match now {
        _ if !now.on => now.running.clone(),
        _ if now.instance == before.instance => before.running.clone(),
        _ => now
            .defaults
            .iter()
            .chain(&now.pending)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect(),
    };
    // The kernel and `Kind` spell the blanks of a list differently.
    let plain = |map: &std::collections::BTreeMap<String, String>| {
        let canonical = map
            .iter()
            .map(|(k, v)| (k.clone(), v.split_whitespace().collect::<Vec<_>>().join(" ")));
        canonical.collect::<Vec<_>>()
    };
    let parts = [
        ("host", &before.host, &now.host),
        ("definition", &before.pending, &now.pending),
        ("guest", &running, &now.running),
    ];
    let differing = parts.iter().filter(|(_, was, is)| plain(was) != plain(is));
    let told: Vec<_> = differing
        .map(|(name, was, is)| format!("{name}: {was:?} became {is:?}"))
        .collect();
    told.join("; ")
}

/// Recovers and checks that nothing is left.
pub fn recover_all(dir: &Path, host: &mut FakeHost, before: &FakeState, case: &str) {
    let mut journal = Journal::open(dir).unwrap();
    let report = recover(&mut journal, &mut FakeRestorer(host)).unwrap();
    assert!(report.is_complete(), "{case}: {report:?}");
    assert!(journal.is_clean(), "{case}");
    assert_eq!(difference(before, host.state()), "", "{case}: {report:?}");
}
