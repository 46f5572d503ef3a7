//! `kvmtune noise` and `kvmtune confirm`: runs that are not of an experiment's own design.

use super::across::refuse_reboots;
use super::exit::Code;
use super::failure::Failure;
use super::leg::{Leg, best, confirming_blocks};
use super::plan::require_host;
use super::run::{begin, known};
use super::sitting::{Ahead, Job, sit};
use super::watchman::DeadMan;
use super::{Common, files};
use crate::event::Purpose;
use crate::experiment::CONFIRMING;
use crate::store::Store;
use std::path::PathBuf;

/// Enough for a standard deviation that is known to about a sixth.
const BLOCKS: u32 = 20;

/// Arguments of `noise`.
#[derive(Debug, clap::Args)]
pub(super) struct NoiseArgs {
    /// The experiment whose baseline is measured against itself
    file: PathBuf,
    /// How many pairs
    #[arg(long, default_value_t = BLOCKS, value_parser = clap::value_parser!(u32).range(6..=1000))]
    blocks: u32,
    /// Seed of the order; drawn when neither this nor the file gives one
    #[arg(long)]
    seed: Option<u64>,
    /// Run on a machine that this model describes, in seconds
    #[arg(long, value_name = "MODEL")]
    simulate: Option<PathBuf>,
    /// Where the HTML report is written; by default beside the results
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    dead_man: DeadMan,
}

pub(super) fn noise(common: &Common, args: &NoiseArgs) -> Result<Code, Failure> {
    let experiment = files::experiment(&args.file)?;
    let leg = Leg::noise(args.blocks);
    let job = begin(common, experiment, leg, args.seed, args.simulate.as_ref())?;
    if job.simulated.is_none() {
        refuse_reboots(&job.experiment, common)?;
    }
    sit(job, args.dead_man.watch(), args.html.as_deref())
}

/// Arguments of `confirm`.
#[derive(Debug, clap::Args)]
pub(super) struct ConfirmArgs {
    /// `latest`, an id or a piece of one, or the name of an experiment
    #[arg(default_value = "latest")]
    run: String,
    /// How many fresh blocks; by default what the experiment says, else 12
    #[arg(long, value_parser = clap::value_parser!(u32).range(i64::from(CONFIRMING)..=200))]
    blocks: Option<u32>,
    /// Where the HTML report is written; by default beside the results
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    dead_man: DeadMan,
}

pub(super) fn confirm(common: &Common, args: &ConfirmArgs) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(&args.run)?;
    let header = store.header(run)?;
    if let Purpose::Confirm { of } = header.purpose {
        return Err(Failure::environment(format!(
            "run {} is itself the confirmation of run {}",
            run.short(),
            of.short()
        )));
    }
    if let Purpose::Ablate { of } = header.purpose {
        return Err(Failure::environment(format!(
            "run {} takes the winner of run {} apart: `kvmtune recommend {} --measure` confirms what is left of it",
            run.short(),
            of.short(),
            run.short()
        )));
    }
    let confirms = |p: &Purpose| *p == Purpose::Confirm { of: run };
    if let Some(earlier) = store.runs()?.iter().find(|r| confirms(&r.purpose)) {
        return Err(Failure::environment(format!(
            "run {} has its confirmation, run {}: a second one would be a second chance for the same claim. `kvmtune report \
             {}` tells what it showed; `--resume` finishes it if it is unfinished",
            run.short(),
            earlier.run.short(),
            earlier.run.short()
        )));
    }
    let known = known(&store, &header, None)?;
    let levels = best(&header, &known.records)?.ok_or_else(|| {
        Failure::environment(format!(
            "run {} has no winner to confirm: `kvmtune report {}` tells what it showed",
            run.short(),
            run.short()
        ))
    })?;
    if known.simulated.is_none() {
        refuse_reboots(&known.experiment, common)?;
        require_host(&known.experiment)?;
    }
    let blocks = confirming_blocks(&known.experiment, args.blocks);
    let job = Job {
        first: Leg::confirm(&header, levels, blocks),
        ahead: Ahead::AsDesigned,
        experiment: known.experiment,
        // Blocks of their own order: the same seed would repeat the order that the winner was chosen in.
        seed: Some(header.plan.seed.wrapping_add(1)),
        simulated: known.simulated,
        across: None,
        store: Store::open(&common.results)?,
        common,
    };
    sit(job, args.dead_man.watch(), args.html.as_deref())
}
