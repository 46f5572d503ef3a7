//! From values to places on a picture, and the ticks and their labels. Knows no report.

use super::paper::{EDGE, LINE, Side, WIDTH, line, small, whole};
use maud::{Markup, html};
use plotters::coord::ranged1d::{AsRangedCoord, BoldPoints, Ranged};
use std::ops::Range;

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    /// Of values above zero.
    Log,
}

/// Values along a straight line of the picture.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// All finite values, with some room at both ends, between two places of the picture.
    pub(super) fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (low, high) = bounds(values);
        Self {
            scale: Scale::Linear,
            low,
            high,
            from,
            to,
        }
    }

    /// The same on a logarithmic scale; values that are not above zero have no place.
    pub(super) fn log_over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let logs = values.filter(|v| *v > 0.0).map(f64::ln);
        let (low, high) = bounds(logs);
        // A scale of less than a quarter of a decade has no ticks to speak of.
        let room = ((0.6 - (high - low)) / 2.0).max(0.0);
        Self {
            scale: Scale::Log,
            low: (low - room).exp(),
            high: (high + room).exp(),
            from,
            to,
        }
    }

    /// The place of a value; nothing leaves the axis.
    pub(super) fn at(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        let share = if share.is_nan() {
            0.0
        } else {
            share.clamp(0.0, 1.0)
        };
        self.from + share * (self.to - self.from)
    }

    /// Round values, about so many, and more rather than one.
    fn ticks(&self, most: usize) -> Vec<f64> {
        let mut ticks = Vec::new();
        for most in most..most + 6 {
            ticks = match self.scale {
                Scale::Linear => {
                    let range: <Range<f64> as AsRangedCoord>::CoordDescType = (self.low..self.high).into();
                    range.key_points(BoldPoints(most))
                }
                Scale::Log => self.log_ticks(most),
            };
            ticks.retain(|t| (self.low..=self.high).contains(t));
            if ticks.len() > 2 {
                break;
            }
        }
        ticks
    }

    /// The places of the ticks.
    pub(super) fn places(&self, most: usize) -> Vec<f64> {
        self.ticks(most).iter().map(|t| self.at(*t)).collect()
    }

    /// Ones, twos and fives, or only ones, or every few of them; of less than a decade as on a linear scale.
    fn log_ticks(&self, most: usize) -> Vec<f64> {
        if self.high / self.low < 12.0 {
            let linear = Self {
                scale: Scale::Linear,
                ..*self
            };
            return linear.ticks(most);
        }
        let first = self.low.log10().floor();
        let decades =
            std::iter::successors(Some(first), |d| Some(d + 1.0)).take_while(|d| *d <= self.high.log10());
        let inside = |digits: &[f64]| -> Vec<f64> {
            let all = decades
                .clone()
                .flat_map(|d| digits.iter().map(move |digit| digit * 10f64.powf(d)));
            all.filter(|t| (self.low..=self.high).contains(t)).collect()
        };
        let fine = inside(&[1.0, 2.0, 5.0]);
        if fine.len() <= most + 2 {
            return fine;
        }
        let coarse = inside(&[1.0]);
        let every = coarse.len().div_ceil(most).max(1);
        coarse.into_iter().step_by(every).collect()
    }
}

/// How the labels of an axis are written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Format {
    /// What a tick's value is divided by.
    divisor: f64,
    /// Stands behind each.
    suffix: &'static str,
    signed: bool,
    /// What stands in the axis' title.
    pub(super) unit: String,
}

impl Format {
    /// Changes in percent.
    pub(super) fn percent() -> Self {
        Self {
            divisor: 1.0,
            suffix: " %",
            signed: true,
            unit: String::new(),
        }
    }

    /// Quantities of this unit of which the largest is about `largest`: large ones with a prefix.
    pub(super) fn of(unit: &str, largest: f64) -> Self {
        let prefixed = matches!(unit, "bit/s" | "B/s");
        let from = if prefixed { 1e3 } else { 1e5 };
        let steps = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
        let step = steps
            .iter()
            .find(|(scale, _)| largest.abs() >= scale * from / 1e3);
        // Beyond all that is measured no prefix helps.
        let step = step.filter(|_| largest.abs() < 1e15);
        let (divisor, prefix) = step.copied().unwrap_or((1.0, ""));
        let unit = if unit == "us" { "µs" } else { unit };
        Self {
            divisor,
            suffix: if prefixed { "" } else { prefix },
            signed: false,
            unit: if prefixed {
                format!("{prefix}{unit}")
            } else {
                unit.into()
            },
        }
    }

