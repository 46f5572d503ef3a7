//! A pretended host that can be booted, and sittings on it as the command line's.

use crate::header::header as planned;
use kvmtune::across::{self, Arrival, Departure, State};
use kvmtune::change::*;
use kvmtune::diagnostic::Source;
use kvmtune::event::{End, Event, RunHeader, TrialRecord};
use kvmtune::experiment;
use kvmtune::host::fake::FakeHost;
use kvmtune::host::{Cancel, JobOutput, NextBoot};
use kvmtune::runner::{self, Task};
use kvmtune::simulation::Machine;
use kvmtune::workload::{Library, Places};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

pub(super) const REPORT: &[u8] = include_bytes!("../data/fio-randread.json");
pub(super) const OWN: &str = "root=/dev/vda1 transparent_hugepage=madvise quiet";
pub(super) const EXPERIMENT: &str = "
    allow = [\"lockout\"]
    guest = { kind = \"host\", scratch = \"/var/tmp/kvmtune.dat\" }
    [[factor]]
    tunable = \"host.boot.transparent-hugepage\"
    levels = [\"never\"]
    [[factor]]
    tunable = \"boot:skew_tick\"
    levels = [\"1\"]
    [[factor]]
    tunable = \"host.swappiness\"
    levels = [10]
    baseline = 60
    [workload]
    use = \"fio-randread-4k\"
    time = \"1s\"
    warmup = \"0s\"
    [design]
    blocks = 2
";

pub(super) fn header() -> RunHeader {
    let source = Source {
        name: "across.toml".into(),
        text: EXPERIMENT.into(),
    };
    let experiment = experiment::parse(&source, &Library::builtin()).unwrap_or_else(|e| panic!("{e}"));
    let mut machine = Machine::of(&experiment);
    let host = boot_readings(&machine);
    machine.facts.readings.extend(host);
    planned(&experiment, &machine.facts, 5)
}

/// What the host's own command line says.
pub(super) fn boot_readings(machine: &Machine) -> Vec<(String, String)> {
    let boots = machine.values.iter().filter_map(|(address, _)| match address {
        kvmtune::tunable::Address::HostBoot(parameter) => {
            Some((address.to_string(), parameter.value_in(OWN)))
        }
        _ => None,
    });
    boots.collect()
}

pub(super) fn host(header: &RunHeader) -> FakeHost {
    let live = header.plan.treatments[0].live.iter();
    let values: Vec<_> = live.map(|s| (s.address.clone(), s.value.to_string())).collect();
    let mut host = FakeHost::new(values.iter().map(|(a, v)| (a.clone(), v.as_str())));
    host.set_command_line(OWN);
    prepare(&mut host);
    host
}

pub(super) fn prepare(host: &mut FakeHost) {
    host.set_jobs(|_, _| {
        Ok(JobOutput {
            wall: Duration::from_secs(1),
            result: Some(REPORT.to_vec()),
            ..JobOutput::default()
        })
    });
}

/// A child of another test's holds every open file for a moment, and with it the lock.
pub(super) fn open(dir: &Path) -> Journal {
    for _ in 0..500 {
        match Journal::open(dir) {
            Err(ChangeError::Locked { .. }) => std::thread::sleep(Duration::from_millis(10)),
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked", dir.display())
}

pub(super) const RECORDS: &str = "records.jsonl";

pub(super) fn records(dir: &Path) -> Vec<TrialRecord> {
    let text = fs::read_to_string(dir.join(RECORDS)).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a sitting came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sat {
    /// The host is to be rebooted.
    Reboot,
    /// The run and the host are as they should be.
    Over,
    /// The host was not rebooted since.
    Waits,
}

/// One sitting, as the command line's: what this boot is for, then what comes next.
pub(super) fn sit(host: &mut FakeHost, dir: &Path, header: &RunHeader, spoil: &dyn Fn(&mut Journal)) -> Sat {
    let mut journal = open(dir);
    spoil(&mut journal);
    let state = match across::arrive(host, &mut journal, dir).unwrap() {
        Arrival::Fresh => None,
        Arrival::Booted(state) => Some(state),
        Arrival::Over(_) => return Sat::Over,
        Arrival::NotRebooted(_) => return Sat::Waits,
        Arrival::StillChanged(..) => return Sat::Reboot,
    };
    journal.require_clean().unwrap();
    let task = Task {
        header,
        places: &Places::default(),
        records: records(dir),
        to_the_end: true,
        boot: across::this_boot(state.as_ref(), header.run),
        spent: Duration::ZERO,
        cancel: &Cancel::default(),
    };
    let mut sink = |event: &Event| {
        if let Event::TrialFinished { record } = event {
            let mut file = fs::File::options()
                .create(true)
                .append(true)
                .open(dir.join(RECORDS))?;
            writeln!(file, "{}", serde_json::to_string(record)?)?;
        }
        Ok(())
    };
    let end = runner::run(host, &mut journal, &task, &mut sink).unwrap();
    let state = state.unwrap_or_else(|| State::new(header.run, dir.into(), place()));
    match end {
        End::AwaitsReboot { next } => {
            across::depart(host, &mut journal, dir, state, &header.plan, next).unwrap();
            Sat::Reboot
        }
        _ => match across::give_back(host, &mut journal, dir, &state).unwrap() {
            Departure::AsFound => Sat::Over,
            Departure::OneMoreBoot(_) => Sat::Reboot,
        },
    }
}

pub(super) fn place() -> NextBoot {
    NextBoot::File("/simulated".into())
}

/// Sits and boots until the run is over; the number of reboots.
pub(super) fn to_the_end(host: &mut FakeHost, dir: &Path, header: &RunHeader) -> usize {
    for reboots in 0..100 {
        match sit(host, dir, header, &|_| {}) {
            Sat::Over => return reboots,
            Sat::Reboot => host.reboot(),
            Sat::Waits => panic!("it was rebooted"),
        }
    }
    panic!("it never ends");
}

/// The host has its own command line, now and next, and nothing is kept of the run.
pub(super) fn is_given_back(host: &FakeHost, dir: &Path, case: &str) {
    let boot = host.state().boot.clone().unwrap();
    assert_eq!((boot.line.as_str(), boot.next.as_deref()), (OWN, None), "{case}");
    assert_eq!(host.state().host, boot.defaults, "{case}");
    assert!(!across::path(dir).exists(), "{case}");
    assert!(open(dir).is_clean(), "{case}");
}
