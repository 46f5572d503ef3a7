//! Numbers cut out of any output: by JSON pointer, by column of CSV, by regular expression. The output comes from the
//! guest and is not trusted: memory is bounded by its size, time by its size times that of the pattern.
//!
//! Does not know where the extracts were written down.

use super::ParseError;
use crate::diagnostic::one_line;
use regex::{Regex, RegexBuilder};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Compiled size of a pattern in bytes: what a line costs at the most grows with it.
const PATTERN_SIZE: usize = 1 << 17;
/// Each of them reads the whole output anew.
pub(super) const MAX_EXTRACTS: usize = 16;
/// A line of CSV that is longer is none.
const MAX_LINE: usize = 1 << 16;

/// A number of a tool's output, and how it is found there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Extract {
    /// What it is called.
    pub name: String,
    /// Where it stands.
    pub spot: Spot,
    /// What it is multiplied by, finite and above 0.
    pub scale: f64,
    /// What it is where the output does not hold it; without it the output is refused.
    pub absent: Option<f64>,
}

/// Where in an output a number stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spot {
    /// JSON pointer (RFC 6901) into an output that is one JSON text.
    Pointer(String),
    /// Column of CSV by its header in the first line; the last line counts.
    Column(String),
    /// Regular expression with one group, looked for line by line; of the lines that are ended the last that matches
    /// counts, in it the first match.
    Match(String),
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pointer(pointer) => write!(f, "nothing at {pointer}"),
            Self::Column(column) => write!(f, "no column {column}"),
            Self::Match(pattern) => write!(f, "no line that is ended matches {pattern}"),
        }
    }
}

/// The wanted numbers in their order, scaled.
pub(super) fn read(wanted: &[Extract], output: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let one = |extract: &Extract| {
        let found = match &extract.spot {
            Spot::Pointer(pointer) => at_pointer(pointer, output),
            Spot::Column(column) => in_column(column, output),
            Spot::Match(pattern) => matched(pattern, output),
        };
        let value = match (found?, extract.absent) {
            (Some(value), _) => value * extract.scale,
            (None, Some(absent)) => absent,
            (None, None) => {
                let why = one_line(&extract.spot.to_string(), 160);
                let message = format!("the output has no `{}`: {why}", extract.name);
                return Err(ParseError::Content(message));
            }
        };
        Ok((extract.name.clone(), value))
    };
    wanted.iter().map(one).collect()
}

/// A number, or a time such as `2.40ms` in microseconds.
fn quantity(text: &str) -> Result<f64, ParseError> {
    const TIMES: [(&str, f64); 7] = [
        ("ns", 1e-3),
        ("us", 1.0),
        ("µs", 1.0),
        ("ms", 1e3),
        ("s", 1e6),
        ("m", 6e7),
        ("h", 3.6e9),
    ];
    let text = text.trim();
    let time = TIMES
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)));
    let (digits, factor) = time.unwrap_or((text, 1.0));
    let value = digits.trim_end().parse::<f64>().ok();
    value.map(|value| value * factor).ok_or_else(|| {
        let shown = one_line(text, 40);
        ParseError::Content(format!("`{shown}` is neither a number nor a time"))
    })
}

/// The pattern, ready to be searched for; the error is what is wrong with it.
pub(super) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build()
}

/// Line by line, because a search is linear and the search for all matches of a text is not.
fn matched(pattern: &str, output: &[u8]) -> Result<Option<f64>, ParseError> {
    let text = text(output)?;
    let pattern = compile(pattern).map_err(|e| ParseError::malformed("the pattern", &e))?;
    // A last line that is cut short may have another number in it.
    let ended = text.rfind('\n').map_or("", |end| &text[..end]);
    let found = ended.lines().rev().find_map(|line| pattern.captures(line));
    let group = found.as_ref().and_then(|captures| captures.get(1));
    group.map(|group| quantity(group.as_str())).transpose()
}

