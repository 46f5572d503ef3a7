//! Runs that never happened: as large as the targets say, the same on every machine. Tests use them too.
#![allow(dead_code, reason = "each program uses a part")]
#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "made-up runs")]

mod whole;

use kvmtune::design::{Guests, Treatment, block};
use kvmtune::event::{End, Event, Outcome, RunHeader, RunId, Timing, Trial, TrialRecord};
use kvmtune::store::{FILE, Store};
use kvmtune::workload::Observation;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const WORKLOAD: &str = "made-up";
/// One response and 19 guards.
const METRICS: usize = 20;

/// All blocks are judged at once.
pub(crate) fn fixed() -> Value {
    json!({"kind": "fixed"})
}

/// A made-up run.
pub(crate) struct Run {
    pub(crate) header: RunHeader,
    pub(crate) records: Vec<TrialRecord>,
}

impl Run {
    /// 10,000 trials: 50 treatments, 200 blocks. No treatment differs from the baseline.
    pub(crate) fn wide(name: &str, stopping: &Value) -> Self {
        Self::new(name, stopping, 50, 200)
    }

    /// 10,000 trials of one candidate and the baseline.
    pub(crate) fn long(name: &str) -> Self {
        Self::new(name, &fixed(), 2, 5000)
    }

    /// 10,000 trials of two factors, with all that a report tells of a run.
    pub(crate) fn whole(name: &str) -> Self {
        whole::whole(name, 10, 5, 200)
    }

    /// A million observations.
    pub(crate) fn million(name: &str) -> Self {
        Self::new(name, &fixed(), 50, 1000)
    }

    fn new(name: &str, stopping: &Value, treatments: usize, blocks: u32) -> Self {
        let header = header(name, stopping, treatments, blocks);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut records = Vec::new();
        for block in &header.plan.blocks[1..] {
            let night = 1.0 + 0.1 * (f64::from(block.number) / 30.0).sin();
            for &treatment in block.plots.iter().flat_map(|plot| &plot.treatments) {
                let treatment = &header.plan.treatments[treatment];
                let order = u32::try_from(records.len()).unwrap();
                records.push(record(block.number, order, treatment, night, &mut rng));
            }
        }
        Self { header, records }
    }
}

/// The folder with these runs in a store; made when it is not there. The name tells the schema and the formula.
pub(crate) fn stored(runs: impl Fn() -> Vec<Run>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("made-up-3");
    if Store::open_existing(&folder).is_err() {
        store(runs(), &folder);
    }
    folder
}

/// Stores the runs in a new database in the `folder`.
pub(crate) fn store(runs: Vec<Run>, folder: &Path) {
    // Where there is no disk below, a commit takes no time.
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() {
        tempfile::tempdir_in(memory).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let mut store = Store::open(scratch.path()).unwrap();
    for Run { header, records } in runs {
        let header = Box::new(header);
        store.record(&Event::RunStarted { header }).unwrap();
        for record in records {
            let record = Box::new(record);
            store.record(&Event::TrialFinished { record }).unwrap();
        }
        let end = End::Complete;
        store.record(&Event::RunFinished { end }).unwrap();
    }
    drop(store);
    fs::create_dir_all(folder).unwrap();
    fs::copy(scratch.path().join(FILE), folder.join(FILE)).unwrap();
}

fn metric(place: usize) -> String {
    if place == 0 {
        "iops".into()
    } else {
        format!("guard_{place:02}")
    }
}

fn header(name: &str, stopping: &Value, treatments: usize, blocks: u32) -> RunHeader {
    let id = |place: usize| json!({"workload": WORKLOAD, "metric": metric(place)});
    let goal = |place: usize| {
        if place.is_multiple_of(2) {
            "maximize"
        } else {
            "minimize"
        }
    };
    let own = |place| json!({"name": metric(place), "unit": "1/s", "goal": goal(place)});
    let guard = |place| json!({"metric": id(place), "goal": goal(place), "margin": "5%"});
    let level = |place: usize| json!({"label": place.to_string(), "settings": []});
    let treatment = |place: usize| {
        let levels = [["guest.vm.swappiness", &place.to_string()]];
        json!({"id": format!("{place:08x}"), "name": null, "role": "listed", "levels": levels,
            "restart": [], "live": []})
    };
    let treatments: Vec<Treatment> = (0..treatments)
        .map(|place| serde_json::from_value(treatment(place)).unwrap())
        .collect();
    let protocol = json!({
        "question": null,
        "guest": {"lab": {"vcpus": 2, "memory": "512MiB", "disk": "256MiB"}},
        "workloads": [{"name": WORKLOAD, "summary": "nothing", "side": "guest", "argv": ["true"], "server": null,
            "time": "5s", "warmup": "1s", "grace": "1m", "max_output": "1MiB", "parser": "fio", "programs": [],
            "metrics": (0..METRICS).map(own).collect::<Vec<_>>(), "requirements": []}],
        "derived": [],
        "responses": [{"metric": id(0), "goal": goal(0)}],
        "stopping": stopping,
        "guards": (1..METRICS).map(guard).collect::<Vec<_>>(),
        "smallest_effect": "1%",
        "time_budget": null,
    });
    let plan = json!({
        "seed": 1,
        "factors": [{"tunable": "guest.vm.swappiness", "whole_plot": false, "baseline": 0, "original": 0,
            "levels": (0..treatments.len()).map(level).collect::<Vec<_>>()}],
        "treatments": treatments,
        "guests": Guests::Shared,
        "planned": blocks,
        "blocks": (0..=blocks).map(|number| block(number, &treatments, Guests::Shared, 1)).collect::<Vec<_>>(),
        "notices": [],
    });
    RunHeader {
        run: RunId(uuid::Uuid::now_v7()),
        started: "2026-07-01T10:00:00Z".parse().unwrap(),
        version: env!("CARGO_PKG_VERSION").into(),
        experiment: name.into(),
        file: format!("{name}.toml"),
        text: format!("name = \"{name}\"\n"),
        purpose: serde_json::from_value(json!({"kind": "sweep"})).unwrap(),
        certificate: None,
        protocol: serde_json::from_value(protocol).unwrap(),
        plan: serde_json::from_value(plan).unwrap(),
        facts: kvmtune::facts::Facts::default(),
    }
}

fn record(block: u32, order: u32, treatment: &Treatment, night: f64, rng: &mut ChaCha8Rng) -> TrialRecord {
    let mut observation = |place: usize| {
        let noise: f64 = (0..4).map(|_| rng.random::<f64>() - 0.5).sum();
        let value = 5000.0 * night * (1.0 + 0.02 * noise);
        Observation {
            workload: WORKLOAD.into(),
            metric: metric(place),
            // The last guard moves in steps.
            value: if place + 1 == METRICS {
                (value / 20.0).round()
            } else {
                value
            },
        }
    };
    TrialRecord {
        trial: Trial {
            block,
            boot: 0,
            order,
            treatment: treatment.id.clone(),
        },
        started: "2026-07-01T10:00:00Z".parse().unwrap(),
        outcome: Outcome::Measured {
            suspect: Vec::new(),
            observations: (0..METRICS).map(&mut observation).collect(),
        },
        timing: Timing {
            total: Duration::from_millis(5100),
            workload: Duration::from_secs(5),
            ..Timing::default()
        },
        raw: Vec::new(),
    }
}
