//! Paired values and their log-ratio, signed so that better is positive. Does not know what is compared.

use super::{AnalysisError, Arm, RatioError, Sample};
use crate::experiment::Goal;

/// What one block says about a candidate and the baseline: one number each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// The block both were measured in.
    pub block: u32,
    /// The candidate's value, in the metric's unit.
    pub candidate: f64,
    /// The baseline's value, in the metric's unit.
    pub baseline: f64,
}

/// `±ln(candidate / baseline)`, positive where the candidate is better.
///
/// Taken as a difference of logarithms, which is exactly antisymmetric and cannot overflow.
pub fn log_ratio(candidate: f64, baseline: f64, goal: Goal) -> Result<f64, RatioError> {
    let difference = logarithm(candidate, Arm::Candidate)? - logarithm(baseline, Arm::Baseline)?;
    Ok(match goal {
        Goal::Maximize => difference,
        Goal::Minimize => -difference,
    })
}

fn logarithm(value: f64, arm: Arm) -> Result<f64, RatioError> {
    if value.is_finite() && value > 0.0 {
        Ok(value.ln())
    } else {
        Err(RatioError { arm, value })
    }
}

/// The log-ratios of all pairs; `None` where there are fewer than two blocks.
pub(super) fn log_ratios(metric: &str, goal: Goal, pairs: &[Pair]) -> Result<Option<Sample>, AnalysisError> {
    let mut blocks: Vec<u32> = pairs.iter().map(|pair| pair.block).collect();
    blocks.sort_unstable();
    if let Some(twice) = blocks.windows(2).find(|two| two[0] == two[1]) {
        return Err(AnalysisError::RepeatedBlock {
            metric: metric.to_owned(),
            block: twice[0],
        });
    }
    let values = pairs
        .iter()
        .map(|pair| {
            log_ratio(pair.candidate, pair.baseline, goal).map_err(|source| AnalysisError::Ratio {
                metric: metric.to_owned(),
                block: pair.block,
                source,
            })
        })
        .collect::<Result<Vec<f64>, _>>()?;
    if values.len() < 2 {
        Ok(None)
    } else {
        Sample::new(values).map(Some)
    }
}
