//! A folder with an experiment, and the binary run on it.

use crate::common;
use kvmtune::decision::{Evaluation, evaluate};
use kvmtune::event::{Outcome, RunHeader, TrialRecord};
use kvmtune::store::{RunSummary, Store};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// No run of these tests takes longer.
const LIMIT: Duration = Duration::from_mins(3);

/// Prints `$n` as fio would print its IOPS. Braces are placeholders in a workload file, hence the octal ones.
const PRINT: &str = r#"
printf '\173"jobs":[\173"error":0,"read":\173"bw_bytes":1,"iops":%d,"total_ios":1,"clat_ns":\173"mean":1\175\175,' "$n";
printf '"write":\173"bw_bytes":0,"iops":0,"total_ios":0,"clat_ns":\173"mean":0\175\175\175]\175\n'
"#;

/// A workload that runs `script` in the guest's shell and gives what it leaves in `$n`. Arguments are one line each,
/// so commands end in `;`.
pub(crate) fn script(script: &str) -> String {
    let script = format!("{script}{PRINT}").replace('\n', " ");
    format!(
        "summary = \"a script\"
run = \"guest\"
argv = [\"sh\", \"-c\", '''{script}''']
time = \"1s\"
grace = \"3s\"
parser = \"fio\"
[[metric]]
name = \"iops\"
unit = \"1/s\"
goal = \"maximize\"
"
    )
}

/// An experiment in a folder of its own, with its workload, results and state.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    /// `None` where there can be no lab. The experiment finds the workload as `load`.
    pub(crate) fn new(experiment: &str, workload: &str) -> Option<Self> {
        if !common::lab_is_possible() {
            return None;
        }
        kvmtune::lab::image::build(&common::cache()).unwrap();
        let folder = tempfile::Builder::new().prefix("kvmtune-run-").tempdir().unwrap();
        fs::create_dir(folder.path().join("workloads")).unwrap();
        fs::write(folder.path().join("workloads/load.toml"), workload).unwrap();
        fs::write(folder.path().join("experiment.toml"), experiment).unwrap();
        Some(Self { folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(assert_cmd::cargo::cargo_bin!("kvmtune"));
        command
            .current_dir(self.path())
            .args(["--state", "state", "--results", "results", "--cache"])
            .arg(common::cache())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a verb to its end.
    pub(crate) fn kvmtune(&self, arguments: &[&str]) -> Output {
        self.start(arguments).finish()
    }

    /// Starts a verb.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        let output = |name: &str| self.path().join(name);
        let mut command = self.command(arguments);
        command.stdout(File::create(output("stdout")).unwrap());
        command.stderr(File::create(output("stderr")).unwrap());
        command.process_group(0);
        Running {
            child: command.spawn().unwrap(),
            outputs: [output("stdout"), output("stderr")],
        }
    }

    /// Runs the experiment to its end, which must be a good one.
    pub(crate) fn run(&self) {
        let done = self.kvmtune(&["run", "experiment.toml"]);
        assert!(done.status.success(), "{done:?}");
    }

    fn store(&self) -> Store {
        Store::open_existing(&self.path().join("results")).unwrap()
    }

    /// Whether the run's header is stored.
    pub(crate) fn has_a_run(&self) -> bool {
        let store = Store::open_existing(&self.path().join("results"));
        store.is_ok_and(|s| s.runs().is_ok_and(|runs| !runs.is_empty()))
    }

    /// The only run.
    pub(crate) fn summary(&self) -> RunSummary {
        let runs = self.store().runs().unwrap();
        assert_eq!(runs.len(), 1, "{runs:#?}");
        runs[0].clone()
    }

    pub(crate) fn header(&self) -> RunHeader {
        self.store().header(self.summary().run).unwrap()
    }

    pub(crate) fn records(&self) -> Vec<TrialRecord> {
        self.store().trials(self.summary().run).unwrap()
    }

    pub(crate) fn evaluation(&self) -> Evaluation {
        let header = self.header();
        evaluate(&header, &self.records()).unwrap()
    }

    /// The records with the level of the first factor in which each differs from the baseline.
    pub(crate) fn labelled(&self) -> Vec<(String, TrialRecord)> {
        let plan = self.header().plan;
        let label = |record: &TrialRecord| {
            let treatment = plan.treatments.iter().find(|t| t.id == record.trial.treatment);
            treatment.unwrap().label_against(&plan.treatments[0])
        };
        let records = self.records().into_iter();
        records.map(|record| (label(&record), record)).collect()
    }

    /// The id of the lab that is up, by its data disk's file.
    pub(crate) fn lab(&self) -> Option<String> {
        let files = fs::read_dir(self.path().join("state")).ok()?.flatten();
        let mut names = files.filter_map(|f| f.file_name().into_string().ok());
        names.find_map(|n| Some(n.strip_prefix("lab-")?.strip_suffix(".img")?.to_string()))
    }

    /// What is on the host of the lab called `id`: processes, cgroups, folders, mounts, loop devices.
    pub(crate) fn remains(&self, id: &str) -> Vec<String> {
        let mut places: Vec<PathBuf> = entries("/proc").map(|p| p.join("cmdline")).collect();
        places.extend(entries("/sys/block").map(|p| p.join("loop/backing_file")));
        places.push("/proc/self/mountinfo".into());
        let names_lab = |path: &PathBuf| {
            let text = fs::read(path).unwrap_or_default();
            String::from_utf8_lossy(&text).contains(id)
        };
        places.retain(names_lab);
        let mut folders: Vec<_> = entries("/sys/fs/cgroup")
            .flat_map(|p| entries(p.join("machine")))
            .chain(entries("/run/kvmtune"))
            .chain(entries(self.path().join("state")))
            .collect();
        folders.retain(|path| path.to_string_lossy().contains(id));
        places.extend(folders);
        places.into_iter().map(|p| p.display().to_string()).collect()
    }

    /// Everything was measured.
    pub(crate) fn assert_all_measured(&self) {
        for (label, record) in self.labelled() {
            assert!(
                matches!(record.outcome, Outcome::Measured { .. }),
                "{label}: {record:#?}"
            );
        }
    }
}

impl Drop for Place {
    /// A test that failed leaves no guest behind.
    fn drop(&mut self) {
        let recovered = self.command(&["recover"]).output();
        if let Ok(output) = recovered
            && !output.status.success()
        {
            eprintln!("left behind: {output:?}");
        }
    }
}

/// A verb that runs; killed when dropped.
pub(crate) struct Running {
    child: Child,
    outputs: [PathBuf; 2],
}

impl Running {
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// To all that it has started in its group, too.
    pub(crate) fn signal_group(&self, signal: Signal) {
        killpg(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub(crate) fn finish(mut self) -> Output {
        wait_until("the end of kvmtune", || self.has_ended());
        Output {
            status: self.child.wait().unwrap(),
            stdout: fs::read(&self.outputs[0]).unwrap(),
            stderr: fs::read(&self.outputs[1]).unwrap(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Panics when `what` does not come about within the limit of these tests.
pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "{what} was waited for in vain");
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is in a folder; nothing when there is none.
pub(crate) fn entries(folder: impl AsRef<Path>) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| e.path())
}

/// The content of a kernel file.
pub(crate) fn kernel_value(path: &str) -> String {
    fs::read_to_string(path).unwrap().trim().to_string()
}
