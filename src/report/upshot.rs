//! What a run comes to, by itself and by what followed it: text, Markdown and page all ask here, so that they agree with
//! each other and with the advice. Knows no words.

use super::{Confirmation, Report};
use crate::analysis::{Comparison, Verdict};
use crate::decision::{KeepReason, Recommendation, Winner};
use crate::design::{Role, Treatment};
use crate::event::Purpose;

/// What stays, or what is to be set.
pub(super) enum Upshot<'a> {
    /// The baseline, measured against itself.
    Noise,
    /// The winner, which is the baseline of an ablation; what is left of it is measured after that.
    TakenApart,
    /// A treatment that is proven better.
    Better(&'a Winner),
    /// The baseline: fresh blocks did not confirm what looked best.
    NotConfirmed(&'a Confirmation),
    /// The whole winner: what was left of it is not confirmed, or is worse than the whole.
    WholeStays {
        /// What was left of it, where that is better than the baseline and worse than the whole.
        left: Option<(&'a Winner, &'a Comparison)>,
    },
    /// The baseline.
    Keep(&'a KeepReason),
}

pub(super) fn upshot<'a>(report: &Report<'a>) -> Upshot<'a> {
    let recommended = &report.evaluation.recommendation;
    match (&report.header.purpose, recommended, report.confirmation) {
        (Purpose::Noise, ..) => Upshot::Noise,
        (Purpose::Ablate { .. }, ..) => Upshot::TakenApart,
        (_, _, Some(confirmation)) if !confirmation.confirmed => Upshot::NotConfirmed(confirmation),
        (Purpose::Confirm { .. }, ..) => confirmation(report),
        (_, Recommendation::Adopt(winner), _) => Upshot::Better(winner),
        (_, Recommendation::Keep { reason }, _) => Upshot::Keep(reason),
    }
}

/// Of a confirmation, beside which the whole winner may have been measured.
fn confirmation<'a>(report: &Report<'a>) -> Upshot<'a> {
    match &report.evaluation.recommendation {
        Recommendation::Adopt(winner) => match report.against_whole.filter(|c| is_worse(c)) {
            None => Upshot::Better(winner),
            Some(whole) => Upshot::WholeStays {
                left: Some((winner, whole)),
            },
        },
        Recommendation::Keep { .. } if whole(report).is_some() && report.is_over() => {
            Upshot::WholeStays { left: None }
        }
        Recommendation::Keep { reason } => Upshot::Keep(reason),
    }
}

fn whole<'a>(report: &Report<'a>) -> Option<&'a Treatment> {
    let mut all = report.header.plan.treatments.iter();
    all.find(|t| t.role == Role::Whole)
}

/// Whether something is lost in one of the responses.
pub(super) fn is_worse(comparison: &Comparison) -> bool {
    comparison.responses.iter().any(|r| r.verdict == Verdict::Worse)
}

impl Upshot<'_> {
    /// The treatment to set instead of the run's baseline, if there is one.
    pub(super) fn best<'a>(&self, report: &Report<'a>) -> Option<&'a Treatment> {
        match self {
            Self::Better(winner) => {
                let mut all = report.candidates();
                all.find(|(_, c)| *c == winner.comparison()).map(|(t, _)| t)
            }
            Self::WholeStays { .. } => whole(report),
            Self::Noise | Self::TakenApart | Self::NotConfirmed(_) | Self::Keep(_) => None,
        }
    }
}
