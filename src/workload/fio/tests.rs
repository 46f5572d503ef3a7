//! Reports of several versions of fio, of the same jobs: a mix, and two jobs that write and sync.

use super::*;
use crate::workload::histogram::Histogram;
use proptest::prelude::*;
use serde_json::Value;
use std::collections::BTreeMap;

macro_rules! recorded {
    ($name:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/fio-jobs-",
            $name,
            ".json"
        ))
    };
}
/// By version; all but the first two know `N`, the first knows no fsync.
const VERSIONS: [(&str, &str); 4] = [
    ("3.1", recorded!("3.1")),
    ("3.16", recorded!("3.16")),
    ("3.33", recorded!("3.33")),
    ("3.42", recorded!("3.42")),
];
const PLAIN: &str = recorded!("3.33-plain");
const UNIFIED: &str = recorded!("3.33-unified");
const GROUPED: &str = recorded!("3.33-grouped");

fn numbers(text: &str) -> BTreeMap<String, f64> {
    let found = parse(text.as_bytes()).unwrap();
    let count = found.len();
    let found: BTreeMap<_, _> = found.into_iter().collect();
    assert_eq!(found.len(), count, "a name is there twice");
    for name in found.keys() {
        assert!(METRICS.contains(&name.as_str()), "{name} is not announced");
    }
    found
}

fn near(found: f64, want: f64) {
    assert!((found - want).abs() <= want.abs() * 1e-6, "{found} is not {want}");
}

/// Every latency in the bins of these places, in order.
fn latencies(report: &Value, places: &[[&str; 2]]) -> Vec<u64> {
    let mut all = Vec::new();
    for job in report["jobs"].as_array().unwrap() {
        for [direction, kind] in places {
            let bins = job[direction][kind]["bins"].as_object();
            for (value, count) in bins.into_iter().flatten() {
                let count = usize::try_from(count.as_u64().unwrap()).unwrap();
                all.extend(std::iter::repeat_n(value.parse::<u64>().unwrap(), count));
            }
        }
    }
    all.sort_unstable();
    all
}

/// The percentile by sorting.
fn brute(sorted: &[u64], ten_thousandths: usize) -> f64 {
    let rank = (sorted.len() * ten_thousandths).div_ceil(10_000).max(1);
    sorted[rank - 1] as f64 / 1e3
}

fn sum_of(report: &Value, directions: &[&str], what: &str) -> f64 {
    let jobs = report["jobs"].as_array().unwrap();
    let pick = |job: &Value| {
        directions
            .iter()
            .map(|d| job[d][what].as_f64().unwrap())
            .sum::<f64>()
    };
    jobs.iter().map(pick).sum()
}

#[test]
fn jobs_and_directions_of_every_version_are_put_together() {
    for (version, text) in VERSIONS {
        let found = numbers(text);
        let report: Value = serde_json::from_str(text).unwrap();
        near(found["iops"], sum_of(&report, &["read", "write"], "iops"));
        near(found["write_iops"], sum_of(&report, &["write"], "iops"));
        near(found["operations"], 1000.0);
        near(found["read_operations"], 413.0);
        near(found["write_bytes"], 587.0 * 4096.0);
        near(found["io_errors"], 0.0);
        assert!(!found.contains_key("trim_iops"));
        let (bw, bytes_per_io) = (found["read_bw"] / found["read_iops"], 4096.0);
        assert!((bw / bytes_per_io - 1.0).abs() < 0.01, "{version}: {bw}");
        for (of, places) in [
            ("clat", &[["read", "clat_ns"], ["write", "clat_ns"]][..]),
            ("read_clat", &[["read", "clat_ns"]]),
            ("write_clat", &[["write", "clat_ns"]]),
            ("sync_lat", &[["sync", "lat_ns"]]),
        ] {
            let all = latencies(&report, places);
            if all.is_empty() {
                assert!(
                    of == "sync_lat" && (version == "3.1" || version == "3.16"),
                    "{version} {of}"
                );
                continue;
            }
            for (ten_thousandths, name, _) in latencies::PERCENTILES {
                let want = brute(&all, ten_thousandths as usize);
                near(found[&format!("{of}_{name}_us")], want);
            }
            let (max, last) = (found[&format!("{of}_max_us")] * 1e3, *all.last().unwrap() as f64);
            assert!(
                (max / last - 1.0).abs() < 1.0 / 128.0,
                "{max} is not in the last bin, {last}"
            );
            let mean = all.iter().sum::<u64>() as f64 / all.len() as f64 / 1e3;
            assert!((found[&format!("{of}_mean_us")] / mean - 1.0).abs() < 1.0 / 128.0);
        }
        assert_eq!(found.contains_key("sync_operations"), version != "3.1");
        let told = moved(text.as_bytes());
        let Some(Moved::Disk { read, written, .. }) = told else {
            panic!("{told:?}")
        };
        near(read, 413.0 * 4096.0);
        near(written, 587.0 * 4096.0);
    }
}

/// fio's own percentiles are those of one job in one direction: of such there is nothing to merge.
#[test]
fn percentiles_of_one_job_are_those_that_fio_gives() {
    for (version, text) in VERSIONS {
        let mut report: Value = serde_json::from_str(text).unwrap();
        let jobs = report["jobs"].as_array_mut().unwrap();
        jobs.truncate(1);
        let own = jobs[0]["read"]["clat_ns"]["percentile"].clone();
        let found = numbers(&report.to_string());
        for (_, name, key) in latencies::PERCENTILES {
            let want = own[key].as_f64().unwrap() / 1e3;
            let told = found[&format!("read_clat_{name}_us")];
            assert!(
                (told - want).abs() < 1e-9,
                "{version} {key}: {told}, fio says {want}"
            );
        }
    }
}

