//! The answer of a run in one sentence, and what must be said beside it. Knows no layout.

use super::{Report, advice, certificate, machine, verdict, wording};
use crate::analysis::{Comparison, Effect, Judgement, Verdict};
use crate::decision::{Blocked, KeepReason, Recommendation, Winner};
use crate::event::{End, Purpose};
use crate::workload::SteadyRule;
use std::fmt::Write as _;

/// Names the best treatment, or says that none is proven better and why.
pub(super) fn answer(report: &Report<'_>) -> String {
    let answer = match (&report.evaluation.recommendation, report.header.purpose.clone()) {
        (_, Purpose::Noise) => noise(report),
        (_, Purpose::Ablate { .. }) => advice::ablation(report),
        (Recommendation::Adopt(winner), _) => adopt(report, winner),
        (Recommendation::Keep { .. }, Purpose::Confirm { .. })
            if report.is_over() && advice::has_whole(report) =>
        {
            format!(
                "Fresh blocks did not confirm what was left of the winner: the whole stays, `kvmtune recommend {}`.",
                report.header.run.short()
            )
        }
        (Recommendation::Keep { reason }, Purpose::Confirm { .. })
            if report.is_over()
                && !matches!(reason, KeepReason::Guarded { .. } | KeepReason::TooFew { .. }) =>
        {
            "Keep the baseline: fresh blocks did not confirm the treatment that looked best.".into()
        }
        (Recommendation::Keep { reason }, _) => keep(report, reason) + &torn(report),
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
        "{} {is}: {} against the baseline{guards}.",
        wording::tame(winner.treatment(), wording::SENTENCE),
        proven(report, comparison),
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

/// Each response that is better, with its p-value; then what became of the others.
fn proven(report: &Report<'_>, comparison: &Comparison) -> String {
    let is_better = |j: &&Judgement| j.verdict == Verdict::Better;
    let better = comparison.responses.iter().filter(is_better).map(|j| {
        format!(
            "{} {} (p {} after Holm over {})",
            wording::tame(&metric(report, &j.effect), wording::NAME),
            wording::change(&j.effect),
            wording::p_value(j.p_holm),
            j.family,
        )
    });
    let others = comparison.responses.iter().filter(|j| !is_better(j)).map(|j| {
        let name = wording::tame(&j.effect.metric, wording::NAME);
        format!("{name} {}", wording::verdict(j.verdict))
    });
    better.chain(others).collect::<Vec<_>>().join("; ")
}

/// The response's whole name, with its workload.
fn metric(report: &Report<'_>, effect: &Effect) -> String {
    let protocol = &report.header.protocol;
    let mut responses = protocol.responses.iter().map(|r| &r.metric);
    let found = responses.find(|id| protocol.name_of(id) == effect.metric);
    found.map_or_else(|| effect.metric.clone(), ToString::to_string)
}

/// Candidates that are better in one response and worse in another.
fn torn(report: &Report<'_>) -> String {
    let told = report.candidates().filter_map(|(treatment, comparison)| {
        let with = |verdict| {
            let names = comparison.responses.iter().filter(|j| j.verdict == verdict);
            let names: Vec<_> = names
                .map(|j| wording::tame(&j.effect.metric, wording::NAME))
                .collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let (better, worse) = (with(Verdict::Better)?, with(Verdict::Worse)?);
        Some(format!(
            " {} is better in {better} and worse in {worse}.",
            report.label(&treatment.id)
        ))
    });
    told.collect()
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
        KeepReason::TooFew { blocks, pairs } => {
            format!("Keep the baseline: {}.", advice::too_few(*blocks, *pairs))
        }
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
    if let (Recommendation::Adopt(_), Purpose::Sweep, None) = (
        &report.evaluation.recommendation,
        &report.header.purpose,
        report.confirmation,
    ) {
        notices.push(format!(
            "selection estimate: what was chosen for looking best tends to look better than it is; the gain to publish \
             is that of fresh blocks, `kvmtune confirm {run}`"
        ));
    }
    if let (Recommendation::Adopt(_), Purpose::Confirm { .. }) =
        (&report.evaluation.recommendation, &report.header.purpose)
    {
        notices.push(advice::after_confirmation(report));
    }
    if let Some(certificate) = &report.header.certificate {
        notices.push(certificate::line(certificate, report.evaluation.done as usize));
    }
    let (measured, planned) = report.blocks();
    match report.end {
        Some(End::Complete) => {}
        Some(end) if report.is_over() => {
            notices.push(format!("{}: {measured} of {planned} blocks", wording::end(end)));
        }
        Some(end) => notices.push(format!(
            "{}: {measured} of {planned} blocks; `kvmtune run --resume {run}` goes on",
            wording::end(end)
        )),
        None if measured < planned => notices.push(format!(
            "unfinished: {measured} of {planned} blocks; `kvmtune run --resume {run}` goes on"
        )),
        None => {}
    }
    for (metric, pairs) in &report.evaluation.without_ratio {
        notices.push(format!(
            "{} was 0 on one side of {pairs} pairs, which have no ratio and are left out",
            wording::tame(&metric.to_string(), wording::NAME)
        ));
    }
    notices.extend(machine::suspects(report));
    notices.extend(never_asked(report));
    let counts = report.evaluation.counts;
    let lost = counts.failed + counts.invalid + counts.unsteady;
    if lost > 0 {
        notices.push(format!(
            "{} without a number ({} failed, {} invalid, {} not steady); their blocks are missing from the comparisons they \
             belong to",
            if lost == 1 { "1 trial".into() } else { format!("{lost} trials") },
            counts.failed,
            counts.invalid,
            counts.unsteady
        ));
    }
    notices
}

/// Names the workloads that were never asked whether they settled.
fn never_asked(report: &Report<'_>) -> Option<String> {
    let workloads = report.header.protocol.workloads.iter();
    let off = workloads.filter(|w| w.steady == SteadyRule::Off);
    let names: Vec<_> = off.map(|w| wording::tame(&w.name, wording::NAME)).collect();
    let is_real = report.header.facts.simulated().is_none();
    (is_real && !names.is_empty())
        .then(|| format!("not asked whether they had settled: {}", names.join(", ")))
}
