//! A run as a real one would be that is as large: two factors, two responses and a guard, percentiles, the host's numbers
//! with their seconds, trials that failed, drifted or are suspect.

use super::{Run, fixed};
use kvmtune::design::{Guests, Treatment, block};
use kvmtune::event::{Drift, Outcome, RawOutput, RunHeader, RunId, Stage, Timing, Trial, TrialRecord};
use kvmtune::workload::Observation;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;

const WORKLOAD: &str = "fio-randread-4k";
/// Name, unit, and what the baseline has.
const OWN: [(&str, &str, f64); 8] = [
    ("iops", "1/s", 5_000.0),
    ("bw", "B/s", 20e6),
    ("clat_mean_us", "us", 200.0),
    ("clat_p50_us", "us", 180.0),
    ("clat_p90_us", "us", 300.0),
    ("clat_p99_us", "us", 700.0),
    ("clat_p999_us", "us", 1_500.0),
    ("clat_p9999_us", "us", 4_000.0),
];
/// The same of the host.
const HOST: [(&str, f64); 12] = [
    ("cpu", 1.3),
    ("vcpu_cpu", 0.9),
    ("io_cpu", 0.3),
    ("steal", 0.02),
    ("machine_cpu", 1.9),
    ("switches", 9_000.0),
    ("disk_read_bytes", 20e6),
    ("disk_write_bytes", 1e5),
    ("disk_reads", 5_000.0),
    ("disk_writes", 10.0),
    ("link_from_guest_bytes", 900.0),
    ("link_to_guest_bytes", 800.0),
];
const SECONDS: u32 = 5;

/// `schedulers` x `depths` treatments, each once in every one of `blocks` blocks.
pub(crate) fn whole(name: &str, schedulers: u32, depths: u32, blocks: u32) -> Run {
    let header = header(name, schedulers, depths, blocks);
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut records = Vec::new();
    for block in &header.plan.blocks[1..] {
        let night = 1.0 + 0.1 * (f64::from(block.number) / 30.0).sin();
        for &place in block.plots.iter().flat_map(|plot| &plot.treatments) {
            let order = u32::try_from(records.len()).unwrap();
            let treatment = &header.plan.treatments[place];
            let speed = night * (1.0 + 0.002 * (place % 7) as f64);
            records.push(record(block.number, order, treatment, speed, &mut rng));
        }
    }
    Run { header, records }
}

fn header(name: &str, schedulers: u32, depths: u32, blocks: u32) -> RunHeader {
    let id = |metric: &str| json!({"workload": WORKLOAD, "metric": metric});
    let goal = |name: &str| {
        if name.contains("lat") {
            "minimize"
        } else {
            "maximize"
        }
    };
    let metrics = OWN.map(|(name, unit, _)| json!({"name": name, "unit": unit, "goal": goal(name)}));
    let protocol = json!({
        "question": "Which scheduler and how many requests give the most reads without hurting the slowest?",
        "guest": {"lab": {"vcpus": 2, "memory": "512MiB", "disk": "256MiB"}},
        "workloads": [{"name": WORKLOAD, "summary": "4 KiB random reads", "side": "guest", "argv": ["fio"],
            "server": null, "time": "5s", "warmup": "1s", "grace": "1m", "max_output": "1MiB", "parser": "fio",
            "programs": [], "metrics": metrics, "requirements": []}],
        "derived": [],
        "responses": [{"metric": id("iops"), "goal": "maximize"}, {"metric": id("clat_p99_us"), "goal": "minimize"}],
        "stopping": fixed(),
        "guards": [{"metric": id("clat_p999_us"), "goal": "minimize", "margin": "5%"}],
        "smallest_effect": "1%",
        "time_budget": null,
    });
    let level = |label: u32| json!({"label": label.to_string(), "settings": []});
    let factor = |tunable: &str, levels: u32| {
        json!({"tunable": tunable, "whole_plot": false, "baseline": 0, "original": 0,
            "levels": (0..levels).map(level).collect::<Vec<_>>()})
    };
    let (a, b) = ("guest.vm.swappiness", "guest.disk.nr-requests");
    let treatment = |place: u32| -> Value {
        let levels = [
            [a, &(place / depths).to_string()],
            [b, &(place % depths).to_string()],
        ];
        json!({"id": format!("{place:08x}"), "name": null, "role": "listed", "levels": levels, "restart": [], "live": []})
    };
    let treatments: Vec<Treatment> = (0..schedulers * depths)
        .map(|place| serde_json::from_value(treatment(place)).unwrap())
        .collect();
    let plan = json!({
        "seed": 1,
        "factors": [factor(a, schedulers), factor(b, depths)],
        "treatments": treatments,
        "guests": Guests::Shared,
        "planned": blocks,
        "blocks": (0..=blocks).map(|number| block(number, &treatments, Guests::Shared, 1)).collect::<Vec<_>>(),
        "notices": ["a made-up run"],
    });
    let mut facts = kvmtune::facts::Facts::default();
    for (name, value) in [
        ("host.cpu.model", "Made-up CPU @ 2.00GHz"),
        ("host.kernel", "6.1.0"),
        ("guest.kernel", "6.1.0"),
    ] {
        facts.record.insert(name.into(), value.into());
    }
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
        facts,
    }
}

