//! A user's domain whose agent runs nothing, reached by ssh: measured, given back, and refused when its key is wrong.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]
#![allow(dead_code, reason = "the daemon's tests share what this one has no use for")]

mod libvirtd;

use libvirtd::{Agents, Daemon, GUEST_ADDRESS, WITHOUT_EXEC, wait_for};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const EXPERIMENT: &str = "scratch = \"/tmp/kvmtune.dat\"
transport = \"ssh\"
[guest.ssh]
host = \"10.88.0.2\"
identity = \"FOLDER/id\"
known-hosts = \"FOLDER/known_hosts\"
[[factor]]
tunable = \"guest.swappiness\"
levels = [60, 10]
[[factor]]
tunable = \"domain.disk.cache\"
levels = [\"writeback\", \"none\"]
[[workload]]
use = \"tiny\"
[[workload]]
use = \"brought\"";

/// Run by kvmtune's own program, which this guest does not have: the one in its image is spoilt.
const BROUGHT: &str = "summary = \"brought\"
run = \"guest\"
argv = [\"kvmtune-guest\", \"at\", \"0\", \"--\", \"printf\", '\\173\"n\": 1\\175']
time = \"1s\"
parser = \"numbers\"
[[metric]]
name = \"n\"
unit = \"1\"
goal = \"maximize\"";

/// Where the client's socket of a user's guest is.
const SSH_FOLDER: &str = "/run/kvmtune/ssh";

/// Keys, the file of known hosts, and a first root with an ssh server that knows the keys.
fn prepare(daemon: &Daemon) -> PathBuf {
    let file = |name: &str| daemon.folder().join(name);
    let run = |command: &mut Command| {
        let done = command.stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let words = ["-q", "-t", "ed25519", "-N", "", "-f"];
    run(Command::new("ssh-keygen").args(words).arg(file("id")));
    let made = run(Command::new("dropbearkey")
        .args(["-t", "ed25519", "-f"])
        .arg(file("host")));
    let public = made
        .lines()
        .find(|line| line.starts_with("ssh-ed25519 "))
        .unwrap();
    fs::write(file("known_hosts"), format!("{GUEST_ADDRESS} {public}\n")).unwrap();
    let inittab = format!("{WITHOUT_EXEC}::respawn:/usr/sbin/dropbear -F -s -p 22 -r /etc/host\n");
    daemon.initrd_with(
        "initrd",
        &[
            ("etc/inittab", 0o100_644, inittab.as_bytes()),
            ("etc/host", 0o100_600, &fs::read(file("host")).unwrap()),
            ("usr/bin/kvmtune-guest", 0o100_755, b"no program"),
            ("root/.ssh", 0o040_700, b""),
            (
                "root/.ssh/authorized_keys",
                0o100_600,
                &fs::read(file("id.pub")).unwrap(),
            ),
        ],
    )
}

fn ended(daemon: &Daemon, code: i32, args: &[&str]) -> Output {
    let done = daemon.kvmtune_inside(args).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{args:?}\n{said}");
    done
}

fn assert_says(said: &Output, wanted: &[&str]) {
    let text = String::from_utf8_lossy(&said.stderr);
    for wanted in wanted {
        assert!(text.contains(wanted), "no `{wanted}` in: {text}");
    }
}

#[test]
fn a_guest_that_blocks_guest_exec_is_measured_by_ssh() {
    if !libvirtd::common::ssh_is_possible() {
        return;
    }
    let Some(daemon) = Daemon::start() else { return };
    let initrd = prepare(&daemon);
    let user = daemon.define_booting("kt-strict", Agents::WithoutExec, &initrd);
    let folder = daemon.folder().display().to_string();
    let file = daemon.experiment("kt-strict", &EXPERIMENT.replace("FOLDER", &folder));
    fs::write(daemon.folder().join("workloads/brought.toml"), BROUGHT).unwrap();
    let file = file.to_str().unwrap();

    // Off before, off after; it is started with a changed definition in between.
    ended(&daemon, 0, &["check", file]);
    ended(&daemon, 0, &["run", "--quiet", file]);
    let csv = ended(&daemon, 0, &["export", "--csv"]).stdout;
    let csv = String::from_utf8(csv).unwrap();
    let own = csv.lines().skip(1).filter(|row| !row.contains(",host,"));
    assert_eq!(own.count(), 4 * 3 * 2);
    let is_given_back = || {
        assert_eq!(daemon.journal(), "");
        assert!(!Path::new(SSH_FOLDER).exists());
        user.assert_definition_is_untouched();
    };
    assert!(!user.is_on());
    is_given_back();

    a_wrong_key_is_refused(&daemon, file);
    assert!(!user.is_on(), "a guest that cannot be reached is shut down again");
    is_given_back();

    // A killed run: the client ends with it, and what was set in the running guest is set back over ssh.
    user.domain.create().unwrap();
    wait_for("an answering guest", Duration::from_mins(2), || {
        let check = daemon.kvmtune_inside(&["check", file]).output().unwrap();
        check.status.success()
    });
    let mut run = daemon.kvmtune_inside(&["run", "--quiet", file]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let has_entry = || daemon.journal().contains("/proc/sys/vm/swappiness");
    wait_for("a changed setting", Duration::from_mins(3), || {
        assert!(run.try_wait().unwrap().is_none(), "the run ended early");
        has_entry()
    });
    run.kill().unwrap();
    run.wait().unwrap();
    wait_for("the client's end", Duration::from_secs(5), || clients() == 0);
    ended(&daemon, 0, &["recover"]);
    assert!(user.is_on());
    is_given_back();
}

fn a_wrong_key_is_refused(daemon: &Daemon, file: &str) {
    let known = daemon.folder().join("known_hosts");
    let right = fs::read(&known).unwrap();
    let own = fs::read_to_string(daemon.folder().join("id.pub")).unwrap();
    fs::write(&known, format!("{GUEST_ADDRESS} {own}")).unwrap();
    let name = known.display().to_string();
    assert_says(
        &ended(daemon, 5, &["run", file]),
        &["its host key has changed", &name, "ssh-keygen -R '10.88.0.2'"],
    );
    fs::write(&known, "").unwrap();
    assert_says(
        &ended(daemon, 5, &["check", file]),
        &["its host key is not known", &name, "ssh-keyscan -p 22 10.88.0.2"],
    );
    fs::remove_file(&known).unwrap();
    let absent = format!("missing: the file {name}, to reach the guest by ssh");
    assert_says(&ended(daemon, 5, &["run", file]), &[&absent, "`known-hosts`"]);
    fs::write(&known, right).unwrap();
}

/// How many ssh clients of kvmtune there are.
fn clients() -> usize {
    let names = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let is_client = |path: &PathBuf| {
        let words = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        words
            .split('\0')
            .any(|word| word == format!("{SSH_FOLDER}/control"))
    };
    names.filter(is_client).count()
}
