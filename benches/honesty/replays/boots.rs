//! False claims of a factor that needs a restart, where every boot has a luck of its own.

use super::figure::{Bounded, Figure, Target};
use super::naive::welch;
use super::night::{heavy, normal};
use super::replay::replay;
use kvmtune::analysis::{Cell, Level, main_effects};
use kvmtune::experiment::Goal;
use rand_chacha::ChaCha8Rng;

const BLOCKS: u32 = 10;
const LIVE: usize = 4;
/// Intervals inside a run that are taken for samples.
const INTERVALS: usize = 20;
/// Spread of the boots and of what is measured within one, as shares.
const LUCK: f64 = 0.02;
const NOISE: f64 = 0.02;

pub(crate) fn false_claims(replays: u32) -> Vec<Figure> {
    let results = replay(20, replays, |rng| {
        let cells = blocks(rng);
        let effects = main_effects(&cells, &[2, LIVE], &[0, 0], Goal::Maximize, Level::P95).unwrap();
        let of_restart = effects.iter().filter(|effect| effect.factor == 0);
        let ours = of_restart.into_iter().any(|effect| effect.contrast.p_raw <= 0.05);
        let mut pooled = |boots| welch(&intervals(rng, boots), &intervals(rng, boots)) <= 0.05;
        [ours, pooled(1), pooled(5)]
    });
    let share = |method: usize| Bounded::share(results.iter().map(|r| r[method]));
    let on = "simulated: boots vary by 2 %, trials in one by 2 % t(3)";
    vec![
        Figure::new(
            "false claims of a restart factor, 10 blocks",
            on,
            share(0),
            Target::AtMost(0.05, 0.055),
        )
        .beside("20 intervals of one boot an arm, Welch", share(1))
        .beside("of five boots an arm, pooled", share(2)),
    ]
}

/// In each block two boots, one a level of the restart factor, of four live trials each.
fn blocks(rng: &mut ChaCha8Rng) -> Vec<Cell> {
    let mut cells = Vec::new();
    for block in 0..BLOCKS {
        for restart in 0..2 {
            let luck = LUCK * normal(rng);
            for live in 0..LIVE {
                cells.push(Cell {
                    block,
                    levels: vec![restart, live],
                    value: value(rng, luck),
                });
            }
        }
    }
    cells
}

fn intervals(rng: &mut ChaCha8Rng, boots: usize) -> Vec<f64> {
    let mut values = Vec::new();
    for _ in 0..boots {
        let luck = LUCK * normal(rng);
        values.extend((0..INTERVALS).map(|_| value(rng, luck)));
    }
    values
}

fn value(rng: &mut ChaCha8Rng, luck: f64) -> f64 {
    1000.0 * (luck + NOISE * heavy(rng)).exp()
}
