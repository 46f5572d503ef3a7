//! `kvmtune run`: a plan to its end.
//!
//! The host is driven by one thread of its own (the lab's network belongs to it); tokio listens to signals and hands
//! events to the progress report meanwhile.

use super::exit::Code;
use super::failure::Failure;
use super::plan::{Planned, prepare, require_host};
use super::results::conclude;
use super::{Common, files, say, simulate};
use crate::change::ChangeError;
use crate::design::Plan;
use crate::event::{End, Event, RunHeader, RunId};
use crate::experiment::Experiment;
use crate::facts::{SIMULATED, SIMULATED_MODEL};
use crate::host::{Cancel, Host, Power, SimulatedHost};
use crate::report::Progress;
use crate::runner::{self, RunError, Task};
use crate::session::{Session, recover_journal};
use crate::store::Store;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The experiment
    #[arg(required_unless_present = "resume")]
    file: Option<PathBuf>,
    /// Seed of the order; drawn when neither this nor the file gives one
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
    /// Go on with an unfinished run: the newest one, or the one named
    #[arg(long, value_name = "RUN", num_args = 0..=1, default_missing_value = "")]
    resume: Option<String>,
    /// Run on a machine that this model describes, in seconds; nothing on this one is touched
    #[arg(long, value_name = "MODEL", conflicts_with = "resume")]
    simulate: Option<PathBuf>,
    /// Where the HTML report is written; by default beside the results
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What a new or resumed run begins with.
struct Job<'j> {
    experiment: Experiment,
    seed: Option<u64>,
    resumed: Option<RunHeader>,
    /// The host of a simulation, until its session is opened.
    simulated: Option<SimulatedHost>,
    store: Store,
    common: &'j Common,
    cancel: Cancel,
}

pub(super) fn run(common: &Common, args: &Args) -> Result<Code, Failure> {
    let mut job = begin(common, args)?;
    let cancel = job.cancel.clone();
    let (events, heard) = unbounded_channel();
    let progress = Progress::new(common.screen(), job.resumed.as_ref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::environment(format!("cannot start the runtime: {e}")))?;
    let ended = thread::scope(|scope| {
        let worker = scope.spawn(|| work(&mut job, &events));
        runtime.block_on(listen(heard, progress, cancel, || worker.is_finished()));
        worker.join()
    });
    let ended = ended.unwrap_or_else(|_| {
        Err(Failure::NotRestored(
            "kvmtune has a bug and stopped; run `kvmtune recover`".into(),
        ))
    });
    let (run, end) = ended?;
    conclude(common, &job.store, run, args.html.as_deref())?;
    Ok(match end {
        End::Complete | End::TimeBudget => Code::Done,
        End::Interrupted => Code::Interrupted,
        End::Failing => Code::TrialsFailed,
        End::NotRestored => Code::NotRestored,
    })
}

fn begin<'j>(common: &'j Common, args: &Args) -> Result<Job<'j>, Failure> {
    let cancel = Cancel::default();
    let given = args.file.as_deref().map(files::experiment).transpose()?;
    let Some(wanted) = &args.resume else {
        let experiment = given.ok_or_else(|| Failure::environment("name an experiment file"))?;
        let (experiment, seed, simulated) = match &args.simulate {
            Some(model) => simulate::begin(model, &experiment, args.seed)?.parts(),
            None => (experiment, args.seed, None),
        };
        if simulated.is_none() {
            require_host(&experiment)?;
        }
        let store = Store::open(&common.results)?;
        return Ok(Job {
            experiment,
            seed,
            resumed: None,
            simulated,
            store,
            common,
            cancel,
        });
    };
    let store = Store::open_existing(&common.results)?;
    let run = if wanted.is_empty() {
        store.resumable()?
    } else {
        Some(store.find(wanted)?)
    };
    let run = run.ok_or_else(|| Failure::environment("no run is unfinished; `kvmtune runs` lists all"))?;
    let header = store.header(run)?;
    let over = store.runs()?.iter().any(|r| r.run == run && r.is_over());
    let (experiment, simulated) = simulate::resume(files::recorded(&header)?, &header, &store.trials(run)?)?;
    let same_file = given.is_none_or(|given| given.source.text == header.text);
    let same_workloads = experiment.protocol() == header.protocol;
    if over || !same_file || !same_workloads {
        let why = match (over, same_file) {
            (true, _) => "it is finished",
            (_, false) => "the experiment file is another one now",
            _ => "its workload files have changed since",
        };
        return Err(Failure::environment(format!(
            "run {} cannot be resumed: {why}; start a new run",
            run.short()
        )));
    }
    if simulated.is_none() {
        require_host(&experiment)?;
    }
    let store = Store::open(&common.results)?;
    Ok(Job {
        experiment,
        seed: Some(header.plan.seed),
        resumed: Some(header),
        simulated,
        store,
        common,
        cancel,
    })
}

