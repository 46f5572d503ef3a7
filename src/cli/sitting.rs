//! One sitting: a session opened, one run after the other in it, and the host given back.
//!
//! The host is driven by one thread of its own (the lab's network belongs to it); tokio listens to signals and hands
//! events to the progress report meanwhile.

use super::across::Across;
use super::exit::Code;
use super::failure::Failure;
use super::leg::{Leg, Planned, follows, next};
use super::plan::{Looked, look_around};
use super::recommend::next_leg;
use super::results::conclude;
use super::watchman::open_host;
use super::{Common, say};
use crate::change::ChangeError;
use crate::event::{End, Event, Purpose, RunId};
use crate::experiment::Experiment;
use crate::host::{AnyHost, Cancel, Host, SimulatedHost};
use crate::report::Progress;
use crate::runner::{self, RunError, Task, ThisBoot};
use crate::session::{Session, Watch};
use crate::store::Store;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How far a sitting goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ahead {
    /// To the runs that the experiment asks for; each is reported at the end.
    AsDesigned,
    /// To the end of the protocol: confirmed, taken apart, confirmed again. What it comes to is told by the caller.
    ToTheEnd {
        /// Blocks of the runs that follow, where they were asked for.
        blocks: Option<u32>,
    },
}

/// What a sitting begins with.
pub(super) struct Job<'j> {
    pub(super) experiment: Experiment,
    /// The seed that was asked for, or that of the run that goes on.
    pub(super) seed: Option<u64>,
    /// The first run; others follow from what it shows.
    pub(super) first: Leg,
    /// Which others.
    pub(super) ahead: Ahead,
    /// The host of a simulation, until its session is opened.
    pub(super) simulated: Option<SimulatedHost>,
    /// How the host is booted between trials, when it may be.
    pub(super) across: Option<Box<Across>>,
    pub(super) store: Store,
    pub(super) common: &'j Common,
}

/// Sits to the end, and tells what every run showed; the page of the last one goes to `html`.
pub(super) fn sit(mut job: Job<'_>, watch: Watch, html: Option<&Path>) -> Result<Code, Failure> {
    let common = job.common;
    if let Some(folder) = html.and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        return Err(Failure::environment(format!(
            "there is no folder {} for the HTML report; nothing was run",
            folder.display()
        )));
    }
    let cancel = Cancel::default();
    let (events, heard) = unbounded_channel();
    let progress = Progress::new(common.screen(), job.first.header());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::environment(format!("cannot start the runtime: {e}")))?;
    let ended = thread::scope(|scope| {
        let worker = scope.spawn(|| work(&mut job, watch, &cancel, &events));
        runtime.block_on(listen(heard, progress, cancel.clone(), || worker.is_finished()));
        worker.join()
    });
    let ended = ended.unwrap_or_else(|_| {
        Err(Failure::NotRestored(
            "kvmtune has a bug and stopped; run `kvmtune recover`".into(),
        ))
    });
    if let (Err(_), Some(across)) = (&ended, &job.across) {
        across.tell_of_failure();
    }
    let runs = ended?;
    let mut ids: Vec<RunId> = runs.iter().map(|(run, _)| *run).collect();
    ids.dedup();
    let last = runs.last().copied();
    if let Some((_, End::AwaitsReboot { .. })) = last {
        // What is half measured is not judged at every boot.
        ids.pop();
    }
    let concluded = if ids.is_empty() {
        Ok(())
    } else {
        conclude(common, &job.store, &ids, html, job.ahead == Ahead::AsDesigned)
    };
    // Whatever can be said of the numbers, the host gets its command line.
    let across = job.across.take();
    let left = across.map(|across| across.leave(common, &job.store, &job.experiment, last));
    let left = left.transpose()?.flatten();
    concluded?;
    if let Some(code) = left {
        return Ok(code);
    }
    Ok(match runs.last().map(|(_, end)| *end) {
        None | Some(End::Complete | End::Answered { .. } | End::TimeBudget) => Code::Done,
        Some(End::Interrupted) => Code::Interrupted,
        Some(End::Failing) => Code::TrialsFailed,
        Some(End::NotRestored) => Code::NotRestored,
        Some(End::AwaitsReboot { .. }) => Code::AwaitsReboot,
    })
}

