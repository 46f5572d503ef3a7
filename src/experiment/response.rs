//! What is judged: responses with their direction, guards, and metrics computed from others.

use super::weigh::{Weighed, mean};
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
    /// How evenly they are shared: Jain's index, 1 when all are equal, 1/n when one has all there is. R. Jain, D. Chiu,
    /// W. Hawe, "A Quantitative Measure of Fairness and Discrimination for Resource Allocation in Shared Computer
    /// Systems", DEC TR-301, 1984.
    Fairness(Vec<MetricId>),
    /// Several responses as one, by their weights.
    Weighted(Vec<Weighed>),
}

impl Formula {
    /// The metrics it is computed from.
    pub fn metrics(&self) -> Vec<&MetricId> {
        match self {
            Self::Ratio(over, under) => vec![over, under],
            Self::Product(all) | Self::Sum(all) | Self::Fairness(all) => all.iter().collect(),
            Self::Weighted(all) => all.iter().map(|one| &one.metric).collect(),
        }
    }

    /// The value, from those of other metrics; `None` where one is missing, or the result is not finite.
    pub fn value(&self, of: impl Fn(&MetricId) -> Option<f64>) -> Option<f64> {
        let value = match self {
            Self::Ratio(over, under) => of(over)? / of(under)?,
            Self::Product(all) => all.iter().map(of).product::<Option<f64>>()?,
            Self::Sum(all) => all.iter().map(of).sum::<Option<f64>>()?,
            Self::Weighted(all) => mean(all, of)?,
            Self::Fairness(all) => jain(&all.iter().map(of).collect::<Option<Vec<_>>>()?),
        };
        value.is_finite().then_some(value)
    }
}

/// (sum of x)² / (n · sum of x²); not finite when all are zero.
fn jain(shares: &[f64]) -> f64 {
    // Scaled first, so that squares neither overflow nor vanish: the index does not depend on the unit.
    let most = shares.iter().copied().fold(0.0, f64::max);
    let scaled = || shares.iter().map(|x| x / most);
    let squares: f64 = scaled().map(|x| x * x).sum();
    #[expect(clippy::cast_precision_loss, reason = "at most eight")]
    let n = shares.len() as f64;
    scaled().sum::<f64>().powi(2) / (n * squares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jains_index_tells_equal_shares_from_unequal_ones() {
        let near = |shares: &[f64], index: f64| (jain(shares) - index).abs() < 1e-12;
        assert!(near(&[5.0, 5.0, 5.0], 1.0));
        assert!(near(&[7.0, 0.0, 0.0, 0.0], 0.25));
        // The example of the report: one of ten users gets nothing.
        assert!(near(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0], 0.9));
        assert!(near(&[1.0, 2.0, 3.0], 36.0 / 42.0));
        assert!(near(&[1e200, 3e200], 16.0 / 20.0));
        assert!(!jain(&[0.0, 0.0]).is_finite());
    }
}
