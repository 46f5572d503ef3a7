//! iperf3's JSON of a test of TCP or UDP to numbers and samples. Knows iperf3 3; the text comes from the guest and is not trusted.

use super::series::{MAX_SAMPLES, Window};
use super::{Moved, ParseError, bounded, moved};
use crate::diagnostic::one_line;
use serde::{Deserialize, Deserializer};

pub(super) const METRICS: &[&str] = &[
    "bits_per_second",
    "bytes",
    "retransmits",
    "rtt_mean_us",
    "client_cpu_percent",
    "server_cpu_percent",
    "packets",
    "lost_packets",
    "lost_percent",
    "delivered_percent",
    "jitter_us",
];

/// As much of a report as is needed: a tree of all of it could take many times its size.
#[derive(Deserialize)]
struct Report {
    /// iperf3 tells failures here and may still exit with 0.
    error: Option<String>,
    #[serde(default, deserialize_with = "bounded::list::<MAX_SAMPLES, _, _>")]
    intervals: Vec<Interval>,
    #[serde(default)]
    end: End,
}

impl Report {
    fn read(bytes: &[u8]) -> Result<Self, ParseError> {
        serde_json::from_slice(bytes).map_err(|e| ParseError::malformed("iperf3's JSON", &e))
    }

    /// Mean of the round trips that the sender's streams saw once a second after `--omit`, in microseconds; `None` where
    /// there are none. iperf3's own `mean_rtt` is also of what was omitted.
    fn mean_rtt(&self) -> Option<f64> {
        let add = |all: RoundTrips, interval: &Interval| RoundTrips {
            sum: all.sum + interval.streams.sum,
            count: all.count + interval.streams.count,
        };
        let all = self.intervals.iter().fold(RoundTrips::default(), add);
        (all.count > 0).then(|| all.sum / f64::from(all.count))
    }
}

#[derive(Deserialize, Default)]
struct End {
    sum_sent: Option<Sent>,
    sum_received: Option<Received>,
    cpu_utilization_percent: Option<Cpu>,
}

#[derive(Deserialize)]
struct Sent {
    bytes: Option<f64>,
    /// Only the sender knows them, and only of TCP.
    retransmits: Option<u64>,
}

#[derive(Deserialize)]
struct Received {
    bits_per_second: f64,
    bytes: Option<f64>,
    seconds: Option<f64>,
    /// Of UDP only, like the next two. Those that should have arrived.
    packets: Option<u64>,
    /// Negative when some arrived twice.
    lost_packets: Option<i64>,
    jitter_ms: Option<f64>,
}

/// The tool's own processes, in percent of one CPU.
#[derive(Deserialize)]
struct Cpu {
    /// Where the report comes from.
    host_total: f64,
    remote_total: f64,
}

#[derive(Deserialize)]
struct Interval {
    /// All streams together.
    sum: Sum,
    #[serde(default, deserialize_with = "round_trips")]
    streams: RoundTrips,
}

#[derive(Deserialize)]
struct Sum {
    /// Seconds since the test began, or since `--omit` ended.
    end: f64,
    bytes: u64,
    #[serde(default)]
    omitted: bool,
}

/// Those of the streams of one interval that were not omitted.
#[derive(Default, Clone, Copy)]
struct RoundTrips {
    /// Microseconds.
    sum: f64,
    count: u32,
}

#[derive(Deserialize)]
struct Stream {
    /// Microseconds; 0 where the kernel does not tell, nothing at the receiver and of UDP.
    rtt: Option<u32>,
    #[serde(default)]
    omitted: bool,
}

/// iperf3 runs 128 streams at the most, twice as many when both sides send.
fn round_trips<'de, D: Deserializer<'de>>(from: D) -> Result<RoundTrips, D::Error> {
    let streams: Vec<Stream> = bounded::list::<256, _, _>(from)?;
    let measured = streams.iter().filter(|stream| !stream.omitted);
    let told = measured.filter_map(|stream| stream.rtt).filter(|rtt| *rtt > 0);
    Ok(told.fold(RoundTrips::default(), |all, rtt| RoundTrips {
        sum: all.sum + f64::from(rtt),
        count: all.count + 1,
    }))
}

