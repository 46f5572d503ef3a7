//! What a run is told as: on a terminal, in Markdown, as JSON, as a page with plots; and the progress while it runs.
//!
//! Knows events, the header and records of a run and its [`Evaluation`]; not who ran it, not where it is kept. Every
//! text from a user or a guest is treated as hostile: see [`tame`].

mod conclusion;
mod error;
#[cfg(test)]
mod fixture;
mod html;
mod json;
mod markdown;
mod overhead;
mod pace;
mod plan;
mod plots;
mod progress;
mod runs;
mod table;
#[cfg(test)]
mod tests;
mod text;
mod wording;

pub use error::ReportError;
pub use html::html;
pub use json::{Document, json};
pub use markdown::markdown;
pub use overhead::{Overhead, OverheadGroup, Spread, overhead};
pub use plan::{PlanDocument, plan_json, plan_text};
pub use plots::{effects_plot, samples_plot};
pub use progress::{Progress, Screen};
pub use runs::{RunRow, runs};
pub use text::text;
pub use wording::tame;

use crate::analysis::Comparison;
use crate::decision::Evaluation;
use crate::design::{Treatment, TreatmentId};
use crate::event::{End, RunHeader, TrialRecord};

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
}

impl<'a> Report<'a> {
    /// The first treatment; `None` only for a plan without treatments, which no run has.
    fn baseline(&self) -> Option<&'a Treatment> {
        self.header.plan.treatments.first()
    }

    /// Each other treatment with its comparison, in the plan's order.
    fn candidates(&self) -> impl Iterator<Item = (&'a Treatment, &'a Comparison)> + use<'a> {
        let treatments = self.header.plan.treatments.iter().skip(1);
        treatments.zip(&self.evaluation.comparisons)
    }

    /// The treatment's differences from the baseline; its id when the plan has no such treatment.
    fn label(&self, id: &TreatmentId) -> String {
        wording::label(&self.header.plan, id)
    }

    /// Number of blocks in which every treatment has a trial, and how many were planned; the discarded one left out.
    fn blocks(&self) -> (usize, usize) {
        let treatments = self.header.plan.treatments.len();
        let judged = || self.header.plan.blocks.iter().filter(|b| b.number > 0);
        let trials = |number| self.records.iter().filter(|r| r.trial.block == number).count();
        let measured = judged().filter(|b| trials(b.number) >= treatments).count();
        (measured, judged().count())
    }
}
