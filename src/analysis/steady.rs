//! When a trial's samples have settled, and how many at its start to drop. Knows equally spaced samples of one trial,
//! not what they measure or how the trial is extended.
//!
//! Sources: White (1997), "An effective truncation heuristic for bias reduction in simulation output", Simulation 69,
//! and White, Cobb & Spratt (2000) for batches of five; SNIA, *Solid State Storage Performance Test Specification*,
//! steady state definition.

use super::quantile::student_t_quantile;

/// Samples in a batch.
const BATCH: usize = 5;
/// With fewer batches a trend cannot be told from noise: a jump by a quarter late in the series, under 2 % noise, went
/// unseen in 98 % of series of 6 and in 20 % of 8.
const FEWEST_BATCHES: usize = 8;
/// The two-sided p below which the kept batches have a trend. Batches of five of an AR(1) series with coefficient .5
/// still correlate at .17, which raises the real error of .005 to .015.
const TREND_P: f64 = 0.005;
/// A smaller excursion, as a share of the mean, does no harm however surely it is seen.
const HARMLESS: f64 = 0.01;
/// Rounds of the SNIA rule.
const ROUNDS: usize = 5;
/// With fewer samples [`steadiness`] says nothing, and rounds are too short to be a mean of anything.
pub const FEWEST_SAMPLES: usize = BATCH * FEWEST_BATCHES;

/// Where MSER-5 truncates a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// How many samples to drop at the start.
    pub warmup: usize,
    /// Whether that is the half which is the most that may be dropped.
    pub at_limit: bool,
}

/// Whether a trial settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steadiness {
    /// It did, after some samples.
    Steady {
        /// How many samples to drop at the start.
        warmup: usize,
    },
    /// It was still moving at its end.
    NotSteady,
    /// There are too few samples to tell: under [`FEWEST_SAMPLES`].
    TooShort,
}

/// The plain rule: over z, the means of batches of five (a rest is left out), drop the d ≤ n/2 batches that minimise
/// `Σ_{i>d}(z_i − z̄_d)² / (n − d)²`, the first of equals. `None` below two batches.
pub fn mser5(samples: &[f64]) -> Option<Truncation> {
    let batches = batch_means(samples);
    if batches.len() < 2 {
        return None;
    }
    let limit = batches.len() / 2;
    let dropped = best_truncation(&batches, limit);
    Some(Truncation {
        warmup: BATCH * dropped,
        at_limit: dropped == limit,
    })
}

/// Judges a trial: MSER-5 truncates it, and what is kept must have no trend.
///
/// This departs from the plain rule, by which a series is unsettled if MSER-5 truncates at its limit of one half. In
/// 6000 stationary series each (normal / Student t with 3 degrees of freedom / AR(1) with coefficient .5) the limit
/// was hit by chance, and missed where a value rose by a quarter all through (normal noise of 5 %):
///
/// | samples | limit hit, stationary % | trend seen, stationary % | limit hit, rising % | trend seen, rising % |
/// |---|---|---|---|---|
/// | 10 | 100.0 / 100.0 / 100.0 | too short | 100 | too short |
/// | 15 | 45.2 / 46.2 / 48.7 | too short | 85 | too short |
/// | 20 | 41.0 / 40.2 / 42.3 | too short | 76 | too short |
/// | 25 | 25.9 / 26.7 / 28.5 | too short | 72 | too short |
/// | 30 | 21.6 / 22.4 / 24.1 | too short | 65 | too short |
/// | 40 | 14.5 / 16.3 / 16.0 | 0.2 / 0.1 / 0.2 | 58 | 48 |
/// | 60 | 7.2 / 8.7 / 7.8 | 0.2 / 0.2 / 0.5 | 50 | 76 |
/// | 80 | 4.5 / 5.7 / 4.5 | 0.3 / 0.2 / 0.4 | 45 | 88 |
/// | 120 | 1.6 / 2.2 / 1.9 | 0.3 / 0.2 / 0.5 | 41 | 97 |
/// | 200 | 0.3 / 1.1 / 0.3 | 0.4 / 0.2 / 1.0 | 36 | 100 |
/// | 300 | 0.1 / 0.3 / 0.1 | 0.2 / 0.4 / 1.1 | 32 | 100 |
///
/// So the limit is no verdict. Where it is hit, the truncation is the best of those up to a quarter; then a least-squares
/// line through the kept batches must not have a slope with p < .005 and an excursion over 1 % of the mean. Strongly
/// correlated samples (AR(1) .8) raise the false alarms to 1 % at 40 samples and 5 % at 300.
pub fn steadiness(samples: &[f64]) -> Steadiness {
    let batches = batch_means(samples);
    if batches.len() < FEWEST_BATCHES {
        return Steadiness::TooShort;
    }
    let dropped = judged_truncation(&batches);
    if samples.iter().all(|sample| sample.is_finite()) && !is_trending(&batches[dropped..]) {
        Steadiness::Steady {
            warmup: BATCH * dropped,
        }
    } else {
        Steadiness::NotSteady
    }
}

