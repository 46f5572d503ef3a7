//! The host beside a lab guest: its numbers are there and plausible, what a cache serves is suspect and what the disk and
//! the link serve is not, and every trial has a guest of its own when that is asked for.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[allow(dead_code, unreachable_pub, reason = "shared with tests that use more of it")]
#[path = "lab_run/place.rs"]
mod place;

use kvmtune::event::{Outcome, TrialRecord};
use kvmtune::store::Store;
use place::Place;
use std::collections::BTreeSet;
use std::fs;

const EXPERIMENT: &str = r#"
    seed = 1
    guest = { kind = "lab", fresh = "trial" }
    design = { blocks = 2, confirm = false }
    [factor]
    tunable = "guest.swappiness"
    levels = [60, 10]
    baseline = 60
    [[workload]]
    use = "fio-randread-4k"
    time = "2s"
    warmup = "1s"
    [[workload]]
    use = "cached"
    [[workload]]
    use = "iperf3-host-to-guest"
    time = "2s"
    warmup = "1s"
    [[derived]]
    name = "iops_per_cpu"
    unit = "1/s"
    goal = "maximize"
    ratio = ["fio-randread-4k.iops", "host.cpu"]
    [response]
    metric = "iops_per_cpu"
"#;

/// Reads 32 MiB again and again through the guest's page cache.
const CACHED: &str = r#"
    summary = "reads that the guest's page cache serves"
    run = "guest"
    argv = ["fio", "--name=trial", "--filename={scratch}", "--size=32MiB", "--rw=read", "--bs=256k", "--direct=0",
            "--invalidate=0", "--time_based", "--runtime={time}", "--group_reporting", "--output={result}",
            "--output-format=json"]
    time = "2s"
    parser = "fio"
    [[metric]]
    name = "bw"
    unit = "B/s"
    goal = "maximize"
"#;

fn value(record: &TrialRecord, workload: &str, metric: &str) -> f64 {
    let Outcome::Measured { observations, .. } = &record.outcome else {
        panic!("{record:#?}");
    };
    let found = observations
        .iter()
        .find(|o| o.workload == workload && o.metric == metric);
    found
        .unwrap_or_else(|| panic!("no {workload}.{metric} in {observations:#?}"))
        .value
}

/// What a trial costs beside its workloads, of which each is a start, looks for its end and fetching what it left.
fn print_overhead(records: &[TrialRecord]) {
    let mut outside: Vec<f64> = records
        .iter()
        .map(|r| r.timing.total.saturating_sub(r.timing.workload).as_secs_f64())
        .collect();
    outside.sort_by(f64::total_cmp);
    let median = outside[outside.len() / 2];
    let of_settings = |r: &TrialRecord| (r.timing.apply + r.timing.verify + r.timing.restore).as_secs_f64();
    let settings = records.iter().map(of_settings).sum::<f64>() / records.len() as f64;
    let each = (median - settings) / 3.0;
    println!(
        "outside the workloads: {median:.3} s a trial of three, {settings:.3} s of it for settings, {each:.3} s for each \
         workload; of a trial with one workload of 30 s {:.1} % (target 3 %), {:.3} s (target 0.25 s)",
        100.0 * (settings + each) / (30.0 + settings + each),
        settings + each
    );
}

#[test]
fn the_host_bears_witness() {
    let Some(place) = Place::new(EXPERIMENT, CACHED) else {
        return;
    };
    fs::rename(
        place.path().join("workloads/load.toml"),
        place.path().join("workloads/cached.toml"),
    )
    .unwrap();
    place.run();
    let records = place.records();
    assert_eq!(records.len(), 6);
    let cpus = std::thread::available_parallelism().unwrap().get() as f64;
    for record in &records {
        let host = |metric: &str| value(record, "host", metric);
        assert!(host("cpu") > 0.05 && host("cpu") < cpus + 0.2, "{record:#?}");
        assert!(
            host("vcpu_cpu") > 0.0 && host("vcpu_cpu") < host("machine_cpu") + 0.2,
            "{record:#?}"
        );
        assert!(
            host("context_switches") > 1.0 && host("link_to_guest_bytes") > 1e5,
            "{record:#?}"
        );
        let Outcome::Measured { suspect, .. } = &record.outcome else {
            panic!("{record:#?}");
        };
        let [doubt] = suspect.as_slice() else {
            panic!("one workload is suspect, not {suspect:?}");
        };
        assert!(doubt.starts_with("cached: fio says it read "), "{doubt}");
        assert!(
            doubt.contains("the guest's") && doubt.ends_with("served it"),
            "{doubt}"
        );
        println!(
            "telemetry takes {:.3} % of a CPU; QEMU {:.2} CPUs; {doubt}",
            100.0 * host("telemetry_cpu"),
            host("cpu")
        );
    }
    print_overhead(&records);
    let starts: BTreeSet<u32> = records.iter().map(|r| r.trial.boot).collect();
    assert_eq!(starts.len(), records.len(), "a start of the guest for each trial");
    let store = Store::open_existing(&place.path().join("results")).unwrap();
    let raw = store.raw(place.summary().run, 1).unwrap();
    let tables: Vec<_> = raw.iter().filter(|r| r.workload == "host").collect();
    assert_eq!(tables.len(), 3, "one beside each workload");
    let table = String::from_utf8_lossy(&tables[0].content);
    assert!(
        table.starts_with("seconds,cpu,vcpu_cpu,") && table.lines().count() >= 4,
        "{table}"
    );
    let plot = place.kvmtune(&["plot", "--kind", "telemetry", "-o", "-"]);
    let plot = String::from_utf8_lossy(&plot.stdout);
    let metrics = plot.matches("data-trial=\"1.2\"").count();
    assert!(
        metrics > 5 && plot.contains("disk_read_bytes"),
        "{metrics} metrics of trial 2"
    );
    let report = place.kvmtune(&["report"]);
    let report = String::from_utf8_lossy(&report.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        report.contains("what the host did") && report.contains("are suspect, and counted"),
        "{report}"
    );
}
