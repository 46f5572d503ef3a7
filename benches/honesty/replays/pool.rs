//! Series of repeated measurements of unchanged machines, to replay. Knows their noise, not what is claimed of it.
//!
//! Data: vm-noise-data of the Azure Public Dataset (CC-BY-4.0), 228 series of four cloud VMs over 483 days.

use flate2::read::GzDecoder;
use kvmtune::analysis::Sample;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Which series.
#[derive(Clone, Copy)]
pub(crate) enum Half {
    /// Thresholds may be looked for on these.
    #[cfg_attr(test, allow(dead_code, reason = "tests judge"))]
    Tuning,
    /// Figures are printed for these and nothing is tuned on them.
    Judging,
}

/// Series to draw windows from.
#[derive(Clone)]
pub(crate) struct Pool {
    /// What the table calls it.
    pub(crate) name: String,
    half: &'static str,
    series: Vec<Vec<f64>>,
}

#[derive(serde::Deserialize)]
struct Entry {
    series: u32,
    test: String,
    vm: String,
}

/// Where the data are, beside the project.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/vm-noise")
}

impl Pool {
    /// One half of the tests. Two units of one test on one machine are the same measurement, and stay together.
    pub(crate) fn load(half: Half) -> Result<Self, String> {
        let folder = folder();
        let open = |name: &str| {
            let path = folder.join(name);
            File::open(&path).map_err(|e| {
                format!(
                    "no measured noise to replay: {}: {e}; put the vm-noise data there (index.csv, series.csv.gz)",
                    path.display()
                )
            })
        };
        let wanted = members(open("index.csv")?, half).map_err(|e| format!("index.csv: {e}"))?;
        let series = values(open("series.csv.gz")?, &wanted).map_err(|e| format!("series.csv.gz: {e}"))?;
        let name = match half {
            Half::Tuning => "tuning",
            Half::Judging => "judging",
        };
        Ok(Self {
            name: format!("{name} half, {} series", series.len()),
            half: name,
            series,
        })
    }

    /// The series whose coefficient of variation is in a range, in percent.
    pub(crate) fn with_cv(&self, from: f64, to: f64) -> Self {
        let cv = |values: &[f64]| {
            let sample = Sample::new(values.to_vec()).unwrap();
            100.0 * sample.standard_deviation() / sample.mean()
        };
        let is_in = |values: &&Vec<f64>| (from..to).contains(&cv(values));
        let series: Vec<_> = self.series.iter().filter(is_in).cloned().collect();
        Self {
            name: format!(
                "{} half, {} series of CV {from} to {to} %",
                self.half,
                series.len()
            ),
            half: self.half,
            series,
        }
    }

    /// So many successive values of one series.
    pub(crate) fn window(&self, rng: &mut ChaCha8Rng, values: usize) -> &[f64] {
        loop {
            let series = &self.series[rng.random_range(0..self.series.len())];
            if series.len() >= values {
                let first = rng.random_range(0..=series.len() - values);
                return &series[first..first + values];
            }
        }
    }
}

fn members(index: File, half: Half) -> Result<BTreeSet<u32>, csv::Error> {
    let entries: Vec<Entry> = csv::Reader::from_reader(index)
        .deserialize()
        .collect::<Result<_, _>>()?;
    let tests: BTreeSet<_> = entries.iter().map(|e| (e.test.clone(), e.vm.clone())).collect();
    let parity = match half {
        Half::Tuning => 0,
        Half::Judging => 1,
    };
    let chosen: BTreeSet<_> = tests.into_iter().skip(parity).step_by(2).collect();
    let is_chosen = |e: &&Entry| chosen.contains(&(e.test.clone(), e.vm.clone()));
    Ok(entries.iter().filter(is_chosen).map(|e| e.series).collect())
}

/// In the order of the file, which is that of time. What is not above zero has no ratio and is left out.
fn values(gz: File, wanted: &BTreeSet<u32>) -> Result<Vec<Vec<f64>>, csv::Error> {
    let mut all: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for row in csv::Reader::from_reader(GzDecoder::new(gz)).deserialize() {
        let (series, _, value): (u32, u32, f64) = row?;
        if wanted.contains(&series) && value > 0.0 && value.is_finite() {
            all.entry(series).or_default().push(value);
        }
    }
    Ok(all.into_values().collect())
}
