//! A hundred outputs that no tool should write: each fails its own trial with a reason, nothing crashes, and kvmtune stays
//! small. The workloads run on the host itself, so that no guest is needed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use kvmtune::event::{Outcome, TrialRecord};
use kvmtune::store::Store;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What kvmtune may take at any time.
const MOST_MEMORY: i64 = 150 << 20;

/// The nth trial writes the nth evil; after every fifth comes a good output, because a run ends after six failures in a
/// row. `$1` is the folder with the parser's own files.
const SCRIPT: &str = r#"
cd "$1"; n=$(cat n); echo $((n + 1)) >n
if [ $((n % 6)) = 5 ]; then cat good; exit; fi
fill() { yes -- "$1" | head -c 15728640; }
case $((n - n / 6)) in
    0) head -c 100000 /dev/urandom ;;
    1) fill aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; head -c 1048577 /dev/zero ;;
    2) fill '[' | tr -d '\n' ;;
    3) sed 's/[0-9][0-9.]*/1e999/g' good ;;
    4) sed 's/[0-9][0-9.]*/-5/g' good ;;
    5) sed 's/[0-9][0-9.]*/NaN/g' good ;;
    6) sed 's/[0-9][0-9.]*/\xff\xfe/g' good ;;
    7) sed 's/[0-9][0-9.]*/"\x1b[2J\x1b]0;mine\x07"/g' good ;;
    8) head -c $(($(wc -c <good) / 2)) good ;;
    9) kill -9 $$ ;;
    10) cat head; seq -f '"%.0f": 1,' 1000000 3000000 | head -c 15728640; printf '\n...\n' ;;
    11) printf '\033[31m'; printf 'first\nlast \033]0;mine\007' >&2; exit 3 ;;
    12) cat head; fill "$(cat unit)"; printf '\n...\n' ;;
    13) exec >&-; exit 0 ;;
    14) yes ;;
    15) setsid sleep 20 & sleep 0.3 ;;
    *) cat good ;;
esac
"#;
/// Those that run into the time limit are for the last parser only.
const EVILS: usize = 14;
const SLOW: usize = 2;

/// A parser, keys of its number, an output that is good, the beginning of an evil one and what it is filled with.
struct Reader {
    parser: &'static str,
    metric: &'static str,
    keys: &'static str,
    good: &'static str,
    head: &'static str,
    unit: &'static str,
}

const READERS: [Reader; 7] = [
    Reader {
        parser: "fio",
        metric: "iops",
        keys: "",
        good: r#"{"jobs": [{"error": 0,
            "read": {"bw_bytes": 1, "iops": 12.5, "total_ios": 1, "clat_ns": {"mean": 1}},
            "write": {"bw_bytes": 0, "iops": 0, "total_ios": 0, "clat_ns": {"mean": 0}}}]}"#,
        head: r#"{"jobs": [{"error": 0, "read": {"bw_bytes": 1, "iops": 1, "total_ios": 1, "clat_ns": {"mean": 1,
            "percentile": {"#,
        unit: r#""50.000000": 7,"#,
    },
    Reader {
        parser: "iperf3",
        metric: "bits_per_second",
        keys: "",
        good: r#"{"end": {"sum_received": {"bits_per_second": 12.5}}}"#,
        head: r#"{"end": {"#,
        unit: r#""sum_received": {"bits_per_second": 12.5},"#,
    },
    Reader {
        parser: "stress-ng",
        metric: "read",
        keys: "",
        good: "metrics:\n- stressor: stream\n  memory-read-rate-mb-per-sec: 12.5\n...\n",
        head: "metrics:\n",
        unit: "- a: &a [*a, *a, *a]",
    },
    Reader {
        parser: "numbers",
        metric: "x",
        keys: "",
        good: r#"{"x": 12.5}"#,
        head: "{",
        unit: r#""x": {"x": "#,
    },
    Reader {
        parser: "cyclictest",
        metric: "cycles",
        keys: "",
        good: r#"{"return_code": 0, "thread": {"0": {"cycles": 100, "max": 5, "avg": 2}}}"#,
        head: r#"{"return_code": 0, "thread": {"0": {"histogram": {"#,
        unit: r#""5": 18446744073709551615,"#,
    },
    Reader {
        parser: "exec",
        metric: "x",
        keys: "pointer = '/x/0/y'",
        good: r#"{"x": [{"y": 12.5}]}"#,
        head: r#"{"x": ["#,
        unit: r#"{"y": {"y": ["#,
    },
    Reader {
        parser: "exec",
        metric: "x",
        keys: "match = '^x = (.*)$'",
        good: "x = 12.5\n",
        head: "x = 1",
        unit: ",,,,,,,,,,,,,,,,,,,,,,,,x = ",
    },
];

