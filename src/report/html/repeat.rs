//! How to do it again: the command, the seed, the experiment file.

use super::super::{Report, repeat, wording};
use super::table::copied;
use crate::facts::SIMULATED_MODEL;
use maud::{Markup, html};

/// Longest experiment file that is shown, in characters.
const FILE: usize = 100_000;

pub(super) fn section(report: &Report<'_>) -> Markup {
    let header = report.header;
    html! {
        section #repeat {
            h2 { "Repeat it" }
            p { "Save the experiment file below and run it with the same seed; the order of all trials is then the same." }
            (copied("command", "Copy the command", &repeat::command(header)))
            @if let Some(text) = header.facts.record.get(SIMULATED_MODEL) {
                details {
                    summary { "The model" }
                    (copied("model", "Copy the model", &wording::tame_lines(text, FILE)))
                }
            }
            details open {
                summary { "The experiment file" }
                (copied("file", "Copy the file", &wording::tame_lines(&header.text, FILE)))
            }
            p .small {
                "Seed " (header.plan.seed) " · kvmtune " (wording::tame(&header.version, 40)) " · run " (header.run)
            }
        }
    }
}
