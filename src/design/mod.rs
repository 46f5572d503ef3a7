//! From an experiment and the facts of one host to the plan: treatments, blocks, whole plots and their order.
//!
//! Pure: the same experiment, facts and seed give the same plan. Does not know how a treatment is applied.

mod ablate;
mod boots;
mod factors;
mod order;
mod picks;
mod treatment;

pub use order::{Block, BootAt, Guests, WholePlot, block};
pub use treatment::{Role, Treatment, TreatmentId};

use crate::analysis::FEWEST_SAMPLES;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::experiment::{DesignKind, Experiment, Stopping};
use crate::facts::Facts;
use crate::tunable::{Level, Setting};
use crate::units::Span;
use crate::workload::SteadyRule;
use serde::{Deserialize, Serialize};
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
    /// True when the host must be booted for each level: a factor of the outermost plots. Then it is no whole-plot
    /// factor besides.
    #[serde(default)]
    pub reboots: bool,
    /// The levels; the baseline is among them.
    pub levels: Vec<Level>,
    /// Index of the baseline level; in a later stage, of the level kept from an earlier one.
    pub baseline: usize,
    /// Index of the level the experiment begins with.
    pub original: usize,
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
    /// Which of them share a start of the guest.
    pub guests: Guests,
    /// The number of judged blocks it was made with; more can be added to a run.
    pub planned: u32,
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

/// The time one of several stages has.
pub fn stage_budget(budget: Option<Span>, stages: usize) -> Option<Span> {
    let stages = u32::try_from(stages.max(1)).unwrap_or(u32::MAX);
    budget.map(|budget| Span(budget.0 / stages))
}

/// Which part of an experiment is planned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Part<'p> {
    /// All treatments of its design.
    Whole,
    /// One factor, by its place, the others at what was kept of earlier ones: `(tunable, level)`.
    Stage {
        /// The factor that is varied.
        factor: usize,
        /// Levels that take the baseline's place.
        kept: &'p [(String, String)],
    },
    /// The baseline and itself.
    Noise {
        /// How often.
        blocks: u32,
    },
    /// The baseline and the treatment with these levels, each trial with a fresh guest.
    Confirm {
        /// `(tunable, level)`, one for each factor.
        levels: &'p [(String, String)],
        /// How often.
        blocks: u32,
    },
    /// The same with the winner that the treatment is a part of beside it.
    Minimal {
        /// `(tunable, level)` of the part, one for each factor.
        levels: &'p [(String, String)],
        /// The same of the whole.
        whole: &'p [(String, String)],
        /// How often.
        blocks: u32,
    },
    /// The treatment with these levels as the baseline, and it without each setting in which it differs from the
    /// baseline of the experiment, each trial with a fresh guest.
    Ablate {
        /// `(tunable, level)`, one for each factor.
        levels: &'p [(String, String)],
        /// How often.
        blocks: u32,
    },
}

/// A block that takes longer has the baseline a second time in its middle.
const LONG_BLOCK: Duration = Duration::from_mins(45);

impl Plan {
    /// The plan of a part of `experiment` on the host and guest of `facts`. All levels that are impossible here are
    /// reported at once.
    pub fn new(
        experiment: &Experiment,
        facts: &Facts,
        part: Part<'_>,
        pace: Pace,
        seed: u64,
    ) -> Result<Self, Diagnostics> {
        let mut faults = Vec::new();
        let mut notices = Vec::new();
        let mut factors: Vec<_> = experiment
            .factors
            .iter()
            .filter_map(|f| factors::plan(experiment, f, facts, part, &mut faults, &mut notices))
            .collect();
        faults.extend(factors::shared_places(experiment, &factors));
        let mut treatments = Vec::new();
        if faults.is_empty() {
            factors::bind_coupled(&mut factors);
            let picks = picks::of_part(experiment, facts, &mut factors, part, &mut faults);
            treatments = match part {
                Part::Ablate { .. } => ablate::take_apart(&mut factors, &picks, facts, &mut notices),
                _ => treatment::combine(&factors, &picks, facts, &mut notices),
            };
        }
        if experiment.design.kind == DesignKind::OneFactor {
            faults.extend(factors::single_levels(experiment, &factors));
        }
        if let (Part::Minimal { .. }, [_, _, whole]) = (part, &mut treatments[..]) {
            whole.role = Role::Whole;
        }
        if let Part::Noise { .. } = part {
            treatments.truncate(1);
            treatments.extend(treatments.first().map(|t| t.repeated(Role::Again)));
        }
        faults.extend(too_few_or_many(&treatments, faults.is_empty(), &notices));
        if let Some(diagnostics) = Diagnostics::gather(&experiment.source, faults) {
            return Err(diagnostics);
        }
        let mut plan = Self {
            seed,
            factors,
            treatments,
            guests: match part {
                Part::Confirm { .. } | Part::Minimal { .. } | Part::Ablate { .. } => Guests::Fresh,
                _ => experiment.fresh,
            },
            planned: 0,
            blocks: Vec::new(),
            notices,
        };
        let wanted = match part {
            Part::Noise { blocks }
            | Part::Confirm { blocks, .. }
            | Part::Minimal { blocks, .. }
            | Part::Ablate { blocks, .. } => blocks,
            Part::Whole | Part::Stage { .. } => experiment.design.blocks,
        };
        plan.repeat_baseline_in_long_blocks(experiment, pace);
        let budget = match part {
            Part::Whole => experiment.time_budget,
            Part::Stage { .. } => stage_budget(experiment.time_budget, experiment.factors.len()),
            // Fewer blocks than were asked for would answer another question.
            Part::Noise { .. } | Part::Confirm { .. } | Part::Minimal { .. } | Part::Ablate { .. } => None,
        };
        plan.planned = plan.blocks_in_budget(experiment, budget, pace, wanted);
        plan.extend(plan.planned);
        if plan.judged() < FEWEST_PROVING_BLOCKS {
            plan.notices.push(format!(
                "{} blocks can never prove a difference at the 5 % level; {FEWEST_PROVING_BLOCKS} is the least",
                plan.judged()
            ));
        }
        if plan.needs_reboots() {
            plan.notices.push(format!(
                "a reboot of the host is taken to last {}; `reboot` in [budget] says otherwise",
                experiment.reboot
            ));
        }
        plan.notices.extend(too_short_to_settle(experiment));
        Ok(plan)
    }

