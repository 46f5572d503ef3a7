//! Runs that are killed or hang: the host comes back without any further command.

use crate::place::{Place, Running, entries, wait_until};
use crate::stopped::{complete, is_changed, place, wait_for_a_change};
use nix::mount::MsFlags;
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// From the signal to the host as it was.
const SOON: Duration = Duration::from_secs(30);

/// The network namespaces that processes of the lab called `id` are in, beside this test's own.
fn networks(id: &str) -> HashSet<PathBuf> {
    let own = fs::read_link("/proc/self/ns/net").unwrap();
    let of_lab = entries("/proc").filter(|process| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(id)
    });
    of_lab
        .filter_map(|process| fs::read_link(process.join("ns/net")).ok())
        .filter(|network| *network != own)
        .collect()
}

/// The threads in one of these namespaces.
fn threads_in(networks: &HashSet<PathBuf>) -> Vec<PathBuf> {
    let threads = entries("/proc").flat_map(|process| entries(process.join("task")));
    threads
        .filter(|thread| fs::read_link(thread.join("ns/net")).is_ok_and(|n| networks.contains(&n)))
        .collect()
}

/// The watchmen of this place.
fn watchmen(place: &Place) -> Vec<String> {
    let state = place.path().join("state").into_os_string();
    let words = |process: PathBuf| -> Option<Vec<OsString>> {
        use std::os::unix::ffi::OsStringExt;
        let line = fs::read(process.join("cmdline")).ok()?;
        Some(
            line.split(|b| *b == 0)
                .map(|w| OsString::from_vec(w.to_vec()))
                .collect(),
        )
    };
    let is_watchman = |process: &PathBuf| {
        words(process.clone()).is_some_and(|w| w.iter().any(|w| w == "watchman") && w.contains(&state))
    };
    let found = entries("/proc").filter(is_watchman);
    found.map(|p| p.display().to_string()).collect()
}

/// Begins or goes on, and gives the run in the middle of a trial with a changed setting.
fn in_a_trial(place: &Place, options: &[&str]) -> Running {
    let known = if place.has_a_run() {
        place.records().len()
    } else {
        0
    };
    let what = if known > 0 { "--resume" } else { "experiment.toml" };
    let mut run = place.start(&[&["run"], options, &[what]].concat());
    wait_for_a_change(place, &mut run, known);
    std::thread::sleep(Duration::from_millis(300));
    assert!(is_changed(), "in the middle of a trial");
    assert_eq!(watchmen(place).len(), 1);
    run
}

/// Does `end` to the run and waits for the host to be as it was.
fn comes_back(place: &Place, run: &Running, limit: Duration, end: impl FnOnce(&Running)) {
    let lab = place.lab().unwrap();
    let networks = networks(&lab);
    assert_eq!(networks.len(), 1, "the lab has a network of its own");
    assert_ne!(place.remains(&lab), Vec::<String>::new());
    let started = Instant::now();
    end(run);
    wait_until("the end of the watch", || watchmen(place).is_empty());
    let log = fs::read_to_string(place.path().join("state/watchman.log")).unwrap();
    eprintln!("restored after {:.1?}:\n{log}", started.elapsed());
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    assert!(!is_changed(), "{log}");
    assert_eq!(place.remains(&lab), Vec::<String>::new());
    assert_eq!(threads_in(&networks), Vec::<PathBuf>::new());
    let journal = fs::read_to_string(place.path().join("state/journal.jsonl")).unwrap();
    assert_eq!(journal, "");
    assert_eq!(place.summary().end, None, "the run can be resumed");
}

#[test]
fn a_killed_run_is_restored_by_its_watchman_and_resumed() {
    let Some(place) = place() else { return };
    let run = in_a_trial(&place, &[]);
    comes_back(&place, &run, SOON, |run| run.signal(Signal::SIGKILL));
    drop(run);

    let run = in_a_trial(&place, &[]);
    let told = fs::read_to_string(place.path().join("stderr")).unwrap();
    let news = "note: the last run was killed; its watchman restored the host at ";
    assert!(told.contains(news), "{told}");
    // A terminal that is closed, or a supervisor, kills the group.
    comes_back(&place, &run, SOON, |run| run.signal_group(Signal::SIGKILL));
    drop(run);

    let earlier = place.records();
    complete(&place, &earlier);
    assert_eq!(watchmen(&place), Vec::<String>::new(), "it ends with its run");
}

#[test]
fn a_hanging_run_is_ended_and_restored_by_its_watchman() {
    let Some(place) = place() else { return };
    let run = in_a_trial(&place, &["--dead-man", "5s"]);
    comes_back(&place, &run, SOON, |run| run.signal(Signal::SIGSTOP));
    let ended = run.finish();
    assert_eq!(ended.status.signal(), Some(9), "{ended:?}");
    let recovered = place.kvmtune(&["recover"]);
    assert!(recovered.status.success(), "{recovered:?}");
    let told = String::from_utf8_lossy(&recovered.stderr).into_owned();
    assert!(told.contains("gave no sign of life for 5s"), "{told}");
    complete(&place, &place.records());
}

/// A mount below the lab's root, which then cannot be removed.
struct Obstacle(PathBuf);

impl Obstacle {
    fn put(lab: &str) -> Self {
        let place = Path::new("/run/kvmtune").join(lab).join("busy");
        fs::create_dir(&place).unwrap();
        let (flags, none) = (MsFlags::empty(), None::<&str>);
        nix::mount::mount(none, &place, Some("tmpfs"), flags, none).unwrap();
        Self(place)
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        if let Err(error) = nix::mount::umount(&self.0) {
            eprintln!("left mounted: {}: {error}", self.0.display());
        }
    }
}

#[test]
fn a_host_that_cannot_be_given_back_is_left_to_its_user() {
    let Some(place) = place() else { return };
    let mut plan = place.start(&["plan", "experiment.toml"]);
    wait_until("the lab", || {
        assert!(!plan.has_ended(), "it ended too early");
        place.lab().is_some()
    });
    let lab = place.lab().unwrap();
    let obstacle = Obstacle::put(&lab);
    let ended = plan.finish();
    assert_eq!(ended.status.code(), Some(7), "{ended:?}");
    wait_until("the end of the watch", || watchmen(&place).is_empty());
    let log = fs::read_to_string(place.path().join("state/watchman.log")).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "one attempt: {log}");
    assert!(lines[0].contains("kvmtune could not restore the host"), "{log}");
    assert!(lines[1].contains("given up: run `kvmtune recover`"), "{log}");
    drop(obstacle);
    let recovered = place.kvmtune(&["recover"]);
    assert!(recovered.status.success(), "{recovered:?}");
    assert_eq!(place.remains(&lab), Vec::<String>::new());
}
