//! Histograms that a tool wrote, several of them as one: counts added bin by bin, percentiles of what comes out. A
//! percentile of all is no function of the percentiles of each.

use std::collections::BTreeMap;

/// Counts by what their bin stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Histogram {
    bins: BTreeMap<u64, u64>,
    total: u64,
}

impl Histogram {
    /// Adds these counts; `None` when there are more than can be counted.
    pub(super) fn add(&mut self, bins: &BTreeMap<u64, u64>) -> Option<()> {
        for (value, count) in bins {
            self.total = self.total.checked_add(*count)?;
            // No more than the total.
            *self.bins.entry(*value).or_default() += count;
        }
        Some(())
    }

    /// How many were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The first bin up to which at least so many ten-thousandths of all are counted, as fio has it
    /// (`calc_clat_percentiles`). So many of all are `beyond` the last bin; `None` of nothing, and where it is one of them.
    pub(super) fn percentile(&self, ten_thousandths: u32, beyond: u64) -> Option<u64> {
        let all = u128::from(self.total) + u128::from(beyond);
        let wanted = all * u128::from(ten_thousandths);
        let mut below: u128 = 0;
        let reached = self
            .bins
            .iter()
            .filter(|(_, count)| **count > 0)
            .find(|(_, count)| {
                below += u128::from(**count);
                below * 10_000 >= wanted
            });
        reached.map(|(value, _)| *value)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_last_bin_counts_and_has_no_value() {
        let mut found = Histogram::default();
        assert_eq!(found.percentile(5000, 0), None);
        assert_eq!(found.percentile(5000, 9), None);
        found.add(&BTreeMap::from([(5, 49), (7, 0)])).unwrap();
        found.add(&BTreeMap::from([(9, 50)])).unwrap();
        assert_eq!(found.total(), 99);
        assert_eq!(found.percentile(4949, 0), Some(5));
        assert_eq!(found.percentile(4950, 0), Some(9));
        assert_eq!(found.percentile(10_000, 0), Some(9));
        assert_eq!(found.percentile(9900, 1), Some(9));
        assert_eq!(found.percentile(9901, 1), None);
        assert_eq!(found.add(&BTreeMap::from([(1, u64::MAX)])), None);
    }
}
