//! How noisy a machine is, from an A/A run: twice the same treatment in every block. Knows values in the order of time,
//! not what they measure; it is the mathematics of the certificate, whose wording is made elsewhere.
//!
//! Sources: Abedi & Brecht (2017), "Conducting repeatable experiments in highly variable cloud computing environments"
//! (interleaving against running one treatment after the other); Sen (1968), "Estimates of the regression coefficient
//! based on Kendall's tau", JASA 63; Shamos (1976) and Rousseeuw & Croux (1993), "Alternatives to the median absolute
//! deviation", JASA 88 (spread from pairwise differences).

use serde::{Deserialize, Serialize};

use super::sample::median;
use super::{AnalysisError, Arm, Estimate, Level, Sample, smallest_provable_effect};

/// What the median distance of two normal values must be multiplied by to give the standard deviation:
/// 1 / (√2 Φ⁻¹(3/4)).
const SHAMOS: f64 = 1.048_358;

/// Seconds a run must last for its drift to be told for an hour.
const SHORTEST_FOR_HOURS: f64 = 1200.0;

/// The two values of a block of an A/A run, in the order of time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AaBlock {
    /// The earlier value.
    pub first: f64,
    /// The later value.
    pub second: f64,
    /// Which arm the earlier value was drawn for; the later one is the other's.
    pub first_arm: Arm,
}

/// How noisy a machine is for one metric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Noise {
    /// Blocks it is known from.
    pub blocks: usize,
    /// Coefficient of variation of single trials within a block, for planning: the Shamos spread of the log
    /// differences over √2. It is robust because the signed-rank test planned with it is. In simulations, plans for
    /// power .8 from it had .74–.79 under normal, Student t (3) and outlier noise (one trial in twenty eight times as
    /// wide); from the standard deviation .76–.79, .88–.92 and .97–.99, that is, plans several times too long. At 12
    /// blocks it is 4 % high on average.
    pub within_cv: f64,
    /// Standard deviation of the log differences between the arms: everything that happened, wild blocks too.
    pub sigma_d: f64,
    /// The same in percent.
    pub sigma_d_percent: f64,
    /// Lag-1 autocorrelation of the log values in the order of time, drift included: what makes neighbours alike. Not
    /// robust, to be comparable with others' figures; wild values draw it towards 0.
    pub lag1: f64,
    /// Change over the run by the Theil–Sen slope of the log values, which a warm-up or a wild block does not bend.
    pub drift_percent: f64,
    /// The same for an hour; `None` for a run so short that an hour's drift would be a guess.
    pub drift_percent_per_hour: Option<f64>,
    /// By how much differences of nothing shrink by interleaving: the root mean square difference of "k times A, then k
    /// times B" over that of "A and B in turn", over all windows of 2k successive values, k an eighth of all and two at
    /// least. 1 where order does not matter; `None` below four values, or where there is no noise at all.
    pub interleaving_gain: Option<f64>,
}

impl Noise {
    /// Measures an A/A run, given its blocks in the order of time and the seconds from one block's start to the next.
    pub fn measure(blocks: &[AaBlock], seconds_per_block: f64) -> Result<Self, AnalysisError> {
        if !(seconds_per_block.is_finite() && seconds_per_block > 0.0) {
            return Err(AnalysisError::BlockTime {
                seconds: seconds_per_block,
            });
        }
        let series = log_values(blocks)?;
        let differences = blocks.iter().zip(series.chunks_exact(2)).map(|(block, logs)| {
            let later_gains = logs[1] - logs[0];
            match block.first_arm {
                Arm::Baseline => later_gains,
                Arm::Candidate => -later_gains,
            }
        });
        let differences = Sample::new(differences.collect())?;
        let sigma_d = differences.standard_deviation();
        let slope = theil_sen(&series);
        Ok(Self {
            blocks: blocks.len(),
            within_cv: spread(&differences) / std::f64::consts::SQRT_2,
            sigma_d,
            sigma_d_percent: Estimate(sigma_d).percent(),
            lag1: lag1(&series),
            drift_percent: Estimate(slope * (series.len() - 1) as f64).percent(),
            drift_percent_per_hour: (seconds_per_block * blocks.len() as f64 >= SHORTEST_FOR_HOURS)
                .then(|| Estimate(slope * 2.0 * 3600.0 / seconds_per_block).percent()),
            interleaving_gain: interleaving_gain(&series),
        })
    }

    /// The smallest effect so many blocks can prove with power .8; `None` where they can prove nothing.
    pub fn smallest_provable(&self, blocks: u32, level: Level) -> Option<Estimate> {
        smallest_provable_effect(self.within_cv, blocks, level).map(Estimate)
    }
}

fn log_values(blocks: &[AaBlock]) -> Result<Vec<f64>, AnalysisError> {
    let values = blocks.iter().enumerate().flat_map(|(index, block)| {
        [block.first, block.second].map(|value| {
            if value.is_finite() && value > 0.0 {
                Ok(value.ln())
            } else {
                Err(AnalysisError::AaValue { block: index, value })
            }
        })
    });
    values.collect()
}

/// The Shamos spread; the standard deviation where most differences are the same, as in a metric of steps.
fn spread(sample: &Sample) -> f64 {
    let values = sample.values();
    let distances = pairs(values.len()).map(|(first, second)| (values[second] - values[first]).abs());
    let typical = SHAMOS * median(distances.collect()).unwrap_or_default();
    if typical > 0.0 {
        typical
    } else {
        sample.standard_deviation()
    }
}

