//! fio's JSON to numbers. Knows fio 3; the text comes from the guest and is not trusted.
//!
//! Jobs and directions are put together here: rates are added, latencies merged bin by bin. A percentile is never the
//! mean of percentiles.

mod latencies;
mod log;

use super::{Moved, ParseError, bounded, moved};
use latencies::{Latencies, Latency};
pub(super) use log::windows;
use serde::Deserialize;

macro_rules! names {
    ($($of:literal)*; $($other:literal)*) => {
        &[
            $(
                concat!($of, "iops"),
                concat!($of, "bw"),
                concat!($of, "clat_mean_us"),
                concat!($of, "clat_p50_us"),
                concat!($of, "clat_p90_us"),
                concat!($of, "clat_p95_us"),
                concat!($of, "clat_p99_us"),
                concat!($of, "clat_p999_us"),
                concat!($of, "clat_p9999_us"),
                concat!($of, "clat_max_us"),
                concat!($of, "operations"),
                concat!($of, "bytes"),
            )*
            $($other,)*
        ]
    };
}

/// Every name there can be. The rest after a direction's word is of that direction alone.
pub(super) const METRICS: &[&str] = names!(
    "" "read_" "write_" "trim_";
    "io_errors"
    "sync_operations"
    "sync_lat_mean_us" "sync_lat_p50_us" "sync_lat_p90_us" "sync_lat_p95_us" "sync_lat_p99_us" "sync_lat_p999_us"
    "sync_lat_p9999_us" "sync_lat_max_us"
);

#[derive(Deserialize)]
struct Report {
    #[serde(deserialize_with = "bounded::list::<1024, _, _>")]
    jobs: Vec<Job>,
}

/// A job, or with `group_reporting` a group of them.
#[derive(Deserialize)]
struct Job {
    /// One more after each `stonewall`.
    #[serde(default)]
    groupid: u64,
    error: i64,
    /// Only there with `continue_on_error`.
    total_err: Option<u64>,
    read: Option<Direction>,
    write: Option<Direction>,
    trim: Option<Direction>,
    /// In the place of the three with `unified_rw_reporting=mixed`, beside them with `both`.
    mixed: Option<Direction>,
    /// Not in fio 3.3 and before.
    sync: Option<Sync>,
}

#[derive(Deserialize)]
struct Direction {
    io_bytes: Option<u64>,
    /// Milliseconds.
    runtime: Option<u32>,
    /// Bytes per second; not in fio 3.1.
    bw_bytes: Option<f64>,
    /// KiB per second, cut to whole ones.
    bw: Option<f64>,
    iops: f64,
    total_ios: u64,
    clat_ns: Latency,
}

#[derive(Deserialize)]
struct Sync {
    total_ios: u64,
    lat_ns: Latency,
}

/// Takes one direction of a job.
type Pick = fn(&Job) -> Option<&Direction>;

/// What one direction, or all of them, did in all jobs.
#[derive(Default)]
struct Total {
    iops: f64,
    bw: f64,
    operations: u64,
    /// As far as they were told.
    bytes: u64,
    latencies: Latencies,
}

impl Total {
    fn add(&mut self, direction: &Direction) -> Result<(), ParseError> {
        self.iops += direction.iops;
        let bw = direction.bw_bytes.or_else(|| Some(direction.bw? * 1024.0));
        self.bw += bw.ok_or_else(|| ParseError::Content("fio reported no bw_bytes".into()))?;
        self.operations = sum(self.operations, direction.total_ios)?;
        self.bytes = sum(self.bytes, direction.io_bytes.unwrap_or(0))?;
        self.latencies.add(&direction.clat_ns, direction.total_ios)
    }

    fn tell(&self, of: &str, found: &mut Vec<(String, f64)>) {
        let mut push = |name: &str, value: f64| found.push((format!("{of}{name}"), value));
        push("iops", self.iops);
        push("bw", self.bw);
        push("operations", self.operations as f64);
        if self.bytes > 0 {
            push("bytes", self.bytes as f64);
        }
        self.latencies.tell(&format!("{of}clat"), found);
    }
}

fn sum(one: u64, other: u64) -> Result<u64, ParseError> {
    let too_large = || ParseError::Content("fio reported counts that are too large to add".into());
    one.checked_add(other).ok_or_else(too_large)
}

