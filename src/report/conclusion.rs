//! The answer of a run in one sentence, and what must be said beside it. Knows no layout.

use super::{Report, pace, wording};
use crate::analysis::Verdict;
use crate::decision::{Blocked, KeepReason, Recommendation, Winner};
use crate::event::End;
use std::fmt::Write as _;

/// Names the best treatment, or says that none is proven better and why.
pub(super) fn answer(report: &Report<'_>) -> String {
    let answer = match &report.evaluation.recommendation {
        Recommendation::Adopt(winner) => adopt(report, winner),
        Recommendation::Keep { reason } => keep(report, reason),
    };
    // The sentence that is quoted alone.
    match report.header.facts.simulated() {
        Some(_) => format!("In a simulation: {answer}"),
        None => answer,
    }
}

fn adopt(report: &Report<'_>, winner: &Winner) -> String {
    let comparison = winner.comparison();
    let guards = match comparison.guards.len() {
        0 => "",
        1 => ", its guard held",
        _ => ", all its guards held",
    };
    let mut text = format!(
        "{} is best: {} {} against the baseline (p {} after Holm over {}{guards}).",
        wording::tame(winner.treatment(), wording::SENTENCE),
        report.header.protocol.response().metric,
        wording::change(&comparison.primary().effect),
        wording::p_value(comparison.primary().p_holm),
        comparison.primary().family,
    );
    if comparison.primary().negligible {
        let _ = write!(
            text,
            " The difference is proven but negligible: below {}.",
            report.header.protocol.smallest_effect
        );
    }
    if !winner.passed_over().is_empty() {
        let _ = write!(text, " Passed over: {}.", standing(winner.passed_over()));
    }
    text
}

fn keep(report: &Report<'_>, reason: &KeepReason) -> String {
    match reason {
        KeepReason::NothingCompared => "Keep the baseline: nothing was compared with it.".into(),
        KeepReason::NoneBetter => {
            "Keep the baseline: no treatment is proven better, and more blocks are not expected to change that.".into()
        }
        KeepReason::Inconclusive { more_blocks } => format!(
            "Keep the baseline for now: no treatment is proven better. The nearest to it needs {}.",
            more(report, *more_blocks)
        ),
        KeepReason::Guarded { blocked } => format!(
            "Keep the baseline: what is proven better may not be adopted: {}.",
            standing(blocked)
        ),
    }
}

fn standing(blocked: &[Blocked]) -> String {
    let one = |b: &Blocked| {
        let guards: Vec<_> = b
            .guards
            .iter()
            .map(|g| {
                format!(
                    "guard {} {} at {}",
                    wording::tame(&wording::guard_limit(g), wording::NAME),
                    wording::guard_outcome(g.outcome),
                    wording::change(&g.effect)
                )
            })
            .collect();
        format!(
            "{} ({})",
            wording::tame(&b.treatment, wording::NAME),
            guards.join(", ")
        )
    };
    blocked.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// `about 12 more blocks, about 9m30s`, by the pace of this run.
pub(super) fn more(report: &Report<'_>, blocks: u32) -> String {
    wording::more_blocks(blocks, pace::block(report.header, report.records))
}

/// The candidates nothing is shown of, with what would settle each.
pub(super) fn unproven(report: &Report<'_>) -> Vec<String> {
    let open = report.candidates().filter_map(|(treatment, comparison)| {
        let label = report.label(&treatment.id);
        match comparison.primary().verdict {
            Verdict::Inconclusive { more_blocks } => Some(format!(
                "{label}: inconclusive, needs {}",
                more(report, more_blocks)
            )),
            Verdict::NoResolution => Some(format!(
                "{label}: no resolution, half or more of its blocks equal the baseline exactly"
            )),
            _ => None,
        }
    });
    open.collect()
}

/// What a reader must know beside the table.
pub(super) fn notices(report: &Report<'_>) -> Vec<String> {
    let mut notices: Vec<String> = report
        .header
        .plan
        .notices
        .iter()
        .map(|n| wording::tame(n, wording::SENTENCE))
        .collect();
    if wording::acceleration(&report.header.facts) == "software emulation" {
        notices.push("software emulation: numbers are relative, and a gain may differ under KVM".into());
    }
    let family = report.evaluation.comparisons.len();
    let better = |c: &crate::analysis::Comparison| c.primary().verdict == Verdict::Better;
    if family > 1 && report.evaluation.comparisons.iter().any(better) {
        notices.push(format!(
            "selection estimate: the best of {family} candidates tends to look better than it is; \
             publish its gain only from fresh blocks against the baseline alone"
        ));
    }
    let (measured, planned) = report.blocks();
    match report.end {
        Some(End::Complete) => {}
        Some(end) => notices.push(format!("{}: {measured} of {planned} blocks", wording::end(end))),
        None if measured < planned => {
            notices.push(format!("unfinished: {measured} of {planned} blocks"));
        }
        None => {}
    }
    let counts = report.evaluation.counts;
    if counts.failed + counts.invalid > 0 {
        notices.push(format!(
            "{} trials gave no number ({} failed, {} invalid); their blocks are missing from the comparisons they \
             belong to",
            counts.failed + counts.invalid,
            counts.failed,
            counts.invalid
        ));
    }
    notices
}
