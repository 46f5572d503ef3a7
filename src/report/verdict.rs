//! What is said of one candidate: its evidence in a few lines that end in the verdict. Knows the words, no layout.

use super::{Report, pace, wording};
use crate::analysis::{
    Comparison, GuardOutcome, GuardReport, Judgement, MORE_BLOCKS_CAP, Rule, Verdict, registered_looks,
};
use crate::decision::{Refusal, extension};
use crate::design::{Guests, Treatment};
use crate::event::{Outcome, Purpose};
use std::collections::BTreeMap;

/// The lines of one candidate: what it is, each response, the guards, what stands beside them, the verdict.
pub(super) fn lines(report: &Report<'_>, treatment: &Treatment, comparison: &Comparison) -> Vec<String> {
    let mut lines = vec![headline(report, treatment)];
    for judgement in &comparison.responses {
        lines.push(format!("  {}", response(report, judgement)));
    }
    if !comparison.guards.is_empty() {
        let guards: Vec<_> = comparison.guards.iter().map(guard).collect();
        lines.push(format!("  {}", guards.join("; ")));
    }
    let beside = beside(report, treatment, comparison);
    if !beside.is_empty() {
        lines.push(format!("  {}", beside.join(" | ")));
    }
    lines.push(format!("  VERDICT {}", verdict(report, comparison)));
    lines
}

/// `domain.disk.io=native | fio-randread-4k | host class 9c1e | seed 41`.
fn headline(report: &Report<'_>, treatment: &Treatment) -> String {
    let header = report.header;
    let workloads: Vec<_> = header
        .protocol
        .workloads
        .iter()
        .map(|w| w.name.as_str())
        .collect();
    let mut label = report.label(&treatment.id);
    if let (Some(_), Some(baseline)) = (&treatment.name, report.baseline()) {
        let differences = wording::differences(treatment, baseline).join(" ");
        label = wording::tame(&format!("{label} ({differences})"), wording::SENTENCE);
    }
    format!(
        "{label} | {} | host class {} | seed {}",
        wording::tame(&workloads.join(", "), wording::NAME),
        header.facts.class(),
        header.plan.seed
    )
}

/// `iops +3.1 % [+2.2, +4.0] 95 % | p=.0005 exact, Holm m=10 | 12 fresh blocks (24 trials)`.
fn response(report: &Report<'_>, judgement: &Judgement) -> String {
    let blocks = judgement.effect.blocks;
    let fresh = match report.header.plan.guests {
        Guests::Fresh => "fresh ",
        Guests::Shared | Guests::Block => "",
    };
    format!(
        "{} {} {} | {} | {blocks} {fresh}blocks ({} trials)",
        wording::tame(&judgement.effect.metric, wording::NAME),
        wording::change(&judgement.effect),
        wording::confidence(report.evaluation.confidence),
        evidence(report, judgement),
        2 * blocks
    )
}

/// The p-value, what it was corrected for, and what it had to reach.
fn evidence(report: &Report<'_>, judgement: &Judgement) -> String {
    let Judgement {
        p_raw,
        p_holm,
        claim_below,
        family,
        ..
    } = judgement;
    let (raw, corrected) = (wording::p_value(*p_raw), wording::p_value(*p_holm));
    let correction = if *family > 1 {
        format!(", {corrected} after Holm m={family}")
    } else {
        String::new()
    };
    let kind = match report.evaluation.rule {
        Rule::Anytime => "anytime",
        _ if judgement.effect.blocks > crate::analysis::EXACT_LIMIT => "normal",
        _ => "exact",
    };
    let claim = match report.evaluation.rule {
        _ if *claim_below == 0.0 => format!(", {}", first_look(report)),
        Rule::Looks { .. } => format!(
            ", claimed at {} or less after {} blocks",
            wording::p_value(*claim_below),
            judgement.tested_after
        ),
        Rule::Fixed { .. } | Rule::Anytime => String::new(),
    };
    format!("p={raw} {kind}{correction}{claim}")
}

fn first_look(report: &Report<'_>) -> String {
    let first = registered_looks(report.evaluation.rule).0.first().copied();
    match first.filter(|first| report.evaluation.done < *first) {
        Some(first) => format!("nothing is claimed before {first} blocks are done"),
        None => "so few blocks cannot give a p that is small enough".into(),
    }
}

/// `p99 -0.4 % [-2.9, +2.1] | guard p99 <= +5 %: held`.
fn guard(guard: &GuardReport) -> String {
    format!(
        "{} {} | {}: {}",
        wording::tame(&guard.effect.metric, wording::NAME),
        wording::guard_change(guard),
        wording::guard_limit(guard),
        guard.outcome.word()
    )
}

/// The selection estimate, the host's certificate, the trials that are missing.
fn beside(report: &Report<'_>, treatment: &Treatment, comparison: &Comparison) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(change) = report.selection {
        parts.push(format!(
            "selection estimate {} (not used)",
            wording::percent(change)
        ));
    } else if matches!(report.header.purpose, Purpose::Sweep | Purpose::Stage { .. })
        && comparison.is_better()
    {
        parts.push(confirmed(report, treatment));
    }
    if let Some(certificate) = &report.header.certificate {
        parts.push(super::certificate::line(
            certificate,
            comparison.primary().effect.blocks,
        ));
    }
    parts.extend(missing(report, treatment));
    parts
}

