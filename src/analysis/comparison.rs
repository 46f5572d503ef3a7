//! A family of candidates, each compared with the same baseline. Knows treatments only by name, and neither picks a
//! winner nor looks twice at growing data: [`compare`] is for a number of blocks fixed beforehand.

use serde::Serialize;

use super::guard::{Guard, GuardReport, Margin, is_equivalent, judge_guard, lacks_resolution};
use super::ratio::{Pair, log_ratios};
use super::{
    AnalysisError, Interval, Level, Sample, SignedRankTest, blocks_needed, fewest_blocks, hodges_lehmann,
    holm, signed_rank_interval, signed_rank_test,
};
use crate::experiment::Goal;

/// No larger number of further blocks is ever named: beyond it the estimate says only "far too many".
pub const MORE_BLOCKS_CAP: u32 = 1000;

/// One metric of a candidate: one pair a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// Which direction is better.
    pub goal: Goal,
    /// The values, each block at most once; at most a few hundred, as the analysis is quadratic in them.
    pub pairs: Vec<Pair>,
}

/// A treatment to be compared with the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The treatment's name.
    pub treatment: String,
    /// The metric the verdict is about.
    pub response: Series,
    /// Metrics that must not suffer.
    pub guards: Vec<Guard>,
}

/// How sure a claim must be, and what difference does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criteria {
    /// Confidence of the family's claims, two-sided; guards and equivalence use it one-sided.
    pub confidence: Level,
    /// Differences below this are of no interest.
    pub equivalence: Margin,
}

impl Default for Criteria {
    /// 95 % and 1 %.
    fn default() -> Self {
        Self {
            confidence: Level::P95,
            equivalence: Margin::ONE_PERCENT,
        }
    }
}

/// What may be said of a candidate's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Verdict {
    /// Better than the baseline, corrected for the family.
    Better,
    /// Worse than the baseline, corrected for the family.
    Worse,
    /// No difference shown, and any there is lies inside the equivalence margin. Not corrected for the family.
    Equivalent,
    /// Nothing is shown.
    Inconclusive {
        /// About how many further blocks would show the observed effect, or the smallest of interest if that is
        /// larger, with power .8; at most [`MORE_BLOCKS_CAP`].
        #[serde(rename = "more-blocks")]
        more_blocks: u32,
    },
    /// Half or more of the differences are zero.
    NoResolution,
}

/// How a metric of a candidate differs from the baseline's. Gains: positive is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effect {
    /// The metric's name.
    pub metric: String,
    /// Which direction is better.
    pub goal: Goal,
    /// Blocks with both values.
    pub blocks: usize,
    /// The Hodges–Lehmann estimate `100 (e^θ − 1)`; `None` below two blocks.
    pub gain_percent: Option<f64>,
    /// The signed-rank interval of the gain; `None` where the blocks are too few to bound it.
    pub interval_percent: Option<Interval>,
}

impl Effect {
    pub(super) fn new(series: &Series, sample: Option<&Sample>, interval: Option<Interval>) -> Self {
        Self {
            metric: series.metric.clone(),
            goal: series.goal,
            blocks: series.pairs.len(),
            gain_percent: sample.map(|sample| hodges_lehmann(sample).percent()),
            interval_percent: interval.map(|interval| interval.percent()),
        }
    }

    /// The change of the metric itself, in percent of the baseline: of a latency, positive is slower.
    pub fn change_percent(&self) -> Option<f64> {
        self.gain_percent.map(|gain| self.as_change(gain))
    }

    /// The interval of [`Effect::change_percent`].
    pub fn change_interval_percent(&self) -> Option<Interval> {
        let Interval { low, high, level } = self.interval_percent?;
        let (low, high) = (self.as_change(low), self.as_change(high));
        Some(Interval {
            low: low.min(high),
            high: low.max(high),
            level,
        })
    }

    fn as_change(&self, gain: f64) -> f64 {
        match self.goal {
            Goal::Maximize => gain,
            // The gain is baseline / candidate − 1 here.
            Goal::Minimize => 100.0 * ((1.0 + gain / 100.0).recip() - 1.0),
        }
    }
}

