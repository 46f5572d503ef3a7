//! `levels = "suggested"` from the file to the report: in a simulation to the end, in the lab up to the plan.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/mod.rs"]
mod common;
#[path = "simulated/mod.rs"]
mod simulated;

use kvmtune::lab::image;
use serde_json::Value;
use simulated::Place;
use std::process::Output;

const BUFFERS: &str = "
[[factor]]
tunable = \"guest.net.tcp-rmem\"
levels = \"suggested\"
[workload]
use = \"iperf3-host-to-guest\"
time = \"3s\"
warmup = \"1s\"
[response]
metric = \"bits_per_second\"
[design]
blocks = 12
confirm = 12
";

const MODEL: &str = "
network = { bandwidth = 1_000_000_000, rtt-us = 1000 }
[[noise]]
cv = \"1%\"
[[effect]]
set = { \"guest.net.tcp-rmem\" = \"4096 131072 262144\" }
metric = \"bits_per_second\"
change = \"+10%\"
";

const ARITHMETIC: &str = "guest.net.tcp-rmem: measured 1 Gbit/s x 1 ms = 122 KiB in flight; levels 1x, 2x and 4x of it in \
    powers of two, at least 128 KiB; 16 MiB as is usual for 1 Gbit/s; at most 64 MiB, an eighth of the available memory";

/// The one level of each treatment, the baseline first.
fn levels(report: &Value) -> Vec<String> {
    let others = report["treatments"].as_array().unwrap();
    std::iter::once(&report["baseline"])
        .chain(others)
        .map(|treatment| treatment["levels"][0][1].as_str().unwrap().to_string())
        .collect()
}

#[test]
fn a_run_measures_what_was_suggested_and_confirms_it() {
    let place = Place::new(BUFFERS, MODEL);
    let plan = place.does("plan some.toml --simulate model.toml --seed 3");
    let joined = plan.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(joined.contains(ARITHMETIC), "{plan}");

    let report = place.run("--seed 3");
    let of = |largest: u64| format!("4096 131072 {largest}");
    assert_eq!(
        levels(&report),
        [6_291_456, 131_072, 262_144, 524_288, 16_777_216].map(of)
    );
    let notices = report["notices"].as_array().unwrap();
    assert!(notices.iter().any(|n| n == ARITHMETIC), "{notices:?}");
    let recorded = place.recorded();
    assert_eq!(recorded.len(), 2, "a winner is confirmed");
    let chosen = &recorded[1].0.plan.treatments[1];
    assert!(format!("{chosen:?}").contains("4096 131072 262144"), "{chosen:?}");
}

#[test]
fn what_cannot_be_suggested_is_refused_at_its_place() {
    let place = Place::new(BUFFERS, "");
    let said = place.refuses("plan some.toml --simulate model.toml --seed 3", 3);
    assert!(
        said.contains("the model describes no network") && said.contains("some.toml:4:10"),
        "{said}"
    );
}

#[test]
fn every_rule_gives_levels_on_a_described_machine() {
    let named = kvmtune::tunable::catalogue()
        .iter()
        .filter(|t| t.rule().is_some());
    let mut planned = 0;
    for tunable in named.filter(|t| !t.name.contains("boot.")) {
        let allow = "allow = [\"data-loss\", \"security\", \"lockout\"]";
        let experiment = format!(
            "{allow}\n{}",
            BUFFERS.replace("guest.net.tcp-rmem", &tunable.name)
        );
        let place = Place::new(
            &experiment,
            "network = { bandwidth = 1_000_000_000, rtt-us = 1000 }",
        );
        let done = place
            .command("plan some.toml --simulate model.toml --seed 3")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        // A format alone, without an image of it, is no level.
        let is_format = tunable.name == "domain.disk.format" && said.contains("nothing to compare");
        let is_explained =
            is_format || said.contains("can be suggested: ") || said.contains("cannot be set here: ");
        assert!(done.status.success() || is_explained, "{}: {said}", tunable.name);
        planned += usize::from(done.status.success());
    }
    assert!(planned > 60, "only {planned}");
}

/// `None` where there can be no lab.
fn in_lab(experiment: &str) -> Option<(tempfile::TempDir, Output)> {
    if !common::lab_is_possible() {
        return None;
    }
    image::build(&common::cache()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("some.toml"), experiment).unwrap();
    let done = std::process::Command::new(assert_cmd::cargo::cargo_bin("kvmtune"))
        .current_dir(folder.path())
        .args(["plan", "some.toml", "--seed", "3", "--state", "state", "--cache"])
        .arg(common::cache())
        .output()
        .unwrap();
    Some((folder, done))
}

#[test]
fn the_lab_measures_its_network_for_the_plan() {
    let Some((_folder, done)) = in_lab(BUFFERS) else {
        return;
    };
    let told = String::from_utf8_lossy(&done.stdout);
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{told}{said}");
    let words: Vec<_> = told.split_whitespace().collect();
    let at = words
        .iter()
        .position(|w| *w == "measured")
        .unwrap_or_else(|| panic!("{told}"));
    let [rate, unit, times, delay, time, equal, flight, size] = words[at + 1..at + 9] else {
        panic!("{told}")
    };
    assert!(
        rate.parse::<f64>().unwrap() > 0.0 && unit.ends_with("bit/s"),
        "{told}"
    );
    assert!(
        delay.parse::<f64>().unwrap() > 0.0 && ["ms", "µs"].contains(&time),
        "{told}"
    );
    assert!(flight.parse::<f64>().unwrap() > 0.0, "{told}");
    assert_eq!((times, equal), ("x", "="), "{told}");
    assert!(["bytes", "KiB", "MiB"].contains(&size), "{told}");
}
