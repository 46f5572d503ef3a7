//! Recorded outputs of real tools, whole and damaged, and what becomes of them.

use super::*;
use crate::host::{JOB_FOLDER, JobOutput, RESULT_FILE, SERIES_FILE};
use proptest::prelude::*;

const PARSERS: [Parser; 4] = [Parser::Fio, Parser::Iperf3, Parser::StressNg, Parser::Numbers];

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    };
}
pub(super) use recorded;
const NUMBERS: &[u8] = b"{\"iops\": 12.5, \"bw\": 1}";
const READ: &[u8] = recorded!("fio-randread.json");
const WRITE: &[u8] = recorded!("fio-randwrite.json");
const MIX: &[u8] = recorded!("fio-jobs-3.33.json");
const IPERF3: &[u8] = recorded!("iperf3.json");
const REFUSED: &[u8] = recorded!("iperf3-refused.json");
const STREAM: &[u8] = recorded!("stress-ng-stream.yaml");
const MEMRATE: &[u8] = recorded!("stress-ng-memrate.yaml");
const TOO_SHORT: &[u8] = recorded!("stress-ng-too-short.yaml");

fn get(parser: Parser, output: &[u8], name: &str) -> f64 {
    let found = parser.parse(output).unwrap();
    found.iter().find(|(n, _)| n == name).unwrap().1
}

fn near(found: f64, want: f64) {
    assert!((found - want).abs() <= want.abs() * 1e-9, "{found} is not {want}");
}

/// What a job of the workload leaves when the tool wrote `output`.
pub(super) fn left(workload: &Workload, output: &[u8]) -> JobOutput {
    let to_file = workload.argv.iter().any(|a| a.contains(RESULT_FILE));
    JobOutput {
        result: to_file.then(|| output.to_vec()),
        stdout: if to_file { Vec::new() } else { output.to_vec() },
        ..JobOutput::default()
    }
}

fn builtin(name: &str) -> Workload {
    Library::builtin().get(name).unwrap().clone()
}

#[test]
fn fio_numbers_are_those_of_the_direction_that_ran() {
    near(get(Parser::Fio, READ, "iops"), 74_408.295_852);
    near(get(Parser::Fio, READ, "bw"), 304_839_836.0);
    near(get(Parser::Fio, READ, "clat_p99_us"), 782.336);
    near(get(Parser::Fio, READ, "clat_p999_us"), 5603.328);
    near(get(Parser::Fio, READ, "operations"), 148_891.0);
    near(get(Parser::Fio, READ, "io_errors"), 0.0);
    assert!(get(Parser::Fio, WRITE, "iops") > 0.0);
}

#[test]
fn iperf3_numbers_are_those_of_the_receiver() {
    near(
        get(Parser::Iperf3, IPERF3, "bits_per_second"),
        21_965_566_043.300_69,
    );
    near(get(Parser::Iperf3, IPERF3, "retransmits"), 0.0);
}

#[test]
fn stress_ng_gives_memory_rates_only() {
    near(get(Parser::StressNg, STREAM, "read"), 19_537.581_093);
    near(get(Parser::StressNg, STREAM, "write"), 13_025.054_062);
    near(get(Parser::StressNg, MEMRATE, "read64"), 29_665.846_346);
    let names = Parser::StressNg.parse(STREAM).unwrap();
    assert!(names.iter().all(|(name, _)| !name.contains("bogo")), "{names:?}");
}

