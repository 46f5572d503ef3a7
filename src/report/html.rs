//! The report as one page that needs nothing else. Knows the order of what is read; styles stand in `html.css`.
//!
//! Every text goes through maud's escaping; only the plots, which escape their own, and the style sheet are put in as
//! they are.

use super::overhead::overhead;
use super::{Report, ReportError, certificate, conclusion, effects, machine, plots, text, verdict, wording};
use crate::analysis::Comparison;
use crate::decision::Recommendation;
use crate::event::{Outcome, TrialRecord};
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("html.css");
/// Longest experiment file that is shown, in characters.
const FILE: usize = 100_000;
/// Longest fact that is shown, in characters.
const FACT: usize = 4000;

/// The whole page.
pub fn html(report: &Report<'_>) -> Result<String, ReportError> {
    let header = report.header;
    let name = wording::tame(&header.experiment, wording::NAME);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (name) " – kvmtune" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    (first_screen(report, &name))
                    section {
                        h2 { "Plots" }
                        @for kind in plots::PlotKind::ALL {
                            @if let Some(plot) = plots::plot(report, kind)? {
                                div .plot { (PreEscaped(plot.svg)) }
                            }
                        }
                    }
                    (host(report))
                    (trials(report))
                    (record(report))
                }
            }
        }
    };
    Ok(page.into_string())
}

fn first_screen(report: &Report<'_>, name: &str) -> Markup {
    let question = report.header.protocol.question.as_deref().unwrap_or(name);
    let best = match &report.evaluation.recommendation {
        Recommendation::Adopt(winner) => Some(wording::tame(winner.treatment(), wording::SENTENCE)),
        Recommendation::Keep { .. } => None,
    };
    html! {
        header {
            p .name { (name) }
            h1 { (wording::tame(question, wording::SENTENCE)) }
            p .answer { (conclusion::answer(report)) }
            @if let Some(best) = best {
                p { "Best treatment: " code .better { (best) } }
            }
        }
        section {
            h2 { "Verdicts" }
            (verdicts(report))
            p .small { (wording::legend(report.evaluation)) }
            (list("What was not proven", &conclusion::unproven(report)))
            @if let Some(certificate) = report.certified {
                (list("Certificate of this host", &certificate::lines(certificate)))
            }
            details {
                summary { "The evidence for each verdict" }
                @for (treatment, comparison) in report.candidates() {
                    pre { (verdict::lines(report, treatment, comparison).join("\n")) }
                }
            }
            (factors(report))
            (list("Notices", &conclusion::notices(report)))
            dl {
                @for (name, value) in text::head(report).into_iter().skip(if report.header.protocol.question.is_some() { 2 } else { 1 }) {
                    dt { (name) } dd { (value) }
                }
            }
        }
    }
}

fn list(title: &str, items: &[String]) -> Markup {
    html! {
        @if !items.is_empty() {
            h3 { (title) }
            ul { @for item in items { li { (item) } } }
        }
    }
}

fn verdicts(report: &Report<'_>) -> Markup {
    let metric = report.response_name(wording::NAME);
    html! {
        div .wide {
            table {
                thead { tr {
                    th scope="col" { "treatment" } th scope="col" { (metric) }
                    th scope="col" .number { "n" } th scope="col" .number { "p Holm" }
                    th scope="col" { "verdict" }
                } }
                tbody {
                    tr { th scope="row" { "baseline" } td colspan="4" { (text::baseline(report)) } }
                    @for (treatment, comparison) in report.candidates() {
                        (candidate(&report.label(&treatment.id), comparison))
                    }
                }
            }
        }
    }
}

/// What each factor does by itself and with others.
fn factors(report: &Report<'_>) -> Markup {
    html! {
        @for (title, rows) in effects::tables(report) {
            h3 { (title) }
            p .small { "Averaged over the other factors; the intervals hold at 95 % together." }
            div .wide {
                table {
                    thead { tr { @for name in effects::HEADER { th scope="col" { (name) } } } }
                    tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                }
            }
        }
    }
}

