//! How many blocks a question needs. Knows spreads and error rates, not the time a block takes.

use std::f64::consts::PI;

use super::Level;
use super::quantile::normal_quantile;

/// The chance of seeing an effect that is there, for which block counts are given.
const POWER: f64 = 0.8;
/// The signed-rank test's efficiency against the t test under normal noise, 3/π = .955 (Hodges & Lehmann 1956);
/// heavy tails only raise it.
const EFFICIENCY: f64 = 3.0 / PI;

/// The smallest two-sided p the exact signed-rank test can give with this many blocks: `2^(1 − blocks)`.
pub fn smallest_attainable_p(blocks: u32) -> f64 {
    0.5_f64.powf(f64::from(blocks) - 1.0).min(1.0)
}

/// The fewest blocks with which a two-sided claim at this level is possible at all: 6 at 95 %.
pub fn fewest_blocks(level: Level) -> u32 {
    // 2^-1099 is zero in f64, so a count is found for every level.
    (1..=1100)
        .find(|&blocks| smallest_attainable_p(blocks) <= level.alpha())
        .unwrap_or(u32::MAX)
}

/// About how many blocks prove an effect (a log-ratio) with power .8, given the coefficient of variation of single
/// trials within a block; never fewer than [`fewest_blocks`].
///
/// At 95 % this is `15.7 · cv² / (.955 · effect²)`: a difference of two trials has variance 2 cv², and
/// 15.7 = 2 (1.96 + 0.84)².
pub fn blocks_needed(within_cv: f64, effect: f64, level: Level) -> u32 {
    let pairs = (planning_constant(level) / EFFICIENCY * (within_cv / effect).powi(2)).ceil();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, NaN becomes 0"
    )]
    let pairs = pairs as u32;
    pairs.max(fewest_blocks(level))
}

/// The smallest effect (a log-ratio) this many blocks can prove with power .8; `None` where they can prove nothing.
pub fn smallest_provable_effect(within_cv: f64, blocks: u32, level: Level) -> Option<f64> {
    (blocks >= fewest_blocks(level))
        .then(|| within_cv * (planning_constant(level) / (EFFICIENCY * f64::from(blocks))).sqrt())
}

/// The smallest estimate (a log-ratio) that this many blocks with this noise could have told from nothing: the
/// half-width of an interval for one candidate. About .7 of what is provable with power .8.
pub fn provable_floor(within_cv: f64, blocks: usize, level: Level) -> f64 {
    let z = normal_quantile(1.0 - level.alpha() / 2.0);
    z * within_cv * (2.0 / (EFFICIENCY * blocks.max(1) as f64)).sqrt()
}

fn planning_constant(level: Level) -> f64 {
    2.0 * (normal_quantile(1.0 - level.alpha() / 2.0) + normal_quantile(POWER)).powi(2)
}
