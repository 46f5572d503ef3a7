//! `kvmtune recommend`: what everything measured about a question comes to, and the runs that are still to be measured
//! for it.

use super::across::refuse_reboots;
use super::exit::Code;
use super::failure::Failure;
use super::leg::{Leg, confirming_blocks, next};
use super::plan::require_host;
use super::results::width;
use super::run::known;
use super::sitting::{Ahead, Job, sit};
use super::watchman::DeadMan;
use super::{Common, print, print_json, say};
use crate::analysis::{AnalysisError, Level, fewest_blocks};
use crate::decision::{Advice, Chain, Link, Next, advise, front, settings};
use crate::event::{Purpose, RunHeader, RunId};
use crate::experiment::{CONFIRMING, Experiment, Protocol, Weighed, Weight};
use crate::report;
use crate::store::{RunSummary, Store};
use std::path::PathBuf;

/// Arguments of `recommend`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Any run of those that belong together: `latest`, an id or a piece of one, or the name of an experiment
    #[arg(default_value = "latest")]
    run: String,
    /// Measure what is missing, in one sitting: the confirmation of the winner, the winner without each of its settings,
    /// the confirmation of what is left
    #[arg(long)]
    measure: bool,
    /// How many fresh blocks each of these runs has; by default what the experiment says, else 12
    #[arg(long, requires = "measure", value_parser = clap::value_parser!(u32).range(i64::from(CONFIRMING)..=200))]
    blocks: Option<u32>,
    /// Choose by a weighted sum of the responses, one weight for each, before anything is confirmed
    #[arg(long, value_name = "METRIC=NUMBER", value_parser = weight)]
    weight: Vec<(String, Weight)>,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    /// Where the HTML report of the last run is written; by default beside the results
    #[arg(long, value_name = "FILE", requires = "measure")]
    html: Option<PathBuf>,
    #[command(flatten)]
    dead_man: DeadMan,
}

pub(super) fn recommend(common: &Common, args: &Args) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(&args.run)?;
    let asked = |store: &Store| -> Result<Chain, Failure> {
        let mut chain = chain(store, run)?;
        weigh(&mut chain, &args.weight)?;
        Ok(chain)
    };
    let code = if args.measure {
        measure(common, args, &store, &asked(&store)?)?
    } else {
        Code::Done
    };
    let chain = asked(&store)?;
    let advice = judged(&chain)?;
    let front = front(chain.last_found()).map_err(|e| cannot_judge(run, &e))?;
    if common.json {
        print_json(&report::advice_json(&chain, &advice, &front))?;
    } else if args.markdown {
        print(&report::advice_markdown(&chain, &advice, &front));
    } else {
        print(&report::advice_text(&chain, &advice, &front, width()));
    }
    Ok(code)
}

/// Carries the protocol on to its end, in one sitting.
fn measure(common: &Common, args: &Args, store: &Store, chain: &Chain) -> Result<Code, Failure> {
    let Some(next) = next_of(&judged(chain)?) else {
        say("nothing is left to measure");
        return Ok(Code::Done);
    };
    let header = store.header(next.builds_on())?;
    let mut known = known(store, &header, None)?;
    if let Some(weighed) = chain.last_found().header.protocol.weighed() {
        known.experiment.weigh(weighed.to_vec());
    }
    if known.simulated.is_none() {
        refuse_reboots(&known.experiment, common)?;
        require_host(&known.experiment)?;
    }
    let Some(first) = leg(store, &known.experiment, &next, args.blocks)? else {
        return Err(Failure::environment(format!(
            "run {} cannot go on: `kvmtune report {}` tells what it showed",
            header.run.short(),
            header.run.short()
        )));
    };
    // Blocks of an order of their own, as in one sitting.
    let seed = match next {
        Next::Resume { .. } => header.plan.seed,
        _ => header.plan.seed.wrapping_add(1),
    };
    let job = Job {
        experiment: known.experiment,
        seed: Some(seed),
        first,
        ahead: Ahead::ToTheEnd { blocks: args.blocks },
        simulated: known.simulated,
        across: None,
        store: Store::open(&common.results)?,
        common,
    };
    sit(job, args.dead_man.watch(), args.html.as_deref())
}

/// The run that carries the chain of this one on; nothing at its end.
pub(super) fn next_leg(
    store: &Store,
    experiment: &Experiment,
    run: RunId,
    blocks: Option<u32>,
) -> Result<Option<Leg>, Failure> {
    match next_of(&advice(store, run)?) {
        // It was stopped just now.
        None | Some(Next::Resume { .. }) => Ok(None),
        Some(next) => leg(store, experiment, &next, blocks),
    }
}

fn next_of(advice: &Advice) -> Option<Next> {
    match advice {
        Advice::Unfinished { next } => Some(next.clone()),
        Advice::Adopt(proven) => proven.next().cloned(),
        Advice::Keep(_) => None,
    }
}

