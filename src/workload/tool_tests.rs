//! What the tools other than fio and stress-ng write, in several of their versions, whole and damaged.

use super::tests::{left, recorded};
use super::*;
use proptest::prelude::*;
use std::sync::LazyLock;

const FOUR_STREAMS: &[u8] = recorded!("iperf3-4-streams.json");
const UDP: &[u8] = recorded!("iperf3-udp.json");
const UDP_LOSSY: &[u8] = recorded!("iperf3-udp-lossy.json");
const CYCLICTEST: &[u8] = recorded!("cyclictest.json");
const SOCKPERF: &[u8] = recorded!("sockperf-3.7.txt");
const WRK: &[u8] = recorded!("wrk.txt");
const PGBENCH: &[u8] = recorded!("pgbench-15.txt");
const REDIS: &[u8] = recorded!("redis-benchmark.csv");

/// Built-in workloads, what their tool was recorded to write, and one number of it.
const RECORDED: [(&str, &[u8], &str, f64); 15] = [
    ("iperf3-guest-to-host-4", FOUR_STREAMS, "retransmits", 11.0),
    (
        "iperf3-host-to-guest-4",
        FOUR_STREAMS,
        "bits_per_second",
        20_354_484_584.951_256,
    ),
    (
        "iperf3-udp-guest-to-host",
        UDP,
        "jitter_us",
        35.019_645_493_877_47,
    ),
    (
        "iperf3-udp-host-to-guest",
        UDP_LOSSY,
        "lost_percent",
        71.767_112_222_830_2,
    ),
    (
        "iperf3-loaded-rtt",
        FOUR_STREAMS,
        "rtt_mean_us",
        433.333_333_333_333_3,
    ),
    ("cyclictest", CYCLICTEST, "wakeup_p99_us", 133.0),
    ("sockperf-ping-pong", SOCKPERF, "latency_p99_us", 23.836),
    ("hackbench", recorded!("hackbench.txt"), "seconds", 0.128),
    (
        "sysbench-cpu",
        recorded!("sysbench-cpu.txt"),
        "latency_p99_us",
        8430.0,
    ),
    (
        "sysbench-memory",
        recorded!("sysbench-memory.txt"),
        "write",
        23_870.29,
    ),
    ("mbw", recorded!("mbw.txt"), "loop", 2454.388),
    ("redis-get", REDIS, "latency_p99_us", 4343.0),
    ("nginx-wrk", WRK, "latency_p99_us", 26_850.0),
    ("nginx-wrk", WRK, "latency_p50_us", 193.0),
    ("pgbench", PGBENCH, "latency_p99_us", 34_745.0),
];

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::builtin);

fn builtin(name: &str) -> &'static Workload {
    LIBRARY.get(name).unwrap()
}

fn observed(name: &str, output: &[u8], metric: &str) -> Result<f64, String> {
    let workload = builtin(name);
    let found = workload
        .observations(&left(workload, output))
        .map_err(|e| e.to_string())?;
    let names: Vec<_> = found.iter().map(|o| &o.metric).collect();
    let declared: Vec<_> = workload.metrics.iter().map(|m| &m.name).collect();
    assert_eq!(names, declared, "{name}");
    Ok(found.iter().find(|o| o.metric == metric).unwrap().value)
}

fn near(found: f64, want: f64) -> bool {
    (found - want).abs() <= want.abs() * 1e-9
}

#[test]
fn what_was_recorded_is_read() {
    for (name, output, metric, value) in RECORDED {
        let found = observed(name, output, metric).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(near(found, value), "{name}: {metric} is {found}, not {value}");
    }
}

