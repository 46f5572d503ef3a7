//! Nights of kvmtune with known truth: noise dealt to the arms of randomised blocks, judged by the library as a real
//! run is. Does not know which figure they are for.

use kvmtune::analysis::{
    Candidate, Comparison, Course, Criteria, Guard, Level, Margin, Pair, Rule, Series, Verdict, compare,
    follow, registered_looks,
};
use kvmtune::experiment::Goal;
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use std::f64::consts::TAU;

/// A standard normal value (Box & Muller 1958).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

/// Student's t with three degrees of freedom (Bailey 1994): finite variance, infinite kurtosis.
pub(crate) fn heavy(rng: &mut impl Rng) -> f64 {
    let radius = (3.0 * ((1.0 - rng.random::<f64>()).powf(-2.0 / 3.0) - 1.0)).sqrt();
    radius * (TAU * rng.random::<f64>()).cos()
}

/// A simulated machine without any change: heavy-tailed noise of 2 % over a drift that is worse than the effects looked
/// for.
pub(crate) fn drifting(rng: &mut impl Rng, values: usize) -> Vec<f64> {
    let mut drift = 0.0;
    let next = |_| {
        drift = 0.95 * drift + 0.01 * normal(rng) + 0.002;
        1000.0 * (drift + 0.02 * heavy(rng)).exp()
    };
    (0..values).map(next).collect()
}

/// Every value of every block: the baseline first, then the candidates.
pub(crate) struct Night(Vec<Vec<f64>>);

impl Night {
    /// Deals the values out in the order of time, to the arms of each block in a fresh random order. Effects are shares
    /// by which a candidate differs from the baseline.
    pub(crate) fn deal(values: &[f64], effects: &[f64], rng: &mut ChaCha8Rng) -> Self {
        let mut order: Vec<usize> = (0..=effects.len()).collect();
        let mut block = |values: &[f64]| {
            order.shuffle(rng);
            let mut dealt = vec![0.0; values.len()];
            for (&arm, &value) in order.iter().zip(values) {
                let effect = arm.checked_sub(1).map_or(0.0, |candidate| effects[candidate]);
                dealt[arm] = value * (1.0 + effect);
            }
            dealt
        };
        Self(values.chunks_exact(effects.len() + 1).map(&mut block).collect())
    }

    fn series(&self, candidate: usize, goal: Goal) -> Series {
        let pair = |(block, values): (u32, &Vec<f64>)| Pair {
            block,
            candidate: values[candidate],
            baseline: values[0],
        };
        Series {
            metric: "metric".into(),
            goal,
            pairs: (1..).zip(&self.0).map(pair).collect(),
        }
    }

    /// All candidates, measured in all blocks.
    pub(crate) fn family(&self) -> Vec<Candidate> {
        let candidate = |index| Candidate {
            treatment: String::new(),
            responses: vec![self.series(index, Goal::Maximize)],
            guards: Vec::new(),
        };
        let arms = self.0.first().map_or(0, Vec::len);
        (1..arms).map(candidate).collect()
    }

    /// The first candidate's values as a latency that must not rise.
    pub(crate) fn guard(&self, margin: f64) -> Guard {
        Guard {
            series: self.series(1, Goal::Minimize),
            margin: Margin::new(margin).unwrap(),
            limit: None,
        }
    }
}

/// Claims at 95 % under a rule.
pub(crate) fn criteria(rule: Rule) -> Criteria {
    Criteria {
        confidence: Level::P95,
        rule,
        ..Criteria::default()
    }
}

/// Whether a difference is claimed, either way.
pub(crate) fn claims(comparison: &Comparison) -> bool {
    matches!(comparison.primary().verdict, Verdict::Better | Verdict::Worse)
}

/// What a run that ends as soon as it may gave.
pub(crate) struct Ended {
    /// The candidates as they stand at the end.
    pub(crate) comparisons: Vec<Comparison>,
    /// Trials, the baseline's too.
    pub(crate) runs: u32,
}

/// Follows a family with enough blocks until its rule lets it stop. What is there of a candidate after it was dropped
/// is not looked at, as it would not have been measured.
pub(crate) fn run(mut family: Vec<Candidate>, rule: Rule) -> Ended {
    let criteria = criteria(rule);
    let most = family
        .iter()
        .map(|c| c.responses[0].pairs.len())
        .max()
        .unwrap_or(0);
    let most = u32::try_from(most).unwrap();
    let moments = match rule {
        Rule::Anytime => (1..=most).collect(),
        _ => registered_looks(rule).0,
    };
    let mut ended: Option<(u32, Course)> = None;
    for blocks in moments {
        let course = follow(&family, &criteria, blocks).unwrap();
        for (candidate, dropped) in family.iter_mut().zip(&course.dropped) {
            if let Some(dropped) = dropped {
                let series = candidate
                    .responses
                    .iter_mut()
                    .chain(candidate.guards.iter_mut().map(|g| &mut g.series));
                series.for_each(|s| s.pairs.retain(|pair| pair.block <= dropped.after));
            }
        }
        let stops = course.stop.is_some();
        ended = Some((blocks, course));
        if stops {
            break;
        }
    }
    let (blocks, course) = ended.expect("a rule has a look");
    let measured = course.dropped.iter().map(|d| d.map_or(blocks, |d| d.after));
    Ended {
        runs: blocks + measured.sum::<u32>(),
        comparisons: compare(&family, &criteria, blocks).unwrap().comparisons,
    }
}
