//! What the user asked for, checked in itself but not yet against a host.
//!
//! Pure: knows names, levels and budgets; whether this host offers them is decided by `design` from facts.

mod file;
mod neighbour;
mod response;
mod ssh;
mod weigh;

pub use file::parse;
pub(crate) use file::{metric, metrics};
pub use neighbour::{BARRIER, BitRate, BitRateError, Company, LongPath, Neighbour, SKEW};
pub use response::{DERIVED, Derived, Formula, Goal, Guard, MetricId, Response};
pub use ssh::SshTarget;
pub use weigh::{Constraint, WEIGHTED, Weighed, Weight};

use crate::design::Guests;
use crate::diagnostic::Source;
use crate::telemetry::{HOST, HostMetric};
use crate::tunable::{Hazard, Tunable};
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
    /// Which trials share a start of it, beside those that need one of their own.
    pub fresh: Guests,
    /// Dangers the user takes on.
    pub allow: Vec<Hazard>,
    /// What is changed.
    pub factors: Vec<Factor>,
    /// What is run in each trial, in this order, with the experiment's times put in.
    pub workloads: Vec<Workload>,
    /// Metrics computed from others, in each trial.
    pub derived: Vec<Derived>,
    /// What a winner is chosen by, the most important first; never empty.
    pub responses: Vec<Response>,
    /// What must not get worse.
    pub guards: Vec<Guard>,
    /// Limits that a winner must keep in itself.
    pub constraints: Vec<Constraint>,
    /// The treatments of an explicit design, the baseline first; empty in others.
    pub treatments: Vec<ListedTreatment>,
    /// How treatments are made of levels, and how many blocks are run.
    pub design: Design,
    /// When to stop at the latest, checked between blocks.
    pub time_budget: Option<Span>,
    /// What a reboot of the host takes, for the expected duration.
    pub reboot: Span,
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
    /// Metrics computed from others, in each trial.
    pub derived: Vec<Derived>,
    /// What a winner is chosen by, the most important first; never empty.
    pub responses: Vec<Response>,
    /// What must not get worse.
    pub guards: Vec<Guard>,
    /// Limits that a winner must keep in itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub constraints: Vec<Constraint>,
    /// When claims may be made.
    pub stopping: Stopping,
    /// The margin of *equivalent*.
    pub smallest_effect: Percent,
    /// When to stop at the latest.
    pub time_budget: Option<Span>,
}

impl Experiment {
    /// The guest's own workloads, then those of its neighbours.
    pub fn every_workload(&self) -> Vec<Workload> {
        self.workloads.iter().chain(self.guest.loads()).cloned().collect()
    }

    /// Puts one weighted response in the place of its responses.
    pub fn weigh(&mut self, weighed: Vec<Weighed>) {
        weigh::weigh(&mut self.derived, &mut self.responses, weighed);
    }

    /// What a run needs besides its plan.
    pub fn protocol(&self) -> Protocol {
        Protocol {
            question: self.question.clone(),
            guest: self.guest.clone(),
            workloads: self.workloads.clone(),
            derived: self.derived.clone(),
            responses: self.responses.clone(),
            guards: self.guards.clone(),
            constraints: self.constraints.clone(),
            stopping: self.design.stopping,
            smallest_effect: self.design.smallest_effect,
            time_budget: self.time_budget,
        }
    }
}

impl Protocol {
    /// The response a winner is ranked by.
    pub fn response(&self) -> &Response {
        &self.responses[0]
    }

    /// The responses that a weighted one is made of, where weights were stated.
    pub fn weighed(&self) -> Option<&[Weighed]> {
        weigh::weighed(&self.derived, &self.responses)
    }

    /// Puts one weighted response in the place of its responses.
    pub fn weigh(&mut self, weighed: Vec<Weighed>) {
        weigh::weigh(&mut self.derived, &mut self.responses, weighed);
    }

    /// What treatments are good at: the responses, or those that a weighted one is made of.
    pub fn aims(&self) -> Vec<Response> {
        match self.weighed() {
            None => self.responses.clone(),
            Some(weighed) => weighed
                .iter()
                .map(|w| Response {
                    metric: w.metric.clone(),
                    goal: w.goal,
                })
                .collect(),
        }
    }

    /// Every metric that is judged: responses, guards, constraints, and what derived metrics are made of.
    pub fn named_metrics(&self) -> impl Iterator<Item = &MetricId> {
        let responses = self.responses.iter().map(|r| &r.metric);
        let guards = self.guards.iter().map(|g| &g.metric);
        let constraints = self.constraints.iter().map(|c| &c.metric);
        let derived = self.derived.iter().flat_map(|d| d.formula.metrics());
        responses.chain(guards).chain(constraints).chain(derived)
    }

    /// The guest's own workloads, then those of its neighbours.
    fn all_workloads(&self) -> impl Iterator<Item = &Workload> {
        self.workloads.iter().chain(self.guest.loads())
    }

