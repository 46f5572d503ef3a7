//! Workloads: what is run in a trial, and how its output becomes observations.
//!
//! Knows tools and their outputs; does not know treatments, blocks or statistics.

mod argv;
mod bounded;
mod cyclictest;
mod extract;
mod file;
mod fio;
mod histogram;
mod iperf3;
mod job_file;
mod library;
mod measure;
mod moved;
mod numbers;
mod path;
mod prepare;
mod series;
mod stress_ng;

pub use extract::{Extract, Spot};
pub(crate) use file::whole_seconds;
pub use file::{parse, parse_beside};
pub(crate) use job_file::program;
pub use job_file::{JobFile, JobFiles, MAX_JOB_FILE};
pub use library::Library;
pub use measure::{MeasureError, ParseError, Places};
pub use moved::Moved;
pub use path::{PathMeasured, path_job, path_measured};
pub use prepare::{Prepare, PrepareWhen};

use crate::experiment::Goal;
use crate::units::{Bytes, Percent, Span};
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
    /// cyclictest's JSON with histograms.
    Cyclictest,
    /// Nothing but what the workload's own extracts say.
    Exec,
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

/// Whose page cache is written back and dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropCaches {
    /// Nobody's.
    #[default]
    Off,
    /// The guest's.
    Guest,
    /// The whole host's.
    Host,
    /// The guest's, then the host's.
    Both,
}

impl DropCaches {
    /// True when nothing is dropped.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub fn is_off(&self) -> bool {
        *self == Self::Off
    }
}

/// Whether what a workload says it moved is held against the host's counters.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrossCheck {
    /// It is not.
    #[default]
    Off,
    /// So much of it may be missing there.
    Within(Percent),
}

/// What becomes of a trial whose numbers the host's counters do not bear out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspect {
    /// It counts, and reports say so.
    #[default]
    Counts,
    /// It has failed.
    Fails,
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
    /// Numbers that are cut out of the output beside those the parser gives.
    #[serde(default)]
    pub extracts: Vec<Extract>,
    /// Programs besides the first of `argv` that must be there where it runs.
    #[serde(default)]
    pub programs: Vec<String>,
    /// What it gives.
    pub metrics: Vec<Metric>,
    /// What must hold of the observations for the trial to count.
    pub requirements: Vec<Requirement>,
    /// How it is told whether it settled; runs recorded without this did not ask.
    #[serde(default)]
    pub steady: SteadyRule,
    /// What is put into its folder before it starts: a job file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<JobFile>,
    /// What makes its disk ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<Prepare>,
    /// Whose page cache is dropped before it starts.
    #[serde(default, skip_serializing_if = "DropCaches::is_off")]
    pub drop_caches: DropCaches,
    /// How far the host's counters may be from what it says it moved; runs recorded without this did not ask.
    #[serde(default)]
    pub cross_check: CrossCheck,
    /// What becomes of a trial in which they are farther.
    #[serde(default)]
    pub suspect: Suspect,
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tool_tests;
