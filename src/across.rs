//! A run over several boots of the host: what is kept from one to the next, and how the last one is the host's own.
//!
//! Knows the journal's note of the host's command line and a file beside it; not what is measured. Two things are
//! changed, each before what depends on it: the note, then the file, then the next boot. What is arranged for holds for
//! one boot only: it is taken away as soon as that boot is seen, so that a host that falls over meanwhile comes up with
//! its own command line.

mod state;

pub use state::{BootPurpose, Schema, State, load, path};

use crate::change::{
    ChangeError, Fate, Journal, NextBootUndo, disarm_next_boot, end_next_boot, is_boot_original,
    note_next_boot, set_next_boot,
};
use crate::design::{BootAt, Plan};
use crate::event::RunId;
use crate::host::{Boots, HostError};
use crate::runner::ThisBoot;
use crate::tunable::{Address, BootEdit, BootParameter};
use std::io;
use std::path::{Path, PathBuf};

/// Why a run cannot go from one boot to the next.
#[derive(Debug, thiserror::Error)]
pub enum AcrossError {
    /// The state could not be read or written.
    #[error("failed to {doing} {}: {source}; see that its disk has space, or name another folder with --state", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The state makes no sense.
    #[error(
        "will not boot the host by {}: {why}; `kvmtune recover` removes it and gives the host its own command line back; \
         `kvmtune run --across-reboots --resume` then goes on from what is measured",
        path.display()
    )]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nothing else may be done meanwhile.
    #[error(
        "run {0} is under way across reboots: go on with `kvmtune run --across-reboots --resume`, or end it and give the \
         host its own command line back with `kvmtune recover`"
    )]
    Waits(String),
    /// The host would be booted for ever.
    #[error("the host was rebooted {0} times, which is more than the plan has: it will not be again")]
    TooOften(u32),
    /// The journal.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// What a session finds when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// No run waits for a boot.
    Fresh,
    /// One does, and the host was not booted since.
    NotRebooted(State),
    /// This is the boot it waited for.
    Booted(State),
    /// It had ended, and the host has its own command line back.
    Over(State),
    /// It had ended, and the host still has another command line, for these reasons.
    StillChanged(State, String),
}

/// How a run across reboots has left the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Departure {
    /// As it was.
    AsFound,
    /// As it was from the next boot on; what differs until then.
    OneMoreBoot(String),
}

/// Looks whether a run waits for this boot. Afterwards the boot after this one is the host's own again, also when the
/// state makes no sense.
pub fn arrive(boots: &mut dyn Boots, journal: &mut Journal, dir: &Path) -> Result<Arrival, AcrossError> {
    let arrived = look(boots, journal, dir);
    let is_here = |(_, note): (u64, &NextBootUndo)| note.machine == boots.machine();
    if matches!(arrived, Err(AcrossError::Wrong { .. })) && journal.next_boot().is_some_and(is_here) {
        disarm_next_boot(boots, journal)?;
    }
    arrived
}

fn look(boots: &mut dyn Boots, journal: &mut Journal, dir: &Path) -> Result<Arrival, AcrossError> {
    let Some(state) = load(dir)? else {
        journal.adopt_next_boot();
        disarm_next_boot(boots, journal)?;
        return Ok(Arrival::Fresh);
    };
    let wrong = |why: &str| AcrossError::Wrong {
        path: path(dir),
        why: why.into(),
    };
    if state.machine != boots.machine() {
        return Err(wrong("it was written on another machine"));
    }
    let Some((_, note)) = journal.next_boot() else {
        return Err(wrong("the journal knows nothing of the host's own command line"));
    };
    if note.place != state.next_boot {
        return Err(wrong("the journal has another place for the next boot"));
    }
    if state.boot == boots.boot_id()? && matches!(state.purpose, BootPurpose::Measure { .. }) {
        return Ok(Arrival::NotRebooted(state));
    }
    journal.adopt_next_boot();
    if state.purpose == BootPurpose::GiveBack {
        return Ok(match give_back(boots, journal, dir, &state)? {
            Departure::AsFound => Arrival::Over(state),
            Departure::OneMoreBoot(why) => Arrival::StillChanged(state, why),
        });
    }
    disarm_next_boot(boots, journal)?;
    Ok(Arrival::Booted(state))
}

