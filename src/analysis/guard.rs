//! Claims other than "different": not worse by more than a margin, or not resolved by the metric at all.
//! Does not know which of them a decision needs.

use serde::Serialize;

use super::effect::Effect;
use super::family::Series;
use super::ratio::log_ratios_by_block;
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

    /// Nothing is tolerated: of a limit that is absolute.
    pub const NONE: Self = Self(0.0);

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
    /// Of a constraint: the limit that stands in the baseline's place in each pair.
    pub limit: Option<f64>,
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

impl GuardOutcome {
    /// It in one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Unproven => "unproven",
        }
    }
}

/// A guard's effect, with a 90 % interval for 95 % one-sided bounds, and the outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct GuardReport {
    /// What was measured.
    pub effect: Effect,
    /// How much worse is tolerated.
    pub margin: Margin,
    /// Of a constraint: the limit, which the effect is relative to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<f64>,
    /// What that means.
    pub outcome: GuardOutcome,
}

/// Non-inferiority: held if the one-sided lower bound lies above the margin. All guards of a candidate must hold, so
/// they need no correction among themselves (Berger 1982, intersection-union tests).
pub fn judge_guard(guard: &Guard, level: Level) -> Result<GuardReport, AnalysisError> {
    let differences = log_ratios_by_block(&guard.series)?;
    let sample = Sample::new(differences.iter().map(|(_, d)| *d).collect()).ok();
    let interval = sample
        .as_ref()
        .and_then(|sample| signed_rank_interval(sample, level.both_one_sided()));
    Ok(guard_report(guard, sample.as_ref(), interval))
}

/// The report of a guard whose interval has one-sided bounds at its ends.
pub(super) fn guard_report(
    guard: &Guard,
    sample: Option<&Sample>,
    interval: Option<Interval>,
) -> GuardReport {
    GuardReport {
        effect: Effect::new(&guard.series, sample, interval),
        margin: guard.margin,
        limit: guard.limit,
        outcome: guard_outcome(guard, interval),
    }
}

/// What the one-sided bounds at the ends of an interval say.
pub(super) fn guard_outcome(guard: &Guard, interval: Option<Interval>) -> GuardOutcome {
    let worst = guard.margin.worst(guard.series.goal);
    match interval {
        Some(Interval { low, .. }) if low > worst => GuardOutcome::Held,
        Some(Interval { high, .. }) if high < worst => GuardOutcome::Failed,
        _ => GuardOutcome::Unproven,
    }
}

/// Whether half or more of the differences are zero: the metric sits at a cap or moves in steps too coarse to compare.
pub fn lacks_resolution(sample: &Sample) -> bool {
    2 * sample.zeros() >= sample.len()
}

/// Values nearer to the best one than this share of it sit at the same cap.
const CAP_SHARE: f64 = 0.001;

/// Whether in half or more of the blocks both values are the best there are.
pub(super) fn is_at_cap(series: &Series) -> bool {
    let values = series
        .pairs
        .iter()
        .flat_map(|pair| [pair.candidate, pair.baseline]);
    let best = match series.goal {
        Goal::Maximize => values.fold(f64::NEG_INFINITY, f64::max),
        Goal::Minimize => values.fold(f64::INFINITY, f64::min),
    };
    let is_best = |value: f64| (value - best).abs() <= CAP_SHARE * best.abs();
    let capped = series
        .pairs
        .iter()
        .filter(|pair| is_best(pair.candidate) && is_best(pair.baseline));
    2 * capped.count() >= series.pairs.len()
}
