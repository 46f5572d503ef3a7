//! A hundred outputs that no tool should write: each fails its own trial with a reason, nothing crashes, and kvmtune stays
//! small. The workloads run on the host itself, so that no guest is needed.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use kvmtune::event::{Outcome, TrialRecord};
use kvmtune::store::Store;
use nix::sys::resource::{UsageWho, getrusage};
use std::fs;
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
    14) cat long-head; fill "$(cat long-unit)"; printf '\n...\n' ;;
    15) yes ;;
    16) setsid sleep 20 & sleep 0.3 ;;
    *) cat good ;;
esac
"#;
/// Those that run into the time limit are for the last parser only.
const EVILS: usize = 15;
const SLOW: usize = 2;

/// A parser, keys of its number, an output that is good, the beginnings of two evil ones and what they are filled with: one
/// that is deep or says the same again, and one that is a long list of what there should be a few of.
struct Reader {
    parser: &'static str,
    metric: &'static str,
    keys: &'static str,
    good: &'static str,
    head: &'static str,
    unit: &'static str,
    long: (&'static str, &'static str),
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
        long: (r#"{"jobs": ["#, r#"{"error":0},"#),
    },
    Reader {
        parser: "iperf3",
        metric: "bits_per_second",
        keys: "",
        good: r#"{"end": {"sum_received": {"bits_per_second": 12.5}}}"#,
        head: r#"{"end": {"#,
        unit: r#""sum_received": {"bits_per_second": 12.5},"#,
        long: (r#"{"intervals": ["#, r#"{"sum":{"end":1,"bytes":1}},"#),
    },
    Reader {
        parser: "stress-ng",
        metric: "read",
        keys: "",
        good: "metrics:\n- stressor: stream\n  memory-read-rate-mb-per-sec: 12.5\n...\n",
        head: "metrics:\n",
        unit: "- a: &a [*a, *a, *a]",
        long: ("metrics:", "- a: 1"),
    },
    Reader {
        parser: "numbers",
        metric: "x",
        keys: "",
        good: r#"{"x": 12.5}"#,
        head: "{",
        unit: r#""x": {"x": "#,
        long: ("[", "1,"),
    },
    Reader {
        parser: "cyclictest",
        metric: "cycles",
        keys: "",
        good: r#"{"return_code": 0, "thread": {"0": {"cycles": 100, "max": 5, "avg": 2}}}"#,
        head: r#"{"return_code": 0, "thread": {"0": {"histogram": {"#,
        unit: r#""5": 18446744073709551615,"#,
        long: (
            r#"{"return_code": 0, "thread": {"#,
            r#""5": {"cycles": 1, "max": 1, "avg": 1},"#,
        ),
    },
    Reader {
        parser: "exec",
        metric: "x",
        keys: "pointer = '/x/0/y'",
        good: r#"{"x": [{"y": 12.5}]}"#,
        head: r#"{"x": ["#,
        unit: r#"{"y": {"y": ["#,
        long: (r#"{"x": ["#, r#"{"y": 1},"#),
    },
    Reader {
        parser: "exec",
        metric: "x",
        keys: "match = '^x = (.*)$'",
        good: "x = 12.5\n",
        head: "x = 1",
        unit: ",,,,,,,,,,,,,,,,,,,,,,,,x = ",
        long: ("x = ,", "x = ,"),
    },
];

/// All trials of one run, in which the script writes its evils in their order.
fn run(reader: &Reader, evils: usize) -> Vec<TrialRecord> {
    // The block that is not judged has two trials, like the others.
    let blocks = (evils + evils / 5).div_ceil(2) - 1;
    let write = [
        ("n", "0"),
        ("good", reader.good),
        ("head", reader.head),
        ("unit", reader.unit),
        ("long-head", reader.long.0),
        ("long-unit", reader.long.1),
        ("evil.sh", SCRIPT),
    ];
    let Reader {
        parser, metric, keys, ..
    } = reader;
    let rest = format!(
        "time = \"1s\"\nparser = \"{parser}\"\n[[metric]]\nname = \"{metric}\"\nunit = \"1\"\n\
         goal = \"maximize\"\n{keys}\n"
    );
    trials("", &rest, &write, blocks).0
}

/// All trials, and what was said, of one run of a workload that starts `evil.sh` in a folder with these files: its argument is the folder, then
/// come `more` arguments.
fn trials(more: &str, rest: &str, files: &[(&str, &str)], blocks: usize) -> (Vec<TrialRecord>, String) {
    let folder = tempfile::Builder::new()
        .prefix("kvmtune-evil-")
        .tempdir()
        .unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("workloads")).unwrap();
    for (name, text) in files {
        fs::write(path(name), text).unwrap();
    }
    let workload = format!(
        "summary = \"evil\"\nrun = \"host\"\nargv = [\"sh\", \"{0}/evil.sh\", \"{0}\"{more}]\ngrace = \"1s\"\n\
         max-output = \"16MiB\"\n{rest}",
        folder.path().display()
    );
    fs::write(path("workloads/evil.toml"), workload).unwrap();
    let experiment = format!(
        "guest = {{ kind = \"host\" }}\nseed = 1\n\
         factor = {{ tunable = \"host.swappiness\", levels = [60], baseline = 61 }}\n\
         workload = {{ use = \"evil\" }}\ndesign = {{ blocks = {blocks}, confirm = false }}\n"
    );
    fs::write(path("experiment.toml"), experiment).unwrap();
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
    let trials = store.trials(only.run).unwrap();
    assert_eq!(trials.len(), 2 * (blocks + 1), "{said}");
    (trials, format!("{said}{}", String::from_utf8_lossy(&done.stderr)))
}

fn is_measured(record: &TrialRecord) -> bool {
    matches!(record.outcome, Outcome::Measured { .. })
}

/// fio's numbers are good, and its series is not: always the same line, more seconds than there are in days, one job more
/// with every line, no text at all.
const SERIES: &str = r#"
cd "$1"; n=$(cat n); echo $((n + 1)) >n; cat good
fill() { yes -- "$1" | head -c 16000000; }
case $((n % 4)) in
    0) fill '1,1,0,0' ;;
    1) seq -f '%.0f000,1,0,0' 1 3000000 | head -c 16000000 ;;
    2) seq -f '%.0f000,1,0,0' 799999 -1 1 ;;
    3) head -c 16000000 /dev/urandom ;;
esac >"$2_iops.log"
"#;

/// What is judged of a series that is evil is that there is none; the trial counts.
fn evil_series() {
    let rest = "time = \"60s\"\nparser = \"fio\"\n[[metric]]\nname = \"iops\"\nunit = \"1/s\"\ngoal = \"maximize\"\n";
    let files = [("n", "0"), ("good", READERS[0].good), ("evil.sh", SERIES)];
    let (trials, said) = trials(", \"{series}\"", rest, &files, 2);
    assert!(trials.iter().all(is_measured), "{trials:#?}");
    assert!(said.contains("cannot tell whether evil settled"), "{said}");
    eprintln!("peak after {} evil series: {} MiB", trials.len(), peak() >> 20);
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
        let mut trials = run(reader, evils);
        assert!(trials.iter().any(is_measured), "{trials:#?}");
        trials.retain(|record| !is_measured(record));
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
    evil_series();
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
