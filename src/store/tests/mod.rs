//! The store, tested with runs made up here; knows nothing of hosts.
#![allow(clippy::unwrap_used, reason = "tests")]

mod durability;
mod export;
mod find;
mod refusal;

use super::{RunSummary, Store, StoreError};
use crate::analysis::Stop;
use crate::design::{Plan, TreatmentId};
use crate::event::{
    Certificate, Drift, End, Event, Outcome, Purpose, RawOutput, RunHeader, RunId, Stage, Timing, Trial,
    TrialRecord,
};
use crate::experiment::Protocol;
use crate::facts::Facts;
use crate::workload::Observation;
use serde_json::json;
use std::time::Duration;

const BASELINE: &str = "00000001";
const BFQ: &str = "00000002";

fn run_id(n: u128) -> RunId {
    // Version and variant bits of a UUIDv7; `n` in the time and in the tail.
    RunId(uuid::Uuid::from_u128(
        (0x0199_0000_0000 + n) << 80 | 0x7000_8000_0000_0000_0000 | (n << 44),
    ))
}

fn plan() -> Plan {
    let loaded = json!({"address": {"guest-module": "bfq"}, "value": "loaded",
        "kind": {"choice": ["loaded", "absent"]}, "role": "coupled"});
    let level = |label| json!({"label": label, "settings": [loaded]});
    let treatment = |id, label| json!({"id": id, "name": null, "role": "listed", "levels": [["guest.disk.scheduler", label]], "restart": [], "live": [loaded]});
    let block = |number| json!({"number": number, "plots": [{"treatments": [1, 0]}]});
    serde_json::from_value(json!({
        "seed": u64::MAX,
        "factors": [{"tunable": "guest.disk.scheduler", "whole_plot": false,
            "levels": [level("none"), level("bfq")], "baseline": 0, "original": 0}],
        "treatments": [treatment(BASELINE, "none"), treatment(BFQ, "bfq")],
        "guests": "shared",
        "planned": 2,
        "blocks": [block(0), block(1), block(2)],
        "notices": ["2 blocks prove nothing"],
    }))
    .unwrap()
}

fn protocol() -> Protocol {
    serde_json::from_value(serde_json::json!({
        "question": null,
        "guest": { "lab": { "vcpus": 2, "memory": "512MiB", "disk": "256MiB" } },
        "workloads": [{ "name": "fio", "summary": "reads", "side": "guest", "argv": ["fio"], "server": null,
            "time": "3s", "warmup": "1s", "grace": "1m", "max_output": "1MiB", "parser": "fio", "programs": [],
            "metrics": [{ "name": "iops", "unit": "1/s", "goal": "maximize" }], "requirements": [] }],
        "derived": [],
        "responses": [{ "metric": { "workload": "fio", "metric": "iops" }, "goal": "maximize" }],
        "guards": [],
        "stopping": { "kind": "fixed" },
        "smallest_effect": "1%",
        "time_budget": null,
    }))
    .unwrap()
}

fn header(run: RunId, experiment: &str) -> RunHeader {
    let record = [("kernel".to_string(), "6.1 \"bookworm\"\n".to_string())];
    RunHeader {
        run,
        started: "2026-07-01T10:00:00.123456789Z".parse().unwrap(),
        version: "0.1.0".into(),
        experiment: experiment.into(),
        file: format!("{experiment}.toml"),
        text: "name = \"é\"\n".into(),
        purpose: Purpose::Sweep,
        certificate: None,
        protocol: protocol(),
        plan: plan(),
        facts: Facts {
            host_cpus: "0-3".parse().unwrap(),
            vcpus: 2,
            record: record.into(),
            ..Facts::default()
        },
    }
}

fn treatment(id: &str) -> TreatmentId {
    serde_json::from_value(id.into()).unwrap()
}

fn observation(workload: &str, metric: &str, value: f64) -> Observation {
    Observation {
        workload: workload.into(),
        metric: metric.into(),
        value,
    }
}

fn measured(value: f64) -> Outcome {
    Outcome::Measured {
        suspect: Vec::new(),
        observations: vec![
            observation("fio", "iops", value),
            observation("fio", "clat_p99_us", value / 3.0),
        ],
    }
}

fn suspect(value: f64) -> Outcome {
    Outcome::Measured {
        suspect: vec!["fio says it read 1 GiB, \"and\"\nthe disk gave nothing".into()],
        observations: vec![observation("host", "cpu", value)],
    }
}

