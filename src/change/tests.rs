//! The journal's file and the lock. What changes do to a host is tested from outside, in `tests/`.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::host::Scope;
use crate::tunable::{Address, DomainSetting, Kind, ParameterGroup};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

fn undo(old: &str) -> Undo {
    Undo::Write(WriteUndo {
        address: Address::Domain(DomainSetting::Parameter(
            ParameterGroup::Scheduler,
            "cpu_shares".into(),
        )),
        kind: Kind::Words,
        old: old.into(),
        scope: Scope::Definition { uuid: "u".into() },
    })
}

fn lines(dir: &Path) -> String {
    std::fs::read_to_string(dir.join("journal.jsonl")).unwrap()
}

#[test]
fn entries_stay_open_until_they_are_closed() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let opened = journal.append(vec![undo("1"), undo("2")]).unwrap();
    assert_eq!(opened.iter().map(|e| e.seq).collect::<Vec<_>>(), [0, 1]);
    journal.close(vec![0]).unwrap();
    assert!(
        journal.require_clean().is_ok(),
        "an entry of this run is no remnant"
    );
    drop(journal);

    let mut journal = Journal::open(dir.path()).unwrap();
    let error = journal.require_clean().unwrap_err().to_string();
    assert!(
        error.contains("cpu_shares = 2") && error.contains("kvmtune recover"),
        "{error}"
    );
    assert_eq!(
        journal.append(vec![undo("3")]).unwrap()[0].seq,
        2,
        "numbers go on"
    );
    journal.close(vec![1, 2]).unwrap();
    drop(journal);
    assert!(Journal::open(dir.path()).unwrap().is_clean());
    assert_eq!(lines(dir.path()), "", "nothing open, nothing kept");
}

#[test]
fn a_torn_last_line_is_dropped_at_every_byte() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(vec![undo("1"), undo("2")]).unwrap();
    let whole = lines(dir.path());
    drop(journal);
    for cut in 0..=whole.len() {
        std::fs::write(dir.path().join("journal.jsonl"), &whole[..cut]).unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let expected = whole[..cut].matches('\n').count();
        assert_eq!(journal.open_entries().count(), expected, "cut at byte {cut}");
        journal.append(vec![undo("3")]).unwrap();
        drop(journal);
        assert_eq!(
            Journal::open(dir.path()).unwrap().open_entries().count(),
            expected + 1,
            "appending after a cut at byte {cut}"
        );
    }
}

#[test]
fn damage_before_the_last_line_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    Journal::open(dir.path())
        .unwrap()
        .append(vec![undo("1"), undo("2")])
        .unwrap();
    let damaged = lines(dir.path()).replacen("opened", "opene", 1);
    std::fs::write(dir.path().join("journal.jsonl"), damaged).unwrap();
    let error = Journal::open(dir.path()).err().unwrap().to_string();
    assert!(error.contains("journal.jsonl is damaged in line 1"), "{error}");
}

#[test]
fn a_failed_append_leaves_no_trace_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    journal.append(vec![undo("1")]).unwrap();
    let before = lines(dir.path());
    journal.tear(b"{\"opened\":{\"seq\":1,");
    assert_ne!(lines(dir.path()), before);
    journal.append(vec![undo("2")]).unwrap();
    assert!(lines(dir.path()).starts_with(&before));
    drop(journal);
    assert_eq!(Journal::open(dir.path()).unwrap().open_entries().count(), 2);
}

#[test]
fn files_are_private_and_links_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("state");
    drop(Journal::open(&own).unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&own), mode(&own.join("journal.jsonl"))), (0o700, 0o600));

    std::fs::remove_file(own.join("journal.jsonl")).unwrap();
    symlink(dir.path().join("elsewhere"), own.join("journal.jsonl")).unwrap();
    assert!(matches!(Journal::open(&own), Err(ChangeError::Io { .. })));
    assert!(!dir.path().join("elsewhere").exists());

    symlink(&own, dir.path().join("link")).unwrap();
    assert!(matches!(
        Journal::open(&dir.path().join("link")),
        Err(ChangeError::Untrusted { .. })
    ));
    std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Journal::open(&own), Err(ChangeError::Untrusted { .. })));
}

#[test]
fn a_host_is_locked_once_and_the_holder_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let held = Journal::open(dir.path()).unwrap();
    let error = Journal::open(dir.path()).err().unwrap().to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    drop(held);
    let held = Journal::open_as(dir.path(), Keeper::Watchman).unwrap();
    let error = Journal::open(dir.path()).err().unwrap();
    let restores = "the watchman of a run that was killed";
    assert!(error.to_string().contains(restores), "{error}");
    let ChangeError::Locked { holder, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(holder, Holder::Known(Keeper::Watchman, std::process::id()));
    drop(held);
    Journal::open(dir.path()).unwrap();
}