/// Everything that happens on the host's thread.
fn work(job: &mut Job<'_>, events: &UnboundedSender<Event>) -> Result<(RunId, End), Failure> {
    let mut session = match job.simulated.take() {
        Some(host) => Session::simulate(host)?,
        None => Session::open(&job.experiment.guest, &job.common.dirs(), job.cancel.clone())?,
    };
    let planned = match prepare(&mut session, &job.experiment, job.seed) {
        Ok(planned) => planned,
        Err(failure) => {
            session.close().map_err(Failure::not_given_back)?;
            return Err(failure);
        }
    };
    let ran = measure(job, &mut session, planned, events);
    match ran {
        Ok((run, end)) => {
            session.close().map_err(Failure::not_given_back)?;
            Ok((run, end))
        }
        Err(RunFailure::Change(error)) => rescue(session, &error),
        Err(RunFailure::Other(failure)) => {
            session.close().map_err(Failure::not_given_back)?;
            Err(failure)
        }
    }
}

enum RunFailure {
    Change(ChangeError),
    Other(Failure),
}

impl<F: Into<Failure>> From<F> for RunFailure {
    fn from(failure: F) -> Self {
        Self::Other(failure.into())
    }
}

fn measure(
    job: &mut Job<'_>,
    session: &mut Session,
    planned: Planned,
    events: &UnboundedSender<Event>,
) -> Result<(RunId, End), RunFailure> {
    let header = match &job.resumed {
        Some(header) => resumed(header, planned)?,
        None => new_header(&job.experiment, planned),
    };
    let run = header.run;
    let (done, boots) = if job.resumed.is_some() {
        let trials = job.store.trials(run).map_err(Failure::from)?;
        (
            job.store.done(run).map_err(Failure::from)?,
            trials.iter().map(|t| t.trial.boot).max().unwrap_or(0),
        )
    } else {
        (HashSet::new(), 0)
    };
    let (plan, protocol) = (header.plan.clone(), header.protocol.clone());
    let store = &mut job.store;
    let mut sink = |event: &Event| {
        store.record(event)?;
        // Nobody listens any more only when the whole run is given up.
        let _ = events.send(event.clone());
        Ok(())
    };
    let first = if job.resumed.is_some() {
        Event::RunResumed {
            run,
            done: u32::try_from(done.len()).unwrap_or(u32::MAX),
        }
    } else {
        Event::RunStarted {
            header: Box::new(header),
        }
    };
    let start = |e: Box<dyn std::error::Error + Send + Sync>| Failure::environment(e.to_string());
    sink(&first).map_err(start)?;
    for text in &plan.notices {
        sink(&Event::Notice { text: text.clone() }).map_err(start)?;
    }
    let places = session.places();
    let task = Task {
        protocol: &protocol,
        plan: &plan,
        places: &places,
        done: &done,
        boots,
        cancel: &job.cancel,
    };
    match runner::run(&mut session.host, &mut session.journal, &task, &mut sink) {
        Ok(end) => {
            sink(&Event::RunFinished { end }).map_err(start)?;
            Ok((run, end))
        }
        Err(RunError::Change(error)) => {
            let _ = sink(&Event::RunFinished {
                end: End::NotRestored,
            });
            Err(RunFailure::Change(error))
        }
        Err(RunError::Sink(error)) => Err(Failure::environment(error.to_string()).into()),
    }
}

