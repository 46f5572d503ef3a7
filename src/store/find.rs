//! Which run the user means.
//!
//! Knows ids and names of runs, nothing of what is in them.

use super::{RunSummary, Store, StoreError};
use crate::event::RunId;
use crate::tunable::nearest;
use std::str::FromStr;

/// Stands for the newest run.
const LATEST: &str = "latest";

/// A message lists no more than this.
const MAX_CANDIDATES: usize = 8;

impl Store {
    /// The run meant by `wanted`: `latest`, a whole id, the name of an experiment (its newest run), the beginning of
    /// a short id or, when none begins so, a piece of an id that only one run has.
    pub fn find(&self, wanted: &str) -> Result<RunId, StoreError> {
        choose(&self.runs()?, wanted)
    }
}

/// `runs` are the oldest first.
fn choose(runs: &[RunSummary], wanted: &str) -> Result<RunId, StoreError> {
    let newest = match RunId::from_str(wanted) {
        _ if wanted == LATEST => runs.last(),
        Ok(id) => runs.iter().find(|r| r.run == id),
        Err(_) => runs.iter().rfind(|r| r.experiment == wanted),
    };
    if let Some(summary) = newest {
        return Ok(summary.run);
    }
    let piece = wanted.to_ascii_lowercase();
    let mut candidates: Vec<_> = runs
        .iter()
        .filter(|r| r.run.short().starts_with(&piece))
        .collect();
    if candidates.is_empty() {
        candidates = runs
            .iter()
            .filter(|r| r.run.to_string().contains(&piece))
            .collect();
    }
    match candidates[..] {
        _ if piece.is_empty() => Err(unknown(runs, wanted)),
        [] => Err(unknown(runs, wanted)),
        [only] => Ok(only.run),
        _ => Err(ambiguous(&candidates, wanted)),
    }
}

fn ambiguous(candidates: &[&RunSummary], wanted: &str) -> StoreError {
    let shown = candidates.iter().rev().take(MAX_CANDIDATES);
    let mut texts: Vec<_> = shown
        .map(|r| format!("{} ({})", r.run.short(), r.experiment))
        .collect();
    if candidates.len() > MAX_CANDIDATES {
        texts.push(format!("{} older ones", candidates.len() - MAX_CANDIDATES));
    }
    StoreError::Ambiguous {
        wanted: wanted.into(),
        candidates: texts,
    }
}

fn unknown(runs: &[RunSummary], wanted: &str) -> StoreError {
    let shorts: Vec<_> = runs.iter().map(|r| r.run.short()).collect();
    let names = runs.iter().map(|r| r.experiment.as_str());
    let known = names.chain(shorts.iter().map(String::as_str)).chain([LATEST]);
    StoreError::Unknown {
        wanted: wanted.chars().take(60).flat_map(char::escape_default).collect(),
        nearest: nearest(wanted, known),
    }
}
