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
    let (less, greater) = ranks.tails();
    SignedRankTest {
        two_sided: (2.0 * less.min(greater)).min(1.0),
        greater,
        less,
    }
}

/// Whether the two-sided test does not reject `values − shift` at this level, with values closer than `tolerance` tied.
pub(super) fn accepts(values: &[f64], shift: f64, tolerance: f64, alpha: f64) -> bool {
    let ranks = SignedRanks::new(values, shift, tolerance);
    let smaller = ranks.positive.min(ranks.total - ranks.positive);
    // Hoeffding's bound settles most shifts without counting: P(T ≤ mean − d) ≤ exp(−2 d² / Σ r²).
    let distance = ranks.total as f64 / 2.0 - smaller as f64;
    if 2.0 * distance.powi(2) > ranks.squares() * (2.0 / alpha).ln() {
        return false;
    }
    let (less, greater) = ranks.tails();
    2.0 * less.min(greater) > alpha
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

    /// P(T ≤ positive) and P(T ≥ positive), where every sign is a fair coin.
    fn tails(&self) -> (f64, f64) {
        let mirrored = self.total - self.positive;
        if self.doubled.len() > EXACT_LIMIT {
            return (self.normal_tail(self.positive), self.normal_tail(mirrored));
        }
        // Flipping all signs maps T to total − T: one count up to the smaller sum serves both sides.
        let smaller = self.positive.min(mirrored);
        // Without ties all doubled ranks are even.
        let unit = if self.doubled.iter().all(|rank| rank % 2 == 0) {
            2
        } else {
            1
        };
        let counts = count_sums(self.doubled.iter().map(|rank| rank / unit), smaller / unit);
        let all = 1_u64 << self.doubled.len();
        let reaching: u64 = counts.iter().sum();
        let beyond = all - reaching + counts[smaller / unit];
        let (near, far) = (reaching as f64 / all as f64, beyond as f64 / all as f64);
        if self.positive <= mirrored {
            (near, far)
        } else {
            (far, near)
        }
    }

    /// The normal approximation. Mean and variance are those of the mid-ranks, which is the tie correction; one
    /// doubled rank is the continuity correction of a half.
    fn normal_tail(&self, limit: usize) -> f64 {
        if limit >= self.total {
            return 1.0;
        }
        normal_cdf((limit as f64 + 1.0 - self.total as f64 / 2.0) / (self.squares().sqrt() / 2.0))
    }

    fn squares(&self) -> f64 {
        self.doubled.iter().map(|&rank| (rank as f64).powi(2)).sum()
    }
}

/// For each sum `0..=limit`, the number of subsets of at most [`EXACT_LIMIT`] ranks that add up to it.
pub(super) fn count_sums(ranks: impl Iterator<Item = usize>, limit: usize) -> Vec<u64> {
    let mut counts = vec![0_u64; limit + 1];
    let mut next = counts.clone();
    counts[0] = 1;
    let mut largest = 0;
    for rank in ranks.filter(|&rank| rank <= limit) {
        largest = limit.min(largest + rank);
        next[..rank].copy_from_slice(&counts[..rank]);
        let with_and_without = counts[rank..=largest].iter().zip(&counts);
        for (sum, (without, with)) in next[rank..=largest].iter_mut().zip(with_and_without) {
            *sum = without + with;
        }
        std::mem::swap(&mut counts, &mut next);
    }
    counts
}