impl Report {
    fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        serde_json::from_slice(after_notes(bytes)).map_err(|e| ParseError::malformed("fio's JSON", &e))
    }

    /// Fails when the jobs did not run at the same time, or at all.
    fn check(&self) -> Result<(), ParseError> {
        if self.jobs.is_empty() {
            return Err(ParseError::Content("fio reported 0 jobs".into()));
        }
        // `new_group` counts too; fio's JSON does not tell the two apart.
        if self.jobs.iter().any(|job| job.groupid != self.jobs[0].groupid) {
            return Err(ParseError::Content(
                "fio's jobs are of several groups, as those are that run one after another (stonewall): that is no \
                 single measurement; make each a workload of its own"
                    .into(),
            ));
        }
        Ok(())
    }

    /// Whether any job said that it failed.
    fn errors(&self) -> u64 {
        let of = |job: &Job| job.total_err.unwrap_or(0).max(u64::from(job.error != 0));
        self.jobs.iter().map(of).fold(0, u64::saturating_add)
    }

    /// What each direction did that did anything, by the word before its metrics.
    fn directions(&self) -> Result<Vec<(&'static str, Total)>, ParseError> {
        let each: [(&str, Pick); 4] = [
            ("read_", |job| job.read.as_ref()),
            ("write_", |job| job.write.as_ref()),
            ("trim_", |job| job.trim.as_ref()),
            ("", |job| {
                let split = job.read.is_some() || job.write.is_some();
                job.mixed.as_ref().filter(|_| !split)
            }),
        ];
        let mut found = Vec::new();
        for (of, pick) in each {
            let mut total = Total::default();
            for direction in self.jobs.iter().filter_map(pick) {
                total.add(direction)?;
            }
            if total.operations > 0 {
                found.push((of, total));
            }
        }
        Ok(found)
    }

    /// All directions of all jobs together.
    fn total(&self) -> Result<Total, ParseError> {
        let mut total = Total::default();
        for job in &self.jobs {
            let split = [&job.read, &job.write, &job.trim];
            let is_split = split.iter().any(|direction| direction.is_some());
            let mixed = job.mixed.as_ref().filter(|_| !is_split);
            for direction in split.into_iter().flatten().chain(mixed) {
                total.add(direction)?;
            }
        }
        Ok(total)
    }

    /// Calls of fsync and the like.
    fn syncs(&self) -> Result<(u64, Latencies), ParseError> {
        let (mut calls, mut latencies) = (0, Latencies::default());
        for sync in self.jobs.iter().filter_map(|job| job.sync.as_ref()) {
            calls = self::sum(calls, sync.total_ios)?;
            latencies.add(&sync.lat_ns, sync.total_ios)?;
        }
        Ok((calls, latencies))
    }
}

/// The numbers of all jobs together, and of each direction that did anything. Latencies are in microseconds, `bw` in
/// bytes per second.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let report = Report::read(bytes)?;
    report.check()?;
    let total = report.total()?;
    let (calls, syncs) = report.syncs()?;
    if total.operations == 0 && calls == 0 {
        let failed = report.jobs.iter().find(|job| job.error != 0);
        return Err(match failed {
            Some(job) => ParseError::Tool(format!("fio failed with error {}", job.error)),
            None => ParseError::Content("fio did no I/O".into()),
        });
    }
    let mut found = vec![("io_errors".to_string(), report.errors() as f64)];
    if total.operations > 0 {
        total.tell("", &mut found);
    }
    for (of, direction) in report.directions()?.iter().filter(|(of, _)| !of.is_empty()) {
        direction.tell(of, &mut found);
    }
    if calls > 0 {
        found.push(("sync_operations".into(), calls as f64));
        syncs.tell("sync_lat", &mut found);
    }
    Ok(found)
}

/// What fio says it moved in its measured time, in all jobs, and the time of the longest: not in `ramp_time`, of which it
/// tells nothing. `None` where its directions are not told apart.
pub(super) fn moved(bytes: &[u8]) -> Option<Moved> {
    let report = Report::read(bytes).ok()?;
    let both = report.jobs.iter().flat_map(|job| [&job.read, &job.write]);
    let mut both = both.flatten();
    let times = both.clone().filter_map(|direction| direction.runtime);
    let longest = times.max().unwrap_or(0);
    if both.any(|direction| direction.io_bytes.is_none()) {
        return None;
    }
    let (mut read, mut written) = (0, 0);
    for (of, direction) in report.directions().ok()? {
        match of {
            "read_" => read = direction.bytes,
            "write_" => written = direction.bytes,
            // Nothing is moved by a trim.
            "trim_" => {}
            _ => return None,
        }
    }
    Some(Moved::Disk {
        read: read as f64,
        written: written as f64,
        time: moved::seconds(f64::from(longest) / 1e3)?,
    })
}

/// fio puts `note:` lines before the JSON.
fn after_notes(bytes: &[u8]) -> &[u8] {
    if bytes.starts_with(b"{") {
        return bytes;
    }
    let start = bytes.windows(2).position(|pair| pair == b"\n{");
    start.map_or(bytes, |at| &bytes[at + 1..])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
