//! A figure with its exact bounds, beside its target. Does not know how it was counted.

use kvmtune::analysis::{Level, clopper_pearson};
use std::fmt;

/// How sure a test must be that a target is missed: it has some forty figures to be unlucky with.
const REFUTED: f64 = 0.999;

/// A number and between which bounds it lies with 95 % confidence.
#[derive(Clone, Copy)]
pub(crate) struct Bounded {
    value: f64,
    low: f64,
    high: f64,
    /// Between which it lies with near certainty.
    surely: (f64, f64),
    unit: Unit,
}

#[derive(Clone, Copy)]
enum Unit {
    Percent,
    Share,
    Runs,
}

impl Bounded {
    /// A share of replays, after Clopper and Pearson.
    pub(crate) fn share(hits: impl IntoIterator<Item = bool>) -> Self {
        let (mut count, mut all) = (0_u32, 0_u32);
        for hit in hits {
            count += u32::from(hit);
            all += 1;
        }
        let (low, high) = bounds(count, all, Level::P95.get());
        Self {
            value: f64::from(count) / f64::from(all.max(1)),
            low,
            high,
            surely: bounds(count, all, REFUTED),
            unit: Unit::Share,
        }
    }

    /// The value that this share of the values is not above, in percent; its bounds are the values at the
    /// Clopper–Pearson bounds of the share.
    pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> Self {
        values.sort_by(f64::total_cmp);
        let all = u32::try_from(values.len()).unwrap();
        let below = place(share, values.len()).try_into().unwrap();
        let (low, high) = bounds(below, all, Level::P95.get());
        let surely = bounds(below, all, REFUTED);
        let at = |share| {
            values
                .get(place(share, values.len()))
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            value: at(share),
            low: at(low),
            high: at(high),
            surely: (at(surely.0), at(surely.1)),
            unit: Unit::Percent,
        }
    }

    /// The mean number of runs, with its normal bounds.
    pub(crate) fn mean_runs(values: &[u32]) -> Self {
        let count = values.len() as f64;
        let mean = values.iter().copied().map(f64::from).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum();
        let error = (squares / (count - 1.0).max(1.0) / count).sqrt();
        Self {
            value: mean,
            low: mean - 1.96 * error,
            high: mean + 1.96 * error,
            surely: (mean - 3.29 * error, mean + 3.29 * error),
            unit: Unit::Runs,
        }
    }
}

fn bounds(count: u32, all: u32, level: f64) -> (f64, f64) {
    clopper_pearson(count, all, Level::new(level).unwrap()).map_or((0.0, 1.0), |b| (b.low, b.high))
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place among the values"
)]
fn place(share: f64, count: usize) -> usize {
    ((share * count as f64) as usize).min(count.saturating_sub(1))
}

impl fmt::Display for Bounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { value, low, high, .. } = self;
        match self.unit {
            Unit::Share => write!(
                f,
                "{:.2} % [{:.2}, {:.2}]",
                100.0 * value,
                100.0 * low,
                100.0 * high
            ),
            Unit::Percent => write!(f, "{value:+.2} % [{low:+.2}, {high:+.2}]"),
            Unit::Runs => write!(f, "{value:.1} runs [{low:.1}, {high:.1}]"),
        }
    }
}

/// What a figure must be.
#[derive(Clone, Copy)]
pub(crate) enum Target {
    /// At most this, and its upper bound at most that.
    AtMost(f64, f64),
    /// At least this.
    AtLeast(f64),
    /// From this to that.
    Within(f64, f64),
    /// Shown for comparison.
    None,
}

impl Target {
    /// At most this, be the bounds what they are.
    pub(crate) fn at_most(value: f64) -> Self {
        Self::AtMost(value, f64::INFINITY)
    }

    fn is_met(self, figure: Bounded) -> bool {
        match self {
            Self::AtMost(most, upper) => figure.value <= most && figure.high <= upper,
            Self::AtLeast(least) => figure.value >= least,
            Self::Within(low, high) => (low..=high).contains(&figure.value),
            Self::None => true,
        }
    }

    /// Whether it is near certain that the target is missed.
    fn is_refuted(self, figure: Bounded) -> bool {
        let (low, high) = figure.surely;
        match self {
            Self::AtMost(most, _) => low > most,
            Self::AtLeast(least) => high < least,
            Self::Within(from, to) => high < from || low > to,
            Self::None => false,
        }
    }

    fn words(self, unit: Unit) -> String {
        let show = |value: f64| match unit {
            Unit::Share => format!("{} %", (1000.0 * value).round() / 10.0),
            Unit::Percent => format!("{value} %"),
            Unit::Runs => format!("{value} runs"),
        };
        match self {
            Self::AtMost(most, upper) if upper.is_finite() => {
                format!("≤ {}, bound ≤ {}", show(most), show(upper))
            }
            Self::AtMost(most, _) => format!("≤ {}", show(most)),
            Self::AtLeast(least) => format!("≥ {}", show(least)),
            Self::Within(low, high) => format!("{} to {}", show(low), show(high)),
            Self::None => "–".into(),
        }
    }
}

/// One line of the table.
pub(crate) struct Figure {
    name: String,
    on: String,
    ours: Bounded,
    target: Target,
    known_miss: Option<&'static str>,
    others: Vec<(&'static str, Bounded)>,
}

impl Figure {
    /// Ours on these data.
    pub(crate) fn new(name: impl Into<String>, on: &str, ours: Bounded, target: Target) -> Self {
        Self {
            name: name.into(),
            on: on.into(),
            ours,
            target,
            known_miss: None,
            others: Vec::new(),
        }
    }

    /// What another method gives on the same data.
    #[must_use]
    pub(crate) fn beside(mut self, method: &'static str, figure: Bounded) -> Self {
        self.others.push((method, figure));
        self
    }

    /// Says why it misses its target, which is then no failure unless it is missed near certainly.
    #[must_use]
    pub(crate) fn known_to_miss(mut self, why: Option<&'static str>) -> Self {
        self.known_miss = why;
        self
    }

    /// Whether it misses its target and nobody knew.
    #[cfg_attr(test, allow(dead_code, reason = "tests ask for more certainty"))]
    pub(crate) fn is_failure(&self) -> bool {
        self.is_met() == Some(false) && (self.known_miss.is_none() || self.is_refuted())
    }

    /// Whether it is as it must be; `None` if nothing is asked of it.
    pub(crate) fn is_met(&self) -> Option<bool> {
        (!matches!(self.target, Target::None)).then(|| self.target.is_met(self.ours))
    }

    /// Whether it is near certain that it is not as it must be.
    pub(crate) fn is_refuted(&self) -> bool {
        self.target.is_refuted(self.ours)
    }

    /// Whether some other method is near certain to miss the target, so that the data can tell good from bad.
    pub(crate) fn tells_others_apart(&self) -> bool {
        self.others
            .iter()
            .any(|(_, other)| self.target.is_refuted(*other))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = match (self.is_met(), self.known_miss) {
            (Some(true), _) => "met".into(),
            (Some(false), Some(why)) => format!("MISSED, known: {why}"),
            (Some(false), None) => "MISSED".into(),
            (None, _) => "–".to_string(),
        };
        let others: Vec<String> = self
            .others
            .iter()
            .map(|(name, other)| format!("{name} {other}"))
            .collect();
        let target = self.target.words(self.ours.unit);
        write!(
            f,
            "| {} | {} | {} | {target} | {met} | {} |",
            self.name,
            self.on,
            self.ours,
            others.join("; ")
        )
    }
}
