//! stress-ng's YAML to numbers. Knows stress-ng 0.15; the text comes from the guest and is not trusted.

use super::ParseError;
use super::bounded;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Report {
    #[serde(deserialize_with = "bounded::list::<64, _, _>")]
    metrics: Vec<Stressor>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Stressor {
    #[serde(deserialize_with = "bounded::map::<256, _, _, _>")]
    figures: BTreeMap<String, String>,
}

/// The memory rates of the one stressor that ran, in MiB/s: `memory-read-rate-mb-per-sec` is `read`,
/// `read64-mb-per-sec` is `read64`. Bogo-ops are never a metric.
pub(super) fn parse(bytes: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
    let text = std::str::from_utf8(bytes).map_err(|e| ParseError::malformed("stress-ng's YAML", &e))?;
    // YAML cut short is still YAML, with a wrong last number.
    if !text.trim_end().ends_with("\n...") {
        return Err(ParseError::Content("stress-ng's YAML has no end".into()));
    }
    let report: Report =
        serde_saphyr::from_str(text).map_err(|e| ParseError::malformed("stress-ng's YAML", &e))?;
    let [stressor] = report.metrics.as_slice() else {
        return Err(ParseError::Content(format!(
            "stress-ng reported {} stressors, not one",
            report.metrics.len()
        )));
    };
    let rates: Vec<_> = stressor
        .figures
        .iter()
        .filter_map(|(key, text)| Some((key.strip_suffix("-mb-per-sec")?, text)))
        .collect();
    if rates.is_empty() {
        return Err(ParseError::Content(
            "stress-ng reported no memory rate; it needs at least 5 s".into(),
        ));
    }
    rates.into_iter().map(|(key, text)| rate(key, text)).collect()
}

fn rate(key: &str, text: &str) -> Result<(String, f64), ParseError> {
    let name = key.strip_prefix("memory-").unwrap_or(key);
    let name = name.strip_suffix("-rate").unwrap_or(name);
    let value = text
        .parse()
        .map_err(|e: std::num::ParseFloatError| ParseError::malformed("stress-ng's rate", &e))?;
    Ok((name.to_string(), value))
}
