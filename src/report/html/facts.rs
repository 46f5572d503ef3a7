//! What the host did, and host and guest as found.

use super::super::{Report, machine, wording};
use super::table::Table;
use maud::{Markup, html};

/// Longest fact that is shown, in characters.
const FACT: usize = 4000;
/// A fact longer than this unfolds.
const LONG: usize = 240;

pub(super) fn section(report: &Report<'_>) -> Markup {
    html! {
        section #facts {
            h2 { "Host and guest" }
            @if let Some((header, rows)) = machine::table(report) {
                h3 #host-did { "What the host did" }
                p .small { "In the measured time of a trial; medians over the judged blocks." }
                (Table { id: "telemetry", caption: "What the host did under each treatment", filtered: false }
                    .of_texts(&header, &rows))
            }
            h3 { "As found before the run" }
            details {
                summary { (report.header.facts.record.len()) " facts" }
                (found(report))
            }
        }
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
