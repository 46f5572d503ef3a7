//! The process that restores the host of a killed kvmtune, on its own: what it hears, and what it does then.
//!
//! Its kvmtune is this test, or a shell; what it restores is a file of a lab that never was.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::change::{HostLock, Journal, Keeper};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const LAB: &str = "0123abcd";
const SOON: Duration = Duration::from_mins(1);

fn kvmtune() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("kvmtune"))
}

/// A state folder whose journal says that a lab is to be taken down.
struct State {
    folder: TempDir,
}

impl State {
    /// `None` where the host's lock cannot be taken.
    fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            assert!(
                std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(),
                "root is missing"
            );
            eprintln!("skipped: only root restores a host");
            return None;
        }
        let folder = tempfile::Builder::new()
            .prefix("kvmtune-watch-")
            .tempdir()
            .unwrap();
        let state = Self { folder };
        state.journal(&format!("/run/kvmtune/{LAB}"));
        fs::write(state.data(), "data").unwrap();
        Some(state)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn journal(&self, root: &str) {
        let data = self.data();
        let lab = serde_json::json!({ "id": LAB, "root": root, "data": data });
        let line = serde_json::json!({ "opened": { "seq": 0, "undo": { "session": { "lab": lab } } } });
        // At once: an empty journal is one with nothing to do.
        let new = self.path().join("new");
        fs::write(&new, format!("{line}\n")).unwrap();
        fs::rename(new, self.journal_file()).unwrap();
    }

    fn journal_file(&self) -> PathBuf {
        self.path().join("journal.jsonl")
    }

    fn data(&self) -> PathBuf {
        self.path().join(format!("lab-{LAB}.img"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path().join("watchman.log")).unwrap_or_default()
    }

    fn is_restored(&self) -> bool {
        !self.data().exists() && fs::read_to_string(self.journal_file()).unwrap().is_empty()
    }

    fn is_untouched(&self) -> bool {
        self.data().exists() && !fs::read_to_string(self.journal_file()).unwrap().is_empty()
    }

    /// Watches over this test.
    fn watchman(&self, limit: &str) -> Child {
        let mut command = kvmtune();
        command.args(["watchman", "--limit", limit, "--state"]);
        command.arg(self.path());
        command.args(["--parent", &std::process::id().to_string()]);
        on_watch(command.stdin(Stdio::piped()))
    }

    /// Watches over a shell, and hears nothing from it.
    fn shell(&self, limit: &str) -> Child {
        let script = r#"sleep 600 | "$0" watchman --parent $$ --limit "$1" --state "$2""#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(kvmtune().get_program());
        command.arg(limit).arg(self.path());
        on_watch(command.stdin(Stdio::null()).process_group(0))
    }

    fn verb(&self, verb: &str) -> Output {
        let mut command = kvmtune();
        command.arg(verb).arg("--state").arg(self.path());
        command.output().unwrap()
    }
}

/// Starts it and waits until it watches.
fn on_watch(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 5];
    child.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ready");
    child
}

fn group(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}

