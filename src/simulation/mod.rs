//! A machine that is only described: what every metric would be under which settings, with its noise, luck and drift.
//!
//! Pure: the same experiment, model and seed give the same numbers. Knows settings and metrics; does not know who asks
//! for them, nor blocks or the order of trials.

mod file;
mod machine;
#[cfg(test)]
mod tests;
mod truth;

pub use file::parse;
pub use machine::Machine;
pub use truth::{Moment, Truth};

use crate::diagnostic::Source;
use crate::experiment::{Experiment, Guest, MetricId};
use crate::facts::NetworkFacts;
use crate::telemetry;
use crate::tunable::Setting;
use crate::units::Span;
use crate::workload::{DropCaches, Parser, SteadyRule, Workload};

/// The program that stands for every tool in the arguments of a simulated workload; its argument is the workload.
pub const PROGRAM: &str = "simulate";

/// What must be known beside every number of a simulation.
pub const NOTICE: &str = "simulated: these numbers are of a model, not of a machine";

/// The known truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// Every metric of the experiment's workloads.
    pub metrics: Vec<Metric>,
    /// What settings change.
    pub effects: Vec<Effect>,
    /// Share of the trials that fail.
    pub failures: f64,
    /// What a trial takes beside its workloads.
    pub trial: Span,
    /// What a start of the guest takes.
    pub boot: Span,
    /// Seed of all chance in it; the plan's when absent.
    pub seed: Option<u64>,
    /// What would be measured between host and guest.
    pub network: Option<NetworkFacts>,
    /// The file as read, for messages and for the record.
    pub source: Source,
}

/// One metric of one workload.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Which one.
    pub id: MetricId,
    /// Its median where no effect holds.
    pub value: f64,
    /// How it varies.
    pub noise: Noise,
}

/// How a metric varies; all shares are of the metric, as standard deviations of its logarithm.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Noise {
    /// From trial to trial.
    pub cv: f64,
    /// The shape of that.
    pub tail: Tail,
    /// From one start of the guest to the next; shared by the trials under one start.
    pub boot: f64,
    /// Steady change of the logarithm in an hour.
    pub drift: f64,
    /// Wandering, stationary: an autoregressive process over the trials.
    pub wander: f64,
    /// Correlation of that from one trial to the next.
    pub lag1: f64,
}

/// The shape of the noise from trial to trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tail {
    /// Normal.
    #[default]
    Normal,
    /// Student's t with three degrees of freedom, scaled to the same deviation: finite variance, infinite kurtosis.
    T3,
}

/// What a metric changes by while all of some settings hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Effect {
    /// All must hold.
    pub settings: Vec<Setting>,
    /// The metric.
    pub metric: MetricId,
    /// Added to the metric's logarithm.
    pub log_change: f64,
}

/// The workloads, and the host after them where something of it is judged: on a machine that is only described its
/// numbers are described too.
fn described(experiment: &Experiment) -> Vec<Workload> {
    let beside = experiment.guest.loads().cloned();
    measured(experiment).into_iter().chain(beside).collect()
}

/// The same without those of the neighbours.
fn measured(experiment: &Experiment) -> Vec<Workload> {
    let protocol = experiment.protocol();
    let judged: Vec<_> = protocol.named_metrics().cloned().collect();
    let like = experiment.workloads.first();
    let is_there = experiment.workloads.iter().any(|w| w.name == telemetry::HOST);
    let host = like
        .filter(|_| !is_there)
        .and_then(|like| telemetry::stand_in(&judged, like));
    experiment.workloads.iter().cloned().chain(host).collect()
}

/// The experiment with workloads that a simulated host understands: same names, metrics and times, nothing to run. What
/// they require of numbers that no model gives is dropped.
#[must_use]
pub fn stand_in(experiment: &Experiment) -> Experiment {
    let workload = |w: &Workload| Workload {
        argv: vec![PROGRAM.into(), w.name.clone()],
        server: None,
        parser: Parser::Numbers,
        extracts: Vec::new(),
        programs: Vec::new(),
        requirements: Vec::new(),
        steady: SteadyRule::Off,
        files: Vec::new(),
        prepare: None,
        drop_caches: DropCaches::Off,
        ..w.clone()
    };
    let mut guest = experiment.guest.clone();
    if let Guest::Lab { company, .. } = &mut guest {
        for neighbour in &mut company.neighbours {
            neighbour.workload = neighbour.workload.as_ref().map(workload);
        }
    }
    Experiment {
        workloads: measured(experiment).iter().map(workload).collect(),
        guest,
        ..experiment.clone()
    }
}
