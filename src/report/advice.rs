//! What to do after all that was measured, as text, Markdown and JSON. Knows advice and the chain it is from, no
//! verbs but those it names as the next step.

use super::front::{TITLE, standings, unconfirmed_weights, weights};
use super::markdown::escape;
use super::table::fill;
use super::upshot::whole;
use super::{Report, pace, wording};
use crate::analysis::{Comparison, GuardOutcome, GuardReport, Verdict};
use crate::decision::{
    Ablated, Advice, CONFIRMING_PAIRS, Chain, Fate, KeepReason, Kept, LevelOf, Minimality, Next, Place,
    Proven, Why, settings,
};
use crate::event::RunId;
use crate::experiment::CONFIRMING;
use crate::simulation::NOTICE;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// The parts of an advice in words, tamed.
struct Told {
    answer: String,
    /// Title and lines; none without lines.
    parts: Vec<(&'static str, Vec<String>)>,
    /// What comes next, and the command for it.
    next: Option<(String, String)>,
}

/// For a terminal of this width.
pub fn advice_text(chain: &Chain, advice: &Advice, front: &[Place], width: u16) -> String {
    let told = told(chain, advice, front);
    let mut out = format!("{}\n\n{}", head(chain), fill(&told.answer, width, ""));
    for (title, lines) in told.parts {
        let _ = write!(out, "\n{title}\n");
        for line in lines {
            out += &fill(&line, width, "  ");
        }
    }
    if let Some((what, command)) = told.next {
        let _ = write!(out, "\nnext: {what}\n  {command}\n");
    }
    out
}

/// In GitHub's flavour.
pub fn advice_markdown(chain: &Chain, advice: &Advice, front: &[Place]) -> String {
    let told = told(chain, advice, front);
    let mut out = format!("## {}\n\n**{}**\n", escape(&head(chain)), escape(&told.answer));
    for (title, lines) in told.parts {
        let _ = write!(out, "\n### {title}\n\n");
        for line in lines {
            let _ = writeln!(out, "- {}", escape(&line));
        }
    }
    if let Some((what, command)) = told.next {
        let _ = write!(out, "\nNext: {}: `{command}`\n", escape(&what));
    }
    out
}

/// Everything, for programs, schema `kvmtune-advice-1`.
pub fn advice_json(chain: &Chain, advice: &Advice, front: &[Place]) -> Value {
    let told = told(chain, advice, front);
    let header = &chain.last_found().header;
    let settings = match advice {
        Advice::Adopt(proven) => json!(proven.settings()),
        _ => json!([]),
    };
    json!({
        "schema": "kvmtune-advice-1",
        "experiment": header.experiment,
        "asked": chain.asked,
        "simulated": header.facts.simulated(),
        "runs": runs(chain).iter().map(|(what, run)| json!({ "what": what, "run": run })).collect::<Vec<_>>(),
        "answer": told.answer,
        "settings": settings,
        "is-minimal": matches!(advice, Advice::Adopt(proven) if proven.is_minimal()),
        "result": advice,
        "front": front,
        "next": told.next.map(|(what, command)| json!({ "what": what, "command": command })),
    })
}

fn head(chain: &Chain) -> String {
    let header = &chain.last_found().header;
    let runs: Vec<_> = runs(chain)
        .iter()
        .map(|(what, run)| format!("{what} {}", run.short()))
        .collect();
    format!(
        "{}: {}",
        wording::tame(&header.experiment, wording::NAME),
        runs.join(", ")
    )
}

fn runs(chain: &Chain) -> Vec<(&'static str, RunId)> {
    let found = chain.found.iter().map(|link| ("compared by", link));
    let after = [
        ("confirmation", &chain.confirmation),
        ("taken apart by", &chain.ablation),
        ("confirmation of what is left", &chain.minimal),
    ];
    let after = after
        .into_iter()
        .filter_map(|(what, link)| Some((what, link.as_ref()?)));
    found
        .chain(after)
        .map(|(what, link)| (what, link.header.run))
        .collect()
}

fn told(chain: &Chain, advice: &Advice, front: &[Place]) -> Told {
    let mut told = match advice {
        Advice::Adopt(proven) => adopt(proven),
        Advice::Keep(kept) => keep(chain, kept),
        Advice::Unfinished { next } => Told {
            answer: "Nothing can be recommended yet: keep the baseline until more is measured.".into(),
            parts: Vec::new(),
            next: Some(step(next)),
        },
    };
    if let (Some(weights), Some((_, command))) = (unconfirmed_weights(chain), &mut told.next)
        && command.ends_with("--measure")
    {
        command.push_str(&weights);
    }
    told.parts
        .push((TITLE, standings(&chain.last_found().header, front)));
    told.parts.extend(weights(chain));
    if chain.last_found().header.facts.simulated().is_some() {
        told.answer = format!("In a simulation: {}", told.answer);
        told.parts.push(("notices", vec![NOTICE.into()]));
    } else if wording::acceleration(&chain.last_found().header.facts) == "software emulation" {
        let notice = "software emulation: numbers are relative, and a gain may differ under KVM";
        told.parts.push(("notices", vec![notice.into()]));
    }
    told.parts.retain(|(_, lines)| !lines.is_empty());
    told
}

fn adopt(proven: &Proven) -> Told {
    let settings: Vec<_> = proven.settings().iter().map(level).collect();
    let comparison = proven.comparison();
    let better = comparison
        .responses
        .iter()
        .filter(|j| j.verdict == Verdict::Better);
    let better: Vec<_> = better
        .map(|j| {
            let metric = wording::tame(&j.effect.metric, wording::NAME);
            format!("{metric} {}", wording::change(&j.effect))
        })
        .collect();
    let mut answer = format!(
        "Adopt {}: {} against the baseline in {} fresh blocks.",
        settings.join(" "),
        better.join(", "),
        comparison.primary().effect.blocks,
    );
    if comparison.primary().negligible {
        let limit = proven.header().protocol.smallest_effect;
        let _ = write!(answer, " The difference is proven but negligible: below {limit}.");
    }
    let back = |setting: &LevelOf| {
        let was = proven
            .baseline()
            .levels
            .iter()
            .find(|(tunable, _)| *tunable == setting.0);
        let was = was.map_or("", |(_, level)| level.as_str());
        format!("{} (was {})", level(setting), wording::tame(was, wording::NAME))
    };
    let ablation = proven.ablation();
    let parts_of_it = ablation.map_or(&[][..], |ablation| &ablation.settings);
    let apart = parts_of_it
        .iter()
        .map(|one| format!("{}: {}", level(&one.setting), fate(one)));
    let mut apart: Vec<_> = apart.collect();
    apart.extend(minimality(proven.minimality()));
    apart.extend(proven.against_whole().map(|comparison| {
        let effect = &comparison.primary().effect;
        let metric = wording::tame(&effect.metric, wording::NAME);
        format!(
            "what is left against the whole: {metric} {}",
            wording::change(effect)
        )
    }));
    let next = match proven.next() {
        Some(next) => Some(step(next)),
        None if proven.header().facts.simulated().is_some() => None,
        None => Some((
            "see what would make it permanent; without --dry-run it is made so".into(),
            format!("kvmtune commit {} --dry-run", proven.asked().short()),
        )),
    };
    Told {
        answer,
        parts: vec![
            ("settings", proven.settings().iter().map(back).collect()),
            ("evidence", proven.evidence()),
            ("each setting by itself", apart),
        ],
        next,
    }
}

/// What became of the settings as a whole.
fn minimality(minimality: Minimality) -> Option<String> {
    let text = match minimality {
        Minimality::Single => return None,
        Minimality::NotAblated => "which of these settings are needed is not measured to the end yet",
        Minimality::AllNeeded => "every setting is needed: nothing is left out",
        Minimality::NoneProven => {
            "no single setting is proven to be needed, though all of them together are proven better: none is left out, and some may do \
             nothing"
        }
        Minimality::Minimal => "what is left was confirmed against the baseline in fresh blocks",
        Minimality::WholeStays => {
            "without all the settings that are not proven to be needed it was not confirmed, or is proven worse than the \
             whole: either they stand in for each other, or each is too small to be proven in so many blocks. None is left \
             out, and some may do nothing"
        }
    };
    Some(text.into())
}

/// What became of a setting, with what the winner without it showed.
fn fate(one: &Ablated) -> String {
    let together: Vec<_> = one.together_with.iter().map(level).collect();
    let with = if together.is_empty() {
        String::new()
    } else {
        format!(" and {}, which needs it,", together.join(" "))
    };
    let shown = one.without.as_ref().map(|comparison| {
        let responses = comparison.responses.iter().map(|j| &j.effect);
        let failed = comparison
            .guards
            .iter()
            .filter(|g| g.outcome == GuardOutcome::Failed);
        let effects = responses.chain(failed.map(|g| &g.effect));
        let told: Vec<_> = effects
            .map(|e| {
                format!(
                    "{} {}",
                    wording::tame(&e.metric, wording::NAME),
                    wording::change(e)
                )
            })
            .collect();
        // The verdict is Holm's, the interval Bonferroni's: it may touch none where the other is a claim.
        let holm = wording::p_value(comparison.primary().p_holm);
        format!("without it{with} {} (Holm p {holm})", told.join(", "))
    });
    let shown = shown.unwrap_or_default();
    match &one.fate {
        Fate::Needed => format!("needed: {shown}"),
        Fate::Guards => format!("needed by a guard: {shown}"),
        Fate::NeededBy { tunable } => format!("stays, {} needs it", wording::tame(tunable, wording::NAME)),
        Fate::Inseparable => {
            "stays: none of the others is possible without it, and all together are proven better".into()
        }
        Fate::LeftOut => format!("not proven to be needed: {shown}"),
    }
}

fn keep(chain: &Chain, kept: &Kept) -> Told {
    let mut could: Vec<String> = Vec::new();
    let mut answer = match &kept.why {
        Why::NothingProven { reason, .. } => because(reason),
        Why::NotConfirmed {
            reason,
            comparison,
            run,
        } => {
            let effect = &comparison.primary().effect;
            let but = match reason {
                KeepReason::TooFew { blocks, pairs } => format!("; {}", too_few(*blocks, *pairs)),
                _ => standing(reason),
            };
            could.push(format!(
                "{} looked best, and run {} did not confirm it. One claim is not confirmed twice: a new run, with another \
                 seed or on another day, is a new question",
                wording::tame(&comparison.treatment, wording::NAME),
                run.short()
            ));
            format!(
                "Keep the baseline: fresh blocks did not confirm the treatment that looked best, {} {}{but}.",
                wording::tame(&effect.metric, wording::NAME),
                wording::change(effect)
            )
        }
    };
    if chain.has_no_trials() {
        answer = "Keep the baseline: nothing was measured.".into();
    }
    could.extend(longer(chain, kept));
    let is_open = matches!(&kept.why, Why::NothingProven { .. });
    let next = kept.addable.filter(|_| is_open).map(|blocks| {
        (
            "more blocks, at a look that was registered when the run began".into(),
            format!("kvmtune run --continue {} --blocks {blocks}", kept.run.short()),
        )
    });
    Told {
        answer,
        parts: vec![("what a longer run could still show", could)],
        next,
    }
}

fn because(reason: &KeepReason) -> String {
    match reason {
        KeepReason::NothingCompared => "Keep the baseline: nothing was compared with it.".into(),
        KeepReason::NoneBetter => {
            "Keep the baseline: no treatment is proven better, and none is open any more.".into()
        }
        KeepReason::Inconclusive { .. } => "Keep the baseline: no treatment is proven better.".into(),
        KeepReason::Guarded { .. } => {
            format!(
                "Keep the baseline: what is proven better may not be adopted{}.",
                standing(reason)
            )
        }
        KeepReason::TooFew { blocks, pairs } => format!("Keep the baseline: {}.", too_few(*blocks, *pairs)),
    }
}

/// Why a confirmation that would have proven its candidate proves nothing.
pub(super) fn too_few(blocks: u32, pairs: usize) -> String {
    format!(
        "adopting takes {CONFIRMING} complete blocks and {CONFIRMING_PAIRS} pairs in each response and guard; the \
         confirmation has {blocks} blocks, and {pairs} pairs where there are fewest"
    )
}

/// What a confirmation that held leaves to do.
pub(super) fn after_confirmation(report: &Report<'_>) -> String {
    let run = report.header.run.short();
    let plan = &report.header.plan;
    let is_several =
        plan.treatments.len() > 1 && settings(&plan.treatments[1], &plan.treatments[0]).len() > 1;
    let measure = if is_several && whole(report).is_none() {
        "; with --measure it leaves out settings that are not needed"
    } else {
        ""
    };
    format!("`kvmtune recommend {run}` tells what to adopt{measure}")
}

/// The guards that stand against what is better.
fn standing(reason: &KeepReason) -> String {
    let KeepReason::Guarded { blocked } = reason else {
        return String::new();
    };
    let guard = |g: &GuardReport| {
        format!(
            "{} {} at {}",
            wording::guard_limit(g),
            g.outcome.word(),
            wording::guard_change(g)
        )
    };
    let one = blocked.iter().map(|b| {
        let guards: Vec<_> = b.guards.iter().map(guard).collect();
        format!(
            "{} ({})",
            wording::tame(&b.treatment, wording::NAME),
            guards.join(", ")
        )
    });
    format!("; {}", one.collect::<Vec<_>>().join("; "))
}

/// The nearest candidates, how many blocks and how much time each needs, and what is out of reach.
fn longer(chain: &Chain, kept: &Kept) -> Vec<String> {
    const SHOWN: usize = 5;
    let link = chain.last_found();
    let block = pace::block(&link.header, &link.records, 2);
    let place = if kept.addable.is_some() {
        ""
    } else {
        ", in a new run"
    };
    let told = |c: &Comparison| {
        let (judgement, more_blocks) = c.open()?;
        let effect = &judgement.effect;
        Some(format!(
            "{}: {} {} in {} blocks; {} of it and the baseline{place}",
            wording::tame(&c.treatment, wording::NAME),
            wording::tame(&effect.metric, wording::NAME),
            wording::change(effect),
            effect.blocks,
            wording::more_blocks(more_blocks, block)
        ))
    };
    let mut lines: Vec<String> = kept.open.iter().take(SHOWN).filter_map(told).collect();
    if kept.open.len() > SHOWN {
        lines.push(format!("{} others are open too", kept.open.len() - SHOWN));
    }
    if let Some(percent) = kept.provable_percent {
        lines.push(format!(
            "the smallest gain run {} could prove for one of its treatments (power .8): {}",
            kept.run.short(),
            wording::share(percent)
        ));
    }
    if !kept.hardly_measured.is_empty() {
        let names: Vec<_> = kept
            .hardly_measured
            .iter()
            .map(|n| wording::tame(n, wording::NAME))
            .collect();
        lines.push(format!("measured too seldom for any claim: {}", names.join("; ")));
    }
    lines
}

/// What is measured next, and how.
fn step(next: &Next) -> (String, String) {
    let what = match next {
        Next::Resume { run } => {
            return (
                format!("run {} is unfinished", run.short()),
                format!("kvmtune run --resume {}", run.short()),
            );
        }
        Next::Stage { .. } => "the next factor is measured, from the best so far",
        Next::Confirm { .. } => "what was found is measured again, with the baseline, on fresh guests",
        Next::Minimal { .. } => {
            "the settings that are needed are measured against the baseline, the whole winner beside them"
        }
        Next::Ablate { .. } => "the winner is measured without each of its settings, on fresh guests",
    };
    let command = match next {
        Next::Stage { after } => format!("kvmtune run --resume {}", after.short()),
        _ => format!("kvmtune recommend {} --measure", next.builds_on().short()),
    };
    (what.into(), command)
}

fn level((tunable, level): &LevelOf) -> String {
    wording::tame(&format!("{tunable}={level}"), wording::NAME)
}

/// The answer of an ablation by itself: which settings are needed.
pub(super) fn ablation(report: &Report<'_>) -> String {
    let all: Vec<_> = report.candidates().collect();
    let with = |wanted: bool| {
        let names = all.iter().filter(|(_, c)| {
            let is_worse = c.responses.iter().any(|r| r.verdict == Verdict::Worse);
            is_worse == wanted
        });
        let names: Vec<_> = names.map(|(t, _)| report.label(&t.id)).collect();
        if names.is_empty() {
            "none".into()
        } else {
            names.join("; ")
        }
    };
    format!(
        "The winner taken apart. Proven worse: {}. Not proven worse: {}.",
        with(true),
        with(false)
    )
}