/// One trial in a hundred gives no number, and one in fifty is suspect.
fn record(block: u32, order: u32, treatment: &Treatment, speed: f64, rng: &mut ChaCha8Rng) -> TrialRecord {
    let outcome = match rng.random_range(0..200) {
        0 => Outcome::Failed {
            stage: Stage::Measure,
            message: "fio: ended by signal 9 after 5s".into(),
        },
        1 => Outcome::Invalid {
            drift: vec![Drift {
                address: "guest:/proc/sys/vm/swappiness".into(),
                wanted: "1".into(),
                found: "60".into(),
                during: true,
                actors: Vec::new(),
            }],
        },
        luck => Outcome::Measured {
            observations: observations(speed, rng),
            suspect: match luck {
                2..=5 => vec![
                    "fio says it read 1.2 GiB, and the host's disk gave 0 bytes: a cache served it".into(),
                ],
                _ => Vec::new(),
            },
        },
    };
    let raw = matches!(outcome, Outcome::Measured { .. }).then(|| RawOutput {
        workload: "host".into(),
        content: seconds(rng).into_bytes(),
    });
    let began: jiff::Timestamp = "2026-07-01T10:00:00Z".parse().unwrap();
    TrialRecord {
        trial: Trial {
            block,
            boot: 0,
            order,
            treatment: treatment.id.clone(),
        },
        started: began + Duration::from_millis(5_300) * order,
        outcome,
        timing: Timing {
            total: Duration::from_millis(5_200),
            workload: Duration::from_secs(5),
            apply: Duration::from_millis(40),
            verify: Duration::from_millis(70),
            restore: Duration::from_millis(50),
        },
        raw: raw.into_iter().collect(),
    }
}

fn observations(speed: f64, rng: &mut ChaCha8Rng) -> Vec<Observation> {
    let mut noise = || 1.0 + 0.02 * (0..4).map(|_| rng.random::<f64>() - 0.5).sum::<f64>();
    let mut one = |workload: &str, metric: &str, value: f64| Observation {
        workload: workload.into(),
        metric: metric.into(),
        value: value * noise(),
    };
    let own = OWN.map(|(name, _, value)| {
        let value = if name.contains("lat") {
            value / speed
        } else {
            value * speed
        };
        one(WORKLOAD, name, value)
    });
    let host = HOST.map(|(name, value)| one("host", name, value * speed));
    own.into_iter().chain(host).collect()
}

/// What the host did in each second, as the watcher writes it.
fn seconds(rng: &mut ChaCha8Rng) -> String {
    let mut table = String::from("seconds");
    for (name, _) in HOST {
        let _ = write!(table, ",{name}");
    }
    for second in 1..=SECONDS {
        let _ = write!(table, "\n{second}.000");
        for (_, value) in HOST {
            let _ = write!(table, ",{:.4}", value * (0.95 + 0.1 * rng.random::<f64>()));
        }
    }
    table.push('\n');
    table
}
