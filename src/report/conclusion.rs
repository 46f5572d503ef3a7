//! The answer of a run in one sentence, and what must be said beside it. Knows no layout.

use super::upshot::{Upshot, is_worse, upshot};
use super::{Confirmation, Report, advice, certificate, machine, verdict, wording};
use crate::analysis::{Comparison, Effect, Judgement, Verdict};
use crate::decision::{Blocked, KeepReason, Recommendation, Winner, found_best};
use crate::event::{End, Purpose};
use crate::workload::SteadyRule;
use std::fmt::Write as _;

/// Heads the treatment to set.
pub(super) fn best_title(report: &Report<'_>) -> &'static str {
    match report.header.purpose {
        Purpose::Noise | Purpose::Ablate { .. } => "Configuration",
        Purpose::Stage { .. } => "Best so far",
        _ => "Best configuration",
    }
}

/// Names the best treatment, or says that none is proven better and why.
pub(super) fn answer(report: &Report<'_>) -> String {
    let answer = match upshot(report) {
        Upshot::Noise => noise(report),
        Upshot::TakenApart => advice::ablation(report),
        Upshot::Better(winner) => adopt(report, winner),
        Upshot::NotConfirmed(confirmation) => not_confirmed(report, confirmation),
        Upshot::WholeStays { left } => whole_stays(report, left),
        Upshot::Keep(KeepReason::Guarded { blocked }) => guarded(report, blocked) + &torn(report),
        Upshot::Keep(reason)
            if matches!(report.header.purpose, Purpose::Confirm { .. })
                && report.is_over()
                && !matches!(reason, KeepReason::TooFew { .. }) =>
        {
            "Keep the baseline: fresh blocks did not confirm the treatment that looked best.".into()
        }
        Upshot::Keep(reason) => keep(report, reason) + &torn(report),
    };
    // The sentence that is quoted alone.
    match report.header.facts.simulated() {
        Some(_) => format!("In a simulation: {answer}"),
        None => answer,
    }
}

/// What looked best, and what fresh blocks showed of it.
fn not_confirmed(report: &Report<'_>, confirmation: &Confirmation) -> String {
    let original = match report.header.purpose {
        Purpose::Stage { .. } => "original ",
        _ => "",
    };
    format!(
        "Keep the {original}baseline: {} looked best, and was {}.",
        name(confirmation),
        told(confirmation)
    )
}

/// `not confirmed by run 0123abcd on fresh guests: iops +0.2 % [-0.9, +1.3]`.
fn told(confirmation: &Confirmation) -> String {
    let is = if confirmation.confirmed {
        "confirmed"
    } else {
        "not confirmed"
    };
    format!(
        "{is} by run {} on fresh guests: {} {}",
        confirmation.run.short(),
        wording::tame(&confirmation.effect.metric, wording::NAME),
        wording::change(&confirmation.effect)
    )
}

fn name(confirmation: &Confirmation) -> String {
    wording::tame(&confirmation.treatment, wording::SENTENCE)
}

/// What a later run said of the best treatment of this one.
pub(super) fn confirmed(report: &Report<'_>) -> Option<String> {
    let confirmation = report.confirmation?;
    let told = told(confirmation);
    match (&report.header.purpose, &confirmation.against_whole) {
        (Purpose::Ablate { .. }, Some(whole)) if is_worse(whole) => Some(format!(
            "What is left, {}, was {told}; against the whole winner it is worse, {}, so the whole stays.",
            name(confirmation),
            wording::change(&whole.primary().effect)
        )),
        (Purpose::Ablate { .. }, _) => Some(format!("What is left, {}, was {told}.", name(confirmation))),
        // The answer says it.
        _ if !confirmation.confirmed => None,
        _ => Some(format!("{} was {told}.", name(confirmation))),
    }
}

/// Why the whole winner stays.
fn whole_stays(report: &Report<'_>, left: Option<(&Winner, &Comparison)>) -> String {
    let run = report.header.run.short();
    let Some((winner, whole)) = left else {
        return format!(
            "Fresh blocks did not confirm what was left of the winner: the whole stays, `kvmtune recommend {run}`."
        );
    };
    format!(
        "{} is better than the baseline, {}, but worse than the whole winner, {}: the whole stays, `kvmtune recommend \
         {run}`.",
        wording::tame(winner.treatment(), wording::SENTENCE),
        proven(report, winner.comparison()),
        lost(whole),
    )
}

/// What the whole has and what is left of it has not.
fn lost(whole: &Comparison) -> String {
    let worse = whole.responses.iter().filter(|j| j.verdict == Verdict::Worse);
    let worse = worse.map(|j| {
        let metric = wording::tame(&j.effect.metric, wording::NAME);
        format!("{metric} {}", wording::change(&j.effect))
    });
    worse.collect::<Vec<_>>().join(", ")
}

fn adopt(report: &Report<'_>, winner: &Winner) -> String {
    let comparison = winner.comparison();
    let held = held(comparison);
    let primary = comparison.primary();
    let is = match report.header.purpose {
        Purpose::Confirm { .. } => "is confirmed",
        Purpose::Stage { .. } => "is the best level of this factor",
        _ => "is best",
    };
    let mut text = format!(
        "{} {is}: {} against {}{held}.",
        wording::tame(winner.treatment(), wording::SENTENCE),
        proven(report, comparison),
        baseline(report),
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

/// `, its guard held`: that nothing stands against it.
fn held(comparison: &Comparison) -> String {
    let constraints = comparison.guards.iter().filter(|g| g.limit.is_some()).count();
    let of = |count: usize, one: &str| match count {
        0 => None,
        1 => Some(format!("its {one}")),
        _ => Some(format!("all its {one}s")),
    };
    let guards = of(comparison.guards.len() - constraints, "guard");
    let all: Vec<_> = guards.into_iter().chain(of(constraints, "constraint")).collect();
    if all.is_empty() {
        String::new()
    } else {
        format!(", {} held", all.join(" and "))
    }
}

/// What a run compares with: a stage begins with the best of those before it.
fn baseline(report: &Report<'_>) -> &'static str {
    match report.header.purpose {
        Purpose::Stage { .. } => "the best so far",
        _ => "the baseline",
    }
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
        format!("{name} {}", j.verdict.word())
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
    let stays = baseline(report);
    match reason {
        KeepReason::NothingCompared => format!("Keep {stays}: nothing was compared with it."),
        KeepReason::NoneBetter => format!(
            "Keep {stays}: no treatment is proven better, and more blocks are not expected to change that."
        ),
        KeepReason::Inconclusive { more_blocks } => format!(
            "Keep {stays} for now: no treatment is proven better. The nearest to it needs {}.",
            verdict::more(report, *more_blocks)
        ),
        KeepReason::Guarded { blocked } => guarded(report, blocked),
        KeepReason::TooFew { blocks, pairs } => {
            format!("Keep {stays}: {}.", advice::too_few(*blocks, *pairs))
        }
    }
}

fn guarded(report: &Report<'_>, blocked: &[Blocked]) -> String {
    format!(
        "Keep {}: what is proven better may not be adopted: {}.",
        baseline(report),
        standing(blocked)
    )
}

fn standing(blocked: &[Blocked]) -> String {
    let one = |b: &Blocked| {
        let guards: Vec<_> = b
            .guards
            .iter()
            .map(|g| {
                format!(
                    "{} {} at {}",
                    wording::guard_limit(g),
                    g.outcome.word(),
                    wording::guard_change(g)
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

/// What fresh blocks did not bear out; then the candidates nothing is shown of, with what would settle each.
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
    let refuted = match upshot(report) {
        Upshot::NotConfirmed(confirmation) => Some(format!("{}: {}", name(confirmation), told(confirmation))),
        Upshot::WholeStays { left } => Some(match left {
            Some((winner, whole)) => format!(
                "{}: worse than the whole winner, {}",
                wording::tame(winner.treatment(), wording::SENTENCE),
                lost(whole)
            ),
            None => "what was left of the winner: not confirmed".into(),
        }),
        _ => None,
    };
    refuted.into_iter().chain(open).collect()
}

/// That the gain of a run that chooses is not the one to publish, while its choice is not confirmed.
fn selection(report: &Report<'_>) -> Option<String> {
    let run = report.header.run.short();
    let how = match report.header.purpose {
        Purpose::Sweep => format!("`kvmtune confirm {run}`"),
        Purpose::Stage { number, of, .. } if number < of => {
            "measured once the last factor is: `kvmtune recommend` goes on with it".into()
        }
        Purpose::Stage { .. } => format!("`kvmtune recommend {run} --measure`"),
        _ => return None,
    };
    let found = found_best(report.header, report.evaluation);
    found.filter(|_| report.confirmation.is_none())?;
    Some(format!(
        "selection estimate: what was chosen for looking best tends to look better than it is; the gain to publish is \
         that of fresh blocks, {how}"
    ))
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
    notices.extend(selection(report));
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