fn end_of(mut child: Child) -> ExitStatus {
    let mut status = None;
    wait_until("its end", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < SOON, "{what} was waited for in vain");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn after_the_last_word_nothing_is_touched() {
    let Some(state) = State::new() else { return };
    let mut watchman = state.watchman("1m");
    watchman.stdin.take().unwrap().write_all(b"...d").unwrap();
    assert_eq!(end_of(watchman).code(), Some(0));
    assert!(state.is_untouched());
    assert_eq!(state.log(), "");
}

#[test]
fn a_death_is_followed_by_restoring_and_told_once() {
    let Some(state) = State::new() else { return };
    let mut watchman = state.watchman("1m");
    watchman.stdin.as_mut().unwrap().write_all(b"..").unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(state.is_untouched(), "it waits");
    drop(Journal::open(state.path()).unwrap());
    drop(watchman.stdin.take());
    assert_eq!(end_of(watchman).code(), Some(0));
    assert!(state.is_restored(), "{}", state.log());
    let log = state.path().join("watchman.log");
    let mode = fs::metadata(log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let news = "the last run was killed; its watchman restored the host at 20";
    let first = state.verb("recover");
    assert!(first.status.success() && said(&first).contains(news), "{first:?}");
    let second = state.verb("recover");
    assert!(second.status.success() && said(&second).is_empty(), "{second:?}");
}

#[test]
fn a_run_that_was_given_back_leaves_nothing_to_say() {
    let Some(state) = State::new() else { return };
    fs::write(state.journal_file(), "").unwrap();
    let mut watchman = state.watchman("1m");
    // The last word was lost.
    drop(watchman.stdin.take());
    assert_eq!(end_of(watchman).code(), Some(0));
    assert_eq!(state.log(), "");
    // A folder that is gone is not made again.
    let mut watchman = state.watchman("1m");
    fs::remove_dir_all(state.path()).unwrap();
    drop(watchman.stdin.take());
    assert_eq!(end_of(watchman).code(), Some(0));
    assert!(!state.path().exists());
}

#[test]
fn what_cannot_be_undone_is_tried_again() {
    let Some(state) = State::new() else { return };
    state.journal("/nowhere");
    let mut watchman = state.watchman("1m");
    drop(watchman.stdin.take());
    wait_until("a second attempt", || {
        state.log().matches("no place kvmtune makes").count() > 1
    });
    state.journal(&format!("/run/kvmtune/{LAB}"));
    assert_eq!(end_of(watchman).code(), Some(0));
    assert!(state.is_restored(), "{}", state.log());
}

#[test]
fn what_kvmtune_could_not_restore_is_tried_once() {
    let Some(state) = State::new() else { return };
    state.journal("/nowhere");
    // Its kvmtune lives on for a moment after its last word, hence the shell.
    let script = r#"printf ..l | "$0" watchman --parent $$ --limit 1m --state "$1""#;
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(kvmtune().get_program());
    let mut shell = on_watch(command.arg(state.path()).stdin(Stdio::null()));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(state.log(), "", "it waits for the end of its kvmtune");
    shell.kill().unwrap();
    shell.wait().unwrap();
    wait_until("the end", || state.log().contains("given up"));
    assert_eq!(
        state.log().matches("no place kvmtune makes").count(),
        1,
        "{}",
        state.log()
    );
    assert!(state.is_untouched());
}

#[test]
fn a_silent_kvmtune_is_ended_and_its_host_restored() {
    let Some(state) = State::new() else { return };
    let started = Instant::now();
    let mut shell = state.shell("2s");
    let status = shell.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "{status:?}");
    assert!(started.elapsed() >= Duration::from_secs(2));
    wait_until("restoring", || state.is_restored());
    wait_until("the news", || state.log().contains("news: "));
    // What held the line was no kvmtune, and is left alone.
    killpg(group(&shell), Signal::SIGKILL).unwrap();
    assert!(state.log().contains("no sign of life for 2s"), "{}", state.log());
}

#[test]
fn a_killed_group_does_not_take_its_watchman_along() {
    let Some(state) = State::new() else { return };
    let mut shell = state.shell("1m");
    killpg(group(&shell), Signal::SIGKILL).unwrap();
    shell.wait().unwrap();
    wait_until("restoring", || state.is_restored());
}

#[test]
fn it_waits_for_the_lock_and_recover_waits_for_it() {
    let Some(state) = State::new() else { return };
    let taken = || HostLock::take(Path::new("/run/kvmtune.lock"), Keeper::Watchman);
    let mut lock = taken();
    wait_until("the host's lock", || {
        if lock.is_err() {
            lock = taken();
        }
        lock.is_ok()
    });
    let mut watchman = state.watchman("1m");
    drop(watchman.stdin.take());
    thread::sleep(Duration::from_millis(500));
    assert!(state.is_untouched(), "another session has not undone its changes");
    let recover = thread::scope(|scope| {
        let recover = scope.spawn(|| state.verb("recover"));
        thread::sleep(Duration::from_secs(2));
        assert!(!recover.is_finished());
        drop(lock);
        recover.join().unwrap()
    });
    assert!(recover.status.success(), "{recover:?}");
    let said = String::from_utf8_lossy(&recover.stderr).into_owned();
    assert!(said.contains("waiting: the watchman"), "{said}");
    assert!(state.is_restored());
    assert_eq!(end_of(watchman).code(), Some(0));
}

#[test]
fn only_kvmtune_starts_a_watchman() {
    let Some(state) = State::new() else { return };
    let mut command = kvmtune();
    command.args(["watchman", "--limit", "1m", "--parent", "1", "--state"]);
    let refused = command.arg(state.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(5), "{refused:?}");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("only kvmtune itself"), "{said}");
    assert!(state.is_untouched());
}
