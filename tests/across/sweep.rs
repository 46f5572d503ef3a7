//! Sittings killed at each of their steps.

use super::kill::die_at;
use super::pretended::*;
use super::{Restores, give_all_back};
use kvmtune::across;
use kvmtune::change::*;
use kvmtune::event::Outcome;
use kvmtune::host::fake::FakeHost;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

const ORDER: &str = "KVMTUNE_TEST_ACROSS";

/// The process that is killed: `append|call N DIR`. Does nothing when run as a test.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let words: Vec<&str> = order.splitn(3, ' ').collect();
    let [at, point, dir] = words[..] else {
        panic!("{order}")
    };
    let (dir, point) = (Path::new(dir), point.parse().unwrap());
    let mut host = FakeHost::load(&dir.join("host.json")).unwrap();
    prepare(&mut host);
    if at == "call" {
        host.observe(die_at(point));
    }
    let spoil = |journal: &mut Journal| {
        if at == "append" {
            journal.observe(die_at(point));
        }
    };
    sit(&mut host, dir, &header(), &spoil);
}

/// Runs a sitting in a process of its own; true when it was killed.
fn killed(at: &str, point: u64, dir: &Path) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "sweep::child", "--test-threads=1"])
        .env(ORDER, format!("{at} {point} {}", dir.display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success() || status.signal() == Some(9),
        "{at} {point}: {status}"
    );
    !status.success()
}

fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.path().join(entry.file_name())).unwrap();
    }
    to
}

fn load(dir: &Path) -> FakeHost {
    let mut host = FakeHost::load(&dir.join("host.json")).unwrap();
    prepare(&mut host);
    host
}

/// Killed at every step of a first sitting, of one in the middle, of the last and of the one that only gives back:
/// recovery leads back, and so does going on, also after the power went.
#[test]
fn killed_anywhere_the_host_gets_its_own_line_back() {
    let header = header();
    let wanted = header.plan.trials();
    let mut kills = 0;
    for sittings in [0, 5, 12, 13] {
        let dir = tempfile::tempdir().unwrap();
        let mut host = host(&header);
        host.keep_in(&dir.path().join("host.json")).unwrap();
        for _ in 0..sittings {
            if sit(&mut host, dir.path(), &header, &|_| {}) == Sat::Reboot {
                host.reboot();
            }
        }
        for at in ["append", "call"] {
            for point in 1.. {
                let case = format!("sitting {sittings} killed at {at} {point}");
                let first = copy(dir.path());
                if !killed(at, point, first.path()) {
                    break;
                }
                kills += 1;
                let second = copy(first.path());
                give_all_back(&mut load(first.path()), first.path(), &case);

                let mut host = load(second.path());
                host.reboot();
                let mut journal = open(second.path());
                let live_are_left = journal.open_entries().any(|e| matches!(e.undo, Undo::Write(_)));
                if live_are_left {
                    across::forget(second.path()).unwrap();
                    recover(&mut journal, &mut Restores(&mut host, false)).unwrap();
                }
                drop(journal);
                to_the_end(&mut host, second.path(), &header);
                is_given_back(&host, second.path(), &case);
                let all = records(second.path());
                let mut names: Vec<_> = all
                    .iter()
                    .map(|r| (r.trial.block, r.trial.treatment.clone()))
                    .collect();
                names.sort();
                names.dedup();
                assert_eq!((names.len(), all.len()), (wanted, wanted), "{case}");
                assert!(
                    all.iter().all(|r| matches!(r.outcome, Outcome::Measured { .. })),
                    "{case}"
                );
            }
        }
    }
    println!("across sweep: {kills} kills");
    assert!(kills > 60, "{kills}: the sweep must have killed");
}
