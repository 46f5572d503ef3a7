//! A folder with an experiment and a model, what the binary does in it, and what it records.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::Command;
use kvmtune::event::{Purpose, RunHeader, TrialRecord};
use kvmtune::store::Store;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use tempfile::TempDir;

/// Noisy as a real machine: outliers, luck of starts, drift.
pub const NOISE: &str = "
boot = \"10s\"
[[noise]]
cv = \"1%\"
tail = \"t3\"
boot = \"0.5%\"
drift = \"+2%\"
wander = \"2%\"
";

pub const EFFECTS: &str = "
[[effect]]
set = { \"domain.disk.io\" = \"native\" }
metric = \"iops\"
change = \"+10%\"
[[effect]]
set = { \"domain.disk.io\" = \"native\", \"guest.disk.scheduler\" = \"bfq\" }
metric = \"iops\"
change = \"-30%\"
";

/// A folder with these files, and what the binary does in it.
pub struct Place(pub TempDir);

impl Place {
    pub fn new(experiment: &str, model: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("some.toml", experiment);
        place.write("model.toml", model);
        place
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::cargo_bin("kvmtune").unwrap();
        command.current_dir(self.0.path());
        command.args(arguments.split(' ')).args(["--state", "state"]);
        command
    }

    /// What is printed by a command that ends well.
    pub fn does(&self, arguments: &str) -> String {
        let done = self.command(arguments).assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    }

    pub fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.does(&format!("{arguments} --json --quiet"))).unwrap()
    }

    /// The report of a new run, without those of runs that follow it.
    pub fn run(&self, options: &str) -> Value {
        let report = self.json(&format!("run some.toml --simulate model.toml {options}"));
        assert!(
            !self.0.path().join("state").exists(),
            "the state folder was touched"
        );
        report["runs"][0].clone()
    }

    pub fn store(&self) -> Store {
        Store::open_existing(&self.0.path().join("results")).unwrap()
    }

    /// Every run with its trials, the oldest first.
    pub fn recorded(&self) -> Vec<(RunHeader, Vec<TrialRecord>)> {
        let store = self.store();
        let runs = store.runs().unwrap().into_iter();
        runs.map(|run| (store.header(run.run).unwrap(), store.trials(run.run).unwrap()))
            .collect()
    }

    pub fn purposes(&self) -> Vec<Purpose> {
        self.recorded()
            .into_iter()
            .map(|(header, _)| header.purpose)
            .collect()
    }

    /// What a refused command says.
    pub fn refuses(&self, arguments: &str, code: i32) -> String {
        let done = self.command(arguments).assert().code(code);
        String::from_utf8(done.get_output().stderr.clone()).unwrap()
    }

    /// Interrupts a command with this signal after it told of so many trials.
    pub fn stops(&self, arguments: &str, trials: usize, signal: Signal) {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("kvmtune"))
            .current_dir(self.0.path())
            .args(arguments.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        let trial = |line: &String| line.starts_with("block ");
        let seen = said
            .by_ref()
            .map(Result::unwrap)
            .filter(trial)
            .take(trials)
            .count();
        kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
        assert!(said.all(|line| line.is_ok()) && seen == trials);
        let status = child.wait().unwrap();
        assert!(matches!(status.code(), Some(130) | None), "{status}");
    }

    /// The newest run's observations without its id and times.
    pub fn observations(&self, run: &str) -> Vec<Vec<String>> {
        let text = self.does(&format!("export {run} --csv"));
        let mut table = csv::Reader::from_reader(text.as_bytes());
        let header = table.headers().unwrap().clone();
        let kept = |name: &str| name != "run" && name != "started" && name != "boot";
        let row = |row: csv::StringRecord| {
            let fields = header.iter().zip(row.iter()).filter(|(name, _)| kept(name));
            fields.map(|(_, value)| value.to_string()).collect()
        };
        table.records().map(|r| row(r.unwrap())).collect()
    }
}

/// Levels and verdict of each candidate.
pub fn verdicts(report: &Value) -> Vec<String> {
    let verdict = |treatment: &Value| {
        let levels = treatment["levels"].as_array().unwrap().iter();
        let levels: Vec<_> = levels.map(|l| l[1].as_str().unwrap()).collect();
        let word = &treatment["comparison"]["responses"][0]["verdict"]["kind"];
        format!("{} {}", levels.join(" "), word.as_str().unwrap())
    };
    let treatments = report["treatments"].as_array().unwrap();
    treatments.iter().map(verdict).collect()
}