#[test]
fn what_is_compared_after_losses_is_never_zero() {
    let get = |output: &[u8], name: &str| {
        let found = Parser::Iperf3.parse(output).unwrap();
        found.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    };
    assert_eq!(get(UDP, "lost_percent"), Some(0.0));
    assert_eq!(get(UDP, "delivered_percent"), Some(100.0));
    assert_eq!(get(UDP, "bytes"), Some(74_874_880.0));
    assert_eq!(get(UDP, "retransmits"), None);
    assert!(near(
        get(UDP_LOSSY, "delivered_percent").unwrap(),
        28.232_887_777_169_8
    ));
    assert_eq!(get(UDP_LOSSY, "packets"), Some(767_580.0));
    // More arrived than were sent: some arrived twice.
    let report = |lost: i64| {
        format!(
            r#"{{"end": {{"sum_received": {{"bits_per_second": 5, "packets": 10, "lost_packets": {lost}}}}}}}"#
        )
    };
    assert_eq!(get(report(-2).as_bytes(), "lost_packets"), Some(0.0));
    // What iperf3 3.12 counts with --omit.
    let error = Parser::Iperf3
        .parse(report(12).as_bytes())
        .unwrap_err()
        .to_string();
    assert!(error.contains("12 of 10 packets; leave out --omit"), "{error}");
}

/// Lines in which other versions differ from those recorded whole.
#[test]
fn other_versions_are_read() {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    // sockperf 3.10: no colours, more about the spread; and 2.8, with two digits less.
    let newer = text(SOCKPERF)
        .replace("\u{1b}[2;35m", "")
        .replace("\u{1b}[0m", "")
        .replace(
            "(std-dev=37.094)",
            "(std-dev=37.094, mean-ad=4.904, 99.0% ci=[4.06, 4.51])",
        );
    let older = newer.replace("99.900 =", "99.90 =").replace("0.000 =", "0.00 =");
    for output in [newer, older.replace("99.000 =", "99.00 =")] {
        let found = observed("sockperf-ping-pong", output.as_bytes(), "latency_p999_us");
        assert_eq!(found, Ok(165.574), "{output}");
        assert_eq!(
            observed("sockperf-ping-pong", output.as_bytes(), "latency_p50_us"),
            Ok(2.224)
        );
    }
    // sysbench 1.1 reports a throughput besides.
    let newer = text(recorded!("sysbench-cpu.txt")).replace(
        "General statistics:",
        "Throughput:\n    events/s (eps):                      1436.4701",
    );
    assert_eq!(
        observed("sysbench-cpu", newer.as_bytes(), "events_per_second"),
        Ok(1436.47)
    );
    // pgbench 13 counts no failures and gives tps twice.
    let lines = text(PGBENCH);
    let older: String = lines
        .lines()
        .filter(|line| !line.contains("failed") && !line.contains("maximum"))
        .map(
            |line| match line.strip_suffix(" (without initial connection time)") {
                Some(_) => "tps = 433.2 (including connections establishing)\n\
                        tps = 450.9 (excluding connections establishing)\n"
                    .to_string(),
                None => format!("{line}\n"),
            },
        )
        .collect();
    assert_eq!(
        observed("pgbench", older.as_bytes(), "transactions_per_second"),
        Ok(450.9)
    );
    // redis-benchmark before 6.2 wrote no header.
    let error = observed("redis-get", b"\"GET\",\"60790.27\"\n", "requests_per_second").unwrap_err();
    assert!(error.contains("no CSV"), "{error}");
    // cyclictest without --histogram, and a run that was told to stop.
    let none = text(CYCLICTEST).replace("histogram", "nothing");
    let error = observed("cyclictest", none.as_bytes(), "wakeup_p99_us").unwrap_err();
    assert!(error.contains("no `wakeup_p99_us`"), "{error}");
    let stopped = text(CYCLICTEST).replace("\"return_code\": 0", "\"return_code\": 1");
    assert!(observed("cyclictest", stopped.as_bytes(), "wakeup_p99_us").is_err());
}

