//! Runs on a host that is only described, with a record that is made up.

use super::*;
use crate::design::{Pace, Part, Plan};
use crate::diagnostic::Source;
use crate::event::{Purpose, RunId};
use crate::experiment::parse;
use crate::host::{Position, SimulatedHost};
use crate::simulation::{self, Machine};
use crate::workload::{Library, Observation};
use std::time::Duration;

const EXPERIMENT: &str = "
    [factor]
    tunable = \"guest.thp\"
    levels = [\"always\"]
    baseline = \"never\"
    [workload]
    use = \"fio-randread-4k\"
    [design]
    blocks = { min = 6, max = 8 }
";
const FASTER: &str = "
    [noise]
    cv = \"1%\"
    [[effect]]
    set = { \"guest.thp\" = \"always\" }
    metric = \"iops\"
    change = \"+20%\"
";

/// The end and the events of a run that begins with one recorded block, in which the candidate had this many IOPS.
fn goes_on(iops: f64) -> (End, Vec<Event>) {
    let source = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    let written = parse(&source("some.toml", EXPERIMENT), &Library::builtin()).unwrap();
    let experiment = simulation::stand_in(&written);
    let machine = Machine::of(&written);
    let model = simulation::parse(&source("model.toml", FASTER), &written, &machine.facts).unwrap();
    let pace = Pace {
        boot: Duration::ZERO,
        overhead: Duration::ZERO,
    };
    let plan = Plan::new(&experiment, &machine.facts, Part::Whole, pace, 1).unwrap();
    let started: jiff::Timestamp = "2026-07-01T10:00:00Z".parse().unwrap();
    let header = RunHeader {
        run: RunId(uuid::Uuid::nil()),
        started,
        version: String::new(),
        experiment: "some".into(),
        file: "some.toml".into(),
        text: String::new(),
        purpose: Purpose::Sweep,
        certificate: None,
        protocol: experiment.protocol(),
        plan,
        facts: machine.facts.clone(),
    };
    let trial = |(block, treatment): (u32, usize)| TrialRecord {
        trial: Trial {
            block,
            boot: 1,
            order: 2 * block + u32::try_from(treatment).unwrap(),
            treatment: header.plan.treatments[treatment].id.clone(),
        },
        started,
        outcome: Outcome::Measured {
            suspect: Vec::new(),
            observations: vec![Observation {
                workload: "fio-randread-4k".into(),
                metric: "iops".into(),
                value: if treatment == 0 { 5000.0 } else { iops },
            }],
        },
        timing: Timing::default(),
        raw: Vec::new(),
    };
    let records: Vec<_> = [(0, 0), (0, 1), (1, 0), (1, 1)].into_iter().map(trial).collect();
    let task = Task {
        header: &header,
        places: &Places::default(),
        records,
        to_the_end: false,
        boot: ThisBoot::default(),
        spent: Duration::ZERO,
        cancel: &Cancel::default(),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(folder.path()).unwrap();
    let mut host = SimulatedHost::new(machine, model, 1, Position::start(started));
    let mut events = Vec::new();
    let mut sink = |event: &Event| {
        events.push(event.clone());
        Ok(())
    };
    let end = run(&mut host, &mut journal, &task, &mut sink).unwrap();
    (end, events)
}

fn trials(events: &[Event]) -> usize {
    let finished = events.iter().filter(|e| matches!(e, Event::TrialFinished { .. }));
    finished.count()
}

#[test]
fn a_run_ends_as_soon_as_it_is_answered() {
    let (end, events) = goes_on(6000.0);
    assert!(matches!(end, End::Answered { .. }), "{end:?}");
    assert!(
        trials(&events) < 14 && trials(&events) >= 10,
        "{}",
        trials(&events)
    );
}

#[test]
fn a_number_that_cannot_be_judged_does_not_end_the_run() {
    let (end, events) = goes_on(-1.0);
    assert_eq!(end, End::Complete);
    assert_eq!(trials(&events), 14, "seven further blocks");
    let notices: Vec<_> = events
        .iter()
        .filter(|e| matches!(e, Event::Notice { .. }))
        .collect();
    assert_eq!(notices.len(), 1, "said once: {notices:?}");
}
