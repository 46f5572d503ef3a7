//! What is judged: responses with their direction, guards, and metrics computed from others.

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

/// Stands for the workload of a derived metric.
pub const DERIVED: &str = "derived";

/// A metric computed from others of the same trial, so that its ratio is one of that trial and not of averages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Derived {
    /// Its name.
    pub name: String,
    /// Its unit.
    pub unit: String,
    /// Its direction.
    pub goal: Goal,
    /// How it is computed.
    pub formula: Formula,
}

/// How a derived metric is computed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Formula {
    /// The first by the second.
    Ratio(MetricId, MetricId),
    /// All multiplied.
    Product(Vec<MetricId>),
    /// All added.
    Sum(Vec<MetricId>),
}

impl Formula {
    /// The metrics it is computed from.
    pub fn metrics(&self) -> Vec<&MetricId> {
        match self {
            Self::Ratio(over, under) => vec![over, under],
            Self::Product(all) | Self::Sum(all) => all.iter().collect(),
        }
    }

    /// The value, from those of other metrics; `None` where one is missing, or the result is not finite.
    pub fn value(&self, of: impl Fn(&MetricId) -> Option<f64>) -> Option<f64> {
        let value = match self {
            Self::Ratio(over, under) => of(over)? / of(under)?,
            Self::Product(all) => all.iter().map(of).product::<Option<f64>>()?,
            Self::Sum(all) => all.iter().map(of).sum::<Option<f64>>()?,
        };
        value.is_finite().then_some(value)
    }
}
