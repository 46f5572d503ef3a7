//! How many bytes a tool says it moved, and in what time: what the host's counters are held against.
//!
//! Which reader of a tool's output tells it; whether the output is right is the parsers' matter.

use super::{Parser, Workload, fio, iperf3};
use crate::host::JobOutput;
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
        /// Bytes that were sent: of UDP many more may go on the way than arrive.
        most: f64,
        /// In this time.
        time: Duration,
    },
}

impl Workload {
    /// What the tool says it moved; `None` where it does not say so.
    pub fn moved(&self, output: &JobOutput) -> Option<Moved> {
        let text = self.output(output)?;
        match self.parser {
            Parser::Fio => fio::moved(text),
            Parser::Iperf3 => iperf3::moved(text),
            _ => None,
        }
    }
}

/// A time in which something can have been moved.
pub(super) fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok().filter(|t| !t.is_zero())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn recorded_outputs_tell_what_was_moved() {
        let fio = fio::moved(include_bytes!("../../tests/data/fio-randread.json")).unwrap();
        let Moved::Disk { read, written, time } = fio else {
            panic!("{fio:?}");
        };
        assert!(
            read > 1e6 && written == 0.0 && time > Duration::from_millis(100),
            "{fio:?}"
        );
        let tcp = iperf3::moved(include_bytes!("../../tests/data/iperf3.json"));
        assert_eq!(
            tcp,
            Some(Moved::Network {
                bytes: 5_492_572_160.0,
                most: 5_490_606_080.0,
                time: Duration::from_secs_f64(2.00043),
            })
        );
        // More than two thirds were sent and did not arrive.
        let udp = iperf3::moved(include_bytes!("../../tests/data/iperf3-udp-lossy.json"));
        assert_eq!(
            udp,
            Some(Moved::Network {
                bytes: 313_796_080.0,
                most: 1_111_455_840.0,
                time: Duration::from_secs_f64(2.004_158),
            })
        );
        let refused = include_bytes!("../../tests/data/iperf3-refused.json");
        assert_eq!(iperf3::moved(refused), None);
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
            "{\"end\":{\"sum_received\":{\"bits_per_second\":1,\"bytes\":9,\"seconds\":1e300}}}",
            "{\"end\":{\"sum_received\":{\"bits_per_second\":1,\"bytes\":-9,\"seconds\":1}}}",
            "{\"end\":{\"sum_sent\":{\"bytes\":9}}}",
        ];
        for text in texts {
            assert_eq!(fio::moved(text.as_bytes()), None, "{text}");
            assert_eq!(iperf3::moved(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_output_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), text in "[{}\\[\\]\":,a-z0-9]{0,300}") {
            for text in [&bytes[..], text.as_bytes()] {
                fio::moved(text);
                iperf3::moved(text);
            }
        }
    }
}
