//! When a disk is made ready, and what becomes of trials whose disk was not.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/header.rs"]
mod header;

use header::header;
use kvmtune::change::Journal;
use kvmtune::diagnostic::Source;
use kvmtune::event::{End, Event, Outcome, Stage, TrialRecord};
use kvmtune::experiment;
use kvmtune::host::fake::FakeHost;
use kvmtune::host::{Cancel, HostError, Job, JobOutput};
use kvmtune::runner::{self, Task, ThisBoot};
use kvmtune::simulation::Machine;
use kvmtune::workload::{DropCaches, JobFiles, Library, Places};
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

struct Said {
    end: End,
    trials: Vec<TrialRecord>,
    notices: Vec<String>,
    starts: usize,
    jobs: Vec<Job>,
}

impl Said {
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
) -> Said {
    let machine = Machine::of(experiment);
    let header = header(experiment, &machine.facts, 1);
    let values = machine.values.iter().map(|(a, v)| (a.clone(), v.as_str()));
    let mut host = FakeHost::new(values);
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
    let state = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(state.path()).unwrap();
    let places = Places {
        scratch: "/dev/vdb".into(),
        ..Places::default()
    };
    let task = Task {
        header: &header,
        places: &places,
        records: Vec::new(),
        to_the_end: true,
        boot: ThisBoot::default(),
        spent: Duration::ZERO,
        cancel: &Cancel::default(),
    };
    let (mut trials, mut notices, mut starts) = (Vec::new(), Vec::new(), 0);
    let mut sink = |event: &Event| {
        match event {
            Event::TrialFinished { record } => trials.push((**record).clone()),
            Event::Notice { text } => notices.push(text.clone()),
            Event::GuestStarting { .. } => starts += 1,
            _ => {}
        }
        Ok(())
    };
    let end = runner::run(&mut host, &mut journal, &task, &mut sink).unwrap();
    let jobs = jobs.lock().unwrap().clone();
    Said {
        end,
        trials,
        notices,
        starts,
        jobs,
    }
}

fn ready() -> JobOutput {
    JobOutput {
        wall: Duration::from_secs(1000),
        ..JobOutput::default()
    }
}

fn all_measured(said: &Said) -> bool {
    let measured = |r: &TrialRecord| matches!(r.outcome, Outcome::Measured { .. });
    said.end == End::Complete && said.trials.iter().all(measured)
}

#[test]
fn a_disk_is_made_ready_once_for_all_workloads_and_in_no_time_of_a_trial() {
    let said = run(&live("job = \"fio-layout.fio\""), |_| Ok(ready()));
    assert!(all_measured(&said), "{:#?}", said.trials);
    assert_eq!((said.trials.len(), said.preparations()), (6, 1));
    assert!(is_layout(&said.jobs[0]));
    assert_eq!(said.notices.len(), 1, "{:?}", said.notices);
    assert!(said.notices[0].contains("fio-layout.fio made the disk ready in"));
    for trial in &said.trials {
        assert_eq!(trial.timing.workload, Duration::from_secs(2));
        assert_eq!(trial.raw.len(), 2);
    }
    let layout = &said.jobs[0];
    assert_eq!(
        layout.argv,
        ["env", "SCRATCH=/dev/vdb", "fio", "{job}/fio-layout.fio"]
    );
    assert_eq!(layout.files[0].name, "fio-layout.fio");
    assert!(layout.limit >= Duration::from_mins(30) && layout.series.is_none());
    // What is measured brings its own file; only one drops caches, the preparation never.
    let drops: Vec<_> = said.jobs[..3].iter().map(|job| job.drop_caches).collect();
    assert_eq!(drops, [DropCaches::Off, DropCaches::Off, DropCaches::Both]);
    assert_eq!(
        said.jobs[1].files[0].text,
        "[a]\nfilename=${SCRATCH}\nruntime=${TIME}\n"
    );
    assert_eq!(
        said.jobs[1].argv[..4],
        ["env", "SCRATCH=/dev/vdb", "TIME=10", "fio"]
    );
}

#[test]
fn it_is_made_ready_as_often_as_is_asked_for() {
    let said = run(&live("job = \"fio-layout.fio\", when = \"trial\""), |_| {
        Ok(ready())
    });
    assert!(all_measured(&said));
    assert_eq!((said.trials.len(), said.preparations()), (6, 6));
    assert_eq!(said.notices.len(), 1, "said once: {:?}", said.notices);

    let restarts = |when: &str| {
        let prepare = format!("job = \"fio-layout.fio\", when = \"{when}\"");
        let levels = "levels = [\"threads\", \"native\"]";
        run(&experiment(&prepare, "domain.disk.io", levels), |_| Ok(ready()))
    };
    let said = restarts("start");
    assert!(all_measured(&said));
    assert_eq!((said.preparations(), said.starts), (6, 6));
    assert_eq!(restarts("run").preparations(), 1);
}

#[test]
fn a_disk_that_could_not_be_made_ready_fails_its_trial_with_the_reason() {
    let said = run(&live("job = \"fio-layout.fio\""), |number| {
        let mut output = ready();
        if number < 3 {
            output.exit = 1;
            output.stderr = b"fio: \x1b[31mno space\n\n".to_vec();
        }
        Ok(output)
    });
    assert_eq!(said.preparations(), 3, "tried again until it is done");
    for trial in &said.trials[..2] {
        let Outcome::Failed { stage, message } = &trial.outcome else {
            panic!("{trial:#?}");
        };
        assert_eq!(*stage, Stage::Prepare);
        let say = "fio-layout.fio, before one: fio exited with 1: fio: \\u{1b}[31mno space";
        assert_eq!(message, say);
    }
    assert!(
        said.trials[2..]
            .iter()
            .all(|t| matches!(t.outcome, Outcome::Measured { .. }))
    );
    assert!(
        said.jobs.iter().take(2).all(is_layout),
        "nothing is measured on such a disk"
    );
}

#[test]
fn a_guest_that_is_lost_meanwhile_is_started_again() {
    let said = run(&live("job = \"fio-layout.fio\""), |number| match number {
        1 => Err(HostError::new("run `fio` in the guest", "it does not answer").losing_guest()),
        _ => Ok(ready()),
    });
    let Outcome::Failed { stage, message } = &said.trials[0].outcome else {
        panic!("{:#?}", said.trials[0]);
    };
    assert!(
        *stage == Stage::Prepare && message.contains("does not answer"),
        "{message}"
    );
    assert_eq!((said.preparations(), said.starts), (2, 2));
}