/// What this boot was made for, as `run` needs to know it.
pub fn this_boot(state: Option<&State>, run: RunId) -> ThisBoot {
    match state {
        Some(state) if state.run == run => match state.purpose {
            BootPurpose::Measure { at, attempts, .. } => ThisBoot::Made { at, attempts },
            BootPurpose::GiveBack => ThisBoot::Found,
        },
        _ => ThisBoot::Found,
    }
}

/// Arranges for the boot `next` of the plan; the host is to be rebooted after that. Gives what was kept.
pub fn depart(
    boots: &mut dyn Boots,
    journal: &mut Journal,
    dir: &Path,
    before: State,
    plan: &Plan,
    next: BootAt,
) -> Result<State, AcrossError> {
    let earlier = match &before.purpose {
        BootPurpose::Measure { at, attempts, .. } if *at == next => *attempts,
        _ => 0,
    };
    // Each boot of the plan twice, and some by hand.
    let limit = u32::try_from(2 * plan.reboots() + 8).unwrap_or(u32::MAX);
    if before.reboots >= limit {
        return Err(AcrossError::TooOften(before.reboots));
    }
    let edits = BootEdit::of(plan.boot_settings_at(next));
    journal.adopt_next_boot();
    let note = note_next_boot(boots, journal, &before.next_boot, parameters(plan))?;
    let state = State {
        next_boot: note.place,
        machine: boots.machine(),
        boot: boots.boot_id()?,
        reboots: before.reboots + 1,
        purpose: BootPurpose::Measure {
            at: next,
            attempts: earlier + 1,
            edits: edits.clone(),
        },
        ..before
    };
    state::save(dir, &state)?;
    set_next_boot(boots, journal, &edits)?;
    Ok(state)
}

/// Ends a run: the host has its own command line, now or from the next boot on.
pub fn give_back(
    boots: &mut dyn Boots,
    journal: &mut Journal,
    dir: &Path,
    state: &State,
) -> Result<Departure, AcrossError> {
    if journal.next_boot().is_none() {
        state::remove(dir)?;
        return Ok(Departure::AsFound);
    }
    journal.adopt_next_boot();
    disarm_next_boot(boots, journal)?;
    if is_boot_original(boots, journal)? {
        // Without the file the note alone leads back; the file without the note would lead nowhere.
        state::remove(dir)?;
    } else {
        let state = State {
            machine: boots.machine(),
            boot: boots.boot_id()?,
            purpose: BootPurpose::GiveBack,
            ..state.clone()
        };
        state::save(dir, &state)?;
    }
    match end_next_boot(boots, journal)? {
        Fate::Restored | Fate::Gone => Ok(Departure::AsFound),
        Fate::Left(why) | Fate::Awaits(why) => Ok(Departure::OneMoreBoot(why)),
    }
}

/// Keeps how much time a run has used, when it is interrupted. Of a run without a boot of its own nothing is kept, as in
/// a first sitting: what is kept of the run before it would end that one again.
pub fn keep(dir: &Path, state: &State) -> Result<(), AcrossError> {
    match load(dir)? {
        Some(kept) if kept.run == state.run => state::save(dir, state),
        Some(_) => state::remove(dir),
        None => Ok(()),
    }
}

/// Closes a run that had ended, when the host has its own command line back: any later session sees it.
pub fn settle(boots: &mut dyn Boots, journal: &mut Journal, dir: &Path) -> Result<(), AcrossError> {
    if let Some(state) = load(dir)?.filter(|state| state.purpose != BootPurpose::GiveBack) {
        return Err(AcrossError::Waits(state.run.short()));
    }
    if journal.next_boot().is_some() && is_boot_original(boots, journal)? {
        state::remove(dir)?;
        end_next_boot(boots, journal)?;
    }
    Ok(())
}

/// Whether a run across reboots may go on from here.
pub fn is_under_way(dir: &Path) -> bool {
    path(dir).symlink_metadata().is_ok()
}

/// Removes the state, whatever is in it: what must be undone stands in the journal.
pub fn forget(dir: &Path) -> Result<(), AcrossError> {
    state::remove(dir)
}

/// The boot parameters that a plan changes.
fn parameters(plan: &Plan) -> Vec<BootParameter> {
    let mut found: Vec<BootParameter> = Vec::new();
    for setting in plan.treatments.iter().flat_map(|t| &t.boot) {
        if let Address::HostBoot(parameter) = &setting.address
            && !found.contains(parameter)
        {
            found.push(parameter.clone());
        }
    }
    found
}
