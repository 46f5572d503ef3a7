//! `kvmtune run --across-reboots`: what a sitting finds of the one before the reboot, and what it leaves for the next.

use super::exit::Code;
use super::failure::Failure;
use super::{Common, print_json, say};
use crate::across::{self, Arrival, BootPurpose, Departure, State, this_boot};
use crate::change::{HostLock, Journal, Keeper};
use crate::design::{Pace, Part, Plan};
use crate::event::{End, RunId};
use crate::experiment::Experiment;
use crate::facts::Facts;
use crate::host::{Boots, KernelHost, NextBoot, reboot_now};
use crate::report::duration;
use crate::runner::ThisBoot;
use crate::session::HOST_LOCK;
use crate::simulation::Machine;
use crate::store::Store;
use crate::tunable::{Address, BootEdit};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Options of a run across reboots.
#[derive(Debug, clap::Args)]
pub(super) struct AcrossOptions {
    /// Go on over reboots of the host, for tunables that need one: measure what this boot is for, arrange for the next one,
    /// end with code 8; after the reboot `--across-reboots --resume` goes on
    #[arg(long, conflicts_with_all = ["simulate", "go_on"])]
    across_reboots: bool,
    /// Where the next boot's command line is arranged for: `print` tells it, `grub` writes a drop-in of GRUB's configuration,
    /// anything else is a file that the whole line is written to
    #[arg(long, value_name = "print|grub|FILE", requires = "across_reboots", conflicts_with_all = ["simulate", "go_on"], value_parser = place)]
    next_boot: Option<NextBoot>,
    /// Reboot the host at the end, when the next boot is arranged for
    #[arg(long, requires = "across_reboots", conflicts_with_all = ["simulate", "go_on"])]
    reboot: bool,
}

fn place(text: &str) -> Result<NextBoot, String> {
    match text {
        "print" => Ok(NextBoot::Print),
        "grub" => Ok(NextBoot::Grub),
        "" => Err("name a file".into()),
        path => {
            let path = std::path::absolute(path).map_err(|e| e.to_string())?;
            // It stands in a file of JSON, and in messages.
            match path.to_str() {
                Some(text) if !text.chars().any(char::is_control) => Ok(NextBoot::File(path)),
                _ => Err("a path of plain text is needed".into()),
            }
        }
    }
}

/// Where this sitting arranges for its boots: where the journal has noted it, also when a recovery took the rest away.
fn place_of(noted: Option<NextBoot>, asked: Option<&NextBoot>) -> Result<NextBoot, String> {
    match (noted, asked) {
        (Some(noted), Some(asked)) if noted != *asked => Err(format!(
            "the next boot is arranged for {noted}, as the journal has noted; leave --next-boot out, or let `kvmtune recover` \
             end that first"
        )),
        (Some(noted), _) => Ok(noted),
        (None, asked) => Ok(asked.cloned().unwrap_or(NextBoot::Print)),
    }
}

/// A run across reboots, in one of its sittings.
#[derive(Debug)]
pub(super) struct Across {
    /// What an earlier sitting left.
    state: Option<State>,
    place: NextBoot,
    reboot: bool,
    /// The host's own command line, where an earlier boot noted it.
    own_line: Option<String>,
    began: Instant,
}

/// What a sitting across reboots begins with.
pub(super) enum Begin {
    /// This boot is of no run yet, or was made for one.
    Sitting(Box<Across>),
    /// There is nothing to be measured; it was told why.
    Nothing(Code),
}

impl AcrossOptions {
    pub(super) fn is_asked(&self) -> bool {
        self.across_reboots
    }

