//! A run over many boots of a pretended host: every trial in the boot it was planned for, the host's own command line at
//! the end, and after a kill at any step.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::across::{self, AcrossError, Arrival, BootPurpose, State};
use kvmtune::change::*;
use kvmtune::design::{BootAt, WholePlot};
use kvmtune::event::{Outcome, RunHeader};
use kvmtune::host::fake::FakeHost;
use kvmtune::host::{Boots, Host, HostError, JobOutput, NextBoot, Scope};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

#[path = "../common/header.rs"]
mod header;
#[path = "../common/kill.rs"]
mod kill;
mod pretended;
mod sweep;

use pretended::*;

#[test]
fn every_trial_is_in_the_boot_that_was_planned_for_it() {
    let header = header();
    let dir = tempfile::tempdir().unwrap();
    let mut host = host(&header);
    let plan = &header.plan;
    assert_eq!((plan.treatments.len(), plan.blocks.len()), (8, 3));
    assert_eq!(plan.reboots(), 3 * 4 + 1);
    let (lines, seen) = std::sync::mpsc::channel();
    host.set_jobs(move |_, state| {
        let boot = state.boot.as_ref().unwrap();
        let live = state.host.values().next().cloned().unwrap();
        lines
            .send((boot.boots, boot.line.clone(), live, boot.next.clone()))
            .unwrap();
        Ok(JobOutput {
            result: Some(REPORT.to_vec()),
            ..JobOutput::default()
        })
    });
    let reboots = to_the_end(&mut host, dir.path(), &header);
    assert!((11..=13).contains(&reboots), "{reboots}");
    is_given_back(&host, dir.path(), "at the end");
    let measured = records(dir.path());
    assert!(
        measured
            .iter()
            .all(|r| matches!(r.outcome, Outcome::Measured { .. })),
        "{measured:#?}"
    );
    let planned: Vec<(u32, &WholePlot)> = plan
        .blocks
        .iter()
        .flat_map(|b| b.plots.iter().map(|p| (b.number, p)))
        .collect();
    let seen: Vec<_> = seen.try_iter().collect();
    let trials = planned
        .iter()
        .flat_map(|(block, plot)| plot.treatments.iter().map(move |t| (*block, plot.boot, *t)));
    let mut boots = std::collections::BTreeMap::new();
    for ((block, boot, treatment), (record, (number, line, live, next))) in
        trials.clone().zip(measured.iter().zip(&seen))
    {
        assert_eq!(record.trial.treatment, plan.treatments[treatment].id);
        assert_eq!(record.trial.block, block);
        for setting in &plan.treatments[treatment].boot {
            assert_eq!(host_value(&setting.address, line), setting.value.as_str());
        }
        assert_eq!(live, plan.treatments[treatment].live[0].value.as_str());
        assert!(
            next.as_deref().is_none_or(|next| next.trim() == OWN),
            "were it booted now, it had its own line"
        );
        boots.entry(*number).or_insert_with(Vec::new).push((block, boot));
    }
    assert_eq!(trials.count(), measured.len());
    for planned in boots.values_mut() {
        planned.dedup();
        assert_eq!(planned.len(), 1, "one boot is of one boot of the plan");
    }
    assert_eq!(seen.len(), measured.len());
    assert_eq!(boots.len(), 12, "{boots:?}");
}

fn host_value(address: &kvmtune::tunable::Address, line: &str) -> String {
    match address {
        kvmtune::tunable::Address::HostBoot(parameter) => parameter.value_in(line),
        other => panic!("{other}"),
    }
}

#[test]
fn a_boot_that_does_not_take_is_tried_twice_and_then_told() {
    let header = header();
    let dir = tempfile::tempdir().unwrap();
    let mut host = host(&header);
    let mut reboots = 0;
    loop {
        match sit(&mut host, dir.path(), &header, &|_| {}) {
            Sat::Over => break,
            Sat::Waits => panic!("it was rebooted"),
            Sat::Reboot => {
                // A boot manager that knows nothing of what was arranged for.
                let state = serde_json::to_value(host.state()).unwrap();
                let mut state = state;
                state["boot"]["next"] = serde_json::Value::Null;
                host = FakeHost::with_state(serde_json::from_value(state).unwrap());
                prepare(&mut host);
                host.reboot();
                reboots += 1;
            }
        }
        assert!(reboots < 60);
    }
    is_given_back(&host, dir.path(), "at the end");
    let all = records(dir.path());
    let invalid = all
        .iter()
        .filter(|r| matches!(&r.outcome, Outcome::Invalid { drift } if drift[0].found != drift[0].wanted));
    let invalid = invalid.count();
    assert!(invalid >= 6 && reboots >= 6, "{invalid} {reboots}");
    assert!(all.iter().all(|r| !matches!(r.outcome, Outcome::Failed { .. })));
    let own = header
        .plan
        .treatments
        .iter()
        .filter(|t| t.boot == header.plan.treatments[0].boot);
    let own: Vec<_> = own.map(|t| &t.id).collect();
    for record in &all {
        let fits = own.contains(&&record.trial.treatment);
        assert_eq!(
            matches!(record.outcome, Outcome::Measured { .. }),
            fits,
            "{record:?}"
        );
    }
}

