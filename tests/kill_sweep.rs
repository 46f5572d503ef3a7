//! kvmtune is killed at every journal append and every host call, and again while it recovers: afterwards recovery
//! brings the host back to its old state.
//!
//! The simulated host keeps its state in a file, as a kernel keeps it when a process is killed.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/kill.rs"]
mod kill;
mod support;

use kill::die_at;
use kvmtune::change::*;
use kvmtune::host::fake::FakeHost;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::*;

const ORDER: &str = "KVMTUNE_TEST_KILL";

/// The process that is killed: `change|recover append|call N DIR`. Does nothing when run as a test.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let words: Vec<&str> = order.splitn(4, ' ').collect();
    let [what, at, point, dir] = words[..] else {
        panic!("{order}")
    };
    let dir = Path::new(dir);
    let mut host = FakeHost::load(&dir.join("host.json")).unwrap();
    offer(&mut host);
    let mut journal = Journal::open(dir).unwrap();
    match at {
        "append" => journal.observe(die_at(point.parse().unwrap())),
        _ => host.observe(die_at(point.parse().unwrap())),
    }
    match what {
        "change" => split_plot(&mut host, &mut journal).unwrap(),
        _ => assert!(
            recover(&mut journal, &mut FakeRestorer(&mut host))
                .unwrap()
                .is_complete()
        ),
    }
}

/// Runs the child; true when it was killed, false when it came to its end.
fn killed(what: &str, at: &str, point: u64, dir: &Path) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--test-threads=1"])
        .env(ORDER, format!("{what} {at} {point} {}", dir.display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success() || status.signal() == Some(9),
        "{what} {at} {point}: {status}"
    );
    !status.success()
}

fn lay_out(dir: &Path) {
    let mut host = fresh_host();
    host.keep_in(&dir.join("host.json")).unwrap();
}

fn load(dir: &Path) -> FakeHost {
    let mut host = FakeHost::load(&dir.join("host.json")).unwrap();
    offer(&mut host);
    host
}

fn copy(from: &Path, to: &Path) {
    for file in ["host.json", "journal.jsonl"] {
        std::fs::copy(from.join(file), to.join(file)).unwrap();
    }
}

/// Kills recovery of the state in `dir` at every point, and recovers from that. Gives the number of kills.
fn kill_recoveries(dir: &Path, case: &str) -> u64 {
    let before = fresh_host().state().clone();
    let mut kills = 0;
    for at in ["append", "call"] {
        for point in 1.. {
            let again = tempfile::tempdir().unwrap();
            copy(dir, again.path());
            if !killed("recover", at, point, again.path()) {
                break;
            }
            kills += 1;
            let case = format!("{case}, recovery killed at {at} {point}");
            recover_all(again.path(), &mut load(again.path()), &before, &case);
        }
    }
    kills
}

#[test]
fn killed_anywhere_the_host_comes_back() {
    let before = fresh_host().state().clone();
    let (mut changes, mut recoveries) = (0, 0);
    for at in ["append", "call"] {
        for point in 1.. {
            let dir = tempfile::tempdir().unwrap();
            lay_out(dir.path());
            if !killed("change", at, point, dir.path()) {
                assert_eq!(difference(&before, load(dir.path()).state()), "");
                break;
            }
            changes += 1;
            let case = format!("killed at {at} {point}");
            if at == "append" {
                recoveries += kill_recoveries(dir.path(), &case);
            }
            recover_all(dir.path(), &mut load(dir.path()), &before, &case);
        }
    }
    println!("kill sweep: {changes} kills of a change, {recoveries} kills of a recovery");
    assert!(changes > 100 && recoveries > 80, "the sweep must have killed");
}