#[test]
fn what_a_tool_complains_of_fails_the_trial() {
    let text = String::from_utf8(WRK.to_vec()).unwrap();
    for (line, say) in [
        ("  Non-2xx or 3xx responses: 12\n", "refusals is 12"),
        (
            "  Socket errors: connect 3, read 5, write 0, timeout 0\n",
            "failed_connections is 3",
        ),
        (
            "  Socket errors: connect 0, read 5, write 0, timeout 7\n",
            "failed_reads is 5",
        ),
        (
            "  Socket errors: connect 0, read 0, write 4, timeout 7\n",
            "failed_writes is 4",
        ),
        (
            "  Socket errors: connect 0, read 0, write 0, timeout 7\n",
            "timeouts is 7",
        ),
    ] {
        let found = observed("nginx-wrk", format!("{text}{line}").as_bytes(), "latency_p99_us");
        assert!(found.clone().unwrap_err().contains(say), "{found:?}");
    }
    let dropped = String::from_utf8(SOCKPERF.to_vec()).unwrap();
    let dropped = dropped.replace("dropped messages = 0", "dropped messages = 1");
    let error = observed("sockperf-ping-pong", dropped.as_bytes(), "latency_p99_us").unwrap_err();
    assert_eq!(error, "dropped is 1, at most 0 allowed");
}

#[test]
fn output_cut_anywhere_gives_an_error_or_the_same_number() {
    for (name, whole, metric, value) in RECORDED {
        let end = whole.trim_ascii_end().len();
        // Long ones not at every byte.
        for length in (0..end).step_by(1 + end / 1000) {
            if let Ok(found) = observed(name, &whole[..length], metric) {
                assert!(near(found, value), "{name} at {length}: {found}");
            }
        }
        assert!(observed(name, b"", metric).is_err(), "{name}");
    }
}

/// All numbers of all workloads in these bytes.
fn numbers(output: &[u8]) -> Vec<(String, f64)> {
    let all = LIBRARY
        .iter()
        .filter_map(|workload| workload.numbers(output).ok());
    all.flatten().collect()
}

fn is_measured(found: &[(String, f64)]) -> bool {
    found.iter().all(|(_, value)| value.is_finite() && *value >= 0.0)
}

fn spot() -> impl Strategy<Value = Spot> {
    prop_oneof![
        "(/[a-b0-2]{0,2}){1,3}".prop_map(Spot::Pointer),
        "[a-b]{1,2}".prop_map(Spot::Column),
        "[a-c.]{0,3}([+*]|[|])?[(][0-9.|+*a]{1,4}[)]".prop_map(Spot::Match),
    ]
}

fn extract() -> impl Strategy<Value = Extract> {
    let scale = prop_oneof![Just(1.0), Just(1e308), Just(1e-308)];
    (spot(), scale, proptest::option::of(Just(0.0))).prop_map(|(spot, scale, absent)| Extract {
        name: "x".into(),
        spot,
        scale,
        absent,
    })
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(is_measured(&numbers(&bytes)));
    }

    #[test]
    fn any_damage_is_answered(
        which in 0..RECORDED.len(),
        at in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
        bytes in proptest::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut damaged = RECORDED[which].1.to_vec();
        let (at, to) = (at.index(damaged.len()), to.index(damaged.len()));
        // What stood there is written over, left out, or put in twice.
        let piece = damaged[at.min(to)..at.max(to)].to_vec();
        match bytes.first().map(|byte| byte % 3) {
            Some(0) => drop(damaged.splice(at..at, piece)),
            Some(1) => drop(damaged.drain(at.min(to)..at.max(to))),
            _ => drop(damaged.splice(at..(at + bytes.len()).min(damaged.len()), bytes)),
        }
        let workload = builtin(RECORDED[which].0);
        if let Ok(found) = workload.numbers(&damaged) {
            prop_assert!(is_measured(&found), "{found:?}");
        }
        let _ = workload.samples(&left(workload, &damaged));
        match workload.moved(&left(workload, &damaged)) {
            Some(Moved::Network { bytes, most, time }) => {
                prop_assert!(bytes.min(most) >= 0.0 && bytes.max(most).is_finite() && !time.is_zero());
            }
            other => prop_assert_eq!(other, None),
        }
    }

    #[test]
    fn any_extract_of_any_text_is_answered(
        extract in extract(),
        text in r#"[a-b0-2{}\[\]:",.\n \-e]{0,60}"#,
    ) {
        let mut workload = builtin("hackbench").clone();
        workload.extracts = vec![extract];
        if let Ok(found) = workload.numbers(text.as_bytes()) {
            prop_assert!(is_measured(&found), "{found:?}");
        }
    }
}
