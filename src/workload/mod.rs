//! Workloads: what is run in a trial, and how its output becomes observations.
//!
//! Knows tools and their outputs; does not know treatments, blocks or statistics.

mod argv;
mod file;
mod fio;
mod iperf3;
mod library;
mod measure;
mod numbers;
mod path;
mod series;
mod stress_ng;

pub use file::parse;
pub(crate) use file::whole_seconds;
pub use library::Library;
pub use measure::{MeasureError, ParseError, Places};
pub use path::{PathMeasured, path_job, path_measured};

use crate::experiment::Goal;
use crate::units::{Bytes, Span};
use serde::{Deserialize, Serialize};

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Inside the guest.
    Guest,
    /// On the host (in the lab: inside its private network namespace).
    Host,
    /// In the first neighbour of the lab: a server for traffic between two guests.
    Neighbour,
}

/// Which parser reads the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parser {
    /// fio's JSON.
    Fio,
    /// iperf3's JSON.
    Iperf3,
    /// stress-ng's YAML.
    StressNg,
    /// A flat JSON object of names and numbers.
    Numbers,
}

/// How the samples of a trial are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SteadyRule {
    /// MSER-5 tells what to leave out at the start; what is left must have no trend.
    Mser5,
    /// Five rounds that range over 20 % of their mean at most and move by 10 % of it at most.
    Snia,
    /// Not at all.
    #[default]
    Off,
}

/// A command that must be running before the workload starts and is ended with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Where it runs.
    pub side: Side,
    /// Program and arguments, with placeholders.
    pub argv: Vec<String>,
    /// The TCP port that must be listening before the workload starts.
    pub port: u16,
}

/// One workload file, or one entry of the built-in set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Its name: the file's name without `.toml`.
    pub name: String,
    /// What it does, in one line.
    pub summary: String,
    /// Where `argv` runs.
    pub side: Side,
    /// Program and arguments; `{time}`, `{warmup}` (whole seconds), `{scratch}`, `{result}`, `{series}`,
    /// `{guest-address}`, `{host-address}`, `{neighbour-address}` are replaced inside each argument, never through a shell.
    pub argv: Vec<String>,
    /// A counterpart that runs beside it.
    pub server: Option<Server>,
    /// Measured time.
    pub time: Span,
    /// Discarded time before it.
    pub warmup: Span,
    /// Time beyond warm-up and time after which the trial is failed.
    pub grace: Span,
    /// Largest output taken; more fails the trial.
    pub max_output: Bytes,
    /// Who reads the output.
    pub parser: Parser,
    /// What it gives.
    pub metrics: Vec<Metric>,
    /// What must hold of the observations for the trial to count.
    pub requirements: Vec<Requirement>,
    /// How it is told whether it settled; runs recorded without this did not ask.
    #[serde(default)]
    pub steady: SteadyRule,
}

/// One metric of a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name, e.g. `iops`.
    pub name: String,
    /// Its unit, e.g. `1/s`, `us`, `bit/s`.
    pub unit: String,
    /// Its direction.
    pub goal: Goal,
}

/// A condition on one observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// The metric's name.
    pub metric: String,
    /// Smallest value that counts.
    pub min: Option<f64>,
    /// Largest value that counts.
    pub max: Option<f64>,
}

/// One number of one trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observation {
    /// The workload's name.
    pub workload: String,
    /// The metric's name.
    pub metric: String,
    /// The value, finite, in the metric's unit.
    pub value: f64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
