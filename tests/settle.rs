//! Workloads that settle, do so when they are run longer, or never: what becomes of their trials.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/header.rs"]
mod header;
#[path = "common/played.rs"]
mod played;

use kvmtune::diagnostic::Source;
use kvmtune::event::{Outcome, Stage, TrialRecord};
use kvmtune::experiment::{self, Experiment};
use kvmtune::host::{Cancel, Job, JobOutput};
use kvmtune::workload::Library;
use played::Said;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

const REPORT: &[u8] = include_bytes!("data/fio-randread.json");
const WRITES: &[u8] = include_bytes!("data/fio-randwrite.json");
/// What the first report says.
const IOPS: f64 = 74_408.295_852;

/// A series as fio writes it: `iops` at each second.
fn log(seconds: u32, iops: impl Fn(f64) -> f64) -> Vec<u8> {
    let mut text = String::new();
    for second in 1..=seconds {
        let ripple = 1.0 + 0.01 * (f64::from(second) * 2.4).sin();
        let value = iops(f64::from(second)) * ripple;
        writeln!(text, "{second}000, {value:.0}, 0, 0, 0").unwrap();
    }
    text.into_bytes()
}

fn steady(seconds: u32) -> Vec<u8> {
    log(seconds, |_| 1e5)
}

fn rising(seconds: u32) -> Vec<u8> {
    log(seconds, |second| 1e5 + 1e3 * second)
}

fn left(series: impl Into<Option<Vec<u8>>>) -> JobOutput {
    JobOutput {
        wall: Duration::from_secs(1),
        result: Some(REPORT.to_vec()),
        series: series.into().map(Ok),
        ..JobOutput::default()
    }
}

/// Seconds that the job measures.
fn time(job: &Job) -> u32 {
    let time = job.argv.iter().find_map(|a| a.strip_prefix("--runtime="));
    time.unwrap().parse().unwrap()
}

fn experiment(workload: &str, time: &str) -> Experiment {
    let text = format!(
        "factor = {{ tunable = \"guest.swappiness\", levels = [60, 10], baseline = 60 }}\n\
         workload = {{ use = \"{workload}\", time = \"{time}\" }}\n\
         design = {{ blocks = 2 }}\nseed = 1\n"
    );
    let source = Source {
        name: "settle.toml".into(),
        text,
    };
    experiment::parse(&source, &Library::builtin()).unwrap()
}

/// Runs the experiment with `jobs` on a pretended host.
fn run(
    workload: &str,
    time: &str,
    cancel: &Cancel,
    mut jobs: impl FnMut(&Job) -> JobOutput + Send + 'static,
) -> Said {
    let experiment = experiment(workload, time);
    let mut host = played::host(&experiment);
    host.set_jobs(move |job, _| Ok(jobs(job)));
    played::play(&mut host, &experiment, cancel)
}

fn iops(record: &TrialRecord) -> f64 {
    let Outcome::Measured { observations, .. } = &record.outcome else {
        panic!("{record:#?}");
    };
    observations.iter().find(|o| o.metric == "iops").unwrap().value
}

fn near(found: f64, want: f64) {
    assert!((found / want - 1.0).abs() < 2e-3, "{found} is not {want}");
}

#[test]
fn a_steady_workload_is_run_once_and_its_number_is_the_tools() {
    let said = run("fio-randread-4k", "45s", &Cancel::default(), |job| {
        assert_eq!(time(job), 45);
        left(steady(44))
    });
    assert_eq!(said.trials.len(), 6);
    assert_eq!(said.notices, [""; 0]);
    assert!(
        !said.header.plan.notices.iter().any(|n| n.contains("settled")),
        "{:?}",
        said.header.plan.notices
    );
    for trial in &said.trials {
        near(iops(trial), IOPS);
        let raw: Vec<_> = trial.raw.iter().map(|r| r.content.as_slice()).collect();
        assert_eq!(raw, [REPORT, &steady(44)]);
    }
}

#[test]
fn what_comes_before_it_settled_does_not_count() {
    let said = run("fio-randread-4k", "60s", &Cancel::default(), |_| {
        // A fifth of the time at half the speed: 90 % of the mean it has afterwards.
        left(log(60, |second| if second <= 12.0 { 5e4 } else { 1e5 }))
    });
    for trial in &said.trials {
        // Truncation is by batches of five.
        assert!((iops(trial) / (IOPS / 0.9) - 1.0).abs() < 0.02, "{}", iops(trial));
        let Outcome::Measured { observations, .. } = &trial.outcome else {
            panic!("{trial:#?}");
        };
        let bw = observations.iter().find(|o| o.metric == "bw").unwrap();
        near(bw.value, 304_839_836.0);
    }
}

#[test]
fn a_workload_that_settles_late_is_run_again_for_twice_the_time() {
    let said = run("fio-randread-4k", "45s", &Cancel::default(), |job| {
        match time(job) {
            45 => left(rising(45)),
            90 => JobOutput {
                result: Some(WRITES.to_vec()),
                ..left(steady(90))
            },
            other => panic!("{other}"),
        }
    });
    assert_eq!(said.trials.len(), 6);
    for trial in &said.trials {
        assert!(
            iops(trial) < 0.99 * IOPS || iops(trial) > 1.01 * IOPS,
            "the first number"
        );
        let raw: Vec<_> = trial.raw.iter().map(|r| r.content.as_slice()).collect();
        assert_eq!(raw, [REPORT, &rising(45), WRITES, &steady(90)]);
        assert_eq!(trial.timing.workload, Duration::from_secs(2));
    }
}

