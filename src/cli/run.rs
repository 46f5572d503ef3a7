//! `kvmtune run`: an experiment to its end, or a run of it that goes on.

use super::across::{Across, AcrossOptions, Begin, refuse_reboots};
use super::exit::Code;
use super::failure::Failure;
use super::leg::{Leg, follows};
use super::plan::require_host;
use super::sitting::{Ahead, Job, following, sit};
use super::watchman::DeadMan;
use super::{Common, files, simulate};
use crate::decision::extension;
use crate::event::{RunHeader, RunId, TrialRecord};
use crate::experiment::{Experiment, Stopping};
use crate::host::SimulatedHost;
use crate::store::Store;
use std::path::PathBuf;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The experiment
    #[arg(required_unless_present_any = ["resume", "go_on"])]
    file: Option<PathBuf>,
    /// Seed of the order; drawn when neither this nor the file gives one
    #[arg(long, conflicts_with_all = ["resume", "go_on"])]
    seed: Option<u64>,
    /// Look after every block, by a process that may be stopped at any time; the file's looks are not used
    #[arg(long, conflicts_with_all = ["resume", "go_on"])]
    anytime: bool,
    /// Go on with an unfinished run: the newest one, or the one named
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    resume: Option<String>,
    /// Add blocks to a run, up to a look that was registered when it began, or tell why it may not have more
    #[arg(
        long = "continue",
        id = "go_on",
        value_name = "RUN",
        requires = "blocks",
        conflicts_with = "resume"
    )]
    go_on: Option<String>,
    /// How many blocks to add at least
    #[arg(long, value_name = "N", requires = "go_on", conflicts_with_all = ["simulate", "seed", "anytime"], value_parser = clap::value_parser!(u32).range(1..=1000))]
    blocks: Option<u32>,
    /// Run on a machine that this model describes, in seconds; nothing on this one is touched
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["resume", "go_on"])]
    simulate: Option<PathBuf>,
    /// Where the HTML report is written (of the last run, when several follow each other); by default beside the
    /// results
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    #[command(flatten)]
    across: AcrossOptions,
    #[command(flatten)]
    dead_man: DeadMan,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Code, Failure> {
    let given = args.file.as_deref().map(files::experiment).transpose()?;
    let across = if args.across.is_asked() {
        match args.across.begin(common, args.resume.is_some())? {
            Begin::Sitting(across) => Some(across),
            Begin::Nothing(code) => return Ok(code),
        }
    } else {
        None
    };
    let mut job = match (&args.resume, &args.go_on, given) {
        (Some(wanted), _, given) => resume(common, wanted, given.as_ref(), across.as_deref())?,
        (None, Some(wanted), given) => add_blocks(common, wanted, given.as_ref(), args.blocks.unwrap_or(1))?,
        (None, None, Some(mut experiment)) => {
            if args.anytime {
                experiment.design.stopping = Stopping::Anytime;
            }
            let leg = Leg::first(&experiment);
            begin(common, experiment, leg, args.seed, args.simulate.as_ref())?
        }
        (None, None, None) => return Err(Failure::environment("name an experiment file")),
    };
    if across.is_none() && job.simulated.is_none() {
        refuse_reboots(&job.experiment, common)?;
    }
    job.across = across;
    sit(job, args.dead_man.watch(), args.html.as_deref())
}

/// A sitting that begins with a new run, on this machine or on a model.
pub(super) fn begin<'j>(
    common: &'j Common,
    experiment: Experiment,
    first: Leg,
    seed: Option<u64>,
    model: Option<&PathBuf>,
) -> Result<Job<'j>, Failure> {
    let (experiment, seed, simulated) = match model {
        Some(model) => simulate::begin(model, &experiment, seed)?.parts(),
        None => (experiment, seed, None),
    };
    if simulated.is_none() {
        require_host(&experiment)?;
    }
    Ok(Job {
        experiment,
        seed,
        first,
        ahead: Ahead::AsDesigned,
        simulated,
        across: None,
        store: Store::open(&common.results)?,
        common,
    })
}

