//! How many bytes a tool says it moved, and in what time: what the host's counters are held against.
//!
//! Reads only that; whether the output is right is the parsers' matter. The text comes from the guest and is not trusted.

use super::{Parser, Workload, fio};
use crate::host::JobOutput;
use serde::Deserialize;
use std::time::Duration;

/// Bytes that a tool moved in its measured time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Moved {
    /// To and from a disk.
    Disk {
        /// Bytes read.
        read: f64,
        /// Bytes written.
        written: f64,
        /// In this time.
        time: Duration,
    },
    /// Over the network, in whatever direction.
    Network {
        /// Bytes that arrived.
        bytes: f64,
        /// In this time.
        time: Duration,
    },
}

impl Workload {
    /// What the tool says it moved; `None` where it does not say so.
    pub fn moved(&self, output: &JobOutput) -> Option<Moved> {
        let text = self.output(output)?;
        match self.parser {
            Parser::Fio => by_fio(text),
            Parser::Iperf3 => by_iperf3(text),
            _ => None,
        }
    }
}

/// The sum over all jobs, and the time of the longest.
fn by_fio(text: &[u8]) -> Option<Moved> {
    let moved = fio::moved_bytes(text)?;
    Some(Moved::Disk {
        read: moved.read as f64,
        written: moved.written as f64,
        time: Some(moved.time).filter(|time| !time.is_zero())?,
    })
}

/// As much of iperf3's report as is needed: a tree of all of it could take many times its size.
#[derive(Deserialize)]
struct Report {
    end: End,
}

#[derive(Deserialize)]
struct End {
    /// Of a test of UDP there is `sum` alone.
    sum_received: Option<Sum>,
    sum: Option<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    bytes: f64,
    seconds: f64,
}

/// What was received, or in a UDP test what was sent less what was lost on the way; both directions of a test of both.
fn by_iperf3(text: &[u8]) -> Option<Moved> {
    let Report { end } = serde_json::from_slice(text).ok()?;
    let sum = end.sum_received.or(end.sum)?;
    Some(Moved::Network {
        bytes: Some(sum.bytes).filter(|n| n.is_finite() && *n >= 0.0)?,
        time: seconds(sum.seconds)?,
    })
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|t| !t.is_zero())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recorded_outputs_tell_what_was_moved() {
        let fio = by_fio(include_bytes!("../../tests/data/fio-randread.json")).unwrap();
        let Moved::Disk { read, written, time } = fio else {
            panic!("{fio:?}");
        };
        assert!(
            read > 1e6 && written == 0.0 && time > Duration::from_millis(100),
            "{fio:?}"
        );
        let iperf3 = by_iperf3(include_bytes!("../../tests/data/iperf3.json")).unwrap();
        assert!(
            matches!(iperf3, Moved::Network { bytes, .. } if bytes > 1e6),
            "{iperf3:?}"
        );
        let refused = include_bytes!("../../tests/data/iperf3-refused.json");
        assert_eq!(by_iperf3(refused), None);
    }

    #[test]
    fn nonsense_tells_nothing() {
        let texts = [
            "",
            "{}",
            "{\"jobs\":7}",
            "{\"jobs\":[]}",
            "{\"jobs\":[{\"read\":{\"io_bytes\":-1}}]}",
            "{\"end\":[]}",
            "{\"end\":{\"sum_received\":{\"bytes\":\"9\",\"seconds\":1}}}",
            "{\"end\":{\"sum\":{\"bytes\":9,\"seconds\":1e300}}}",
        ];
        for text in texts {
            assert_eq!(by_fio(text.as_bytes()), None, "{text}");
            assert_eq!(by_iperf3(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[{}\\[\\]\":,a-z0-9]{0,300}") {
            for text in [&bytes[..], text.as_bytes()] {
                by_fio(text);
                by_iperf3(text);
            }
        }
    }
}
