//! Picks the one treatment worth adopting, or says why the baseline stays. Does not know how to make it permanent.

use serde::Serialize;

use crate::analysis::{Comparison, GuardOutcome, GuardReport};
use crate::experiment::CONFIRMING;

/// Fewest pairs of a confirmation in each of its responses and guards: a lost trial or two do not make it worthless,
/// since there is no second one.
pub const CONFIRMING_PAIRS: usize = 10;

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Recommendation {
    /// Keep the baseline.
    Keep {
        /// Why.
        reason: KeepReason,
    },
    /// Adopt this treatment.
    Adopt(Winner),
}

/// Why the baseline stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum KeepReason {
    /// There was no candidate.
    NothingCompared,
    /// No candidate is better, and none is open any more.
    NoneBetter,
    /// No candidate is better yet.
    Inconclusive {
        /// About how many further blocks would settle the candidate that is nearest to it.
        #[serde(rename = "more-blocks")]
        more_blocks: u32,
    },
    /// Better candidates exist, and a guard stands against each.
    Guarded {
        /// The candidates, best first.
        blocked: Vec<Blocked>,
    },
    /// A confirmation would have proven its candidate, but on less than anything is adopted on.
    TooFew {
        /// Its complete blocks; [`CONFIRMING`] are needed.
        blocks: u32,
        /// The pairs of the response or guard that has fewest; [`CONFIRMING_PAIRS`] are needed.
        pairs: usize,
    },
}

impl Recommendation {
    /// The same of a confirmation with so many complete blocks.
    pub(super) fn of_confirmation(self, blocks: u32) -> Self {
        let Self::Adopt(winner) = &self else {
            return self;
        };
        let pairs = winner.comparison.fewest_pairs();
        if blocks >= CONFIRMING && pairs >= CONFIRMING_PAIRS {
            return self;
        }
        let reason = KeepReason::TooFew { blocks, pairs };
        Self::Keep { reason }
    }
}

/// A better candidate that may not be adopted.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Blocked {
    /// The treatment's name.
    pub treatment: String,
    /// The guards that failed or are unproven.
    pub guards: Vec<GuardReport>,
}

/// A treatment shown better with every guard held. Made only by [`recommend`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Winner {
    comparison: Comparison,
    passed_over: Vec<Blocked>,
}

impl Winner {
    /// The treatment's name.
    pub fn treatment(&self) -> &str {
        &self.comparison.treatment
    }

    /// What it rests on.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Candidates with a larger gain that a guard stands against, best first.
    pub fn passed_over(&self) -> &[Blocked] {
        &self.passed_over
    }
}

/// The candidate with the largest gain in the first response among those better than the baseline in one, worse in
/// none, with all guards held.
pub fn recommend(comparisons: &[Comparison]) -> Recommendation {
    let mut better: Vec<&Comparison> = comparisons
        .iter()
        .filter(|comparison| comparison.is_better())
        .collect();
    let gain = |comparison: &Comparison| {
        comparison
            .primary()
            .effect
            .gain_percent
            .unwrap_or(f64::NEG_INFINITY)
    };
    better.sort_by(|a, b| gain(b).total_cmp(&gain(a)));
    let mut blocked = Vec::new();
    for comparison in better {
        let standing: Vec<GuardReport> = comparison
            .guards
            .iter()
            .filter(|guard| guard.outcome != GuardOutcome::Held)
            .cloned()
            .collect();
        if standing.is_empty() {
            return Recommendation::Adopt(Winner {
                comparison: comparison.clone(),
                passed_over: blocked,
            });
        }
        blocked.push(Blocked {
            treatment: comparison.treatment.clone(),
            guards: standing,
        });
    }
    let reason = if blocked.is_empty() {
        why_none_better(comparisons)
    } else {
        KeepReason::Guarded { blocked }
    };
    Recommendation::Keep { reason }
}

fn why_none_better(comparisons: &[Comparison]) -> KeepReason {
    if comparisons.is_empty() {
        return KeepReason::NothingCompared;
    }
    let open = comparisons.iter().filter_map(Comparison::open);
    open.map(|(_, more_blocks)| more_blocks)
        .min()
        .map_or(KeepReason::NoneBetter, |more_blocks| KeepReason::Inconclusive {
            more_blocks,
        })
}