/// Everything that happens on the host's thread.
fn work(
    job: &mut Job<'_>,
    watch: Watch,
    cancel: &Cancel,
    events: &UnboundedSender<Event>,
) -> Result<Vec<(RunId, End)>, Failure> {
    let mut session = if let Some(host) = job.simulated.take() {
        Session::simulate(host)?
    } else {
        let guest = &job.experiment.guest;
        open_host(job.common, guest, job.across.is_some(), watch, cancel.clone())?
    };
    let mut looked = look_around(&mut session, &job.experiment);
    if let (Some(across), Ok(looked)) = (&job.across, &mut looked) {
        across.correct(&job.experiment, &mut looked.facts);
    }
    let ran = looked
        .map_err(RunFailure::Other)
        .and_then(|looked| legs(job, &mut session, &looked, cancel, events));
    match ran {
        Ok(runs) => {
            session.close().map_err(Failure::not_given_back)?;
            Ok(runs)
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

/// The first run, and each that follows from the one before it.
fn legs(
    job: &mut Job<'_>,
    session: &mut Session,
    looked: &Looked,
    cancel: &Cancel,
    events: &UnboundedSender<Event>,
) -> Result<Vec<(RunId, End)>, RunFailure> {
    let mut runs = Vec::new();
    let mut leg = Some(job.first.clone());
    let mut simulated_boot = None;
    while let Some(this) = leg {
        let planned = this.plan(&job.experiment, looked, job.seed, Some(&job.store))?;
        // Each run has an order of its own, and one number repeats them all: a winner is not to be confirmed in the very
        // order it was chosen in.
        job.seed = Some(planned.header.plan.seed.wrapping_add(1));
        let id = planned.header.run;
        let boot = match (&job.across, simulated_boot.take()) {
            (_, Some(boot)) => boot,
            (Some(across), None) => (across.boot_of(id), across.spent(id)),
            (None, None) => (ThisBoot::default(), Duration::ZERO),
        };
        let clock = session.host.clock();
        let (run, end) = measure(&mut job.store, session, &planned, boot, cancel, events)?;
        runs.push((run, end));
        leg = match end {
            End::AwaitsReboot { next } => match &mut session.host {
                AnyHost::Simulated(host) => {
                    let settings = planned.header.plan.boot_settings_at(next);
                    host.reboot(settings, job.experiment.reboot.0);
                    let made = ThisBoot::Made {
                        at: next,
                        attempts: 1,
                    };
                    simulated_boot = Some((made, boot.1 + host.since(clock)));
                    Some(Leg::GoOn {
                        records: job.store.trials(run).map_err(Failure::from)?,
                        header: Box::new(planned.header),
                        to_the_end: planned.to_the_end,
                    })
                }
                _ => None,
            },
            End::Complete | End::Answered { .. } | End::TimeBudget => {
                following(&job.store, &job.experiment, run, job.ahead)?
            }
            _ => None,
        };
    }
    Ok(runs)
}

/// The run that follows one that is over, unless it was begun.
pub(super) fn following(
    store: &Store,
    experiment: &Experiment,
    run: RunId,
    ahead: Ahead,
) -> Result<Option<Leg>, Failure> {
    if let Ahead::ToTheEnd { blocks } = ahead {
        return next_leg(store, experiment, run, blocks);
    }
    let header = store.header(run)?;
    if store.runs()?.iter().any(|r| follows(&r.purpose, &header)) {
        return Ok(None);
    }
    match header.purpose {
        // Only who wants the protocol to its end takes a winner apart.
        Purpose::Ablate { .. } => next_leg(store, experiment, run, None),
        _ => next(experiment, &header, &store.trials(run)?),
    }
}

fn measure(
    store: &mut Store,
    session: &mut Session,
    planned: &Planned,
    (boot, spent): (ThisBoot, Duration),
    cancel: &Cancel,
    events: &UnboundedSender<Event>,
) -> Result<(RunId, End), RunFailure> {
    let run = planned.header.run;
    let mut sink = |event: &Event| {
        store.record(event)?;
        // Nobody listens any more only when the whole run is given up.
        let _ = events.send(event.clone());
        Ok(())
    };
    let start = |e: Box<dyn std::error::Error + Send + Sync>| Failure::environment(e.to_string());
    sink(&planned.first_event()).map_err(start)?;
    for text in &planned.header.plan.notices {
        sink(&Event::Notice { text: text.clone() }).map_err(start)?;
    }
    let places = session.places();
    let task = Task {
        header: &planned.header,
        places: &places,
        records: planned.records.clone(),
        to_the_end: planned.to_the_end,
        boot,
        spent,
        cancel,
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
        Err(error) => Err(Failure::environment(error.to_string()).into()),
    }
}

/// A setting does not come back, or the journal cannot be written.
fn rescue(session: Session, error: &ChangeError) -> Result<Vec<(RunId, End)>, Failure> {
    say(&format!("error: {error}"));
    let report = session.rescue().map_err(Failure::not_given_back)?;
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