/// What the data say about one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The treatment's name.
    pub treatment: String,
    /// The response; its interval holds simultaneously with those of the whole family.
    pub effect: Effect,
    /// Exact two-sided signed-rank p-value; 1 below two blocks.
    pub p_raw: f64,
    /// The same after Holm's correction over the family.
    pub p_holm: f64,
    /// How many candidates the correction is for.
    pub family: usize,
    /// What may be said.
    pub verdict: Verdict,
    /// Whether the 90 % interval lies inside the equivalence margin, so that even a proven difference is negligible.
    pub negligible: bool,
    /// What happened to the other metrics.
    pub guards: Vec<GuardReport>,
}

/// Compares every candidate with the baseline. Pass the whole family at once, with candidates that failed too: each
/// that is left out makes the correction too weak.
pub fn compare(family: &[Candidate], criteria: &Criteria) -> Result<Vec<Comparison>, AnalysisError> {
    let samples = family
        .iter()
        .map(
            |Candidate {
                 response: Series { metric, goal, pairs },
                 ..
             }| log_ratios(metric, *goal, pairs),
        )
        .collect::<Result<Vec<_>, _>>()?;
    let tests: Vec<Option<SignedRankTest>> = samples
        .iter()
        .map(|sample| sample.as_ref().map(signed_rank_test))
        .collect();
    let p_raw: Vec<f64> = tests
        .iter()
        .map(|test| test.map_or(1.0, |test| test.two_sided))
        .collect();
    let p_holm = holm(&p_raw);
    let level = criteria.confidence.simultaneous(family.len());
    let mut comparisons = Vec::with_capacity(family.len());
    for (index, candidate) in family.iter().enumerate() {
        let sample = samples[index].as_ref();
        let interval = sample.and_then(|sample| signed_rank_interval(sample, level));
        let proven = tests[index].filter(|_| p_holm[index] <= criteria.confidence.alpha());
        let negligible =
            sample.is_some_and(|sample| is_equivalent(sample, criteria.equivalence, criteria.confidence));
        let guards = candidate
            .guards
            .iter()
            .map(|guard| judge_guard(guard, criteria.confidence));
        comparisons.push(Comparison {
            treatment: candidate.treatment.clone(),
            effect: Effect::new(&candidate.response, sample, interval),
            p_raw: p_raw[index],
            p_holm: p_holm[index],
            family: family.len(),
            verdict: match sample {
                Some(sample) if lacks_resolution(sample) => Verdict::NoResolution,
                Some(sample) => judge(sample, proven, negligible, level, criteria.equivalence),
                None => Verdict::Inconclusive {
                    more_blocks: fewest_blocks(level),
                },
            },
            negligible,
            guards: guards.collect::<Result<_, _>>()?,
        });
    }
    Ok(comparisons)
}

fn judge(
    sample: &Sample,
    proven: Option<SignedRankTest>,
    negligible: bool,
    level: Level,
    of_interest: Margin,
) -> Verdict {
    match proven {
        Some(test) if test.greater < test.less => Verdict::Better,
        Some(_) => Verdict::Worse,
        None if negligible => Verdict::Equivalent,
        None => Verdict::Inconclusive {
            more_blocks: more_blocks(sample, level, of_interest),
        },
    }
}

/// An order of magnitude, not a promise: spread and effect are both estimates from few blocks.
fn more_blocks(sample: &Sample, level: Level, of_interest: Margin) -> u32 {
    let within_cv = sample.standard_deviation() / std::f64::consts::SQRT_2;
    let effect = hodges_lehmann(sample)
        .log_ratio()
        .abs()
        .max(of_interest.log_ratio());
    let have = u32::try_from(sample.len()).unwrap_or(u32::MAX);
    blocks_needed(within_cv, effect, level)
        .saturating_sub(have)
        .clamp(1, MORE_BLOCKS_CAP)
}
