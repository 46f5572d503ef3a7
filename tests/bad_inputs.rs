//! What the binary says to bad input: an exit code that is documented, and a message that names what failed, on what,
//! and what to try. Nothing is printed on stdout, nothing is touched.
#![allow(clippy::unwrap_used, reason = "tests")]

use assert_cmd::Command;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// What is wrong; how a shell brings it about in a folder that holds `ok.toml`; what kvmtune is asked for; its exit
/// code; pieces of what it says.
type Case = (
    &'static str,
    &'static str,
    &'static str,
    i32,
    &'static [&'static str],
);

const NO_FILE: &str = "name an experiment file, such as";
const OK: &str =
    "guest = { domain = \"nope\", connect = \"test:///default\", scratch = \"/tmp/kvmtune.dat\" }
[factor]
tunable = \"guest.swappiness\"
levels = [60, 61]
[workload]
use = \"fio-randread-4k\"
";

#[rustfmt::skip]
const COMMAND_LINES: &[Case] = &[
    ("no verb", "", "", 2, &["requires a subcommand", "check, plan, run"]),
    ("unknown verb", "", "tune", 2, &["unrecognized subcommand 'tune'", "--help"]),
    ("unknown verb of the lab", "", "lab up", 2, &["unrecognized subcommand 'up'", "--help"]),
    ("unknown option", "", "run --fast", 2, &["unexpected argument '--fast'", "Usage: kvmtune run"]),
    ("no file", "", "run", 2, &["required arguments were not provided", "<FILE>"]),
    ("a seed that is no number", "", "run --seed x ok.toml", 2, &["invalid value 'x' for '--seed <SEED>'"]),
    ("an export without a format", "", "export", 2, &["--csv|--jsonl"]),
    ("an export with two formats", "", "export --csv --jsonl", 2, &["'--csv' cannot be used with", "--jsonl"]),
    ("a report in two formats", "", "report --markdown --json", 2, &["'--markdown' cannot be used with '--json'"]),
    ("a next boot that is never made", "", "run e.toml --next-boot grub", 2, &["--across-reboots"]),
    ("a reboot of a run within one boot", "", "run e.toml --reboot", 2, &["--across-reboots"]),
    ("a next boot of a model", "", "run e.toml --simulate m.toml --next-boot grub", 2, &["cannot be used with"]),
    ("a reboot of a model", "", "run e.toml --simulate m.toml --reboot", 2, &["cannot be used with"]),
    ("a new seed for an old run", "", "run --resume --seed 1", 2, &["cannot be used with"]),
];

#[rustfmt::skip]
const FILES: &[Case] = &[
    ("a file that is not there", "", "run no.toml", 3, &["cannot read no.toml: No such file", NO_FILE]),
    ("a folder", "mkdir no.toml", "check no.toml", 3, &["cannot read no.toml: Is a directory", NO_FILE]),
    ("an empty file", ": > no.toml", "plan no.toml", 3, &["`factor` is missing", "`workload` is missing", "add [[factor]]"]),
    ("a binary file", "head -c 9999 \"$kvmtune\" > no.toml", "run no.toml", 3, &["no.toml is not UTF-8 text", "save the file as UTF-8"]),
    ("2 MiB", "yes '#' | head -c 2097152 > no.toml", "run no.toml", 3, &["more than 1 MiB", "is this the right file?"]),
    ("no TOML", "echo 'x = [' > no.toml", "run no.toml", 3, &["no.toml:1:", "help:"]),
    ("an unknown key", "(echo 'sed = 1'; cat ok.toml) > no.toml", "run no.toml", 3, &["unknown key `sed`", "no.toml:1:1", "did you mean `seed`?"]),
    ("a wrong unit", "(cat ok.toml; echo 'time = \"5 parsecs\"') > no.toml", "run no.toml", 3, &["5 parsecs", "no.toml:7:8", "help:"]),
    ("an illegal level", "sed 's/60, 61/60, 999/' ok.toml > no.toml", "run no.toml", 3, &["illegal level of `guest.swappiness`", "no.toml:4:", "999"]),
    ("equal levels", "sed 's/60, 61/60, \"60\"/' ok.toml > no.toml", "run no.toml", 3, &["no.toml:4:", "twice"]),
    ("an unknown tunable", "sed 's/guest.swap/guest.swop/' ok.toml > no.toml", "run no.toml", 3, &["unknown tunable `guest.swoppiness`", "did you mean `guest.swappiness`?"]),
    ("an unknown workload", "sed 's/randread/randraed/' ok.toml > no.toml", "run no.toml", 3, &["fio-randraed-4k", "did you mean `fio-randread-4k`?"]),
    ("a bad workload file", "mkdir workloads; echo 'run = 1' > workloads/mine.toml", "run ok.toml", 3, &["workloads/mine.toml:1:7", "help:"]),
    ("a workload that is no text", "mkdir workloads; head -c 9999 \"$kvmtune\" > workloads/mine.toml", "run ok.toml", 3, &["workloads/mine.toml is not UTF-8"]),
    ("an unknown response", "(cat ok.toml; echo '[response]'; echo 'metric = \"iopps\"') > no.toml", "run no.toml", 3, &["iopps", "no.toml:8:10", "help:"]),
    ("a remote domain", "sed 's|test:///default|qemu+ssh://h/system|' ok.toml > no.toml", "run no.toml", 3, &["no good as `connect`", "use a local connection"]),
    ("a connection that runs a program", "sed 's|test:///default|qemu+unix:///system?command=/tmp/x|' ok.toml > no.toml", "run no.toml", 3, &["no good as `connect`"]),
    ("a device to write over", "sed 's|/tmp/kvmtune.dat|/dev/vda|' ok.toml > no.toml", "run no.toml", 3, &["no good as `scratch`", "plain file"]),
    ("no scratch file", "sed 's|, scratch = .* }| }|' ok.toml > no.toml", "run no.toml", 3, &["scratch"]),
];