fn new_header(experiment: &Experiment, planned: Planned) -> RunHeader {
    RunHeader {
        run: RunId(uuid::Uuid::now_v7()),
        started: jiff::Timestamp::now(),
        version: env!("CARGO_PKG_VERSION").into(),
        experiment: experiment.name.clone(),
        file: experiment.source.name.clone(),
        text: experiment.source.text.clone(),
        protocol: experiment.protocol(),
        plan: planned.plan,
        facts: planned.facts,
    }
}

/// The header of a run that goes on: its places may have moved (another loop device), its treatments and order may
/// not, and neither may the host be another one.
fn resumed(header: &RunHeader, planned: Planned) -> Result<RunHeader, Failure> {
    let ids = |plan: &Plan| plan.treatments.iter().map(|t| t.id.clone()).collect::<Vec<_>>();
    let same_plan = ids(&header.plan) == ids(&planned.plan) && header.plan.blocks == planned.plan.blocks;
    let differs = [
        SIMULATED,
        SIMULATED_MODEL,
        "host.cpu.model",
        "host.kernel",
        "guest.kernel",
        "qemu",
        "lab.acceleration",
    ]
    .into_iter()
    .find(|fact| header.facts.record.get(*fact) != planned.facts.record.get(*fact));
    let why = match (same_plan, differs) {
        (true, None) => {
            return Ok(RunHeader {
                plan: planned.plan,
                ..header.clone()
            });
        }
        (false, _) => "this host or guest offers other levels now".to_string(),
        (true, Some(fact)) => format!("{fact} is not what it was; results of unlike hosts are never pooled"),
    };
    Err(Failure::environment(format!(
        "run {} cannot be resumed: {why}; start a new run",
        header.run.short()
    )))
}

/// The last resort when a setting does not come back, or the journal cannot be written: stop the guest, then do what
/// `recover` does.
fn rescue(mut session: Session, error: &ChangeError) -> Result<(RunId, End), Failure> {
    say(&format!("error: {error}"));
    // Whether or not it stops, recovery looks for itself.
    let _ = session.host.power(Power::Off);
    let Session {
        host, mut journal, ..
    } = session;
    drop(host);
    let report = recover_journal(&mut journal)
        .map_err(|e| Failure::NotRestored(format!("{e}; run `kvmtune recover`")))?;
    for entry in &report.entries {
        say(&format!("  {entry}"));
    }
    if report.is_complete() {
        Err(Failure::environment(
            "the run was stopped by the error above; the host is as it was",
        ))
    } else {
        Err(Failure::NotRestored(error.to_string()))
    }
}

/// Hands events to the progress report and turns signals into the wish to stop, until the worker is done.
async fn listen(
    mut heard: UnboundedReceiver<Event>,
    mut progress: Progress,
    cancel: Cancel,
    is_finished: impl Fn() -> bool,
) {
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let [mut interrupt, mut terminate, mut hangup] = kinds.map(|kind| signal(kind).ok());
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    loop {
        tokio::select! {
            Some(event) = heard.recv() => progress.event(&event),
            () = arrives(&mut interrupt) => stop(&cancel),
            () = arrives(&mut terminate) => stop(&cancel),
            () = arrives(&mut hangup) => stop(&cancel),
            _ = tick.tick() => {
                if is_finished() {
                    break;
                }
                progress.tick();
            }
        }
    }
    while let Ok(event) = heard.try_recv() {
        progress.event(&event);
    }
    progress.finish();
}

async fn arrives(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn stop(cancel: &Cancel) {
    if !cancel.swap(true, Ordering::Relaxed) {
        say("stopping: the workload is ended and the host restored; what is measured is kept");
    }
}
