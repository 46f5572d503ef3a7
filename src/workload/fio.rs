//! fio's JSON to numbers, and its log of IOPS to samples. Knows fio 3; the text comes from the guest and is not trusted.

use super::ParseError;
use super::bounded;
use super::series::Window;
use crate::diagnostic::one_line;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const METRICS: &[&str] = &[
    "iops",
    "bw",
    "clat_mean_us",
    "clat_p50_us",
    "clat_p99_us",
    "clat_p999_us",
    "io_errors",
    "operations",
];

/// Percentiles as fio writes their keys.
const PERCENTILES: [(&str, &str); 3] = [
    ("50.000000", "clat_p50_us"),
    ("99.000000", "clat_p99_us"),
    ("99.900000", "clat_p999_us"),
];

#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    error: i64,
    /// Only there with `continue_on_error`.
    total_err: Option<u64>,
    read: Direction,
    write: Direction,
}

#[derive(Deserialize)]
struct Direction {
    /// Bytes per second.
    bw_bytes: f64,
    iops: f64,
    total_ios: u64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    mean: f64,
    /// Absent when nothing was counted.
    #[serde(default, deserialize_with = "bounded::map::<100, _, _, _>")]
    percentile: BTreeMap<String, f64>,
}

/// The numbers of one job, of the direction that ran. Latencies are in microseconds, `bw` in bytes per second.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let report: Report =
        serde_json::from_slice(after_notes(bytes)).map_err(|e| ParseError::malformed("fio's JSON", &e))?;
    let [job] = report.jobs.as_slice() else {
        return Err(ParseError::Content(format!(
            "fio reported {} jobs, not one; add --group_reporting",
            report.jobs.len()
        )));
    };
    let ran = match (job.read.total_ios, job.write.total_ios) {
        (0, 0) if job.error == 0 => return Err(ParseError::Content("fio did no I/O".into())),
        (0, 0) => return Err(ParseError::Tool(format!("fio failed with error {}", job.error))),
        (_, 0) => &job.read,
        (0, _) => &job.write,
        _ => {
            return Err(ParseError::Content(
                "fio read and wrote; one direction is expected".into(),
            ));
        }
    };
    let errors = job.total_err.unwrap_or(0).max(u64::from(job.error != 0));
    let mut found = vec![
        ("iops".to_string(), ran.iops),
        ("bw".into(), ran.bw_bytes),
        ("clat_mean_us".into(), ran.clat_ns.mean / 1e3),
        ("io_errors".into(), errors as f64),
        ("operations".into(), ran.total_ios as f64),
    ];
    for (key, name) in PERCENTILES {
        if let Some(nanos) = ran.clat_ns.percentile.get(key) {
            found.push((name.into(), nanos / 1e3));
        }
    }
    Ok(found)
}

/// The windows of a log of IOPS (`--write_iops_log`, `--log_avg_msec`, `--per_job_logs=0`), which leaves out the ramp
/// time. A line is `milliseconds, IOPS, direction, block size`, with one to three more numbers by version and options.
pub(super) fn windows(bytes: &[u8]) -> Result<Vec<Window>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ParseError::malformed("fio's log", &e))?;
    let mut direction = None;
    text.lines()
        .map(|line| {
            let wrong =
                |why: &str| ParseError::malformed("fio's log", &format!("{why}: `{}`", one_line(line, 60)));
            let fields: Result<Vec<u64>, _> = line.splitn(9, ',').map(|field| field.trim().parse()).collect();
            let fields = fields.map_err(|_| wrong("not a line of whole numbers"))?;
            let (4..=7, [millis, iops, way, ..]) = (fields.len(), fields.as_slice()) else {
                return Err(wrong("not four to seven numbers"));
            };
            if *direction.get_or_insert(*way) != *way {
                return Err(wrong("reads and writes; one direction is expected"));
            }
            Ok(Window {
                end: *millis as f64 / 1e3,
                rate: *iops as f64,
            })
        })
        .collect()
}

/// fio puts `note:` lines before the JSON.
fn after_notes(bytes: &[u8]) -> &[u8] {
    if bytes.starts_with(b"{") {
        return bytes;
    }
    let start = bytes.windows(2).position(|pair| pair == b"\n{");
    start.map_or(bytes, |at| &bytes[at + 1..])
}
