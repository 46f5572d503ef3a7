//! Latencies of several jobs or directions as one: counts added bin by bin, percentiles of what comes out.
//!
//! fio counts latencies in bins and writes, with `json+`, each bin that holds any: its middle in nanoseconds, and the
//! count. A bin spans 1/128 to 1/64 of its value (below 128 ns a nanosecond), so that the middle is off by 1/128 at the
//! most; 17 s and more are in the last ones. (`FIO_IO_U_PLAT_BITS` = 6 in fio's stat.h, `plat_idx_to_val` in stat.c.)

use super::ParseError;
use crate::workload::bounded;
use crate::workload::histogram::Histogram;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

/// Percentiles in ten-thousandths, as they end the names of metrics, and as fio writes their keys.
pub(super) const PERCENTILES: [(u32, &str, &str); 6] = [
    (5000, "p50", "50.000000"),
    (9000, "p90", "90.000000"),
    (9500, "p95", "95.000000"),
    (9900, "p99", "99.000000"),
    (9990, "p999", "99.900000"),
    (9999, "p9999", "99.990000"),
];

/// Latencies of one job in one direction, in nanoseconds.
#[derive(Deserialize)]
pub(super) struct Latency {
    max: Option<f64>,
    mean: f64,
    /// How many were counted; not in fio 3.16 and before.
    #[serde(rename = "N")]
    samples: Option<u64>,
    /// Absent when nothing was counted.
    #[serde(default, deserialize_with = "bounded::map::<100, _, _, _>")]
    percentile: BTreeMap<String, f64>,
    /// Counts by the middle of their bin; only with `json+`.
    #[serde(default, deserialize_with = "bins")]
    bins: Option<BTreeMap<u64, u64>>,
}

/// fio has 1856 (`FIO_IO_U_PLAT_NR`).
fn bins<'de, D: Deserializer<'de>>(from: D) -> Result<Option<BTreeMap<u64, u64>>, D::Error> {
    bounded::map::<4096, _, _, _>(from).map(Some)
}

/// Latencies of all jobs.
#[derive(Default)]
pub(super) struct Latencies {
    samples: u64,
    /// Sum of what was counted.
    sum: f64,
    max: f64,
    /// `None` once something came without bins.
    merged: Option<Histogram>,
    /// fio's own percentiles of the only part there is.
    only: BTreeMap<String, f64>,
    parts: usize,
}

impl Latencies {
    /// Adds one job in one direction, that did so many operations.
    pub(super) fn add(&mut self, latency: &Latency, operations: u64) -> Result<(), ParseError> {
        let samples = latency.samples.unwrap_or(operations);
        if samples == 0 {
            return Ok(());
        }
        self.parts += 1;
        self.samples = super::sum(self.samples, samples)?;
        self.sum += latency.mean * samples as f64;
        self.max = self.max.max(latency.max.unwrap_or(0.0));
        let before = if self.parts == 1 {
            Some(Histogram::default())
        } else {
            self.merged.take()
        };
        if let (Some(mut merged), Some(bins)) = (before, &latency.bins) {
            let too_large = || ParseError::Content("fio's bins hold more than can be counted".into());
            merged.add(bins).ok_or_else(too_large)?;
            self.merged = Some(merged);
        }
        self.only = if self.parts == 1 {
            latency.percentile.clone()
        } else {
            BTreeMap::new()
        };
        Ok(())
    }

    /// Pushes mean, percentiles and maximum in microseconds. The maximum is the largest there was, not a bin.
    pub(super) fn tell(&self, of: &str, found: &mut Vec<(String, f64)>) {
        if self.samples == 0 {
            return;
        }
        let mut push = |name: &str, nanos: f64| found.push((format!("{of}_{name}_us"), nanos / 1e3));
        push("mean", self.sum / self.samples as f64);
        if self.max > 0.0 {
            push("max", self.max);
        }
        for (ten_thousandths, name, key) in PERCENTILES {
            let merged = self
                .merged
                .as_ref()
                .and_then(|m| m.percentile(ten_thousandths, 0));
            // Without bins fio's own word is all there is, and of one job alone.
            let told = merged
                .map(|nanos| nanos as f64)
                .or_else(|| self.only.get(key).copied());
            if let Some(nanos) = told {
                push(name, nanos);
            }
        }
    }
}
