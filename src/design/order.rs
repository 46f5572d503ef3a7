//! Randomised complete blocks and the whole plots inside them.
//!
//! Knows treatments by index only.

use super::treatment::{Role, Treatment};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Treatments measured between one start of the guest and the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholePlot {
    /// Indices into the plan's treatments, in the order they are measured.
    pub treatments: Vec<usize>,
}

/// Every treatment once, the baseline among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// 0 is the discarded warm-up.
    pub number: u32,
    /// The whole plots, in the order they are run.
    pub plots: Vec<WholePlot>,
}

/// Which treatments share a start of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// Those that need the same settings at the start.
    #[default]
    Shared,
    /// None: every trial has a fresh guest.
    Fresh,
}

/// Block `number`: whole plots in random order, treatments in random order inside each. A block depends on the
/// seed and its number alone, so a longer run begins with the blocks of a shorter one.
///
/// The baseline's second measurement of a long block stands in its middle, whatever the order of the others.
pub fn block(number: u32, treatments: &[Treatment], guests: Guests, seed: u64) -> Block {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(number));
    let mut plots: Vec<WholePlot> = Vec::new();
    let shuffled = treatments
        .iter()
        .enumerate()
        .filter(|(_, t)| t.role != Role::Middle);
    for (index, treatment) in shuffled {
        let shares = |p: &WholePlot| {
            let first = &treatments[p.treatments[0]];
            // Two boots of one setting differ: the noise of a restart factor is the noise between boots.
            let twins = treatment.role == Role::Again && !treatment.restart.is_empty();
            guests == Guests::Shared && first.restart == treatment.restart && !twins
        };
        match plots.iter_mut().find(|p| shares(p)) {
            Some(plot) => plot.treatments.push(index),
            None => plots.push(WholePlot {
                treatments: vec![index],
            }),
        }
    }
    plots.shuffle(&mut rng);
    for plot in &mut plots {
        plot.treatments.shuffle(&mut rng);
    }
    if let Some(middle) = treatments.iter().position(|t| t.role == Role::Middle) {
        put_in_the_middle(&mut plots, middle);
    }
    Block { number, plots }
}

fn put_in_the_middle(plots: &mut Vec<WholePlot>, treatment: usize) {
    if let [only] = plots.as_mut_slice() {
        only.treatments.insert(only.treatments.len() / 2, treatment);
        return;
    }
    let plot = WholePlot {
        treatments: vec![treatment],
    };
    plots.insert(plots.len() / 2, plot);
}
