//! The median of a list of numbers, and how well the numbers place it. Does not know what they measure.

use serde::Serialize;
use statrs::distribution::{Binomial, DiscreteCDF};

use super::sample::median_of_sorted;
use super::{Interval, Level};

/// A median with its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Centre {
    /// The middle value, or the mean of the two middle ones.
    pub median: f64,
    /// Between two order statistics; `None` where there are too few values for the level: below six at 95 %.
    pub interval: Option<Interval>,
}

impl Centre {
    /// Of finite values; `None` of no values.
    ///
    /// The interval assumes no distribution, only values that are independent; a drift of the machine widens it.
    /// Source: David & Nagaraja, *Order Statistics*, section 7.1; benchstat of golang.org/x/perf does the same.
    pub fn of(mut values: Vec<f64>, level: Level) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let outside = outside(values.len(), level);
        Some(Self {
            median: median_of_sorted(&values)?,
            interval: outside.map(|(outside, attained)| Interval {
                low: values[outside],
                high: values[values.len() - 1 - outside],
                level: attained,
            }),
        })
    }

    /// The distance to the farther end of the interval, in percent of the median. `None` without an interval, and of a
    /// median of zero.
    pub fn spread_percent(&self) -> Option<f64> {
        let interval = self.interval?;
        let farther = (interval.high - self.median).max(self.median - interval.low);
        (self.median != 0.0).then(|| 100.0 * farther / self.median.abs())
    }
}

/// How many of the sorted values may lie outside at each end, and the coverage then: the largest k with
/// 2 P(X ≤ k) ≤ α, X binomial of `count` and one half.
fn outside(count: usize, level: Level) -> Option<(usize, f64)> {
    let below = Binomial::new(0.5, count as u64).ok()?;
    let missed = |k: usize| 2.0 * below.cdf(k as u64);
    let is_small = |k| missed(k) <= level.alpha();
    if !is_small(0) {
        return None;
    }
    let (mut small, mut large) = (0, count / 2);
    while large - small > 1 {
        let middle = small.midpoint(large);
        if is_small(middle) {
            small = middle;
        } else {
            large = middle;
        }
    }
    Some((small, 1.0 - missed(small)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn centre(count: u32) -> Centre {
        let values = (1..=count).rev().map(f64::from).collect();
        Centre::of(values, Level::P95).unwrap()
    }

    /// Against tables: n = 6 takes both extremes (coverage 96.9 %), n = 10 the 2nd and 9th (97.9 %), n = 20 the 6th and
    /// 15th (95.9 %), n = 100 the 40th and 61st (96.5 %). Source: Conover, *Practical Nonparametric Statistics*, table A3.
    #[test]
    fn the_interval_lies_between_the_order_statistics_of_the_tables() {
        assert_eq!(centre(5).interval, None);
        for (count, low, high) in [(6, 1.0, 6.0), (10, 2.0, 9.0), (20, 6.0, 15.0), (100, 40.0, 61.0)] {
            let interval = centre(count).interval.unwrap();
            assert_eq!((interval.low, interval.high), (low, high), "{count}");
        }
        assert!(centre(100_000).interval.is_some());
    }

    #[test]
    fn the_spread_is_that_of_the_farther_end() {
        let values = vec![90.0, 99.0, 100.0, 100.0, 101.0, 105.0];
        let centre = Centre::of(values, Level::P95).unwrap();
        assert!((centre.median - 100.0).abs() < 1e-12);
        assert!((centre.spread_percent().unwrap() - 10.0).abs() < 1e-12);
        assert_eq!(
            Centre::of(vec![0.0; 9], Level::P95).unwrap().spread_percent(),
            None
        );
        assert_eq!(Centre::of(Vec::new(), Level::P95), None);
    }
}
