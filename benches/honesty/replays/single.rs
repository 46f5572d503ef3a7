//! False claims of one comparison.

use super::figure::{Bounded, Figure, Target};
use super::naive::{bootstrap_t, peeks, rank_sum, welch};
use super::night::{Night, claims, criteria, drifting, run};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Rule, compare};
use rand_chacha::ChaCha8Rng;

const TARGET: Target = Target::AtMost(0.05, 0.055);
const RESAMPLES: u32 = 200;
/// Blocks of a run under the anytime rule.
const ANYTIME: u32 = 30;

pub(crate) fn false_claims(pool: &Pool, replays: u32) -> Vec<Figure> {
    vec![
        fixed(pool, replays),
        looks(pool, replays),
        anytime(pool, replays / 2),
        simulated(replays),
    ]
}

/// Ten blocks, and the same twenty values taken for ten runs of A and then ten of B.
fn fixed(pool: &Pool, replays: u32) -> Figure {
    let results = replay(1, replays, |rng| {
        let values = pool.window(rng, 20);
        let ours = claims(
            &run(
                Night::deal(values, &[0.0], rng).family(),
                Rule::Fixed { blocks: 10 },
            )
            .comparisons[0],
        );
        let (a, b) = values.split_at(10);
        [
            ours,
            rank_sum(a, b) <= 0.05,
            welch(a, b) <= 0.05,
            bootstrap_t(a, b, RESAMPLES, rng) <= 0.05,
        ]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    Figure::new("A/A false claims, 10 blocks", &pool.name, share(0), TARGET)
        .beside("rank sum, A then B, n = 10", share(1))
        .beside("Welch", share(2))
        .beside("bootstrap t", share(3))
}

fn looks(pool: &Pool, replays: u32) -> Figure {
    let results = replay(2, replays, |rng| {
        let values = pool.window(rng, 40);
        let ended = run(
            Night::deal(values, &[0.0], rng).family(),
            Rule::Looks { min: 8, max: 20 },
        );
        let every_other = |first| values[first..].iter().step_by(2).copied().collect::<Vec<_>>();
        [
            claims(&ended.comparisons[0]),
            peeks(&every_other(0), &every_other(1)),
            rank_sum(&values[..20], &values[20..]) <= 0.05,
        ]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    Figure::new(
        "A/A false claims, looks at 8 to 20 blocks",
        &pool.name,
        share(0),
        TARGET,
    )
    .beside("rank sum after every pair until p < .05", share(1))
    .beside("rank sum, A then B, n = 20", share(2))
}

fn anytime(pool: &Pool, replays: u32) -> Figure {
    let results = replay(3, replays, |rng| {
        let values = pool.window(rng, 2 * ANYTIME as usize);
        let family = Night::deal(values, &[0.0], rng).family();
        // A claim, once made, stays: one judgement at the end tells of all blocks.
        let judged = compare(&family, &criteria(Rule::Anytime), ANYTIME).unwrap();
        let every_other = |first| values[first..].iter().step_by(2).copied().collect::<Vec<_>>();
        [
            claims(&judged.comparisons[0]),
            peeks(&every_other(0), &every_other(1)),
        ]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    Figure::new(
        "A/A false claims, anytime, each of 30 blocks",
        &pool.name,
        share(0),
        TARGET,
    )
    .beside("rank sum after every pair until p < .05", share(1))
}

fn simulated(replays: u32) -> Figure {
    let night = |rng: &mut ChaCha8Rng| {
        let values = drifting(rng, 20);
        let (a, b) = values.split_at(10);
        let others = [rank_sum(a, b) <= 0.05, welch(a, b) <= 0.05];
        let family = Night::deal(&values, &[0.0], rng).family();
        (
            claims(&run(family, Rule::Fixed { blocks: 10 }).comparisons[0]),
            others,
        )
    };
    let results = replay(4, replays, night);
    let share = |method: usize| Bounded::share(results.iter().map(|r| r.1[method]));
    let ours = Bounded::share(results.iter().map(|r| r.0));
    Figure::new(
        "A/A false claims, 10 blocks",
        "simulated drift, t(3) noise",
        ours,
        TARGET,
    )
    .beside("rank sum, A then B", share(0))
    .beside("Welch", share(1))
}
