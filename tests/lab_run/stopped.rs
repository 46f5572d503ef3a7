//! Runs that are stopped, with warning or without: the host comes back, and the run goes on where it was.

use crate::place::{Place, Running, kernel_value, script, wait_until};
use kvmtune::event::{End, TrialRecord};
use nix::sys::signal::Signal;
use std::collections::HashSet;
use std::fs;
use std::time::Duration;

pub(crate) const PRESSURE: &str = "/proc/sys/vm/vfs_cache_pressure";

pub(crate) const EXPERIMENT: &str = r#"
factor = { tunable = "sysctl:vm.vfs_cache_pressure", levels = [100, 117, 118] }
workload = { use = "load" }
design = { blocks = 2 }
"#;

/// 3 treatments in the discarded block and 2 more.
pub(crate) const TRIALS: usize = 9;

pub(crate) fn place() -> Option<Place> {
    let place = Place::new(EXPERIMENT, &script("sleep 1; n=1;"))?;
    assert_eq!(kernel_value(PRESSURE), "100", "the test restores to the default");
    Some(place)
}

pub(crate) fn is_changed() -> bool {
    kernel_value(PRESSURE) != "100"
}

/// Waits until at least one trial is stored and another one runs under a changed setting.
pub(crate) fn wait_for_a_change(place: &Place, run: &mut Running, known: usize) {
    wait_until("a changed setting", || {
        assert!(!run.has_ended(), "it ended too early");
        is_changed() && place.has_a_run() && place.records().len() > known
    });
}

fn assert_goes_on(earlier: &[TrialRecord], now: &[TrialRecord]) {
    assert_eq!(&now[..earlier.len()], earlier, "what was stored is not touched");
    let places: HashSet<_> = now.iter().map(|r| (r.trial.block, &r.trial.treatment)).collect();
    assert_eq!(places.len(), now.len(), "no trial twice: {now:#?}");
}

#[test]
fn a_killed_run_is_recovered_and_resumed() {
    let Some(place) = place() else { return };
    let mut earlier = Vec::new();
    // Right after the change, in the middle of the workload, near its end.
    for (number, wait) in [0, 500, 1000].into_iter().enumerate() {
        // Nobody but `recover` is to restore the host here.
        let verb: &[&str] = if number == 0 {
            &["run", "--dead-man", "off", "experiment.toml"]
        } else {
            &["run", "--dead-man", "off", "--resume"]
        };
        let mut run = place.start(verb);
        wait_for_a_change(&place, &mut run, earlier.len());
        std::thread::sleep(Duration::from_millis(wait));
        run.signal(Signal::SIGKILL);
        drop(run);
        let lab = place.lab().unwrap();
        assert_ne!(
            place.remains(&lab),
            Vec::<String>::new(),
            "a guest outlives its kvmtune"
        );
        assert_eq!(place.summary().end, None);

        let refused = place.kvmtune(&["run", "experiment.toml"]);
        assert_eq!(refused.status.code(), Some(5), "{refused:?}");
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(said.contains("kvmtune recover"), "{said}");

        let recovered = place.kvmtune(&["recover"]);
        assert!(recovered.status.success(), "{recovered:?}");
        assert!(!is_changed());
        assert_eq!(place.remains(&lab), Vec::<String>::new());
        let now = place.records();
        assert_goes_on(&earlier, &now);
        earlier = now;
    }
    assert!(earlier.len() < TRIALS, "all was done before the last kill");
    complete(&place, &earlier);
}

/// Resumes to the end.
pub(crate) fn complete(place: &Place, earlier: &[TrialRecord]) {
    let resumed = place.kvmtune(&["run", "--resume"]);
    assert!(resumed.status.success(), "{resumed:?}");
    place.assert_all_measured();
    let now = place.records();
    assert_goes_on(earlier, &now);
    assert_eq!(now.len(), TRIALS);
    let orders: Vec<_> = now.iter().map(|r| r.trial.order as usize).collect();
    assert_eq!(orders, (0..TRIALS).collect::<Vec<_>>(), "in the planned order");
    assert_eq!(place.summary().end, Some(End::Complete));
    assert!(!is_changed());
    assert_eq!(place.lab(), None);
    let again = place.kvmtune(&["run", "--resume"]);
    assert_eq!(again.status.code(), Some(5), "{again:?}");
}

#[test]
fn an_interrupted_run_restores_and_is_resumed() {
    let Some(place) = place() else { return };
    let mut run = place.start(&["run", "experiment.toml"]);
    wait_for_a_change(&place, &mut run, 0);
    let lab = place.lab().unwrap();
    run.signal(Signal::SIGINT);
    let done = run.finish();
    assert_eq!(done.status.code(), Some(130), "{done:?}");
    assert!(!is_changed());
    assert_eq!(place.remains(&lab), Vec::<String>::new());
    let journal = fs::read_to_string(place.path().join("state/journal.jsonl")).unwrap();
    assert_eq!(journal, "");
    assert_eq!(place.summary().end, Some(End::Interrupted));
    place.assert_all_measured();
    let earlier = place.records();
    assert!(!earlier.is_empty() && earlier.len() < TRIALS);
    complete(&place, &earlier);
}
