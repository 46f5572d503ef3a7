//! How fast kvmtune judges, reads and writes large runs. `make bench` sets it beside scipy: see benches/ratios.py.

#![allow(clippy::unwrap_used, missing_docs, reason = "benchmarks")]

mod made_up;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use kvmtune::analysis::{Level, Sample, hodges_lehmann, signed_rank_interval, signed_rank_test};
use kvmtune::decision::evaluate;
use kvmtune::report::{self, Report};
use kvmtune::store::Store;
use made_up::Run;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use std::hint::black_box;
use std::io;

fn runs() -> [Run; 4] {
    [
        Run::wide("fixed", &made_up::fixed()),
        Run::wide("looks", &json!({"kind": "looks", "min": 40, "max": 200})),
        Run::wide("anytime", &json!({"kind": "anytime"})),
        Run::long("long"),
    ]
}

fn stored() -> Vec<Run> {
    runs()
        .into_iter()
        .chain([Run::whole("whole"), Run::million("million")])
        .collect()
}

/// 10,000 trials with 20 metrics each.
fn analysis(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    group.sample_size(10);
    for run in runs() {
        let name = BenchmarkId::from_parameter(&run.header.experiment);
        group.bench_function(name, |b| b.iter(|| evaluate(&run.header, &run.records).unwrap()));
    }
}

/// Fifty differences without and with ties.
fn signed_ranks(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let untied: Vec<f64> = (0..50).map(|_| rng.random::<f64>() - 0.4).collect();
    let tied: Vec<f64> = untied.iter().map(|value| (value * 20.0).round() / 20.0).collect();
    for (name, values) in [("untied", untied), ("tied", tied)] {
        let sample = Sample::new(values).unwrap();
        let mut group = criterion.benchmark_group(format!("fifty-{name}"));
        group.bench_function("test", |b| b.iter(|| signed_rank_test(black_box(&sample))));
        group.bench_function("interval", |b| {
            b.iter(|| signed_rank_interval(black_box(&sample), Level::P95));
        });
        group.bench_function("estimate", |b| b.iter(|| hodges_lehmann(black_box(&sample))));
    }
}

fn store(criterion: &mut Criterion) {
    let folder = made_up::stored(stored);
    let store = Store::open_existing(&folder).unwrap();
    let run = |name: &str| {
        store
            .runs()
            .unwrap()
            .into_iter()
            .find(|r| r.experiment == name)
            .unwrap()
            .run
    };
    let (million, fixed) = (run("million"), run("fixed"));
    let mut group = criterion.benchmark_group("store");
    group.sample_size(10);
    group.bench_function("csv-million", |b| {
        b.iter(|| store.export_csv(million, io::sink()).unwrap());
    });
    group.bench_function("jsonl-million", |b| {
        b.iter(|| store.export_json_lines(million, io::sink()).unwrap());
    });
    group.bench_function("trials", |b| b.iter(|| store.trials(fixed).unwrap()));
}

fn report(criterion: &mut Criterion) {
    let run = Run::whole("whole");
    let evaluation = evaluate(&run.header, &run.records).unwrap();
    let report = Report {
        header: &run.header,
        records: &run.records,
        evaluation: &evaluation,
        end: None,
        selection: None,
        confirmation: None,
        against_whole: None,
        front: &[],
        certified: None,
        telemetry: &[],
    };
    let mut group = criterion.benchmark_group("report");
    group.sample_size(10);
    group.bench_function("html", |b| b.iter(|| report::html(&report).unwrap()));
    group.bench_function("json", |b| {
        b.iter(|| serde_json::to_writer(io::sink(), &report::json(&report)).unwrap());
    });
}

criterion_group!(benches, analysis, signed_ranks, store, report);
criterion_main!(benches);
