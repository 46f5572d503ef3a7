//! The samples of a trial, one a second: whether there are any, which metric they are of, and that they are what they
//! should be. Does not know how they are judged.

use super::argv::{Hole, uses};
use super::{ParseError, Parser, SteadyRule, Workload, fio, iperf3};
use crate::host::{JobOutput, SERIES_FILE};

/// More than the longest trial has, run again with twice its time.
pub(super) const MAX_SAMPLES: usize = 200_000;
/// How far the mean length of a window may be from a second: single ones are longer on a busy guest.
const JITTER: f64 = 0.1;

/// A tool's throughput over a window of time that begins where the one before ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    /// Seconds since the measurement began.
    pub(super) end: f64,
    /// What it did in a second.
    pub(super) rate: f64,
}

impl Parser {
    /// The metric that the samples are of.
    pub fn sampled_metric(self) -> Option<&'static str> {
        match self {
            Self::Fio => Some("iops"),
            Self::Iperf3 => Some("bits_per_second"),
            Self::StressNg | Self::Numbers | Self::Cyclictest | Self::Exec => None,
        }
    }

    /// Whether a command with these arguments leaves samples.
    pub(super) fn gives_samples(self, argv: &[String]) -> bool {
        match self {
            Self::Fio => uses(argv, Hole::Series),
            Self::Iperf3 => true,
            Self::StressNg | Self::Numbers | Self::Cyclictest | Self::Exec => false,
        }
    }
}

impl Workload {
    /// The samples in a finished job's output, in the unit of [`Parser::sampled_metric`], finite and not negative;
    /// `None` when they are not asked for.
    pub fn samples(&self, out: &JobOutput) -> Result<Option<Vec<f64>>, ParseError> {
        if self.steady == SteadyRule::Off {
            return Ok(None);
        }
        let windows = match self.parser {
            Parser::Fio => fio::windows(series(out)?)?,
            Parser::Iperf3 => iperf3::windows(self.output(out).unwrap_or_default())?,
            Parser::StressNg | Parser::Numbers | Parser::Cyclictest | Parser::Exec => return Ok(None),
        };
        seconds(&windows).map(Some)
    }

    /// Whether a trial gives `samples` of them when all goes well. fio may cut off the last second.
    pub fn is_long_enough_for(&self, samples: usize) -> bool {
        self.time.as_secs_ceil() > samples as u64
    }

    /// Where the tool writes its samples when that is a file of their own; judged or not, they are kept.
    pub(super) fn series_file(&self) -> Option<String> {
        let own = self.parser == Parser::Fio && self.parser.gives_samples(&self.argv);
        // fio's name of a log of all jobs together.
        own.then(|| format!("{SERIES_FILE}_iops.log"))
    }
}

fn series(out: &JobOutput) -> Result<&[u8], ParseError> {
    match &out.series {
        Some(Ok(bytes)) => Ok(bytes),
        Some(Err(why)) => Err(ParseError::malformed("the series", why)),
        None => Err(ParseError::Content("the series was not taken".into())),
    }
}

/// The rates of windows that are a second long.
fn seconds(windows: &[Window]) -> Result<Vec<f64>, ParseError> {
    let wrong = |what: String| Err(ParseError::Content(format!("the series {what}")));
    let Some(last) = windows.last() else {
        return wrong("is empty".into());
    };
    if windows.len() > MAX_SAMPLES {
        return wrong(format!("has more than {MAX_SAMPLES} samples"));
    }
    let good = |rate: f64| rate.is_finite() && rate >= 0.0;
    if let Some(bad) = windows.iter().find(|w| !good(w.rate)) {
        return wrong(format!("holds {}, which no measurement gives", bad.rate));
    }
    let starts = std::iter::once(0.0).chain(windows.iter().map(|w| w.end));
    // Also false for what is no number.
    if !starts.zip(windows).all(|(start, window)| window.end > start) {
        return wrong("goes back in time".into());
    }
    let apart = last.end / windows.len() as f64;
    if (apart - 1.0).abs() > JITTER {
        return wrong(format!("has a sample in {apart:.1} s, not in one"));
    }
    Ok(windows.iter().map(|w| w.rate).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