/// How the samples move that [`steadiness`] looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Movement {
    /// How many samples these are, at the end of the series.
    pub samples: usize,
    /// How far a line through them moves, as a share of their mean; negative when it falls.
    pub share: f64,
}

/// What a series that is not steady does; `None` where nothing can be told.
pub fn movement(samples: &[f64]) -> Option<Movement> {
    let batches = batch_means(samples);
    if batches.len() < FEWEST_BATCHES {
        return None;
    }
    let kept = &batches[judged_truncation(&batches)..];
    let line = Line::fit(kept);
    Some(Movement {
        samples: BATCH * kept.len(),
        share: line.excursion().copysign(line.slope) / line.mean,
    })
}

/// How five rounds vary, as shares of their mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rounds {
    /// From the smallest round to the largest.
    pub range: f64,
    /// How far a line fitted to them moves.
    pub excursion: f64,
}

impl Rounds {
    /// The means of five equal rounds that end with the last sample; what is over is left out at the start. `None`
    /// below [`FEWEST_SAMPLES`].
    pub fn of(samples: &[f64]) -> Option<Self> {
        if samples.len() < FEWEST_SAMPLES {
            return None;
        }
        let length = samples.len() / ROUNDS;
        let mut rounds = [0.0; ROUNDS];
        let whole = samples[samples.len() - ROUNDS * length..].chunks_exact(length);
        for (mean, round) in rounds.iter_mut().zip(whole) {
            *mean = round.iter().sum::<f64>() / length as f64;
        }
        Some(Self::between(&rounds))
    }

    fn between(rounds: &[f64; ROUNDS]) -> Self {
        let largest = rounds.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let smallest = rounds.iter().copied().fold(f64::INFINITY, f64::min);
        let line = Line::fit(rounds);
        Self {
            range: (largest - smallest) / line.mean.abs(),
            excursion: line.excursion() / line.mean.abs(),
        }
    }

    /// The SNIA rule: a range of 20 % at most, and an excursion of 10 % at most.
    pub fn are_steady(self) -> bool {
        self.range <= 0.20 && self.excursion <= 0.10
    }
}

fn batch_means(samples: &[f64]) -> Vec<f64> {
    let batches = samples.chunks_exact(BATCH);
    batches
        .map(|batch| batch.iter().sum::<f64>() / BATCH as f64)
        .collect()
}

fn best_truncation(batches: &[f64], limit: usize) -> usize {
    let criterion = |dropped: usize| {
        let kept = &batches[dropped..];
        let mean = kept.iter().sum::<f64>() / kept.len() as f64;
        kept.iter().map(|batch| (batch - mean).powi(2)).sum::<f64>() / (kept.len() as f64).powi(2)
    };
    // `min_by` takes the first of equals.
    let scored = (0..=limit).map(|dropped| (dropped, criterion(dropped)));
    scored
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map_or(0, |(dropped, _)| dropped)
}

/// The best truncation, where it is not the limit; else the best of those up to a quarter.
fn judged_truncation(batches: &[f64]) -> usize {
    let limit = batches.len() / 2;
    let dropped = best_truncation(batches, limit);
    if dropped == limit {
        best_truncation(batches, limit / 2)
    } else {
        dropped
    }
}

fn is_trending(batches: &[f64]) -> bool {
    let line = Line::fit(batches);
    let freedom = batches.len() as f64 - 2.0;
    student_t_quantile(1.0 - TREND_P / 2.0, freedom).is_some_and(|quantile| {
        line.excursion() > HARMLESS * line.mean.abs() && line.slope.abs() > quantile * line.slope_error
    })
}

/// The least-squares line through equally spaced values.
struct Line {
    mean: f64,
    slope: f64,
    /// Standard error of the slope.
    slope_error: f64,
    /// Steps from the first value to the last.
    steps: f64,
}

