//! What is compared, and under which rule: candidates with their pairs, the criteria of a claim. Computes nothing.

use serde::Serialize;

use super::{Guard, Level, Margin, Pair};
use crate::experiment::Goal;

/// One metric of a candidate: one pair a block.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub metric: String,
    /// Which direction is better.
    pub goal: Goal,
    /// The values, each block at most once.
    pub pairs: Vec<Pair>,
}

/// A treatment to be compared with the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The treatment's name.
    pub treatment: String,
    /// The metrics the verdicts are about, the most important first; the same ones for all candidates of a family.
    pub responses: Vec<Series>,
    /// Metrics that must not suffer.
    pub guards: Vec<Guard>,
}

impl Series {
    fn upto(&self, done: u32) -> Self {
        Self {
            metric: self.metric.clone(),
            goal: self.goal,
            pairs: self
                .pairs
                .iter()
                .copied()
                .filter(|pair| pair.block <= done)
                .collect(),
        }
    }
}

impl Candidate {
    /// The same without the blocks after the first `done` ones.
    pub(super) fn upto(&self, done: u32) -> Self {
        let guard = |guard: &Guard| Guard {
            series: guard.series.upto(done),
            margin: guard.margin,
            limit: guard.limit,
        };
        Self {
            treatment: self.treatment.clone(),
            responses: self.responses.iter().map(|series| series.upto(done)).collect(),
            guards: self.guards.iter().map(guard).collect(),
        }
    }
}

/// When claims may be made, and what they cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Rule {
    /// Once, as soon as this many blocks are done; the number was fixed beforehand.
    Fixed {
        /// The number of blocks.
        blocks: u32,
    },
    /// At looks between these numbers of blocks, each paid for from one error rate.
    Looks {
        /// Blocks of the first look.
        min: u32,
        /// Blocks of the last planned look.
        max: u32,
    },
    /// After every block, by a process that may be looked at and stopped at any time.
    Anytime,
}

/// How sure a claim must be, when it may be made, and what difference does not matter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criteria {
    /// Confidence of the family's claims, two-sided; guards and equivalence use it one-sided.
    pub confidence: Level,
    /// Differences below this are of no interest.
    pub equivalence: Margin,
    /// When claims may be made.
    pub rule: Rule,
    /// The coefficient of variation within a block that an A/A run certified: differences it could not have shown
    /// are not claimed. Nothing is refused without one.
    pub certified_cv: Option<f64>,
}

impl Default for Criteria {
    /// 95 %, 1 %, all blocks judged at once.
    fn default() -> Self {
        Self {
            confidence: Level::P95,
            equivalence: Margin::ONE_PERCENT,
            rule: Rule::Fixed { blocks: 0 },
            certified_cv: None,
        }
    }
}