/// The state after so many sittings, each with its reboot.
fn after(sittings: usize, header: &RunHeader) -> (tempfile::TempDir, FakeHost) {
    let dir = tempfile::tempdir().unwrap();
    let mut host = host(header);
    for _ in 0..sittings {
        assert_eq!(sit(&mut host, dir.path(), header, &|_| {}), Sat::Reboot);
        host.reboot();
    }
    (dir, host)
}

#[test]
fn nothing_is_done_twice_in_one_boot() {
    let header = header();
    let (dir, mut host) = after(2, &header);
    assert_eq!(sit(&mut host, dir.path(), &header, &|_| {}), Sat::Reboot);
    let before = records(dir.path()).len();
    let state = across::load(dir.path()).unwrap();
    assert_eq!(sit(&mut host, dir.path(), &header, &|_| {}), Sat::Waits);
    assert_eq!(records(dir.path()).len(), before);
    assert_eq!(across::load(dir.path()).unwrap(), state);
    // Another session is refused, and told why.
    let mut journal = open(dir.path());
    let refused = across::settle(&mut host, &mut journal, dir.path()).unwrap_err();
    assert!(refused.to_string().contains("--resume"), "{refused}");
}

#[test]
fn a_run_that_follows_from_another_has_boots_of_its_own() {
    let header = header();
    let (dir, mut host) = after(3, &header);
    let mut journal = open(dir.path());
    let Arrival::Booted(first) = across::arrive(&mut host, &mut journal, dir.path()).unwrap() else {
        panic!("it was rebooted")
    };
    assert_eq!(first.reboots, 3);
    let next = BootAt { block: 1, boot: 0 };
    let following = first.followed_by("0192f0c1a2b37c4d8e5f60718293a4b5".parse().unwrap());

    // Interrupted before its first boot: the run that has ended is not what is gone on with.
    across::keep(dir.path(), &following).unwrap();
    let arrival = across::arrive(&mut host, &mut journal, dir.path()).unwrap();
    assert_eq!(arrival, Arrival::Fresh);
    assert!(
        journal.next_boot().is_some(),
        "the host's own line is still known"
    );

    let kept = across::depart(&mut host, &mut journal, dir.path(), following, &header.plan, next).unwrap();
    assert_eq!(kept.reboots, 1);
    let longer = State { spent: 60, ..kept };
    across::keep(dir.path(), &longer).unwrap();
    assert_eq!(across::load(dir.path()).unwrap(), Some(longer));
}

#[test]
fn a_menu_is_made_also_for_a_drop_in_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = host(&header());
    let mut journal = open(dir.path());
    let quiet = "quiet".parse().unwrap();
    note_next_boot(&mut host, &mut journal, &NextBoot::Grub, vec![quiet]).unwrap();
    let writes = |host: &FakeHost| {
        host.calls()
            .iter()
            .filter(|c| *c == "write the next boot")
            .count()
    };
    for times in 1..=2 {
        set_next_boot(&mut host, &journal, &[]).unwrap();
        assert_eq!(
            writes(&host),
            times,
            "the one before may have been killed at the menu"
        );
    }
}

#[test]
fn a_session_sees_that_the_host_has_its_own_line_again() {
    let header = header();
    let dir = tempfile::tempdir().unwrap();
    let mut host = host(&header);
    while !matches!(
        across::load(dir.path()).unwrap(),
        Some(State {
            purpose: BootPurpose::GiveBack,
            ..
        })
    ) {
        host.reboot();
        if sit(&mut host, dir.path(), &header, &|_| {}) == Sat::Over {
            return;
        }
    }
    let mut journal = open(dir.path());
    across::settle(&mut host, &mut journal, dir.path()).unwrap();
    assert!(journal.require_clean().is_err(), "not before it is rebooted");
    host.reboot();
    across::settle(&mut host, &mut journal, dir.path()).unwrap();
    journal.require_clean().unwrap();
    drop(journal);
    is_given_back(&host, dir.path(), "settled");
}

#[test]
fn a_state_that_somebody_wrote_is_not_followed() {
    let header = header();
    let (dir, mut host) = after(1, &header);
    let path = across::path(dir.path());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let good = fs::read_to_string(&path).unwrap();
    let swaps = [
        ("\"kvmtune-across-reboots-1\"", "\"kvmtune-across-reboots-2\""),
        ("\"reboots\"", "\"more\": 1,\n  \"reboots\""),
        ("\"reboots\": 1", "\"reboots\": -1"),
        ("\"attempts\": 1", "\"attempts\": 0"),
        (
            "\"parameter\": \"transparent_hugepage\"",
            "\"parameter\": \"init=/bin/sh x\"",
        ),
        ("\"parameter\": \"skew_tick\"", "\"parameter\": \"a' b\""),
        ("\"machine\": \"simulated\"", "\"machine\": \"another\""),
        ("/simulated", "/etc/passwd"),
        ("}", ""),
    ];
    for (from, to) in swaps {
        assert!(good.contains(from), "{from}: {good}");
        fs::write(&path, good.replacen(from, to, 1)).unwrap();
        refused(&mut host, dir.path(), to);
    }
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    refused(&mut host, dir.path(), "mode");
    fs::remove_file(&path).unwrap();
    let other = dir.path().join("other");
    fs::write(&other, &good).unwrap();
    std::os::unix::fs::symlink(&other, &path).unwrap();
    let mut journal = open(dir.path());
    assert!(
        across::arrive(&mut host, &mut journal, dir.path()).is_err(),
        "a link"
    );
    drop(journal);
    // Recovery does not need it.
    give_all_back(&mut host, dir.path(), "recovered");
}