#[rustfmt::skip]
const RESULTS: &[Case] = &[
    ("no results yet", "", "report", 5, &["no results in results/kvmtune.db", "kvmtune run FILE"]),
    ("no runs yet", "", "runs", 5, &["no results in results/kvmtune.db"]),
    ("nothing to export", "", "export --csv", 5, &["no results in results/kvmtune.db"]),
    ("nothing to resume", "", "run --resume", 5, &["no results in results/kvmtune.db"]),
    ("a damaged database", "mkdir results; head -c 9999 \"$kvmtune\" > results/kvmtune.db", "report", 5, &["results/kvmtune.db is damaged or not a database", "move it away"]),
    ("an unknown name of a tunable", "", "tunables swop", 2, &["no tunable has `swop` in its name", "lists all"]),
];

#[rustfmt::skip]
const MACHINE: &[Case] = &[
    ("results that are a file", "touch results", "run ok.toml", 5, &["results: File exists", "name another folder"]),
    ("a read-only folder of results", "mkdir results; mount -t tmpfs -o ro none results", "run ok.toml", 5, &["results/kvmtune.db cannot be written", "make its folder writable"]),
    ("no space for results", "mkdir results; mount -t tmpfs -o size=64k none results", "run ok.toml", 5, &["no space left for", "results/kvmtune.db", "free some space"]),
    ("a damaged database to go on with", "mkdir results; head -c 9999 \"$kvmtune\" > results/kvmtune.db", "run ok.toml", 5, &["is damaged or not a database", "move it away"]),
    ("a state folder anybody writes to", "mkdir -m 777 state", "run ok.toml", 5, &["will not trust state", "chmod 700"]),
    ("a state folder of somebody else", "mkdir -m 700 state; chown 65534 state", "run ok.toml", 5, &["will not trust state", "chown"]),
    ("a state folder that is a link", "mkdir -m 700 other; ln -s other state", "run ok.toml", 5, &["will not trust state", "name another"]),
    ("a state folder that is a file", "touch state", "run ok.toml", 5, &["create state", "--state"]),
    ("a damaged journal", "mkdir -m 700 state; echo '{}' > state/journal.jsonl", "run ok.toml", 5, &["state/journal.jsonl is damaged in line 1", "restore by hand"]),
    ("another run", "mkdir -m 700 state; exec 9>state/lock; flock 9; echo $$ >&9", "run ok.toml", 5, &["another kvmtune (process", "wait for it to end"]),
    ("another run, for recover", "mkdir -m 700 state; exec 9>state/lock; flock 9", "recover", 5, &["another kvmtune changes this host now", "wait for it to end"]),
    ("an earlier run that was killed", "mkdir -m 700 state; echo '{\"opened\":{\"seq\":0,\"undo\":{\"session\":{\"lab\":{\"id\":\"0123abcd\",\"root\":\"/run/kvmtune/0123abcd\",\"data\":\"x/lab-0123abcd.img\"}}}}}' > state/journal.jsonl", "run ok.toml", 5, &["an earlier run left lab 0123abcd", "run `kvmtune recover`"]),
    ("an unknown domain", "", "check ok.toml", 5, &["cannot find domain nope", "virsh list --all"]),
    ("an unknown domain, run", "", "run ok.toml", 5, &["cannot find domain nope", "virsh list --all"]),
    ("an unknown disk", "sed 's/\"nope\"/\"test\", disk = \"vdz\"/' ok.toml > no.toml", "plan no.toml", 5, &["no disk `vdz`", "vda"]),
    ("a guest that has no agent", "sed 's/nope/test/' ok.toml > no.toml", "check no.toml", 5, &["missing: a channel for the guest agent", "mend: ", "org.qemu.guest_agent.0"]),
    ("a refused connection", "sed \"s|test:///default|qemu+unix:///system?socket=$PWD/none|\" ok.toml > no.toml", "run no.toml", 5, &["Failed to connect socket", "is libvirtd or virtqemud running"]),
    ("no root", "chmod 755 .; cp \"$kvmtune\" kvmtune; kvmtune=./kvmtune; as='setpriv --reuid=65534 --regid=65534 --clear-groups'", "run ok.toml", 5, &["missing: root: needed to", "mend: run it with sudo"]),
    ("no QEMU", "mount --bind /dev/null /usr/bin/qemu-system-x86_64; sed '/guest = /d' ok.toml > lab.toml", "check lab.toml", 5, &["missing: program qemu-system-x86_64 (package qemu-system-x86)", "mend: apt-get install qemu-system-x86"]),
    ("no ssh server for the lab", "[ ! -e /usr/sbin/dropbear ] || mount --bind /dev/null /usr/sbin/dropbear; sed 's/^guest = .*/guest = { transport = \"ssh\" }/' ok.toml > lab.toml", "check lab.toml", 5, &["missing: program dropbear (package dropbear-bin), to reach the guest by ssh", "mend: apt-get install dropbear-bin"]),
    ("no files for ssh", "sed \"s|scratch|ssh = { host = \\\"web\\\", identity = \\\"$PWD/id\\\", known-hosts = \\\"$PWD/known\\\" }, scratch|\" ok.toml > no.toml", "run no.toml", 5, &["/id, to reach the guest by ssh", "/known, to reach the guest by ssh", "name another as `known-hosts`"]),
    ("no fio for the lab", "mount --bind /dev/null /usr/bin/fio; sed '/guest = /d' ok.toml > lab.toml", "run lab.toml", 5, &["missing: program fio (package fio), for the lab guest", "mend: apt-get install fio"]),
    ("no QEMU for the lab's shell", "mount --bind /dev/null /usr/bin/qemu-system-x86_64", "lab shell", 5, &["missing: program qemu-system-x86_64"]),
];

