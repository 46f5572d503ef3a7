//! What the host did, and host and guest as found.

use super::super::{Report, machine, wording};
use super::table::{Table, code, maybe};
use maud::{Markup, html};

/// Longest fact that is shown, in characters.
const FACT: usize = 4000;
/// A fact longer than this unfolds.
const LONG: usize = 240;

pub(super) fn section(report: &Report<'_>) -> Markup {
    html! {
        section #facts {
            h2 { "Host and guest" }
            (did(report))
            h3 { "As found before the run" }
            details {
                summary { (report.header.facts.record.len()) " facts" }
                (found(report))
            }
        }
    }
}

/// What the host did in the measured time of a trial.
fn did(report: &Report<'_>) -> Markup {
    let Some((header, rows)) = machine::table(report) else {
        return html! {};
    };
    let content = html! {
        thead { tr { @for (place, name) in header.iter().enumerate() {
            th scope="col" .number[place > 0] { (name) }
        } } }
        tbody { @for (row, numbers) in rows.iter().zip(machine::numbers(report)) { tr {
            th scope="row" { (code(&row[0])) }
            @for (shown, value) in row.iter().skip(1).zip(numbers) {
                (maybe(Some(shown.clone()), value))
            }
        } } }
    };
    let table = Table {
        id: "telemetry",
        caption: "What the host did under each treatment",
        filtered: false,
    };
    html! {
        h3 { "What the host did" }
        p .small { "In the measured time of a trial; medians over the judged blocks." }
        (table.around(&content))
    }
}

fn found(report: &Report<'_>) -> Markup {
    let content = html! {
        thead { tr { th scope="col" { "fact" } th scope="col" { "value" } } }
        tbody { @for (name, value) in &report.header.facts.record {
            tr {
                th scope="row" { (wording::tame(name, wording::NAME)) }
                td {
                    @if value.chars().take(LONG + 1).count() > LONG || value.contains('\n') {
                        details {
                            summary { (wording::tame(value.trim_start(), 60)) }
                            pre tabindex="0" { (wording::tame_lines(value, FACT)) }
                        }
                    } @else {
                        (wording::tame(value, FACT))
                    }
                }
            }
        } }
    };
    let table = Table {
        id: "found",
        caption: "Facts of host and guest",
        filtered: true,
    };
    table.around(&content)
}
