//! Randomised complete blocks and the whole plots inside them.
//!
//! Knows treatments by index only.

use super::Treatment;
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

/// Block `number`: whole plots in random order, treatments in random order inside each. A block depends on the
/// seed and its number alone, so a longer run begins with the blocks of a shorter one.
pub fn block(number: u32, treatments: &[Treatment], seed: u64) -> Block {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(number));
    let mut plots: Vec<WholePlot> = Vec::new();
    for (index, treatment) in treatments.iter().enumerate() {
        match plots
            .iter_mut()
            .find(|p| treatments[p.treatments[0]].restart == treatment.restart)
        {
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
    Block { number, plots }
}