#[test]
fn failures_that_look_like_results_are_failures() {
    for (parser, output, say) in [
        (Parser::Iperf3, REFUSED, "Connection refused"),
        (Parser::StressNg, TOO_SHORT, "at least 5 s"),
        (Parser::Fio, &b"{\"jobs\": []}"[..], "0 jobs"),
        (Parser::Iperf3, b"{}", "sum_received"),
        (
            Parser::Iperf3,
            br#"{"end":{"sum_received":{"bits_per_second":0}}}"#,
            "nothing",
        ),
        (
            Parser::Iperf3,
            br#"{"end":{"sum_received":{"bits_per_second":1e999}}}"#,
            "cannot read",
        ),
        (
            Parser::Iperf3,
            br#"{"end":{"sum_received":{"bits_per_second":NaN}}}"#,
            "cannot read",
        ),
        (
            Parser::Iperf3,
            br#"{"error":"\u001b[31mred\nline"}"#,
            "\\u{1b}[31mred\\nline",
        ),
        (
            Parser::StressNg,
            b"metrics:\n- stressor: stream\n  a-mb-per-sec: .inf\n...",
            "a",
        ),
        (
            Parser::StressNg,
            b"metrics:\n- stressor: stream\n  a-mb-per-sec: inf\n...",
            "a is inf",
        ),
        (
            Parser::StressNg,
            b"metrics:\n- stressor: stream\n  a-mb-per-sec: -1\n...",
            "a is -1",
        ),
    ] {
        let error = parser.parse(output).unwrap_err().to_string();
        assert!(error.contains(say), "{error}");
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}

#[test]
fn output_cut_anywhere_gives_an_error_and_never_another_number() {
    for (parser, whole) in [
        (Parser::Fio, READ),
        (Parser::Fio, WRITE),
        (Parser::Iperf3, IPERF3),
        (Parser::Iperf3, REFUSED),
        (Parser::StressNg, STREAM),
        (Parser::StressNg, MEMRATE),
        (Parser::StressNg, TOO_SHORT),
        (Parser::Numbers, NUMBERS),
    ] {
        let end = whole.trim_ascii_end().len();
        for length in 0..end {
            let cut = parser.parse(&whole[..length]);
            assert!(cut.is_err(), "{parser:?} at {length}: {cut:?}");
        }
    }
}

#[test]
fn every_built_in_workload_reads_what_its_tool_writes() {
    for (name, output) in [
        ("fio-randread-4k", READ),
        ("fio-randwrite-4k", WRITE),
        ("fio-randread-4k-qd1", READ),
        ("fio-randwrite-4k-qd1", WRITE),
        ("fio-seqread-1m", READ),
        ("fio-seqwrite-1m", WRITE),
        ("fio-randrw-4k", MIX),
        ("fio-fsync-4k", MIX),
        ("iperf3-host-to-guest", IPERF3),
        ("iperf3-guest-to-host", IPERF3),
        ("stress-ng-memory", STREAM),
        ("stress-ng-memrate", MEMRATE),
    ] {
        let workload = builtin(name);
        let found = workload.observations(&left(&workload, output)).unwrap();
        let names: Vec<_> = found.iter().map(|o| o.metric.as_str()).collect();
        let declared: Vec<_> = workload.metrics.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, declared, "{name}");
    }
}

#[test]
fn a_job_is_complete_but_for_its_files() {
    let places = Places {
        scratch: "/dev/vdb".into(),
        guest_address: "192.0.2.2".into(),
        host_address: "192.0.2.1".into(),
        neighbours: vec!["192.0.2.3".into()],
    };
    for workload in Library::builtin().iter() {
        let job = workload.job(&places);
        let server = job.server.iter().flat_map(|s| &s.argv);
        for argument in job.argv.iter().chain(server) {
            let rest = argument.replace(RESULT_FILE, "").replace(SERIES_FILE, "");
            let rest = rest.replace(JOB_FOLDER, "");
            assert!(!rest.contains('{'), "{argument}");
        }
        assert_eq!(job.expected, workload.time.0 + workload.warmup.0);
        assert_eq!(job.limit, job.expected + workload.grace.0);
    }
    let fio = builtin("fio-randread-4k").job(&places);
    assert!(fio.argv.contains(&"--filename=/dev/vdb".to_string()));
    assert!(fio.argv.contains(&"--runtime=5".to_string()));
    assert!(builtin("fio-randread-4k").needs_scratch());
    assert!(!builtin("fio-randread-4k").needs_network());
    assert!(builtin("iperf3-guest-to-host").needs_network());
}

#[test]
fn a_failed_command_is_quoted_safely() {
    let workload = builtin("fio-randread-4k");
    let mut out = left(&workload, READ);
    out.exit = 1;
    out.stderr = b"first\nfio: \x1b[31mno \xff device\n\n".to_vec();
    let error = workload.observations(&out).unwrap_err().to_string();
    assert_eq!(error, "fio exited with 1: fio: \\u{1b}[31mno \u{fffd} device");
    out.stderr = b"x".repeat(1 << 20);
    assert!(workload.observations(&out).unwrap_err().to_string().len() < 300);

    let iperf = builtin("iperf3-host-to-guest");
    let mut out = left(&iperf, REFUSED);
    out.exit = 1;
    let error = iperf.observations(&out).unwrap_err().to_string();
    assert!(error.contains("Connection refused"), "{error}");
}

