//! Wilcoxon's signed-rank test, exact with ties and zeros. Does not know intervals or families of tests.
//!
//! Sources: Wilcoxon (1945); Hollander & Wolfe, *Nonparametric Statistical Methods*, section 3.1; Pratt (1959),
//! "Remarks on zeros and ties in the Wilcoxon signed rank procedures", JASA 54.

use super::Sample;
use super::quantile::normal_cdf;

/// Up to this many values that are not zero the null distribution is counted exactly; 2⁵⁰ sign assignments still fit f64 without
/// rounding. Above it the normal approximation takes over, with tie and continuity corrections.
pub const EXACT_LIMIT: usize = 50;

/// p-values of the hypothesis that the values are symmetric about zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SignedRankTest {
    /// Against any shift: twice the smaller one-sided value, at most 1.
    pub two_sided: f64,
    /// Against a positive shift.
    pub greater: f64,
    /// Against a negative shift.
    pub less: f64,
}

/// Tests the sample against symmetry about zero.
///
/// Zeros are ranked and then dropped (Pratt), ties share the mean of their ranks, and the p-values are exact given
/// those ranks: each sign is a fair coin under the hypothesis.
pub fn signed_rank_test(sample: &Sample) -> SignedRankTest {
    let ranks = SignedRanks::new(sample.values(), 0.0, sample.tolerance());
    // Flipping all signs maps T to total − T, so lower tails serve both sides.
    let (less, greater) = (
        ranks.lower_tail(ranks.positive),
        ranks.lower_tail(ranks.total - ranks.positive),
    );
    SignedRankTest {
        two_sided: (2.0 * less.min(greater)).min(1.0),
        greater,
        less,
    }
}

/// The two-sided p-value of `values − shift`, with values closer than `tolerance` tied.
pub(super) fn two_sided_p(values: &[f64], shift: f64, tolerance: f64) -> f64 {
    let ranks = SignedRanks::new(values, shift, tolerance);
    let smaller = ranks.positive.min(ranks.total - ranks.positive);
    (2.0 * ranks.lower_tail(smaller)).min(1.0)
}

/// Mid-ranks of the magnitudes, doubled so that they are whole numbers.
struct SignedRanks {
    /// Twice the mid-rank of every value that is not zero.
    doubled: Vec<usize>,
    /// Sum of all doubled ranks.
    total: usize,
    /// Sum of the doubled ranks of positive values.
    positive: usize,
}

impl SignedRanks {
    fn new(values: &[f64], shift: f64, tolerance: f64) -> Self {
        let mut shifted: Vec<f64> = values.iter().map(|value| value - shift).collect();
        shifted.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
        let mut ranks = Self {
            doubled: Vec::with_capacity(shifted.len()),
            total: 0,
            positive: 0,
        };
        let mut before = 0;
        for group in shifted.chunk_by(|a, b| b.abs() - a.abs() <= tolerance) {
            // Ranks before + 1 ..= before + len have the mean before + (len + 1) / 2.
            let doubled = 2 * before + group.len() + 1;
            before += group.len();
            for value in group.iter().filter(|value| value.abs() > tolerance) {
                ranks.doubled.push(doubled);
                ranks.total += doubled;
                ranks.positive += if *value > 0.0 { doubled } else { 0 };
            }
        }
        ranks
    }

    /// P(T ≤ `limit`), where every sign is a fair coin.
    fn lower_tail(&self, limit: usize) -> f64 {
        if limit >= self.total {
            1.0
        } else if self.doubled.len() <= EXACT_LIMIT {
            let reaching: u64 = count_sums(self.doubled.iter().copied(), limit).iter().sum();
            reaching as f64 / (1_u64 << self.doubled.len()) as f64
        } else {
            self.normal_tail(limit)
        }
    }

    /// The normal approximation. Mean and variance are those of the mid-ranks, which is the tie correction; one
    /// doubled rank is the continuity correction of a half.
    fn normal_tail(&self, limit: usize) -> f64 {
        let squares: f64 = self.doubled.iter().map(|&rank| (rank as f64).powi(2)).sum();
        normal_cdf((limit as f64 + 1.0 - self.total as f64 / 2.0) / (squares.sqrt() / 2.0))
    }
}

/// For each sum `0..=limit`, the number of subsets of at most [`EXACT_LIMIT`] ranks that add up to it.
pub(super) fn count_sums(ranks: impl Iterator<Item = usize>, limit: usize) -> Vec<u64> {
    let mut counts = vec![0_u64; limit + 1];
    counts[0] = 1;
    for rank in ranks {
        for sum in (rank..=limit).rev() {
            counts[sum] += counts[sum - rank];
        }
    }
    counts
}
