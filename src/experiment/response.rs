//! What is judged: the response and its direction, and the guards.

use crate::units::Percent;
use serde::{Deserialize, Serialize};

/// The direction in which a metric is better; there is no default to forget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// More is better.
    Maximize,
    /// Less is better.
    Minimize,
}

/// The metric a winner is chosen by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// Which metric of which workload.
    pub metric: MetricId,
    /// Its direction.
    pub goal: Goal,
}

/// A metric that must not get worse by more than a margin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guard {
    /// Which metric of which workload.
    pub metric: MetricId,
    /// Its direction.
    pub goal: Goal,
    /// How much worse it may get.
    pub margin: Percent,
}

/// One metric of one workload, written `iops` or `fio-randread-4k.iops`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MetricId {
    /// The workload's name.
    pub workload: String,
    /// The metric's name.
    pub metric: String,
}

impl std::fmt::Display for MetricId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.workload, self.metric)
    }
}
