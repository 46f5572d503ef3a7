//! How a run is done again. Knows what a shell takes for one word, not how the command is shown.

use super::wording;
use crate::event::RunHeader;

/// The command that gives the same trials in the same order, from the run's experiment file.
pub(super) fn command(header: &RunHeader) -> String {
    let simulated = header.facts.simulated();
    let model = simulated.map(|model| format!(" --simulate {}", shell_word(model)));
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