fn candidate(label: &str, comparison: &Comparison) -> Markup {
    let word = wording::verdict(comparison.primary().verdict);
    html! {
        tr {
            th scope="row" { code { (label) } }
            td { (wording::change(&comparison.primary().effect)) }
            td .number { (comparison.primary().effect.blocks) }
            td .number { (wording::p_value(comparison.primary().p_holm)) }
            td class=(word.replace(' ', "-")) { (word) }
        }
        @for judgement in comparison.responses.iter().skip(1) {
            @let word = wording::verdict(judgement.verdict);
            tr .guard {
                td { (wording::tame(&judgement.effect.metric, wording::NAME)) }
                td { (wording::change(&judgement.effect)) }
                td .number { (judgement.effect.blocks) }
                td .number { (wording::p_value(judgement.p_holm)) }
                td class=(word.replace(' ', "-")) { (word) }
            }
        }
        @for guard in &comparison.guards {
            @let outcome = wording::guard_outcome(guard.outcome);
            tr .guard {
                td { "guard " (wording::tame(&wording::guard_limit(guard), wording::NAME)) }
                td { (wording::change(&guard.effect)) }
                td .number { (guard.effect.blocks) }
                td {}
                td class=(outcome) { (outcome) }
            }
        }
    }
}

/// What the host did under each treatment.
fn host(report: &Report<'_>) -> Markup {
    html! {
        @if let Some((header, rows)) = machine::table(report) {
            section {
                h2 { "The host" }
                p .small { "What it did in the measured time of a trial; medians." }
                div .wide {
                    table {
                        thead { tr { @for name in header { th scope="col" { (name) } } } }
                        tbody { @for row in rows { tr { @for cell in row { td { (cell) } } } } }
                    }
                }
            }
        }
    }
}

fn trials(report: &Report<'_>) -> Markup {
    let without = text::without_number(report).len();
    html! {
        section {
            h2 { "Trials" }
            p { (report.records.len()) " trials, " (without) " without a number." }
            details open[without > 0] {
                summary { "Every trial in the order it was run" }
                div .wide {
                    table {
                        thead { tr {
                            th scope="col" .number { "block" } th scope="col" { "treatment" }
                            th scope="col" .number { "guest start" } th scope="col" { "outcome" }
                            th scope="col" { "value or reason" } th scope="col" .number { "time" }
                        } }
                        tbody { @for record in report.records { (trial(report, record)) } }
                    }
                }
            }
            details {
                summary { "What a trial costs beside its workload" }
                pre { (overhead(report).to_string()) }
            }
        }
    }
}

fn trial(report: &Report<'_>, record: &TrialRecord) -> Markup {
    let outcome = wording::outcome(&record.outcome);
    html! {
        tr {
            td .number { (record.trial.block) @if record.trial.block == 0 { " (discarded)" } }
            td { code { (report.label(&record.trial.treatment)) } }
            td .number { (record.trial.boot) }
            td class=(outcome) { (outcome) }
            td { (value_or_reason(report, &record.outcome)) }
            td .number { (wording::seconds(record.timing.total)) }
        }
    }
}

fn value_or_reason(report: &Report<'_>, outcome: &Outcome) -> String {
    let protocol = &report.header.protocol;
    let metric = &protocol.response().metric;
    match outcome {
        Outcome::Measured { observations, .. } => observations
            .iter()
            .find(|o| o.workload == metric.workload && o.metric == metric.metric)
            .map_or_else(
                || "no response".into(),
                |o| wording::quantity(o.value, protocol.unit(metric)),
            ),
        other => wording::reason(other).unwrap_or_default(),
    }
}

fn record(report: &Report<'_>) -> Markup {
    let header = report.header;
    html! {
        section {
            h2 { "Repeat it" }
            p { "Save the experiment file below and run it with the same seed; the order of all trials is then the same." }
            pre { code {
                "kvmtune run " (shell_word(&header.file)) " --seed " (header.plan.seed)
                @if let Some(model) = header.facts.simulated() { " --simulate " (shell_word(model)) }
            } }
            details {
                summary { "The experiment file" }
                pre { (wording::tame_lines(&header.text, FILE)) }
            }
            details {
                summary { "Host and guest as found" }
                dl { @for (name, value) in &header.facts.record {
                    dt { (wording::tame(name, wording::NAME)) } dd { (wording::tame(value, FACT)) }
                } }
            }
            p .small { "kvmtune " (wording::tame(&header.version, 40)) ", run " (header.run) }
            p .small { "What is said here holds for this host, this guest and this workload on that day." }
        }
    }
}

/// The file's name as one word of a shell.
fn shell_word(file: &str) -> String {
    let file = wording::tame(file, 400);
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if !file.is_empty() && !file.starts_with('-') && file.chars().all(plain) {
        return file;
    }
    format!("'{}'", file.replace('\'', "'\\''"))
}