/// A last interval is shorter when the test ends a little late.
const SHORTEST: f64 = 0.5;

/// The client's intervals after `--omit`. Their own `bits_per_second` is not used: after two seconds or more that were
/// omitted, iperf3 3.12 divides the bytes of the first interval by the length of two.
pub(super) fn windows(bytes: &[u8]) -> Result<Vec<Window>, ParseError> {
    let report = Report::read(bytes)?;
    let mut start = 0.0;
    let mut found: Vec<(f64, Window)> = Vec::new();
    for Interval { sum, .. } in report.intervals.into_iter().filter(|i| !i.sum.omitted) {
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

/// What arrived at the receiver, what the sender sent again and how long its round trips were, what both took for it, and
/// of UDP what was lost.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let report = Report::read(bytes)?;
    if let Some(error) = &report.error {
        return Err(ParseError::Tool(format!("iperf3: {}", one_line(error, 200))));
    }
    let rtt = report.mean_rtt();
    let received = report
        .end
        .sum_received
        .ok_or_else(|| ParseError::Content("iperf3 reported no end.sum_received".into()))?;
    if received.bits_per_second <= 0.0 {
        return Err(ParseError::Content("iperf3 received nothing".into()));
    }
    let mut found = vec![("bits_per_second".to_string(), received.bits_per_second)];
    if let Some(bytes) = received.bytes {
        found.push(("bytes".into(), bytes));
    }
    if let Some(retransmits) = report.end.sum_sent.and_then(|s| s.retransmits) {
        found.push(("retransmits".into(), retransmits as f64));
    }
    if let Some(rtt) = rtt {
        found.push(("rtt_mean_us".into(), rtt));
    }
    if let Some(cpu) = report.end.cpu_utilization_percent {
        found.push(("client_cpu_percent".into(), cpu.host_total));
        found.push(("server_cpu_percent".into(), cpu.remote_total));
    }
    if let (Some(packets), Some(lost)) = (received.packets, received.lost_packets) {
        found.extend(losses(packets, lost)?);
    }
    if let Some(jitter) = received.jitter_ms {
        found.push(("jitter_us".into(), 1e3 * jitter));
    }
    Ok(found)
}

/// What the receiver says arrived, and what the sender says it sent; both directions of a test of both.
pub(super) fn moved(bytes: &[u8]) -> Option<Moved> {
    let end = Report::read(bytes).ok()?.end;
    let count = |bytes: Option<f64>| bytes.filter(|n| n.is_finite() && *n >= 0.0);
    let received = end.sum_received?;
    let arrived = count(received.bytes)?;
    let sent = end.sum_sent.and_then(|sent| count(sent.bytes));
    Some(Moved::Network {
        bytes: arrived,
        most: sent.unwrap_or(arrived),
        time: moved::seconds(received.seconds?)?,
    })
}

/// What of UDP was lost on the way. Its share can be zero, which has no ratio to another; the share that was delivered
/// can be compared.
fn losses(packets: u64, lost: i64) -> Result<[(String, f64); 4], ParseError> {
    // Duplicates are counted against losses.
    let lost = u64::try_from(lost).unwrap_or(0);
    if packets == 0 || lost >= packets {
        return Err(ParseError::Content(format!(
            "iperf3 lost {lost} of {packets} packets; leave out --omit, whose packets it counts as lost"
        )));
    }
    let share = 100.0 * lost as f64 / packets as f64;
    Ok([
        ("packets".into(), packets as f64),
        ("lost_packets".into(), lost as f64),
        ("lost_percent".into(), share),
        ("delivered_percent".into(), 100.0 - share),
    ])
}
