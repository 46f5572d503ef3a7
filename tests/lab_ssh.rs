//! The lab's guest over ssh: what arrives is what was sent, what is wrong is named, and nothing is left.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod jobs;

use kvmtune::experiment::Company;
use kvmtune::experiment::SshTarget;
use kvmtune::host::ssh::{Problem, Ssh, SshError};
use kvmtune::host::transport::{Transport, TransportError};
use kvmtune::host::{Host, Job, LocalHost, Power};
use kvmtune::lab::{LabPlace, LabSize, take_down};
use kvmtune::units::Bytes;
use kvmtune::workload::Side;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);

/// What a shell would take for something else.
const ODD: [&str; 9] = [
    "",
    " two  spaces ",
    "$(reboot) `reboot` ${HOME}",
    "a'b\"c\\d",
    "; exit 9 #",
    "new\nline\n",
    "!history",
    "-n",
    "k\u{f6}nig \u{1b}[31m",
];

/// A lab whose guest can be reached by ssh, on the calling thread; `None` where there can be none.
fn lab() -> Option<(LabPlace, LocalHost)> {
    if !common::ssh_is_possible() || !common::lab_is_possible() {
        return None;
    }
    // The folder is left to the test, which fails when the lab cannot be taken down.
    let place = LabPlace::new(&tempfile::tempdir().unwrap().keep());
    let size = LabSize {
        vcpus: 2,
        memory: Bytes::mib(512),
        disk: Bytes::mib(64),
    };
    let mut host = LocalHost::lab(
        &place,
        size,
        &Company::default(),
        &common::cache(),
        std::sync::Arc::default(),
    )
    .unwrap();
    host.reach_lab_by_ssh().unwrap();
    Some((place, host))
}

fn job(argv: &[&str]) -> Job {
    Job {
        side: Side::Guest,
        argv: argv.iter().map(ToString::to_string).collect(),
        server: None,
        expected: Duration::from_millis(100),
        limit: LIMIT,
        max_output: Bytes(100_000),
        series: None,
        files: Vec::new(),
        drop_caches: kvmtune::workload::DropCaches::Off,
    }
}

#[test]
fn the_guest_is_used_over_ssh_alone() {
    let Some((place, mut host)) = lab() else { return };
    let started = Instant::now();
    host.power(Power::On).unwrap();
    eprintln!("ready in {:.2?}", started.elapsed());
    let guest = host.transport().unwrap();
    files_arrive_byte_by_byte(guest);
    arguments_arrive_as_they_are(guest);
    what_is_hostile_is_bounded(guest);
    jobs::run_and_are_stopped(guest);
    let Transport::Ssh(ssh) = guest else {
        panic!("{guest:?}")
    };
    what_is_wrong_is_named(ssh.target(), &place.root);
    let facts = host.facts().unwrap();
    assert_eq!(facts.record["guest.transport"], "ssh");
    assert!(facts.guest_modules.contains("bfq"), "{facts:?}");

    let client = client_of(&place.root);
    assert_eq!(
        network_of(&client),
        network_of("thread-self"),
        "the lab's network is this thread's"
    );
    let folder = fs::metadata(place.root.join("ssh")).unwrap();
    assert_eq!((folder.mode() & 0o777, folder.uid()), (0o700, 0));
    a_guest_that_dies_is_lost(&mut host);

    host.power(Power::Off).unwrap();
    assert!(!place.root.join("ssh").exists());
    host.power(Power::On).unwrap();
    let fresh = host.transport().unwrap();
    assert_eq!(
        fresh.exec(&["echo", "again"], None, LIMIT).unwrap().stdout,
        b"again\n"
    );
    let client = client_of(&place.root);
    host.power(Power::Off).unwrap();
    drop(host);
    assert!(!Path::new("/proc").join(client).exists());
    take_down(&place).unwrap();
    assert!(!place.data.exists() && !place.root.exists());
    fs::remove_dir_all(place.data.parent().unwrap()).unwrap();
}

