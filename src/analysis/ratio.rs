//! Paired values and their log-ratio, signed so that better is positive. Does not know what is compared.

use super::family::Series;
use super::{AnalysisError, Arm, RatioError};
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
/// Taken as a difference of logarithms, which is exactly antisymmetric and cannot overflow. Two zeros are equal; one
/// zero has no ratio to anything.
pub fn log_ratio(candidate: f64, baseline: f64, goal: Goal) -> Result<f64, RatioError> {
    if candidate == 0.0 && baseline == 0.0 {
        return Ok(0.0);
    }
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

/// The log-ratio of each block, in the order of the blocks. Fails on a block that is there twice.
pub(super) fn log_ratios_by_block(series: &Series) -> Result<Vec<(u32, f64)>, AnalysisError> {
    let Series { metric, goal, pairs } = series;
    let ratio = |pair: &Pair| {
        log_ratio(pair.candidate, pair.baseline, *goal)
            .map(|ratio| (pair.block, ratio))
            .map_err(|source| AnalysisError::Ratio {
                metric: metric.clone(),
                block: pair.block,
                source,
            })
    };
    let mut ratios = pairs.iter().map(ratio).collect::<Result<Vec<_>, _>>()?;
    ratios.sort_by_key(|(block, _)| *block);
    match ratios.windows(2).find(|two| two[0].0 == two[1].0) {
        Some(twice) => Err(AnalysisError::RepeatedBlock {
            metric: metric.clone(),
            block: twice[0].0,
        }),
        None => Ok(ratios),
    }
}