/// What of the trials of one run is not a number: in the order in which the script wrote it.
fn run(reader: &Reader, evils: usize) -> Vec<TrialRecord> {
    let folder = tempfile::Builder::new()
        .prefix("kvmtune-evil-")
        .tempdir()
        .unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("workloads")).unwrap();
    let write = |name: &str, text: &str| fs::write(path(name), text).unwrap();
    write("n", "0");
    write("good", reader.good);
    write("head", reader.head);
    write("unit", reader.unit);
    write("evil.sh", SCRIPT);
    write("workloads/evil.toml", &workload(reader, folder.path()));
    // The block that is not judged has two trials, like the others.
    let blocks = (evils + evils / 5).div_ceil(2) - 1;
    write(
        "experiment.toml",
        &format!(
            "guest = {{ kind = \"host\" }}\nseed = 1\n\
             factor = {{ tunable = \"host.swappiness\", levels = [60], baseline = 61 }}\n\
             workload = {{ use = \"evil\" }}\ndesign = {{ blocks = {blocks}, confirm = false }}\n"
        ),
    );
    let done = Command::new(assert_cmd::cargo::cargo_bin!("kvmtune"))
        .current_dir(folder.path())
        .args(["--state", "state", "--results", "results", "--cache"])
        .arg(common::cache())
        .args(["run", "experiment.toml"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    let code = done.status.code();
    assert!(matches!(code, Some(0 | 4..=6)), "{code:?}: {said} {done:?}");
    assert!(!said.contains('\u{1b}') && !said.contains('\u{7}'), "{said}");
    let store = Store::open_existing(&path("results")).unwrap();
    let only = &store.runs().unwrap()[0];
    let mut trials = store.trials(only.run).unwrap();
    assert_eq!(trials.len(), 2 * (blocks + 1), "{said}");
    let measured = |record: &TrialRecord| matches!(record.outcome, Outcome::Measured { .. });
    assert!(trials.iter().any(measured), "{trials:#?}");
    trials.retain(|record| !measured(record));
    trials
}

fn workload(reader: &Reader, folder: &Path) -> String {
    let Reader {
        parser, metric, keys, ..
    } = reader;
    format!(
        "summary = \"evil\"\nrun = \"host\"\nargv = [\"sh\", \"{0}/evil.sh\", \"{0}\"]\ntime = \"1s\"\ngrace = \"1s\"\n\
         max-output = \"16MiB\"\nparser = \"{parser}\"\n[[metric]]\nname = \"{metric}\"\nunit = \"1\"\n\
         goal = \"maximize\"\n{keys}\n",
        folder.display()
    )
}

#[test]
fn a_hundred_hostile_outputs_are_a_hundred_failed_trials() {
    if !common::lab_is_possible() {
        return;
    }
    let started = Instant::now();
    let mut failed = 0;
    for (at, reader) in READERS.iter().enumerate() {
        let evils = if at + 1 == READERS.len() {
            EVILS + SLOW
        } else {
            EVILS
        };
        let trials = run(reader, evils);
        for record in &trials {
            let Outcome::Failed { stage, message } = &record.outcome else {
                panic!("{}: {record:#?}", reader.parser)
            };
            eprintln!("{} {}: {stage:?} {message}", reader.parser, reader.keys);
            assert!(!message.is_empty() && message.len() < 700, "{message}");
            assert!(!message.contains(char::is_control), "{message:?}");
        }
        let held = trials
            .iter()
            .filter(|r| format!("{:?}", r.outcome).contains("left a process"));
        assert_eq!(held.count(), usize::from(evils > EVILS), "{}", reader.parser);
        assert!(trials.len() >= evils, "{}: {trials:#?}", reader.parser);
        failed += trials.len();
        eprintln!("peak so far: {} MiB", peak() >> 20);
    }
    eprintln!(
        "{failed} failed trials in {:.1?}, {} MiB",
        started.elapsed(),
        peak() >> 20
    );
    assert!(failed >= 100, "{failed}");
    assert!(peak() < MOST_MEMORY, "{} MiB", peak() >> 20);
}

/// The largest process there was below this one, in bytes.
fn peak() -> i64 {
    getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss() << 10
}
