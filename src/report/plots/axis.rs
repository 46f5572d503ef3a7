//! The axes of a chart and the charts themselves, as plotters has them: from values to places, ticks, and their labels.
//! Knows no report.

use super::backend::{Drawn, Paper, fine};
use super::mark::{INK, SMALL, letters, pen};
use super::paper::{EDGE, LINE, Side, WIDTH, small, whole};
use maud::Markup;
use plotters::coord::ranged1d::{BoldPoints, KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::{
    Cartesian2d, ChartBuilder, ChartContext, Color, DrawingArea, IntoLogRange, LabelAreaPosition, LogCoord,
};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scale {
    Linear,
    /// Of values above zero.
    Log,
}

/// An axis with all its ticks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    scale: Scale,
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// All finite values with some room at both ends, and about so many ticks.
    pub(super) fn over(values: impl Iterator<Item = f64>, most: usize, format: &Format) -> Self {
        Self::new(Scale::Linear, bounds(values), most, format)
    }

    /// The same on a logarithmic scale; values that are not above zero have no place.
    pub(super) fn log_over(values: impl Iterator<Item = f64>, most: usize, format: &Format) -> Self {
        let logs = bounds(values.filter(|v| *v > 0.0).map(f64::ln));
        // A scale of less than a quarter of a decade has no ticks to speak of.
        let room = ((0.6 - (logs.end - logs.start)) / 2.0).max(0.0);
        let range = (logs.start - room).exp()..(logs.end + room).exp();
        Self::new(Scale::Log, range, most, format)
    }

    /// Places with names; nothing is added at the ends.
    pub(super) fn named(range: Range<f64>, ticks: Vec<(f64, String)>) -> Self {
        Self {
            scale: Scale::Linear,
            range,
            ticks,
        }
    }

    /// Without ticks.
    pub(super) fn bare(range: Range<f64>) -> Self {
        Self::named(range, Vec::new())
    }

    /// More ticks rather than one.
    fn new(scale: Scale, range: Range<f64>, most: usize, format: &Format) -> Self {
        let inside = |most| {
            let mut ticks = match scale {
                Scale::Linear => RangedCoordf64::from(range.clone()).key_points(BoldPoints(most)),
                Scale::Log => log_ticks(&range, most),
            };
            ticks.retain(|t| (range.start..=range.end).contains(t));
            ticks
        };
        let enough = (most..most + 5).map(inside).find(|ticks| ticks.len() > 2);
        let ticks = enough.unwrap_or_else(|| inside(most + 5));
        let labels = format.labels(&ticks);
        let ticks = ticks.into_iter().zip(labels).collect();
        Self { scale, range, ticks }
    }

    /// From its first value to its last.
    pub(super) fn ends(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// Nothing leaves the axis.
    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let value = if value.is_nan() {
            self.range.start
        } else {
            value.clamp(self.range.start, self.range.end)
        };
        match self.scale {
            Scale::Linear => RangedCoordf64::from(self.range.clone()).map(&value, limit),
            Scale::Log => LogCoord::from(self.range.clone().log_scale()).map(&value, limit),
        }
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(value, _)| *value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        let found = self.ticks.iter().find(|(tick, _)| tick.total_cmp(value).is_eq());
        found.map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Ones, twos and fives, or only ones, or every few of them; of less than a decade as on a linear scale. The ticks of
/// plotters are ones only, so that a latency from 110 to 900 has none.
fn log_ticks(range: &Range<f64>, most: usize) -> Vec<f64> {
    if range.end / range.start < 12.0 {
        return RangedCoordf64::from(range.clone()).key_points(BoldPoints(most));
    }
    let first = range.start.log10().floor();
    let decades =
        std::iter::successors(Some(first), |d| Some(d + 1.0)).take_while(|d| *d <= range.end.log10());
    let inside = |digits: &[f64]| -> Vec<f64> {
        let all = decades
            .clone()
            .flat_map(|d| digits.iter().map(move |digit| digit * 10f64.powf(d)));
        all.filter(|t| (range.start..=range.end).contains(t)).collect()
    };
    let fine = inside(&[1.0, 2.0, 5.0]);
    if fine.len() <= most + 2 {
        return fine;
    }
    let coarse = inside(&[1.0]);
    let every = coarse.len().div_ceil(most).max(1);
    coarse.into_iter().step_by(every).collect()
}

/// Ticks of an axis so high.
pub(super) fn ticks_beside(height: f64) -> usize {
    whole((height / 44.0).clamp(2.0, 8.0))
}

/// Two axes and what is drawn by them.
pub(super) type Chart<'a> = ChartContext<'a, Paper, Cartesian2d<Axis, Axis>>;

/// Where a chart stands in the picture, without its labels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Frame {
    /// As wide as the picture, with labels only below.
    pub(super) fn wide(top: f64, bottom: f64) -> Self {
        Self {
            left: EDGE + 8.0,
            right: WIDTH - EDGE - 8.0,
            top,
            bottom,
        }
    }

    /// With room for the labels of an axis beside it.
    pub(super) fn beside(top: f64, bottom: f64) -> Self {
        Self {
            left: 78.0,
            right: WIDTH - 14.0,
            top,
            bottom,
        }
    }

    /// A chart in this place.
    pub(super) fn chart(
        self,
        (x, y): (&Axis, &Axis),
        draw: impl FnOnce(&mut Chart<'_>) -> Drawn<()>,
    ) -> Drawn {
        let paper = Rc::new(RefCell::new(Paper::down_to(self.bottom)));
        let area = DrawingArea::from(&paper);
        let mut chart = ChartBuilder::on(&area)
            .margin_top(fine(self.top))
            .margin_right(fine(WIDTH - self.right))
            .x_label_area_size(fine(LINE))
            .y_label_area_size(fine(self.left))
            .build_cartesian_2d(x.clone(), y.clone())?;
        draw(&mut chart)?;
        Ok(paper.take().finish())
    }
}

/// Faint lines at the ticks.
pub(super) fn rules(chart: &mut Chart<'_>) -> Drawn<()> {
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(pen(&INK, 0.12, 1.0))
        .light_line_style(INK.mix(0.0));
    mesh.disable_axes().draw()
}

/// The labels of both axes, their lines, and faint lines at the ticks: of the axis below only when asked for.
pub(super) fn mesh(chart: &mut Chart<'_>, lines_up: bool) -> Drawn<()> {
    let is_bare = chart.plotting_area().as_coord_spec().y_spec().ticks.is_empty();
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(pen(&INK, 0.12, 1.0))
        .light_line_style(INK.mix(0.0))
        .axis_style(pen(&INK, 0.35, 1.0))
        .label_style(letters(SMALL))
        .set_tick_mark_size(LabelAreaPosition::Bottom, 0)
        .set_tick_mark_size(LabelAreaPosition::Left, fine(3.0));
    if !lines_up {
        mesh.disable_x_mesh();
    }
    if is_bare {
        mesh.disable_y_axis();
    }
    mesh.draw()
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
fn bounds(values: impl Iterator<Item = f64>) -> Range<f64> {
    let finite = values.filter(|v| v.is_finite() && v.abs() < 1e300);
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return 0.0..1.0;
    }
    let room = ((high - low) * 0.06).max(low.abs().max(high.abs()) * 0.005);
    let room = if room > 0.0 { room } else { 0.5 };
    low - room..high + room
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(axis: &Axis) -> Vec<f64> {
        axis.key_points(0)
    }

    #[test]
    fn values_have_places_and_nothing_leaves_the_axis() {
        let axis = Axis::over([0.0, 10.0].into_iter(), 6, &Format::percent());
        assert_eq!(axis.map(&5.0, (0, 1120)), 560);
        for value in [f64::NAN, f64::INFINITY, -1e9, 1e9] {
            assert!((0..=1120).contains(&axis.map(&value, (0, 1120))), "{value}");
        }
        for values in [vec![], vec![f64::NAN], vec![0.0], vec![5.0], vec![1e308, -1e308]] {
            let axis = Axis::over(values.iter().copied(), 6, &Format::percent());
            assert!(!axis.range.is_empty() && ticks(&axis).len() < 20, "{values:?}");
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        let axis = Axis::over([-3.0, 31.0].into_iter(), 6, &Format::percent());
        let found = ticks(&axis);
        assert!(found.len() >= 3 && found.contains(&0.0), "{found:?}");
        let labels: Vec<_> = found.iter().map(|t| axis.format_ext(t)).collect();
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
            let axis = Axis::log_over([low, high].into_iter(), 6, &Format::percent());
            let found = ticks(&axis);
            assert!((2..=9).contains(&found.len()), "{low}..{high}: {found:?}");
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
