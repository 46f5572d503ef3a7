//! What a run is told as: on a terminal, in Markdown, as JSON, as a page with plots; and the progress while it runs.
//!
//! Knows events, the header and records of a run and its [`Evaluation`]; not who ran it, not where it is kept. Every
//! text from a user or a guest is treated as hostile: see [`tame`].

mod advice;
mod certificate;
mod compare;
mod conclusion;
mod effects;
mod error;
#[cfg(test)]
mod fixture;
mod front;
mod html;
mod json;
mod machine;
mod markdown;
mod overhead;
mod pace;
mod plan;
mod plots;
mod progress;
mod repeat;
mod runs;
mod sides;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod tunables;
mod upshot;
mod verdict;
mod wording;

pub use advice::{advice_json, advice_markdown, advice_text};
pub use compare::{CompareError, SideBySide, compare, compare_markdown, compare_text};
pub use error::ReportError;
pub use html::html;
pub use json::{Document, json};
pub use markdown::markdown;
pub use overhead::{Overhead, OverheadGroup, Spread, overhead};
pub use plan::{PlanDocument, plan_json, plan_text};
pub use plots::{Fonts, PIXELS, Plot, PlotKind, plot, why_not};
pub use progress::{Progress, Screen};
pub use runs::{RunRow, runs};
pub use text::text;
pub use tunables::{Row as TunableRow, detail as tunable, hatches, list as tunables, page as tunables_page};
pub use wording::{duration, tame, tame_lines};

use crate::analysis::{Comparison, Effect};
use crate::decision::{Evaluation, Place};
use crate::design::{Treatment, TreatmentId};
use crate::event::{Certificate, End, RunHeader, RunId, TrialRecord};
use crate::telemetry::Seconds;

/// Everything a report is made of.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What the run is of.
    pub header: &'a RunHeader,
    /// Its trials.
    pub records: &'a [TrialRecord],
    /// What they show.
    pub evaluation: &'a Evaluation,
    /// How the run ended; nothing while it runs and after it was killed.
    pub end: Option<End>,
    /// Of a confirmation: by how much the treatment changed the response in the run that found it, in percent.
    pub selection: Option<f64>,
    /// The confirmation that followed: its run, and what it said.
    pub confirmation: Option<&'a Confirmation>,
    /// Of the confirmation of what an ablation left: that against the whole winner, in the same blocks.
    pub against_whole: Option<&'a Comparison>,
    /// Where the treatments stand in several responses; empty where there is one.
    pub front: &'a [Place],
    /// What the run certifies, when it is an A/A run.
    pub certified: Option<&'a Certificate>,
    /// What the host did beside the trials, by the second, where it was kept and asked for.
    pub telemetry: &'a [Seconds],
}

/// What a confirmation said of the treatment that a run found best.
#[derive(Debug, Clone, PartialEq)]
pub struct Confirmation {
    /// The confirmation's run.
    pub run: RunId,
    /// What it measured, by name.
    pub treatment: String,
    /// The levels of that.
    pub levels: Vec<(String, String)>,
    /// Whether it adopted them.
    pub confirmed: bool,
    /// The same against the whole winner, where it is what an ablation left.
    pub against_whole: Option<Comparison>,
    /// The first response there.
    pub effect: Effect,
}

impl<'a> Report<'a> {
    /// Whether nothing more is to come without being asked for.
    fn is_over(&self) -> bool {
        matches!(
            self.end,
            Some(End::Complete | End::Answered { .. } | End::TimeBudget)
        )
    }

    /// The first treatment; `None` only for a plan without treatments, which no run has.
    fn baseline(&self) -> Option<&'a Treatment> {
        self.header.plan.treatments.first()
    }

    /// The name of the first response, tamed and at most `max` characters long.
    fn response_name(&self, max: usize) -> String {
        let protocol = &self.header.protocol;
        wording::tame(&protocol.name_of(&protocol.response().metric), max)
    }

    /// Each other treatment with its comparison, in the plan's order.
    fn candidates(&self) -> impl Iterator<Item = (&'a Treatment, &'a Comparison)> + use<'a> {
        let treatments = self.header.plan.candidates().map(|(_, treatment)| treatment);
        treatments.zip(&self.evaluation.comparisons)
    }

    /// The name of a candidate by its place among the candidates.
    fn candidate_label(&self, candidate: usize) -> String {
        let mut all = self.header.plan.candidates();
        all.nth(candidate)
            .map_or_else(String::new, |(_, t)| self.label(&t.id))
    }

    /// The treatment's differences from the baseline; its id when the plan has no such treatment.
    fn label(&self, id: &TreatmentId) -> String {
        wording::label(&self.header.plan, id)
    }

    /// Number of complete blocks, and how many were planned; the discarded one left out.
    fn blocks(&self) -> (u32, u32) {
        (self.evaluation.done, self.header.plan.judged())
    }
}
