//! `kvmtune plan`, and planning on the real host, which `run` and `check` do too.

use super::exit::Code;
use super::failure::Failure;
use super::leg::Leg;
use super::results::show_plan;
use super::watchman::open_host;
use super::{Common, files, simulate};
use crate::check::{Lack, definition_lacks, guest_lacks, host_lacks};
use crate::design::Pace;
use crate::experiment::{Experiment, Factor};
use crate::facts::{Facts, Meaning, NetworkFacts};
use crate::host::{AnyHost, Cancel, Host, HostError, Power};
use crate::session::{Session, SessionError, Watch};
use crate::store::Store;
use crate::tunable::{Address, Format, XmlSetting};
use crate::workload::{path_job, path_measured};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

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
    /// Plan for a machine that this model describes, not for this one
    #[arg(long, value_name = "MODEL")]
    simulate: Option<PathBuf>,
}

/// Host and guest of an experiment, as they were found.
pub(super) struct Looked {
    pub(super) facts: Facts,
    pub(super) pace: Pace,
}

pub(super) fn plan(common: &Common, args: &Args) -> Result<Code, Failure> {
    let experiment = files::experiment(&args.file)?;
    let (experiment, seed, looked) = if let Some(model) = &args.simulate {
        let begun = simulate::begin(model, &experiment, args.seed)?;
        let looked = look_into(|| Session::simulate(begun.host), &begun.experiment)?;
        (begun.experiment, Some(begun.seed), looked)
    } else {
        require_host(&experiment)?;
        let looked = look(common, &experiment)?;
        (experiment, args.seed, looked)
    };
    let first = Leg::first(&experiment);
    let header = match Store::open_existing(&common.results) {
        Ok(store) => first.plan(&experiment, &looked, seed, Some(&store))?.header,
        Err(_) => first.plan(&experiment, &looked, seed, None)?.header,
    };
    show_plan(common, &experiment, &header, looked.pace)?;
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
pub(super) fn look(common: &Common, experiment: &Experiment) -> Result<Looked, Failure> {
    look_into(
        || {
            open_host(
                common,
                &experiment.guest,
                false,
                Watch::default(),
                Cancel::default(),
            )
        },
        experiment,
    )
}

fn look_into(
    open: impl FnOnce() -> Result<Session, SessionError> + Send,
    experiment: &Experiment,
) -> Result<Looked, Failure> {
    on_own_thread(move || {
        let mut session = open()?;
        let looked = look_around(&mut session, experiment);
        session.close().map_err(Failure::not_given_back)?;
        looked
    })
}

/// A thread of its own for the host: it may enter a network namespace for good.
pub(super) fn on_own_thread<T: Send>(work: impl FnOnce() -> Result<T, Failure> + Send) -> Result<T, Failure> {
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| {
        Err(Failure::NotRestored(
            "kvmtune has a bug and stopped; run `kvmtune recover`".into(),
        ))
    })
}

/// Starts the guest and looks at it; fails when it or its host lacks something.
pub(super) fn look_around(session: &mut Session, experiment: &Experiment) -> Result<Looked, Failure> {
    let failed = |e: HostError| Failure::environment(e.to_string());
    let clock = session.host.clock();
    let lacks = wake(session, experiment).map_err(failed)?;
    let boot = session.host.since(clock);
    if !lacks.is_empty() {
        return Err(Failure::Lacks(lacks));
    }
    let mut facts = session.host.facts().map_err(failed)?;
    for factor in &experiment.factors {
        for address in factor.tunable.addresses_to_read(&facts) {
            if let Ok(raw) = session.host.read(&address) {
                facts.readings.insert(address.to_string(), raw);
            }
            if session.host.is_read_only(&address) {
                facts.read_only.insert(address.to_string());
            }
        }
    }
    facts.meanings = meanings(session, experiment, &facts);
    if experiment.factors.iter().any(Factor::needs_measured_network) {
        facts.network = network(session, &facts)?.or(facts.network);
    }
    Ok(Looked {
        facts,
        pace: Pace {
            boot,
            overhead: match &session.host {
                AnyHost::Local(_) | AnyHost::Bare(_) => TRIAL_OVERHEAD,
                AnyHost::Simulated(host) => host.overhead(),
            },
        },
    })
}

/// The network between host and guest, measured; nothing where there is none of kvmtune's own.
fn network(session: &mut Session, facts: &Facts) -> Result<Option<NetworkFacts>, Failure> {
    let Some(job) = path_job(&session.places()) else {
        return Ok(None);
    };
    let failed = |why: String| {
        Failure::environment(format!(
            "failed to measure the network between host and guest: {why}; levels written as a list need no measuring"
        ))
    };
    let out = session.host.run(&job).map_err(|e| failed(e.to_string()))?;
    let measured = path_measured(&out).map_err(|e| failed(e.to_string()))?;
    Ok(Some(NetworkFacts {
        bandwidth: measured.bandwidth,
        rtt: measured.rtt,
        link_speed: link_speed(session, facts),
    }))
}

/// In bit/s; virtual links say -1, or nothing.
fn link_speed(session: &mut Session, facts: &Facts) -> Option<u64> {
    let path = format!("/sys/class/net/{}/speed", facts.guest_link.as_ref()?);
    let format = Format::Plain;
    let megabits: u64 = session
        .host
        .read(&Address::GuestFile { path, format })
        .ok()?
        .trim()
        .parse()
        .ok()?;
    megabits.checked_mul(1_000_000).filter(|speed| *speed > 0)
}

/// What the host says the levels of domain XML mean: emulators before the machine types they know.
fn meanings(
    session: &mut Session,
    experiment: &Experiment,
    facts: &Facts,
) -> BTreeMap<String, BTreeMap<String, Meaning>> {
    let mut asked: Vec<_> = experiment
        .factors
        .iter()
        .filter_map(|factor| match factor.tunable.address(facts) {
            Ok(Address::DomainXml(setting)) => Some((setting, factor)),
            _ => None,
        })
        .collect();
    asked.sort_by_key(|(setting, _)| *setting != XmlSetting::Emulator);
    let mut meanings: BTreeMap<String, BTreeMap<String, Meaning>> = BTreeMap::new();
    for (setting, factor) in asked {
        let texts = factor
            .texts()
            .filter_map(|t| factor.tunable.kind.parse(&t.text).ok());
        for text in texts {
            if let Some(meaning) = session.host.meaning(&setting, text.as_str()) {
                let address = Address::DomainXml(setting.clone()).to_string();
                meanings
                    .entry(address)
                    .or_default()
                    .insert(text.to_string(), meaning);
            }
        }
    }
    meanings
}

/// Starts the guest, and tells what it lacks.
fn wake(session: &mut Session, experiment: &Experiment) -> Result<Vec<Lack>, HostError> {
    let places = session.places();
    let Some(host) = session.host.local() else {
        session.host.power(Power::On)?;
        return Ok(Vec::new());
    };
    let mut lacks = definition_lacks(experiment, host, &places);
    if host.has_way_in() {
        session.host.power(Power::On)?;
        let host = session.host.local();
        lacks.extend(
            host.iter()
                .flat_map(|host| guest_lacks(experiment, host, &places)),
        );
    }
    Ok(lacks)
}