fn failed(message: &str) -> Outcome {
    Outcome::Failed {
        stage: Stage::Parse,
        message: message.into(),
    }
}

fn invalid() -> Outcome {
    let drift = Drift {
        address: "guest:/sys/block/vdb/queue/scheduler".into(),
        wanted: "bfq".into(),
        found: "none".into(),
        during: true,
        actors: vec!["tuned (process 812)".into()],
    };
    Outcome::Invalid {
        drift: vec![drift.clone(), drift],
    }
}

/// Trial `order` of a run of two treatments a block.
fn record(order: u32, outcome: Outcome) -> TrialRecord {
    TrialRecord {
        trial: Trial {
            block: order / 2,
            boot: 1,
            order,
            treatment: treatment([BASELINE, BFQ][order as usize % 2]),
        },
        started: "2026-07-01T10:00:01Z".parse().unwrap(),
        outcome,
        timing: Timing {
            total: Duration::from_millis(5100),
            workload: Duration::from_secs(5),
            apply: Duration::from_nanos(1),
            verify: Duration::from_micros(2),
            restore: Duration::ZERO,
        },
        raw: vec![RawOutput {
            workload: "fio".into(),
            content: [b'{', 0, 255, b'}'].repeat(1000),
        }],
    }
}

fn started(run: RunId, experiment: &str) -> Event {
    Event::RunStarted {
        header: Box::new(header(run, experiment)),
    }
}

fn finished(order: u32, outcome: Outcome) -> Event {
    Event::TrialFinished {
        record: Box::new(record(order, outcome)),
    }
}

/// A store with these runs, each with one trial.
fn store_with(dir: &tempfile::TempDir, runs: &[(u128, &str)]) -> Store {
    let mut store = Store::open(dir.path()).unwrap();
    for (n, experiment) in runs {
        store.record(&started(run_id(*n), experiment)).unwrap();
        store.record(&finished(0, measured(1.0))).unwrap();
    }
    store
}

fn without_raw(mut record: TrialRecord) -> TrialRecord {
    record.raw.clear();
    record
}

#[test]
fn everything_stored_reads_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&dir.path().join("deep/results")).unwrap();
    let run = run_id(1);
    let outcomes = [
        measured(1.0e6 / 3.0),
        failed("fio: \"no\"\nspace"),
        invalid(),
        measured(-0.0),
        suspect(1.5),
    ];
    store.record(&started(run, "cache")).unwrap();
    store.record(&Event::GuestStarting { boot: 1 }).unwrap();
    for (order, outcome) in (0..).zip(&outcomes) {
        store.record(&finished(order, outcome.clone())).unwrap();
    }
    drop(store);

    let store = Store::open_existing(&dir.path().join("deep/results")).unwrap();
    assert_eq!(store.header(run).unwrap(), header(run, "cache"));
    let expected: Vec<_> = (0..)
        .zip(outcomes)
        .map(|(n, o)| without_raw(record(n, o)))
        .collect();
    assert_eq!(store.trials(run).unwrap(), expected);
    assert_eq!(store.raw(run, 1).unwrap(), record(1, invalid()).raw);
    let mut all = Vec::new();
    store
        .each_raw(run, "fio", |order, content| all.push((order, content)))
        .unwrap();
    let raw = |n| record(n, invalid()).raw.remove(0).content;
    assert_eq!(all, (0..5).map(|n| (n, raw(n))).collect::<Vec<_>>());
    store
        .each_raw(run, "host", |_, _| panic!("nothing was kept of it"))
        .unwrap();
    let done = [(0, BASELINE), (0, BFQ), (1, BASELINE), (1, BFQ), (2, BASELINE)];
    assert_eq!(
        store.done(run).unwrap(),
        done.map(|(b, t)| (b, treatment(t))).into()
    );
}

#[test]
fn the_last_end_or_resumption_tells_the_state() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let run = run_id(1);
    let mut expect = |event: Option<Event>, end: Option<End>, resumable: Option<RunId>| {
        if let Some(event) = event {
            store.record(&event).unwrap();
        }
        let runs = store.runs().unwrap();
        let header = header(run, "cache");
        let summary = RunSummary {
            simulated: false,
            purpose: Purpose::Sweep,
            run,
            experiment: header.experiment,
            started: header.started,
            done: 1,
            planned: 6,
            end,
        };
        assert_eq!(runs, [summary]);
        assert_eq!(store.resumable().unwrap(), resumable);
    };
    let end = |end| Some(Event::RunFinished { end });
    let notice = Event::Notice { text: "late".into() };
    expect(None, None, Some(run));
    expect(end(End::Interrupted), Some(End::Interrupted), Some(run));
    expect(Some(notice), Some(End::Interrupted), Some(run));
    let resumed = Event::RunResumed {
        run,
        done: 1,
        blocks: 2,
    };
    expect(Some(resumed), None, Some(run));
    expect(end(End::TimeBudget), Some(End::TimeBudget), None);
    expect(end(End::Complete), Some(End::Complete), None);
}

