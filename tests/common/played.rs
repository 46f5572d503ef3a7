//! A run on a host that is pretended, and what it said.
#![allow(dead_code, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use super::header::header;
use kvmtune::change::Journal;
use kvmtune::event::{End, Event, RunHeader, TrialRecord};
use kvmtune::experiment::Experiment;
use kvmtune::host::fake::FakeHost;
use kvmtune::host::{Cancel, Host};
use kvmtune::runner::{self, Task, ThisBoot};
use kvmtune::simulation::Machine;
use kvmtune::workload::Places;
use std::time::Duration;

/// What a run said.
pub(crate) struct Said {
    pub(crate) header: RunHeader,
    pub(crate) trials: Vec<TrialRecord>,
    pub(crate) notices: Vec<String>,
    /// Starts of the guest.
    pub(crate) starts: usize,
    pub(crate) end: End,
}

/// A host that holds what the experiment's machine does.
pub(crate) fn host(experiment: &Experiment) -> FakeHost {
    let machine = Machine::of(experiment);
    let values = machine.values.iter().map(|(a, v)| (a.clone(), v.as_str()));
    FakeHost::new(values)
}

/// Runs all blocks of the experiment on the host.
pub(crate) fn play(host: &mut dyn Host, experiment: &Experiment, cancel: &Cancel) -> Said {
    let header = header(experiment, &Machine::of(experiment).facts, 1);
    let state = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(state.path()).unwrap();
    let places = Places {
        scratch: "/dev/vdb".into(),
        ..Places::default()
    };
    let task = Task {
        header: &header,
        places: &places,
        records: Vec::new(),
        to_the_end: true,
        boot: ThisBoot::default(),
        spent: Duration::ZERO,
        cancel,
    };
    let (mut trials, mut notices, mut starts) = (Vec::new(), Vec::new(), 0);
    let mut sink = |event: &Event| {
        match event {
            Event::TrialFinished { record } => trials.push((**record).clone()),
            Event::Notice { text } => notices.push(text.clone()),
            Event::GuestStarting { .. } => starts += 1,
            _ => {}
        }
        Ok(())
    };
    let end = runner::run(host, &mut journal, &task, &mut sink).unwrap();
    Said {
        header,
        trials,
        notices,
        starts,
        end,
    }
}
