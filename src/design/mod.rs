//! From an experiment and the facts of one host to the plan: treatments, blocks, whole plots and their order.
//!
//! Pure: the same experiment, facts and seed give the same plan. Does not know how a treatment is applied.

mod order;
mod treatment;

pub use order::{Block, WholePlot, block};
pub use treatment::{Treatment, TreatmentId};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::experiment::{DesignKind, Experiment, Factor, Levels, Text};
use crate::facts::Facts;
use crate::tunable::{Activation, Level, LevelError, ambient_level, available_levels, level};
use crate::units::Span;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::time::Duration;

/// A design with more treatments than this is a mistake, or work for a search.
const MAX_TREATMENTS: usize = 256;

/// Fewer blocks than this cannot reach a two-sided p below .05: the smallest exact signed-rank p is 2^(1-n).
pub const FEWEST_PROVING_BLOCKS: u32 = 6;

/// One factor with its levels made real on this host.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedFactor {
    /// The tunable's name.
    pub tunable: String,
    /// True when the guest must be started afresh for each level: a whole-plot factor.
    pub whole_plot: bool,
    /// The levels; the baseline is among them.
    pub levels: Vec<Level>,
    /// Index of the baseline level.
    pub baseline: usize,
}

/// Everything a run does, in order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Seed of every order in it.
    pub seed: u64,
    /// The factors.
    pub factors: Vec<PlannedFactor>,
    /// The treatments; the first is the baseline.
    pub treatments: Vec<Treatment>,
    /// The blocks; the first one is a warm-up that is measured and discarded.
    pub blocks: Vec<Block>,
    /// What the user should know before it runs.
    pub notices: Vec<String>,
}

/// How long things take here, for the expected duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// From power-on to an answering agent, with the stop before it.
    pub boot: Duration,
    /// Everything in a trial but the workload itself.
    pub overhead: Duration,
}

impl Plan {
    /// The plan of `experiment` on the host and guest of `facts`. All levels that are impossible here are
    /// reported at once.
    pub fn new(experiment: &Experiment, facts: &Facts, seed: u64) -> Result<Self, Diagnostics> {
        let mut faults = Vec::new();
        let mut notices = Vec::new();
        let mut factors: Vec<_> = experiment
            .factors
            .iter()
            .filter_map(|f| plan_factor(f, facts, &mut faults))
            .collect();
        if faults.is_empty() {
            bind_coupled_factors(&mut factors);
        }
        let treatments = if faults.is_empty() {
            treatment::combine(&factors, experiment.design.kind, facts, &mut notices)
        } else {
            Vec::new()
        };
        faults.extend(too_few_or_many(&treatments, faults.is_empty()));
        if let Some(diagnostics) = Diagnostics::gather(&experiment.source, faults) {
            return Err(diagnostics);
        }
        if experiment.design.blocks < FEWEST_PROVING_BLOCKS {
            notices.push(format!(
                "{} blocks can never prove a difference at the 5 % level; {FEWEST_PROVING_BLOCKS} is the least",
                experiment.design.blocks
            ));
        }
        let blocks = (0..=experiment.design.blocks)
            .map(|number| block(number, &treatments, seed))
            .collect();
        Ok(Self {
            seed,
            factors,
            treatments,
            blocks,
            notices,
        })
    }

    /// Number of guest starts.
    pub fn restarts(&self) -> usize {
        let restarting = |p: &&WholePlot| !self.restart_settings(p).is_empty();
        let plots = self
            .blocks
            .iter()
            .flat_map(|b| &b.plots)
            .filter(restarting)
            .count();
        plots.max(1)
    }

    /// The settings a whole plot is started with; empty when no factor needs a restart.
    pub fn restart_settings(&self, plot: &WholePlot) -> &[crate::tunable::Setting] {
        plot.treatments
            .first()
            .map_or(&[], |&t| &self.treatments[t].restart)
    }

    /// Number of trials, the discarded ones included.
    pub fn trials(&self) -> usize {
        self.blocks.len() * self.treatments.len()
    }

    /// How long the plan should take.
    pub fn expected(&self, experiment: &Experiment, pace: Pace) -> Span {
        let work: Duration = experiment.workloads.iter().map(|w| w.warmup.0 + w.time.0).sum();
        let trials = u32::try_from(self.trials()).unwrap_or(u32::MAX);
        let restarts = u32::try_from(self.restarts()).unwrap_or(u32::MAX);
        Span((work + pace.overhead).saturating_mul(trials) + pace.boot.saturating_mul(restarts))
    }
}