#[test]
fn a_workload_that_never_settles_gives_numbers_that_do_not_count() {
    let said = run("fio-randread-4k", "45s", &Cancel::default(), |job| {
        left(rising(time(job)))
    });
    // After six of them the run ends.
    assert_eq!(said.trials.len(), 6);
    for trial in &said.trials {
        let Outcome::Unsteady {
            observations,
            message,
        } = &trial.outcome
        else {
            panic!("{trial:#?}");
        };
        assert_eq!(observations[0].metric, "iops");
        near(observations[0].value, IOPS);
        assert!(
            message.starts_with("fio-randread-4k did not settle: iops still rose 4"),
            "{message}"
        );
        assert!(message.ends_with("% over the last 70 s"), "{message}");
        assert_eq!(trial.raw.len(), 4);
    }
}

#[test]
fn writes_are_judged_by_five_rounds() {
    let steps = |second: f64| if second <= 30.0 { 1e5 } else { 7e4 };
    let said = run("fio-randwrite-4k", "50s", &Cancel::default(), move |job| {
        // MSER-5 would leave out the fast part of the longer run.
        let mut out = left(log(time(job), steps));
        out.result = Some(WRITES.to_vec());
        out
    });
    let Outcome::Unsteady { message, .. } = &said.trials[0].outcome else {
        panic!("{:#?}", said.trials[0]);
    };
    assert!(message.contains("five rounds of 20 s ranges over"), "{message}");
    let said = run("fio-randwrite-4k", "50s", &Cancel::default(), move |job| {
        let mut out = left(log(time(job), |s| 1e5 + 100.0 * s));
        out.result = Some(WRITES.to_vec());
        out
    });
    assert!(matches!(said.trials[0].outcome, Outcome::Measured { .. }));
    assert_eq!(said.trials[0].raw.len(), 2);
}

#[test]
fn a_cancel_between_the_two_runs_is_one() {
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let mut runs = 0;
    let said = run("fio-randread-4k", "45s", &cancel, move |job| {
        runs += 1;
        assert!(runs <= 3, "run again after the cancel");
        if runs == 3 {
            asked.store(true, Ordering::Relaxed);
        }
        left(if runs == 3 {
            rising(time(job))
        } else {
            steady(time(job))
        })
    });
    assert_eq!(said.trials.len(), 2, "the third trial is to be made again");
    assert!(said.trials.iter().all(|t| iops(t) > 0.0));
}

#[test]
fn a_trial_that_never_settled_is_kept_when_it_was_the_last() {
    let cancel = Cancel::default();
    let asked = cancel.clone();
    let said = run("fio-randread-4k", "45s", &cancel, move |job| {
        if time(job) == 90 {
            asked.store(true, Ordering::Relaxed);
        }
        left(rising(time(job)))
    });
    assert_eq!(said.trials.len(), 1);
    assert!(matches!(said.trials[0].outcome, Outcome::Unsteady { .. }));
}

#[test]
fn a_series_that_cannot_be_read_fails_nothing_and_is_said_once() {
    let unreadable: [fn() -> JobOutput; 4] = [
        || left(None),
        || left(b"1000, NaN, 0, 0, 0\n".to_vec()),
        || left(steady(39)),
        || JobOutput {
            series: Some(Err("\u{1b}[31m/run/x holds more than 5 bytes".into())),
            ..left(None)
        },
    ];
    for (case, say) in unreadable.into_iter().zip([
        "was not taken",
        "not a line of whole numbers",
        "has 39 samples, and 40 are needed",
        "holds more than 5 bytes",
    ]) {
        let said = run("fio-randread-4k", "45s", &Cancel::default(), move |_| case());
        assert_eq!(said.trials.len(), 6);
        said.trials.iter().for_each(|t| near(iops(t), IOPS));
        let [notice] = said.notices.as_slice() else {
            panic!("{:?}", said.notices);
        };
        assert!(notice.contains(say) && !notice.contains('\u{1b}'), "{notice}");
        assert!(
            notice.starts_with("cannot tell whether fio-randread-4k settled: "),
            "{notice}"
        );
    }
}

#[test]
fn a_second_run_without_a_series_does_not_make_up_for_the_first() {
    let said = run("fio-randread-4k", "45s", &Cancel::default(), |job| {
        match time(job) {
            45 => left(rising(45)),
            _ => left(None),
        }
    });
    let Outcome::Unsteady { message, .. } = &said.trials[0].outcome else {
        panic!("{:#?}", said.trials[0]);
    };
    assert!(
        message.contains("not in 45s, and of the 1m30s after that"),
        "{message}"
    );
    assert_eq!(said.notices.len(), 1);
}

#[test]
fn a_second_run_that_fails_fails_the_trial() {
    let said = run("fio-randread-4k", "45s", &Cancel::default(), |job| {
        match time(job) {
            45 => left(rising(45)),
            _ => JobOutput {
                exit: 1,
                ..left(None)
            },
        }
    });
    let Outcome::Failed { stage, .. } = said.trials[0].outcome else {
        panic!("{:#?}", said.trials[0]);
    };
    assert_eq!(stage, Stage::Parse);
}

#[test]
fn short_trials_are_not_judged_and_the_plan_says_so_once() {
    let said = run("fio-randread-4k", "3s", &Cancel::default(), |_| left(rising(3)));
    assert_eq!(said.trials.len(), 6);
    said.trials.iter().for_each(|t| near(iops(t), IOPS));
    assert_eq!(said.notices, [""; 0]);
    let about = |n: &&String| n.contains("settled");
    let found: Vec<_> = said.header.plan.notices.iter().filter(about).collect();
    assert_eq!(
        found,
        ["trials are too short to tell whether the workload settled: fio-randread-4k (3s); 41s are needed"]
    );
}
