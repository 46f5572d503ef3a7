//! Error rates of looking often, of settling and of factorial effects, on seeded series without any effect. Those of
//! comparisons are in `benches/honesty/`.
#![allow(clippy::unwrap_used, reason = "tests")]

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::signed_rank::count_sums;
use super::*;
use crate::experiment::Goal;

type Draw = fn(&mut Noisy) -> f64;
type Trial = fn(&mut Noisy, usize) -> Vec<f64>;
type Rise = fn(f64) -> f64;

struct Noisy(ChaCha8Rng);

impl Noisy {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.0.random::<f64>()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    /// Student's t (Bailey 1994).
    fn student(&mut self, freedom: f64) -> f64 {
        let radius = (freedom * ((1.0 - self.0.random::<f64>()).powf(-2.0 / freedom) - 1.0)).sqrt();
        radius * (std::f64::consts::TAU * self.0.random::<f64>()).cos()
    }

    fn series(&mut self, count: usize, mut next: impl FnMut(&mut Self) -> f64) -> Vec<f64> {
        (0..count).map(|_| next(self)).collect()
    }

    /// An autoregressive series in its stationary state, with variance 1.
    fn autoregressive(&mut self, count: usize, coefficient: f64) -> Vec<f64> {
        let mut value = self.normal();
        let fresh = (1.0 - coefficient * coefficient).sqrt();
        self.series(count, |noisy| {
            value = coefficient * value + fresh * noisy.normal();
            value
        })
    }
}

fn rate(what: &str, replays: u32, hit: impl FnMut(u64) -> bool) -> Interval {
    let hits = u32::try_from((0..u64::from(replays)).map(hit).filter(|&hit| hit).count()).unwrap();
    let bounds = clopper_pearson(hits, replays, Level::P95).unwrap();
    let share = f64::from(hits) / f64::from(replays);
    println!(
        "{what}: {share:.4} [{:.4}, {:.4}] over {replays}",
        bounds.low, bounds.high
    );
    bounds
}

/// Whether a claim is made at any look.
fn claims_at_a_look(differences: &[f64], counts: &[u32], nominal: &[f64]) -> bool {
    counts.iter().zip(nominal).any(|(&count, &p)| {
        let seen = Sample::new(differences[..count as usize].to_vec()).unwrap();
        signed_rank_test(&seen).two_sided <= p
    })
}

#[test]
fn looking_six_times_claims_falsely_at_most_one_time_in_twenty() {
    let counts = looks(8, 20);
    let nominal = boundary(&counts, 0.05);
    let normal = rate("six looks, normal", 8_000, |seed| {
        claims_at_a_look(&Noisy::new(seed).series(20, Noisy::normal), &counts, &nominal)
    });
    let heavy = rate("six looks, Student t with 2", 8_000, |seed| {
        let differences = Noisy::new(1_000_000 + seed).series(20, |noisy| noisy.student(2.0));
        claims_at_a_look(&differences, &counts, &nominal)
    });
    // Between what the discrete test loses and the level.
    for bounds in [normal, heavy] {
        assert!(
            bounds.low <= 0.05 && bounds.high <= 0.055 && bounds.high >= 0.04,
            "{bounds:?}"
        );
    }
    let naive = rate("six looks at p < .05", 2_000, |seed| {
        claims_at_a_look(&Noisy::new(seed).series(20, Noisy::normal), &counts, &[0.05; 6])
    });
    assert!(naive.low > 0.09, "{naive:?}");
}

/// Exact p-values come in steps of 2/2^n, so that a look uses only part of what the boundary allows it.
#[test]
fn the_discrete_test_loses_most_at_the_first_look() {
    let counts = looks(8, 20);
    let mut used = Vec::new();
    for (&count, nominal) in counts.iter().zip(boundary(&counts, 0.05)) {
        let all = 2.0_f64.powi(i32::try_from(count).unwrap());
        let mut reaching = 0;
        let attainable = count_sums(1..=count as usize, 60).into_iter().map(|sums| {
            reaching += sums;
            2.0 * reaching as f64 / all
        });
        let attained = attainable.take_while(|&p| p <= nominal).last().unwrap();
        println!("{count} blocks: allowed {nominal:.5}, attained {attained:.5}");
        used.push(attained / nominal);
    }
    assert!((used[0] - 0.007_812_5 / 0.012_649).abs() < 1e-3, "{used:?}");
    assert!(used[1..].iter().all(|&used| used > 0.8), "{used:?}");
}

