//! The answer of a run in one sentence, and what must be said beside it. Knows no layout.

use super::{Report, certificate, verdict, wording};
use crate::analysis::Verdict;
use crate::decision::{Blocked, KeepReason, Recommendation, Winner};
use crate::event::{End, Purpose};
use std::fmt::Write as _;

/// Names the best treatment, or says that none is proven better and why.
pub(super) fn answer(report: &Report<'_>) -> String {
    let answer = match (&report.evaluation.recommendation, report.header.purpose.clone()) {
        (_, Purpose::Noise) => noise(report),
        (Recommendation::Adopt(winner), _) => adopt(report, winner),
        (Recommendation::Keep { .. }, Purpose::Confirm { .. }) => {
            "Keep the baseline: fresh blocks did not confirm the treatment that looked best.".into()
        }
        (Recommendation::Keep { reason }, _) => keep(report, reason),
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
    let primary = comparison.primary();
    let is = match report.header.purpose {
        Purpose::Confirm { .. } => "is confirmed",
        _ => "is best",
    };
    let mut text = format!(
        "{} {is}: {} {} against the baseline (p {} after Holm over {}{guards}).",
        wording::tame(winner.treatment(), wording::SENTENCE),
        report.header.protocol.response().metric,
        wording::change(&primary.effect),
        wording::p_value(primary.p_holm),
        primary.family,
    );
    if primary.negligible {
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

/// Of an A/A run: what this host resolves, or that it found a difference where there is none.
fn noise(report: &Report<'_>) -> String {
    let differs = report
        .evaluation
        .comparisons
        .iter()
        .any(|c| matches!(c.primary().verdict, Verdict::Better | Verdict::Worse));
    let metric = &report.header.protocol.response().metric;
    match report.certified {
        _ if differs => format!(
            "The same treatment differs from itself in {metric}: one A/A run in twenty does so by chance; if it happens \
             again, something beside the treatments changes within the blocks."
        ),
        None => "Too few blocks to say how noisy this host is.".into(),
        Some(certificate) => format!(
            "{metric} varies by {} within a block on this host of class {}.",
            wording::share(100.0 * certificate.noise.within_cv),
            report.header.facts.class()
        ),
    }
}

fn keep(report: &Report<'_>, reason: &KeepReason) -> String {
    match reason {
        KeepReason::NothingCompared => "Keep the baseline: nothing was compared with it.".into(),
        KeepReason::NoneBetter => {
            "Keep the baseline: no treatment is proven better, and more blocks are not expected to change that.".into()
        }
        KeepReason::Inconclusive { more_blocks } => format!(
            "Keep the baseline for now: no treatment is proven better. The nearest to it needs {}.",
            verdict::more(report, *more_blocks)
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

/// The candidates nothing is shown of, with what would settle each.
pub(super) fn unproven(report: &Report<'_>) -> Vec<String> {
    let open = report.candidates().filter_map(|(treatment, comparison)| {
        let is_open = |v: Verdict| {
            matches!(
                v,
                Verdict::Inconclusive { .. } | Verdict::NoResolution | Verdict::AtCap
            )
        };
        let label = report.label(&treatment.id);
        comparison
            .responses
            .iter()
            .any(|r| is_open(r.verdict))
            .then(|| format!("{label}: {}", verdict::verdict(report, comparison)))
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
    let run = report.header.run.short();
    if let (Recommendation::Adopt(_), Purpose::Sweep | Purpose::Stage { .. }) =
        (&report.evaluation.recommendation, &report.header.purpose)
    {
        notices.push(format!(
            "selection estimate: what was chosen for looking best tends to look better than it is; the gain to publish \
             is that of fresh blocks, `kvmtune confirm {run}`"
        ));
    }
    if let Some(certificate) = &report.header.certificate {
        notices.push(certificate::line(certificate, report.evaluation.done as usize));
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
    if counts.failed + counts.invalid + counts.unsteady > 0 {
        notices.push(format!(
            "{} trials gave no number ({} failed, {} invalid, {} not steady); their blocks are missing from the comparisons they \
             belong to",
            counts.failed + counts.invalid + counts.unsteady,
            counts.failed,
            counts.invalid,
            counts.unsteady
        ));
    }
    notices
}
