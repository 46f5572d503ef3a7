//! Folders and files the store refuses, and its words for it.

use super::super::FILE;
use super::*;
use rusqlite::Connection;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

#[test]
fn the_folder_is_made_with_a_safe_mode() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("results");
    Store::open(&folder).unwrap();
    let mode = fs::metadata(&folder).unwrap().permissions().mode();
    assert_eq!(mode & 0o022, 0, "{mode:o}");
}

#[test]
fn reading_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("results");
    let error = Store::open_existing(&folder).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(!folder.exists());
    fs::write(dir.path().join(FILE), "").unwrap();
    let error = Store::open_existing(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
}

#[test]
fn a_trial_is_recorded_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let error = store.record(&finished(0, failed("again"))).unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    assert_eq!(
        store.trials(run_id(1)).unwrap(),
        [without_raw(record(0, measured(1.0)))]
    );
}

#[test]
fn a_number_that_is_not_finite_is_refused_with_its_whole_trial() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let error = store.record(&finished(1, measured(value))).unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }), "{error}");
    }
    assert_eq!(store.trials(run_id(1)).unwrap().len(), 1);
    store.record(&finished(1, measured(f64::MAX))).unwrap();
}

#[test]
fn events_of_no_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let end = Event::RunFinished { end: End::Complete };
    let run = run_id(7);
    assert!(matches!(store.record(&end), Err(StoreError::NoRun)));
    assert!(matches!(
        store.record(&finished(0, invalid())),
        Err(StoreError::NoRun)
    ));
    let resumed = store.record(&Event::RunResumed {
        run,
        done: 0,
        blocks: 2,
    });
    assert!(matches!(resumed, Err(StoreError::Unknown { .. })));
    assert!(matches!(store.record(&end), Err(StoreError::NoRun)));
}

#[test]
fn a_store_for_reading_does_not_write() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with(&dir, &[(1, "cache")]));
    let mut store = Store::open_existing(dir.path()).unwrap();
    let error = store.record(&started(run_id(2), "cache")).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error}");
}

#[test]
fn a_newer_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with(&dir, &[(1, "cache")]));
    let db = Connection::open(dir.path().join(FILE)).unwrap();
    db.pragma_update(None, "user_version", 3).unwrap();
    drop(db);
    for result in [Store::open(dir.path()), Store::open_existing(dir.path())] {
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Newer {
                    found: 3,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
    }
}

#[test]
fn an_older_schema_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    let db = Connection::open(&file).unwrap();
    db.execute_batch("CREATE TABLE run (id TEXT PRIMARY KEY)")
        .unwrap();
    db.pragma_update(None, "application_id", 0x6b76_6d74).unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    drop(db);
    let before = fs::read(&file).unwrap();
    for result in [Store::open(dir.path()), Store::open_existing(dir.path())] {
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::Older {
                    found: 1,
                    known: 2,
                    ..
                }
            ),
            "{error}"
        );
        assert!(error.to_string().contains("kvmtune.db"), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn another_programs_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    Connection::open(&file)
        .unwrap()
        .execute_batch("CREATE TABLE mine (a)")
        .unwrap();
    let before = fs::read(&file).unwrap();
    for result in [Store::open(dir.path()), Store::open_existing(dir.path())] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(FILE);
    fs::write(
        &file,
        "not a database, but long enough to be looked at\n".repeat(200),
    )
    .unwrap();
    for result in [Store::open(dir.path()), Store::open_existing(dir.path())] {
        let error = result.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(".recover"), "{error}");
    }
}

#[test]
fn damaged_pages_are_an_error_and_no_numbers() {
    let dir = tempfile::tempdir().unwrap();
    drop(store_with(&dir, &[(1, "cache")]));
    let file = dir.path().join(FILE);
    let mut bytes = fs::read(&file).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let runs = Store::open_existing(dir.path()).and_then(|s| s.runs());
    assert!(matches!(runs, Err(StoreError::Corrupt { .. })), "{runs:?}");
}

#[test]
fn a_damaged_raw_output_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache")]);
    for damage in ["content = x'28b52ffd'", "size = 1", "size = 1000000"] {
        store.db.execute(&format!("UPDATE raw SET {damage}"), []).unwrap();
        let raw = store.raw(run_id(1), 0);
        assert!(
            matches!(raw, Err(StoreError::Corrupt { .. })),
            "{damage}: {raw:?}"
        );
        let each = store.each_raw(run_id(1), "fio", |_, _| panic!("it is damaged"));
        assert!(
            matches!(each, Err(StoreError::Corrupt { .. })),
            "{damage}: {each:?}"
        );
    }
    let unknown = store.each_raw(run_id(9), "fio", |_, _| {});
    assert!(matches!(unknown, Err(StoreError::Unknown { .. })), "{unknown:?}");
}

#[test]
fn a_link_in_the_place_of_the_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("precious");
    fs::write(&target, "").unwrap();
    symlink(&target, dir.path().join(FILE)).unwrap();
    assert!(Store::open(dir.path()).is_err());
    assert!(Store::open_existing(dir.path()).is_err());
    assert_eq!(fs::read(&target).unwrap(), b"");
}

#[test]
fn a_locked_database_is_told_after_waiting() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    store.db.busy_timeout(Duration::from_millis(1)).unwrap();
    let other = Connection::open(dir.path().join(FILE)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.record(&finished(1, invalid())).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    store.record(&finished(1, invalid())).unwrap();
}
