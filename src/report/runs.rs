//! The list of runs as a table. Knows only what is in its rows.

use super::table::table;
use super::wording;
use crate::event::Purpose;
use jiff::Timestamp;
use serde::Serialize;

/// One run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct RunRow {
    /// The id as it is shown and taken.
    pub id: String,
    /// Name of the experiment.
    pub experiment: String,
    /// When it was started.
    pub started: Timestamp,
    /// Trials that are recorded.
    pub done: u32,
    /// Trials of the plan.
    pub planned: u32,
    /// What it is for.
    pub purpose: Purpose,
    /// True when its numbers are of a model.
    pub simulated: bool,
    /// Its state in words.
    pub state: String,
}

fn state(run: &RunRow) -> String {
    let simulated = if run.simulated { "simulated, " } else { "" };
    let purpose = match &run.purpose {
        Purpose::Sweep => String::new(),
        Purpose::Noise => "A/A, ".into(),
        Purpose::Confirm { of } => format!("confirms {}, ", of.short()),
        Purpose::Ablate { of } => format!("takes apart {}, ", of.short()),
        Purpose::Stage { number, of, .. } => format!("factor {number} of {of}, "),
    };
    format!("{simulated}{purpose}{}", wording::tame(&run.state, 40))
}

/// A line a run, as given.
pub fn runs(runs: &[RunRow]) -> String {
    if runs.is_empty() {
        return "no runs yet; `kvmtune run FILE` makes one\n".into();
    }
    let row = |run: &RunRow| {
        vec![
            wording::tame(&run.experiment, 40),
            wording::tame(&run.id, 36),
            format!("{:.0}", run.started),
            format!("{}/{}", run.done, run.planned),
            state(run),
        ]
    };
    let header = ["experiment", "run", "started", "trials", "state"];
    table(&header, runs.iter().map(row).collect(), &[3], 120)
}
