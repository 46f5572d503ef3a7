//! A job file of fio in the lab's guest: prepared, run, read, with page caches dropped before it; and one on the host.

use crate::place::{Place, kernel_value, script};
use kvmtune::event::Outcome;
use std::fs;

const EXPERIMENT: &str = r#"
    seed = 1
    guest = { kind = "lab", disk = "160MiB" }
    factor = { tunable = "guest.swappiness", levels = [60, 10], baseline = 60 }
    workload = [{ use = "two" }, { use = "load" }, { use = "here" }]
    design = { blocks = 2, confirm = false }
"#;

/// A reader of 4 KiB and a writer of 8 KiB, at the same time.
const JOBS: &str = "; What it does: two jobs\n[global]\nfilename=${SCRATCH}\nsize=16m\ndirect=1\ntime_based\n\
                    runtime=${TIME}\nramp_time=${WARMUP}\n[reader]\nrw=randread\nbs=4k\n\
                    [writer]\nrw=randwrite\nbs=8k\nfsync=8\n";
const METRICS: [&str; 8] = [
    "iops",
    "read_operations",
    "read_bytes",
    "write_operations",
    "write_bytes",
    "read_clat_p9999_us",
    "write_clat_p99_us",
    "sync_lat_p99_us",
];
/// Without a disk: what is tried is that the file gets there.
const IDLE: &str = "[idle]\nioengine=null\nrw=read\nbs=16k\nsize=1g\ntime_based\nruntime=${TIME}\n";

/// How often the page cache was dropped since the guest started.
const DROPS: &str = "n=$(sed -n s/^drop_pagecache.//p /proc/vmstat);";

fn workload(job: &str, run: &str, more: &str, metrics: &[&str]) -> String {
    let metric = |name: &&str| format!("[[metric]]\nname = \"{name}\"\nunit = \"x\"\ngoal = \"maximize\"\n");
    let metrics: String = metrics.iter().map(metric).collect();
    format!("summary = \"x\"\nrun = \"{run}\"\njob = \"{job}\"\ntime = \"1s\"\n{more}\n{metrics}")
}

fn host_drops() -> u64 {
    let counters = kernel_value("/proc/vmstat");
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("drop_pagecache "));
    line.unwrap().parse().unwrap()
}

#[test]
fn a_job_file_reaches_guest_and_host_and_its_numbers_come_back() {
    let load = script(DROPS).replace("[[metric]]", "drop-caches = \"guest\"\n[[metric]]");
    let Some(place) = Place::new(EXPERIMENT, &load) else {
        return;
    };
    let prepare = "drop-caches = \"both\"\nwarmup = \"1s\"\nprepare = { job = \"fio-precondition.fio\" }";
    for (name, text) in [
        ("two.toml", workload("two.fio", "guest", prepare, &METRICS)),
        ("two.fio", JOBS.to_string()),
        (
            "here.toml",
            workload("here.fio", "host", "", &["read_bytes", "read_operations"]),
        ),
        ("here.fio", IDLE.to_string()),
    ] {
        fs::write(place.path().join("workloads").join(name), text).unwrap();
    }
    let before = host_drops();
    place.run();
    place.assert_all_measured();
    let trials = place.records();
    assert_eq!(trials.len(), 6);
    assert!(host_drops() >= before + 6, "once in each trial");
    for (number, trial) in trials.iter().enumerate() {
        let Outcome::Measured { observations, .. } = &trial.outcome else {
            panic!("{trial:#?}")
        };
        let value = |workload: &str, metric: &str| {
            let found = observations
                .iter()
                .find(|o| o.workload == workload && o.metric == metric);
            found.unwrap().value
        };
        let same = |one: f64, other: f64| assert!((one - other).abs() < 0.5, "{one} is not {other}");
        let two = |metric: &str| value("two", metric);
        same(two("read_bytes"), 4096.0 * two("read_operations"));
        same(two("write_bytes"), 8192.0 * two("write_operations"));
        assert!(two("iops") > 1.0 && two("read_clat_p9999_us") > 1.0 && two("sync_lat_p99_us") > 1.0);
        same(
            value("here", "read_bytes"),
            16384.0 * value("here", "read_operations"),
        );
        // Before this one was run two workloads of each trial dropped the guest's.
        same(value("load", "iops"), 2.0 * (number as f64 + 1.0));
    }
    let two = &place.header().protocol.workloads[0];
    assert_eq!(
        (two.files[0].name.as_str(), two.files[0].text.as_str()),
        ("two.fio", JOBS)
    );
    let errors = fs::read_to_string(place.path().join("stderr")).unwrap();
    let ready = errors
        .matches("fio-precondition.fio made the disk ready in")
        .count();
    assert_eq!(ready, 1, "{errors}");
}
