//! Randomised complete blocks, the boots of the host inside them, and the whole plots inside those.
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
    /// Number of the boot of the host within the block; whole plots of one boot follow each other.
    #[serde(default, skip_serializing_if = "is_first")]
    pub boot: u32,
    /// Indices into the plan's treatments, in the order they are measured.
    pub treatments: Vec<usize>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_first(boot: &u32) -> bool {
    *boot == 0
}

/// One boot of the host: every block has boots of its own, because what a boot happens to be like would else be in two
/// blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootAt {
    /// Number of the block.
    pub block: u32,
    /// Number of the boot in it.
    pub boot: u32,
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
    /// The same, of one block: each block has starts of its own.
    Block,
    /// None: every trial has a fresh guest.
    Fresh,
}

/// Block `number`: boots of the host in random order, whole plots in random order inside each, treatments in random
/// order inside those. A block depends on the seed and its number alone, so a longer run begins with the blocks of a
/// shorter one.
///
/// The baseline's second measurement of a long block stands in its middle, whatever the order of the others.
pub fn block(number: u32, treatments: &[Treatment], guests: Guests, seed: u64) -> Block {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(u64::from(number));
    let mut boots: Vec<Vec<WholePlot>> = Vec::new();
    let shuffled = treatments
        .iter()
        .enumerate()
        .filter(|(_, t)| t.role != Role::Middle);
    for (index, treatment) in shuffled {
        let is_twin = treatment.role == Role::Again;
        let first = |p: &WholePlot| &treatments[p.treatments[0]];
        // Two boots of one setting differ: the noise of a factor that needs a boot is the noise between boots.
        let shares_boot = |plots: &&mut Vec<WholePlot>| {
            let twins = is_twin && !treatment.boot.is_empty();
            plots.first().is_some_and(|p| first(p).boot == treatment.boot) && !twins
        };
        let shares = |p: &&mut WholePlot| {
            let twins = is_twin && !treatment.restart.is_empty();
            guests != Guests::Fresh && first(p).restart == treatment.restart && !twins
        };
        let plot = WholePlot {
            boot: 0,
            treatments: vec![index],
        };
        match boots.iter_mut().find(shares_boot) {
            Some(plots) => match plots.iter_mut().find(shares) {
                Some(plot) => plot.treatments.push(index),
                None => plots.push(plot),
            },
            None => boots.push(vec![plot]),
        }
    }
    boots.shuffle(&mut rng);
    let mut plots = Vec::new();
    for (number, mut of_boot) in (0..).zip(boots) {
        of_boot.shuffle(&mut rng);
        for plot in &mut of_boot {
            plot.boot = number;
            plot.treatments.shuffle(&mut rng);
        }
        plots.append(&mut of_boot);
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
        boot: 0,
        treatments: vec![treatment],
    };
    plots.insert(plots.len() / 2, plot);
}
