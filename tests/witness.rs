//! What the host saw beside a workload: as numbers of the trial, and where it does not bear the workload out.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/header.rs"]
mod header;
#[path = "common/played.rs"]
mod played;

use kvmtune::design::{Guests, Plan};
use kvmtune::diagnostic::Source;
use kvmtune::event::{Outcome, Stage, TrialRecord};
use kvmtune::experiment;
use kvmtune::facts::Facts;
use kvmtune::host::fake::FakeHost;
use kvmtune::host::{Cancel, Host, HostError, Job, JobOutput, Power, Scope};
use kvmtune::telemetry::{Counter, Reading, Series};
use kvmtune::tunable::Address;
use kvmtune::workload::Library;
use played::Said;
use std::time::Duration;

/// Says that it read 581.7 MiB in 2 s.
const REPORT: &[u8] = include_bytes!("data/fio-randread.json");

/// A pretended host that was watched, with what was seen beside the next jobs.
struct Watched {
    host: FakeHost,
    seen: Series,
}

impl Host for Watched {
    fn facts(&mut self) -> Result<Facts, HostError> {
        self.host.facts()
    }
    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        self.host.read(address)
    }
    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        self.host.write(address, value)
    }
    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        self.host.scope(address)
    }
    fn power(&mut self, power: Power) -> Result<(), HostError> {
        self.host.power(power)
    }
    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        self.host.run(job)
    }
    fn watched(&mut self) -> Option<Series> {
        Some(self.seen.clone())
    }
}

/// Five seconds in which QEMU used a CPU and a half, and the disk gave so many bytes a second.
fn seen(disk: u64) -> Series {
    let reading = |second: u64| {
        let mut reading = Reading::empty(Duration::from_secs(second));
        reading.set(Counter::Cpu, Some(1_500_000_000 * second));
        reading.set(Counter::DiskRead, Some(disk * second));
        reading.set(Counter::DiskWritten, Some(0));
        reading
    };
    Series {
        readings: (0..6).map(reading).collect(),
        began: Some(Duration::from_secs(1)),
        disk: Some("loop3".into()),
        ..Series::default()
    }
}

/// What a run of an experiment with these lines said.
fn run(lines: &str, library: &Library, seen: Series) -> Said {
    let text = format!(
        "factor = {{ tunable = \"guest.swappiness\", levels = [60, 10], baseline = 60 }}\n\
         design = {{ blocks = 2 }}\nseed = 1\n{lines}\n"
    );
    let name = "witness.toml".into();
    let experiment = experiment::parse(&Source { name, text }, library).unwrap_or_else(|e| panic!("{e}"));
    let mut host = played::host(&experiment);
    host.set_jobs(|_, _| {
        Ok(JobOutput {
            wall: Duration::from_secs(3),
            result: Some(REPORT.to_vec()),
            ..JobOutput::default()
        })
    });
    let mut host = Watched { host, seen };
    played::play(&mut host, &experiment, &Cancel::default())
}

