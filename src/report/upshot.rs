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

/// The whole winner, where it was measured beside what was left of it.
pub(super) fn whole<'a>(report: &Report<'a>) -> Option<&'a Treatment> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::event::RunId;
    use crate::experiment::CONFIRMING;
    use crate::report::fixture::Fixture;
    use crate::report::{Report, html, markdown, text};

    /// Every form of the report, on one line each.
    fn told(report: &Report<'_>) -> [String; 3] {
        let all = [
            text(report, 100, false),
            markdown(report).replace('\\', ""),
            html(report).unwrap(),
        ];
        all.map(|form| form.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// Each form has these words; none has those that say something else; the page has what it shows alone.
    #[track_caller]
    fn agrees(report: &Report<'_>, words: &[&str], wrong: &[&str], page: &[&str]) {
        let forms = told(report);
        for form in &forms {
            for word in words {
                assert!(form.contains(word), "{word}: {form}");
            }
            for word in wrong {
                assert!(!form.contains(word), "{word}: {form}");
            }
        }
        for word in page {
            assert!(forms[2].contains(word), "{word}: {}", forms[2]);
        }
    }

    fn refuted(fixture: &Fixture) -> Confirmation {
        let treatment = &fixture.header.plan.treatments[1];
        Confirmation {
            run: fixture.header.run,
            treatment: treatment.label_against(&fixture.header.plan.treatments[0]),
            levels: treatment.levels.clone(),
            confirmed: false,
            against_whole: None,
            effect: fixture.evaluation.comparisons[1].primary().effect.clone(),
        }
    }

    #[test]
    fn what_was_not_confirmed_is_not_best() {
        let fixture = Fixture::quickstart();
        let confirmation = refuted(&fixture);
        let report = Report {
            confirmation: Some(&confirmation),
            ..fixture.report()
        };
        agrees(
            &report,
            &["Keep the baseline: domain.disk.cache=none looked best, and was not confirmed by run"],
            &[
                "is best",
                "Best configuration:",
                "Every comparison was settled",
                ">Set <",
                "--continue",
            ],
            &[
                "<span class=\"chip\">not confirmed</span>",
                "in fresh blocks: domain.disk.cache=none, ",
                "what looked best was not confirmed",
                "<li>domain.disk.cache=none: not confirmed by run",
            ],
        );
    }

    #[test]
    fn a_winner_taken_apart_is_no_baseline_that_stays() {
        let mut fixture = Fixture::quickstart();
        for record in &mut fixture.records {
            if let crate::event::Outcome::Measured { observations, .. } = &mut record.outcome
                && record.trial.treatment == fixture.header.plan.treatments[1].id
            {
                observations[0].value /= 1.6;
            }
        }
        fixture.header.purpose = Purpose::Ablate {
            of: fixture.header.run,
        };
        let fixture = fixture.evaluated();
        agrees(
            &fixture.report(),
            &["The winner taken apart. Proven worse: domain.disk.cache=none."],
            &[
                "eep the baseline",
                "nothing is proven better",
                "nearest",
                "Best configuration",
            ],
            &[
                "missed most: domain.disk.cache=none, ",
                ">taken apart</span>",
                "tells what of it is needed",
            ],
        );
    }

    #[test]
    fn what_is_left_and_worse_than_the_whole_is_not_set() {
        let mut fixture = Fixture::quickstart();
        fixture.header.purpose = Purpose::Confirm {
            of: RunId(uuid::Uuid::from_u128(7)),
        };
        fixture.header.plan.treatments.truncate(3);
        fixture.header.plan.treatments[2].role = Role::Whole;
        // As many blocks as anything is adopted on; the last two again.
        fixture.header.plan.planned = CONFIRMING;
        let last = fixture.records.iter().filter(|r| r.trial.block > 8).cloned();
        let again = last.map(|mut record| {
            record.trial.block += 2;
            record
        });
        let again: Vec<_> = again.collect();
        fixture.records.extend(again);
        let plan = &fixture.header.plan;
        let blocks = (0..=plan.planned).map(|n| crate::design::block(n, &plan.treatments, plan.guests, 1));
        fixture.header.plan.blocks = blocks.collect();
        let fixture = fixture.evaluated();
        assert!(matches!(
            fixture.evaluation.recommendation,
            Recommendation::Adopt(_)
        ));
        let mut worse = fixture.evaluation.comparisons[0].clone();
        worse.responses[0].verdict = Verdict::Worse;
        let report = Report {
            against_whole: Some(&worse),
            ..fixture.report()
        };
        agrees(
            &report,
            &[
                "domain.disk.cache=none is better than the baseline, ",
                "but worse than the whole winner, ",
                "the whole stays",
            ],
            &[
                "is confirmed",
                "Set <code class=\"better\">domain.disk.cache=none",
                "Every comparison was settled",
            ],
            &[
                "<span class=\"chip\">the whole stays</span>",
                "The whole winner stays: set <code class=\"better\">guest.disk.scheduler=mq-deadline</code>",
                "against the whole: domain.disk.cache=none, ",
            ],
        );
        // Nothing of it is said where it is as good as the whole.
        worse.responses[0].verdict = Verdict::Equivalent;
        let report = Report {
            against_whole: Some(&worse),
            ..fixture.report()
        };
        agrees(
            &report,
            &["domain.disk.cache=none is confirmed"],
            &["the whole stays"],
            &["Set <code"],
        );
    }

    #[test]
    fn a_stage_says_that_it_only_selects() {
        let mut fixture = Fixture::quickstart();
        let of = 3;
        fixture.header.purpose = Purpose::Stage {
            number: 3,
            of,
            first: None,
        };
        let fixture = fixture.evaluated();
        agrees(
            &fixture.report(),
            &[
                "is the best level of this factor",
                "against the best so far",
                "selection estimate: what was chosen",
            ],
            &["Best configuration", "is best:", "Every comparison was settled"],
            &["<h2>Best so far</h2>", "The next factor is measured from"],
        );
        let confirmation = refuted(&fixture);
        let report = Report {
            confirmation: Some(&confirmation),
            ..fixture.report()
        };
        agrees(&report, &["Keep the original baseline"], &["measured from"], &[]);
    }
}
