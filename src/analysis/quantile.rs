//! Quantiles of the normal and Student-t distributions. Does not know what is tested with them.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::{Interval, Level, Sample};

/// The standard normal distribution function.
pub(super) fn normal_cdf(z: f64) -> f64 {
    Normal::standard().cdf(z)
}

/// The standard normal quantile of a probability strictly between 0 and 1.
pub(super) fn normal_quantile(probability: f64) -> f64 {
    Normal::standard().inverse_cdf(probability)
}

/// The Student-t quantile; `None` unless `0 < probability < 1` and `freedom > 0`.
pub fn student_t_quantile(probability: f64, freedom: f64) -> Option<f64> {
    if !(probability > 0.0 && probability < 1.0) {
        return None;
    }
    Some(StudentsT::new(0.0, 1.0, freedom).ok()?.inverse_cdf(probability))
}

/// Student's t interval for the mean: a diagnostic to set beside the signed-rank interval, never a verdict,
/// because heavy tails break it.
pub fn student_t_interval(sample: &Sample, level: Level) -> Option<Interval> {
    let count = sample.len() as f64;
    let half = student_t_quantile(1.0 - level.alpha() / 2.0, count - 1.0)? * sample.standard_deviation()
        / count.sqrt();
    Some(Interval {
        low: sample.mean() - half,
        high: sample.mean() + half,
        level: level.get(),
    })
}
