//! A run across reboots on a host that is really booted: every boot has the command line that was arranged for, the
//! setting it stands for is in force, and at the end the host has its own again.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod stage;

use kvmtune::host::agent::ExecOutput;
use stage::{LabHost, said};
use std::time::Duration;

/// On the lab host's disk.
const FOLDER: &str = "/srv/across";
const LINE: &str = "/proc/cmdline";
const PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
const LIMIT: Duration = Duration::from_mins(3);

const EXPERIMENT: &str = r#"
guest = { kind = "host" }
[[factor]]
tunable = "host.boot.transparent-hugepage"
levels = ["never"]
[[factor]]
tunable = "host.swappiness"
levels = [17]
[workload]
use = "load"
[design]
kind = "one-at-a-time"
blocks = 2
confirm = false
[budget]
reboot = "10s"
"#;

/// Prints what fio would, of as many IOPS as the pages of this boot are worth. Braces are placeholders in a workload
/// file, hence the octal ones.
const WORKLOAD: &str = r#"
summary = "a script"
run = "guest"
argv = ["sh", "-c", '''case $(cat /sys/kernel/mm/transparent_hugepage/enabled) in *"[never]"*) n=200;; *) n=100;; esac; sleep 1; printf '\173"jobs":[\173"error":0,"read":\173"bw_bytes":1,"iops":%s,"total_ios":1,"clat_ns":\173"mean":1\175\175,"write":\173"bw_bytes":0,"iops":0,"total_ios":0,"clat_ns":\173"mean":0\175\175\175]\175\n' $n ''']
time = "1s"
grace = "3s"
parser = "fio"
[[metric]]
name = "iops"
unit = "1/s"
goal = "maximize"
"#;

fn kvmtune(host: &LabHost, verb: &[&str]) -> ExecOutput {
    let program = stage::kvmtune();
    let options = ["--state", "state", "--results", "results", "-q"];
    let program = [program.to_str().unwrap()];
    let argv = [&["/usr/bin/env", "-C", FOLDER], &program[..], &options[..], verb].concat();
    host.exec(&argv, "", LIMIT)
}

#[test]
fn a_run_across_reboots_boots_the_host_as_planned_and_gives_it_back() {
    if !stage::is_possible() {
        return;
    }
    let mut host = LabHost::boot();
    let own = host.read(LINE).trim().to_string();
    let before = (host.read(PAGES), host.read(SWAPPINESS));
    assert!(!before.0.contains("[never]"), "{}", before.0);
    host.run(&["/bin/mkdir", "-p", &format!("{FOLDER}/workloads")]);
    let write = |path: &str, text: &str| {
        let path = format!("{FOLDER}/{path}");
        host.agent().write_file(&path, text.as_bytes()).unwrap();
    };
    write("experiment.toml", EXPERIMENT);
    write("workloads/load.toml", WORKLOAD);

    let refused = kvmtune(&host, &["run", "experiment.toml"]);
    assert_eq!(refused.exit_code, 5, "{}", said(&refused));
    assert!(said(&refused).contains("up to 7 reboots"), "{}", said(&refused));
    eprintln!("{}", said(&refused));
    let planned = kvmtune(&host, &["plan", "experiment.toml", "--seed", "4"]);
    eprintln!("{}", said(&planned));
    assert!(
        said(&planned).contains("7 reboots of the host"),
        "{}",
        said(&planned)
    );

    let begin = [
        "run",
        "--across-reboots",
        "--next-boot",
        "next",
        "--seed",
        "4",
        "experiment.toml",
    ];
    let resume = ["run", "--across-reboots", "--resume"];
    let mut sat = kvmtune(&host, &begin);
    let mut reboots = 0;
    while sat.exit_code == 8 {
        eprintln!("{}", said(&sat));
        assert!(reboots < 12, "it never ends");
        assert_eq!(host.read(SWAPPINESS), before.1, "live settings are given back");
        let line = host.read(&format!("{FOLDER}/next")).trim().to_string();
        if reboots == 1 {
            let waits = kvmtune(&host, &resume);
            assert_eq!(waits.exit_code, 8, "{}", said(&waits));
            assert!(said(&waits).contains("not rebooted"), "{}", said(&waits));
            // Its watchman has gone, too, and has not given the run up.
            let other = kvmtune(&host, &["plan", "experiment.toml"]);
            assert!(
                other.exit_code == 5 && said(&other).contains("--resume"),
                "{}",
                said(&other)
            );
        }
        let words = line
            .strip_prefix(&own)
            .unwrap_or_else(|| panic!("{line} is not {own} and more"));
        assert!(["", " transparent_hugepage=never"].contains(&words), "{words}");
        host.reboot(words.trim());
        reboots += 1;
        assert_eq!(host.read(LINE).trim(), line);
        assert_eq!(host.read(PAGES).contains("[never]"), !words.is_empty());
        sat = kvmtune(&host, &resume);
    }
    assert_eq!(sat.exit_code, 0, "{}", said(&sat));
    eprintln!("after {reboots} reboots:\n{}", said(&sat));
    assert!((5..=7).contains(&reboots), "{reboots}");
    assert_eq!(host.read(LINE).trim(), own);
    assert_eq!((host.read(PAGES), host.read(SWAPPINESS)), before);
    let left = host.run(&["/bin/ls", "-A", FOLDER, &format!("{FOLDER}/state")]);
    assert!(
        !left.contains("across-reboots") && !left.contains("next"),
        "{left}"
    );

    let runs = kvmtune(&host, &["runs"]);
    assert!(said(&runs).contains("complete"), "{}", said(&runs));
    let report = kvmtune(&host, &["report", "latest"]);
    eprintln!("{}", said(&report));
    let text = said(&report);
    assert!(
        text.contains("host.boot.transparent-hugepage=never") && text.contains("+100"),
        "{text}"
    );
    let recovered = kvmtune(&host, &["recover"]);
    assert!(
        recovered.exit_code == 0 && said(&recovered).contains("nothing to recover"),
        "{}",
        said(&recovered)
    );
}
