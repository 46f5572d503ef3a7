//! The gain that is published: ten candidates, a selection, a confirmation in fresh blocks.

use super::figure::{Bounded, Figure, Target};
use super::intervals::covers;
use super::night::{Night, run};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Rule, Verdict};
use kvmtune::decision::{Recommendation, recommend};
use rand_chacha::ChaCha8Rng;

const EFFECTS: [f64; 10] = [0.05, 0.03, 0.02, 0.0, 0.0, 0.0, 0.0, 0.0, -0.02, -0.05];
const SELECTION: Rule = Rule::Looks { min: 8, max: 20 };
const CONFIRMATION: usize = 12;

/// What became of a night, in percent.
struct Published {
    /// The published gain less the true one, if one was published.
    over: Option<f64>,
    /// Whether the interval of the confirmation holds the truth, if there was one.
    covered: Option<bool>,
    /// The best of the observed values, less the true gain of what it was observed of.
    best_over: f64,
}

pub(crate) fn select_and_confirm(pool: &Pool, replays: u32) -> Vec<Figure> {
    let mut figures = on(pool, 50, replays, true);
    figures.extend(on(&pool.with_cv(2.5, 3.5), 51, replays, false));
    figures.extend(on(&pool.with_cv(5.0, 20.0), 52, replays, false));
    figures
}

fn on(pool: &Pool, stream: u64, replays: u32, held: bool) -> Vec<Figure> {
    let nights = replay(stream, replays, |rng| night(pool, rng));
    let over: Vec<f64> = nights.iter().filter_map(|n| n.over).collect();
    let best: Vec<f64> = nights.iter().map(|n| n.best_over).collect();
    let figure = |name: &str, share, target| {
        let target = if held {
            Target::at_most(target)
        } else {
            Target::None
        };
        let ours = Bounded::quantile(over.clone(), share);
        Figure::new(
            format!("overclaim of the published gain, {name}"),
            &pool.name,
            ours,
            target,
        )
        .beside("best observed", Bounded::quantile(best.clone(), share))
    };
    let covered = Bounded::share(nights.iter().filter_map(|n| n.covered));
    let target = if held {
        Target::Within(0.94, 0.96)
    } else {
        Target::None
    };
    vec![
        Figure::new(
            "interval holds the truth after select and confirm",
            &pool.name,
            covered,
            target,
        ),
        Figure::new(
            "nights with a published gain",
            &pool.name,
            Bounded::share(nights.iter().map(|n| n.over.is_some())),
            Target::None,
        ),
        figure("median", 0.5, 0.3),
        figure("nine of ten", 0.9, 1.0),
    ]
}

fn night(pool: &Pool, rng: &mut ChaCha8Rng) -> Published {
    let arms = EFFECTS.len() + 1;
    let values = pool.window(rng, 20 * arms + 2 * CONFIRMATION);
    let (selection, fresh) = values.split_at(20 * arms);
    let mut family = Night::deal(selection, &EFFECTS, rng).family();
    for (place, candidate) in family.iter_mut().enumerate() {
        candidate.treatment = place.to_string();
    }
    let observed =
        (0..EFFECTS.len()).map(|c| 100.0 * ((1.0 + EFFECTS[c]) * selection[c + 1] / selection[0] - 1.0));
    let (best, gain) = observed.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    let mut published = Published {
        over: None,
        covered: None,
        best_over: gain - 100.0 * EFFECTS[best],
    };
    if let Recommendation::Adopt(winner) = recommend(&run(family, SELECTION).comparisons) {
        let truth = EFFECTS[winner.treatment().parse::<usize>().unwrap()];
        let blocks = u32::try_from(CONFIRMATION).unwrap();
        let confirmed = run(Night::deal(fresh, &[truth], rng).family(), Rule::Fixed { blocks });
        let primary = confirmed.comparisons[0].primary();
        published.covered = Some(covers(&confirmed.comparisons[0], truth));
        if primary.verdict == Verdict::Better {
            published.over = primary.effect.gain_percent.map(|gain| gain - 100.0 * truth);
        }
    }
    published
}
