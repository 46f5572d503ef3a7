//! A made-up run for the tests of reports: the same on every machine.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::Report;
use crate::decision::{Evaluation, evaluate};
use crate::design::{Block, Guests, Plan, PlannedFactor, Role, Treatment, TreatmentId, WholePlot, block};
use crate::event::{Drift, End, Outcome, Purpose, RunHeader, RunId, Stage, Timing, Trial, TrialRecord};
use crate::experiment::{Company, Goal, Guard, Guest, MetricId, Protocol, Response, Stopping};
use crate::facts::Facts;
use crate::tunable::{Address, Format, Kind, Level, Setting, XmlSetting};
use crate::units::{Bytes, Percent, Span};
use crate::workload::{Metric, Observation, Parser, Side, Workload};
use jiff::Timestamp;
use std::time::Duration;

const BLOCKS: u32 = 10;

/// A run with its evaluation.
pub(super) struct Fixture {
    pub(super) header: RunHeader,
    pub(super) records: Vec<TrialRecord>,
    pub(super) evaluation: Evaluation,
    pub(super) end: Option<End>,
}

impl Fixture {
    pub(super) fn report(&self) -> Report<'_> {
        Report {
            header: &self.header,
            records: &self.records,
            evaluation: &self.evaluation,
            end: self.end,
            selection: None,
            confirmation: None,
            against_whole: None,
            front: &[],
            certified: None,
            telemetry: &[],
        }
    }

    /// Two factors; one treatment clearly better, one better with a failed guard, one open; two trials lost.
    pub(super) fn quickstart() -> Self {
        let treatments = vec![
            treatment("0000aaaa", "writeback", "none"),
            treatment("1111bbbb", "none", "none"),
            treatment("2222cccc", "writeback", "mq-deadline"),
            treatment("3333dddd", "none", "mq-deadline"),
        ];
        Self::of("quickstart", treatments, &[1.0, 1.31, 1.004, 1.5])
    }

    /// Every text from outside is an attack.
    pub(super) fn hostile() -> Self {
        let evil = "\u{1b}[2J<script>alert(1)</script>\u{202e}]]>&\"'|`*_\r\n";
        let mut treatments = vec![
            treatment("0000aaaa", "writeback", "none"),
            treatment("1111bbbb", evil, "none"),
            treatment("2222cccc", &"long".repeat(2500), "none"),
        ];
        treatments[1].levels[1].1 = evil.into();
        let mut fixture = Self::of(evil, treatments, &[1.0, 1.3, 0.99]);
        fixture.header.protocol.question = Some(format!("{evil}?"));
        fixture.header.text = evil.repeat(20);
        fixture.header.file = evil.into();
        fixture.header.plan.notices = vec![evil.into()];
        fixture.header.facts.record.insert(evil.into(), evil.into());
        fixture
            .header
            .facts
            .record
            .insert("host.cpu.model".into(), evil.into());
        fixture.header.protocol.guest = Guest::Domain {
            name: evil.into(),
            connect: evil.into(),
            disk: None,
            scratch: None,
            ssh: None,
        };
        fixture.records[4].outcome = Outcome::Failed {
            stage: Stage::Measure,
            message: evil.repeat(1000),
        };
        fixture.evaluated()
    }

    pub(super) fn of(experiment: &str, treatments: Vec<Treatment>, ratios: &[f64]) -> Self {
        let seed = 41;
        let blocks: Vec<Block> = (0..=BLOCKS)
            .map(|number| block(number, &treatments, Guests::Shared, seed))
            .collect();
        let records = records(&treatments, &blocks, ratios);
        let plan = Plan {
            seed,
            factors: factors(&treatments),
            treatments,
            guests: Guests::Shared,
            planned: BLOCKS,
            blocks,
            notices: vec!["the device has no `kyber`".into()],
        };
        let header = RunHeader {
            run: RunId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_0123_4567_89ab)),
            started: Timestamp::constant(1_790_000_000, 0),
            version: "0.1.0".into(),
            experiment: experiment.into(),
            file: "experiments/quickstart.toml".into(),
            text: "name = \"quickstart\"\n".into(),
            purpose: Purpose::Sweep,
            certificate: None,
            protocol: protocol(),
            plan,
            facts: facts(),
        };
        let evaluation = evaluate(&header, &records).unwrap();
        let end = Some(End::Complete);
        Self {
            header,
            records,
            evaluation,
            end,
        }
    }

    /// The same with the evaluation of what the records say now.
    pub(super) fn evaluated(mut self) -> Self {
        self.evaluation = evaluate(&self.header, &self.records).unwrap();
        self
    }
}

/// The factors of these treatments, each with the levels it has in them.
fn factors(treatments: &[Treatment]) -> Vec<PlannedFactor> {
    let factor = |place: usize| {
        let mut levels: Vec<Level> = Vec::new();
        for treatment in treatments {
            let label = treatment.levels[place].1.clone();
            let settings = [&treatment.restart, &treatment.live][place].clone();
            if !levels.iter().any(|l| l.label == label) {
                levels.push(Level { label, settings });
            }
        }
        PlannedFactor {
            tunable: treatments[0].levels[place].0.clone(),
            whole_plot: place == 0,
            reboots: false,
            levels,
            baseline: 0,
            original: 0,
        }
    };
    vec![factor(0), factor(1)]
}