fn leg(
    store: &Store,
    experiment: &Experiment,
    wanted: &Next,
    blocks: Option<u32>,
) -> Result<Option<Leg>, Failure> {
    let header = store.header(wanted.builds_on())?;
    let blocks = confirming_blocks(experiment, blocks);
    Ok(match wanted {
        Next::Resume { run } => Some(Leg::GoOn {
            records: store.trials(*run)?,
            header: Box::new(header),
            to_the_end: false,
        }),
        Next::Stage { after } => next(experiment, &header, &store.trials(*after)?)?,
        Next::Confirm { levels, .. } => Some(Leg::confirm(&header, levels.clone(), blocks)),
        Next::Minimal { levels, whole, .. } => {
            Some(Leg::minimal(&header, levels.clone(), whole.clone(), blocks))
        }
        Next::Ablate { levels, .. } => {
            let blocks = blocks.max(fewest_ablating(&header));
            Some(Leg::ablate(&header, levels.clone(), blocks))
        }
    })
}

/// The fewest blocks that can prove each setting of a confirmed winner to be needed.
fn fewest_ablating(confirmation: &RunHeader) -> u32 {
    let treatments = &confirmation.plan.treatments;
    let several = treatments.get(1).map_or(0, |t| settings(t, &treatments[0]).len());
    fewest_blocks(Level::P95.simultaneous(several * confirmation.protocol.responses.len()))
}

/// What the chain of runs that this one is of comes to.
pub(super) fn advice(store: &Store, run: RunId) -> Result<Advice, Failure> {
    judged(&chain(store, run)?)
}

fn judged(chain: &Chain) -> Result<Advice, Failure> {
    advise(chain).map_err(|e| cannot_judge(chain.asked, &e))
}

fn cannot_judge(run: RunId, error: &AnalysisError) -> Failure {
    Failure::environment(format!("run {} cannot be judged: {error}", run.short()))
}

fn weight(text: &str) -> Result<(String, Weight), String> {
    let (metric, weight) = text
        .split_once('=')
        .ok_or("write a response and its weight, such as iops=2")?;
    Ok((metric.to_string(), weight.parse()?))
}

/// Puts weights in force that were not stated beforehand: for responses of a run that is not confirmed yet.
fn weigh(chain: &mut Chain, weights: &[(String, Weight)]) -> Result<(), Failure> {
    if weights.is_empty() {
        return Ok(());
    }
    let protocol = &chain.last_found().header.protocol;
    let short = chain.last_found().header.run.short();
    let weighed = by_name(protocol, weights)?;
    if protocol.weighed() == Some(&weighed[..]) {
        return Ok(());
    }
    if protocol.weighed().is_some() || chain.confirmation.is_some() {
        return Err(Failure::environment(format!(
            "run {short} was judged by its responses as they are, or by other weights, and that was stated or confirmed \
             before: a choice by these weights is a new question, for a new run"
        )));
    }
    chain.weigh(&weighed);
    Ok(())
}

/// Every response with the weight that was given for it, in the order of the responses.
fn by_name(protocol: &Protocol, weights: &[(String, Weight)]) -> Result<Vec<Weighed>, Failure> {
    let aims = protocol.aims();
    let names: Vec<_> = aims.iter().map(|aim| protocol.name_of(&aim.metric)).collect();
    let usage = || {
        Failure::usage(format!(
            "give each response of the run one weight; there are: {}",
            names.join(", ")
        ))
    };
    if aims.len() < 2 {
        let text = format!(
            "the run has one response, {}: there is nothing to weigh",
            names.join("")
        );
        return Err(Failure::usage(text));
    }
    if weights.len() != aims.len() {
        return Err(usage());
    }
    let weighed = aims.iter().zip(&names).map(|(aim, name)| {
        let mut given = weights
            .iter()
            .filter(|(w, _)| w == name || *w == aim.metric.to_string());
        let (_, weight) = given.next().ok_or_else(usage)?;
        Ok(Weighed {
            metric: aim.metric.clone(),
            goal: aim.goal,
            weight: *weight,
        })
    });
    weighed.collect()
}

/// The whole chain that a run is of: the runs before it, and those that follow.
fn chain(store: &Store, asked: RunId) -> Result<Chain, Failure> {
    let runs = store.runs()?;
    let link = |run: &RunSummary| -> Result<Link, Failure> {
        let header = store.header(run.run)?;
        if header.plan.treatments.is_empty() {
            let short = run.run.short();
            return Err(Failure::environment(format!(
                "the record of run {short} has no treatments"
            )));
        }
        Ok(Link::new(header, store.trials(run.run)?, run.is_over()))
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
    let mut chain = Chain {
        asked,
        found,
        confirmation: confirmation.map(link).transpose()?,
        ablation: ablation.map(link).transpose()?,
        minimal: minimal.map(link).transpose()?,
    };
    // What was confirmed may have been chosen by weights that were stated after it was found.
    let confirmed = chain.confirmation.as_ref().map(|link| &link.header.protocol);
    if let Some(weighed) = confirmed.and_then(|p| p.weighed()).map(<[_]>::to_vec) {
        chain.weigh(&weighed);
    }
    Ok(chain)
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
