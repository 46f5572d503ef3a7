//! What a claim costs at each moment of a run, so that all moments together keep one error rate. Does not know what
//! is claimed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::interval::attainable;
use super::sequential::{looks, spending_boundary};
use super::{
    Interval, Level, Rule, Sample, anytime_interval, e_value, signed_rank_interval, signed_rank_test,
};

/// The share of the error rate that is kept for blocks added after the planned ones.
const RESERVE: f64 = 0.1;
/// Registered looks beyond the planned blocks, as multiples of these. Registered beforehand, because a number of blocks
/// chosen after looking at the data would be one more way to get a false claim.
const EXTENSIONS: [f64; 4] = [1.5, 2.0, 3.0, 4.0];

/// The numbers of blocks at which a rule looks: the planned ones, then those of an extension.
pub fn registered_looks(rule: Rule) -> (Vec<u32>, Vec<u32>) {
    match rule {
        Rule::Fixed { blocks } => (vec![blocks], Vec::new()),
        Rule::Looks { min, max } => {
            let beyond = EXTENSIONS.map(|times| (times * f64::from(max)).round());
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most four times a number of blocks"
            )]
            let mut beyond: Vec<u32> = beyond.iter().map(|blocks| *blocks as u32).collect();
            beyond.retain(|blocks| *blocks > max);
            beyond.dedup();
            (looks(min, max), beyond)
        }
        Rule::Anytime => (Vec::new(), Vec::new()),
    }
}

/// The nominal level of every look.
type Levels = Arc<[f64]>;

/// By looks and error rate: a run asks for the same few after every block, and each takes a numeric integration.
static KNOWN: Mutex<BTreeMap<(Vec<u32>, u64), Levels>> = Mutex::new(BTreeMap::new());

/// The nominal level of every look, by the error rate it is a part of.
pub(super) struct Prices {
    rule: Rule,
    looks: Vec<u32>,
    /// How much of the error rate is spent up to each look, as a share.
    spent: Vec<f64>,
    known: BTreeMap<u64, Levels>,
}

/// One moment at which claims may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A look, by its place among all looks.
    Look(usize),
    /// Any block of an anytime rule.
    Any,
}

impl Prices {
    pub(super) fn new(rule: Rule) -> Self {
        let (planned, beyond) = registered_looks(rule);
        let planned_share = if beyond.is_empty() { 1.0 } else { 1.0 - RESERVE };
        let last = f64::from(planned.last().copied().unwrap_or(1).max(1));
        let mut spent: Vec<f64> = planned
            .iter()
            .map(|&blocks| planned_share * (f64::from(blocks) / last).powf(1.5))
            .collect();
        if let [only] = spent.as_mut_slice() {
            *only = planned_share;
        }
        let steps = beyond.len().max(1) as f64;
        spent.extend((1..=beyond.len()).map(|step| 1.0 - RESERVE * (1.0 - step as f64 / steps)));
        Self {
            rule,
            looks: planned.into_iter().chain(beyond).collect(),
            spent,
            known: BTreeMap::new(),
        }
    }

    /// The moment that is reached with exactly this many blocks, if claims may be made then.
    pub(super) fn moment(&self, done: u32) -> Option<Moment> {
        match self.rule {
            Rule::Anytime => Some(Moment::Any),
            Rule::Fixed { blocks } => (done >= blocks).then_some(Moment::Look(0)),
            Rule::Looks { .. } => self.looks.iter().position(|&look| look == done).map(Moment::Look),
        }
    }

    /// The last moment that was reached with this many blocks or fewer.
    pub(super) fn reached(&self, done: u32) -> Option<Moment> {
        match self.rule {
            Rule::Anytime => Some(Moment::Any),
            _ => self
                .looks
                .iter()
                .rposition(|&look| look <= done)
                .map(Moment::Look),
        }
    }

    /// The same, and the first to come where there was none.
    pub(super) fn latest(&self, done: u32) -> Moment {
        self.reached(done).unwrap_or(Moment::Look(0))
    }

    /// The level at which a test at this moment must reject, for an error rate of `alpha` over all moments.
    pub(super) fn nominal(&mut self, moment: Moment, alpha: f64) -> f64 {
        let Moment::Look(look) = moment else {
            return alpha;
        };
        if self.looks.len() == 1 {
            return alpha;
        }
        let (looks, spent) = (&self.looks, &self.spent);
        let levels = self.known.entry(alpha.to_bits()).or_insert_with(|| {
            let key = (looks.clone(), alpha.to_bits());
            // Levels are put in whole or not at all, so that a panic elsewhere leaves nothing half done.
            let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(known.entry(key).or_insert_with(|| levels(looks, spent, alpha)))
        });
        levels.get(look).copied().unwrap_or(0.0)
    }

    /// How many of the first `done` blocks may be used at this moment: what came after a look waits for the next.
    pub(super) fn seen(&self, moment: Moment, done: u32) -> u32 {
        match (self.rule, moment) {
            (Rule::Looks { .. }, Moment::Look(look)) => {
                self.looks.get(look).map_or(done, |&blocks| blocks.min(done))
            }
            _ => done,
        }
    }

    /// The two-sided p-value of a sample in block order; for [`Rule::Anytime`] one that holds at every moment, the
    /// inverse of the greatest e-value.
    pub(super) fn p_value(&self, sample: &Sample) -> (f64, bool) {
        if self.rule == Rule::Anytime {
            let e = e_value(sample.values());
            return ((1.0 / e.greatest).min(1.0), e.positive);
        }
        let test = signed_rank_test(sample);
        (test.two_sided, test.greater < test.less)
    }

    /// The interval that holds over all moments with an error rate of `alpha`, two-sided.
    pub(super) fn interval(&mut self, sample: &Sample, moment: Moment, alpha: f64) -> Option<Interval> {
        let level = Level::new(1.0 - self.nominal(moment, alpha)).ok()?;
        match moment {
            Moment::Any => anytime_interval(sample, level),
            Moment::Look(_) => signed_rank_interval(sample, level),
        }
    }
}

/// How much is spent follows from the looks, so that these and the error rate say everything.
fn levels(looks: &[u32], spent: &[f64], alpha: f64) -> Levels {
    let last = f64::from(looks.last().copied().unwrap_or(1).max(1));
    let times: Vec<f64> = looks.iter().map(|&look| f64::from(look) / last).collect();
    let spent: Vec<f64> = spent.iter().map(|share| share * alpha).collect();
    spending_boundary(&times, &spent, |look, nominal| attainable(looks[look], nominal)).into()
}
