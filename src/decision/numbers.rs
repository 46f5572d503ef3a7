//! The numbers of a run by block, treatment and metric. Knows which trials count, not what they are compared for.

use crate::analysis::{Pair, Series};
use crate::design::{Plan, Role, Treatment};
use crate::event::{Outcome, TrialRecord};
use crate::experiment::{DERIVED, Goal, MetricId, Protocol};
use crate::workload::Observation;
use std::collections::HashMap;

/// A run's trials, found by block and treatment.
pub(super) struct Numbers<'r> {
    protocol: &'r Protocol,
    plan: &'r Plan,
    trials: HashMap<(u32, usize), &'r TrialRecord>,
}

impl<'r> Numbers<'r> {
    pub(super) fn new(protocol: &'r Protocol, plan: &'r Plan, records: &'r [TrialRecord]) -> Self {
        let places: HashMap<_, _> = (0..).zip(&plan.treatments).map(|(i, t)| (&t.id, i)).collect();
        let trial = |record: &'r TrialRecord| {
            let place = *places.get(&record.trial.treatment)?;
            Some(((record.trial.block, place), record))
        };
        Self {
            protocol,
            plan,
            trials: records.iter().filter_map(trial).collect(),
        }
    }

    /// The trial of one treatment in one block.
    pub(super) fn trial(&self, block: u32, treatment: usize) -> Option<&'r TrialRecord> {
        self.trials.get(&(block, treatment)).copied()
    }

    /// Whether the trial was made, whatever came of it.
    pub(super) fn is_done(&self, block: u32, treatment: usize) -> bool {
        self.trials.contains_key(&(block, treatment))
    }

    /// The last block with a trial in it.
    pub(super) fn last_block(&self) -> u32 {
        self.trials.keys().map(|(block, _)| *block).max().unwrap_or(0)
    }

    /// The number of one treatment in one block; `None` when its trial gave none that counts. The baseline's two
    /// measurements of a long block are one number, their geometric mean.
    pub(super) fn value(&self, block: u32, treatment: usize, metric: &MetricId) -> Option<f64> {
        let own = self.own_value(block, treatment, metric);
        let middle = self.plan.treatments.iter().position(|t| t.role == Role::Middle);
        match (own, middle) {
            (own, Some(middle)) if treatment == 0 => match (own, self.own_value(block, middle, metric)) {
                (Some(first), Some(second)) => Some((first.ln().midpoint(second.ln())).exp()),
                (first, second) => first.or(second),
            },
            (own, _) => own,
        }
    }

    fn own_value(&self, block: u32, treatment: usize, metric: &MetricId) -> Option<f64> {
        let Outcome::Measured { observations } = &self.trial(block, treatment)?.outcome else {
            return None;
        };
        observed(self.protocol, observations, metric)
    }

    /// One metric of a candidate against the baseline, over the judged blocks.
    pub(super) fn series(&self, treatment: usize, metric: &MetricId, goal: Goal) -> Series {
        let pair = |block| {
            Some(Pair {
                block,
                candidate: self.value(block, treatment, metric)?,
                baseline: self.value(block, 0, metric)?,
            })
        };
        Series {
            metric: metric.metric.clone(),
            goal,
            pairs: judged_blocks(self.plan).filter_map(pair).collect(),
        }
    }
}

/// The numbers of the blocks that are not discarded.
pub(super) fn judged_blocks(plan: &Plan) -> impl Iterator<Item = u32> {
    plan.blocks.iter().map(|b| b.number).filter(|n| *n > 0)
}

/// One metric among the observations of a trial, derived ones too.
pub fn observed(protocol: &Protocol, observations: &[Observation], metric: &MetricId) -> Option<f64> {
    let plain = |metric: &MetricId| {
        let wanted = |o: &&Observation| o.workload == metric.workload && o.metric == metric.metric;
        observations.iter().find(wanted).map(|o| o.value)
    };
    if metric.workload != DERIVED {
        return plain(metric);
    }
    let derived = protocol.derived.iter().find(|d| d.name == metric.metric)?;
    derived.formula.value(plain)
}

/// The number of one treatment in one block; `None` when its trial gave none.
pub fn value(
    protocol: &Protocol,
    records: &[TrialRecord],
    block: u32,
    treatment: &Treatment,
    metric: &MetricId,
) -> Option<f64> {
    let mut trials = records.iter();
    let record = trials.find(|r| r.trial.block == block && r.trial.treatment == treatment.id)?;
    match &record.outcome {
        Outcome::Measured { observations } => observed(protocol, observations, metric),
        _ => None,
    }
}