/// What the confirmation said of this treatment, if it was the one.
fn confirmed(report: &Report<'_>, treatment: &Treatment) -> String {
    match report.confirmation.filter(|c| c.levels == treatment.levels) {
        None => "selection estimate, not confirmed".into(),
        Some(c) => format!(
            "selection estimate; {} by run {}: {} {}",
            if c.confirmed { "confirmed" } else { "not confirmed" },
            c.run.short(),
            wording::tame(&c.effect.metric, wording::NAME),
            wording::change(&c.effect)
        ),
    }
}

/// `1 trial left out: not steady`, of the candidate and the baseline in the judged blocks.
fn missing(report: &Report<'_>, treatment: &Treatment) -> Option<String> {
    let baseline = report.baseline().map(|b| &b.id);
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let own = report.records.iter().filter(|r| {
        r.trial.block > 0 && (r.trial.treatment == treatment.id || Some(&r.trial.treatment) == baseline)
    });
    for record in own {
        if !matches!(record.outcome, Outcome::Measured { .. }) {
            *counts.entry(wording::outcome(&record.outcome)).or_default() += 1;
        }
    }
    let told = |(outcome, count): (&&str, &u32)| {
        let plural = if *count == 1 { "trial" } else { "trials" };
        format!("{count} {plural} left out: {outcome}")
    };
    let told: Vec<_> = counts.iter().map(told).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

/// The verdict with what follows from it; of several responses, each by name.
pub(super) fn verdict(report: &Report<'_>, comparison: &Comparison) -> String {
    if report.header.purpose == Purpose::Noise {
        let differs = |j: &Judgement| matches!(j.verdict, Verdict::Better | Verdict::Worse);
        let told = if comparison.responses.iter().any(differs) {
            "differs from itself"
        } else {
            "no difference shown, as there is none"
        };
        return told.into();
    }
    match comparison.responses.as_slice() {
        [only] => of_one(report, comparison, only),
        several => {
            let one = |judgement: &Judgement| {
                let metric = wording::tame(&judgement.effect.metric, wording::NAME);
                format!("{metric}: {}", of_one(report, comparison, judgement))
            };
            several.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    }
}

fn of_one(report: &Report<'_>, comparison: &Comparison, judgement: &Judgement) -> String {
    let word = judgement.verdict.word();
    match judgement.verdict {
        Verdict::Inconclusive { .. }
            if comparison
                .guards
                .iter()
                .any(|g| g.outcome == GuardOutcome::Failed) =>
        {
            format!("{word}, and a guard failed: it cannot be adopted")
        }
        Verdict::Inconclusive { more_blocks } => {
            format!("{word}: needs {}", more(report, more_blocks))
        }
        Verdict::Equivalent => format!("{word} within {}", report.header.protocol.smallest_effect),
        Verdict::NoGain => format!(
            "{word}: not better by as much as {}",
            report.header.protocol.smallest_effect
        ),
        Verdict::Dropped => match comparison.dropped {
            Some(dropped) => format!(
                "{word} after block {}: worse than {}",
                dropped.after,
                dropped
                    .leader
                    .map_or_else(|| "the baseline".into(), |l| report.candidate_label(l))
            ),
            None => word.into(),
        },
        Verdict::AtCap => {
            format!("{word}: both sit at the best value there is, something else limits this metric")
        }
        Verdict::NoResolution => format!("{word}: half or more of its blocks equal the baseline exactly"),
        Verdict::Better if judgement.negligible => format!(
            "{word}, but negligible: within {}",
            report.header.protocol.smallest_effect
        ),
        Verdict::Better | Verdict::Worse => word.into(),
    }
}

/// `about 12 more blocks, about 9m30s: kvmtune run --continue 0123abcd --blocks 12`, by the pace of this run.
pub(super) fn more(report: &Report<'_>, blocks: u32) -> String {
    let evaluation = report.evaluation;
    // Nothing is claimed before the first look.
    let first = registered_looks(evaluation.rule).0.first().copied();
    let to_first = first.map_or(0, |first| first.saturating_sub(evaluation.done));
    let blocks = blocks.max(to_first);
    let dropped = evaluation.comparisons.iter().filter(|c| c.dropped.is_some());
    let trials = report.header.plan.treatments.len() - dropped.count();
    let told = wording::more_blocks(blocks, pace::block(report.header, report.records, trials));
    let run = report.header.run.short();
    match extension(evaluation.rule, evaluation.done, blocks) {
        _ if blocks >= MORE_BLOCKS_CAP => told,
        _ if report.confirmation.is_some() => {
            format!("{told}, in a new run: what this one found best was measured again")
        }
        _ if !report.is_over() => format!("{told}; the run is unfinished: `kvmtune run --resume {run}`"),
        Err(Refusal::Beyond { left, .. }) => {
            format!("{told}, in a new run: this one can have {left} more")
        }
        Ok(_) => format!("{told}: `kvmtune run --continue {run} --blocks {blocks}`"),
        Err(_) => format!("{told}, in a new run: this one's error rate is spent"),
    }
}