fn files_arrive_byte_by_byte(guest: &Transport) {
    let started = Instant::now();
    for _ in 0..20 {
        let uptime = guest.read_file("/proc/uptime", 100).unwrap();
        assert!(String::from_utf8(uptime).unwrap().contains('.'));
    }
    eprintln!("reading a file takes {:.1?}", started.elapsed() / 20);
    assert!(guest.read_file("/no/such/file", 100).unwrap_err().is_refused());
    assert!(guest.read_file("/proc", 100).unwrap_err().is_refused());
    assert!(guest.read_file("/proc/cpuinfo", 10).unwrap_err().is_too_large());
    assert!(guest.exists("/proc/uptime").unwrap() && !guest.exists("/no/such/file").unwrap());

    let big: Vec<u8> = (0..2_500_000u32).map(|i| (i % 251) as u8).collect();
    guest.write_file("/run/big", &big).unwrap();
    assert!(guest.read_file("/run/big", big.len()).unwrap() == big);
    assert!(
        guest
            .read_file("/run/big", big.len() - 1)
            .unwrap_err()
            .is_too_large()
    );
    guest.write_file("/run/big", b"").unwrap();
    assert_eq!(guest.read_file("/run/big", 0).unwrap(), b"");
    for odd in ODD {
        let path = format!("/run/odd{}", odd.replace('/', ""));
        guest.write_file(&path, odd.as_bytes()).unwrap();
        assert_eq!(guest.read_file(&path, 1000).unwrap(), odd.as_bytes(), "{odd:?}");
    }

    let sysctl = "/proc/sys/vm/swappiness";
    guest.write_file(sysctl, b"17\n").unwrap();
    assert_eq!(guest.read_file(sysctl, 100).unwrap(), b"17\n");
    let refused = guest.write_file(sysctl, b"nonsense\n").unwrap_err();
    assert!(refused.is_refused() && !refused.is_silent(), "{refused:?}");
    assert!(refused.to_string().contains("Invalid argument"), "{refused}");
    assert_eq!(guest.read_file(sysctl, 100).unwrap(), b"17\n");
}

fn arguments_arrive_as_they_are(guest: &Transport) {
    let mut argv = vec!["printf", "%s\\0"];
    argv.extend(ODD);
    let done = guest.exec(&argv, None, LIMIT).unwrap();
    let wanted = ODD.join("\0") + "\0";
    assert_eq!(String::from_utf8_lossy(&done.stdout), wanted);
    let script = "cat; echo err >&2; exit 3";
    let done = guest
        .exec(&["/bin/sh", "-c", script], Some(b"in\0put"), LIMIT)
        .unwrap();
    assert_eq!(
        (done.exit_code, &done.stdout[..], &done.stderr[..]),
        (3, &b"in\0put"[..], &b"err\n"[..])
    );
    let code = |script: &str| {
        guest
            .exec(&["/bin/sh", "-c", script], None, LIMIT)
            .unwrap()
            .exit_code
    };
    assert_eq!(
        [code("kill -9 $$"), code("exit 127"), code("exit 255")],
        [137, 127, 255]
    );
    assert_eq!(guest.exec(&["/no/such"], None, LIMIT).unwrap().exit_code, 127);
    // Input that nobody reads is no failure.
    let unread = guest.exec(&["true"], Some(&vec![b'x'; 1 << 20]), LIMIT).unwrap();
    assert_eq!(unread.exit_code, 0);
}

fn what_is_hostile_is_bounded(guest: &Transport) {
    let limit = Duration::from_secs(1);
    let alive = || {
        guest
            .exec(&["pidof", "cat", "sleep"], None, LIMIT)
            .unwrap()
            .stdout
    };
    assert_eq!(alive(), b"");
    let started = Instant::now();
    let flood = guest.exec(&["cat", "/dev/zero"], None, LIMIT).unwrap_err();
    assert!(flood.is_too_large(), "{flood:?}");
    let flood = guest.read_file("/dev/zero", 1000).unwrap_err();
    assert!(flood.is_too_large(), "{flood:?}");
    assert_eq!(alive(), b"", "what is given up is ended");
    // The command after one that was given up ran into its end, one time in ten.
    for _ in 0..8 {
        let slow = guest.exec(&["sleep", "600"], None, limit).unwrap_err();
        assert!(
            matches!(slow, TransportError::Ssh(SshError::TooSlow { .. })),
            "{slow:?}"
        );
        assert_eq!(alive(), b"", "what is given up is ended");
    }
    assert!(started.elapsed() < 2 * LIMIT);
}

