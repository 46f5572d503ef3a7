//! How often a guard lets through what it must not, and a difference passes for none.

use super::figure::{Bounded, Figure, Target};
use super::naive::welch;
use super::night::{Night, drifting, run};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Guard, GuardOutcome, Level, Rule, judge_guard};
use rand_chacha::ChaCha8Rng;

const MARGIN: f64 = 0.05;
const TARGET: Target = Target::AtMost(0.05, 0.055);
const LOOKS: Rule = Rule::Looks { min: 8, max: 20 };

pub(crate) fn misses(pool: &Pool, replays: u32) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (stream, worse, name) in [(60, 0.10, "10 % worse"), (62, MARGIN, "worse by just the margin")] {
        let results = replay(stream, replays, |rng| night(pool.window(rng, 40), worse, rng));
        figures.extend(both(&results, name, &pool.name));
    }
    let results = replay(64, replays, |rng| night(&drifting(rng, 40), MARGIN, rng));
    figures.extend(both(
        &results,
        "worse by just the margin",
        "simulated drift, t(3) noise",
    ));
    figures.push(equivalence(pool, replays));
    figures
}

/// Equivalence is claimed where the difference is just the margin of 1 %.
fn equivalence(pool: &Pool, replays: u32) -> Figure {
    let results = replay(66, replays, |rng| {
        let values = pool.window(rng, 20);
        let family = Night::deal(values, &[0.01], rng).family();
        let ended = run(family, Rule::Fixed { blocks: 10 });
        let b: Vec<f64> = values[10..].iter().map(|value| value * 1.01).collect();
        [
            ended.comparisons[0].primary().negligible,
            welch(&values[..10], &b) > 0.05,
        ]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    let name = "equivalence within 1 % claimed of 1 %, 10 blocks";
    Figure::new(name, &pool.name, share(0), TARGET)
        .beside("no significant difference (Welch, A then B)", share(1))
}

fn both(results: &[[bool; 3]], name: &str, on: &str) -> [Figure; 2] {
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    let figure = |rule: usize, blocks: &str| {
        Figure::new(
            format!("p99 {name} let through, margin 5 %, {blocks}"),
            on,
            share(rule),
            TARGET,
        )
        .beside("no significant rise (Welch, A then B, n = 10)", share(2))
    };
    [figure(0, "10 blocks"), figure(1, "looks at 8 to 20 blocks")]
}

/// Whether the guard is held after ten blocks, and where a run with looks ends; and whether no rise is significant.
fn night(values: &[f64], worse: f64, rng: &mut ChaCha8Rng) -> [bool; 3] {
    let night = Night::deal(values, &[worse], rng);
    let mut guard = night.guard(MARGIN);
    // The throughput gains clearly, so that the guard alone decides.
    let mut family = Night::deal(values, &[1.0], rng).family();
    family[0].guards.push(guard.clone());
    let ended = run(family, LOOKS);
    guard.series.pairs.truncate(10);
    let b: Vec<f64> = values[10..20].iter().map(|value| value * (1.0 + worse)).collect();
    [
        is_held(&guard),
        ended.comparisons[0].guards[0].outcome == GuardOutcome::Held,
        welch(&values[..10], &b) > 0.05,
    ]
}

fn is_held(guard: &Guard) -> bool {
    judge_guard(guard, Level::P95).unwrap().outcome == GuardOutcome::Held
}
