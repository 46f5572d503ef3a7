//! The first screen: what was asked, the answer, what it took, what to set, and what was not proven.

use super::super::{Report, certificate, conclusion, text, wording};
use super::table::{Table, code};
use super::{class_of, list, ticked};
use crate::analysis::{Comparison, Effect, Verdict};
use crate::decision::{KeepReason, Recommendation};
use crate::design::{Guests, Treatment};
use crate::event::{Outcome, Purpose};
use crate::tunable::{Setting, SettingRole};
use maud::{Markup, html};
use std::collections::BTreeSet;
use std::time::Duration;

/// Longest value of a setting that is shown, in characters.
const VALUE: usize = 200;
/// Open questions that are shown at once; the others unfold.
const OPEN: usize = 6;

/// What the first screen has already told.
const ABOVE: [&str; 3] = ["experiment", "question", "cost"];

/// How the answer is coloured and marked.
struct Tone {
    class: &'static str,
    word: &'static str,
}

pub(super) fn section(report: &Report<'_>, name: &str) -> Markup {
    let question = report.header.protocol.question.as_deref().unwrap_or(name);
    let tone = tone(report);
    html! {
        header #answer {
            p .name { (name) " · kvmtune report · " (format!("{:.10}", report.header.started.to_string())) }
            h1 { (wording::tame(question, wording::SENTENCE)) }
            div class={ "answer " (tone.class) } {
                @if let Some((treatment, comparison)) = shown(report) {
                    (figure(report, treatment, comparison))
                }
                div .said {
                    p {
                        span .chip { (tone.word) }
                        @if report.header.facts.simulated().is_some() { " " span .chip.quiet { "simulated" } }
                    }
                    p .sentence { (ticked(&conclusion::answer(report))) }
                    @if let Some(beside) = beside(report) { p .small { (beside) } }
                }
            }
            (cost(report))
        }
        div .pair {
            section {
                h2 { @if report.header.purpose == Purpose::Noise { "Configuration" } @else { "Best configuration" } }
                (best(report))
            }
            section { h2 { "What was not proven" } (open(report)) }
        }
    }
}

fn tone(report: &Report<'_>) -> Tone {
    let (class, word) = match (&report.evaluation.recommendation, &report.header.purpose) {
        (_, Purpose::Noise) => ("same", "A/A"),
        (Recommendation::Adopt(_), Purpose::Confirm { .. }) => ("good", "confirmed"),
        (Recommendation::Adopt(_), _) => ("good", "better"),
        (Recommendation::Keep { reason }, _) => match reason {
            KeepReason::Inconclusive { .. } | KeepReason::TooFew { .. } => ("open", "not proven"),
            KeepReason::Guarded { .. } => ("bad", "guarded"),
            KeepReason::NothingCompared | KeepReason::NoneBetter => ("same", "keep the baseline"),
        },
    };
    Tone { class, word }
}

/// The winner; where there is none, the candidate with the largest estimate.
fn shown<'a>(report: &Report<'a>) -> Option<(&'a Treatment, &'a Comparison)> {
    if let Some(winner) = winner(report) {
        return Some(winner);
    }
    let gain = |c: &Comparison| c.primary().effect.gain_percent.unwrap_or(f64::NEG_INFINITY);
    let all = report.candidates();
    all.max_by(|(_, a), (_, b)| gain(a).total_cmp(&gain(b)))
}

fn winner<'a>(report: &Report<'a>) -> Option<(&'a Treatment, &'a Comparison)> {
    let Recommendation::Adopt(winner) = &report.evaluation.recommendation else {
        return None;
    };
    let mut all = report.candidates();
    all.find(|(_, comparison)| *comparison == winner.comparison())
}

