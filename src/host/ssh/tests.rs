//! What is said before a command, and the script that starts it, under the shells of this machine. Over a real
//! connection it all runs in the lab's tests.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::command::{after_begin, before_end, parse_pid};
use super::*;
use std::process::{Command, Output, Stdio};

/// Runs [`RUN`] as the guest's shell would.
fn run(shell: &[&str], argv: &[&str]) -> Option<Output> {
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).args(["-c", RUN, "kvmtune"]).args(argv);
    command.stdin(Stdio::null()).output().ok()
}

#[test]
fn every_shell_tells_the_pid_and_the_exit_code() {
    let mut ran = 0;
    for shell in [&["sh"][..], &["dash"], &["bash"], &["busybox", "sh"]] {
        let Some(done) = run(
            shell,
            &[
                "sh",
                "-c",
                "echo \"$$ $1\"; echo err >&2; exit 7",
                "x",
                "a'b $(id)\n!",
            ],
        ) else {
            continue;
        };
        let (pid, rest) = after_begin(&done.stderr).unwrap();
        let (_, out) = after_begin(&done.stdout).unwrap();
        let pid = parse_pid(pid).unwrap();
        assert_eq!(
            String::from_utf8_lossy(out),
            format!("{pid} a'b $(id)\n!\n"),
            "{shell:?}"
        );
        assert_eq!(before_end(rest), Some((&b"err\n"[..], 7)), "{shell:?}");
        let end = |argv: &[&str]| {
            let done = run(shell, argv).unwrap();
            let (err, code) = before_end(after_begin(&done.stderr).unwrap().1).unwrap();
            (String::from_utf8(err.to_vec()).unwrap(), code)
        };
        let script = |text| end(&["sh", "-c", text]);
        assert_eq!(script("kill -s KILL $$"), (String::new(), 137), "{shell:?}");
        assert_eq!(script("printf x >&2; exit 255"), ("x".into(), 255), "{shell:?}");
        assert_eq!(end(&["/no/such/program"]).1, 127, "{shell:?}");
        // A shell that ran its own builtin would not come to the end.
        assert_eq!(end(&["exit", "3"]).1, 127, "{shell:?}");
        ran += 1;
    }
    assert!(ran > 0, "no shell");
}

#[test]
fn what_a_login_shell_prints_is_not_the_commands() {
    let (pid, rest) = after_begin(b"Welcome!\nkvmtune-begins 42\nkvmtune-begins 43\n").unwrap();
    assert_eq!((parse_pid(pid), rest), (Some(42), &b"kvmtune-begins 43\n"[..]));
    for bad in [&b""[..], b"kvmtune-begins 42", b"Welcome!\n"] {
        assert!(after_begin(bad).is_none(), "{bad:?}");
    }
    assert_eq!(
        before_end(b"a\nkvmtune-ends 0\nb\nkvmtune-ends 3\n"),
        Some((&b"a\nkvmtune-ends 0\nb\n"[..], 3))
    );
    for bad in [
        &b""[..],
        b"kvmtune-ends 3",
        b"kvmtune-ends 256\n",
        b"kvmtune-ends -1\n",
        b"kvmtune-ends 3\nx\n",
    ] {
        assert_eq!(before_end(bad), None, "{bad:?}");
    }
    for bad in [&b""[..], b" 0", b" 1", b" -1", b" 4 2", b" 99999999999", b"\xff"] {
        assert_eq!(parse_pid(bad), None, "{bad:?}");
    }
}

#[test]
fn what_would_be_cut_is_not_sent() {
    let check = |argv: &[&str]| Asked::of(RUN, argv, COMMAND_LIMIT).check();
    assert!(check(&["echo", "a'b"]).is_ok());
    let fits = "x".repeat(96 << 10);
    assert!(check(&["echo", &fits]).is_ok());
    let quotes = "'".repeat(40 << 10);
    for bad in [&["echo", "a\0b"][..], &["echo", &quotes], &["echo", &fits, &fits]] {
        assert!(matches!(check(bad), Err(SshError::Request(_))));
    }
}

#[test]
fn a_path_is_never_an_option() {
    let target = SshTarget {
        host: "192.0.2.1".into(),
        port: 22,
        user: "root".into(),
        identity: "/none".into(),
        known_hosts: "/none".into(),
    };
    let ssh = Ssh::new(target, Path::new("/none")).unwrap();
    assert!(matches!(ssh.read_file("-c", 1), Err(SshError::Request(_))));
    assert!(matches!(ssh.write_file("a", b""), Err(SshError::Request(_))));
    assert!(matches!(
        ssh.exec(&[], None, COMMAND_LIMIT),
        Err(SshError::Request(_))
    ));
}

#[test]
fn what_was_said_is_one_tame_line() {
    assert_eq!(
        tame(b"sh: \x1b[31mno\x07\r\n such file\n"),
        "sh: [31mno such file"
    );
    assert_eq!(tame(&[b'x'; 10_000]).len(), 300);
}
