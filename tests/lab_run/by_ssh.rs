//! A whole run in the lab's guest by ssh: the same as by its agent, and nothing of it is left.

use crate::common;
use crate::place::{Place, script, wait_until};
use kvmtune::event::Outcome;
use std::fs;

const EXPERIMENT: &str = r#"
    seed = 1
    guest = { kind = "lab", transport = "ssh" }
    workload = { use = "load" }
    design = { blocks = 2, confirm = false }
    [[factor]]
    tunable = "guest.swappiness"
    levels = [60, 10]
    [[factor]]
    tunable = "domain.disk.cache"
    levels = ["none", "writeback"]
"#;

/// The level that is in force is what the workload measures. The agent is stopped: all goes by ssh.
const LOAD: &str = "n=$(cat /proc/sys/vm/swappiness); kill -STOP $(pidof qemu-ga);";

/// Processes that have the lab's id in their arguments.
fn processes(id: &str) -> usize {
    let entries = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &std::path::PathBuf| {
        let words = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        words.contains(id)
    };
    entries.filter(named).count()
}

#[test]
fn a_run_by_ssh_measures_what_is_set_and_leaves_nothing() {
    if !common::ssh_is_possible() {
        return;
    }
    let Some(place) = Place::new(EXPERIMENT, &script(LOAD)) else {
        return;
    };
    place.run();
    place.assert_all_measured();
    assert_eq!(place.header().facts.record["guest.transport"], "ssh");
    for (label, record) in place.labelled() {
        let Outcome::Measured { observations, .. } = &record.outcome else {
            panic!("{record:#?}")
        };
        let wanted = if label.contains("swappiness=10") {
            10.0
        } else {
            60.0
        };
        let value = observations[0].value;
        assert!((value - wanted).abs() < 0.5, "{label}: {value}");
    }
    let report = place.kvmtune(&["report"]);
    assert!(
        String::from_utf8_lossy(&report.stdout).contains("by ssh"),
        "{report:?}"
    );

    let run = place.start(&["run", "experiment.toml"]);
    let mut id = None;
    wait_until("an ssh client", || {
        id = place.lab();
        id.as_ref()
            .is_some_and(|id| fs::exists(format!("/run/kvmtune/{id}/ssh/control")).unwrap())
    });
    let id = id.unwrap();
    run.signal(nix::sys::signal::Signal::SIGKILL);
    run.finish();
    wait_until("the client's end", || {
        processes(&format!("/run/kvmtune/{id}/ssh/")) == 0
    });
    assert!(place.kvmtune(&["recover"]).status.success());
    assert_eq!(place.remains(&id), Vec::<String>::new());
}