fn is_wrong((what, setup, args, code, says): &Case) -> Option<String> {
    let folder = tempfile::Builder::new().prefix("kt-").tempdir_in("/tmp").unwrap();
    fs::write(folder.path().join("ok.toml"), OK).unwrap();
    let script = format!(
        "set -e; kvmtune=$1; as=; {setup}\nls > before\nexec $as \"$kvmtune\" --state state --results results {args}"
    );
    let mut command = if nix::unistd::geteuid().is_root() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "/bin/sh"]);
        command
    } else {
        Command::new("/bin/sh")
    };
    command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_kvmtune")]);
    let done = command
        .current_dir(folder.path())
        .timeout(Duration::from_mins(1))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    let mut faults = Vec::new();
    if done.status.code() != Some(*code) {
        faults.push(format!("exit {:?}, not {code}", done.status.code()));
    }
    faults.extend(
        says.iter()
            .filter(|s| !text.contains(**s))
            .map(|s| format!("does not say `{s}`")),
    );
    if !done.stdout.is_empty() {
        faults.push("printed on stdout".into());
    }
    if text.contains("panicked") || text.contains('\u{1b}') {
        faults.push("panicked, or drives the terminal".into());
    }
    faults.extend(touched(folder.path(), setup, *code));
    (!faults.is_empty()).then(|| format!("{what}: {}\n{text}", faults.join("; ")))
}

/// What is there that was not before, but for an empty journal and an empty database of results.
fn touched(folder: &Path, setup: &str, code: i32) -> Option<String> {
    let before = fs::read_to_string(folder.join("before")).unwrap_or_default();
    let journal = fs::metadata(folder.join("state/journal.jsonl")).map_or(0, |m| m.len());
    if journal > 0 && !setup.contains("journal") {
        return Some("left something in the journal".into());
    }
    let allowed: &[&str] = if code == 5 { &["state", "results"] } else { &[] };
    let entries = fs::read_dir(folder).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let new: Vec<_> = names
        .filter(|n| !before.lines().any(|b| b == n) && !allowed.contains(&n.as_str()))
        .collect();
    (!new.is_empty()).then(|| format!("made {}", new.join(", ")))
}

fn check(cases: &[Case]) {
    let wrong: Vec<_> = cases.iter().filter_map(is_wrong).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_command_lines() {
    check(COMMAND_LINES);
}

#[test]
fn bad_files() {
    check(FILES);
}

#[test]
fn bad_results() {
    check(RESULTS);
}

#[test]
fn bad_machines() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make mounts");
        return;
    }
    check(MACHINE);
}
