//! Claims other than "different": not worse by more than a margin, equivalent, or not resolved by the metric.
//! Does not know which of them a decision needs.

use serde::Serialize;

use super::comparison::{Effect, Series};
use super::ratio::log_ratios;
use super::{AnalysisError, Interval, Level, Sample, signed_rank_interval};
use crate::experiment::Goal;

/// How large a relative change is tolerated, as a share: 0.05 is 5 %.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Margin(f64);

impl Margin {
    /// Fails outside (0, 1).
    pub fn new(share: f64) -> Result<Self, AnalysisError> {
        if share > 0.0 && share < 1.0 {
            Ok(Self(share))
        } else {
            Err(AnalysisError::OutsideUnit {
                what: "margin",
                value: share,
            })
        }
    }

    /// One percent, the default for throughput and for equivalence.
    pub const ONE_PERCENT: Self = Self(0.01);

    /// The margin as a share.
    pub fn get(self) -> f64 {
        self.0
    }

    /// `ln(1 + margin)`, the margin as a log-ratio in either direction.
    pub fn log_ratio(self) -> f64 {
        self.0.ln_1p()
    }

    /// The log-ratio (positive is better) at which a metric is worse by just this margin: a p99 of 105 %, or a
    /// throughput of 95 %, for 5 %.
    pub fn worst(self, goal: Goal) -> f64 {
        match goal {
            Goal::Maximize => (-self.0).ln_1p(),
            Goal::Minimize => -self.0.ln_1p(),
        }
    }
}

/// A metric that must not get worse by more than its margin, with its pairs.
#[derive(Debug, Clone, PartialEq)]
pub struct Guard {
    /// The metric and its pairs.
    pub series: Series,
    /// How much worse is tolerated.
    pub margin: Margin,
}

/// What the data say about a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GuardOutcome {
    /// Shown not to be worse by the margin or more.
    Held,
    /// Shown to be worse by more than the margin.
    Failed,
    /// Neither is shown.
    Unproven,
}

/// A guard's effect, with a 90 % interval for 95 % one-sided bounds, and the outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuardReport {
    /// What was measured.
    pub effect: Effect,
    /// How much worse is tolerated.
    pub margin: Margin,
    /// What that means.
    pub outcome: GuardOutcome,
}

/// Non-inferiority: held if the one-sided lower bound lies above the margin. All guards of a candidate must hold, so
/// they need no correction among themselves (Berger 1982, intersection-union tests).
pub fn judge_guard(guard: &Guard, level: Level) -> Result<GuardReport, AnalysisError> {
    let Series { metric, goal, pairs } = &guard.series;
    let sample = log_ratios(metric, *goal, pairs)?;
    let interval = sample
        .as_ref()
        .and_then(|sample| signed_rank_interval(sample, level.both_one_sided()));
    let worst = guard.margin.worst(*goal);
    let outcome = match interval {
        Some(Interval { low, .. }) if low > worst => GuardOutcome::Held,
        Some(Interval { high, .. }) if high < worst => GuardOutcome::Failed,
        _ => GuardOutcome::Unproven,
    };
    Ok(GuardReport {
        effect: Effect::new(&guard.series, sample.as_ref(), interval),
        margin: guard.margin,
        outcome,
    })
}

/// Two one-sided tests: equivalent if the 1 − 2α interval (90 % at level 95 %) lies inside ± the margin. Never
/// concluded from a large p-value.
///
/// Source: Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power approach", Journal of
/// Pharmacokinetics and Biopharmaceutics 15.
pub fn is_equivalent(sample: &Sample, margin: Margin, level: Level) -> bool {
    let limit = margin.log_ratio();
    signed_rank_interval(sample, level.both_one_sided())
        .is_some_and(|interval| interval.low > -limit && interval.high < limit)
}

/// Whether half or more of the differences are zero: the metric sits at a cap or moves in steps too coarse to compare.
pub fn lacks_resolution(sample: &Sample) -> bool {
    2 * sample.zeros() >= sample.len()
}