fn too_few_or_many(treatments: &[Treatment], levels_are_good: bool) -> Option<Diagnostic> {
    match treatments.len() {
        _ if !levels_are_good => None,
        0 | 1 => Some(
            Diagnostic::whole("nothing to compare: only the baseline is possible here")
                .hint("give a factor at least two levels that this host offers"),
        ),
        n if n > MAX_TREATMENTS => Some(
            Diagnostic::whole(format!("{n} treatments are too many (at most {MAX_TREATMENTS})"))
                .hint("use fewer levels, or `kind = \"one-at-a-time\"`"),
        ),
        _ => None,
    }
}

fn plan_factor(factor: &Factor, facts: &Facts, faults: &mut Vec<Diagnostic>) -> Option<PlannedFactor> {
    let before = faults.len();
    let mut levels: Vec<Level> = Vec::new();
    match &factor.levels {
        Levels::Listed(texts) => {
            for text in texts {
                match level(&factor.tunable, &text.text, facts) {
                    Ok(level) => push_new(&mut levels, level, text, faults),
                    Err(error) => faults.push(explain(&error, text.span.clone())),
                }
            }
        }
        Levels::Available(span) => match available_levels(&factor.tunable, facts) {
            Ok(all) => levels = all,
            Err(error) => faults.push(explain(&error, span.clone())),
        },
    }
    let (baseline, span) = match &factor.baseline {
        Some(text) => (level(&factor.tunable, &text.text, facts), text.span.clone()),
        None => (ambient_level(&factor.tunable, facts), factor.span.clone()),
    };
    let baseline = match baseline {
        Ok(level) => level,
        Err(error) => {
            // A level error of the same cause has been said; one place is enough.
            if faults.len() == before {
                faults.push(explain(&error, span));
            }
            return None;
        }
    };
    let baseline = levels
        .iter()
        .position(|l| l.settings == baseline.settings)
        .unwrap_or_else(|| {
            levels.insert(0, baseline);
            0
        });
    let whole_plot = factor.tunable.activation == Activation::DomainRestart;
    Some(PlannedFactor {
        tunable: factor.tunable.name.clone(),
        whole_plot,
        levels,
        baseline,
    })
}

fn push_new(levels: &mut Vec<Level>, level: Level, text: &Text, faults: &mut Vec<Diagnostic>) {
    match levels.iter().find(|known| known.settings == level.settings) {
        Some(known) => faults.push(
            Diagnostic::at(
                text.span.clone(),
                format!("level `{}` is the same as `{}` here", text.text, known.label),
            )
            .hint("remove one of them"),
        ),
        None => levels.push(level),
    }
}

fn explain(error: &LevelError, span: Range<usize>) -> Diagnostic {
    let diagnostic = Diagnostic::at(span, error.to_string());
    match error {
        LevelError::Unavailable { choices, .. } => {
            diagnostic.label(format!("available: {}", choices.join(", ")))
        }
        LevelError::Absent { .. } => {
            diagnostic.hint("`kvmtune check FILE` tells what this host and guest offer")
        }
        LevelError::NoList { .. } => diagnostic.hint("list the levels, as in levels = [\"4MiB\", \"16MiB\"]"),
        LevelError::Illegal(_) => diagnostic,
    }
}

/// A live factor whose place a restart factor is coupled to (a page pool and the guest backed by it) must be
/// set before the guest starts: it becomes a whole-plot factor too.
fn bind_coupled_factors(factors: &mut [PlannedFactor]) {
    let coupled: Vec<_> = factors
        .iter()
        .filter(|f| f.whole_plot)
        .flat_map(|f| f.levels.iter().flat_map(|l| &l.settings))
        .filter(|s| s.coupled)
        .map(|s| s.address.clone())
        .collect();
    for factor in factors.iter_mut() {
        let touches = |l: &Level| l.settings.iter().any(|s| coupled.contains(&s.address));
        factor.whole_plot |= factor.levels.iter().any(touches);
    }
}

/// How many treatments a design of these level counts has.
pub(crate) fn combinations(kind: DesignKind, counts: &[usize]) -> usize {
    match kind {
        DesignKind::FullFactorial => counts.iter().fold(1, |n, c| n.saturating_mul(*c)),
        DesignKind::OneAtATime => 1 + counts.iter().map(|c| c.saturating_sub(1)).sum::<usize>(),
    }
}
