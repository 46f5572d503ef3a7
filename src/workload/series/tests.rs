//! Recorded series of real tools, and series that no tool writes.

use super::*;
use crate::host::JobOutput;
use crate::units::Span;
use crate::workload::Library;
use proptest::prelude::*;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/", $name))
    };
}
const READS: &[u8] = recorded!("fio-randread-iops.log");
const BOTH_WAYS: &[u8] = recorded!("fio-randrw-iops.log");
const TWO_JOBS: &[u8] = recorded!("fio-two-jobs-iops.log");
const INTERVALS: &[u8] = recorded!("iperf3-intervals.json");

fn of(name: &str, out: &JobOutput) -> Result<Option<Vec<f64>>, ParseError> {
    Library::builtin().get(name).unwrap().samples(out)
}

fn fio(series: &[u8]) -> Result<Option<Vec<f64>>, ParseError> {
    let out = JobOutput {
        series: Some(Ok(series.to_vec())),
        ..JobOutput::default()
    };
    of("fio-randread-4k", &out)
}

fn iperf3(stdout: &[u8]) -> Result<Option<Vec<f64>>, ParseError> {
    let out = JobOutput {
        stdout: stdout.to_vec(),
        ..JobOutput::default()
    };
    of("iperf3-host-to-guest", &out)
}

fn said(found: Result<Option<Vec<f64>>, ParseError>) -> String {
    let error = found.unwrap_err().to_string();
    assert!(!error.contains('\u{1b}') && error.len() < 300, "{error}");
    error
}

#[test]
fn fio_gives_a_sample_a_second_but_for_the_last() {
    let found = fio(READS).unwrap().unwrap();
    // Of 45 seconds.
    assert_eq!(found.len(), 44);
    assert_eq!((found[0].round(), found[43].round()), (119_977.0, 85_593.0));
}

/// The seconds of what a log says, added up by a reader of lines.
fn by_hand(log: &[u8]) -> std::collections::BTreeMap<u64, f64> {
    let mut seconds = std::collections::BTreeMap::new();
    for line in String::from_utf8_lossy(log).lines() {
        let mut fields = line.split(", ").map(|f| f.parse::<u32>().unwrap());
        let (millis, iops) = (fields.next().unwrap(), fields.next().unwrap());
        *seconds.entry((u64::from(millis) + 500) / 1000).or_default() += f64::from(iops);
    }
    seconds
}

#[test]
fn directions_and_jobs_of_fio_are_added_second_by_second() {
    for log in [BOTH_WAYS, TWO_JOBS] {
        let (found, want) = (fio(log).unwrap().unwrap(), by_hand(log));
        assert_eq!(found, want.values().copied().collect::<Vec<_>>());
        assert!(found.len() >= 2, "{found:?}");
    }
    // The second job began late and lost its last second; its first second it only wrote.
    let log =
        b"1000, 10, 0, 0, 0\n1000, 5, 1, 0, 0\n2001, 20, 0, 0, 0\n2001, 5, 1, 0, 0\n3000, 30, 0, 0, 0\n\
                1004, 100, 1, 0, 0\n1999, 100, 0, 0, 0\n1999, 200, 1, 0, 0\n";
    assert_eq!(fio(log).unwrap().unwrap(), [115.0, 325.0]);
    // Thirty jobs of one line each.
    assert_eq!(fio(&b"999, 2, 1, 0, 0\n".repeat(30)).unwrap().unwrap(), [60.0]);
    let far = b"1000, 5, 0, 0, 0\n18446744073709551615, 5, 1, 0, 0\n";
    assert!(said(fio(far)).contains("not in one"));
}

#[test]
fn iperf3_gives_a_sample_a_second_without_what_is_omitted() {
    let found = iperf3(INTERVALS).unwrap().unwrap();
    assert_eq!(found.len(), 6);
    // Its own bits_per_second of this interval is half of that.
    assert!((found[0] / 24_547_016_477.0 - 1.0).abs() < 1e-6, "{found:?}");
    assert!((found[5] / 24_413_084_434.0 - 1.0).abs() < 1e-3, "{found:?}");
    let total = br#"{"intervals": [{"sum": {"end": 5.0, "bytes": 9}}]}"#;
    assert!(said(iperf3(total)).contains("sample in 5.0 s"));
    assert!(said(iperf3(b"{\"end\": {}}")).contains("is empty"));
}