    /// Number of blocks that are judged.
    pub fn judged(&self) -> u32 {
        u32::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    /// Makes the plan longer; the blocks it has stay as they are.
    pub fn extend(&mut self, judged: u32) {
        let next = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        let more = (next..=judged).map(|number| block(number, &self.treatments, self.guests, self.seed));
        self.blocks.extend(more);
    }

    /// Takes off the blocks after the first `judged` ones.
    pub fn shorten(&mut self, judged: u32) {
        self.blocks.truncate(judged as usize + 1);
    }

    /// The candidates by their place in the plan: what is compared with the baseline.
    pub fn candidates(&self) -> impl Iterator<Item = (usize, &Treatment)> {
        let all = self.treatments.iter().enumerate().skip(1);
        all.filter(|(_, t)| !matches!(t.role, Role::Middle | Role::Whole))
    }

    /// Drift within a long block would hit the treatments far from the baseline.
    fn repeat_baseline_in_long_blocks(&mut self, experiment: &Experiment, pace: Pace) {
        self.extend(1);
        let length = self.expected(experiment, pace).0 / u32::try_from(self.blocks.len()).unwrap_or(1);
        self.blocks.clear();
        // A baseline in the middle would cost two boots more in each block, and lengthen what it is to mend.
        if self.needs_reboots() {
            return;
        }
        if length > LONG_BLOCK && self.treatments.len() > 2 {
            self.treatments.push(self.treatments[0].repeated(Role::Middle));
            self.notices.push(
                "a block takes more than 45 minutes: the baseline is measured a second time in its middle"
                    .into(),
            );
        }
    }

    /// As many of the wanted blocks as the time budget should hold, where the number was not fixed.
    fn blocks_in_budget(
        &mut self,
        experiment: &Experiment,
        budget: Option<Span>,
        pace: Pace,
        wanted: u32,
    ) -> u32 {
        let (Some(budget), Stopping::Looks { min, .. }) = (budget, experiment.design.stopping) else {
            return wanted;
        };
        let mut probe = Self {
            blocks: Vec::new(),
            ..self.clone()
        };
        let mut fits = 0;
        while fits < wanted {
            probe.extend(fits + 1);
            if probe.expected(experiment, pace).0 > budget.0 {
                break;
            }
            fits += 1;
        }
        if fits < wanted && fits >= min.min(wanted) {
            self.notices.push(format!(
                "the budget of {budget} holds about {fits} of {wanted} blocks; looks are taken within {fits}"
            ));
            return fits;
        }
        wanted
    }

    /// Number of guest starts.
    pub fn restarts(&self) -> usize {
        let restarting =
            |p: &WholePlot| self.guests != Guests::Shared || !self.restart_settings(p).is_empty();
        let in_block = |block: &Block| {
            let mut boot = None;
            let starts = block.plots.iter().filter(|p| {
                let is_new = self.needs_reboots() && boot.replace(p.boot) != Some(p.boot);
                is_new || restarting(p)
            });
            starts.count()
        };
        self.blocks.iter().map(in_block).sum::<usize>().max(1)
    }

    /// The settings a whole plot is started with; empty when no factor needs a restart.
    pub fn restart_settings(&self, plot: &WholePlot) -> &[Setting] {
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
        let reboots = u32::try_from(self.reboots()).unwrap_or(u32::MAX);
        let in_guest = (work + pace.overhead).saturating_mul(trials) + pace.boot.saturating_mul(restarts);
        Span(in_guest + experiment.reboot.0.saturating_mul(reboots))
    }
}

/// Names the workloads that are not long enough to be seen settling.
fn too_short_to_settle(experiment: &Experiment) -> Option<String> {
    let judged = experiment
        .workloads
        .iter()
        .filter(|w| w.steady != SteadyRule::Off);
    let short = judged.filter(|w| !w.is_long_enough_for(FEWEST_SAMPLES));
    let names: Vec<_> = short.map(|w| format!("{} ({})", w.name, w.time)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "trials are too short to tell whether the workload settled: {}; {}s are needed",
            names.join(", "),
            FEWEST_SAMPLES + 1
        )
    })
}

fn too_few_or_many(
    treatments: &[Treatment],
    levels_are_good: bool,
    notices: &[String],
) -> Option<Diagnostic> {
    let left_out: Vec<_> = notices
        .iter()
        .filter(|n| n.starts_with("left out"))
        .map(String::as_str)
        .collect();
    match treatments.len() {
        _ if !levels_are_good => None,
        0 | 1 => Some(
            Diagnostic::whole("nothing to compare: only the baseline is possible here").hint(
                if left_out.is_empty() {
                    "give a factor at least two levels that this host offers".into()
                } else {
                    left_out.join("; ")
                },
            ),
        ),
        n if n > MAX_TREATMENTS => Some(
            Diagnostic::whole(format!("{n} treatments are too many (at most {MAX_TREATMENTS})"))
                .hint("use fewer levels, or `kind = \"one-at-a-time\"`"),
        ),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
