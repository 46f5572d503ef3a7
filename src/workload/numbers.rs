//! A flat JSON object of names and numbers, for tools and scripts of the user's own; the text comes from the guest and
//! is not trusted.

use super::ParseError;
use crate::decode::is_name;
use crate::diagnostic::one_line;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use std::fmt;

/// More than any workload may declare; a longer list is not what it should be.
const MAX_NUMBERS: usize = 256;

/// Every number by its name, in the order of the text: `{"requests": 1200.5, "errors": 0}`.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let read = || {
        let mut text = serde_json::Deserializer::from_slice(bytes);
        let found = text.deserialize_map(Numbers)?;
        text.end()?;
        Ok(found)
    };
    read().map_err(|e: serde_json::Error| ParseError::malformed("the object of numbers", &e))
}

struct Numbers;

impl<'de> Visitor<'de> for Numbers {
    type Value = Vec<(String, f64)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object of names and numbers")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found: Vec<(String, f64)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, f64>()? {
            let shown = || one_line(&name, 40);
            if !is_name(&name) {
                return Err(M::Error::custom(format!("`{}` is no name of a number", shown())));
            }
            if found.iter().any(|(known, _)| *known == name) {
                return Err(M::Error::custom(format!("`{}` is there twice", shown())));
            }
            if found.len() == MAX_NUMBERS {
                return Err(M::Error::custom(format!("more than {MAX_NUMBERS} numbers")));
            }
            found.push((name, value));
        }
        Ok(found)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn only_a_flat_object_of_finite_numbers_is_read() {
        let found = parse(b" {\"iops\": 10234.5, \"io-errors\": 0}\n").unwrap();
        assert_eq!(found, [("iops".into(), 10234.5), ("io-errors".into(), 0.0)]);
        assert_eq!(parse(b"{}").unwrap(), []);
        for bad in [
            "",
            "5",
            "[1]",
            "{\"a\": 1",
            "{\"a\": 1} {\"b\": 2}",
            "{\"a\": 1} x",
            "{\"a\": \"1\"}",
            "{\"a\": null}",
            "{\"a\": NaN}",
            "{\"a\": 1e999}",
            "{\"a\": {\"b\": 1}}",
            "{\"a\": 1, \"a\": 2}",
            "{\"\": 1}",
            "{\"a b\": 1}",
            "{\"\\u001b[2J\": 1}",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_is_bounded_and_quotes_safely() {
        let many: Vec<_> = (0..=MAX_NUMBERS).map(|n| format!("\"n{n}\": 1")).collect();
        let error = parse(format!("{{{}}}", many.join(",")).as_bytes()).unwrap_err();
        assert!(error.to_string().contains("more than 256 numbers"), "{error}");
        let error = parse(b"{\"\\u001b[31m\": 1}").unwrap_err().to_string();
        assert!(!error.contains('\u{1b}'), "{error}");
    }
}
