//! The header of a run that nobody started.

use kvmtune::design::{Pace, Part, Plan};
use kvmtune::event::{Purpose, RunHeader, RunId};
use kvmtune::experiment::Experiment;
use kvmtune::facts::Facts;
use std::time::Duration;

/// Planned on a machine with these facts, where starts and trials cost nothing.
pub(crate) fn header(experiment: &Experiment, facts: &Facts, seed: u64) -> RunHeader {
    let pace = Pace {
        boot: Duration::ZERO,
        overhead: Duration::ZERO,
    };
    let plan = Plan::new(experiment, facts, Part::Whole, pace, seed);
    RunHeader {
        run: RunId(uuid::Uuid::nil()),
        started: jiff::Timestamp::UNIX_EPOCH,
        version: "0".into(),
        experiment: experiment.name.clone(),
        file: experiment.source.name.clone(),
        text: experiment.source.text.clone(),
        purpose: Purpose::Sweep,
        certificate: None,
        protocol: experiment.protocol(),
        plan: plan.unwrap_or_else(|e| panic!("{e}")),
        facts: facts.clone(),
    }
}