fn refused(host: &mut FakeHost, dir: &Path, case: &str) {
    let mut journal = open(dir);
    let error = across::arrive(host, &mut journal, dir).expect_err(case);
    assert!(matches!(error, AcrossError::Wrong { .. }), "{case}: {error}");
    assert!(error.to_string().contains("kvmtune recover"), "{error}");
    assert!(
        host.state().boot.as_ref().unwrap().next.is_some(),
        "nothing was done"
    );
}

struct Restores<'h>(&'h mut FakeHost, bool);

impl Restorer for Restores<'_> {
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError> {
        let exists = match scope {
            Scope::Boot { id } => *id == self.0.boot_id()?,
            _ => true,
        };
        Ok(exists.then_some(self.0 as &mut dyn Host))
    }

    fn end(&mut self, _: &SessionUndo) -> Result<(), HostError> {
        Ok(())
    }

    fn boots(&mut self) -> Result<&mut dyn Boots, HostError> {
        Ok(self.0)
    }

    fn keeps_next_boot(&self) -> bool {
        self.1
    }
}

#[test]
fn a_run_goes_on_where_the_journal_arranges_for_it() {
    let header = header();
    let (dir, mut host) = after(2, &header);
    let mut journal = open(dir.path());
    across::forget(dir.path()).unwrap();
    recover(&mut journal, &mut Restores(&mut host, false)).unwrap();
    assert!(journal.next_boot().is_some(), "this boot has another line");
    let next = BootAt { block: 1, boot: 0 };
    let forgetful = State::new(header.run, dir.path().into(), NextBoot::Print);
    let state = across::depart(&mut host, &mut journal, dir.path(), forgetful, &header.plan, next).unwrap();
    assert_eq!(state.next_boot, place());
    host.reboot();
    let arrival = across::arrive(&mut host, &mut journal, dir.path()).unwrap();
    assert!(matches!(arrival, Arrival::Booted(_)), "{arrival:?}");
}

#[test]
fn a_state_that_makes_no_sense_leaves_nothing_armed() {
    let header = header();
    for (from, to) in [("/simulated", "/elsewhere"), ("}", "")] {
        let (dir, mut host) = after(1, &header);
        let path = across::path(dir.path());
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        let armed = host.state().boot.as_ref().unwrap().next.clone();
        assert_ne!(armed.as_deref().map(str::trim), Some(OWN));
        refused(&mut host, dir.path(), to);
        let left = host.state().boot.as_ref().unwrap().next.clone();
        assert_eq!(left.as_deref().map(str::trim), Some(OWN), "{to}");
    }
}

/// A watchman may restore in every boot of a run: the boots are counted on, and the run goes on.
#[test]
fn a_watchman_does_not_reset_the_number_of_boots() {
    let header = header();
    for sittings in 1..=6 {
        let (dir, mut host) = after(sittings, &header);
        let mut journal = open(dir.path());
        let before = across::load(dir.path()).unwrap().unwrap();
        let arrival = across::arrive(&mut host, &mut journal, dir.path()).unwrap();
        assert!(matches!(arrival, Arrival::Booted(_)), "{arrival:?}");
        let report = recover(&mut journal, &mut Restores(&mut host, true)).unwrap();
        assert!(report.awaits_reboot(), "{report:?}");
        drop(journal);
        assert_eq!(
            sit(&mut host, dir.path(), &header, &|_| {}),
            Sat::Reboot,
            "{sittings}"
        );
        let after = across::load(dir.path()).unwrap().unwrap();
        assert_eq!(after.reboots, before.reboots + 1);
        host.reboot();
        to_the_end(&mut host, dir.path(), &header);
        is_given_back(&host, dir.path(), "at the end");
    }
}

/// Recovers, reboots if that is asked for, recovers again.
fn give_all_back(host: &mut FakeHost, dir: &Path, case: &str) {
    for turn in 0..2 {
        let mut journal = open(dir);
        across::forget(dir).unwrap();
        let report = recover(&mut journal, &mut Restores(host, false)).unwrap();
        if report.is_complete() {
            drop(journal);
            return is_given_back(host, dir, case);
        }
        assert!(report.awaits_reboot() && turn == 0, "{case}: {report:?}");
        let boot = host.state().boot.as_ref().unwrap();
        assert_eq!(boot.next.as_deref().map(str::trim), Some(OWN), "{case}");
        host.reboot();
    }
}
