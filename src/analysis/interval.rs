//! Where the centre of a sample lies: the Hodges–Lehmann estimate and the signed-rank interval around it.
//! Does not know what the centre means or which claims rest on it.
//!
//! Sources: Hodges & Lehmann (1963), "Estimates of location based on rank tests", Annals of Mathematical Statistics
//! 34; Hollander & Wolfe, *Nonparametric Statistical Methods*, sections 3.2 and 3.3 (Tukey's interval).

use serde::Serialize;

use super::quantile::normal_quantile;
use super::signed_rank::{EXACT_LIMIT, accepts, count_sums};
use super::walsh::WalshAverages;
use super::{AnalysisError, Sample, smallest_attainable_p};

/// A confidence level strictly between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Level(f64);

impl Level {
    /// The usual 95 %.
    pub const P95: Self = Self(0.95);

    /// Fails outside (0, 1).
    pub fn new(level: f64) -> Result<Self, AnalysisError> {
        if level > 0.0 && level < 1.0 {
            Ok(Self(level))
        } else {
            Err(AnalysisError::OutsideUnit {
                what: "confidence level",
                value: level,
            })
        }
    }

    /// The level as a share.
    pub fn get(self) -> f64 {
        self.0
    }

    /// The error rate `1 − level`.
    pub fn alpha(self) -> f64 {
        1.0 - self.0
    }

    /// `1 − α/m`: m intervals at this level hold together at the original one (Bonferroni).
    #[must_use]
    pub fn simultaneous(self, intervals: usize) -> Self {
        Self(1.0 - self.alpha() / intervals.max(1) as f64)
    }

    /// `1 − 2α`: each end of an interval at this level is a one-sided bound at the original one. For levels above
    /// one half; others are returned unchanged.
    #[must_use]
    pub fn both_one_sided(self) -> Self {
        if self.0 > 0.5 {
            Self(1.0 - 2.0 * self.alpha())
        } else {
            self
        }
    }
}

/// The centre of a sample of log-ratios; positive is better.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
pub struct Estimate(pub(super) f64);

impl Estimate {
    /// The log-ratio θ.
    pub fn log_ratio(self) -> f64 {
        self.0
    }

    /// `100 (e^θ − 1)` percent; positive is better.
    pub fn percent(self) -> f64 {
        100.0 * self.0.exp_m1()
    }
}

/// All values from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// The coverage the interval really has; at least the one asked for.
    pub level: f64,
}

impl Interval {
    /// Whether the value lies inside.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The interval of `100 (e^θ − 1)` percent for this interval of log-ratios θ.
    #[must_use]
    pub fn percent(&self) -> Self {
        Self {
            low: Estimate(self.low).percent(),
            high: Estimate(self.high).percent(),
            level: self.level,
        }
    }
}

/// The Hodges–Lehmann estimate: the median of all Walsh averages `(x_i + x_j) / 2`, i ≤ j.
pub fn hodges_lehmann(sample: &Sample) -> Estimate {
    Estimate(WalshAverages::new(sample.values()).median())
}

/// The interval of all centres the two-sided signed-rank test does not reject, `None` where it has no end: with too
/// few values for the level even infinity is not rejected.
///
/// Without ties the ends are order statistics of the Walsh averages and the attained level is exact. With ties or
/// zeros the test is inverted centre by centre, each with the null distribution of its own mid-ranks, and the ends
/// enclose every accepted centre; the level given is then the one asked for, and coverage is at least that.
/// Above [`EXACT_LIMIT`] values the cut is the normal approximation's; ties only make it wider than need be.
pub fn signed_rank_interval(sample: &Sample, level: Level) -> Option<Interval> {
    let walsh = WalshAverages::new(sample.values());
    if sample.len() <= EXACT_LIMIT && sample.is_tied() {
        return tied_interval(sample, walsh.ascending(), level);
    }
    let tail = level.alpha() / 2.0;
    let (cut, attained) = if sample.len() <= EXACT_LIMIT {
        exact_cut(sample.len(), tail)?
    } else {
        normal_cut(sample.len(), tail)?
    };
    Some(Interval {
        low: walsh.at(cut),
        high: walsh.at(walsh.len() - 1 - cut),
        level: 1.0 - 2.0 * attained,
    })
}

/// The largest c with P(T ≤ c) ≤ `tail` for ranks 1 to n, and that probability.
fn exact_cut(values: usize, tail: f64) -> Option<(usize, f64)> {
    let assignments = (1_u64 << values) as f64;
    // The lower half is enough: P(T ≤ c) passes one half in the middle, and tails are below it.
    let counts = count_sums(1..=values, values * (values + 1) / 4);
    let mut reaching = 0;
    let mut found = None;
    for (sum, count) in counts.into_iter().enumerate() {
        reaching += count;
        let probability = reaching as f64 / assignments;
        if probability > tail {
            break;
        }
        found = Some((sum, probability));
    }
    found
}

/// The largest two-sided p-value up to `p` that the signed-rank test of this many values without ties can have; 0 where
/// it has none. Above [`EXACT_LIMIT`] all are taken for attainable.
pub(super) fn attainable(values: u32, p: f64) -> f64 {
    let values = values as usize;
    if values > EXACT_LIMIT {
        return p;
    }
    exact_cut(values, p / 2.0).map_or(0.0, |(_, attained)| 2.0 * attained)
}

/// As [`exact_cut`], by the normal approximation with continuity correction.
fn normal_cut(values: usize, tail: f64) -> Option<(usize, f64)> {
    let count = values as f64;
    let mean = count * (count + 1.0) / 4.0;
    let deviation = (count * (count + 1.0) * (2.0 * count + 1.0) / 24.0).sqrt();
    let cut = (mean - 0.5 + normal_quantile(tail) * deviation).floor();
    if cut < 0.0 {
        return None;
    }
    let attained = super::quantile::normal_cdf((cut + 0.5 - mean) / deviation);
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number from 0 to mean"
    )]
    let cut = cut as usize;
    Some((cut, attained))
}

fn tied_interval(sample: &Sample, mut walsh: Vec<f64>, level: Level) -> Option<Interval> {
    let blocks = u32::try_from(sample.len()).ok()?;
    if smallest_attainable_p(blocks) > level.alpha() {
        return None;
    }
    let tolerance = sample.tolerance();
    walsh.dedup_by(|next, kept| *next - *kept <= 4.0 * tolerance);
    let mirrored_walsh: Vec<f64> = walsh.iter().rev().map(|point| -point).collect();
    let mirrored: Vec<f64> = sample.values().iter().map(|value| -value).collect();
    Some(Interval {
        low: lowest_accepted(sample.values(), &walsh, tolerance, level)?,
        high: -lowest_accepted(&mirrored, &mirrored_walsh, tolerance, level)?,
        level: level.get(),
    })
}

/// The lower end of the accepted centres. Between neighbouring Walsh averages the signed ranks do not change, so one
/// centre from each gap, and each average itself, stand for all.
fn lowest_accepted(values: &[f64], walsh: &[f64], tolerance: f64, level: Level) -> Option<f64> {
    let accepted = |centre| accepts(values, centre, tolerance, level.alpha());
    walsh.iter().enumerate().find_map(|(index, &point)| {
        let gap = walsh.get(index + 1).map(|&next| f64::midpoint(point, next));
        (accepted(point) || gap.is_some_and(accepted)).then_some(point)
    })
}
