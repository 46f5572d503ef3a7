//! From a run's record to what may be said of it.
//!
//! Pure: folds trials to one number per block, treatment and metric, and hands them to `analysis`.

use super::numbers::{Column, Numbers, judged_blocks};
use super::{Recommendation, recommend};
use crate::analysis::{
    AnalysisError, Candidate, Cell, Comparison, Course, Criteria, FactorEffect, Guard, Interaction, Level,
    Margin, Rule, Stop, follow_last_two, interactions, judge, main_effects, median,
};
use crate::design::{Plan, Role};
use crate::event::{Outcome, Purpose, RunHeader, TrialRecord};
use crate::experiment::{MetricId, Response, Stopping};
use serde::Serialize;

/// What a run shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluation {
    /// One comparison with the baseline for each candidate, in the plan's order.
    pub comparisons: Vec<Comparison>,
    /// What to do.
    pub recommendation: Recommendation,
    /// How many trials of the judged blocks ended how.
    pub counts: Counts,
    /// Number of complete blocks.
    pub done: u32,
    /// Why no more blocks were needed.
    pub stop: Option<Stop>,
    /// When claims may be made.
    pub rule: Rule,
    /// How sure the claims of this run are together.
    pub confidence: Level,
    /// Median of the baseline over the judged blocks, for each response.
    pub baseline_medians: Vec<Option<f64>>,
    /// Metrics of which pairs were left out, because one of the two values was zero; and how many.
    pub without_ratio: Vec<(MetricId, usize)>,
    /// What each factor does by itself and with others, where the treatments combine them.
    pub effects: Vec<Effects>,
}

/// Main effects and interactions on one response.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effects {
    /// The response.
    pub metric: MetricId,
    /// One for each level beside the baseline of each factor.
    pub main: Vec<FactorEffect>,
    /// One for each pair of them.
    pub interactions: Vec<Interaction>,
}

/// Trials by outcome, the discarded block left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Gave numbers.
    pub measured: usize,
    /// Gave numbers of a workload that never settled.
    pub unsteady: usize,
    /// Gave none.
    pub failed: usize,
    /// The settings did not hold.
    pub invalid: usize,
    /// In the discarded block.
    pub discarded: usize,
}

/// Judges the blocks of a run; block 0 is discarded.
pub fn evaluate(header: &RunHeader, records: &[TrialRecord]) -> Result<Evaluation, AnalysisError> {
    let (protocol, plan) = (&header.protocol, &header.plan);
    let numbers = Numbers::new(protocol, plan, records);
    let criteria = criteria(header)?;
    let family = family(header, &numbers)?;
    let (done, course) = complete_blocks(plan, &numbers, &family, &criteria)?;
    let comparisons = judge(&family, &criteria, done, &course)?;
    let mut recommendation = recommend(&comparisons);
    if let Purpose::Confirm { .. } = header.purpose {
        recommendation = recommendation.of_confirmation(done);
    }
    let is_ablation = matches!(header.purpose, Purpose::Ablate { .. });
    let effects = if combines_factors(plan) && !is_ablation {
        let of = |response| effects(plan, &numbers, response, done);
        protocol.responses.iter().map(of).collect::<Result<_, _>>()?
    } else {
        Vec::new()
    };
    let middle = |response: &Response| {
        let column = numbers.column(0, &response.metric);
        median(column.into_iter().flatten().collect())
    };
    Ok(Evaluation {
        comparisons,
        recommendation,
        counts: counts(records),
        done,
        stop: course.stop,
        rule: criteria.rule,
        confidence: criteria.confidence,
        baseline_medians: protocol.responses.iter().map(middle).collect(),
        without_ratio: numbers.without_ratio(),
        effects,
    })
}

/// What a run has come to, for whoever decides about its next block.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Number of complete blocks.
    pub done: u32,
    /// By the plan's treatments: whether it is measured in the next block.
    pub active: Vec<bool>,
    /// Treatments that were dropped: which, after which block, and which one it is worse than.
    pub dropped: Vec<(usize, u32, usize)>,
    /// Why the run may end here.
    pub stop: Option<Stop>,
}

impl Progress {
    /// What is known of a run whose numbers cannot be judged: all of it is to be measured.
    pub fn unknown(plan: &Plan) -> Self {
        Self {
            done: 0,
            active: vec![true; plan.treatments.len()],
            dropped: Vec::new(),
            stop: None,
        }
    }
}

/// Follows the run through its complete blocks: the same record always gives the same progress.
pub fn progress(header: &RunHeader, records: &[TrialRecord]) -> Result<Progress, AnalysisError> {
    let numbers = Numbers::new(&header.protocol, &header.plan, records);
    let criteria = criteria(header)?;
    let family = family(header, &numbers)?;
    let (done, course) = complete_blocks(&header.plan, &numbers, &family, &criteria)?;
    let places: Vec<usize> = header.plan.candidates().map(|(place, _)| place).collect();
    let dropped = places.iter().zip(&course.dropped).filter_map(|(place, dropped)| {
        let dropped = (*dropped)?;
        let leader = dropped.leader.map_or(0, |leader| places[leader]);
        Some((*place, dropped.after, leader))
    });
    Ok(Progress {
        done,
        active: active(&header.plan, &course),
        dropped: dropped.collect(),
        stop: course.stop,
    })
}

/// How many blocks are complete, and the course after them. A block is begun when the one before it is complete, so
/// only the last one can be open.
fn complete_blocks(
    plan: &Plan,
    numbers: &Numbers<'_>,
    family: &[Candidate],
    criteria: &Criteria,
) -> Result<(u32, Course), AnalysisError> {
    let last = numbers.last_block();
    let (before, after) = follow_last_two(family, criteria, last)?;
    let is_complete = last > 0
        && active(plan, &before)
            .iter()
            .enumerate()
            .all(|(treatment, active)| !active || numbers.is_done(last, treatment));
    if is_complete {
        Ok((last, after))
    } else {
        Ok((last.saturating_sub(1), before))
    }
}

