//! The first screen: what was asked, the answer, what it took, what to set, and what was not proven.

use super::super::upshot::{Upshot, is_worse, upshot};
use super::super::{Report, certificate, conclusion, text, wording};
use super::table::{Table, code};
use super::{class_of, list, ticked};
use crate::analysis::{Comparison, Effect, Level, Verdict};
use crate::decision::KeepReason;
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
                @if let Some(shown) = shown(report) { (figure(&shown)) }
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
                h2 { (conclusion::best_title(report)) }
                (best(report))
            }
            section { h2 { "What was not proven" } (open(report)) }
        }
    }
}

fn tone(report: &Report<'_>) -> Tone {
    let (class, word) = match (upshot(report), &report.header.purpose) {
        (Upshot::Noise, _) => ("same", "A/A"),
        (Upshot::TakenApart, _) => ("same", "taken apart"),
        (Upshot::NotConfirmed(_), _) => ("open", "not confirmed"),
        (Upshot::WholeStays { .. }, _) => ("same", "the whole stays"),
        (Upshot::Better(_), Purpose::Confirm { .. }) => ("good", "confirmed"),
        (Upshot::Better(_), _) => ("good", "better"),
        (Upshot::Keep(reason), _) => match reason {
            KeepReason::Inconclusive { .. } | KeepReason::TooFew { .. } => ("open", "not proven"),
            KeepReason::Guarded { .. } => ("bad", "guarded"),
            KeepReason::NothingCompared | KeepReason::NoneBetter => ("same", "keep the baseline"),
        },
    };
    Tone { class, word }
}

/// The number that the answer is about.
struct Shown<'a> {
    about: String,
    effect: &'a Effect,
    /// Where the answer does not say it.
    word: Option<&'static str>,
    confidence: Level,
}

impl<'a> Shown<'a> {
    fn of(report: &Report<'a>, about: String, comparison: &'a Comparison) -> Self {
        let verdict = comparison.primary().verdict;
        Self {
            about,
            effect: &comparison.primary().effect,
            word: (verdict != Verdict::Better).then(|| verdict.word()),
            confidence: report.evaluation.confidence,
        }
    }
}

/// Of the winner, as far as it is known; where there is none, of the candidate with the largest estimate.
fn shown<'a>(report: &Report<'a>) -> Option<Shown<'a>> {
    let response = report.response_name(wording::NAME);
    let about = |what: &str, treatment: &str| {
        format!("{what}{}, {response}", wording::tame(treatment, wording::NAME))
    };
    let gain = |c: &Comparison| c.primary().effect.gain_percent.unwrap_or(f64::NEG_INFINITY);
    let by_gain = |a: &(_, &Comparison), b: &(_, &Comparison)| gain(a.1).total_cmp(&gain(b.1));
    let nearest = |what| {
        let (treatment, comparison) = report.candidates().max_by(by_gain)?;
        Some(Shown::of(
            report,
            about(what, &report.label(&treatment.id)),
            comparison,
        ))
    };
    match upshot(report) {
        Upshot::Better(winner) => {
            let own = |(_, c): &(_, &Comparison)| *c == winner.comparison();
            let (_, comparison) = report.candidates().find(own)?;
            Some(Shown::of(report, response, comparison))
        }
        Upshot::NotConfirmed(confirmation) => Some(Shown {
            about: about("in fresh blocks: ", &confirmation.treatment),
            effect: &confirmation.effect,
            word: None,
            confidence: Level::P95,
        }),
        Upshot::WholeStays {
            left: Some((winner, whole)),
        } => Some(Shown::of(
            report,
            about("against the whole: ", winner.treatment()),
            whole,
        )),
        Upshot::WholeStays { left: None } => nearest("what was left: "),
        Upshot::TakenApart => {
            let missed = report.candidates().filter(|(_, c)| is_worse(c)).min_by(by_gain);
            missed.map(|(t, c)| Shown::of(report, about("missed most: ", &report.label(&t.id)), c))
        }
        Upshot::Noise | Upshot::Keep(_) => nearest("nearest: "),
    }
}

/// It, large, with its interval.
fn figure(shown: &Shown<'_>) -> Markup {
    let effect = shown.effect;
    html! {
        div .figure {
            p .metric { (shown.about) }
            p .big data-value=[effect.change_percent()] {
                (effect.change_percent().map_or_else(|| "–".into(), wording::percent))
            }
            (bar(effect))
            p .interval {
                @match effect.change_interval_percent() {
                    Some(interval) => { (wording::interval(interval)) " % at " (wording::confidence(shown.confidence)) }
                    None => "no interval yet",
                }
                @if let Some(word) = shown.word { ": " (word) }
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
    conclusion::confirmed(report)
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
    let Some(baseline) = report.baseline() else {
        return html! {};
    };
    let upshot = upshot(report);
    let best = upshot.best(report);
    let treatment = best.unwrap_or(baseline);
    let is_apart = matches!(upshot, Upshot::TakenApart);
    let pairs = baseline.levels.iter().zip(&treatment.levels);
    let content = html! {
        thead { tr {
            th scope="col" { "tunable" } th scope="col" { @if is_apart { "winner" } @else { "baseline" } }
            @if !is_apart { th scope="col" { "best" } }
        } }
        tbody { @for ((tunable, before), (_, after)) in pairs {
            tr {
                th scope="row" { (code(&wording::tame(tunable, wording::NAME))) }
                td { code { (wording::tame(before, VALUE)) } }
                @if !is_apart {
                    td { code class=[(before != after).then_some("better")] { (wording::tame(after, VALUE)) } }
                }
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
        p .best { (to_set(report, &upshot)) }
        (table.around(&content))
        @if !places.is_empty() {
            details {
                summary { "Where it is written" }
                ul { @for place in places { li { code { (place) } } } }
            }
        }
    }
}

/// What the table is of, in a sentence.
fn to_set(report: &Report<'_>, upshot: &Upshot<'_>) -> Markup {
    let set = upshot.best(report).map(|treatment| {
        html! { code .better { (report.label(&treatment.id)) } }
    });
    let is_stage = matches!(report.header.purpose, Purpose::Stage { .. });
    html! {
        @match (upshot, set) {
            (Upshot::WholeStays { .. }, Some(set)) => { "The whole winner stays: set " (set) "." },
            (_, Some(set)) if is_stage => { "The next factor is measured from " (set) "." },
            (_, Some(set)) => { "Set " (set) "." },
            (Upshot::Noise, _) => "The baseline, measured against itself.",
            (Upshot::TakenApart, _) => {
                "The winner, whole: its confirmation proves it. "
                (ticked(&format!("`kvmtune recommend {}` tells what of it is needed.", report.header.run.short())))
            },
            (Upshot::NotConfirmed(_), _) => "The baseline: what looked best was not confirmed.",
            _ if is_stage => "The best so far: nothing is proven better than that.",
            _ => "The baseline: nothing is proven better than what was there.",
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
