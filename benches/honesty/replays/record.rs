//! Whether the same record and seed give the same analysis, byte by byte.

use super::figure::{Bounded, Figure, Target};
use super::night::{Night, criteria};
use super::pool::Pool;
use super::replay::replay;
use kvmtune::analysis::{Candidate, Rule, compare};
use rand::seq::SliceRandom;

pub(crate) fn determinism(pool: &Pool, replays: u32) -> Vec<Figure> {
    let analyses = |shuffled: bool| {
        replay(70, replays / 10, |rng| {
            let mut family = Night::deal(pool.window(rng, 44), &[0.02, 0.0, -0.02], rng).family();
            for candidate in family.iter_mut().filter(|_| shuffled) {
                candidate.responses[0].pairs.shuffle(rng);
            }
            [
                Rule::Fixed { blocks: 11 },
                Rule::Looks { min: 6, max: 11 },
                Rule::Anytime,
            ]
            .map(|rule| bytes(&family, rule))
        })
    };
    let (once, again) = (analyses(false), analyses(true));
    let same = Bounded::share(once.iter().zip(&again).map(|(a, b)| a == b));
    vec![Figure::new(
        "same record, same bytes of analysis",
        &pool.name,
        same,
        Target::AtLeast(1.0),
    )]
}

fn bytes(family: &[Candidate], rule: Rule) -> Vec<u8> {
    let judged = compare(family, &criteria(rule), 11).unwrap();
    serde_json::to_vec(&judged.comparisons).unwrap()
}
