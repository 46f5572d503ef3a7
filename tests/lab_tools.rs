//! The workloads of more tools, one after the other in one guest: each gives its numbers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use kvmtune::event::{Outcome, TrialRecord};
use kvmtune::lab::image::find;
use kvmtune::store::Store;
use kvmtune::workload::Library;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Workloads, and a program that a lab has only when this machine has it.
const WORKLOADS: [(&str, &str); 11] = [
    ("iperf3-guest-to-host-4", "iperf3"),
    ("iperf3-host-to-guest-4", "iperf3"),
    ("iperf3-udp-guest-to-host", "iperf3"),
    ("iperf3-udp-host-to-guest", "iperf3"),
    ("iperf3-loaded-rtt", "iperf3"),
    ("sockperf-ping-pong", "sockperf"),
    ("cyclictest", "cyclictest"),
    ("hackbench", "hackbench"),
    ("sysbench-cpu", "sysbench"),
    ("mbw", "mbw"),
    ("redis-get", "redis-server"),
];

/// An emulated guest needs a minute for all of them.
const LIMIT: Duration = Duration::from_mins(5);

#[test]
fn every_tool_gives_its_numbers() {
    if !common::lab_is_possible() {
        return;
    }
    let folder = tempfile::Builder::new()
        .prefix("kvmtune-tools-")
        .tempdir()
        .unwrap();
    let path = |name: &str| folder.path().join(name);
    let (here, lacking): (Vec<_>, Vec<_>) =
        WORKLOADS.iter().partition(|(_, program)| find(program).is_some());
    for (workload, program) in lacking {
        eprintln!("left out: {workload}, for lack of {program}");
    }
    let header = "seed = 1\nfactor = { tunable = \"guest.swappiness\", levels = [60], baseline = 61 }\n\
                  design = { blocks = 2, confirm = false }\n";
    let parts = here.iter().map(|(workload, _)| {
        // sockperf gives no percentile of fewer than 1000 messages, and an emulated guest sends some 200 a second.
        let usual = Library::builtin().get(workload).unwrap().time.0.as_secs().min(2);
        let time = if *workload == "sockperf-ping-pong" {
            12
        } else {
            usual
        };
        format!("[[workload]]\nuse = \"{workload}\"\ntime = \"{time}s\"\n")
    });
    let workloads: Vec<_> = parts.collect();
    fs::write(path("experiment.toml"), format!("{header}{}", workloads.concat())).unwrap();
    let mut run = Command::new(assert_cmd::cargo::cargo_bin!("kvmtune"))
        .current_dir(folder.path())
        .args(["--state", "state", "--results", "results", "--cache"])
        .arg(common::cache())
        .args(["run", "experiment.toml"])
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    // One trial has all of them; the others would only show it again.
    let started = Instant::now();
    let trials = loop {
        let trials = trials(&path("results"));
        let ended = run.try_wait().unwrap();
        if !trials.is_empty() || ended.is_some() || started.elapsed() > LIMIT {
            break trials;
        }
        thread::sleep(Duration::from_millis(200));
    };
    if run.try_wait().unwrap().is_none() {
        kill(Pid::from_raw(i32::try_from(run.id()).unwrap()), Signal::SIGINT).unwrap();
    }
    run.wait().unwrap();
    assert!(!trials.is_empty(), "no trial after {:.1?}", started.elapsed());
    for record in &trials {
        let Outcome::Measured { observations, .. } = &record.outcome else {
            panic!("{record:#?}")
        };
        for (workload, _) in &here {
            let found = observations.iter().filter(|o| o.workload == *workload);
            let found: Vec<_> = found.map(|o| (o.metric.as_str(), o.value)).collect();
            eprintln!("{workload}: {found:?}");
            assert_eq!(
                found.len(),
                Library::builtin().get(workload).unwrap().metrics.len()
            );
            assert!(found[0].1 > 0.0, "{workload}: {found:?}");
        }
    }
}

/// The trials of the only run, as far as there are any.
fn trials(results: &Path) -> Vec<TrialRecord> {
    let read = || {
        let store = Store::open_existing(results).ok()?;
        let run = store.runs().ok()?.first()?.run;
        store.trials(run).ok()
    };
    read().unwrap_or_default()
}
