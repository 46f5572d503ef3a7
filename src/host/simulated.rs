//! A host whose guest gives the numbers of a model, on a clock that runs as fast as it is read.
//!
//! Changes nothing on this machine; does not know treatments, blocks or what is judged.

use super::fake::FakeHost;
use super::{BesideJob, Host, HostError, Job, JobOutput, Power, Scope, Together};
use crate::facts::{Facts, SIMULATED, SIMULATED_MODEL};
use crate::simulation::{Machine, Model, Moment, Truth};
use crate::tunable::{Address, Setting};
use jiff::Timestamp;
use std::time::Duration;

/// What a failing trial says.
const FAILURE: &str = "the model lets this trial fail";

/// Where a run stands: at its beginning, or where an earlier part of it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// When the run began.
    pub started: Timestamp,
    /// Time since then.
    pub elapsed: Duration,
    /// Trials so far.
    pub trials: u64,
    /// Starts of the guest so far.
    pub boots: u64,
}

impl Position {
    /// The beginning of a run that starts at this time.
    pub fn start(started: Timestamp) -> Self {
        Self {
            started,
            elapsed: Duration::ZERO,
            trials: 0,
            boots: 0,
        }
    }
}

/// A host that is only described.
pub struct SimulatedHost {
    machine: FakeHost,
    truth: Truth,
    /// Whose job begins a trial.
    first: String,
    at: Position,
}

impl SimulatedHost {
    /// The machine with the numbers of `model`, its chance from `seed` where the model has no seed of its own.
    pub fn new(machine: Machine, model: Model, seed: u64, at: Position) -> Self {
        let values = machine
            .values
            .iter()
            .map(|(a, value)| (a.clone(), value.as_str()));
        let mut host = FakeHost::new(values);
        for (one, other) in &machine.twins {
            host.twin(one, other);
        }
        for (address, words) in &machine.offers {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            host.offer(address, &words);
        }
        let mut facts = machine.facts;
        facts.network = model.network;
        let record = [
            (SIMULATED, &model.source.name),
            (SIMULATED_MODEL, &model.source.text),
        ];
        facts
            .record
            .extend(record.map(|(name, text)| (name.to_string(), text.clone())));
        host.set_facts(facts);
        let first = model.metrics.first().map(|m| m.id.workload.clone());
        let mut host = Self {
            machine: host,
            truth: Truth::new(model, seed),
            first: first.unwrap_or_default(),
            at,
        };
        // The first start is one to be waited for, as on a machine.
        host.set_off();
        host
    }

    /// What a trial takes beside its workloads.
    pub fn overhead(&self) -> Duration {
        self.truth.model().trial.0
    }

    /// Boots the host with these settings, which takes so long.
    pub fn reboot(&mut self, settings: &[Setting], time: Duration) {
        self.set_off();
        for setting in settings {
            self.machine
                .write(&setting.address, setting.value.as_str())
                .expect("a pretended host has every place of its plan");
        }
        self.at.elapsed += time;
    }

    fn set_off(&mut self) {
        self.machine
            .power(Power::Off)
            .expect("a pretended guest can always be turned off");
    }

    /// The number of this job's trial, from 0; the first workload begins a new one.
    fn trial_of(&mut self, workload: &str) -> u64 {
        if workload == self.first {
            self.at.trials += 1;
            self.at.elapsed += self.overhead();
        }
        self.at.trials.saturating_sub(1)
    }

    fn output(&mut self, workload: &str, moment: Moment) -> JobOutput {
        if workload == self.first && self.truth.fails(moment) {
            return JobOutput {
                exit: 1,
                stderr: FAILURE.into(),
                ..JobOutput::default()
            };
        }
        let state = self.machine.state();
        let numbers = self.truth.numbers(workload, moment, |setting| {
            let held = state.get(&setting.address);
            held.and_then(|raw| setting.canonical(raw)).as_ref() == Some(&setting.value)
        });
        let object: serde_json::Map<_, _> = numbers
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        JobOutput {
            stdout: serde_json::Value::from(object).to_string().into(),
            ..JobOutput::default()
        }
    }
}

impl Host for SimulatedHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        self.machine.facts()
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        self.machine.read(address)
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        self.machine.write(address, value)
    }

    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        self.machine.scope(address)
    }

    fn power(&mut self, power: Power) -> Result<(), HostError> {
        self.machine.forget_calls();
        let was_on = self.machine.state().on;
        self.machine.power(power)?;
        if power == Power::On && !was_on {
            self.at.boots += 1;
            self.at.elapsed += self.truth.model().boot.0;
        }
        Ok(())
    }

    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        self.machine.forget_calls();
        // Fails when the guest is off, as it would.
        self.machine.run(job)?;
        let workload = job.argv.get(1).cloned().unwrap_or_default();
        let moment = Moment {
            trial: self.trial_of(&workload),
            boot: self.at.boots,
            elapsed: self.at.elapsed,
        };
        let output = self.output(&workload, moment);
        self.at.elapsed += job.expected;
        Ok(JobOutput {
            wall: job.expected,
            ..output
        })
    }

    fn run_together(&mut self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let began = self.at.elapsed;
        let output = self.run(job)?;
        let ended = self.at.elapsed;
        let mut left = Vec::new();
        for other in beside {
            // They run in the same time.
            self.at.elapsed = began;
            left.push(self.run(&other.job)?);
        }
        self.at.elapsed = ended;
        Ok(Together {
            output,
            beside: left,
            skew: Duration::ZERO,
            alone: Duration::ZERO,
        })
    }

    fn pause(&mut self, time: Duration) {
        self.at.elapsed += time;
    }

    fn now(&mut self) -> Timestamp {
        let now = self.at.started.checked_add(self.at.elapsed);
        now.unwrap_or(Timestamp::MAX)
    }

    fn clock(&mut self) -> Duration {
        self.at.elapsed
    }
}
