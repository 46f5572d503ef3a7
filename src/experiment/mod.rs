//! What the user asked for, checked in itself but not yet against a host.
//!
//! Pure: knows names, levels and budgets; whether this host offers them is decided by `design` from facts.

mod file;
mod response;

pub(crate) use file::metric;
pub use file::parse;
pub use response::{Goal, Guard, MetricId, Response};

use crate::diagnostic::Source;
use crate::tunable::Tunable;
use crate::units::{Bytes, Percent, Span};
use crate::workload::Workload;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// A whole experiment file.
#[derive(Debug, Clone, PartialEq)]
pub struct Experiment {
    /// A short name: letters, digits, `-`, `_`.
    pub name: String,
    /// What the experiment is to answer, in the user's words.
    pub question: Option<String>,
    /// Where the workloads run.
    pub guest: Guest,
    /// What is changed.
    pub factors: Vec<Factor>,
    /// What is run in each trial, in this order, with the experiment's times put in.
    pub workloads: Vec<Workload>,
    /// What a winner is chosen by.
    pub response: Response,
    /// What must not get worse.
    pub guards: Vec<Guard>,
    /// How treatments are made of levels, and how many blocks are run.
    pub design: Design,
    /// When to stop at the latest, checked between blocks.
    pub time_budget: Option<Span>,
    /// Seed of the order; drawn at the start of a run when absent.
    pub seed: Option<u64>,
    /// The file as read, for messages and for the record.
    pub source: Source,
}

/// Everything of an experiment that a run needs besides its plan; kept with the run, so that it can be resumed and
/// judged without the files it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Protocol {
    /// What the experiment is to answer.
    pub question: Option<String>,
    /// Where the workloads run.
    pub guest: Guest,
    /// What is run in each trial.
    pub workloads: Vec<Workload>,
    /// What a winner is chosen by.
    pub response: Response,
    /// What must not get worse.
    pub guards: Vec<Guard>,
    /// The margin of *equivalent*.
    pub smallest_effect: Percent,
    /// When to stop at the latest.
    pub time_budget: Option<Span>,
}

impl Experiment {
    /// What a run needs besides its plan.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            question: self.question.clone(),
            guest: self.guest.clone(),
            workloads: self.workloads.clone(),
            response: self.response.clone(),
            guards: self.guards.clone(),
            smallest_effect: self.design.smallest_effect,
            time_budget: self.time_budget,
        }
    }
}

impl Protocol {
    /// The unit of a metric; empty when it is unknown.
    pub fn unit(&self, id: &MetricId) -> &str {
        let workload = self.workloads.iter().find(|w| w.name == id.workload);
        let metric = workload.and_then(|w| w.metrics.iter().find(|m| m.name == id.metric));
        metric.map_or("", |m| m.unit.as_str())
    }
}

/// Where the workloads run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guest {
    /// The embedded default: a small guest of kvmtune's own.
    Lab {
        /// Number of vCPUs.
        vcpus: u16,
        /// Memory.
        memory: Bytes,
        /// Size of the data disk.
        disk: Bytes,
    },
    /// An existing libvirt domain.
    Domain {
        /// The domain's name.
        name: String,
        /// Connection URI.
        connect: String,
        /// Target name of its data disk (`vdb`); the first disk when absent.
        disk: Option<String>,
        /// A file in the guest that disk workloads may overwrite; never a device.
        scratch: Option<String>,
    },
}

/// A text with its place in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Byte range in the file.
    pub span: Range<usize>,
}

/// One thing that is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Factor {
    /// What is set.
    pub tunable: Tunable,
    /// Its levels.
    pub levels: Levels,
    /// The level everything is compared with; what is set now when absent.
    pub baseline: Option<Text>,
    /// Where the factor stands in the file.
    pub span: Range<usize>,
}

/// The levels of a factor as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Levels {
    /// A list.
    Listed(Vec<Text>),
    /// `"available"`: all that host and guest offer.
    Available(Range<usize>),
}

/// How treatments are made and how often they are repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// How levels are combined.
    pub kind: DesignKind,
    /// Number of measured blocks; one more is run first and discarded.
    pub blocks: u32,
    /// Differences smaller than this are of no interest: the margin of *equivalent*.
    pub smallest_effect: Percent,
}

/// How the levels of several factors are combined to treatments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesignKind {
    /// Every combination of levels.
    FullFactorial,
    /// The baseline, and each other level of each factor alone.
    OneAtATime,
}
