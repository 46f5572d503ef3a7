//! One change from old values to old values: nothing runs unless the new ones were read back.
//!
//! Knows settings and the order of safe steps; does not know what the body measures. Rollback never sits in
//! `Drop`: it must be able to fail aloud.

use super::ChangeError;
use super::journal::{Entry, Journal, Undo, WriteUndo};
use super::restore::{lost, restore};
use crate::host::{BesideJob, Host, HostError, Job, JobOutput, Power, Together};
use crate::tunable::{Activation, Address, Setting, SettingRole};
use serde::{Deserialize, Serialize};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;
use std::time::Duration;

/// Waits before each reading while a new value may still be settling (a page pool, libvirt's cgroups).
pub(super) const SETTLING: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(20),
    Duration::from_millis(60),
    Duration::from_millis(120),
];

/// What to set, and whether the guest is started with it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'s> {
    /// In the order they are written.
    pub settings: &'s [Setting],
    /// `DomainRestart`: set while the guest is off, started with it, stopped after it; such settings are places of
    /// the host and the domain XML. `Live`: set while it runs; it is started when it does not.
    pub activation: Activation,
}

impl Change<'_> {
    fn restarts(&self) -> bool {
        self.activation == Activation::DomainRestart
            || self.settings.iter().any(|s| s.address.needs_guest_off())
    }
}

/// Where a change stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Bringing the guest into the right state and reading old values: nothing was changed yet.
    Prepare,
    /// Writing the new values.
    Apply,
    /// Starting the guest with them.
    Start,
    /// Reading them back.
    Verify,
    /// Reading them back after the body.
    Recheck,
}

/// A setting that does not read as it was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drift {
    /// Where.
    pub address: Address,
    /// The canonical value that was set.
    pub wanted: String,
    /// What is selected instead, as it was read.
    pub found: String,
    /// Programs that run and are known to set such places.
    pub actors: Vec<String>,
}

/// How a change ended, with the host restored.
#[derive(Debug)]
pub enum Outcome<T> {
    /// Every setting was in effect before and after the body.
    Held(T),
    /// Written, but not in effect: the body did not run.
    NotInEffect(Vec<Drift>),
    /// In effect before the body, no longer after it: its result is of an unknown treatment.
    Drifted {
        /// What changed meanwhile.
        drifts: Vec<Drift>,
        /// What the body returned.
        value: T,
    },
    /// A step failed.
    Failed {
        /// Which step.
        stage: Stage,
        /// What failed and why.
        error: HostError,
        /// What the body returned, when it had run.
        value: Option<T>,
    },
}

impl<T> Outcome<T> {
    fn failed(stage: Stage, error: HostError) -> Self {
        Self::Failed {
            stage,
            error,
            value: None,
        }
    }
}

/// How long the steps took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Timings {
    /// From old values read to new ones written, with starting the guest.
    pub apply: Duration,
    /// Reading back, before and after the body.
    pub verify: Duration,
    /// Putting the old values back and reading them.
    pub restore: Duration,
}

/// A change that is over, its host restored.
#[derive(Debug)]
pub struct Done<T> {
    /// How it ended.
    pub outcome: Outcome<T>,
    /// How long it took.
    pub timings: Timings,
    /// True when the guest was lost meanwhile; it has been stopped, and the next change starts it afresh.
    pub guest_lost: bool,
}

/// Proof that the host holds the settings. Made only by [`with_treatment`]; the only way to run a workload.
pub struct Verified<'h> {
    host: &'h mut dyn Host,
    journal: &'h mut Journal,
    guest_lost: bool,
}

