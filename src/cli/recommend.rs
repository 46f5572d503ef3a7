//! `kvmtune recommend`: what everything measured about a question comes to, and the runs that are still to be measured
//! for it.

use super::failure::Failure;
use crate::decision::{Advice, Chain, Link, advise};
use crate::event::{Purpose, RunId};
use crate::store::{RunSummary, Store};

/// What the chain of runs that this one is of comes to.
pub(super) fn advice(store: &Store, run: RunId) -> Result<Advice, Failure> {
    let chain = chain(store, run)?;
    advise(&chain).map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", run.short())))
}

/// The whole chain that a run is of: the runs before it, and those that follow.
fn chain(store: &Store, asked: RunId) -> Result<Chain, Failure> {
    let runs = store.runs()?;
    let link = |run: &RunSummary| -> Result<Link, Failure> {
        Ok(Link::new(
            store.header(run.run)?,
            store.trials(run.run)?,
            run.is_over(),
        ))
    };
    let first = first(&runs, asked)?;
    let stages = runs.iter().filter(|r| match r.purpose {
        Purpose::Stage { first: of, .. } => of == Some(first) || r.run == first,
        _ => r.run == first,
    });
    let found = stages.map(link).collect::<Result<Vec<_>, _>>()?;
    let Some(last) = found.last().map(|link| link.header.run) else {
        return Err(Failure::environment(format!("there is no run {}", first.short())));
    };
    // Of several, which two sittings at once can make, the first counts.
    let follows = |purpose: Purpose| runs.iter().find(|r| r.purpose == purpose);
    let confirmation = follows(Purpose::Confirm { of: last });
    let ablation = confirmation.and_then(|r| follows(Purpose::Ablate { of: r.run }));
    let minimal = ablation.and_then(|r| follows(Purpose::Confirm { of: r.run }));
    Ok(Chain {
        asked,
        found,
        confirmation: confirmation.map(link).transpose()?,
        ablation: ablation.map(link).transpose()?,
        minimal: minimal.map(link).transpose()?,
    })
}

/// The run that a chain begins with.
fn first(runs: &[RunSummary], run: RunId) -> Result<RunId, Failure> {
    let mut at = run;
    // No chain is longer than there are runs, whatever a damaged record says.
    for _ in 0..=runs.len() {
        let purpose = runs.iter().find(|r| r.run == at).map(|r| &r.purpose);
        at = match purpose {
            Some(Purpose::Confirm { of } | Purpose::Ablate { of }) => *of,
            Some(Purpose::Stage {
                first: Some(first), ..
            }) => *first,
            Some(Purpose::Sweep | Purpose::Stage { first: None, .. }) => return Ok(at),
            Some(Purpose::Noise) => {
                return Err(Failure::environment(format!(
                    "run {} measures the baseline against itself: there is nothing to recommend. Name a run of an \
                     experiment; `kvmtune runs` lists them",
                    at.short()
                )));
            }
            None => {
                return Err(Failure::environment(format!(
                    "run {}, which run {} follows, is not in these results",
                    at.short(),
                    run.short()
                )));
            }
        };
    }
    Err(Failure::environment(format!(
        "the record of run {} goes in circles",
        run.short()
    )))
}
