//! `kvmtune plan`, and planning on the real host, which `run` and `check` do too.

use super::exit::Code;
use super::failure::Failure;
use super::results::show_plan;
use super::{Common, files};
use crate::check::{definition_lacks, guest_lacks, host_lacks};
use crate::design::{Pace, Plan};
use crate::experiment::Experiment;
use crate::facts::Facts;
use crate::host::{Cancel, Host, Power};
use crate::session::Session;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// What one trial costs beside its workload, until it was measured: a few agent commands and the undo journal.
const TRIAL_OVERHEAD: Duration = Duration::from_millis(300);

/// Arguments of `plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The experiment
    file: PathBuf,
    /// Seed of the order; drawn when neither this nor the file gives one
    #[arg(long)]
    seed: Option<u64>,
}

/// An experiment planned on this host.
pub(super) struct Planned {
    pub(super) plan: Plan,
    pub(super) facts: Facts,
    pub(super) pace: Pace,
}

pub(super) fn plan(common: &Common, args: &Args) -> Result<Code, Failure> {
    let experiment = files::experiment(&args.file)?;
    require_host(&experiment)?;
    let planned = look(common, &experiment, args.seed)?;
    show_plan(common, &experiment, &planned)?;
    Ok(Code::Done)
}

/// Fails when the host lacks something that can be told without touching anything.
pub(super) fn require_host(experiment: &Experiment) -> Result<(), Failure> {
    let lacks = host_lacks(Some(experiment));
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(Failure::Lacks(lacks))
    }
}

/// Plans on the real host and guest, then gives them back: nothing is changed.
pub(super) fn look(common: &Common, experiment: &Experiment, seed: Option<u64>) -> Result<Planned, Failure> {
    let dirs = common.dirs();
    on_own_thread(move || {
        let mut session = Session::open(&experiment.guest, &dirs, Cancel::default())?;
        let planned = prepare(&mut session, experiment, seed);
        session.close().map_err(Failure::not_given_back)?;
        planned
    })
}

/// A thread of its own for the host: it may enter a network namespace for good.
fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| {
        Err(Failure::NotRestored(
            "kvmtune has a bug and stopped; run `kvmtune recover`".into(),
        ))
    })
}

/// Starts the guest, looks at it, and plans.
pub(super) fn prepare(
    session: &mut Session,
    experiment: &Experiment,
    seed: Option<u64>,
) -> Result<Planned, Failure> {
    let failed = |e: crate::host::HostError| Failure::environment(e.to_string());
    let clock = Instant::now();
    let places = session.places();
    let mut lacks = definition_lacks(experiment, &session.host, &places);
    if session.host.has_agent_channel() {
        session.host.power(Power::On).map_err(failed)?;
        lacks.extend(guest_lacks(experiment, &session.host, &places));
    }
    let boot = clock.elapsed();
    if !lacks.is_empty() {
        return Err(Failure::Lacks(lacks));
    }
    let mut facts = session.host.facts().map_err(failed)?;
    for factor in &experiment.factors {
        for address in factor.tunable.addresses_to_read(&facts) {
            if let Ok(raw) = session.host.read(&address) {
                facts.readings.insert(address.to_string(), raw);
            }
        }
    }
    let seed = seed.or(experiment.seed).unwrap_or_else(draw_seed);
    let plan = Plan::new(experiment, &facts, seed)?;
    Ok(Planned {
        plan,
        facts,
        pace: Pace {
            boot,
            overhead: TRIAL_OVERHEAD,
        },
    })
}

/// Six digits are easy to type again.
fn draw_seed() -> u64 {
    // The tail of a version 7 id is random.
    uuid::Uuid::now_v7().as_u64_pair().1 % 1_000_000
}
