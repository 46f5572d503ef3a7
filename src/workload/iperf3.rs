//! iperf3's JSON of a TCP test to numbers and samples. Knows iperf3 3; the text comes from the guest and is not trusted.

use super::ParseError;
use super::series::Window;
use crate::diagnostic::one_line;
use serde::Deserialize;

pub(super) const METRICS: &[&str] = &["bits_per_second", "retransmits"];

#[derive(Deserialize)]
struct Report {
    /// iperf3 tells failures here and may still exit with 0.
    error: Option<String>,
    #[serde(default)]
    end: End,
}

#[derive(Deserialize, Default)]
struct End {
    sum_sent: Option<Sent>,
    sum_received: Option<Received>,
}

#[derive(Deserialize)]
struct Sent {
    /// Only the sender knows them.
    retransmits: Option<u64>,
}

#[derive(Deserialize)]
struct Received {
    bits_per_second: f64,
}

/// The same report, read for its intervals.
#[derive(Deserialize)]
struct Sampled {
    intervals: Vec<Interval>,
}

#[derive(Deserialize)]
struct Interval {
    /// All streams together.
    sum: Sum,
}

#[derive(Deserialize)]
struct Sum {
    /// Seconds since the test began, or since `--omit` ended.
    end: f64,
    bytes: u64,
    #[serde(default)]
    omitted: bool,
}

/// A last interval is shorter when the test ends a little late.
const SHORTEST: f64 = 0.5;

/// The client's intervals after `--omit`. Their own `bits_per_second` is not used: after two seconds or more that were
/// omitted, iperf3 3.12 divides the bytes of the first interval by the length of two.
pub(super) fn windows(bytes: &[u8]) -> Result<Vec<Window>, ParseError> {
    let report: Sampled =
        serde_json::from_slice(bytes).map_err(|e| ParseError::malformed("iperf3's intervals", &e))?;
    let mut start = 0.0;
    let mut found: Vec<(f64, Window)> = Vec::new();
    for Interval { sum } in report.intervals.into_iter().filter(|i| !i.sum.omitted) {
        let length = sum.end - start;
        let rate = 8.0 * sum.bytes as f64 / length;
        found.push((length, Window { end: sum.end, rate }));
        start = sum.end;
    }
    if found.last().is_some_and(|(length, _)| *length < SHORTEST) {
        found.pop();
    }
    Ok(found.into_iter().map(|(_, window)| window).collect())
}

/// What arrived at the receiver, and the sender's retransmits.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let report: Report =
        serde_json::from_slice(bytes).map_err(|e| ParseError::malformed("iperf3's JSON", &e))?;
    if let Some(error) = report.error {
        return Err(ParseError::Tool(format!("iperf3: {}", one_line(&error, 200))));
    }
    let received = report
        .end
        .sum_received
        .ok_or_else(|| ParseError::Content("iperf3 reported no end.sum_received".into()))?;
    if received.bits_per_second <= 0.0 {
        return Err(ParseError::Content("iperf3 received nothing".into()));
    }
    let mut found = vec![("bits_per_second".to_string(), received.bits_per_second)];
    if let Some(retransmits) = report.end.sum_sent.and_then(|s| s.retransmits) {
        found.push(("retransmits".into(), retransmits as f64));
    }
    Ok(found)
}