impl Line {
    fn fit(values: &[f64]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let centred = |index: usize| index as f64 - (count - 1.0) / 2.0;
        let spread: f64 = (0..values.len()).map(|index| centred(index).powi(2)).sum();
        let products: f64 = (0..)
            .zip(values)
            .map(|(index, value)| centred(index) * value)
            .sum();
        let slope = products / spread;
        let residuals = (0..)
            .zip(values)
            .map(|(index, value)| value - mean - slope * centred(index));
        let squares: f64 = residuals.map(|residual| residual * residual).sum();
        Self {
            mean,
            slope,
            slope_error: (squares / (count - 2.0) / spread).sqrt(),
            steps: count - 1.0,
        }
    }

    /// How far the line moves from the first value to the last.
    fn excursion(&self) -> f64 {
        self.slope.abs() * self.steps
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A value that approaches 1 from `start`, with a little ripple.
    fn settling(samples: usize, start: f64, after: f64) -> Vec<f64> {
        (0..samples)
            .map(|index| {
                let index = index as f64;
                1.0 + (start - 1.0) * (-index / after).exp() + 0.01 * (index * 2.4).sin()
            })
            .collect()
    }

    #[test]
    fn a_warmup_is_dropped() {
        let samples = settling(120, 0.5, 8.0);
        let Steadiness::Steady { warmup } = steadiness(&samples) else {
            panic!("{:?}", steadiness(&samples));
        };
        assert!((20..=50).contains(&warmup), "{warmup}");
        assert_eq!(
            mser5(&samples),
            Some(Truncation {
                warmup,
                at_limit: false
            })
        );
    }

    #[test]
    fn a_trial_that_never_settles_is_not_steady() {
        assert_eq!(steadiness(&settling(120, 0.5, 200.0)), Steadiness::NotSteady);
        let ramp: Vec<f64> = (0..60).map(|index| 100.0 + f64::from(index)).collect();
        assert_eq!(steadiness(&ramp), Steadiness::NotSteady);
        let mut broken = vec![1.0; 60];
        broken[50] = f64::NAN;
        assert_eq!(steadiness(&broken), Steadiness::NotSteady);
    }

    #[test]
    fn what_cannot_be_told_is_too_short() {
        assert_eq!(steadiness(&[1.0; 39]), Steadiness::TooShort);
        assert_eq!(steadiness(&[1.0; 40]), Steadiness::Steady { warmup: 0 });
        assert_eq!(mser5(&[1.0; 9]), None);
    }

    #[test]
    fn a_harmless_trend_is_steady() {
        let ramp: Vec<f64> = (0..60).map(|index| 10_000.0 + f64::from(index)).collect();
        assert!(matches!(steadiness(&ramp), Steadiness::Steady { .. }));
    }

    #[test]
    fn a_movement_is_that_of_what_is_judged() {
        let ramp: Vec<f64> = (0..60).map(|index| 100.0 + f64::from(index)).collect();
        let found = movement(&ramp).unwrap();
        // MSER drops the most it may of a ramp; the quarter that is left out then is a rest of whole batches.
        assert_eq!(found.samples, 45);
        assert!((found.share - 40.0 / 137.0).abs() < 1e-9, "{found:?}");
        let fall: Vec<f64> = ramp.iter().rev().copied().collect();
        assert!(movement(&fall).unwrap().share < -0.2);
        assert_eq!(movement(&ramp[..39]), None);
    }

    #[test]
    fn rounds_are_of_equal_length_and_end_with_the_series() {
        let mut samples = vec![9000.0, 9000.0];
        samples.extend((0..50).map(|index| 100.0 + f64::from(index / 10)));
        let found = Rounds::of(&samples).unwrap();
        assert!((found.range - 4.0 / 102.0).abs() < 1e-9, "{found:?}");
        assert!((found.excursion - 4.0 / 102.0).abs() < 1e-9, "{found:?}");
        assert!(found.are_steady());
        assert_eq!(Rounds::of(&[1.0; 39]), None);
    }

    #[test]
    fn snia_rounds() {
        let are_steady = |rounds: [f64; ROUNDS]| Rounds::between(&rounds).are_steady();
        assert!(are_steady([100.0, 101.0, 99.0, 102.0, 100.0]));
        // Slopes by 2.4 a round: 9.6 % over the window is allowed, 10.4 % is not.
        let line = |step: f64| [-2.0, -1.0, 0.0, 1.0, 2.0].map(|round| 100.0 + step * round);
        assert!(are_steady(line(2.4)) && !are_steady(line(2.6)));
        assert!(!are_steady([100.0, 100.0, 121.0, 100.0, 100.0]));
        assert!(are_steady([95.0, 105.0, 114.0, 105.0, 95.0]));
        assert!(!are_steady([100.0, 100.0, 100.0, 100.0, f64::NAN]));
    }
}