fn text(output: &[u8]) -> Result<&str, ParseError> {
    std::str::from_utf8(output).map_err(|e| ParseError::malformed("the output as text", &e))
}

fn in_column(column: &str, output: &[u8]) -> Result<Option<f64>, ParseError> {
    let text = text(output)?;
    // As above.
    let whole = text.ends_with('\n');
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let (Some(header), Some(last), true) = (lines.next(), lines.next_back(), whole) else {
        return Err(ParseError::Content(
            "the output is no CSV: a header, a line of numbers, each ended".into(),
        ));
    };
    let (header, last) = (cells(header)?, cells(last)?);
    if header.len() != last.len() {
        return Err(ParseError::Content(format!(
            "the CSV has {} columns in its header and {} in its last line",
            header.len(),
            last.len()
        )));
    }
    let mut places = header.iter().zip(&last).filter(|(name, _)| *name == column);
    match (places.next(), places.next()) {
        (None, _) => Ok(None),
        (Some((_, cell)), None) => quantity(cell).map(Some),
        (Some(_), Some(_)) => {
            let message = format!("the CSV has the column `{}` twice", one_line(column, 40));
            Err(ParseError::Content(message))
        }
    }
}

/// The cells of one line; none may hold a line break.
fn cells(line: &str) -> Result<csv::StringRecord, ParseError> {
    if line.len() > MAX_LINE {
        let message = format!("a line of the CSV has more than {MAX_LINE} bytes");
        return Err(ParseError::Content(message));
    }
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .trim(csv::Trim::All)
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    let read = reader.read_record(&mut record);
    read.map_err(|e| ParseError::malformed("the CSV", &e))?;
    Ok(record)
}

/// The unescaped tokens of a pointer, outermost first; `None` when it is none.
pub(super) fn tokens(pointer: &str) -> Option<Vec<String>> {
    let unescape = |token: &str| {
        let rest = token.replace("~0", "").replace("~1", "");
        (!rest.contains('~')).then(|| token.replace("~1", "/").replace("~0", "~"))
    };
    pointer.strip_prefix('/')?.split('/').map(unescape).collect()
}

fn at_pointer(pointer: &str, output: &[u8]) -> Result<Option<f64>, ParseError> {
    let tokens = tokens(pointer).unwrap_or_default();
    let read = || {
        let mut json = serde_json::Deserializer::from_slice(output);
        let found = Step(&tokens).deserialize(&mut json)?;
        json.end()?;
        Ok(found)
    };
    read().map_err(|e: serde_json::Error| ParseError::malformed("the output as JSON", &e))
}

/// What is left of a pointer below a value. The text is walked, not built: a JSON tree takes many times its size.
#[derive(Clone, Copy)]
struct Step<'t>(&'t [String]);

impl<'de> DeserializeSeed<'de> for Step<'_> {
    type Value = Option<f64>;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            f64::deserialize(value).map(Some)
        } else {
            value.deserialize_any(self)
        }
    }
}

impl<'de> Visitor<'de> for Step<'_> {
    type Value = Option<f64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let (mut found, mut seen) = (None, false);
        while let Some(key) = map.next_key::<String>()? {
            if self.0.first() != Some(&key) {
                map.next_value::<IgnoredAny>()?;
            } else if seen {
                let message = format!("`{}` is there twice", one_line(&key, 40));
                return Err(M::Error::custom(message));
            } else {
                found = map.next_value_seed(Step(&self.0[1..]))?;
                seen = true;
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let wanted = self.0.first().and_then(|token| index(token));
        let mut found = None;
        for at in 0u64.. {
            let more = if wanted == Some(at) {
                let value = seq.next_element_seed(Step(&self.0[1..]))?;
                found = value.flatten();
                value.is_some()
            } else {
                seq.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                break;
            }
        }
        Ok(found)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// The index a token means in an array: digits without leading zeros.
fn index(token: &str) -> Option<u64> {
    let plain = token == "0" || !token.starts_with(['0', '+']);
    token.parse().ok().filter(|_| plain)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
