//! Several responses made one by weights, and bounds that a treatment itself must keep. Knows metrics by name; what a
//! trial measured of them is given.

use super::{DERIVED, Derived, Formula, Goal, MetricId, Response};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Name of the derived metric that weighted responses become.
pub const WEIGHTED: &str = "weighted";

/// How much a response counts against others, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(u32);

impl Weight {
    /// The least and the most there is.
    const RANGE: std::ops::RangeInclusive<f64> = 0.001..=1000.0;

    /// From a number; `None` outside 0.001 to 1000.
    pub fn new(number: f64) -> Option<Self> {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "at most a million"
        )]
        let thousandths = (number * 1000.0).round() as u32;
        Self::RANGE.contains(&number).then_some(Self(thousandths))
    }

    /// As a number.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

impl FromStr for Weight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.parse().ok().and_then(Self::new);
        number.ok_or_else(|| "a weight is a number from 0.001 to 1000".into())
    }
}

/// A response with its weight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// Which metric of which workload.
    pub metric: MetricId,
    /// Its direction.
    pub goal: Goal,
    /// How much it counts.
    pub weight: Weight,
}

/// The weighted geometric mean, those that are to be small by their inverse: `exp(Σ ±w ln x / Σ w)`. The log-ratio of two
/// trials in it is the weighted mean of their signed log-ratios. `None` where a metric is missing or not above zero.
pub(super) fn mean(all: &[Weighed], of: impl Fn(&MetricId) -> Option<f64>) -> Option<f64> {
    let mut sum = 0.0;
    for one in all {
        let value = of(&one.metric).filter(|value| *value > 0.0)?;
        let signed = match one.goal {
            Goal::Maximize => value.ln(),
            Goal::Minimize => -value.ln(),
        };
        sum += one.weight.get() * signed;
    }
    let total: f64 = all.iter().map(|one| one.weight.get()).sum();
    Some((sum / total).exp())
}

/// Puts one weighted response in the place of several.
pub(super) fn weigh(derived: &mut Vec<Derived>, responses: &mut Vec<Response>, weighed: Vec<Weighed>) {
    derived.retain(|d| d.name != WEIGHTED);
    derived.push(Derived {
        name: WEIGHTED.into(),
        unit: String::new(),
        goal: Goal::Maximize,
        formula: Formula::Weighted(weighed),
    });
    *responses = vec![Response {
        metric: MetricId {
            workload: DERIVED.into(),
            metric: WEIGHTED.into(),
        },
        goal: Goal::Maximize,
    }];
}

/// The responses that the first of `responses` weighs, when it does.
pub(super) fn weighed<'d>(derived: &'d [Derived], responses: &[Response]) -> Option<&'d [Weighed]> {
    let first = &responses.first()?.metric;
    let found = derived
        .iter()
        .find(|d| first.workload == DERIVED && d.name == first.metric)?;
    match &found.formula {
        Formula::Weighted(weighed) => Some(weighed),
        _ => None,
    }
}

/// What a treatment's own values must keep to, whatever the baseline has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// Which metric of which workload.
    pub metric: MetricId,
    /// `Minimize` for one that must be at most the limit, `Maximize` for at least.
    pub side: Goal,
    /// The limit, above zero, in the metric's unit.
    pub limit: f64,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn weighed(metric: &str, goal: Goal, weight: f64) -> Weighed {
        Weighed {
            metric: MetricId {
                workload: "w".into(),
                metric: metric.into(),
            },
            goal,
            weight: Weight::new(weight).unwrap(),
        }
    }

    #[test]
    fn the_log_ratio_is_the_weighted_mean_of_the_signed_ones() {
        let all = [
            weighed("iops", Goal::Maximize, 2.0),
            weighed("p99", Goal::Minimize, 1.0),
        ];
        let of = |iops: f64, p99: f64| {
            mean(&all, |id| Some(if id.metric == "iops" { iops } else { p99 })).unwrap()
        };
        let ratio = (of(110.0, 4.0) / of(100.0, 5.0)).ln();
        let wanted = (2.0 * 1.1_f64.ln() - 0.8_f64.ln()) / 3.0;
        assert!((ratio - wanted).abs() < 1e-12, "{ratio} {wanted}");
        assert_eq!(mean(&all, |id| (id.metric == "iops").then_some(1.0)), None);
        assert_eq!(mean(&all, |_| Some(0.0)), None);
    }

    #[test]
    fn weights_are_numbers_in_a_range() {
        assert_eq!("0.5".parse::<Weight>().unwrap().to_string(), "0.5");
        for wrong in ["0", "-1", "1001", "nan", "two", "inf"] {
            assert!(wrong.parse::<Weight>().is_err(), "{wrong}");
        }
    }
}
