//! How to do it again: the command, the seed, the experiment file.

use super::super::{Report, wording};
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
            (copied("command", "Copy the command", &command(report)))
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

fn command(report: &Report<'_>) -> String {
    let header = report.header;
    let model = header
        .facts
        .simulated()
        .map(|model| format!(" --simulate {}", shell_word(model)));
    format!(
        "kvmtune run {} --seed {}{}",
        shell_word(&header.file),
        header.plan.seed,
        model.unwrap_or_default()
    )
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
