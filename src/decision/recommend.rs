//! Picks the one treatment worth adopting, or says why the baseline stays. Does not know how to make it permanent.

use serde::Serialize;

use crate::analysis::{Comparison, GuardOutcome, GuardReport, Verdict};

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
    let can_win = |comparison: &&Comparison| {
        let failed = comparison
            .guards
            .iter()
            .any(|g| g.outcome == GuardOutcome::Failed);
        let worse = comparison.responses.iter().any(|r| r.verdict == Verdict::Worse);
        !failed && !worse
    };
    let judgements = comparisons
        .iter()
        .filter(can_win)
        .flat_map(|comparison| &comparison.responses);
    let open = judgements.filter_map(|judgement| match judgement.verdict {
        Verdict::Inconclusive { more_blocks } => Some(more_blocks),
        _ => None,
    });
    open.min()
        .map_or(KeepReason::NoneBetter, |more_blocks| KeepReason::Inconclusive {
            more_blocks,
        })
}