/// Each mistake has its own name, and none of them is waited for.
fn what_is_wrong_is_named(right: &SshTarget, root: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let problem = |target: SshTarget| {
        let ssh = Ssh::new(target, &folder.path().join("ssh")).unwrap();
        let Err(SshError::Connect(error)) = ssh.ping(Duration::from_secs(5)) else {
            panic!("connected")
        };
        assert!(
            error.to_string().contains("cannot reach the guest by ssh"),
            "{error}"
        );
        error.problem
    };
    let known = fs::read_to_string(&right.known_hosts).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let knowing = |name: &str, text: &str| SshTarget {
        known_hosts: file(name, text),
        ..right.clone()
    };
    assert_eq!(problem(knowing("none", "")), Problem::UnknownHostKey);
    // The client's own key as the host's: a valid key, and another.
    let other = fs::read_to_string(root.join("keys/id.pub")).unwrap();
    let changed = knowing("changed", &format!("{} {other}", right.host));
    assert_eq!(problem(changed), Problem::ChangedHostKey);
    assert_eq!(
        fs::read_to_string(&right.known_hosts).unwrap(),
        known,
        "it is only read"
    );
    let with = |identity: String| SshTarget {
        identity,
        ..right.clone()
    };
    let stranger = folder.path().join("stranger").display().to_string();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f", &stranger])
        .status();
    assert!(made.unwrap().success());
    assert_eq!(problem(with(stranger.clone())), Problem::Denied);
    assert_eq!(
        problem(SshTarget {
            user: "nobody".into(),
            ..right.clone()
        }),
        Problem::Denied
    );
    // Of a key that the guest does not accept anyway, ssh does not open the file.
    let open = file("open", &fs::read_to_string(&right.identity).unwrap());
    assert_eq!(problem(with(open)), Problem::OpenKeyFile);
    let port = |port| SshTarget {
        port,
        ..right.clone()
    };
    assert_eq!(problem(port(23)), Problem::Refused);
    let nobody = SshTarget {
        host: "10.77.0.9".into(),
        ..right.clone()
    };
    let silent = problem(nobody);
    assert!(
        matches!(silent, Problem::Unreachable | Problem::Silent(_)),
        "{silent:?}"
    );
    assert!(!folder.path().join("ssh").exists());
}

fn a_guest_that_dies_is_lost(host: &mut LocalHost) {
    let started = Instant::now();
    let dead = host.run(&job(&["/bin/sh", "-c", "sleep 1; echo c >/proc/sysrq-trigger"]));
    let dead = dead.unwrap_err();
    assert!(dead.guest_lost, "{dead}");
    eprintln!("lost after {:.1?}: {dead}", started.elapsed());
    let limit = Duration::from_secs(2);
    let silent = host
        .transport()
        .unwrap()
        .exec(&["true"], None, limit)
        .unwrap_err();
    assert!(silent.is_silent(), "{silent:?}");
    assert!(started.elapsed() < Duration::from_mins(1));
}

/// The process in whose arguments the lab's control socket is.
fn client_of(root: &Path) -> String {
    let socket = root.join("ssh/control").display().to_string();
    let names = fs::read_dir("/proc")
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let client = names.filter_map(|name| name.into_string().ok()).find(|pid| {
        let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        pid.parse::<u32>().is_ok() && words.split('\0').any(|word| word == socket)
    });
    client.unwrap()
}

fn network_of(process: &str) -> std::path::PathBuf {
    fs::read_link(format!("/proc/{process}/ns/net")).unwrap()
}