/// The number that the answer is about, large, with its interval.
fn figure(report: &Report<'_>, treatment: &Treatment, comparison: &Comparison) -> Markup {
    let effect = &comparison.primary().effect;
    let confidence = wording::confidence(report.evaluation.confidence);
    let about = if winner(report).is_some() {
        report.response_name(wording::NAME)
    } else {
        let label = wording::tame(&report.label(&treatment.id), wording::NAME);
        format!("nearest: {label}, {}", report.response_name(wording::NAME))
    };
    html! {
        div .figure {
            p .metric { (about) }
            p .big data-value=[effect.change_percent()] {
                (effect.change_percent().map_or_else(|| "–".into(), wording::percent))
            }
            (bar(effect))
            p .interval {
                @match effect.change_interval_percent() {
                    Some(interval) => { (wording::interval(interval)) " % at " (confidence) }
                    None => "no interval yet",
                }
                @let word = wording::verdict(comparison.primary().verdict);
                @if comparison.primary().verdict != Verdict::Better { ": " (word) }
            }
        }
    }
}

/// The interval as a line beside that of no change.
fn bar(effect: &Effect) -> Markup {
    const WIDTH: f64 = 240.0;
    let interval = effect.change_interval_percent();
    let ends = interval.filter(|i| i.low.is_finite() && i.high.is_finite());
    let (Some(ends), Some(change)) = (ends, effect.change_percent()) else {
        return html! {};
    };
    let (low, high) = (ends.low.min(0.0), ends.high.max(0.0));
    let room = (high - low).max(1e-9);
    let at = |value: f64| format!("{:.1}", 8.0 + (WIDTH - 16.0) * (value - low) / room);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " 26" } aria-hidden="true" {
            line .axis x1="8" x2=(WIDTH - 8.0) y1="13" y2="13" {}
            line .zero x1=(at(0.0)) x2=(at(0.0)) y1="2" y2="24" {}
            line .interval x1=(at(ends.low)) x2=(at(ends.high)) y1="13" y2="13" {}
            circle cx=(at(change)) cy="13" r="6" {}
        }
    }
}

/// What is known of the same treatment from another run.
fn beside(report: &Report<'_>) -> Option<String> {
    if let Some(change) = report.selection {
        return Some(format!(
            "The run that chose it estimated {}, which is not used here.",
            wording::percent(change)
        ));
    }
    let confirmation = report.confirmation?;
    Some(format!(
        "{} by run {} on fresh guests: {} {}.",
        if confirmation.confirmed {
            "Confirmed"
        } else {
            "Not confirmed"
        },
        confirmation.run.short(),
        wording::tame(&confirmation.effect.metric, wording::NAME),
        wording::change(&confirmation.effect)
    ))
}

/// What the answer took.
fn cost(report: &Report<'_>) -> Markup {
    let records = report.records;
    let starts: BTreeSet<u32> = records.iter().map(|r| r.trial.boot).collect();
    let is_measured = |r: &&crate::event::TrialRecord| matches!(r.outcome, Outcome::Measured { .. });
    let without = records.len() - records.iter().filter(is_measured).count();
    let (measured, planned) = report.blocks();
    let trials = match without {
        0 => "all with numbers".into(),
        n => format!("{n} without a number that counts"),
    };
    let fresh = match report.header.plan.guests {
        Guests::Shared if starts.len() < records.len() => "shared by the trials that can share one",
        Guests::Shared => "one for each trial",
        Guests::Block => "a fresh guest for each block",
        Guests::Fresh => "a fresh guest for each trial",
    };
    let tile = |title: &str, value: String, more: String| {
        html! { div { dt { (title) } dd { strong { (value) } " " span { (more) } } } }
    };
    html! {
        dl .cost {
            (tile("Time", wording::duration(took(report)), "from the first trial to the last".into()))
            (tile("Trials", records.len().to_string(), trials))
            (tile("Guest starts", starts.len().to_string(), fresh.into()))
            (tile("Blocks", format!("{measured} of {planned}"), "every treatment once in each".into()))
        }
    }
}

