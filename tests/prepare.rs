//! When a disk is made ready, and what becomes of trials whose disk was not.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/header.rs"]
mod header;
#[path = "common/played.rs"]
mod played;

use kvmtune::diagnostic::Source;
use kvmtune::event::{End, Outcome, Stage, TrialRecord};
use kvmtune::experiment;
use kvmtune::host::{Cancel, HostError, Job, JobOutput};
use kvmtune::workload::{DropCaches, JobFiles, Library};
use played::Said;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const REPORT: &str = include_str!("data/fio-jobs-3.33.json");

/// Two workloads with this `[prepare]`, in an experiment whose factor is set live, or by a restart.
fn experiment(prepare: &str, tunable: &str, levels: &str) -> experiment::Experiment {
    let workload = |name: &str, more: &str| Source {
        name: format!("{name}.toml"),
        text: format!(
            "summary = \"x\"\nrun = \"guest\"\njob = \"mine.fio\"\nsteady = \"off\"\n{more}\nprepare = {{ {prepare} }}\n\
             [[metric]]\nname = \"read_clat_p9999_us\"\nunit = \"us\"\ngoal = \"minimize\"\n"
        ),
    };
    let job = "[a]\nfilename=${SCRATCH}\nruntime=${TIME}\n".to_string();
    let jobs = JobFiles::from([("mine.fio".to_string(), Ok(job))]);
    let files = [workload("one", ""), workload("other", "drop-caches = \"both\"")];
    let library = Library::builtin().with_jobs(jobs).with_folder(&files).unwrap();
    let text = format!(
        "factor = {{ tunable = \"{tunable}\", {levels} }}\ndesign = {{ blocks = 2 }}\nseed = 1\n\
         [[workload]]\nuse = \"one\"\n[[workload]]\nuse = \"other\"\n"
    );
    let source = Source {
        name: "prepare.toml".into(),
        text,
    };
    experiment::parse(&source, &library).unwrap()
}

fn live(prepare: &str) -> experiment::Experiment {
    experiment(prepare, "guest.swappiness", "levels = [60, 10], baseline = 60")
}

/// What a run said, and what it did.
struct Done {
    said: Said,
    jobs: Vec<Job>,
}

impl Done {
    /// How often the disk was made ready.
    fn preparations(&self) -> usize {
        self.jobs.iter().filter(|job| is_layout(job)).count()
    }
}

fn is_layout(job: &Job) -> bool {
    job.argv
        .last()
        .is_some_and(|word| word.ends_with("fio-layout.fio"))
}

/// Runs the experiment; what a preparation leaves is asked of `prepare` by its number, from 1.
fn run(
    experiment: &experiment::Experiment,
    prepare: impl Fn(usize) -> Result<JobOutput, HostError> + Send + 'static,
) -> Done {
    let mut host = played::host(experiment);
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&jobs);
    host.set_jobs(move |job, _| {
        let mut seen = seen.lock().unwrap();
        seen.push(job.clone());
        if is_layout(job) {
            return prepare(seen.iter().filter(|job| is_layout(job)).count());
        }
        Ok(JobOutput {
            wall: Duration::from_secs(1),
            result: Some(REPORT.into()),
            ..JobOutput::default()
        })
    });
    let said = played::play(&mut host, experiment, &Cancel::default());
    let jobs = jobs.lock().unwrap().clone();
    Done { said, jobs }
}

fn ready() -> JobOutput {
    JobOutput {
        wall: Duration::from_secs(1000),
        ..JobOutput::default()
    }
}

fn all_measured(done: &Done) -> bool {
    let measured = |r: &TrialRecord| matches!(r.outcome, Outcome::Measured { .. });
    done.said.end == End::Complete && done.said.trials.iter().all(measured)
}