    /// Looks at what an earlier sitting left. `resumes` when a run is to go on.
    pub(super) fn begin(&self, common: &Common, resumes: bool) -> Result<Begin, Failure> {
        let (arrival, note) = in_journal(&common.state, |boots, journal| {
            let arrival = across::arrive(boots, journal, &common.state)?;
            let note = journal.next_boot().map(|(_, note)| note.clone());
            Ok((arrival, note))
        })?;
        let (own_line, noted) = note.map(|note| (note.line, note.place)).unzip();
        let state = match arrival {
            Arrival::Fresh => None,
            Arrival::Over(state) => {
                say(&format!(
                    "the host has its own command line back; `kvmtune report {}` tells what the run showed",
                    state.run.short()
                ));
                if resumes {
                    return Ok(Begin::Nothing(Code::Done));
                }
                None
            }
            Arrival::StillChanged(state, why) => {
                say(&format!("run {} is over, and {why}", state.run.short()));
                return Ok(Begin::Nothing(Code::AwaitsReboot));
            }
            Arrival::NotRebooted(state) => {
                say("the host was not rebooted since");
                tell(common, &state, own_line.as_deref())?;
                return Ok(Begin::Nothing(Code::AwaitsReboot));
            }
            Arrival::Booted(state) => Some(state),
        };
        if let Some(state) = &state {
            if !resumes {
                return Err(Failure::environment(format!(
                    "run {} is under way across reboots: go on with `kvmtune run --across-reboots --resume`, or give the \
                     host its own command line back with `kvmtune recover`",
                    state.run.short()
                )));
            }
            let results = std::path::absolute(&common.results).unwrap_or_else(|_| common.results.clone());
            if results != state.results {
                return Err(Failure::environment(format!(
                    "run {} is in another folder: add --results {}",
                    state.run.short(),
                    state.results.display()
                )));
            }
        }
        let place = place_of(noted, self.next_boot.as_ref()).map_err(environment)?;
        if let Some((what, mend)) = place.lack() {
            return Err(Failure::environment(format!("missing: {what}; {mend}")));
        }
        if self.reboot && place == NextBoot::Print {
            return Err(Failure::environment(
                "--reboot would boot the host as it is: add --next-boot grub or --next-boot FILE",
            ));
        }
        Ok(Begin::Sitting(Box::new(Across {
            state,
            place,
            reboot: self.reboot,
            own_line,
            began: Instant::now(),
        })))
    }
}

/// Does something with the journal and the kernel, while nobody else may.
fn in_journal<T>(
    dir: &Path,
    work: impl FnOnce(&mut dyn Boots, &mut Journal) -> Result<T, across::AcrossError>,
) -> Result<T, Failure> {
    let mut journal = Journal::open(dir)?;
    let _lock = HostLock::take(Path::new(HOST_LOCK), Keeper::Verb)?;
    Ok(work(&mut KernelHost, &mut journal)?)
}

impl Across {
    /// The run that waited for this boot.
    pub(super) fn run(&self) -> Option<RunId> {
        self.state.as_ref().map(|state| state.run)
    }

    /// What this boot was made for, for `run`.
    pub(super) fn boot_of(&self, run: RunId) -> ThisBoot {
        this_boot(self.state.as_ref(), run)
    }

    /// Time that earlier sittings used of the run's budget.
    pub(super) fn spent(&self, run: RunId) -> Duration {
        let state = self.state.as_ref().filter(|state| state.run == run);
        state.map_or(Duration::ZERO, State::time_spent)
    }

    /// What is set when the run starts is what the host's own command line says, whatever this boot was made for.
    pub(super) fn correct(&self, experiment: &Experiment, facts: &mut Facts) {
        if let Some(line) = &self.own_line {
            put_readings(experiment, line, facts);
        }
    }

    /// What is left to be done when a sitting fails.
    pub(super) fn tell_of_failure(&self) {
        if self.own_line.is_some() {
            say(
                "the next boot has the host's own command line, and this one may not: `kvmtune run --across-reboots --resume` \
                 tries again, `kvmtune recover` ends it",
            );
        }
    }

    /// After the host was given back: arranges for what comes next, and tells it.
    pub(super) fn leave(
        self,
        common: &Common,
        store: &Store,
        experiment: &Experiment,
        last: Option<(RunId, End)>,
    ) -> Result<Option<Code>, Failure> {
        let Some((run, end)) = last else { return Ok(None) };
        let used = self.began.elapsed();
        let results = std::path::absolute(&common.results).unwrap_or_else(|_| common.results.clone());
        let mut state = match self.state {
            Some(state) if state.run == run => state,
            Some(state) => state.followed_by(run),
            None => State::new(run, results, self.place),
        };
        state.spent += used.as_secs();
        match end {
            End::AwaitsReboot { next } => {
                state.spent += experiment.reboot.0.as_secs();
                let plan = store.header(run)?.plan;
                let dir = &common.state;
                let (state, line) = in_journal(dir, |boots, journal| {
                    let state = across::depart(boots, journal, dir, state, &plan, next)?;
                    let line = journal.next_boot().map(|(_, note)| note.line.clone());
                    Ok((state, line))
                })?;
                say(&format!("reboot {} of about {}", state.reboots, plan.reboots()));
                tell(common, &state, line.as_deref())?;
                self.reboot.then(reboot_now).transpose().map_err(environment)?;
                Ok(Some(Code::AwaitsReboot))
            }
            End::Interrupted => {
                across::keep(&common.state, &state).map_err(environment)?;
                if self.own_line.is_some() {
                    say(
                        "the next boot has the host's own command line, and this one has not: `kvmtune run --across-reboots \
                         --resume` goes on, `kvmtune recover` ends it",
                    );
                }
                Ok(None)
            }
            _ => {
                let dir = &common.state;
                let left = in_journal(dir, |boots, journal| {
                    across::give_back(boots, journal, dir, &state)
                })?;
                let Departure::OneMoreBoot(why) = left else {
                    return Ok(None);
                };
                say(&format!(
                    "one more reboot gives the host its own command line back: {why}"
                ));
                say("`kvmtune run --across-reboots --resume` then sees that it has it");
                self.reboot.then(reboot_now).transpose().map_err(environment)?;
                Ok(Some(Code::AwaitsReboot))
            }
        }
    }
}