    /// A metric's name in reports: with its workload where several give one of that name, and those of the host.
    pub fn name_of(&self, id: &MetricId) -> String {
        if id.workload == HOST {
            return id.to_string();
        }
        let own = self.all_workloads().flat_map(|w| &w.metrics).map(|m| &m.name);
        let all = own.chain(self.derived.iter().map(|d| &d.name));
        if all.filter(|name| **name == id.metric).count() > 1 {
            id.to_string()
        } else {
            id.metric.clone()
        }
    }

    /// The unit of a metric; empty when it is unknown.
    pub fn unit(&self, id: &MetricId) -> &str {
        if id.workload == DERIVED {
            let derived = self.derived.iter().find(|d| d.name == id.metric);
            return derived.map_or("", |d| d.unit.as_str());
        }
        if id.workload == HOST {
            return HostMetric::named(&id.metric).map_or("", |m| m.unit);
        }
        if id.workload == BARRIER {
            return "ms";
        }
        let workload = self.all_workloads().find(|w| w.name == id.workload);
        let metric = workload.and_then(|w| w.metrics.iter().find(|m| m.name == id.metric));
        metric.map_or("", |m| m.unit.as_str())
    }
}

/// Where the workloads run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
        /// Whether it is reached by ssh, not by its agent.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        ssh: bool,
        /// Who else is in the lab.
        #[serde(default, skip_serializing_if = "Company::is_none")]
        company: Company,
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
        /// Its ssh server, when it is reached by that and not by its agent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ssh: Option<SshTarget>,
    },
    /// None: the workloads run on the host itself.
    Host {
        /// A file on the host that disk workloads may overwrite; never a device.
        scratch: Option<String>,
    },
}

impl Default for Guest {
    /// The lab's guest that a file without a guest gets.
    fn default() -> Self {
        Self::Lab {
            vcpus: 2,
            memory: Bytes::mib(512),
            disk: Bytes::mib(256),
            ssh: false,
            company: Company::default(),
        }
    }
}

impl Guest {
    /// The neighbours beside it.
    pub fn neighbours(&self) -> &[Neighbour] {
        match self {
            Self::Lab { company, .. } => &company.neighbours,
            Self::Domain { .. } | Self::Host { .. } => &[],
        }
    }

    /// What the neighbours run beside each trial's workload.
    pub fn loads(&self) -> impl Iterator<Item = &Workload> {
        self.neighbours().iter().filter_map(|n| n.workload.as_ref())
    }

    /// True when the host's end of the guest's network is a network of its own.
    pub fn has_private_network(&self) -> bool {
        matches!(self, Self::Lab { .. })
    }
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

impl Factor {
    /// True when its levels are computed from the network between host and guest.
    pub fn needs_measured_network(&self) -> bool {
        matches!(self.levels, Levels::Suggested(_))
            && self.tunable.rule().is_some_and(|rule| rule.needs_network())
    }

    /// The texts it names: its levels and its baseline.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let listed = match &self.levels {
            Levels::Listed(texts) => texts.as_slice(),
            Levels::Available(_) | Levels::Suggested(_) => &[],
        };
        listed.iter().chain(&self.baseline)
    }
}

/// The levels of a factor as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Levels {
    /// A list.
    Listed(Vec<Text>),
    /// `"available"`: all that host and guest offer.
    Available(Range<usize>),
    /// `"suggested"`: what is worth trying here, computed from facts.
    Suggested(Range<usize>),
}

/// One treatment of an explicit design as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedTreatment {
    /// What it is called in reports.
    pub name: Option<String>,
    /// The factor, by its place, and the level it has; other factors have the first treatment's level.
    pub levels: Vec<(usize, Text)>,
    /// Where the treatment stands in the file.
    pub span: Range<usize>,
}

/// How treatments are made and how often they are repeated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Design {
    /// How levels are combined.
    pub kind: DesignKind,
    /// When claims may be made.
    pub stopping: Stopping,
    /// Number of measured blocks at the most; one more is run first and discarded.
    pub blocks: u32,
    /// Differences smaller than this are of no interest: the margin of *equivalent*.
    pub smallest_effect: Percent,
    /// Blocks of the confirmation that follows a winner, [`CONFIRMING`] or more; `None` when there is to be none.
    pub confirm: Option<u32>,
}

/// The fewest blocks of a confirmation that something is adopted on, and what one has unless more are asked for.
pub const CONFIRMING: u32 = 12;

/// When claims may be made while the blocks of a run grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Stopping {
    /// Once, when all blocks are done.
    Fixed,
    /// At looks from the first to the last of these numbers of blocks.
    Looks {
        /// Blocks of the first look.
        min: u32,
        /// Blocks of the last planned look.
        max: u32,
    },
    /// After every block.
    Anytime,
}

/// How the levels of several factors are combined to treatments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesignKind {
    /// Every combination of levels.
    FullFactorial,
    /// The baseline, and each other level of each factor alone.
    OneAtATime,
    /// One factor after the other, each from the best proven so far.
    OneFactor,
    /// The treatments that are listed.
    Explicit,
    /// Two treatments.
    AB,
}