fn active(plan: &Plan, course: &Course) -> Vec<bool> {
    let mut active = vec![true; plan.treatments.len()];
    for (candidate, (place, _)) in plan.candidates().enumerate() {
        active[place] = course.is_active(candidate);
    }
    active
}

/// When claims of this run may be made.
pub fn claim_rule(header: &RunHeader) -> Rule {
    let blocks = header.plan.planned;
    match (&header.purpose, header.protocol.stopping) {
        (Purpose::Noise | Purpose::Confirm { .. } | Purpose::Ablate { .. }, _) | (_, Stopping::Fixed) => {
            Rule::Fixed { blocks }
        }
        (_, Stopping::Looks { min, .. }) => Rule::Looks {
            min: min.min(blocks),
            max: blocks,
        },
        (_, Stopping::Anytime) => Rule::Anytime,
    }
}

/// How sure a claim of this run must be, and when it may be made.
fn criteria(header: &RunHeader) -> Result<Criteria, AnalysisError> {
    let confidence = match header.purpose {
        Purpose::Stage { of, .. } => Level::P95.simultaneous(of as usize),
        _ => Level::P95,
    };
    Ok(Criteria {
        confidence,
        equivalence: Margin::new(header.protocol.smallest_effect.fraction())?,
        rule: claim_rule(header),
        certified_cv: header.certificate.as_ref().map(|c| c.noise.within_cv),
    })
}

fn family(header: &RunHeader, numbers: &Numbers<'_>) -> Result<Vec<Candidate>, AnalysisError> {
    let (protocol, plan) = (&header.protocol, &header.plan);
    let responses: Vec<_> = with_baseline(numbers, &protocol.responses, |r| &r.metric);
    let guarded: Vec<_> = with_baseline(numbers, &protocol.guards, |g| &g.metric);
    let mut family = Vec::new();
    for (place, treatment) in plan.candidates() {
        let response =
            |(r, baseline): &(&Response, Column)| numbers.series(place, &r.metric, r.goal, baseline);
        let mut guards = Vec::new();
        for (guard, baseline) in &guarded {
            guards.push(Guard {
                series: numbers.series(place, &guard.metric, guard.goal, baseline),
                margin: Margin::new(guard.margin.fraction())?,
                limit: None,
            });
        }
        guards.extend(protocol.constraints.iter().map(|constraint| Guard {
            series: numbers.against_limit(place, constraint),
            margin: Margin::NONE,
            limit: Some(constraint.limit),
        }));
        family.push(Candidate {
            treatment: treatment.label_against(&plan.treatments[0]),
            responses: responses.iter().map(response).collect(),
            guards,
        });
    }
    Ok(family)
}

/// Each with what the baseline measured of its metric, which all candidates are compared with.
fn with_baseline<'p, T>(
    numbers: &Numbers<'_>,
    all: &'p [T],
    metric: impl Fn(&T) -> &MetricId,
) -> Vec<(&'p T, Column)> {
    all.iter()
        .map(|one| (one, numbers.column(0, metric(one))))
        .collect()
}

/// Whether some treatment differs from the baseline in two factors.
fn combines_factors(plan: &Plan) -> bool {
    let baseline = &plan.treatments[0].levels;
    let differing = |levels: &[(String, String)]| levels.iter().filter(|l| !baseline.contains(l)).count();
    let mut listed = plan.treatments.iter().filter(|t| t.role == Role::Listed);
    plan.treatments.len() > 3 && listed.any(|t| differing(&t.levels) > 1)
}

fn effects(
    plan: &Plan,
    numbers: &Numbers<'_>,
    response: &Response,
    done: u32,
) -> Result<Effects, AnalysisError> {
    let counts: Vec<usize> = plan.factors.iter().map(|f| f.levels.len()).collect();
    let baselines: Vec<usize> = plan.factors.iter().map(|f| f.baseline).collect();
    let mut cells = Vec::new();
    for (place, treatment) in plan.treatments.iter().enumerate() {
        let level = |(factor, (_, label)): (&crate::design::PlannedFactor, &(String, String))| {
            factor.levels.iter().position(|l| l.label == *label)
        };
        let levels: Option<Vec<usize>> = plan.factors.iter().zip(&treatment.levels).map(level).collect();
        let (Some(levels), Role::Listed) = (levels, treatment.role) else {
            continue;
        };
        let column = numbers.column(place, &response.metric);
        let complete = judged_blocks(plan)
            .zip(column)
            .filter(|(block, _)| *block <= done);
        cells.extend(complete.filter_map(|(block, value)| {
            Some(Cell {
                block,
                levels: levels.clone(),
                value: value?,
            })
        }));
    }
    let judge = (cells.as_slice(), counts.as_slice(), baselines.as_slice());
    Ok(Effects {
        metric: response.metric.clone(),
        main: main_effects(judge.0, judge.1, judge.2, response.goal, Level::P95)?,
        interactions: interactions(judge.0, judge.1, judge.2, response.goal, Level::P95)?,
    })
}

fn counts(records: &[TrialRecord]) -> Counts {
    let mut counts = Counts::default();
    for record in records {
        match &record.outcome {
            _ if record.trial.block == 0 => counts.discarded += 1,
            Outcome::Measured { .. } => counts.measured += 1,
            Outcome::Unsteady { .. } => counts.unsteady += 1,
            Outcome::Failed { .. } => counts.failed += 1,
            Outcome::Invalid { .. } => counts.invalid += 1,
        }
    }
    counts
}
