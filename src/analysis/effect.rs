//! How one metric differs between a candidate and the baseline, as gain and as change. Does not know what is claimed of it.

use serde::Serialize;

use super::family::Series;
use super::ratio::log_ratios_by_block;
use super::{AnalysisError, Interval, Level, Sample, hodges_lehmann, signed_rank_interval};
use crate::experiment::Goal;

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

/// The effect with an interval of its own at this level, whatever else is estimated beside it.
pub fn effect(series: &Series, level: Level) -> Result<Effect, AnalysisError> {
    let differences = log_ratios_by_block(series)?;
    let sample = Sample::new(differences.iter().map(|(_, d)| *d).collect()).ok();
    let interval = sample.as_ref().and_then(|s| signed_rank_interval(s, level));
    Ok(Effect::new(series, sample.as_ref(), interval))
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
