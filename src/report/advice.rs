//! What to do after all that was measured, as text, Markdown and JSON. Knows advice and the chain it is from, no
//! verbs but those it names as the next step.

use super::front::{standings, unconfirmed_weights, weights};
use super::table::fill;
use super::{Report, pace, wording};
use crate::analysis::{Comparison, GuardOutcome, GuardReport, Verdict};
use crate::decision::{
    Ablated, Advice, Chain, Extent, Fate, KeepReason, Kept, LevelOf, Next, Place, Proven, Why,
};
use crate::event::RunId;
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

/// Everything, for programs.
pub fn advice_json(chain: &Chain, advice: &Advice, front: &[Place]) -> Value {
    let told = told(chain, advice, front);
    let header = &chain.last_found().header;
    let settings = match advice {
        Advice::Adopt(proven) => json!(proven.settings()),
        _ => json!([]),
    };
    json!({
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

fn escape(text: &str) -> String {
    let special = |c: char| {
        matches!(
            c,
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '|' | '#' | '~' | '&'
        )
    };
    let mut out = String::new();
    for c in text.chars() {
        if special(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
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
        ("confirmed by", &chain.confirmation),
        ("taken apart by", &chain.ablation),
        ("confirmed again by", &chain.minimal),
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
    told.parts.push((
        "treatments in all responses, each interval at 95 % for itself",
        standings(front),
    ));
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
    apart.extend(extent(proven.extent()));
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
            "make it permanent".into(),
            format!("kvmtune commit {}", proven.asked().short()),
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
fn extent(extent: Extent) -> Option<String> {
    let text = match extent {
        Extent::Single => return None,
        Extent::NotAblated => "which of these settings are needed is not measured to the end yet",
        Extent::AllNeeded => "every setting is needed: nothing is left out",
        Extent::NoneProven => {
            "no single setting is proven to be needed, though all of them together are proven better: none is left out"
        }
        Extent::Minimal => "what is left was confirmed against the baseline in fresh blocks",
        Extent::StandIns => {
            "without all the settings that are not proven to be needed it was not confirmed, or is proven worse: they \
             stand in for each other, and none is left out"
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
        format!("without it{with} {}", told.join(", "))
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
            let guards = standing(reason);
            could.push(format!(
                "{} looked best, and run {} did not confirm it. One claim is not confirmed twice: a new run, with another \
                 seed or on another day, is a new question",
                wording::tame(&comparison.treatment, wording::NAME),
                run.short()
            ));
            format!(
                "Keep the baseline: fresh blocks did not confirm the treatment that looked best, {} {}{guards}.",
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
    }
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
            wording::guard_outcome(g.outcome),
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
    let told = |c: &Comparison| {
        let effect = &c.primary().effect;
        let Verdict::Inconclusive { more_blocks } = c.primary().verdict else {
            return String::new();
        };
        format!(
            "{}: {} {} in {} blocks; {} of it and the baseline",
            wording::tame(&c.treatment, wording::NAME),
            wording::tame(&effect.metric, wording::NAME),
            wording::change(effect),
            effect.blocks,
            wording::more_blocks(more_blocks, block)
        )
    };
    let mut lines: Vec<String> = kept.open.iter().take(SHOWN).map(told).collect();
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