fn resume<'j>(
    common: &'j Common,
    wanted: &str,
    given: Option<&Experiment>,
    across: Option<&Across>,
) -> Result<Job<'j>, Failure> {
    let store = Store::open_existing(&common.results)?;
    let waiting = across.and_then(Across::run);
    let run = match (wanted, waiting) {
        ("", None) => newest_to_go_on(&store)?,
        ("", Some(run)) => Some(run),
        (wanted, _) => Some(store.find(wanted)?),
    };
    if let (Some(run), Some(waiting)) = (run, waiting)
        && run != waiting
    {
        return Err(Failure::environment(format!(
            "this boot was made for run {}: leave the run out, or end that one with `kvmtune recover`",
            waiting.short()
        )));
    }
    let run = run.ok_or_else(|| Failure::environment("no run is unfinished; `kvmtune runs` lists all"))?;
    let header = store.header(run)?;
    let known = known(&store, &header, given)?;
    if !store.runs()?.iter().any(|r| r.run == run && r.is_over()) {
        return go_on(common, known, header, false);
    }
    let Some(first) = following(&store, &known.experiment, run, Ahead::AsDesigned)? else {
        return Err(Failure::environment(format!(
            "run {} cannot be resumed: it is finished; start a new run, or add blocks with `--continue`",
            run.short()
        )));
    };
    // An order of its own, as in one sitting.
    sitting(common, known, first, header.plan.seed.wrapping_add(1))
}

/// The run goes on to the next registered look that gives at least so many blocks more.
fn add_blocks<'j>(
    common: &'j Common,
    wanted: &str,
    given: Option<&Experiment>,
    more: u32,
) -> Result<Job<'j>, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(wanted)?;
    let mut header = store.header(run)?;
    let known = known(&store, &header, given)?;
    let evaluation = crate::decision::evaluate(&header, &known.records)
        .map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", run.short())))?;
    let refuse =
        |why: String| Failure::environment(format!("run {} cannot have more blocks: {why}", run.short()));
    if let Some(later) = store.runs()?.iter().find(|r| follows(&r.purpose, &header)) {
        return Err(refuse(format!(
            "run {} went on from what it showed. Start a new run",
            later.run.short()
        )));
    }
    let all = &evaluation.comparisons;
    if !all.is_empty() && all.iter().all(|c| c.dropped.is_some()) {
        return Err(refuse("every candidate was dropped. Start a new run".into()));
    }
    let blocks = extension(evaluation.rule, evaluation.done, more).map_err(|e| refuse(e.to_string()))?;
    header.plan.shorten(evaluation.done);
    header.plan.extend(blocks);
    go_on(common, known, header, true)
}

/// What is known of a recorded run.
pub(super) struct Known {
    pub(super) experiment: Experiment,
    pub(super) simulated: Option<SimulatedHost>,
    pub(super) records: Vec<TrialRecord>,
}

/// The experiment of a recorded run as its files are now; fails when they have changed.
pub(super) fn known(store: &Store, header: &RunHeader, given: Option<&Experiment>) -> Result<Known, Failure> {
    let records = store.trials(header.run)?;
    let (mut experiment, simulated) = simulate::resume(store, files::recorded(header)?, header, &records)?;
    experiment.design.stopping = header.protocol.stopping;
    // Weights can be stated after the file was written, by `recommend`.
    if let (Some(weighed), None) = (header.protocol.weighed(), experiment.protocol().weighed()) {
        experiment.weigh(weighed.to_vec());
    }
    let same_file = given.is_none_or(|given| given.source.text == header.text);
    if !same_file || experiment.protocol() != header.protocol {
        let why = if same_file {
            "its workload files have changed since"
        } else {
            "the experiment file is another one now"
        };
        return Err(Failure::environment(format!(
            "run {} cannot go on: {why}; start a new run",
            header.run.short()
        )));
    }
    Ok(Known {
        experiment,
        simulated,
        records,
    })
}

/// The newest run of all, when one follows it that was never begun; else the newest unfinished one.
fn newest_to_go_on(store: &Store) -> Result<Option<RunId>, Failure> {
    if let Some(newest) = store.runs()?.last().filter(|newest| newest.is_over()) {
        let header = store.header(newest.run)?;
        // Its files may be gone or changed by now; then nothing can follow it.
        if let Ok(known) = known(store, &header, None)
            && following(store, &known.experiment, newest.run, Ahead::AsDesigned)?.is_some()
        {
            return Ok(Some(newest.run));
        }
    }
    Ok(store.resumable()?)
}

fn go_on(common: &Common, known: Known, header: RunHeader, to_the_end: bool) -> Result<Job<'_>, Failure> {
    let seed = header.plan.seed;
    let first = Leg::GoOn {
        header: Box::new(header),
        records: known.records.clone(),
        to_the_end,
    };
    sitting(common, known, first, seed)
}

fn sitting(common: &Common, known: Known, first: Leg, seed: u64) -> Result<Job<'_>, Failure> {
    if known.simulated.is_none() {
        require_host(&known.experiment)?;
    }
    Ok(Job {
        experiment: known.experiment,
        seed: Some(seed),
        first,
        ahead: Ahead::AsDesigned,
        simulated: known.simulated,
        across: None,
        store: Store::open(&common.results)?,
        common,
    })
}