const WORKLOAD: &str = "workload = { use = \"fio-randread-4k\", time = \"2s\" }";
const PER_CPU: &str = "
    response = { metric = \"iops_per_cpu\" }
    [[derived]]
    name = \"iops_per_cpu\"
    unit = \"1/s\"
    goal = \"maximize\"
    ratio = [\"iops\", \"host.cpu\"]
";
/// Enough for what the report says.
const BORNE_OUT: u64 = 305_000_000;

#[test]
fn what_the_host_did_is_judged_and_kept() {
    let Said {
        header,
        trials,
        notices,
        ..
    } = run(
        &format!("{WORKLOAD}{PER_CPU}"),
        &Library::builtin(),
        seen(BORNE_OUT),
    );
    assert_eq!(notices, [""; 0]);
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        let Outcome::Measured {
            observations,
            suspect,
        } = &trial.outcome
        else {
            panic!("{trial:#?}");
        };
        let value = |id| kvmtune::decision::observed(&header.protocol, observations, id).unwrap();
        let ratio = value(&header.protocol.response().metric);
        assert!((ratio / (74_408.295_852 / 1.5) - 1.0).abs() < 1e-6, "{ratio}");
        assert_eq!(suspect, &[""; 0]);
        let raw = trial.raw.iter().find(|r| r.workload == "host").unwrap();
        assert!(
            raw.content.starts_with(b"seconds,cpu,disk_read_bytes,"),
            "{raw:?}"
        );
    }
}

#[test]
fn a_number_of_the_host_that_is_missing_fails_the_trial_with_the_reason() {
    let lines = format!("{WORKLOAD}\nguard = {{ metric = \"host.kvm_exits\" }}");
    let Said { trials, .. } = run(&lines, &Library::builtin(), seen(BORNE_OUT));
    for trial in &trials {
        let Outcome::Failed { stage, message } = &trial.outcome else {
            panic!("{trial:#?}");
        };
        assert_eq!(*stage, Stage::Measure);
        assert!(message.contains("host.kvm_exits is judged"), "{message}");
        assert!(message.contains("/sys/kernel/debug/kvm"), "{message}");
    }
    // What is not judged may be missing.
    let Said { trials, .. } = run(WORKLOAD, &Library::builtin(), Series::default());
    assert!(
        trials
            .iter()
            .all(|t| matches!(t.outcome, Outcome::Measured { .. }))
    );
}

#[test]
fn a_disk_that_gave_nothing_makes_trials_suspect_and_is_said_once() {
    let Said { trials, notices, .. } = run(WORKLOAD, &Library::builtin(), seen(300_000));
    for trial in &trials {
        let Outcome::Measured { suspect, .. } = &trial.outcome else {
            panic!("{trial:#?}");
        };
        let [doubt] = suspect.as_slice() else {
            panic!("{suspect:?}");
        };
        assert!(
            doubt.starts_with("fio-randread-4k: fio says it read 581.7 MiB"),
            "{doubt}"
        );
        assert!(doubt.contains("the host's disk loop3 gave 781.4 KiB"), "{doubt}");
    }
    assert_eq!(notices.len(), 1, "{notices:?}");
    let json = serde_json::to_string(&trials[0]).unwrap();
    let back: TrialRecord = serde_json::from_str(&json).unwrap();
    assert_eq!(back.outcome, trials[0].outcome);
}

#[test]
fn a_workload_can_have_suspect_trials_fail() {
    let built_in = include_str!("../workloads/fio-randread-4k.toml");
    let text = built_in.replace("parser = \"fio\"", "parser = \"fio\"\nsuspect = \"fails\"");
    let name = "strict.toml".into();
    let library = Library::builtin().with_folder(&[Source { name, text }]).unwrap();
    let lines = "workload = { use = \"strict\", time = \"2s\" }";
    let Said { trials, .. } = run(lines, &library, seen(300_000));
    let failed =
        |t: &TrialRecord| matches!(&t.outcome, Outcome::Failed { message, .. } if message.contains("loop3"));
    assert!(trials.iter().all(failed), "{trials:#?}");
    let Said { trials, .. } = run(lines, &library, seen(BORNE_OUT));
    assert!(
        trials
            .iter()
            .all(|t| matches!(t.outcome, Outcome::Measured { .. }))
    );
}

#[test]
fn guests_are_started_as_often_as_the_experiment_says() {
    let start = |fresh: &str| {
        let lines = format!("{WORKLOAD}\nguest = {{ fresh = \"{fresh}\" }}");
        let Said {
            header,
            trials,
            starts,
            ..
        } = run(&lines, &Library::builtin(), seen(BORNE_OUT));
        assert_eq!(trials.len(), 6);
        assert_eq!(Plan::restarts(&header.plan), starts, "{fresh}");
        (header.plan.guests, starts)
    };
    assert_eq!(start("run"), (Guests::Shared, 1));
    assert_eq!(start("block"), (Guests::Block, 3));
    assert_eq!(start("trial"), (Guests::Fresh, 6));
}