#[test]
fn a_group_of_jobs_is_read_as_one() {
    let found = numbers(GROUPED);
    near(found["operations"], 1000.0);
    near(found["sync_operations"], 98.0);
    let report: Value = serde_json::from_str(GROUPED).unwrap();
    let all = latencies(&report, &[["read", "clat_ns"], ["write", "clat_ns"]]);
    assert_eq!(all.len(), 1000);
    near(found["clat_p9999_us"], brute(&all, 9999));
}

#[test]
fn directions_that_fio_does_not_tell_apart_are_not_told_apart() {
    let found = numbers(UNIFIED);
    near(found["operations"], 1000.0);
    assert!(found["clat_p99_us"] > 0.0 && !found.contains_key("read_iops"));
    assert_eq!(moved(UNIFIED.as_bytes()), None);
}

#[test]
fn without_bins_percentiles_of_several_jobs_are_not_made_up() {
    let found = numbers(PLAIN);
    near(found["operations"], 1000.0);
    assert!(found["clat_max_us"] > found["clat_mean_us"]);
    // Of reads there is one job.
    assert!(found.contains_key("read_clat_p99_us"));
    for name in ["clat_p99_us", "write_clat_p99_us", "sync_lat_p99_us"] {
        assert!(!found.contains_key(name), "{name}");
    }
    // One part without bins is enough.
    let mut report: Value = serde_json::from_str(VERSIONS[2].1).unwrap();
    let latency = report["jobs"][1]["write"]["clat_ns"].as_object_mut().unwrap();
    latency.remove("bins");
    assert!(!numbers(&report.to_string()).contains_key("write_clat_p99_us"));
}

#[test]
fn jobs_one_after_another_are_no_measurement() {
    let mut report: Value = serde_json::from_str(VERSIONS[2].1).unwrap();
    report["jobs"][2]["groupid"] = 1.into();
    let error = parse(report.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("one after another"), "{error}");
}

#[test]
fn counts_that_cannot_be_are_errors() {
    let whole = VERSIONS[2].1;
    let mut report: Value = serde_json::from_str(whole).unwrap();
    for (place, huge) in [("io_bytes", u64::MAX), ("total_ios", u64::MAX)] {
        report["jobs"][0]["write"][place] = huge.into();
        let error = parse(report.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
        assert_eq!(moved(report.to_string().as_bytes()), None);
    }
    let mut report: Value = serde_json::from_str(whole).unwrap();
    let bins = &mut report["jobs"][0]["write"]["clat_ns"]["bins"];
    *bins = serde_json::json!({"1": u64::MAX, "18446744073709551615": 1});
    let error = parse(report.to_string().as_bytes()).unwrap_err().to_string();
    assert!(error.contains("than can be counted"), "{error}");
    for bad in ["-1", "x", "1.5", "18446744073709551616", ""] {
        let bins = &mut report["jobs"][0]["write"]["clat_ns"]["bins"];
        *bins = serde_json::json!({bad: 1});
        assert!(parse(report.to_string().as_bytes()).is_err(), "{bad}");
    }
}

fn bins() -> impl Strategy<Value = BTreeMap<u64, u64>> {
    proptest::collection::btree_map(0_u64..5000, 0_u64..40, 0..60)
}

proptest! {
    #[test]
    fn merged_percentiles_are_those_of_all_latencies(jobs in proptest::collection::vec(bins(), 1..6)) {
        let mut merged = Histogram::default();
        let mut all: Vec<u64> = Vec::new();
        for bins in &jobs {
            merged.add(bins).unwrap();
            for (value, count) in bins {
                all.extend(std::iter::repeat_n(*value, usize::try_from(*count).unwrap()));
            }
        }
        all.sort_unstable();
        for (ten_thousandths, ..) in latencies::PERCENTILES {
            let found = merged.percentile(ten_thousandths, 0).map(|nanos| nanos as f64 / 1e3);
            let want = (!all.is_empty()).then(|| brute(&all, ten_thousandths as usize));
            prop_assert_eq!(found, want);
        }
        let mut backwards = Histogram::default();
        for bins in jobs.iter().rev() {
            backwards.add(bins).unwrap();
        }
        prop_assert_eq!(backwards, merged);
    }

    #[test]
    fn any_bins_are_answered(bins in proptest::collection::btree_map(any::<u64>(), any::<u64>(), 0..9)) {
        let mut merged = Histogram::default();
        let fits = bins.values().try_fold(0_u64, |sum, count| sum.checked_add(*count)).is_some();
        prop_assert_eq!(merged.add(&bins).is_some(), fits);
        let _ = merged.percentile(9999, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(50))]

    #[test]
    fn the_order_of_jobs_changes_nothing(order in Just([0_usize, 1, 2]).prop_shuffle()) {
        let mut report: Value = serde_json::from_str(VERSIONS[2].1).unwrap();
        let before = numbers(&report.to_string());
        let jobs = report["jobs"].as_array().unwrap().clone();
        report["jobs"] = order.iter().map(|&at| jobs[at].clone()).collect();
        for (name, value) in numbers(&report.to_string()) {
            near(value, before[&name]);
        }
    }

    #[test]
    fn a_report_that_is_cut_or_damaged_is_answered(at in 0_usize..40_000, byte in any::<u8>()) {
        for (_, text) in VERSIONS {
            let mut bytes = text.trim_end().as_bytes().to_vec();
            let at = at % bytes.len();
            prop_assert!(parse(&bytes[..at]).is_err());
            bytes[at] = byte;
            let _ = parse(&bytes);
            let _ = moved(&bytes);
        }
    }
}
