//! What survives a kill, a full disk and a read-only folder.

use super::super::FILE;
use super::*;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const CHILD_DIR: &str = "KVMTUNE_TEST_STORE";

/// Not a test of its own: the process that is killed by the next one. Says each trial once it is stored.
#[test]
fn writer_process() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let mut store = Store::open(Path::new(&dir)).unwrap();
    let n = store.runs().unwrap().len() as u128 + 1;
    store.record(&started(run_id(n), "killed")).unwrap();
    let mut out = std::io::stdout().lock();
    for order in 0..100_000 {
        store
            .record(&finished(order, measured(f64::from(order))))
            .unwrap();
        writeln!(out, "stored {n} {order}").unwrap();
        out.flush().unwrap();
    }
}

/// Runs a writer, kills it after `wait` following its `after`-th trial, and returns all `(run, order)` it told.
fn kill_a_writer(dir: &Path, after: usize, wait: Duration) -> Vec<(u128, u32)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::durability::writer_process",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(CHILD_DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    // A line that was cut by the kill has not been told.
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some((_, words)) = line.strip_suffix('\n').and_then(|l| l.split_once("stored ")) {
            let (run, order) = words.split_once(' ').unwrap();
            told.push((run.parse().unwrap(), order.parse().unwrap()));
        }
        if told.len() == after {
            std::thread::sleep(wait);
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success());
    told
}

#[test]
fn every_trial_told_survives_kills_at_random_moments() {
    use rand::{RngExt, SeedableRng};
    let dir = tempfile::tempdir().unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    for _ in 0..20 {
        let wait = Duration::from_micros(rng.random_range(0..3000));
        let told = kill_a_writer(dir.path(), rng.random_range(1..30), wait);
        let store = Store::open_existing(dir.path()).unwrap();
        let check: String = store
            .db
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
        let run = run_id(told[0].0);
        let trials = store.trials(run).unwrap();
        // The one being told when the kill came may be there too.
        assert!((told.len()..=told.len() + 1).contains(&trials.len()));
        for (order, trial) in (0..).zip(trials) {
            let expected = record(order, measured(f64::from(order)));
            assert!(
                store.raw(run, order).unwrap() == expected.raw,
                "raw output of trial {order}"
            );
            assert_eq!(trial, without_raw(expected));
        }
        assert_eq!(store.resumable().unwrap(), Some(run));
    }
}

#[test]
fn a_full_database_loses_nothing_stored_before() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let pages: i64 = store
        .db
        .pragma_query_value(None, "page_count", |r| r.get(0))
        .unwrap();
    let limit = |pages: i64| {
        let update = store
            .db
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()));
        update.unwrap();
    };
    limit(pages + 4);
    fill_and_go_on(&mut store, |store| {
        let update = store
            .db
            .pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(()));
        update.unwrap();
    });
}

/// Stores until there is no space, makes space, and stores on.
fn fill_and_go_on(store: &mut Store, make_space: impl FnOnce(&Store)) {
    let mut order = 1;
    let error = loop {
        match store.record(&finished(order, measured(1.0))) {
            Ok(()) => order += 1,
            Err(error) => break error,
        }
        assert!(order < 100_000, "it never became full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert_eq!(store.trials(run_id(1)).unwrap().len(), order as usize);
    make_space(store);
    store.record(&finished(order, measured(1.0))).unwrap();
    assert_eq!(store.trials(run_id(1)).unwrap().len(), order as usize + 1);
}

/// A tmpfs that is unmounted in the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    /// `None` with a printed reason where nothing may be mounted, which `KVMTUNE_REQUIRE_LAB=1` forbids.
    fn new(at: PathBuf, options: &str) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        match mount(Some("tmpfs"), &at, Some("tmpfs"), MsFlags::empty(), Some(options)) {
            Ok(()) => Some(Self(at)),
            Err(e) => {
                assert!(
                    std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none_or(|v| v != "1"),
                    "no tmpfs: {e}"
                );
                eprintln!("skipped: cannot mount a tmpfs: {e}");
                None
            }
        }
    }

    fn remount(&self, flags: MsFlags) {
        mount(
            None::<&str>,
            &self.0,
            None::<&str>,
            flags | MsFlags::MS_REMOUNT,
            None::<&str>,
        )
        .unwrap();
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        if let Err(e) = umount2(&self.0, MntFlags::MNT_DETACH) {
            eprintln!("cannot unmount {}: {e}", self.0.display());
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_stored_before() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::new(dir.path().join("disk"), "size=600k") else {
        return;
    };
    let ballast = disk.0.join("ballast");
    fs::write(&ballast, "0".repeat(65536)).unwrap();
    let mut store = Store::open(&disk.0).unwrap();
    store.record(&started(run_id(1), "cache")).unwrap();
    store.record(&finished(0, measured(1.0))).unwrap();
    fill_and_go_on(&mut store, |_| fs::remove_file(&ballast).unwrap());
}

#[test]
fn a_full_disk_is_told_when_there_is_no_room_for_the_tables() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::new(dir.path().join("disk"), "size=64k") else {
        return;
    };
    let error = Store::open(&disk.0).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
}

#[test]
fn a_read_only_folder_can_be_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    // Characters that mean something in an SQLite URI.
    let Some(disk) = Tmpfs::new(dir.path().join("a?b#c%41"), "size=8m") else {
        return;
    };
    let mut store = Store::open(&disk.0).unwrap();
    store.record(&started(run_id(1), "cache")).unwrap();
    drop(store);
    disk.remount(MsFlags::MS_RDONLY);
    let error = Store::open(&disk.0).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
    let store = Store::open_existing(&disk.0).unwrap();
    assert_eq!(store.find("latest").unwrap(), run_id(1));
}

/// A run was killed and its folder made read-only: stale numbers would be worse than none.
#[test]
fn trials_in_the_log_of_a_read_only_folder_are_not_lost_silently() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::new(dir.path().join("disk"), "size=8m") else {
        return;
    };
    let living = tempfile::tempdir().unwrap();
    let store = store_with(&living, &[(1, "cache")]);
    for file in [FILE.to_string(), format!("{FILE}-wal")] {
        fs::copy(living.path().join(&file), disk.0.join(&file)).unwrap();
    }
    drop(store);
    disk.remount(MsFlags::MS_RDONLY);
    let error = Store::open_existing(&disk.0).unwrap_err();
    assert!(matches!(error, StoreError::Unmerged { .. }), "{error:?}");
}

/// Power loss cannot be tried here; what `SQLite` needs to survive it can be asked for.
#[test]
fn every_commit_is_synced() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let journal: String = store
        .db
        .pragma_query_value(None, "journal_mode", |r| r.get(0))
        .unwrap();
    let synchronous: i64 = store
        .db
        .pragma_query_value(None, "synchronous", |r| r.get(0))
        .unwrap();
    assert_eq!((journal.as_str(), synchronous), ("wal", 2));
}