    /// The labels of these ticks, all with the same number of decimals.
    fn labels(&self, ticks: &[f64]) -> Vec<String> {
        let step = ticks.windows(2).map(|t| (t[1] - t[0]) / self.divisor);
        let step = step.fold(f64::INFINITY, f64::min);
        let decimals = if step.is_finite() && step > 0.0 {
            whole((-step.log10() - 1e-9).ceil().min(6.0))
        } else {
            1
        };
        ticks
            .iter()
            .map(|tick| self.label(tick / self.divisor, decimals))
            .collect()
    }

    fn label(&self, value: f64, decimals: usize) -> String {
        let value = if value.abs() < 1e-9 { 0.0 } else { value };
        let text = if self.signed && value != 0.0 {
            format!("{value:+.decimals$}")
        } else if value.abs() >= 1e7 {
            format!("{value:.0e}")
        } else if value.abs() >= 1000.0 && decimals == 0 {
            crate::report::wording::number(value)
        } else {
            format!("{value:.decimals$}")
        };
        let text = text.replacen('-', "−", 1);
        format!("{text}{}", self.suffix)
    }
}

/// An axis below a plot whose lines go up to `top`, with ticks; 20 units high.
pub(super) fn below(axis: &Axis, (top, y): (f64, f64), format: &Format) -> Markup {
    let ticks = axis.ticks(6);
    let labels = format.labels(&ticks);
    html! {
        @for (tick, label) in ticks.iter().zip(&labels) {
            @let x = axis.at(*tick);
            (line((x, top), (x, y), 0.12))
            (small(x.clamp(24.0, WIDTH - 24.0), y + 16.0, Side::Middle, label))
        }
        (line((axis.from, y), (axis.to, y), 0.35))
    }
}

/// An axis left of a plot whose lines go from `left` to `right`, with ticks.
pub(super) fn beside(axis: &Axis, (left, right): (f64, f64), format: &Format) -> Markup {
    let most = whole(((axis.from - axis.to).abs() / 44.0).clamp(2.0, 8.0));
    let ticks = axis.ticks(most);
    let labels = format.labels(&ticks);
    html! {
        @for (tick, label) in ticks.iter().zip(&labels) {
            @let y = axis.at(*tick);
            (line((left, y), (right, y), 0.12))
            (small(left - 6.0, y + 4.0, Side::End, label))
        }
    }
}

/// The title of an axis below a plot, and which way is better; from `top`, one line high.
pub(super) fn title_below(top: f64, title: &str) -> Markup {
    small(
        f64::midpoint(EDGE, WIDTH - EDGE),
        top + LINE - 5.0,
        Side::Middle,
        title,
    )
}

/// The range of the finite values with some room at both ends; never empty.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite() && v.abs() < 1e300);
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.06).max(low.abs().max(high.abs()) * 0.005);
    let room = if room > 0.0 { room } else { 0.5 };
    (low - room, high + room)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_places_and_nothing_leaves_the_axis() {
        let axis = Axis::over([0.0, 10.0].into_iter(), 0.0, 112.0);
        assert!((axis.at(5.0) - 56.0).abs() < 1e-9);
        for value in [f64::NAN, f64::INFINITY, -1e9, 1e9] {
            assert!((0.0..=112.0).contains(&axis.at(value)), "{value}");
        }
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![5.0], vec![1e308, -1e308]] {
            let axis = Axis::over(values.iter().copied(), 0.0, 100.0);
            assert!(axis.low < axis.high && axis.ticks(6).len() < 20, "{values:?}");
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = Axis::over([-3.0, 31.0].into_iter(), 0.0, 100.0);
        let ticks = axis.ticks(6);
        assert!(ticks.len() >= 3 && ticks.contains(&0.0), "{ticks:?}");
        let labels = Format::percent().labels(&ticks);
        assert!(
            labels.contains(&"+10 %".to_string()) || labels.contains(&"+20 %".to_string()),
            "{labels:?}"
        );
        for (low, high) in [
            (100.0, 900.0),
            (3.0, 50_000.0),
            (0.9, 1.1),
            (1e-3, 1e6),
            (200.0, 2100.0),
        ] {
            let axis = Axis::log_over([low, high].into_iter(), 0.0, 100.0);
            let ticks = axis.ticks(6);
            assert!((2..=9).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
        }
    }

    #[test]
    fn large_numbers_get_a_prefix() {
        assert_eq!(Format::of("bit/s", 2.5e9).unit, "Gbit/s");
        assert_eq!(
            Format::of("1/s", 250_000.0).labels(&[0.0, 100_000.0]),
            ["0k", "100k"]
        );
        assert_eq!(Format::of("us", 900.0).unit, "µs");
        assert_eq!(Format::of("", 1.0).labels(&[0.5]), ["0.5"]);
    }
}
