//! The scripts run here under the shells of this machine; in a guest they run in the lab's tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::*;

/// The shells of Debian and of the lab's guest, as far as they are here.
const SHELLS: [&[&str]; 3] = [&["/bin/sh"], &["dash"], &["busybox", "sh"]];

/// Runs [`RUN`] as [`START`] would, and returns exit code, stdout and stderr.
fn run(shell: &[&str], max: usize, argv: &[&str]) -> Option<(i32, String, String)> {
    let directory = tempfile::tempdir().unwrap();
    let max = (max + 1).to_string();
    let mut command = Command::new(shell[0]);
    command
        .args(&shell[1..])
        .args(["-c", RUN, "kvmtune"])
        .arg(directory.path())
        .arg(max)
        .args(argv);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let status = command.status().ok()?;
    assert!(status.success(), "{shell:?}: {status}");
    let read = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
    let end = parse_end(&read("rc")).unwrap();
    let text = |name: &str| String::from_utf8(read(name)).unwrap();
    let (out, err) = (text("out"), text("err"));
    assert_eq!(
        (end.out, end.err),
        (!out.is_empty(), !err.is_empty()),
        "{shell:?}"
    );
    Some((end.exit_code, out, err))
}

#[test]
fn every_shell_keeps_output_and_exit_code() {
    let mut ran = 0;
    for shell in SHELLS {
        let case = |argv: &[&str]| run(shell, 10, argv);
        let Some(first) = case(&["sh", "-c", "echo \"$1\"; echo e >&2; exit 7", "x", "$(id)"]) else {
            continue;
        };
        assert_eq!(first, (7, "$(id)\n".to_owned(), "e\n".to_owned()), "{shell:?}");
        let flood = "head -c 300000 /dev/zero | tr '\\0' x; exit 5";
        assert_eq!(
            case(&["sh", "-c", flood]),
            Some((5, "x".repeat(11), String::new())),
            "{shell:?}"
        );
        let failures = [("exit 0", 0), ("kill -s KILL $$", 137), ("kill -s TERM $$", 143)];
        for (script, code) in failures {
            assert_eq!(case(&["sh", "-c", script]).unwrap().0, code, "{shell:?} {script}");
        }
        assert_eq!(case(&["/no/such/program"]).unwrap().0, 127, "{shell:?}");
        // A shell that ran its own builtin would leave no exit code.
        assert_eq!(case(&["exit", "3"]).unwrap().0, 127, "{shell:?}");
        ran += 1;
    }
    assert!(ran > 0, "no shell");
}

#[test]
fn what_a_command_leaves_behind_is_ended() {
    for shell in SHELLS {
        let Some(left) = run(shell, 100, &["sh", "-c", "sleep 300 & echo $!"]) else {
            continue;
        };
        assert_eq!(left.0, 0, "{shell:?}");
        let stat = Path::new("/proc").join(left.1.trim()).join("stat");
        let state = std::fs::read_to_string(stat).unwrap_or_default();
        assert!(!state.contains(" S "), "{shell:?}: {state}");
    }
}

#[test]
fn stopping_ends_the_group_but_not_after_the_end() {
    for shell in SHELLS {
        let directory = tempfile::tempdir().unwrap().keep();
        let mut victim = Command::new("sleep").arg("30").process_group(0).spawn().unwrap();
        let pid = victim.id().to_string();
        let stop = |directory: &Path| {
            let mut command = Command::new(shell[0]);
            command
                .args(&shell[1..])
                .args(["-c", STOP, "kvmtune"])
                .arg(directory)
                .arg(&pid)
                .status()
        };
        std::fs::write(directory.join("rc"), "0\n").unwrap();
        let there = stop(&directory).is_ok();
        if there {
            assert!(
                victim.try_wait().unwrap().is_none(),
                "{shell:?}: the pid may be another's by now"
            );
            assert!(!directory.exists(), "{shell:?}");
            stop(&directory).unwrap();
        } else {
            victim.kill().unwrap();
            std::fs::remove_dir_all(&directory).unwrap();
        }
        assert!(!victim.wait().unwrap().success(), "{shell:?}");
    }
}

#[test]
fn the_measured_time_is_left_alone() {
    let expected = Duration::from_secs(20);
    let mut elapsed = Duration::ZERO;
    let mut looks = 0;
    while elapsed < expected {
        elapsed += next_look(expected, elapsed);
        looks += 1;
    }
    assert_eq!(elapsed, expected);
    assert!(looks <= 5, "{looks}");
    assert_eq!(next_look(expected, expected), Duration::from_millis(50));
    assert_eq!(next_look(Duration::ZERO, Duration::MAX), Duration::from_secs(1));
    assert!(next_look(Duration::from_millis(1), Duration::ZERO) > Duration::ZERO);
}

#[test]
fn result_files_are_parsed_strictly() {
    let end = parse_end(b"127 10.25 12.50 1 0\n").unwrap();
    assert_eq!((end.exit_code, end.wall), (127, Duration::from_millis(2250)));
    assert!(end.out && !end.err);
    for bad in [
        &b""[..],
        b"1 2 3 0 0",
        b"1\n",
        b"-1 1 2 0 0\n",
        b"256 1 2 0 0\n",
        b"1 1 2 0\n",
        b"1 1 2 0 0 0\n",
        b"1 2 1 0 0\n",
        b"1 NaN 1 0 0\n",
        b"1 1 inf 0 0\n",
        b"1 -1 1 0 0\n",
        b"1 1 1e300 0 0\n",
        b"1 1 2 2 0\n",
        b"1 1 2 0 x\n",
        b"\xff 1 2 0 0\n",
    ] {
        assert_eq!(parse_end(bad), None, "{bad:?}");
    }
}
