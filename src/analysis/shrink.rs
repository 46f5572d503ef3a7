//! Estimates drawn towards no effect, because the largest of several is large by luck too. Knows estimates and their
//! standard errors, not which of them was picked.

/// One of several estimates, as a log-ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Observed {
    /// The estimate.
    pub estimate: f64,
    /// Its standard error.
    pub error: f64,
}

/// What each estimate is worth: `θ τ² / (τ² + s²)`, the mean of the effect given its estimate where effects are spread
/// normally about none. Under that prior it stays right for the one that was picked, whatever it was picked for.
///
/// τ² is the root of Σ θᵢ² / (τ² + sᵢ²) = k, or 0 where the estimates are no larger than their errors: the estimate of
/// Paule and Mandel with the mean known to be none. With one error for all this is James and Stein's rule, but for
/// k − 2 in the place of k, which would keep one or two candidates from being shrunk at all. Where one effect is large and
/// the others are none, that one is drawn too far: it is told too small, not too large.
///
/// The estimates are taken as independent. Those of one run share its baseline, so that τ² is less well known than k of
/// them would suggest; nothing is done about that.
///
/// Sources: Efron (2011), "Tweedie's formula and selection bias", JASA 106; James & Stein (1961); Efron & Morris (1973),
/// "Stein's estimation rule and its competitors", JASA 68; Paule & Mandel (1982), "Consensus values and weighting
/// factors", J. Res. NBS 87.
pub fn shrink(observed: &[Observed]) -> Vec<f64> {
    let spread = spread(observed);
    let shrunk = |one: &Observed| match spread + one.error.powi(2) {
        total if total > 0.0 => one.estimate * spread / total,
        _ => one.estimate,
    };
    observed.iter().map(shrunk).collect()
}

/// τ², by halving: the sum falls as it grows.
fn spread(observed: &[Observed]) -> f64 {
    let excess = |spread: f64| {
        let each = observed.iter().map(|one| {
            let total = spread + one.error.powi(2);
            if total > 0.0 {
                one.estimate.powi(2) / total
            } else {
                f64::INFINITY
            }
        });
        each.filter(|share| !share.is_nan()).sum::<f64>() - observed.len() as f64
    };
    // At the sum of all squares no share is above its own part.
    let (mut low, mut high) = (0.0, observed.iter().map(|one| one.estimate.powi(2)).sum::<f64>());
    if excess(low) <= 0.0 {
        return 0.0;
    }
    for _ in 0..200 {
        let middle = f64::midpoint(low, high);
        if excess(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::analysis::median;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn all(estimates: &[f64], error: f64) -> Vec<Observed> {
        let one = |&estimate: &f64| Observed { estimate, error };
        estimates.iter().map(one).collect()
    }

    #[test]
    fn estimates_of_the_size_of_their_errors_are_nothing() {
        assert_eq!(shrink(&all(&[0.01, -0.01, 0.009], 0.01)), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn equal_errors_give_the_closed_form() {
        let estimates = [0.05, -0.01, 0.02, 0.0];
        let mean_square = estimates.iter().map(|e| e * e).sum::<f64>() / 4.0;
        let factor = 1.0 - 0.01_f64.powi(2) / mean_square;
        for (shrunk, raw) in shrink(&all(&estimates, 0.01)).iter().zip(estimates) {
            assert!((shrunk - raw * factor).abs() < 1e-12, "{shrunk} {raw}");
        }
    }

    #[test]
    fn a_noisier_estimate_is_believed_less() {
        let mut observed = all(&[0.05, 0.05, 0.0], 0.01);
        observed[1].error = 0.04;
        let shrunk = shrink(&observed);
        assert!(
            shrunk[0] > shrunk[1] && shrunk[1] > 0.0 && shrunk[0] < 0.05,
            "{shrunk:?}"
        );
    }

    #[test]
    fn what_has_no_error_is_left_alone() {
        let without = shrink(&all(&[0.05, 0.0], 0.0));
        assert!((without[0] - 0.05).abs() < 1e-12, "{without:?}");
        assert_eq!(shrink(&all(&[0.0], 0.0)), [0.0]);
        assert!(shrink(&[]).is_empty());
    }

    /// The best of ten, picked by its estimate: how much it is above its truth, as estimated and as shrunk.
    fn overclaims(seed: u64, truth: impl Fn(usize, &mut dyn FnMut() -> f64) -> f64) -> [Vec<f64>; 2] {
        let mut chance = ChaCha8Rng::seed_from_u64(seed);
        let mut normal = || {
            let radius = (-2.0 * (1.0 - chance.random::<f64>()).ln()).sqrt();
            radius * (std::f64::consts::TAU * chance.random::<f64>()).cos()
        };
        let [mut raw, mut shrunk] = [Vec::new(), Vec::new()];
        for _ in 0..2000 {
            let truths: Vec<f64> = (0..10).map(|place| truth(place, &mut normal)).collect();
            let estimates: Vec<f64> = truths.iter().map(|truth| truth + 0.01 * normal()).collect();
            let best = (0..10)
                .max_by(|a, b| estimates[*a].total_cmp(&estimates[*b]))
                .unwrap();
            raw.push(estimates[best] - truths[best]);
            shrunk.push(shrink(&all(&estimates, 0.01))[best] - truths[best]);
        }
        [raw, shrunk]
    }

    fn size(overclaims: &[f64]) -> f64 {
        median(overclaims.iter().map(|o| o.abs()).collect()).unwrap()
    }

    #[test]
    fn the_best_of_ten_overclaims_less_when_it_is_shrunk() {
        let [raw, shrunk] = overclaims(1, |_, _| 0.0);
        assert!(size(&shrunk) < 0.1 * size(&raw), "no effects");
        let [raw, shrunk] = overclaims(2, |_, normal| 0.01 * normal());
        assert!(size(&shrunk) < 0.6 * size(&raw), "effects as large as the errors");
    }

    #[test]
    fn one_that_stands_out_is_told_too_small_not_too_large() {
        let [raw, shrunk] = overclaims(3, |place, _| if place == 0 { 0.03 } else { 0.0 });
        let (raw, shrunk) = (median(raw).unwrap(), median(shrunk).unwrap());
        assert!(raw > 0.0 && (-0.02..0.0).contains(&shrunk), "{raw} {shrunk}");
    }
}
