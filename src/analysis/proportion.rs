//! Exact bounds for a share of successes, such as an error rate over replays. Does not know what was counted.

use statrs::distribution::{Beta, ContinuousCDF};

use super::{Interval, Level};

/// The exact interval of Clopper & Pearson (1934), "The use of confidence or fiducial limits illustrated in the case
/// of the binomial", Biometrika 26; `None` without trials or with more successes than trials.
pub fn clopper_pearson(successes: u32, trials: u32, level: Level) -> Option<Interval> {
    let failures = trials.checked_sub(successes)?;
    if trials == 0 {
        return None;
    }
    let tail = level.alpha() / 2.0;
    let (hits, misses) = (f64::from(successes), f64::from(failures));
    let low = if successes == 0 {
        0.0
    } else {
        Beta::new(hits, misses + 1.0).ok()?.inverse_cdf(tail)
    };
    let high = if failures == 0 {
        1.0
    } else {
        Beta::new(hits + 1.0, misses).ok()?.inverse_cdf(1.0 - tail)
    };
    Some(Interval {
        low,
        high,
        level: level.get(),
    })
}
