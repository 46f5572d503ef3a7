//! How often one real effect is shown, and with how many runs.

use super::figure::{Bounded, Figure, Target};
use super::naive::rank_sum;
use super::night::{Night, run};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Rule, Verdict};

/// Why the last number of runs is missed.
const NOISIER: &str = "noisier than the protocol's data, rank sums find 87 % here and 89 % there";

/// An effect, the least power at it and the most runs it may take, with a budget of thirty pairs.
const EFFECTS: [(f64, f64, f64); 3] = [(0.01, 0.60, 42.0), (0.02, 0.80, 33.0), (0.05, 0.93, 24.0)];

pub(crate) fn by_effect(pool: &Pool, replays: u32) -> Vec<Figure> {
    let mut figures = Vec::new();
    for (stream, (effect, power, runs)) in (40..).step_by(2).zip(EFFECTS) {
        let long = Rule::Looks { min: 6, max: 30 };
        figures.extend(one(
            pool,
            stream,
            replays,
            long,
            effect,
            (Target::AtLeast(power), Target::at_most(runs)),
        ));
        let short = Rule::Looks { min: 8, max: 20 };
        figures.extend(one(
            pool,
            stream + 1,
            replays,
            short,
            effect,
            (Target::None, Target::None),
        ));
    }
    figures
}

fn one(
    pool: &Pool,
    stream: u64,
    replays: u32,
    rule: Rule,
    effect: f64,
    targets: (Target, Target),
) -> [Figure; 2] {
    let Rule::Looks { min, max } = rule else {
        unreachable!("a rule with looks")
    };
    let results = replay(stream, replays, |rng| {
        let values = pool.window(rng, 2 * max as usize);
        let ended = run(Night::deal(values, &[effect], rng).family(), rule);
        let b: Vec<f64> = values[10..20]
            .iter()
            .map(|value| value * (1.0 + effect))
            .collect();
        let found = ended.comparisons[0].primary().verdict == Verdict::Better;
        (found, ended.runs, rank_sum(&values[..10], &b) <= 0.05)
    });
    let known = (max == 30 && effect > 0.02).then_some(NOISIER);
    let runs: Vec<u32> = results.iter().map(|r| r.1).collect();
    let name = format!("+{:.0} %, {min} to {max} pairs", 100.0 * effect);
    let power = Bounded::share(results.iter().map(|r| r.0));
    [
        Figure::new(format!("{name}: shown"), &pool.name, power, targets.0).beside(
            "rank sum, A then B, n = 10",
            Bounded::share(results.iter().map(|r| r.2)),
        ),
        Figure::new(
            format!("{name}: runs"),
            &pool.name,
            Bounded::mean_runs(&runs),
            targets.1,
        )
        .known_to_miss(known)
        .beside("rank sum", Bounded::mean_runs(&[20])),
    ]
}
