//! Who is in the lab beside the guest that is measured: neighbours that compete with it, and a long path to it.
//!
//! Does not know how guests are started or jobs run.

use crate::units::{Bytes, Percent, Span};
use crate::workload::Workload;
use serde::{Deserialize, Serialize};

/// The workload of an observation that tells of the barrier itself.
pub const BARRIER: &str = "barrier";
/// How far the starts behind a barrier were apart, in milliseconds.
pub const SKEW: &str = "start_skew_ms";

/// The guests of a lab beside the one that is measured; in a lab of one guest there are none.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Company {
    /// They start together with each trial's workload.
    pub neighbours: Vec<Neighbour>,
    /// Goes through a router of its own.
    pub path: Option<LongPath>,
}

impl Company {
    /// True for a lab of one guest.
    pub fn is_none(&self) -> bool {
        self.neighbours.is_empty() && self.path.is_none()
    }
}

/// A guest that runs one workload beside each trial's, or serves it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// What it runs, called by the neighbour's own name, so that its metrics are `hog.iops`; with the times of the
    /// experiment's workload. `None` for one that only serves.
    pub workload: Option<Workload>,
    /// What the workload is called elsewhere.
    pub uses: Option<String>,
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory.
    pub memory: Bytes,
    /// Size of its part of the data disk.
    pub disk: Bytes,
}

/// A path between host and guest that is longer, narrower and worse than the lab's bridge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LongPath {
    /// What it adds to the round trip, half of it each way.
    pub rtt: Span,
    /// Packets lost, each way.
    pub loss: Percent,
    /// What it carries each way, in bit/s; `None` for as much as it can.
    pub rate: Option<BitRate>,
    /// Packets that wait before it, each way; more are lost.
    pub queue: u32,
}

impl std::fmt::Display for LongPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} round trip, {} loss", self.rtt, self.loss)?;
        if let Some(rate) = self.rate {
            write!(f, ", {rate}/s")?;
        }
        write!(f, ", a queue of {} packets", self.queue)
    }
}

/// Bits a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitRate(pub u64);

/// Why a text is no rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate")]
pub struct BitRateError(String);

/// As tc(8) writes them: powers of 1000.
const UNITS: [(&str, u64); 4] = [
    ("Gbit", 1_000_000_000),
    ("Mbit", 1_000_000),
    ("kbit", 1000),
    ("bit", 1),
];

impl std::str::FromStr for BitRate {
    type Err = BitRateError;

    fn from_str(text: &str) -> Result<Self, BitRateError> {
        let wrong = || BitRateError(crate::diagnostic::one_line(text, 60));
        let (number, unit) = UNITS
            .iter()
            .find_map(|(word, unit)| Some((text.strip_suffix(word)?, *unit)))
            .ok_or_else(wrong)?;
        let digits = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit());
        let number: u64 = number.parse().ok().filter(|_| digits).ok_or_else(wrong)?;
        number.checked_mul(unit).map(Self).ok_or_else(wrong)
    }
}

impl std::fmt::Display for BitRate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whole = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (word, unit) = whole.copied().unwrap_or(("bit", 1));
        write!(f, "{}{word}", self.0 / unit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_told_with_all_that_makes_it() {
        let mut path = LongPath {
            rtt: "50ms".parse().unwrap(),
            loss: "0.1%".parse().unwrap(),
            rate: Some(BitRate(100_000_000)),
            queue: 250,
        };
        assert_eq!(
            path.to_string(),
            "50ms round trip, 0.1% loss, 100Mbit/s, a queue of 250 packets"
        );
        path.rate = None;
        assert_eq!(
            path.to_string(),
            "50ms round trip, 0.1% loss, a queue of 250 packets"
        );
    }

    #[test]
    fn rates_are_read_and_told() {
        for (text, bits, told) in [
            ("50Mbit", 50_000_000, "50Mbit"),
            ("1500kbit", 1_500_000, "1500kbit"),
            ("2000Mbit", 2_000_000_000, "2Gbit"),
            ("9bit", 9, "9bit"),
        ] {
            let rate: BitRate = text.parse().unwrap();
            assert_eq!((rate.0, rate.to_string().as_str()), (bits, told));
        }
        for bad in [
            "",
            "50",
            "Mbit",
            "-1Mbit",
            "+1Mbit",
            "1.5Mbit",
            "50MB",
            "50 Mbit",
            "99999999999999Gbit",
        ] {
            assert!(bad.parse::<BitRate>().is_err(), "{bad}");
        }
    }
}
