//! fio's log of IOPS to samples: jobs and directions added up, second by second.

use crate::diagnostic::one_line;
use crate::workload::ParseError;
use crate::workload::series::{MAX_SAMPLES, Window};
use std::collections::BTreeMap;

/// Several jobs and directions of the longest trial.
const MAX_LINES: usize = 4 * MAX_SAMPLES;

/// A line of the log.
#[derive(Clone, Copy)]
struct Line {
    millis: u64,
    iops: u64,
    direction: u64,
}

/// The windows of a log of IOPS (`--write_iops_log`, `--log_avg_msec`, `--per_job_logs=0`), which leaves out the ramp
/// time. A line is `milliseconds, IOPS, direction, block size`, with one to three more numbers by version and options.
/// The jobs stand one below the other, each from its beginning.
pub(in crate::workload) fn windows(bytes: &[u8]) -> Result<Vec<Window>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ParseError::malformed("fio's log", &e))?;
    if text.lines().nth(MAX_LINES).is_some() {
        let message = format!("fio's log has more than {MAX_LINES} lines");
        return Err(ParseError::Content(message));
    }
    let lines = text.lines().map(line).collect::<Result<Vec<_>, _>>()?;
    let one_way = lines.iter().all(|line| line.direction == lines[0].direction);
    let jobs = jobs(&lines);
    if one_way && jobs.len() <= 1 {
        let window = |line: &Line| Window {
            end: line.millis as f64 / 1e3,
            rate: line.iops as f64,
        };
        return Ok(lines.iter().map(window).collect());
    }
    Ok(added(&jobs))
}

fn line(line: &str) -> Result<Line, ParseError> {
    let wrong = |why: &str| ParseError::malformed("fio's log", &format!("{why}: `{}`", one_line(line, 60)));
    let fields: Result<Vec<u64>, _> = line.splitn(9, ',').map(|field| field.trim().parse()).collect();
    let fields = fields.map_err(|_| wrong("not a line of whole numbers"))?;
    match (fields.len(), fields.as_slice()) {
        (4..=7, [millis, iops, direction, ..]) => Ok(Line {
            millis: *millis,
            iops: *iops,
            direction: *direction,
        }),
        _ => Err(wrong("not four to seven numbers")),
    }
}

/// The lines of each job: one begins where a direction goes back in time.
fn jobs(lines: &[Line]) -> Vec<&[Line]> {
    let mut found = Vec::new();
    let (mut start, mut last) = (0, BTreeMap::new());
    for (at, line) in lines.iter().enumerate() {
        let before = last.insert(line.direction, line.millis);
        if before.is_some_and(|before| before >= line.millis) {
            found.push(&lines[start..at]);
            start = at;
            last = BTreeMap::from([(line.direction, line.millis)]);
        }
    }
    found.push(&lines[start..]);
    found
}

/// What all of them did in each second that all of them have: a direction that did nothing has no line, and fio may cut
/// off a job's last second.
fn added(jobs: &[&[Line]]) -> Vec<Window> {
    let second = |line: &Line| line.millis / 1000 + u64::from(line.millis % 1000 >= 500);
    let ends = jobs.iter().map(|job| job.iter().map(second).max().unwrap_or(0));
    let end = ends.min().unwrap_or(0);
    let mut seconds: BTreeMap<u64, f64> = BTreeMap::new();
    for line in jobs.iter().copied().flatten() {
        *seconds.entry(second(line)).or_default() += line.iops as f64;
    }
    let window = |(second, rate): (&u64, &f64)| Window {
        end: *second as f64,
        rate: *rate,
    };
    seconds.range(..=end).map(window).collect()
}