/// The Theil–Sen slope per step of equally spaced values: the median of the slopes between all pairs.
pub fn theil_sen(values: &[f64]) -> f64 {
    let slopes =
        pairs(values.len()).map(|(first, second)| (values[second] - values[first]) / (second - first) as f64);
    median(slopes.collect()).unwrap_or_default()
}

/// The lag-1 autocorrelation `Σ(x_t − x̄)(x_{t+1} − x̄) / Σ(x_t − x̄)²`; 0 where nothing varies.
fn lag1(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let products: f64 = values
        .windows(2)
        .map(|two| (two[0] - mean) * (two[1] - mean))
        .sum();
    // The mean of equal values may be off by a last bit, which would pass for perfect correlation.
    let varies = values.iter().any(|&value| value.to_bits() != values[0].to_bits());
    if varies { products / squares } else { 0.0 }
}

fn interleaving_gain(series: &[f64]) -> Option<f64> {
    let each = (series.len() / 8).max(2);
    let (mut after, mut in_turn, mut windows) = (0.0, 0.0, 0_u32);
    for window in series.windows(2 * each) {
        let halves = window[each..].iter().sum::<f64>() - window[..each].iter().sum::<f64>();
        let turns: f64 = window.chunks_exact(2).map(|two| two[1] - two[0]).sum();
        after += halves * halves;
        in_turn += turns * turns;
        windows += 1;
    }
    (windows > 0 && in_turn > 0.0).then(|| f64::sqrt(after / in_turn))
}

fn pairs(count: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..count).flat_map(move |first| (first + 1..count).map(move |second| (first, second)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn run(logs: &[f64]) -> Vec<AaBlock> {
        let block = |(index, two): (usize, &[f64])| AaBlock {
            first: two[0].exp(),
            second: two[1].exp(),
            first_arm: if index % 2 == 0 {
                Arm::Baseline
            } else {
                Arm::Candidate
            },
        };
        logs.chunks_exact(2).enumerate().map(block).collect()
    }

    fn noise(logs: &[f64]) -> Noise {
        Noise::measure(&run(logs), 60.0).unwrap()
    }

    /// Golden-ratio steps, evenly spread over ± one half and without order.
    fn spread_evenly(count: u32) -> Vec<f64> {
        (0..count)
            .map(|index| (f64::from(index) * 0.618_034).fract() - 0.5)
            .collect()
    }

    #[test]
    fn pure_drift_is_told_from_noise() {
        let drifting: Vec<f64> = (0..40).map(|index| 0.001 * f64::from(index)).collect();
        let noise = noise(&drifting);
        assert!((noise.drift_percent - 100.0 * 0.039_f64.exp_m1()).abs() < 1e-9);
        // 20 blocks of a minute: 120 values an hour.
        let per_hour = noise.drift_percent_per_hour.unwrap();
        assert!((per_hour - 100.0 * 0.12_f64.exp_m1()).abs() < 1e-9);
        // A step of drift between neighbours, in turn; five of them between halves of five.
        assert!((noise.interleaving_gain.unwrap() - 5.0).abs() < 1e-9);
        assert!(noise.lag1 > 0.9, "{noise:?}");
        // The arm that comes first alternates, and with it the sign of one step.
        assert!((noise.sigma_d - 0.001 * (20.0_f64 / 19.0).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn noise_without_order_has_nothing_to_gain() {
        let logs: Vec<f64> = spread_evenly(400)
            .iter()
            .map(|value| 0.1 * value * value.abs())
            .collect();
        let noise = noise(&logs);
        assert!(noise.drift_percent.abs() < 0.5, "{noise:?}");
        assert!(noise.interleaving_gain.unwrap() < 1.5, "{noise:?}");
    }

    #[test]
    fn a_wild_block_enters_the_figure_but_not_the_plan() {
        let mut logs = spread_evenly(40);
        let calm = noise(&logs);
        logs[20] += 30.0;
        let wild = noise(&logs);
        assert!(wild.sigma_d > 5.0 * calm.sigma_d);
        assert!(
            (wild.within_cv / calm.within_cv - 1.0).abs() < 0.25,
            "{calm:?} {wild:?}"
        );
        let provable = |noise: &Noise| noise.smallest_provable(12, Level::P95).unwrap().log_ratio();
        assert!((provable(&wild) / provable(&calm) - wild.within_cv / calm.within_cv).abs() < 1e-9);
        assert!(calm.smallest_provable(5, Level::P95).is_none());
    }

    #[test]
    fn a_metric_in_steps_or_at_a_cap_still_has_figures() {
        let still = noise(&[0.1; 24]);
        assert!(
            still.within_cv.abs() < 1e-12 && still.lag1.abs() < 1e-12 && still.interleaving_gain.is_none()
        );
        let mut steps = vec![0.0; 24];
        steps[3] = 0.1;
        let stepped = noise(&steps);
        assert!(
            (stepped.within_cv - stepped.sigma_d / 2.0_f64.sqrt()).abs() < 1e-12 && stepped.sigma_d > 0.0
        );
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        assert!(matches!(
            Noise::measure(&run(&[0.0; 2]), 60.0),
            Err(AnalysisError::TooFewValues { values: 1 })
        ));
        assert!(matches!(
            Noise::measure(&run(&[0.0; 8]), 0.0),
            Err(AnalysisError::BlockTime { .. })
        ));
        let mut blocks = run(&[0.0; 8]);
        blocks[2].second = 0.0;
        assert!(matches!(
            Noise::measure(&blocks, 60.0),
            Err(AnalysisError::AaValue { block: 2, .. })
        ));
    }
}