pub(super) fn treatment(id: &str, cache: &str, scheduler: &str) -> Treatment {
    let kind = Kind::Word { aliases: Vec::new() };
    let setting = |address, value: &str| Setting {
        address,
        value: kind.parse(value).unwrap_or_else(|_| kind.parse("none").unwrap()),
        kind: kind.clone(),
        role: crate::tunable::SettingRole::Own,
    };
    let queue = Address::GuestFile {
        path: "/sys/block/vdb/queue/scheduler".into(),
        format: Format::Bracketed,
    };
    Treatment {
        id: serde_json::from_value::<TreatmentId>(id.into()).unwrap(),
        name: None,
        role: Role::Listed,
        levels: vec![
            ("domain.disk.cache".into(), cache.into()),
            ("guest.disk.scheduler".into(), scheduler.into()),
        ],
        boot: Vec::new(),
        restart: vec![setting(Address::DomainXml(XmlSetting::DiskCache), cache)],
        live: vec![setting(queue, scheduler)],
    }
}

fn records(treatments: &[Treatment], blocks: &[Block], ratios: &[f64]) -> Vec<TrialRecord> {
    let mut records = Vec::new();
    let (mut order, mut boot, mut now) = (0, 0, 1_790_000_000);
    for block in blocks {
        for WholePlot { treatments: plot, .. } in &block.plots {
            now += 6;
            for &index in plot {
                let trial = Trial {
                    block: block.number,
                    boot,
                    order,
                    treatment: treatments[index].id.clone(),
                };
                let started = Timestamp::constant(now, 0);
                let outcome = outcome(block.number, index, order, ratios[index]);
                records.push(TrialRecord {
                    trial,
                    started,
                    outcome,
                    timing: timing(order),
                    raw: Vec::new(),
                });
                order += 1;
                now += 9;
            }
            boot += 1;
        }
    }
    records
}

fn outcome(block: u32, index: usize, order: u32, ratio: f64) -> Outcome {
    match (block, index) {
        (3, 2) => Outcome::Failed {
            stage: Stage::Measure,
            message: "fio: ended by signal 9 after 5s\n(guest out of memory?)".into(),
        },
        (7, 2) => Outcome::Invalid {
            drift: vec![Drift {
                address: "guest:/sys/block/vdb/queue/scheduler".into(),
                wanted: "mq-deadline".into(),
                found: "none".into(),
                during: true,
                actors: vec!["tuned (process 812)".into()],
            }],
        },
        _ => {
            // A drift over the night and a little noise that no two trials share.
            let noise = f64::from(order * 7919 % 101) / 101.0 - 0.5;
            let night = 1.0 + 0.01 * f64::from(block);
            let iops = 4800.0 * night * ratio * (1.0 + 0.04 * noise);
            let p99 = 900.0 * (1.0 + 0.02 * noise) * if ratio > 1.4 { 1.2 } else { 1.0 };
            let observation = |metric: &str, value| Observation {
                workload: "fio-randread-4k".into(),
                metric: metric.into(),
                value,
            };
            Outcome::Measured {
                suspect: Vec::new(),
                observations: vec![observation("iops", iops), observation("clat_p99_us", p99)],
            }
        }
    }
}

fn timing(order: u32) -> Timing {
    let millis = |base: u64, step: u64| Duration::from_millis(base + step * u64::from(order % 5));
    Timing {
        total: millis(7_300, 40),
        workload: millis(7_000, 10),
        apply: millis(60, 8),
        verify: millis(110, 9),
        restore: millis(80, 7),
    }
}

fn protocol() -> Protocol {
    let id = |metric: &str| MetricId {
        workload: "fio-randread-4k".into(),
        metric: metric.into(),
    };
    let metric = |name: &str, unit: &str, goal| Metric {
        name: name.into(),
        unit: unit.into(),
        goal,
    };
    Protocol {
        question: Some(
            "Which disk cache and guest scheduler give the most 4 KiB random reads without hurting p99?"
                .into(),
        ),
        guest: Guest::Lab {
            vcpus: 2,
            memory: Bytes::mib(1024),
            disk: Bytes::mib(512),
            ssh: false,
            company: Company::default(),
        },
        workloads: vec![Workload {
            name: "fio-randread-4k".into(),
            summary: "random reads".into(),
            side: Side::Guest,
            argv: vec!["fio".into()],
            server: None,
            time: Span::secs(5),
            warmup: Span::secs(2),
            grace: Span::secs(30),
            max_output: Bytes::mib(1),
            parser: Parser::Fio,
            extracts: Vec::new(),
            programs: Vec::new(),
            metrics: vec![
                metric("iops", "1/s", Goal::Maximize),
                metric("clat_p99_us", "us", Goal::Minimize),
            ],
            requirements: Vec::new(),
            steady: crate::workload::SteadyRule::Mser5,
            files: Vec::new(),
            prepare: None,
            drop_caches: crate::workload::DropCaches::Off,
            cross_check: crate::workload::CrossCheck::Off,
            suspect: crate::workload::Suspect::Counts,
        }],
        derived: Vec::new(),
        responses: vec![Response {
            metric: id("iops"),
            goal: Goal::Maximize,
        }],
        stopping: Stopping::Fixed,
        guards: vec![Guard {
            metric: id("clat_p99_us"),
            goal: Goal::Minimize,
            margin: Percent(5.0),
        }],
        constraints: Vec::new(),
        smallest_effect: Percent(1.0),
        time_budget: None,
    }
}

fn facts() -> Facts {
    let record = [
        ("host.cpu.model", "Example CPU @ 2.00GHz"),
        ("host.kernel", "6.18.0"),
        (
            "lab.acceleration",
            "software emulation: the probe's guest did not boot",
        ),
        ("guest.kernel", "6.1.0-cloud"),
    ];
    Facts {
        record: record.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        ..Facts::default()
    }
}