#[test]
fn purpose_and_certificate_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let certificate: Certificate = serde_json::from_value(json!({
        "run": run_id(1), "started": "2026-06-30T10:00:00Z",
        "metric": { "workload": "fio", "metric": "iops" },
        "noise": { "blocks": 20, "within-cv": 0.012, "sigma-d": 0.02, "sigma-d-percent": 2.02, "lag1": 0.1,
            "drift-percent": -1.5, "drift-percent-per-hour": -3.0, "interleaving-gain": null },
        "trial": { "secs": 5, "nanos": 250 },
    }))
    .unwrap();
    let purposes = [
        Purpose::Noise,
        Purpose::Sweep,
        Purpose::Confirm { of: run_id(2) },
        Purpose::Stage {
            number: 2,
            of: 3,
            first: Some(run_id(4)),
        },
    ];
    for (n, purpose) in (1..).zip(&purposes) {
        let header = RunHeader {
            purpose: purpose.clone(),
            certificate: (n > 1).then(|| certificate.clone()),
            ..header(run_id(n), "cache")
        };
        let header = Box::new(header);
        store
            .record(&Event::RunStarted {
                header: header.clone(),
            })
            .unwrap();
        assert_eq!(store.header(run_id(n)).unwrap(), *header);
    }
    let kept: Vec<_> = store.runs().unwrap().into_iter().map(|run| run.purpose).collect();
    assert_eq!(kept, purposes);
}

#[test]
fn a_resumption_with_more_blocks_makes_the_plan_longer() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let run = run_id(1);
    assert_eq!(store.header(run).unwrap().plan.judged(), 2);
    for blocks in [6, 4] {
        let done = 1;
        store.record(&Event::RunResumed { run, done, blocks }).unwrap();
        let plan = store.header(run).unwrap().plan;
        assert_eq!((plan.judged(), plan.planned), (6, 2));
        assert_eq!(plan.blocks[..3], self::plan().blocks[..]);
    }
    let planned = store.runs().unwrap()[0].planned;
    assert_eq!(planned, 14, "trials of the longer plan");
}

#[test]
fn a_dropped_treatment_and_an_early_end_are_logged() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let unsteady = Outcome::Unsteady {
        observations: vec![observation("fio", "iops", 1.0e6 / 3.0)],
        message: "fio: it never settled".into(),
    };
    store.record(&finished(1, unsteady.clone())).unwrap();
    let dropped = Event::TreatmentDropped {
        treatment: treatment(BFQ),
        block: 5,
        leader: treatment(BASELINE),
    };
    store.record(&dropped).unwrap();
    let end = End::Answered { stop: Stop::Futility };
    store.record(&Event::RunFinished { end }).unwrap();
    let run = run_id(1);
    assert_eq!(store.trials(run).unwrap()[1].outcome, unsteady);
    let summary = store.runs().unwrap().remove(0);
    assert_eq!((summary.end, summary.is_over()), (Some(end), true));
    assert_eq!(summary.state(), "complete, answered early");
    assert_eq!(store.resumable().unwrap(), None);
    let mut out = Vec::new();
    store.export_json_lines(run, &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let logged = |line: &str| serde_json::from_str::<super::Logged>(line).unwrap().event;
    let events: Vec<_> = lines.lines().map(logged).collect();
    assert!(events.contains(&dropped) && events.len() == 5);
    // The numbers of a trial that never settled are in its detail, and not among those that are judged.
    let judged: i64 = store
        .db
        .query_row("SELECT count(*) FROM observation", [], |row| row.get(0))
        .unwrap();
    assert_eq!(judged, 2);
}

#[test]
fn two_processes_write_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let mut one = store_with(&dir, &[(1, "one")]);
    let mut two = store_with(&dir, &[(2, "two")]);
    for order in 1..6 {
        one.record(&finished(order, measured(1.0))).unwrap();
        two.record(&finished(order, measured(2.0))).unwrap();
    }
    for run in [1, 2] {
        assert_eq!(one.trials(run_id(run)).unwrap().len(), 6);
    }
}