#[test]
fn a_disk_is_made_ready_once_for_all_workloads_and_in_no_time_of_a_trial() {
    let done = run(&live("job = \"fio-layout.fio\""), |_| Ok(ready()));
    assert!(all_measured(&done), "{:#?}", done.said.trials);
    assert_eq!((done.said.trials.len(), done.preparations()), (6, 1));
    assert!(is_layout(&done.jobs[0]));
    assert_eq!(done.said.notices.len(), 1, "{:?}", done.said.notices);
    assert!(done.said.notices[0].contains("fio-layout.fio made the disk ready in"));
    for trial in &done.said.trials {
        assert_eq!(trial.timing.workload, Duration::from_secs(2));
        assert_eq!(trial.raw.len(), 2);
    }
    let layout = &done.jobs[0];
    assert_eq!(
        layout.argv,
        ["env", "SCRATCH=/dev/vdb", "fio", "{job}/fio-layout.fio"]
    );
    assert_eq!(layout.files[0].name, "fio-layout.fio");
    assert!(layout.limit >= Duration::from_mins(30) && layout.series.is_none());
    // What is measured brings its own file; only one drops caches, the preparation never.
    let drops: Vec<_> = done.jobs[..3].iter().map(|job| job.drop_caches).collect();
    assert_eq!(drops, [DropCaches::Off, DropCaches::Off, DropCaches::Both]);
    assert_eq!(
        done.jobs[1].files[0].text,
        "[a]\nfilename=${SCRATCH}\nruntime=${TIME}\n"
    );
    assert_eq!(
        done.jobs[1].argv[..4],
        ["env", "SCRATCH=/dev/vdb", "TIME=10", "fio"]
    );
}

#[test]
fn it_is_made_ready_as_often_as_is_asked_for() {
    let done = run(&live("job = \"fio-layout.fio\", when = \"trial\""), |_| {
        Ok(ready())
    });
    assert!(all_measured(&done));
    assert_eq!((done.said.trials.len(), done.preparations()), (6, 6));
    assert_eq!(done.said.notices.len(), 1, "said once: {:?}", done.said.notices);

    let restarts = |when: &str| {
        let prepare = format!("job = \"fio-layout.fio\", when = \"{when}\"");
        let levels = "levels = [\"threads\", \"native\"]";
        run(&experiment(&prepare, "domain.disk.io", levels), |_| Ok(ready()))
    };
    let done = restarts("start");
    assert!(all_measured(&done));
    assert_eq!((done.preparations(), done.said.starts), (6, 6));
    assert_eq!(restarts("run").preparations(), 1);
}

#[test]
fn a_disk_that_could_not_be_made_ready_fails_its_trial_with_the_reason() {
    let done = run(&live("job = \"fio-layout.fio\""), |number| {
        let mut output = ready();
        if number < 3 {
            output.exit = 1;
            output.stderr = b"fio: \x1b[31mno space\n\n".to_vec();
        }
        Ok(output)
    });
    assert_eq!(done.preparations(), 3, "tried again until it is done");
    for trial in &done.said.trials[..2] {
        let Outcome::Failed { stage, message } = &trial.outcome else {
            panic!("{trial:#?}");
        };
        assert_eq!(*stage, Stage::Prepare);
        let say = "fio-layout.fio, before one: fio exited with 1: fio: \\u{1b}[31mno space";
        assert_eq!(message, say);
    }
    assert!(
        done.said.trials[2..]
            .iter()
            .all(|t| matches!(t.outcome, Outcome::Measured { .. }))
    );
    assert!(
        done.jobs.iter().take(2).all(is_layout),
        "nothing is measured on such a disk"
    );
}

#[test]
fn a_guest_that_is_lost_meanwhile_is_started_again() {
    let done = run(&live("job = \"fio-layout.fio\""), |number| match number {
        1 => Err(HostError::new("run `fio` in the guest", "it does not answer").losing_guest()),
        _ => Ok(ready()),
    });
    let Outcome::Failed { stage, message } = &done.said.trials[0].outcome else {
        panic!("{:#?}", done.said.trials[0]);
    };
    assert!(
        *stage == Stage::Prepare && message.contains("does not answer"),
        "{message}"
    );
    assert_eq!((done.preparations(), done.said.starts), (2, 2));
}
