//! cyclictest's JSON with histograms to numbers. Knows rt-tests 2; the text comes from the guest and is not trusted.

use super::ParseError;
use super::bounded;
use super::histogram::Histogram;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const METRICS: &[&str] = &[
    "wakeup_mean_us",
    "wakeup_p50_us",
    "wakeup_p99_us",
    "wakeup_p999_us",
    "wakeup_max_us",
    "cycles",
];

/// In ten-thousandths.
const PERCENTILES: [(&str, u32); 3] = [
    ("wakeup_p50_us", 5000),
    ("wakeup_p99_us", 9900),
    ("wakeup_p999_us", 9990),
];

#[derive(Deserialize)]
struct Report {
    return_code: i64,
    /// By number.
    #[serde(deserialize_with = "bounded::map::<4096, _, _, _>")]
    thread: BTreeMap<u32, Thread>,
}

#[derive(Deserialize)]
struct Thread {
    /// How often a thread woke up so many microseconds late. Without `--histogram` there is none.
    #[serde(default, deserialize_with = "bounded::map::<200_000, _, _, _>")]
    histogram: BTreeMap<u64, u64>,
    /// Wake-ups, those beyond the histogram too.
    cycles: u64,
    max: u64,
    avg: f64,
}

/// How late the threads woke up, all of them together: percentiles are those of the merged histograms, never means of
/// percentiles. A percentile beyond the histogram is left out.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let report: Report =
        serde_json::from_slice(bytes).map_err(|e| ParseError::malformed("cyclictest's JSON", &e))?;
    if report.return_code != 0 {
        return Err(ParseError::Tool(format!(
            "cyclictest says it returned {}",
            report.return_code
        )));
    }
    let threads = report.thread.values();
    let cycles = threads
        .clone()
        .try_fold(0_u64, |sum, t| sum.checked_add(t.cycles));
    let too_many =
        || ParseError::Content("cyclictest counted no wake-ups, or more than can be counted".into());
    let cycles = cycles.filter(|cycles| *cycles > 0).ok_or_else(too_many)?;
    let weighted: f64 = threads.clone().map(|t| t.avg * t.cycles as f64).sum();
    let max = threads.clone().map(|t| t.max).max().unwrap_or(0);
    let mut found = vec![
        ("cycles".to_string(), cycles as f64),
        ("wakeup_max_us".into(), max as f64),
        ("wakeup_mean_us".into(), weighted / cycles as f64),
    ];
    let mut merged = Histogram::default();
    for thread in threads {
        merged.add(&thread.histogram).ok_or_else(too_many)?;
    }
    let beyond = cycles.saturating_sub(merged.total());
    for (name, ten_thousandths) in PERCENTILES {
        if let Some(late) = merged.percentile(ten_thousandths, beyond) {
            found.push((name.into(), late as f64));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn get(text: &str, name: &str) -> Option<f64> {
        let found = parse(text.as_bytes()).unwrap();
        found.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }

    const TWO: &str = r#"{"return_code": 0, "thread": {
        "0": {"histogram": {"5": 90, "9": 10}, "cycles": 100, "min": 5, "max": 9, "avg": 5.4},
        "1": {"histogram": {"5": 98, "700": 1}, "cycles": 100, "min": 5, "max": 2000, "avg": 31.9}}}"#;

    #[test]
    fn threads_are_merged_by_their_histograms() {
        assert_eq!(get(TWO, "cycles"), Some(200.0));
        assert_eq!(get(TWO, "wakeup_p50_us"), Some(5.0));
        assert_eq!(get(TWO, "wakeup_p99_us"), Some(9.0));
        // The 199.8th of 200 was beyond the histogram.
        assert_eq!(get(TWO, "wakeup_p999_us"), None);
        assert_eq!(get(TWO, "wakeup_max_us"), Some(2000.0));
        assert!((get(TWO, "wakeup_mean_us").unwrap() - 18.65).abs() < 1e-9);
    }

    #[test]
    fn what_counts_nothing_is_refused() {
        for bad in [
            r#"{"return_code": 0, "thread": {}}"#,
            r#"{"return_code": 0, "thread": {"0": {"cycles": 0, "max": 0, "avg": 0}}}"#,
            r#"{"return_code": 1, "thread": {"0": {"cycles": 1, "max": 0, "avg": 0}}}"#,
            r#"{"return_code": 0, "thread": {"0": {"cycles": 18446744073709551615, "max": 0, "avg": 0},
                "1": {"cycles": 1, "max": 0, "avg": 0}}}"#,
            r#"{"thread": {"0": {"cycles": 1, "max": 0, "avg": 0}}}"#,
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
