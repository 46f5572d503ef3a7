//! A checked list of numbers, and which of them count as equal. Does not know what they measure.

use super::AnalysisError;

/// Values closer than this part of the largest magnitude are ties: a log-ratio of equal counts can differ in the
/// last bits depending on the order of the logarithms, a measured difference cannot be this small.
const TIE_SHARE: f64 = 1e-9;

/// At least two finite values, one a block, in the order given.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Checks the values; fails on fewer than two or on any that is not finite.
    pub fn new(values: Vec<f64>) -> Result<Self, AnalysisError> {
        if values.len() < 2 {
            return Err(AnalysisError::TooFewValues { values: values.len() });
        }
        if let Some(position) = values.iter().position(|value| !value.is_finite()) {
            return Err(AnalysisError::NotFinite {
                position,
                value: values[position],
            });
        }
        Ok(Self(values))
    }

    /// The values, in the order given.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// How many values there are: at least two.
    #[allow(clippy::len_without_is_empty, reason = "a sample is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / self.0.len() as f64
    }

    /// The standard deviation with n − 1 in the denominator.
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.0.iter().map(|value| (value - mean).powi(2)).sum();
        (squares / (self.0.len() - 1) as f64).sqrt()
    }

    /// How many values are zero.
    pub fn zeros(&self) -> usize {
        let tolerance = self.tolerance();
        self.0.iter().filter(|value| value.abs() <= tolerance).count()
    }

    /// The distance below which two values count as equal.
    pub(super) fn tolerance(&self) -> f64 {
        TIE_SHARE
            * self
                .0
                .iter()
                .fold(0.0_f64, |largest, value| largest.max(value.abs()))
    }

    /// Whether any value is zero or shares its magnitude with another, a sign of a metric in steps.
    pub(super) fn is_tied(&self) -> bool {
        let tolerance = self.tolerance();
        let mut sizes: Vec<f64> = self.0.iter().map(|value| value.abs()).collect();
        sizes.sort_by(f64::total_cmp);
        sizes[0] <= tolerance || sizes.windows(2).any(|pair| pair[1] - pair[0] <= tolerance)
    }
}

/// The middle value, or the mean of the two middle ones; `None` of no values.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    median_of_sorted(&values)
}

/// The same of values in ascending order.
pub(super) fn median_of_sorted(values: &[f64]) -> Option<f64> {
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(values[middle - 1], upper)
    })
}