#[test]
fn evidence_at_every_block_claims_falsely_at_most_one_time_in_twenty() {
    let shapes: [(&str, Draw); 3] = [
        ("normal", Noisy::normal),
        ("Student t with 2", |noisy| noisy.student(2.0)),
        ("Student t with 1", |noisy| noisy.student(1.0)),
    ];
    for (name, next) in shapes {
        let bounds = rate(&format!("e-process over 200 blocks, {name}"), 4_000, |seed| {
            e_value(&Noisy::new(2_000_000 + seed).series(200, next)).greatest >= 20.0
        });
        assert!(bounds.high <= 0.05, "{name} {bounds:?}");
    }
    let found = rate("e-process, shift of one deviation, 30 blocks", 1_000, |seed| {
        let evidence = e_value(&Noisy::new(3_000_000 + seed).series(30, |noisy| 1.0 + noisy.normal()));
        evidence.greatest >= 20.0 && evidence.positive
    });
    assert!(found.low > 0.9, "{found:?}");
}

#[test]
fn stationary_trials_are_rarely_called_unsteady() {
    for samples in [40, 60, 120, 300] {
        let shapes: [(&str, Trial); 3] = [
            ("normal", |noisy, count| noisy.series(count, Noisy::normal)),
            ("Student t with 3", |noisy, count| {
                noisy.series(count, |noisy| noisy.student(3.0))
            }),
            ("AR(1) .5", |noisy, count| noisy.autoregressive(count, 0.5)),
        ];
        for (name, series) in shapes {
            let bounds = rate(&format!("not steady, {samples} samples, {name}"), 1_000, |seed| {
                let noise = series(&mut Noisy::new(4_000_000 + seed), samples);
                let values: Vec<f64> = noise.iter().map(|noise| 10.0 + noise).collect();
                steadiness(&values) == Steadiness::NotSteady
            });
            assert!(bounds.low <= 0.02 && bounds.high <= 0.03, "{name} {bounds:?}");
        }
    }
}

/// A rise by a quarter, by the end of the series, of its first half, or at once after .6 of it.
#[test]
fn rising_trials_are_not_steady_or_lose_their_rise() {
    let shapes: [(&str, Rise); 3] = [
        ("all through", |place| 0.8 + 0.2 * place),
        ("in the first half", |place| (0.8 + 0.4 * place).min(1.0)),
        ("late", |place| if place < 0.6 { 0.8 } else { 1.0 }),
    ];
    for (name, rise) in shapes {
        for (samples, missed_at_most) in [(60, 0.02), (120, 0.01), (300, 0.01)] {
            let missed = rate(&format!("rise missed, {name}, {samples} samples"), 500, |seed| {
                let mut noisy = Noisy::new(5_000_000 + seed);
                let places = (0..samples).map(|index| f64::from(index) / f64::from(samples - 1));
                let truth: Vec<f64> = places.map(rise).collect();
                let values: Vec<f64> = truth
                    .iter()
                    .map(|value| value * (1.0 + 0.02 * noisy.normal()))
                    .collect();
                let Steadiness::Steady { warmup } = steadiness(&values) else {
                    return false;
                };
                let kept = &truth[warmup..];
                // More than 2 % off what it settles at.
                (kept.iter().sum::<f64>() / kept.len() as f64 - 1.0).abs() > 0.02
            });
            assert!(missed.low <= missed_at_most, "{name} {missed:?}");
        }
    }
}

/// Ten blocks of three boots, each with a luck of five times the noise, of four live trials.
fn boots(seed: u64) -> Vec<Cell> {
    let mut noisy = Noisy::new(6_000_000 + seed);
    let mut cells = Vec::new();
    for block in 0..10 {
        let mut restart: Vec<usize> = (0..3).collect();
        restart.shuffle(&mut noisy.0);
        for level in restart {
            let luck = 0.05 * noisy.student(3.0);
            for live in 0..4 {
                let value = 1000.0 * (luck + 0.01 * noisy.normal()).exp();
                cells.push(Cell {
                    block,
                    levels: vec![level, live],
                    value,
                });
            }
        }
    }
    cells
}

#[test]
fn boot_luck_does_not_pass_for_a_restart_factors_effect() {
    let mut live_claims = 0_u32;
    let mut interaction_claims = 0_u32;
    let restart = rate("false claims of a restart factor", 2_000, |seed| {
        let cells = boots(seed);
        let effects = main_effects(&cells, &[3, 4], &[0, 0], Goal::Maximize, Level::P95).unwrap();
        let claims = |factor| {
            let of_factor = effects.iter().filter(move |effect| effect.factor == factor);
            of_factor
                .into_iter()
                .any(|effect| effect.contrast.p_raw <= 0.05 / 2.0)
        };
        live_claims += u32::from(effects.iter().any(|effect| effect.contrast.p_holm <= 0.05));
        let pairs = interactions(&cells, &[3, 4], &[0, 0], Goal::Maximize, Level::P95).unwrap();
        interaction_claims += u32::from(pairs.iter().any(|pair| pair.contrast.p_holm <= 0.05));
        claims(0)
    });
    println!("families with a false claim: main {live_claims}, interactions {interaction_claims} of 2000");
    assert!(restart.low <= 0.05 && restart.high <= 0.06, "{restart:?}");
    assert!(
        live_claims <= 120 && interaction_claims <= 120,
        "{live_claims} {interaction_claims}"
    );
}
