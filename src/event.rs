//! What happens in a run, as data: the protocol between the runner, the store and every reporter.
//!
//! Serialisable, no formatting, no effects.

use crate::analysis::{Noise, Stop};
use crate::design::{BootAt, Plan, TreatmentId};
use crate::experiment::{MetricId, Protocol};
use crate::facts::Facts;
use crate::workload::Observation;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Names a run; sorts by time (UUID version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(pub uuid::Uuid);

impl RunId {
    /// Twelve hex digits of the random tail, as shown in tables.
    pub fn short(&self) -> String {
        let text = self.0.simple().to_string();
        text[20..].to_string()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        uuid::Uuid::parse_str(text).map(Self)
    }
}

/// What a run is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Purpose {
    /// To compare the treatments of an experiment.
    #[default]
    Sweep,
    /// To measure the noise of this host: the baseline against itself.
    Noise,
    /// To measure the winner of another run again, with the baseline, on fresh guests.
    Confirm {
        /// The run that found the winner.
        of: RunId,
    },
    /// To measure a confirmed winner without each of its settings, on fresh guests; the winner is its baseline.
    Ablate {
        /// The confirmation of that winner.
        of: RunId,
    },
    /// One factor of an experiment that goes from factor to factor.
    Stage {
        /// Number of the stage, from 1.
        number: u32,
        /// How many there are; they share one error rate.
        of: u32,
        /// The run of the first stage; `None` in that run itself.
        first: Option<RunId>,
    },
}

/// What an A/A run said of this host, as it stood when another run began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The A/A run.
    pub run: RunId,
    /// When it was started.
    pub started: Timestamp,
    /// The response it is about.
    pub metric: MetricId,
    /// What was found.
    pub noise: Noise,
    /// How long one trial took.
    pub trial: Duration,
}

/// What a run is of: written once, before its first trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunHeader {
    /// Its id.
    pub run: RunId,
    /// When it was started.
    pub started: Timestamp,
    /// Version of kvmtune.
    pub version: String,
    /// Name of the experiment.
    pub experiment: String,
    /// Name of the experiment file as given.
    pub file: String,
    /// The whole experiment file, so that the run can be read and resumed without it.
    pub text: String,
    /// What it is for.
    pub purpose: Purpose,
    /// The newest certificate of the same question on the same host.
    pub certificate: Option<Certificate>,
    /// What is run and how it is judged.
    pub protocol: Protocol,
    /// The plan that is followed.
    pub plan: Plan,
    /// Host and guest as found.
    pub facts: Facts,
}

/// One application of one treatment in one block.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Trial {
    /// Number of the block; 0 is discarded.
    pub block: u32,
    /// Counts the guest starts of the run: trials with the same number shared one.
    pub boot: u32,
    /// Position in the run, from 0.
    pub order: u32,
    /// The treatment.
    pub treatment: TreatmentId,
}

/// At which step a trial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Starting the guest.
    Start,
    /// Writing the settings.
    Apply,
    /// Reading the settings back.
    Verify,
    /// Making the workload's disk ready.
    Prepare,
    /// Running the workload.
    Measure,
    /// Reading the workload's output.
    Parse,
}

/// A setting that did not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The place.
    pub address: String,
    /// The value that was written.
    pub wanted: String,
    /// The value that was read.
    pub found: String,
    /// True when it held before the measurement and not after it.
    pub during: bool,
    /// Programs that ran and are known to set such places.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<String>,
}

/// How a trial ended: never a zero, never a missing row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// The settings held before and after; these are the numbers.
    Measured {
        /// At least one.
        observations: Vec<Observation>,
        /// What the host did not see of what a workload says, in words: the numbers count, and are suspect.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        suspect: Vec<String>,
    },
    /// No numbers.
    Failed {
        /// Where.
        stage: Stage,
        /// What failed, on what.
        message: String,
    },
    /// The numbers are those of a workload that never settled: kept, and not judged.
    Unsteady {
        /// At least one.
        observations: Vec<Observation>,
        /// Which workload, and what it did.
        message: String,
    },
    /// The settings did not hold, so whatever was measured is not of this treatment.
    Invalid {
        /// At least one.
        drift: Vec<Drift>,
    },
}

/// Where the time of a trial went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Timing {
    /// From the first read of old values to the last restored value, without guest starts and what a workload's disk
    /// was made ready by.
    pub total: Duration,
    /// The workloads' own wall time, as clocked beside the command.
    pub workload: Duration,
    /// Reading old values, journal and writing.
    pub apply: Duration,
    /// Reading back, before and after.
    pub verify: Duration,
    /// Restoring and reading back.
    pub restore: Duration,
}

/// What one workload of one trial left, as it was: one for its numbers and, where the tool writes them to a file of
/// their own, one for its samples after that; all again when it was run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawOutput {
    /// The workload's name.
    pub workload: String,
    /// Result file, or standard output where there is none; or the series.
    pub content: Vec<u8>,
}

/// A finished trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Which one.
    pub trial: Trial,
    /// When it began.
    pub started: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Where the time went.
    pub timing: Timing,
    /// What the tools printed.
    #[serde(skip)]
    pub raw: Vec<RawOutput>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// All blocks of the plan.
    Complete,
    /// What was asked is answered: the blocks that are left would not change it.
    Answered {
        /// What the answer is.
        stop: Stop,
    },
    /// The time budget was used up; whole blocks were measured.
    TimeBudget,
    /// Interrupted by the user; the host was restored.
    Interrupted,
    /// What comes next needs another boot of the host; everything else is restored.
    AwaitsReboot {
        /// The boot of the plan that comes next.
        next: BootAt,
    },
    /// Stopped because the host could not be restored.
    NotRestored,
    /// Stopped because too many trials failed in a row.
    Failing,
}

/// Everything a runner says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// Before the first trial of a new run.
    RunStarted {
        /// What it is of.
        header: Box<RunHeader>,
    },
    /// A run goes on where it stopped.
    RunResumed {
        /// Its id.
        run: RunId,
        /// Number of trials that are done.
        done: u32,
        /// Number of judged blocks it is to have now.
        blocks: u32,
    },
    /// A treatment is measured no more.
    TreatmentDropped {
        /// Which one.
        treatment: TreatmentId,
        /// After this block.
        block: u32,
        /// The treatment it is worse than.
        leader: TreatmentId,
    },
    /// The guest is being started.
    GuestStarting {
        /// Number of this start in the run.
        boot: u32,
    },
    /// A trial begins.
    TrialStarted {
        /// Which one.
        trial: Trial,
    },
    /// A trial ended; it is in the store before anybody else hears of it.
    TrialFinished {
        /// The record.
        record: Box<TrialRecord>,
    },
    /// Something the user should know.
    Notice {
        /// A sentence.
        text: String,
    },
    /// The run is over and the host is as the end says.
    RunFinished {
        /// How.
        end: End,
    },
}
