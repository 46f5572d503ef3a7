//! Which combinations of levels a part of an experiment has. Knows levels by their places, not what they set.

use super::{MAX_TREATMENTS, Part, PlannedFactor};
use crate::diagnostic::Diagnostic;
use crate::experiment::{DesignKind, Experiment};
use crate::facts::Facts;
use crate::tunable::level;

/// One level of each factor by its place, and what the combination is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pick {
    pub(super) name: Option<String>,
    pub(super) levels: Vec<usize>,
}

impl Pick {
    fn unnamed(levels: Vec<usize>) -> Self {
        Self { name: None, levels }
    }
}

/// Every combination of levels, the baseline first; at most one more than a plan may have.
fn every_combination(factors: &[PlannedFactor]) -> Vec<Pick> {
    let counts: Vec<_> = factors.iter().map(|f| f.levels.len()).collect();
    let baseline = baseline(factors);
    let total = counts
        .iter()
        .fold(1_usize, |n, c| n.saturating_mul(*c))
        .min(MAX_TREATMENTS + 1);
    let others = (0..total)
        .map(|n| nth_combination(n, &counts))
        .filter(|p| *p != baseline);
    std::iter::once(baseline.clone())
        .chain(others)
        .map(Pick::unnamed)
        .collect()
}

/// The baseline, and each other level of each of the `varied` factors alone.
fn one_at_a_time(factors: &[PlannedFactor], varied: std::ops::Range<usize>) -> Vec<Pick> {
    let baseline = baseline(factors);
    let mut picks = vec![Pick::unnamed(baseline.clone())];
    for (i, factor) in factors.iter().enumerate().filter(|(i, _)| varied.contains(i)) {
        for level in (0..factor.levels.len()).filter(|&l| l != factor.baseline) {
            let mut one = baseline.clone();
            one[i] = level;
            picks.push(Pick::unnamed(one));
        }
    }
    picks
}

fn baseline(factors: &[PlannedFactor]) -> Vec<usize> {
    factors.iter().map(|f| f.baseline).collect()
}

/// Which combinations of levels a part of the experiment has, the baseline first.
pub(super) fn of_part(
    experiment: &Experiment,
    facts: &Facts,
    factors: &mut [PlannedFactor],
    part: Part<'_>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Pick> {
    match (part, experiment.design.kind) {
        (Part::Stage { factor, kept }, _) => {
            for (tunable, label) in kept {
                for planned in factors.iter_mut().filter(|f| f.tunable == *tunable) {
                    let level = planned.levels.iter().position(|l| l.label == *label);
                    planned.baseline = level.unwrap_or(planned.baseline);
                }
            }
            one_at_a_time(factors, factor..factor + 1)
        }
        (Part::Confirm { levels, .. } | Part::Ablate { levels, .. }, _) => {
            let mut picks = listed_picks(experiment, facts, factors, faults);
            picks.truncate(1);
            picks.push(with_levels(factors, &picks[0], levels));
            picks
        }
        (Part::Minimal { levels, whole, .. }, _) => {
            let mut picks = listed_picks(experiment, facts, factors, faults);
            picks.truncate(1);
            picks.push(with_levels(factors, &picks[0], levels));
            picks.push(with_levels(factors, &picks[0], whole));
            picks
        }
        (_, DesignKind::OneAtATime | DesignKind::OneFactor) => one_at_a_time(factors, 0..factors.len()),
        _ => listed_picks(experiment, facts, factors, faults),
    }
}

/// The combination with these levels, and those of `baseline` where a factor or a level is not among them.
fn with_levels(factors: &[PlannedFactor], baseline: &Pick, levels: &[(String, String)]) -> Pick {
    let mut chosen = baseline.levels.clone();
    for (place, factor) in factors.iter().enumerate() {
        let wanted = levels.iter().find(|(tunable, _)| *tunable == factor.tunable);
        let level = wanted.and_then(|(_, label)| factor.levels.iter().position(|l| l.label == *label));
        chosen[place] = level.unwrap_or(chosen[place]);
    }
    Pick::unnamed(chosen)
}

/// The listed treatments, or every combination where none is listed.
fn listed_picks(
    experiment: &Experiment,
    facts: &Facts,
    factors: &[PlannedFactor],
    faults: &mut Vec<Diagnostic>,
) -> Vec<Pick> {
    if experiment.treatments.is_empty() {
        return every_combination(factors);
    }
    let ambient: Vec<usize> = factors.iter().map(|f| f.baseline).collect();
    let mut picks: Vec<Pick> = Vec::new();
    for listed in &experiment.treatments {
        let mut levels = picks
            .first()
            .map_or_else(|| ambient.clone(), |first| first.levels.clone());
        for (factor, text) in &listed.levels {
            let wanted = level(&experiment.factors[*factor].tunable, &text.text, facts);
            let place = wanted.ok().and_then(|wanted| {
                let mut known = factors[*factor].levels.iter();
                known.position(|l| l.settings == wanted.settings)
            });
            levels[*factor] = place.unwrap_or(levels[*factor]);
        }
        if let Some(same) = picks.iter().position(|p| p.levels == levels) {
            faults.push(
                Diagnostic::at(
                    listed.span.clone(),
                    format!("this treatment is the same as number {}", same + 1),
                )
                .hint("a level that is not named is the first treatment's"),
            );
        }
        picks.push(Pick {
            name: listed.name.clone(),
            levels,
        });
    }
    picks
}

/// The `n`-th combination in mixed radix, the last factor fastest.
fn nth_combination(mut n: usize, counts: &[usize]) -> Vec<usize> {
    let mut pick = vec![0; counts.len()];
    for (slot, count) in pick.iter_mut().zip(counts).rev() {
        *slot = n % count;
        n /= count;
    }
    pick
}
