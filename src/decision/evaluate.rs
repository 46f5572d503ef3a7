//! From a run's record to what may be said of it.
//!
//! Pure: folds trials to one number per block, treatment and metric, and hands them to `analysis`.

use super::{Recommendation, recommend};
use crate::analysis::{
    AnalysisError, Candidate, Comparison, Criteria, Guard, Level, Margin, Pair, Series, compare,
};
use crate::design::{Plan, Treatment};
use crate::event::{Outcome, TrialRecord};
use crate::experiment::{Goal, MetricId, Protocol};
use serde::Serialize;

/// What a run shows.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evaluation {
    /// One comparison with the baseline for each other treatment, in the plan's order.
    pub comparisons: Vec<Comparison>,
    /// What to do.
    pub recommendation: Recommendation,
    /// How many trials of the judged blocks ended how.
    pub counts: Counts,
    /// Median of the baseline's response over the judged blocks.
    pub baseline_median: Option<f64>,
}

/// Trials by outcome, the discarded block left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counts {
    /// Gave numbers.
    pub measured: usize,
    /// Gave none.
    pub failed: usize,
    /// The settings did not hold.
    pub invalid: usize,
    /// In the discarded block.
    pub discarded: usize,
}

/// Judges the blocks of a run; block 0 is discarded.
pub fn evaluate(
    protocol: &Protocol,
    plan: &Plan,
    records: &[TrialRecord],
) -> Result<Evaluation, AnalysisError> {
    let margin = |percent: crate::units::Percent| Margin::new(percent.fraction());
    let criteria = Criteria {
        confidence: Level::P95,
        equivalence: margin(protocol.smallest_effect)?,
    };
    let baseline = &plan.treatments[0];
    let series = |treatment: &Treatment, metric: &MetricId, goal: Goal| Series {
        metric: metric.metric.clone(),
        goal,
        pairs: pairs(plan, records, treatment, baseline, metric),
    };
    let mut family = Vec::new();
    for treatment in &plan.treatments[1..] {
        let mut guards = Vec::new();
        for guard in &protocol.guards {
            guards.push(Guard {
                series: series(treatment, &guard.metric, guard.goal),
                margin: margin(guard.margin)?,
            });
        }
        family.push(Candidate {
            treatment: treatment.label_against(baseline),
            response: series(treatment, &protocol.response.metric, protocol.response.goal),
            guards,
        });
    }
    let comparisons = compare(&family, &criteria)?;
    let recommendation = recommend(&comparisons);
    let mut values: Vec<_> = judged_blocks(plan)
        .filter_map(|block| value(records, block, baseline, &protocol.response.metric))
        .collect();
    values.sort_by(f64::total_cmp);
    let baseline_median = values.get(values.len() / 2).copied();
    Ok(Evaluation {
        comparisons,
        recommendation,
        counts: counts(records),
        baseline_median,
    })
}

fn judged_blocks(plan: &Plan) -> impl Iterator<Item = u32> {
    plan.blocks.iter().map(|b| b.number).filter(|n| *n > 0)
}

/// The number of one treatment in one block; `None` when its trial gave none.
pub fn value(records: &[TrialRecord], block: u32, treatment: &Treatment, metric: &MetricId) -> Option<f64> {
    let record = records
        .iter()
        .find(|r| r.trial.block == block && r.trial.treatment == treatment.id)?;
    let Outcome::Measured { observations } = &record.outcome else {
        return None;
    };
    let wanted =
        |o: &&crate::workload::Observation| o.workload == metric.workload && o.metric == metric.metric;
    observations.iter().find(wanted).map(|o| o.value)
}

fn pairs(
    plan: &Plan,
    records: &[TrialRecord],
    candidate: &Treatment,
    baseline: &Treatment,
    metric: &MetricId,
) -> Vec<Pair> {
    let pair = |block| {
        let candidate = value(records, block, candidate, metric)?;
        let baseline = value(records, block, baseline, metric)?;
        Some(Pair {
            block,
            candidate,
            baseline,
        })
    };
    judged_blocks(plan).filter_map(pair).collect()
}

fn counts(records: &[TrialRecord]) -> Counts {
    let mut counts = Counts::default();
    for record in records {
        match &record.outcome {
            _ if record.trial.block == 0 => counts.discarded += 1,
            Outcome::Measured { .. } => counts.measured += 1,
            Outcome::Failed { .. } => counts.failed += 1,
            Outcome::Invalid { .. } => counts.invalid += 1,
        }
    }
    counts
}