impl Verified<'_> {
    /// Runs a job under the settings.
    pub fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        let ran = self.host.run(job);
        self.guest_lost |= lost(&ran);
        ran
    }

    /// Runs jobs of the guest and of its neighbours together, under the settings.
    pub fn run_together(&mut self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let ran = self.host.run_together(job, beside);
        self.guest_lost |= lost(&ran);
        ran
    }

    /// Makes a further change within this one: live settings within a whole plot.
    pub fn nested<T>(
        &mut self,
        change: &Change<'_>,
        body: impl FnOnce(&mut Verified<'_>) -> T,
    ) -> Result<Done<T>, ChangeError> {
        let done = with_treatment(self.host, self.journal, change, body)?;
        self.guest_lost |= done.guest_lost;
        Ok(done)
    }

    /// Which of `settings` do not read as set now: those of an outer change, seen from within.
    pub fn drifts(&mut self, settings: &[Setting]) -> Result<Vec<Drift>, HostError> {
        drifts(self.host, settings, &SETTLING[..1])
    }

    /// The host, to be read.
    pub fn host(&mut self) -> &mut dyn Host {
        self.host
    }
}

/// Changes the host, proves the change, runs `body`, proves it again, and puts everything back.
///
/// The undo is on disk before the first write. A panic of `body` goes on once the host is restored.
///
/// # Errors
/// [`ChangeError::NotRestored`] when an old value does not read back, here or in a nested change: the journal
/// stays open and nothing more can be changed with it. Everything else a host can do wrong is an [`Outcome`].
pub fn with_treatment<T>(
    host: &mut dyn Host,
    journal: &mut Journal,
    change: &Change<'_>,
    body: impl FnOnce(&mut Verified<'_>) -> T,
) -> Result<Done<T>, ChangeError> {
    journal.require_clean()?;
    let mut timings = Timings::default();
    let clock = host.clock();
    let prepared = prepare(host, change);
    let entries = match &prepared {
        Ok(undos) => journal.append(undos.iter().cloned().map(Undo::Write).collect())?,
        Err(_) => Vec::new(),
    };
    let applied = prepared
        .map_err(|e| (Stage::Prepare, e))
        .and_then(|_| apply(host, change));
    timings.apply = host.since(clock);
    let (ended, guest_lost) = match applied {
        Ok(()) => run(host, journal, change, &mut timings, body),
        Err((stage, error)) => (Ok(Outcome::failed(stage, error)), false),
    };
    let guest_lost = guest_lost || matches!(&ended, Ok(Outcome::Failed { error, .. }) if error.guest_lost);
    let clock = host.clock();
    put_back(host, journal, &entries, guest_lost || change.restarts())?;
    timings.restore = host.since(clock);
    match ended {
        Ok(outcome) => Ok(Done {
            outcome,
            timings,
            guest_lost,
        }),
        Err(panic) => resume_unwind(panic),
    }
}

/// Brings the guest into the state in which the settings are written, and reads what they are now.
fn prepare(host: &mut dyn Host, change: &Change<'_>) -> Result<Vec<WriteUndo>, HostError> {
    host.power(if change.restarts() { Power::Off } else { Power::On })?;
    let mut undos = Vec::new();
    let mut loads_module = false;
    for (setting, raw) in change.settings.iter().zip(read_all(host, change.settings)) {
        let raw = match raw {
            // The place comes with a module that this change loads, and goes with it.
            Err(error) if loads_module && comes_with_module(host, setting, &error) => continue,
            other => other?,
        };
        let is_module = matches!(setting.address, Address::GuestModule(_));
        loads_module |= is_module && setting.canonical(&raw).as_ref() != Some(&setting.value);
        undos.push(WriteUndo {
            address: setting.address.clone(),
            kind: setting.kind.clone(),
            old: setting.address.selected(&raw).to_string(),
            scope: host.scope(&setting.address)?,
        });
    }
    Ok(undos)
}

/// True for a file that is not there yet; read once more, and alone, because what is taken for that is not undone.
fn comes_with_module(host: &mut dyn Host, setting: &Setting, error: &HostError) -> bool {
    let is_file = matches!(
        setting.address,
        Address::GuestFile { .. } | Address::HostFile { .. }
    );
    let is_missing = |error: &HostError| !error.guest_lost && error.cause.contains("No such file");
    is_file && is_missing(error) && host.read(&setting.address).is_err_and(|again| is_missing(&again))
}

fn read_all(host: &mut dyn Host, settings: &[Setting]) -> Vec<Result<String, HostError>> {
    let addresses: Vec<_> = settings.iter().map(|s| s.address.clone()).collect();
    host.read_all(&addresses)
}

fn apply(host: &mut dyn Host, change: &Change<'_>) -> Result<(), (Stage, HostError)> {
    let written = change.settings.iter().filter(|s| s.role != SettingRole::Follows);
    let writes: Vec<_> = written
        .map(|s| (s.address.clone(), s.value.to_string()))
        .collect();
    for done in host.write_all(&writes) {
        done.map_err(|e| (Stage::Apply, e))?;
    }
    host.power(Power::On).map_err(|e| (Stage::Start, e))
}

/// Verify, body, recheck; and whether the guest was lost in the body. A panic of the body is handed on.
fn run<T>(
    host: &mut dyn Host,
    journal: &mut Journal,
    change: &Change<'_>,
    timings: &mut Timings,
    body: impl FnOnce(&mut Verified<'_>) -> T,
) -> (thread::Result<Outcome<T>>, bool) {
    let clock = host.clock();
    let before = drifts(host, change.settings, &SETTLING);
    timings.verify = host.since(clock);
    match before {
        Ok(drifts) if drifts.is_empty() => {}
        Ok(drifts) => return (Ok(Outcome::NotInEffect(drifts)), false),
        Err(error) => return (Ok(Outcome::failed(Stage::Verify, error)), false),
    }
    let mut verified = Verified {
        host: &mut *host,
        journal,
        guest_lost: false,
    };
    let value = match catch_unwind(AssertUnwindSafe(|| body(&mut verified))) {
        Ok(value) => value,
        Err(panic) => return (Err(panic), verified.guest_lost),
    };
    // Without its guest there is nothing to read back; the body has its own error.
    if verified.guest_lost {
        return (Ok(Outcome::Held(value)), true);
    }
    let clock = host.clock();
    let after = drifts(host, change.settings, &SETTLING[..1]);
    timings.verify += host.since(clock);
    let outcome = match after {
        Ok(drifts) if drifts.is_empty() => Outcome::Held(value),
        Ok(drifts) => Outcome::Drifted { drifts, value },
        Err(error) => Outcome::Failed {
            stage: Stage::Recheck,
            error,
            value: Some(value),
        },
    };
    (Ok(outcome), false)
}

/// The settings that do not read as set, after the last of `waits`.
pub(super) fn drifts(
    host: &mut dyn Host,
    settings: &[Setting],
    waits: &[Duration],
) -> Result<Vec<Drift>, HostError> {
    let mut drifts = Vec::new();
    for wait in waits {
        if *wait > Duration::ZERO {
            host.pause(*wait);
        }
        drifts.clear();
        for (setting, raw) in settings.iter().zip(read_all(host, settings)) {
            let raw = raw?;
            if setting.canonical(&raw).as_ref() != Some(&setting.value) {
                drifts.push(Drift {
                    address: setting.address.clone(),
                    wanted: setting.value.to_string(),
                    found: setting.address.selected(&raw).to_string(),
                    actors: Vec::new(),
                });
            }
        }
        if drifts.is_empty() {
            break;
        }
    }
    for drift in &mut drifts {
        drift.actors = host.actors(&drift.address);
    }
    Ok(drifts)
}

/// Restores the entries and closes those that are back. Fails when anything is left, also by a nested change.
fn put_back(
    host: &mut dyn Host,
    journal: &mut Journal,
    entries: &[Entry],
    off: bool,
) -> Result<(), ChangeError> {
    let undos: Vec<_> = entries
        .iter()
        .filter_map(|entry| match &entry.undo {
            Undo::Write(undo) => Some((entry.seq, undo)),
            Undo::Session(_) | Undo::NextBoot(_) => None,
        })
        .collect();
    let left = restore(host, &undos, off);
    let mut done: Vec<u64> = undos.iter().map(|(seq, _)| *seq).collect();
    for (seq, why) in left {
        done.retain(|s| *s != seq);
        journal.leave(seq, why);
    }
    if let Err(e) = journal.close(done.clone()) {
        for seq in done {
            journal.leave(seq, "restored, but the journal could not be written".into());
        }
        return Err(e);
    }
    let entries = journal.left();
    if entries.is_empty() {
        Ok(())
    } else {
        Err(ChangeError::NotRestored { entries })
    }
}
