//! Neighbours on a pretended host: what they give, and what becomes of a trial when one of them fails.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/header.rs"]
mod header;
#[path = "common/played.rs"]
mod played;

use kvmtune::diagnostic::Source;
use kvmtune::event::{Outcome, Stage, TrialRecord};
use kvmtune::experiment::{self, BARRIER, Experiment};
use kvmtune::host::{Cancel, HostError, Job, JobOutput};
use kvmtune::workload::Library;
use std::time::Duration;

const REPORT: &[u8] = include_bytes!("data/fio-randread.json");
const WRITES: &[u8] = include_bytes!("data/fio-randwrite.json");

fn experiment() -> Experiment {
    let text = r#"
        seed = 1
        factor = { tunable = "guest.swappiness", levels = [60, 10], baseline = 60 }
        workload = { use = "fio-randread-4k", time = "7s" }
        neighbour = [{ name = "hog", use = "fio-randwrite-4k" }, { name = "other", use = "fio-randread-4k" }]
        derived = { name = "fairness", fairness = ["fio-randread-4k.iops", "other.iops"], unit = "1", goal = "maximize" }
        response = { metric = "fio-randread-4k.clat_p99_us" }
        guard = [{ metric = "hog.iops" }, { metric = "fairness" }]
        design = { blocks = 2 }
    "#;
    let source = Source {
        name: "neighbours.toml".into(),
        text: text.into(),
    };
    experiment::parse(&source, &Library::builtin()).unwrap_or_else(|e| panic!("{e}"))
}

/// Runs the experiment with `jobs` on a pretended host: its trials, and the calls of the host.
fn run(
    mut jobs: impl FnMut(&Job) -> Result<JobOutput, HostError> + Send + 'static,
) -> (Vec<TrialRecord>, Vec<String>) {
    let experiment = experiment();
    let mut host = played::host(&experiment);
    host.set_jobs(move |job, _| jobs(job));
    let said = played::play(&mut host, &experiment, &Cancel::default());
    (said.trials, host.calls().to_vec())
}

fn left(report: &[u8]) -> JobOutput {
    JobOutput {
        wall: Duration::from_secs(1),
        result: Some(report.to_vec()),
        ..JobOutput::default()
    }
}

fn is_writer(job: &Job) -> bool {
    job.argv.iter().any(|a| a == "--rw=randwrite")
}

#[test]
fn what_each_gives_is_called_by_its_name() {
    let (trials, _) = run(|job| {
        assert!(
            job.argv.contains(&"--runtime=7".to_string()),
            "as long as the workload beside it"
        );
        Ok(left(if is_writer(job) { WRITES } else { REPORT }))
    });
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let Outcome::Measured { observations, .. } = &trial.outcome else {
            panic!("{trial:#?}")
        };
        let iops = |of: &str| {
            let found = observations
                .iter()
                .find(|o| o.workload == of && o.metric == "iops");
            found.unwrap().value
        };
        assert!(iops("hog") > 0.0 && iops("hog").to_bits() != iops("other").to_bits());
        assert_eq!(iops("other").to_bits(), iops("fio-randread-4k").to_bits());
        assert!(observations.iter().any(|o| o.workload == BARRIER));
        let raw: Vec<_> = trial
            .raw
            .iter()
            .map(|r| (r.workload.as_str(), r.content.as_slice()))
            .collect();
        assert_eq!(
            raw,
            [("fio-randread-4k", REPORT), ("hog", WRITES), ("other", REPORT)]
        );
    }
}

#[test]
fn a_neighbour_without_numbers_fails_the_trial_by_name() {
    let (trials, _) = run(|job| {
        Ok(if is_writer(job) {
            JobOutput {
                exit: 1,
                stderr: b"fio: \x1b[31mno space".to_vec(),
                ..JobOutput::default()
            }
        } else {
            left(REPORT)
        })
    });
    for trial in &trials {
        let Outcome::Failed { stage, message } = &trial.outcome else {
            panic!("{trial:#?}")
        };
        assert_eq!(*stage, Stage::Parse);
        assert!(
            message.starts_with("neighbour hog: ") && !message.contains('\x1b'),
            "{message}"
        );
    }
}

#[test]
fn a_neighbour_that_dies_costs_the_trial_and_the_guest() {
    let mut count = 0;
    let (trials, calls) = run(move |job| {
        count += 1;
        // The neighbour of the second trial.
        if count == 5 {
            assert!(is_writer(job));
            return Err(HostError::new("reach neighbour hog", "it does not run").losing_guest());
        }
        Ok(left(if is_writer(job) { WRITES } else { REPORT }))
    });
    assert_eq!(trials.len(), 6);
    let failed: Vec<_> = trials
        .iter()
        .filter(|t| matches!(t.outcome, Outcome::Failed { .. }))
        .collect();
    assert_eq!(failed.len(), 1);
    let Outcome::Failed { stage, message } = &failed[0].outcome else {
        panic!("{failed:#?}")
    };
    assert!(
        *stage == Stage::Measure && message.contains("neighbour hog"),
        "{message}"
    );
    assert!(calls.iter().any(|c| c == "turn the guest Off"), "{calls:#?}");
}
