//! Treatments that no other one is at least as good as in everything, and better in something. Knows several responses of one run; makes no choice among them.

use super::numbers::{Column, Numbers};
use super::{Evaluation, Link, evaluate};
use crate::analysis::{
    AnalysisError, Effect, GuardOutcome, Level, Sample, effect, hodges_lehmann, log_ratio,
    signed_rank_interval,
};
use crate::experiment::Response;
use serde::Serialize;

/// How a treatment stands to those that are better in everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Standing {
    /// No treatment is at least as good in every response and better in one, by the estimates.
    Front,
    /// Another is, by the estimates; it is not proven.
    Dominated {
        /// That treatment's name.
        by: String,
    },
    /// Another is proven better in one response and, in every other, not worse by as much as is of interest.
    ProvenDominated {
        /// That treatment's name.
        by: String,
    },
}

/// One treatment in all responses.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// Its name.
    pub treatment: String,
    /// Against the baseline, one for each response, each with an interval of its own at 95 %; empty for the baseline.
    pub effects: Vec<Effect>,
    /// How it stands to the others.
    pub standing: Standing,
    /// Guards and constraints that it failed, by their metrics: it may not be adopted.
    pub failed: Vec<String>,
}

/// Where the treatments of a run stand in its responses, the baseline first; empty where there is one response.
///
/// Pairs of treatments are compared in the blocks both have. What is proven is by exact one-sided signed-rank bounds,
/// Bonferroni over all ordered pairs and responses; *not worse* is an intersection of tests (Berger 1982) at the level of
/// its pair. Neither is corrected for looks: in a run with looks take it for a description. Estimates of pairs are not
/// transitive: where three treatments beat each other in a circle, none of them is on the front.
pub fn front(link: &Link) -> Result<Vec<Place>, AnalysisError> {
    let header = &link.header;
    let aims = header.protocol.aims();
    if aims.len() < 2 {
        return Ok(Vec::new());
    }
    let evaluation = evaluate(header, &link.records)?;
    let numbers = Numbers::new(&header.protocol, &header.plan, &link.records);
    let places: Vec<usize> = std::iter::once(0)
        .chain(header.plan.candidates().map(|(p, _)| p))
        .collect();
    let columns: Vec<Vec<Column>> = places
        .iter()
        .map(|&place| {
            aims.iter()
                .map(|aim| numbers.column(place, &aim.metric))
                .collect()
        })
        .collect();
    let rivals = Rivals {
        aims: &aims,
        columns: &columns,
        done: evaluation.done as usize,
        margin: header.protocol.smallest_effect.fraction().ln_1p(),
    };
    let names: Vec<String> = places
        .iter()
        .map(|&p| header.plan.treatments[p].label_against(&header.plan.treatments[0]))
        .collect();
    let baseline: Vec<Column> = columns[0].clone();
    let mut all = Vec::new();
    for (at, &place) in places.iter().enumerate() {
        let series = aims.iter().zip(&baseline);
        let series = series.map(|(aim, own)| numbers.series(place, &aim.metric, aim.goal, own));
        let effects = if at == 0 {
            Vec::new()
        } else {
            series.map(|s| effect(&s, Level::P95)).collect::<Result<_, _>>()?
        };
        all.push(Place {
            treatment: names[at].clone(),
            effects,
            standing: rivals.standing(at, &names),
            failed: at
                .checked_sub(1)
                .map_or_else(Vec::new, |at| failed(&evaluation, at)),
        });
    }
    Ok(all)
}

fn failed(evaluation: &Evaluation, candidate: usize) -> Vec<String> {
    let guards = evaluation
        .comparisons
        .get(candidate)
        .map_or(&[][..], |c| &c.guards);
    let failed = guards.iter().filter(|g| g.outcome == GuardOutcome::Failed);
    failed.map(|g| g.effect.metric.clone()).collect()
}

struct Rivals<'r> {
    aims: &'r [Response],
    /// By treatment and response.
    columns: &'r [Vec<Column>],
    done: usize,
    /// What is of no interest, as a log-ratio.
    margin: f64,
}

impl Rivals<'_> {
    fn standing(&self, of: usize, names: &[String]) -> Standing {
        let others = || (0..self.columns.len()).filter(|other| *other != of);
        let name = |place: usize| names[place].clone();
        if let Some(by) = others().find(|&other| self.is_proven_over(other, of)) {
            return Standing::ProvenDominated { by: name(by) };
        }
        match others().find(|&other| self.is_over(other, of)) {
            Some(by) => Standing::Dominated { by: name(by) },
            None => Standing::Front,
        }
    }

    /// How much better `one` is than `other`, block by block; `None` for a response with fewer than two blocks.
    fn samples(&self, one: usize, other: usize) -> Vec<Option<Sample>> {
        let each = self.aims.iter().enumerate().map(|(response, aim)| {
            let both = self.columns[one][response]
                .iter()
                .zip(&self.columns[other][response]);
            let differences = both
                .take(self.done)
                .filter_map(|(a, b)| log_ratio((*a)?, (*b)?, aim.goal).ok());
            Sample::new(differences.collect()).ok()
        });
        each.collect()
    }

    fn is_over(&self, one: usize, other: usize) -> bool {
        let estimates: Option<Vec<f64>> = self
            .samples(one, other)
            .iter()
            .map(|s| s.as_ref().map(|s| hodges_lehmann(s).log_ratio()))
            .collect();
        estimates.is_some_and(|all| all.iter().all(|e| *e >= 0.0) && all.iter().any(|e| *e > 0.0))
    }

    fn is_proven_over(&self, one: usize, other: usize) -> bool {
        let pairs = self.columns.len() * (self.columns.len() - 1);
        let low = |sample: &Sample, tests: usize| {
            let level = Level::P95.both_one_sided().simultaneous(tests);
            signed_rank_interval(sample, level).map_or(f64::NEG_INFINITY, |interval| interval.low)
        };
        let Some(samples) = self.samples(one, other).into_iter().collect::<Option<Vec<_>>>() else {
            return false;
        };
        samples.iter().any(|s| low(s, pairs * samples.len()) > 0.0)
            && samples.iter().all(|s| low(s, pairs) > -self.margin)
    }
}
