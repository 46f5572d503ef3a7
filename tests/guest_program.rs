//! kvmtune's own program for guests as build.rs makes it: the same bytes wherever its source stands, static, and doing on
//! this machine what it does in a guest.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[allow(dead_code, reason = "it is a program of its own")]
#[path = "../build.rs"]
mod build;

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// What build.rs compiled for.
const TARGET: &str = env!("KVMTUNE_TARGET");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &there);
        } else {
            fs::copy(entry.path(), there).unwrap();
        }
    }
}

fn run(program: &Path, line: &str) -> Output {
    Command::new(program).args(line.split(' ')).output().unwrap()
}

/// Whether an ELF file of 64 bits has a program header of the type `PT_INTERP`.
fn asks_for_a_loader(elf: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = elf[at..at + length].iter().rev();
        bytes.fold(0, |sum, byte| sum * 256 + usize::from(*byte))
    };
    let (first, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    assert!(count > 0, "no program");
    (0..count).any(|header| number(first + header * size, 4) == 3)
}

/// Killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_is_the_same_wherever_it_is_built_and_does_its_work() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("quite/another place");
    copy(&here.join("guest"), &elsewhere.join("guest"));
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    build::compile(here, TARGET, &one).unwrap();
    build::compile(&elsewhere, TARGET, &two).unwrap();
    let bytes = fs::read(&one).unwrap();
    assert!(bytes == fs::read(&two).unwrap(), "the bytes depend on the place");
    let holds = |word: &str| bytes.windows(word.len()).any(|w| w == word.as_bytes());
    assert!(!holds(&here.display().to_string()), "a path is in it");
    assert!(!asks_for_a_loader(&bytes));
    let this_test = fs::read(std::env::current_exe().unwrap()).unwrap();
    assert!(asks_for_a_loader(&this_test));

    assert_eq!(run(&one, "--help").status.code(), Some(0));
    for (line, code, says) in [
        ("", 2, "usage: kvmtune-guest chase"),
        ("chase --bytes 1KiB --page 4k", 2, "--time is missing"),
        ("at soon -- true", 125, "no number of nanoseconds"),
        ("at 0 -- /nonexistent/program", 127, "cannot start"),
        ("at 0 -- sh -c exit\u{a0}9", 9, ""),
        (
            "at 0 -- kvmtune-guest chase --bytes 0 --page 4k --time 1",
            2,
            "whole KiB",
        ),
        ("chase --bytes 1KiB --page 4k --time 1", 0, ""),
    ] {
        let argv: Vec<_> = line
            .split(' ')
            .filter(|w| !w.is_empty())
            .map(|w| w.replace('\u{a0}', " "))
            .collect();
        let done = Command::new(&one).args(argv).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(says), "{line}: {said}");
    }
    starts_at_an_instant(&one, folder.path());
    serves_and_connects(&one);
}

fn starts_at_an_instant(program: &Path, folder: &Path) {
    let file = folder.join("started");
    let now = || {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
    };
    let instant = (now() + Duration::from_millis(100)).as_nanos();
    let line = format!("at {instant} --started {} -- date +%s%N", file.display());
    let done = run(program, &line);
    let number = |text: &str| text.trim().parse::<u128>().unwrap();
    let started = number(&fs::read_to_string(file).unwrap());
    let ran = number(&String::from_utf8(done.stdout).unwrap());
    assert!(instant <= started && started <= ran, "{instant} {started} {ran}");
}

fn serves_and_connects(program: &Path) {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let line = format!("connections --server --bind 127.0.0.1 --port {port}");
    let server = Command::new(program)
        .args(line.split(' '))
        .stdout(Stdio::null())
        .spawn();
    let _server = Server(server.unwrap());
    let table = || fs::read_to_string("/proc/net/tcp").unwrap();
    let begun = Instant::now();
    while !table().contains(&format!(":{port:04X} 00000000:0000 0A")) {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing listens");
    }
    let line = format!("connections --client --connect 127.0.0.1 --port {port} --time 1 --threads 4");
    let done = run(program, &line);
    let found: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(
        found["connections"].as_u64().unwrap() > 10 && found["failures"] == 0,
        "{found}"
    );
}
