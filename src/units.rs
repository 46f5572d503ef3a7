//! Quantities as a user writes them: `4KiB`, `30m`, `5%`.
//!
//! Knows nothing of experiments or tunables.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A text that is not the quantity it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct UnitError {
    text: String,
    expected: &'static str,
}

impl UnitError {
    fn new(text: &str, expected: &'static str) -> Self {
        // An absurdly long or hostile input must not become such a message.
        Self {
            text: text.chars().take(60).flat_map(char::escape_debug).collect(),
            expected,
        }
    }
}

/// A size in bytes. `K`, `M`, `G`, `T` and `KiB` … are powers of 1024 (as in QEMU and fio); `KB`, `MB` … are
/// powers of 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Bytes(pub u64);

impl Bytes {
    const EXPECTED: &'static str = "a size such as `4KiB`, `512MiB` or `1GiB`";

    /// `n` mebibytes.
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }
}

impl FromStr for Bytes {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::new(text, Self::EXPECTED);
        let (number, unit) = split_number(text).ok_or_else(bad)?;
        let factor: f64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1.0,
            "k" | "kib" => 1024.0,
            "m" | "mib" => 1_048_576.0,
            "g" | "gib" => 1_073_741_824.0,
            "t" | "tib" => 1_099_511_627_776.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "tb" => 1e12,
            _ => return Err(bad()),
        };
        if let Ok(whole) = number.parse::<u64>()
            && unit.is_empty()
        {
            return Ok(Self(whole));
        }
        let bytes = number.parse::<f64>().map_err(|_| bad())? * factor;
        if bytes.fract() != 0.0 || bytes > 9e15 {
            return Err(bad());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole and in range"
        )]
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{}", self.0)
    }
}

/// A length of time: `250ms`, `5s`, `30m`, `2h`, or a chain such as `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Span(pub Duration);

impl Span {
    const EXPECTED: &'static str = "a time such as `5s`, `30m` or `1h30m`";

    /// `n` seconds.
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    /// Whole seconds, rounded up: what tools such as fio take.
    pub fn as_secs_ceil(self) -> u64 {
        self.0.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::new(text, Self::EXPECTED);
        let mut rest = text.trim();
        let mut millis: f64 = 0.0;
        if rest.is_empty() || rest.len() > 40 {
            return Err(bad());
        }
        while !rest.is_empty() {
            let (number, tail) = split_number(rest).ok_or_else(bad)?;
            let unit_len = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_len);
            let scale = match unit.trim() {
                "ms" => 1.0,
                "s" => 1e3,
                "m" | "min" => 6e4,
                "h" => 3.6e6,
                "d" => 8.64e7,
                _ => return Err(bad()),
            };
            millis += number.parse::<f64>().map_err(|_| bad())? * scale;
            rest = next;
        }
        if millis > 3.2e10 {
            return Err(bad());
        }
        Ok(Self(Duration::from_secs_f64(millis / 1e3)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if !millis.is_multiple_of(1000) && millis < 10_000 {
            return write!(f, "{millis}ms");
        }
        let secs = (millis + 500) / 1000;
        let (h, m, s) = (secs / 3600, secs / 60 % 60, secs % 60);
        match (h, m, s) {
            (0, 0, s) => write!(f, "{s}s"),
            (0, m, 0) => write!(f, "{m}m"),
            (0, m, s) => write!(f, "{m}m{s}s"),
            (h, 0, 0) => write!(f, "{h}h"),
            (h, m, _) => write!(f, "{h}h{m}m"),
        }
    }
}

/// A share in percent, `5%`; at least 0 and below 100 where it is a margin.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Percent(pub f64);

impl Percent {
    const EXPECTED: &'static str = "a share such as `5%` or `0.5%`";

    /// The share as a fraction: `5%` is 0.05.
    pub fn fraction(self) -> f64 {
        self.0 / 100.0
    }
}

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let bad = || UnitError::new(text, Self::EXPECTED);
        let number = text.trim().strip_suffix('%').ok_or_else(bad)?.trim_end();
        let value: f64 = number.parse().map_err(|_| bad())?;
        if !(0.0..100.0).contains(&value) {
            return Err(bad());
        }
        Ok(Self(value))
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

/// The leading unsigned decimal number and what follows it.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    (!number.is_empty() && text.len() <= 40).then_some((number, rest.trim_start()))
}

macro_rules! string_serde {
    ($($name:ident),*) => {$(
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
        impl TryFrom<String> for $name {
            type Error = UnitError;
            fn try_from(text: String) -> Result<Self, UnitError> {
                text.parse()
            }
        }
    )*};
}
string_serde!(Bytes, Span, Percent);

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn bytes_read_as_written() {
        for (text, bytes) in [
            ("4KiB", 4096),
            ("16M", 16 << 20),
            ("1 GiB", 1 << 30),
            ("1MB", 1_000_000),
            ("0", 0),
            ("1.5GiB", 3 << 29),
        ] {
            assert_eq!(text.parse::<Bytes>().unwrap(), Bytes(bytes), "{text}");
        }
        for text in ["", "x", "4 furlongs", "-1", "1.3", "99999999999999T", "1e9"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
        assert_eq!(Bytes(1 << 30).to_string(), "1GiB");
        assert_eq!(Bytes(1000).to_string(), "1000");
    }

    #[test]
    fn spans_read_as_written() {
        for (text, millis) in [
            ("5s", 5000),
            ("250ms", 250),
            ("1h30m", 5_400_000),
            ("1.5m", 90_000),
        ] {
            assert_eq!(text.parse::<Span>().unwrap().0.as_millis(), millis, "{text}");
        }
        for text in ["", "5", "s", "5 parsecs", "-1s", "99999d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert_eq!(Span::secs(90).to_string(), "1m30s");
    }

    #[test]
    fn percents_read_as_written() {
        assert_eq!("5%".parse::<Percent>().unwrap(), Percent(5.0));
        for text in ["5", "%", "-1%", "NaN%", "100%", "inf%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
    }
}