#[test]
fn a_file_says_how_it_is_judged_or_has_a_default() {
    let rule = |text: &str| {
        let source = crate::diagnostic::Source {
            name: "x.toml".into(),
            text: text.into(),
        };
        parse(&source).map(|w| w.steady).map_err(|e| e.to_string())
    };
    let file = |parser: &str, argv: &str, more: &str| {
        format!(
            "summary = \"x\"\nrun = \"guest\"\nargv = [\"x\"{argv}]\nparser = \"{parser}\"\n{more}\n\
             [[metric]]\nname = \"iops\"\nunit = \"1/s\"\ngoal = \"maximize\"\n"
        )
    };
    let series = ", \"--write_iops_log={series}\"";
    assert_eq!(rule(&file("fio", series, "")), Ok(SteadyRule::Mser5));
    assert_eq!(rule(&file("fio", "", "")), Ok(SteadyRule::Off));
    assert_eq!(rule(&file("numbers", "", "")), Ok(SteadyRule::Off));
    assert_eq!(
        rule(&file("fio", series, "steady = \"snia\"")),
        Ok(SteadyRule::Snia)
    );
    assert_eq!(
        rule(&file("fio", series, "steady = \"off\"")),
        Ok(SteadyRule::Off)
    );
    assert_eq!(
        rule(&file("numbers", "", "steady = \"off\"")),
        Ok(SteadyRule::Off)
    );
    let error = rule(&file("fio", "", "steady = \"mser5\"")).unwrap_err();
    assert!(
        error.contains("no samples") && error.contains("--write_iops_log={series}"),
        "{error}"
    );
    let error = rule(&file("numbers", series, "")).unwrap_err();
    assert!(error.contains("reads no `{series}`"), "{error}");
    let host = file("fio", series, "").replace("\"guest\"", "\"host\"");
    assert_eq!(rule(&host), Ok(SteadyRule::Mser5));
    let builtin = |name| Library::builtin().get(name).unwrap().steady;
    assert_eq!(builtin("fio-randread-4k"), SteadyRule::Mser5);
    assert_eq!(builtin("fio-randwrite-4k"), SteadyRule::Snia);
    assert_eq!(builtin("iperf3-host-to-guest"), SteadyRule::Mser5);
    assert_eq!(builtin("stress-ng-memory"), SteadyRule::Off);
}

#[test]
fn a_warm_up_that_the_command_is_not_told_of_is_refused() {
    let read = |argv: &str, warmup: &str| {
        let text = format!(
            "summary = \"x\"\nrun = \"guest\"\nargv = [\"x\"{argv}]\nwarmup = \"{warmup}\"\nparser = \"numbers\"\n\
             [[metric]]\nname = \"iops\"\nunit = \"1/s\"\ngoal = \"maximize\"\n"
        );
        let name = "x.toml".into();
        parse(&crate::diagnostic::Source { name, text }).map_err(|e| e.render(false))
    };
    assert_eq!(read("", "0s").unwrap().warmup, Span::secs(0));
    assert_eq!(read(", \"--skip={warmup}\"", "2s").unwrap().warmup, Span::secs(2));
    let error = read("", "2s").unwrap_err();
    assert!(
        error.contains("x.toml:4:10") && error.contains("`{warmup}`"),
        "{error}"
    );
}

#[test]
fn no_more_numbers_are_cut_out_than_there_is_time_to_look_for() {
    let read = |count: usize| {
        let head = "summary = \"x\"\nrun = \"guest\"\nargv = [\"x\"]\nparser = \"exec\"\n".to_string();
        let metric = |n| {
            format!(
                "[[metric]]\nname = \"n{n}\"\nunit = \"1\"\ngoal = \"maximize\"\nmatch = 'n{n} ([0-9])'\n"
            )
        };
        let text = head + &(0..count).map(metric).collect::<String>();
        let name = "x.toml".into();
        parse(&crate::diagnostic::Source { name, text }).map_err(|e| e.render(false))
    };
    assert_eq!(read(16).unwrap().extracts.len(), 16);
    let error = read(17).unwrap_err();
    assert!(
        error.contains("more than 16 numbers") && error.contains("n16"),
        "{error}"
    );
}

#[test]
fn requirements_and_declared_metrics_decide() {
    let mut workload = builtin("fio-randread-4k");
    let failed = String::from_utf8_lossy(READ).replace("\"error\" : 0", "\"error\" : 5");
    let error = workload
        .observations(&left(&workload, failed.as_bytes()))
        .unwrap_err();
    assert_eq!(error.to_string(), "io_errors is 1, at most 0 allowed");

    workload.metrics[0].name = "vanished".into();
    let error = workload.observations(&left(&workload, READ)).unwrap_err();
    assert!(error.to_string().contains("no `vanished`"), "{error}");

    let none = JobOutput::default();
    let error = workload.observations(&none).unwrap_err();
    assert!(error.to_string().contains("result file"), "{error}");
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for parser in PARSERS {
            let _ = parser.parse(&bytes);
        }
    }

    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        for parser in PARSERS {
            let _ = parser.parse(text.as_bytes());
        }
        let source = crate::diagnostic::Source { name: "x.toml".into(), text };
        let _ = parse(&source).map_err(|e| e.to_string());
    }

    #[test]
    fn any_damage_is_answered(at in 0usize..9000, byte in any::<u8>()) {
        for (parser, whole) in [(Parser::Fio, READ), (Parser::Iperf3, IPERF3), (Parser::StressNg, STREAM)] {
            let mut bytes = whole.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(found) = parser.parse(&bytes) {
                prop_assert!(found.iter().all(|(_, value)| value.is_finite() && *value >= 0.0));
            }
        }
    }
}
