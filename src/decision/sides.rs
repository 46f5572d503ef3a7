//! What baseline and candidate measured, over the blocks in which they are compared. Knows medians, claims nothing.

use super::numbers::Numbers;
use super::{Evaluation, numbers::Column};
use crate::analysis::{Centre, Level};
use crate::event::{RunHeader, TrialRecord};
use crate::experiment::MetricId;
use serde::Serialize;

/// One metric of one comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sides {
    /// The metric.
    pub metric: MetricId,
    /// Its unit.
    pub unit: String,
    /// The baseline's median; `None` without a pair.
    pub baseline: Option<Centre>,
    /// The candidate's.
    pub candidate: Option<Centre>,
}

/// For each candidate the responses, the guards and then the constraints, in the order of its comparison.
///
/// Both medians are over the same blocks, so that a drift of the machine is in both; their quotient is still not the
/// estimate, which is made from the differences within blocks.
pub fn sides(header: &RunHeader, records: &[TrialRecord], evaluation: &Evaluation) -> Vec<Vec<Sides>> {
    let (protocol, plan) = (&header.protocol, &header.plan);
    let numbers = Numbers::new(protocol, plan, records);
    let responses = protocol.responses.iter().map(|r| (&r.metric, r.goal));
    let guards = protocol.guards.iter().map(|g| (&g.metric, g.goal));
    let constraints = protocol.constraints.iter().map(|c| (&c.metric, c.side));
    let metrics: Vec<_> = responses
        .chain(guards)
        .chain(constraints)
        .map(|(metric, goal)| (metric, goal, numbers.column(0, metric)))
        .collect();
    let candidates = plan.candidates().zip(&evaluation.comparisons);
    let of_one = |((place, _), comparison): ((usize, _), &crate::analysis::Comparison)| {
        let last = comparison.dropped.map_or(evaluation.done, |d| d.after);
        let one = |(metric, goal, baseline): &(&MetricId, _, Column)| {
            let pairs = numbers.series(place, metric, *goal, baseline).pairs;
            let compared = || pairs.iter().filter(|pair| pair.block <= last);
            Sides {
                metric: (*metric).clone(),
                unit: protocol.unit(metric).to_string(),
                baseline: Centre::of(compared().map(|p| p.baseline).collect(), Level::P95),
                candidate: Centre::of(compared().map(|p| p.candidate).collect(), Level::P95),
            }
        };
        metrics.iter().map(one).collect()
    };
    candidates.map(of_one).collect()
}
