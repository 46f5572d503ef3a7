//! What people do instead: tests of "all of A, then all of B", and stopping when p is small. Knows only values.

use kvmtune::analysis::Sample;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

/// Two-sided p of the rank-sum test, by its normal approximation with tie and continuity corrections (Mann & Whitney
/// 1947).
pub(crate) fn rank_sum(a: &[f64], b: &[f64]) -> f64 {
    let mut all: Vec<(f64, bool)> = a
        .iter()
        .map(|&v| (v, true))
        .chain(b.iter().map(|&v| (v, false)))
        .collect();
    all.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (m, n) = (a.len() as f64, b.len() as f64);
    let (mut before, mut sum, mut ties) = (0.0, 0.0, 0.0);
    for group in all.chunk_by(|x, y| x.0.total_cmp(&y.0).is_eq()) {
        let size = group.len() as f64;
        let ours = group.iter().filter(|(_, is_a)| *is_a).count() as f64;
        sum += ours * (before + f64::midpoint(size, 1.0));
        ties += size.powi(3) - size;
        before += size;
    }
    let all = m + n;
    let variance = m * n / 12.0 * (all + 1.0 - ties / (all * (all - 1.0)));
    let distance = (sum - m * (all + 1.0) / 2.0).abs() - 0.5;
    if variance <= 0.0 || distance <= 0.0 {
        return 1.0;
    }
    2.0 * Normal::standard().cdf(-distance / variance.sqrt())
}

/// The t statistic of Welch (1947) and its degrees of freedom; `None` without any spread.
fn welch_t(a: &[f64], b: &[f64]) -> Option<(f64, f64)> {
    let part = |values: &[f64]| {
        let sample = Sample::new(values.to_vec()).ok()?;
        let count = values.len() as f64;
        Some((
            sample.mean(),
            sample.standard_deviation().powi(2) / count,
            count - 1.0,
        ))
    };
    let ((mean_a, error_a, free_a), (mean_b, error_b, free_b)) = (part(a)?, part(b)?);
    let error = error_a + error_b;
    let freedom = error.powi(2) / (error_a.powi(2) / free_a + error_b.powi(2) / free_b);
    (error > 0.0).then(|| ((mean_a - mean_b) / error.sqrt(), freedom))
}

/// Two-sided p of Welch's test.
pub(crate) fn welch(a: &[f64], b: &[f64]) -> f64 {
    let Some((t, freedom)) = welch_t(a, b) else {
        return 1.0;
    };
    let distribution = StudentsT::new(0.0, 1.0, freedom).unwrap();
    2.0 * distribution.cdf(-t.abs())
}

/// Two-sided p of Welch's t against its own resamples (Efron & Tibshirani 1993, algorithm 16.2).
pub(crate) fn bootstrap_t(a: &[f64], b: &[f64], resamples: u32, rng: &mut ChaCha8Rng) -> f64 {
    let Some((observed, _)) = welch_t(a, b) else {
        return 1.0;
    };
    let centred = |values: &[f64]| {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|v| v - mean).collect::<Vec<f64>>()
    };
    let (a, b) = (centred(a), centred(b));
    let mut beyond = 0;
    for _ in 0..resamples {
        let mut again = |values: &[f64]| {
            values
                .iter()
                .map(|_| values[rng.random_range(0..values.len())])
                .collect::<Vec<f64>>()
        };
        let (a, b) = (again(&a), again(&b));
        beyond += u32::from(welch_t(&a, &b).is_none_or(|(t, _)| t.abs() >= observed.abs()));
    }
    f64::from(beyond) / f64::from(resamples)
}

/// Whether the rank-sum test of the values so far ever shows p < .05, from four of each on.
pub(crate) fn peeks(a: &[f64], b: &[f64]) -> bool {
    (4..=a.len()).any(|seen| rank_sum(&a[..seen], &b[..seen]) < 0.05)
}
