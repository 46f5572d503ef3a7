//! How often an interval holds the true effect.

use super::figure::{Bounded, Figure, Target};
use super::night::{Night, criteria, run};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Comparison, Rule, Sample, compare, registered_looks, student_t_interval};
use kvmtune::analysis::{Level, Pair};

const TARGET: Target = Target::Within(0.94, 0.96);
const TRUTH: f64 = 0.03;

pub(crate) fn coverage(pool: &Pool, replays: u32) -> Vec<Figure> {
    let mut figures: Vec<Figure> = (30..)
        .zip([10, 20])
        .map(|(stream, blocks)| fixed(pool, stream, replays, blocks))
        .collect();
    figures.extend(looks(pool, replays));
    figures
}

/// Ends this near to the truth, in percent, are at it: equal values make ends that differ from it by rounding only.
const ROUNDING: f64 = 1e-9;

/// Whether the interval of the first response holds this effect; without an interval nothing is excluded.
pub(crate) fn covers(comparison: &Comparison, truth: f64) -> bool {
    let (interval, truth) = (comparison.primary().effect.interval_percent, 100.0 * truth);
    interval.is_none_or(|i| i.low <= truth + ROUNDING && truth - ROUNDING <= i.high)
}

fn fixed(pool: &Pool, stream: u64, replays: u32, blocks: u32) -> Figure {
    let results = replay(stream, replays, |rng| {
        let values = pool.window(rng, 2 * blocks as usize);
        let family = Night::deal(values, &[TRUTH], rng).family();
        let ended = run(family, Rule::Fixed { blocks });
        let (a, b) = values.split_at(blocks as usize);
        let in_turn: Vec<f64> = a.iter().zip(b).map(|(a, b)| (b / a).ln()).collect();
        let student = student_t_interval(&Sample::new(in_turn).unwrap(), Level::P95).unwrap();
        [covers(&ended.comparisons[0], TRUTH), student.contains(0.0)]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    Figure::new(
        format!("interval holds the truth, {blocks} blocks"),
        &pool.name,
        share(0),
        TARGET,
    )
    .beside("t interval, A then B", share(1))
}

/// The interval where the run ended, and those of all looks together, which is what repeated intervals promise.
fn looks(pool: &Pool, replays: u32) -> Vec<Figure> {
    let rule = Rule::Looks { min: 8, max: 20 };
    let results = replay(32, replays, |rng| {
        let family = Night::deal(pool.window(rng, 40), &[TRUTH], rng).family();
        let counts = registered_looks(rule).0;
        let at = |blocks: u32| compare(&family, &criteria(rule), blocks).unwrap();
        let mut held = counts
            .iter()
            .map(|&blocks| covers(&at(blocks).comparisons[0], TRUTH));
        let together = held.all(|held| held);
        let plain = |blocks: &u32| {
            let differences = family[0].responses[0]
                .pairs
                .iter()
                .take(*blocks as usize)
                .map(difference);
            let interval = student_t_interval(&Sample::new(differences.collect()).unwrap(), Level::P95);
            interval.is_none_or(|i| i.contains(TRUTH.ln_1p()))
        };
        let plain = counts.iter().all(plain);
        [covers(&run(family, rule).comparisons[0], TRUTH), together, plain]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    vec![
        Figure::new(
            "intervals of all looks at 8 to 20 blocks hold the truth",
            &pool.name,
            share(1),
            TARGET,
        )
        .beside("t intervals of the same pairs", share(2)),
        Figure::new(
            "interval where the run with looks ended",
            &pool.name,
            share(0),
            Target::AtLeast(0.94),
        ),
    ]
}

fn difference(pair: &Pair) -> f64 {
    (pair.candidate / pair.baseline).ln()
}