fn environment(error: impl std::fmt::Display) -> Failure {
    Failure::environment(error.to_string())
}

fn put_readings(experiment: &Experiment, line: &str, facts: &mut Facts) {
    for factor in &experiment.factors {
        if let Ok(address @ Address::HostBoot(_)) = factor.tunable.address(facts)
            && let Address::HostBoot(parameter) = &address
        {
            facts
                .readings
                .insert(address.to_string(), parameter.value_in(line));
        }
    }
}

/// What the next boot must have, and how to go on after it.
fn tell(common: &Common, state: &State, own_line: Option<&str>) -> Result<(), Failure> {
    let BootPurpose::Measure { edits, .. } = &state.purpose else {
        return Ok(());
    };
    let told: Vec<String> = edits.iter().map(BootEdit::told).collect();
    let line = own_line.map(|line| crate::tunable::edited(line, edits));
    if common.json {
        return print_json(&serde_json::json!({
            "schema": "kvmtune-next-boot-1",
            "run": state.run,
            "reboots": state.reboots,
            "next-boot": state.next_boot,
            "parameters": told,
            "line": line,
        }));
    }
    match &state.next_boot {
        NextBoot::Print => {
            say(&format!("boot the host once with {}", told.join(", ")));
            if let Some(line) = line {
                say(&format!("  the whole line: {line}"));
            }
        }
        place => say(&format!(
            "reboot the host: {} is arranged for {place}",
            told.join(", ")
        )),
    }
    let folder = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    say(&format!(
        "then, in {}: kvmtune run --across-reboots --resume --results {} --state {}",
        folder.display(),
        state.results.display(),
        std::path::absolute(&common.state)
            .unwrap_or_else(|_| common.state.clone())
            .display(),
    ));
    Ok(())
}

/// Fails when a run of `experiment` needs reboots and may make none; nothing was touched then.
pub(super) fn refuse_reboots(experiment: &Experiment, common: &Common) -> Result<(), Failure> {
    let mut names = experiment
        .factors
        .iter()
        .filter(|f| f.tunable.needs_host_reboot())
        .map(|f| f.tunable.name.as_str())
        .peekable();
    if names.peek().is_none() {
        return Ok(());
    }
    let names = names.collect::<Vec<_>>().join(", ");
    let needs = match reboots(experiment) {
        0 => "reboots".to_string(),
        n => format!(
            "{n} reboots (about {} each, {} in all)",
            duration(experiment.reboot.0),
            duration(experiment.reboot.0.saturating_mul(n))
        ),
    };
    Err(Failure::environment(format!(
        "{names}: in force only after a boot of the host, and this needs up to {needs}. Nothing was touched.\n  run it with \
         `kvmtune run --across-reboots {}`: it measures what this boot fits, arranges for the next one, ends with code 8, and \
         goes on after the reboot with `--across-reboots --resume`\n  the next boot is told, or written: --next-boot grub to \
         GRUB's drop-ins in /etc/default/grub.d, --next-boot FILE to a file of yours; --reboot also reboots\n  it is \
         journaled in {} beforehand; the host's own command line comes back at the end, or with `kvmtune recover`",
        experiment.source.name,
        common.state.display(),
    )))
}

/// How often the whole experiment boots the host, as far as can be told without looking at it.
fn reboots(experiment: &Experiment) -> u32 {
    let mut facts = Machine::of(experiment).facts;
    let line = KernelHost.command_line().unwrap_or_default();
    put_readings(experiment, &line, &mut facts);
    let pace = Pace {
        boot: Duration::ZERO,
        overhead: Duration::ZERO,
    };
    let plan = Plan::new(experiment, &facts, Part::Whole, pace, 0);
    plan.map_or(0, |plan| u32::try_from(plan.reboots()).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_is_that_of_the_note() {
        let of = |noted: Option<&NextBoot>, asked| place_of(noted.cloned(), asked);
        let (grub, print) = (NextBoot::Grub, NextBoot::Print);
        assert_eq!(of(Some(&grub), None), Ok(NextBoot::Grub));
        assert_eq!(of(Some(&grub), Some(&grub)), Ok(NextBoot::Grub));
        assert!(of(Some(&grub), Some(&print)).is_err_and(|e| e.contains("leave --next-boot out")));
        assert_eq!(of(None, Some(&grub)), Ok(NextBoot::Grub));
        assert_eq!(of(None, None), Ok(NextBoot::Print));
    }
}
