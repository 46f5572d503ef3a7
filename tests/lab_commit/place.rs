//! A folder with runs that prove something of this host, and what the binary does with them.

use assert_cmd::Command;
use rusqlite::Connection;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const EXPERIMENT: &str = r#"
name = "NAME"
allow = ["security"]
guest = { kind = "host" }
[[treatment]]
name = "now"
set = { "host.swappiness" = "60", "host.net.tcp-keepalive-time" = "7200", "host.ksm.sleep-millisecs" = "20", "host.boot.mitigations" = "auto" }
[[treatment]]
name = "new"
set = { "host.swappiness" = "10", "host.net.tcp-keepalive-time" = "600", "host.ksm.sleep-millisecs" = "50", "host.boot.mitigations" = "off" }
[workload]
use = "stress-ng-memory"
time = "3s"
[response]
metric = "read"
[design]
kind = "a-b"
"#;

const MODEL: &str = "[[noise]]\ncv = \"1%\"\n";
const EFFECT: &str =
    "[[effect]]\nset = { \"host.swappiness\" = \"10\" }\nmetric = \"read\"\nchange = \"+10%\"\n";

/// Whether it can be tried here; otherwise says why not. With `KVMTUNE_REQUIRE_LAB=1` a skip is a failure.
pub(crate) fn is_possible() -> bool {
    let programs = [
        "unshare",
        "sysctl",
        "udevadm",
        "systemd-tmpfiles",
        "modprobe",
        "tuned",
        "dbus-daemon",
        "update-grub",
    ];
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let is_there = |program: &&&str| {
        !path
            .split(':')
            .any(|folder| Path::new(folder).join(program).exists())
    };
    let mut lacks: Vec<_> = programs
        .iter()
        .filter(is_there)
        .map(ToString::to_string)
        .collect();
    if !nix::unistd::geteuid().is_root() {
        lacks.push("root".into());
    }
    if lacks.is_empty() {
        return super::common::lab_is_possible();
    }
    let why = format!("no commits here: {} missing", lacks.join(", "));
    assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// The folder.
pub(crate) struct Place(TempDir);

impl Place {
    /// Simulates runs, and then says in the record that they were made on a host like this one: to prove something of this
    /// host takes hours, and is not what is tested. One stays simulated, one has no winner, one is another host's.
    pub(crate) fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        for name in ["none", "simulated", "elsewhere", "some"] {
            fs::write(place.path("some.toml"), EXPERIMENT.replace("NAME", name)).unwrap();
            let effect = if name == "none" { "" } else { EFFECT };
            fs::write(place.path("model.toml"), format!("{MODEL}{effect}")).unwrap();
            place.does("run some.toml --simulate model.toml --seed 7 --quiet");
        }
        let lines = fs::read_to_string("/proc/cpuinfo").unwrap();
        let model = lines
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap();
        let model = model.trim_start_matches(['\t', ' ', ':']).trim();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let store = Connection::open(place.path("results/kvmtune.db")).unwrap();
        let change = "update run set facts = json_set(json_remove(facts, '$.record.simulated', '$.record.\"simulated.model\"'), \
                      '$.record.\"host.cpu.model\"', ?1, '$.record.\"host.kernel\"', ?2) where experiment = ?3";
        for (name, model) in [
            ("none", model),
            ("some", model),
            ("elsewhere", "A CPU of another time"),
        ] {
            assert!(store.execute(change, (model, kernel.trim(), name)).unwrap() > 0);
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &str) -> std::process::Command {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("kvmtune"));
        command
            .current_dir(self.0.path())
            .args(arguments.split(' '))
            .arg("--state")
            .arg(self.path("state"));
        command
    }

    fn done(&self, arguments: &str) -> assert_cmd::assert::Assert {
        Command::from_std(self.command(arguments)).assert()
    }

    /// What is printed by a command that ends well.
    pub(crate) fn does(&self, arguments: &str) -> String {
        let done = self.done(arguments).success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    }

    /// The same with what it says on stderr.
    pub(crate) fn both(&self, arguments: &str) -> String {
        let done = self.done(arguments).success();
        let output = done.get_output();
        String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
    }

    /// All that is said by a command that ends with this code.
    pub(crate) fn fails(&self, code: i32, arguments: &str) -> String {
        let done = self.done(arguments).code(code);
        let output = done.get_output();
        String::from_utf8([output.stdout.clone(), output.stderr.clone()].concat()).unwrap()
    }

    pub(crate) fn json(&self, arguments: &str) -> Value {
        serde_json::from_str(&self.does(&format!("{arguments} --json"))).unwrap()
    }
}

/// All that is below a folder: types, modes, owners, contents.
pub(crate) fn tree(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_path_buf()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let mut text = format!("{:o} {} {}", about.mode(), about.uid(), about.gid());
            if about.is_dir() {
                left.push(path.clone());
            } else if about.is_symlink() {
                text += &fs::read_link(&path).unwrap().display().to_string();
            } else if about.is_file() {
                text += &String::from_utf8_lossy(&fs::read(&path).unwrap());
            }
            found.insert(path, text);
        }
    }
    found
}

/// The paths that differ; empty when there are none.
pub(crate) fn differences(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> String {
    let paths = before
        .keys()
        .chain(after.keys().filter(|path| !before.contains_key(*path)));
    let differs: Vec<_> = paths
        .filter(|path| before.get(*path) != after.get(*path))
        .map(|path| path.display().to_string())
        .collect();
    differs.join(", ")
}
