//! Every treatment against the baseline, the evidence for it, and what each factor does. Knows no drawing.

use super::super::{Report, effects, front, text, verdict, wording};
use super::answer::{chip, notices};
use super::list;
use super::table::{Table, code, maybe, number};
use crate::analysis::{Comparison, Effect, Judgement};
use maud::{Markup, html};

/// From so many candidates on their table can be filtered.
const MANY: usize = 8;

pub(super) fn section(report: &Report<'_>) -> Markup {
    html! {
        section #verdicts {
            h2 { "Verdicts" }
            (verdicts(report))
            p .small { (wording::legend(report.evaluation)) }
            details {
                summary { "The evidence for each verdict" }
                @for (place, (treatment, comparison)) in report.candidates().enumerate() {
                    @let lines = verdict::lines(report, treatment, comparison).join("\n");
                    pre tabindex="0" id={ "evidence-" (place) } { (lines) }
                }
            }
            (together(report))
            (factors(report))
            (notices(report))
        }
    }
}

fn verdicts(report: &Report<'_>) -> Markup {
    let content = html! {
        thead { tr {
            th scope="col" { "treatment" } th scope="col" .number { "change" }
            th scope="col" .number { "interval, %" } th scope="col" .number { "n" }
            th scope="col" .number { "p Holm" } th scope="col" { "verdict" }
        } }
        tbody data-fixed { tr { th scope="row" { "baseline" } td colspan="5" { (text::baseline(report)) } } }
        @for (treatment, comparison) in report.candidates() {
            (candidate(&report.label(&treatment.id), comparison))
        }
    };
    let table = Table {
        id: "comparisons",
        caption: "Every treatment against the baseline",
        filtered: report.evaluation.comparisons.len() > MANY,
    };
    table.around(&content)
}

/// Rows that stay together however the table is sorted.
fn candidate(label: &str, comparison: &Comparison) -> Markup {
    html! {
        tbody {
            @for (place, judgement) in comparison.responses.iter().enumerate() {
                @let word = judgement.verdict.word();
                tr .guard[place > 0] {
                    @if place == 0 {
                        th scope="row" data-value=(label) { (code(label)) " " span .small { (metric(judgement)) } }
                    } @else {
                        td { (metric(judgement)) }
                    }
                    (change(&judgement.effect))
                    (number(&judgement.effect.blocks.to_string(), judgement.effect.blocks as f64))
                    (number(&wording::p_value(judgement.p_holm), judgement.p_holm))
                    td { (chip(word)) }
                }
            }
            @for guard in &comparison.guards {
                tr .guard {
                    td {
                        (wording::guard_limit(guard))
                        @if guard.limit.is_some() { ": the value against the limit" }
                    }
                    (change(&guard.effect))
                    (number(&guard.effect.blocks.to_string(), guard.effect.blocks as f64))
                    td {}
                    td { (chip(guard.outcome.word())) }
                }
            }
        }
    }
}

fn metric(judgement: &Judgement) -> String {
    wording::tame(&judgement.effect.metric, wording::NAME)
}

/// Two cells: the estimate and its interval.
fn change(effect: &Effect) -> Markup {
    let estimate = effect.change_percent();
    html! {
        (maybe(estimate.map(wording::percent), estimate))
        @match effect.change_interval_percent() {
            Some(interval) => td .number data-value={ "[" (interval.low) ", " (interval.high) "]" } data-key=(interval.low) {
                (wording::interval(interval))
            },
            None => td .number data-key="" { "unknown" },
        }
    }
}

/// Where the treatments stand in several responses, also in those that a weighted one is made of.
fn together(report: &Report<'_>) -> Markup {
    html! {
        @if !report.front.is_empty() {
            h3 { (front::TITLE) }
            (list(&front::standings(report.header, report.front)))
        }
    }
}

/// What each factor does by itself and with others.
fn factors(report: &Report<'_>) -> Markup {
    html! {
        @for (place, (title, rows)) in effects::rows(report).into_iter().enumerate() {
            h3 { (title) }
            p .small { "Averaged over the other factors; the intervals hold at 95 % together." }
            (Table { id: &format!("effects-{place}"), caption: &title, filtered: rows.len() > MANY }.around(&html! {
                thead { tr {
                    th scope="col" { "factor" } th scope="col" .number { "effect" }
                    th scope="col" .number { "interval, %" } th scope="col" .number { "n" }
                    th scope="col" .number { "p Holm" }
                } }
                tbody { @for (name, effect, p_holm) in &rows { tr {
                    th scope="row" { (code(name)) }
                    (change(effect))
                    (number(&effect.blocks.to_string(), effect.blocks as f64))
                    (number(&wording::p_value(*p_holm), *p_holm))
                } } }
            }))
        }
    }
}
