//! The numbers of a run by block, treatment and metric. Knows which trials count, not what they are compared for.

use crate::analysis::{Pair, Series};
use crate::design::{Plan, Role, Treatment};
use crate::event::{Outcome, TrialRecord};
use crate::experiment::{Constraint, DERIVED, Goal, MetricId, Protocol};
use crate::workload::Observation;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// One number for each judged block; `None` where there is none that counts.
pub(super) type Column = Vec<Option<f64>>;

/// A run's trials, found by block and treatment.
pub(super) struct Numbers<'r> {
    protocol: &'r Protocol,
    plan: &'r Plan,
    /// The place of the baseline's second measurement.
    middle: Option<usize>,
    trials: HashMap<(u32, usize), &'r TrialRecord>,
    /// Pairs that were left out, by metric.
    without_ratio: RefCell<BTreeMap<MetricId, usize>>,
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
            middle: plan.treatments.iter().position(|t| t.role == Role::Middle),
            trials: records.iter().filter_map(trial).collect(),
            without_ratio: RefCell::default(),
        }
    }

    /// How many pairs of a metric were left out of the series made so far, because one of the two was zero.
    pub(super) fn without_ratio(&self) -> Vec<(MetricId, usize)> {
        self.without_ratio.borrow().clone().into_iter().collect()
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

    /// One metric of one treatment. The baseline's second measurement of a long block stands in for the first where that
    /// gave nothing. It is not averaged with it: a mean of two, one of them always in the middle, and a single candidate
    /// are not exchangeable when noise is skewed, and the test would claim falsely too often.
    pub(super) fn column(&self, treatment: usize, metric: &MetricId) -> Column {
        let own = self.own_column(treatment, metric);
        match self.middle {
            Some(middle) if treatment == 0 => {
                let both = own.into_iter().zip(self.own_column(middle, metric));
                both.map(|(first, second)| first.or(second)).collect()
            }
            _ => own,
        }
    }

    fn own_column(&self, treatment: usize, metric: &MetricId) -> Column {
        let mut reader = Reader::new(self.protocol, metric);
        let mut value = |block| reader.value(self.trial(block, treatment)?);
        judged_blocks(self.plan).map(&mut value).collect()
    }

    /// A candidate's own values of a constraint's metric against its limit, over the judged blocks. A zero has no
    /// logarithm, and counts as a thousandth of the limit.
    pub(super) fn against_limit(&self, treatment: usize, constraint: &Constraint) -> Series {
        let column = self.own_column(treatment, &constraint.metric);
        let pair = |(block, value): (u32, Option<f64>)| {
            Some(Pair {
                block,
                candidate: value?.max(constraint.limit / 1000.0),
                baseline: constraint.limit,
            })
        };
        Series {
            metric: self.protocol.name_of(&constraint.metric),
            goal: constraint.side,
            pairs: judged_blocks(self.plan).zip(column).filter_map(pair).collect(),
        }
    }

    /// One metric of a candidate against the baseline's column, over the judged blocks.
    pub(super) fn series(
        &self,
        treatment: usize,
        metric: &MetricId,
        goal: Goal,
        baseline: &[Option<f64>],
    ) -> Series {
        let column = self.column(treatment, metric);
        let pairs = judged_blocks(self.plan).zip(column).zip(baseline);
        let pair = |((block, candidate), baseline): (_, &Option<f64>)| {
            let pair = Pair {
                block,
                candidate: candidate?,
                baseline: (*baseline)?,
            };
            // Of a zero and a number there is no ratio; it is counted, and told.
            if (pair.candidate == 0.0) == (pair.baseline == 0.0) {
                return Some(pair);
            }
            *self.without_ratio.borrow_mut().entry(metric.clone()).or_default() += 1;
            None
        };
        Series {
            metric: self.protocol.name_of(metric),
            goal,
            pairs: pairs.filter_map(pair).collect(),
        }
    }
}

/// Reads one metric out of many trials.
struct Reader<'m> {
    protocol: &'m Protocol,
    metric: &'m MetricId,
    /// Where it stood among the observations last time, and most likely stands in all trials.
    place: usize,
}

impl<'m> Reader<'m> {
    fn new(protocol: &'m Protocol, metric: &'m MetricId) -> Self {
        Self {
            protocol,
            metric,
            place: 0,
        }
    }

    fn value(&mut self, record: &TrialRecord) -> Option<f64> {
        let Outcome::Measured { observations, .. } = &record.outcome else {
            return None;
        };
        if self.metric.workload == DERIVED {
            return observed(self.protocol, observations, self.metric);
        }
        let is_wanted = |o: &Observation| is_of(o, self.metric);
        if !observations.get(self.place).is_some_and(is_wanted) {
            self.place = observations.iter().position(is_wanted)?;
        }
        Some(observations[self.place].value)
    }
}

fn is_of(observation: &Observation, metric: &MetricId) -> bool {
    observation.metric == metric.metric && observation.workload == metric.workload
}

/// The numbers of the blocks that are not discarded.
pub(super) fn judged_blocks(plan: &Plan) -> impl Iterator<Item = u32> {
    plan.blocks.iter().map(|b| b.number).filter(|n| *n > 0)
}

/// One metric among the observations of a trial, derived ones too.
pub fn observed(protocol: &Protocol, observations: &[Observation], metric: &MetricId) -> Option<f64> {
    let plain = |metric: &MetricId| observations.iter().find(|o| is_of(o, metric)).map(|o| o.value);
    if metric.workload != DERIVED {
        return plain(metric);
    }
    let derived = protocol.derived.iter().find(|d| d.name == metric.metric)?;
    derived.formula.value(plain)
}

/// The numbers of one treatment with their blocks, the discarded one left out, in the order they were measured.
pub fn values(
    protocol: &Protocol,
    records: &[TrialRecord],
    treatment: &Treatment,
    metric: &MetricId,
) -> Vec<(u32, f64)> {
    let mut reader = Reader::new(protocol, metric);
    let of_it = records
        .iter()
        .filter(|r| r.trial.block > 0 && r.trial.treatment == treatment.id);
    of_it
        .filter_map(|record| Some((record.trial.block, reader.value(record)?)))
        .collect()
}