#[test]
fn a_short_rest_at_the_end_of_iperf3_is_no_sample() {
    let interval = |end: f64, bytes: u64| format!(r#"{{"sum":{{"end":{end},"bytes":{bytes}}}}}"#);
    let text = |all: &[String]| format!(r#"{{"intervals":[{}]}}"#, all.join(","));
    let mut all: Vec<_> = (1..=10_u32).map(|n| interval(f64::from(n), 125)).collect();
    all.push(interval(10.01, 3));
    assert_eq!(iperf3(text(&all).as_bytes()).unwrap().unwrap(), [1000.0; 10]);
    all[4] = interval(3.5, 125);
    assert!(said(iperf3(text(&all).as_bytes())).contains("no measurement gives"));
    all[4] = interval(5.0, 125).replace("125", "-125");
    assert!(said(iperf3(text(&all).as_bytes())).contains("cannot read"));
}

#[test]
fn what_is_no_series_is_said_to_be_none() {
    for (series, say) in [
        (&b""[..], "is empty"),
        (b"\n", "not a line of whole numbers"),
        (b"1000, NaN, 0, 0, 0\n", "not a line of whole numbers"),
        (b"1000, -5, 0, 0, 0\n", "not a line of whole numbers"),
        (b"1000, 1e3, 0, 0, 0\n", "not a line of whole numbers"),
        (b"1000, 5.5, 0, 0, 0\n", "not a line of whole numbers"),
        (
            b"1000, 99999999999999999999, 0, 0, 0\n",
            "not a line of whole numbers",
        ),
        (b"1000, 5, 0\n", "not four to seven"),
        (b"1000, 5, 0, 0, 0, 0, 0, 0\n", "not four to seven"),
        (
            b"1000, 5, 0, 0, 0, 0, 0, 0, 0, 0\n",
            "not a line of whole numbers",
        ),
        (b"1000; 5; 0; 0; 0\n", "not a line of whole numbers"),
        (b"1000, 5, 0, 0, 0\n\x1b[31m\n", "not a line of whole numbers"),
        (b"\xff\xfe", "cannot read fio's log"),
        (b"0, 5, 0, 0, 0\n", "back in time"),
        (b"0, 5, 0, 0, 0\n0, 5, 0, 0, 0\n", "back in time"),
        (b"18446744073709551615, 5, 0, 0, 0\n", "not in one"),
        (b"10000, 5, 0, 0, 0\n20000, 5, 0, 0, 0\n", "sample in 10.0 s"),
    ] {
        let said = said(fio(series));
        assert!(said.contains(say), "{said}");
    }
    assert!(said(fio(&vec![b'7'; 10 << 20])).contains("not a line of whole numbers"));
    let long: Vec<_> = (1..=200_001).map(|second| format!("{second}000,1,1,1")).collect();
    let long = long.join("\n");
    assert!(said(fio(long.as_bytes())).contains("more than 200000 samples"));
    assert!(said(fio(&b"1,1,1,1\n".repeat(800_000))).contains("back in time"));
    // What is beyond is not even read.
    let more = [&b"1,1,1,1\n".repeat(800_000)[..], b"x\n"].concat();
    assert!(said(fio(&more)).contains("more than 800000 lines"));
}

#[test]
fn a_series_that_could_not_be_taken_says_why() {
    let mut out = JobOutput::default();
    assert!(said(of("fio-randread-4k", &out)).contains("was not taken"));
    out.series = Some(Err("\u{1b}[2J holds more than 1048576 bytes".into()));
    assert!(said(of("fio-randread-4k", &out)).contains("holds more than"));
    assert_eq!(of("stress-ng-memory", &out).unwrap(), None);
    let mut off = Library::builtin().get("fio-randread-4k").unwrap().clone();
    off.steady = SteadyRule::Off;
    assert_eq!(off.samples(&out).unwrap(), None);
}

#[test]
fn what_the_tool_writes_is_asked_for_judged_or_not() {
    let library = Library::builtin();
    let series = |name: &str| {
        let job = library
            .get(name)
            .unwrap()
            .job(&crate::workload::Places::default());
        job.series
    };
    assert_eq!(series("fio-randwrite-4k").as_deref(), Some("{series}_iops.log"));
    assert_eq!(series("iperf3-host-to-guest"), None);
    assert_eq!(series("stress-ng-memory"), None);
    let mut fio = library.get("fio-randread-4k").unwrap().clone();
    assert!(!fio.is_long_enough_for(40));
    fio.time = Span::secs(41);
    assert!(fio.is_long_enough_for(40));
    let asked = |fio: &Workload| fio.job(&crate::workload::Places::default()).series;
    fio.steady = SteadyRule::Off;
    assert_eq!(asked(&fio).as_deref(), Some("{series}_iops.log"));
    fio.argv.retain(|word| !word.contains("{series}"));
    assert_eq!(asked(&fio), None);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = fio(&bytes);
        let _ = iperf3(&bytes);
    }

    #[test]
    fn any_damage_is_answered(at in 0usize..9000, byte in any::<u8>()) {
        for (whole, read) in [(READS, fio as fn(&[u8]) -> _), (INTERVALS, iperf3)] {
            let mut bytes = whole.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(Some(found)) = read(&bytes) {
                prop_assert!(found.iter().all(|sample| sample.is_finite() && *sample >= 0.0));
            }
        }
    }
}
