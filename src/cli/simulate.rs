//! `--simulate MODEL`: an experiment and its model joined to a host, for a new run and for one that goes on.

use super::draw_seed;
use super::failure::Failure;
use super::files;
use crate::diagnostic::Source;
use crate::event::{Purpose, RunHeader, TrialRecord};
use crate::experiment::Experiment;
use crate::facts::SIMULATED_MODEL;
use crate::host::{Position, SimulatedHost};
use crate::simulation::{self, Machine};
use crate::store::{RunSummary, Store};
use jiff::Timestamp;
use std::path::Path;
use std::time::Duration;

const HINT: &str =
    "name a model file, such as experiments/models/quickstart.toml; docs/FORMAT.md describes them";

/// A simulation about to begin.
pub(super) struct Begun {
    /// The experiment with workloads that the host understands.
    pub(super) experiment: Experiment,
    /// Of the order, and of the chance when the model has no seed of its own.
    pub(super) seed: u64,
    /// The model's machine.
    pub(super) host: SimulatedHost,
}

impl Begun {
    /// As a run takes them.
    pub(super) fn parts(self) -> (Experiment, Option<u64>, Option<SimulatedHost>) {
        (self.experiment, Some(self.seed), Some(self.host))
    }
}

/// The model in a file, for a new run of `experiment`.
pub(super) fn begin(file: &Path, experiment: &Experiment, seed: Option<u64>) -> Result<Begun, Failure> {
    let source = files::source(file, HINT)?;
    let seed = seed.or(experiment.seed).unwrap_or_else(draw_seed);
    let host = host(&source, experiment, seed, Position::start(Timestamp::now()))?;
    Ok(Begun {
        experiment: simulation::stand_in(experiment),
        seed,
        host,
    })
}

/// The host of a simulated run that goes on, from the record alone; nothing for a run on a machine.
pub(super) fn resume(
    store: &Store,
    experiment: Experiment,
    header: &RunHeader,
    done: &[TrialRecord],
) -> Result<(Experiment, Option<SimulatedHost>), Failure> {
    let record = &header.facts.record;
    let (Some(name), Some(text)) = (header.facts.simulated(), record.get(SIMULATED_MODEL)) else {
        return Ok((experiment, None));
    };
    let source = Source {
        name: name.into(),
        text: text.clone(),
    };
    let mut at = position(header, done);
    let before = before(store, header)?;
    for run in &before {
        let earlier = position(run, &store.trials(run.run)?);
        at.trials += earlier.trials;
        at.boots += earlier.boots;
    }
    let seed = before.first().unwrap_or(header).plan.seed;
    let host = host(&source, &experiment, seed, at)?;
    Ok((simulation::stand_in(&experiment), Some(host)))
}

/// The runs that led to this one on the same model, the first of them first: its chance goes on from theirs, or a
/// confirmation would see the luck of the selection again.
fn before(store: &Store, header: &RunHeader) -> Result<Vec<RunHeader>, Failure> {
    match header.purpose {
        Purpose::Sweep | Purpose::Noise | Purpose::Stage { first: None, .. } => Ok(Vec::new()),
        Purpose::Confirm { of } | Purpose::Ablate { of } => {
            let of = store.header(of)?;
            let mut runs = before(store, &of)?;
            runs.push(of);
            Ok(runs)
        }
        Purpose::Stage {
            number,
            first: Some(start),
            ..
        } => {
            let is_before = |run: &RunSummary| match run.purpose {
                Purpose::Stage { number: n, first, .. } => n < number && first.unwrap_or(run.run) == start,
                _ => false,
            };
            let runs = store.runs()?.into_iter().filter(is_before);
            runs.map(|run| Ok(store.header(run.run)?)).collect()
        }
    }
}

fn host(source: &Source, experiment: &Experiment, seed: u64, at: Position) -> Result<SimulatedHost, Failure> {
    let machine = Machine::of(experiment);
    let model = simulation::parse(source, experiment, &machine.facts)?;
    Ok(SimulatedHost::new(machine, model, seed, at))
}

/// After the last trial that is recorded.
fn position(header: &RunHeader, done: &[TrialRecord]) -> Position {
    let end = |trial: &TrialRecord| {
        let since = trial.started.duration_since(header.started);
        Duration::try_from(since).unwrap_or_default() + trial.timing.total
    };
    Position {
        started: header.started,
        elapsed: done.iter().map(end).max().unwrap_or_default(),
        trials: done.len() as u64,
        boots: done.iter().map(|t| u64::from(t.trial.boot)).max().unwrap_or(0),
    }
}