/// From the beginning of the first trial to the end of the last, pauses between sittings included.
fn took(report: &Report<'_>) -> Duration {
    let first = report.records.iter().map(|r| r.started).min();
    let ends = report.records.iter().map(|r| {
        let since = first.map(|first| r.started.duration_since(first));
        let since = since.and_then(|s| Duration::try_from(s).ok()).unwrap_or_default();
        since + r.timing.total
    });
    ends.max().unwrap_or_default()
}

/// What to set, beside what the baseline has.
fn best(report: &Report<'_>) -> Markup {
    let (Some(baseline), best) = (report.baseline(), winner(report)) else {
        return html! {};
    };
    let treatment = best.map_or(baseline, |(treatment, _)| treatment);
    let pairs = baseline.levels.iter().zip(&treatment.levels);
    let content = html! {
        thead { tr { th scope="col" { "tunable" } th scope="col" { "baseline" } th scope="col" { "best" } } }
        tbody { @for ((tunable, before), (_, after)) in pairs {
            tr {
                th scope="row" { (code(&wording::tame(tunable, wording::NAME))) }
                td { code { (wording::tame(before, VALUE)) } }
                td { code class=[(before != after).then_some("better")] { (wording::tame(after, VALUE)) } }
            }
        } }
    };
    let places = places(treatment, baseline);
    let table = Table {
        id: "configuration",
        caption: "Levels of the baseline and the best treatment",
        filtered: false,
    };
    html! {
        @match best {
            Some(_) => p .best { "Set " code .better { (report.label(&treatment.id)) } "." },
            None if report.header.purpose == Purpose::Noise => p .best { "The baseline, measured against itself." },
            None => p .best { "The baseline: nothing is proven better than what was there." },
        }
        (table.around(&content))
        @if !places.is_empty() {
            details {
                summary { "Where it is written" }
                ul { @for place in places { li { code { (place) } } } }
            }
        }
    }
}

/// The settings that are not the baseline's, as `place = value`.
fn places(treatment: &Treatment, baseline: &Treatment) -> Vec<String> {
    let all = |t: &Treatment| -> Vec<Setting> {
        [&t.boot, &t.restart, &t.live]
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    };
    let of_baseline = all(baseline);
    let own = all(treatment)
        .into_iter()
        .filter(|s| s.role != SettingRole::Follows);
    own.filter(|s| !of_baseline.contains(s))
        .map(|s| wording::tame(&format!("{} = {}", s.address, s.value), VALUE))
        .collect()
}

fn open(report: &Report<'_>) -> Markup {
    let unproven = conclusion::unproven(report);
    let (first, rest) = unproven.split_at(unproven.len().min(OPEN));
    let selected = conclusion::notices(report);
    let selected: Vec<_> = selected.into_iter().filter(|n| is_selection(n)).collect();
    html! {
        @if unproven.is_empty() && selected.is_empty() { p { "Every comparison was settled." } }
        (list(&selected))
        @if !first.is_empty() { (list(first)) }
        @if !rest.is_empty() { details { summary { (rest.len()) " more" } (list(rest)) } }
        p .small { "What is said here holds for this host, this guest and this workload on that day." }
    }
}

/// Told above all other notices.
fn is_selection(notice: &str) -> bool {
    notice.starts_with("selection estimate")
}

/// What a reader must know beside the verdicts, and of what the run is.
pub(super) fn notices(report: &Report<'_>) -> Markup {
    let notices = conclusion::notices(report);
    let notices: Vec<_> = notices.into_iter().filter(|n| !is_selection(n)).collect();
    let head = text::head(report)
        .into_iter()
        .filter(|(name, _)| !ABOVE.contains(name));
    html! {
        @if !notices.is_empty() { h3 { "Notices" } (list(&notices)) }
        @if let Some(certificate) = report.certified {
            h3 { "Certificate of this host" } (list(&certificate::lines(certificate)))
        }
        dl .head {
            @for (name, value) in head {
                dt { (name) } dd { (value) }
            }
        }
    }
}

/// A verdict's word as the page marks it.
pub(super) fn chip(word: &str) -> Markup {
    html! { span class={ "word " (class_of(word)) } { (word) } }
}
