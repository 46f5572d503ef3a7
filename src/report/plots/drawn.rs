//! The plots of effects and of samples, as plotters draws them. Knows no other plot.
//!
//! The backend escapes every text; title and description are escaped here. Lines and letters take the colour of the
//! text around the plot, and what has a meaning has a mid-tone that stands out on both black and white.

use super::{Plot, PlotKind};
use crate::analysis::{Comparison, Verdict};
use crate::decision::values;
use crate::design::Treatment;
use crate::experiment::Goal;
use crate::report::{Report, ReportError, wording};
use maud::html;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const WIDTH: u32 = 760;
const NAMES: i32 = 300;
const LINE: u32 = 16;
const AXIS: u32 = 56;
/// Longest line of a name beside a plot, in characters.
const SHORT: usize = 40;
/// Longest name below a plot.
const LONG: usize = 88;
/// Most lines of a name.
const LINES: usize = 5;
/// Treatments drawn in the plot of samples; more cannot be told apart.
const SERIES: usize = 8;
/// Stands for the colour of the surrounding text until the SVG is done.
const INK: RGBColor = RGBColor(0x7f, 0x7f, 0x7e);
const INK_ATTRIBUTE: &str = "\"#7F7F7E\"";
const PALETTE: [RGBColor; SERIES] = [
    RGBColor(128, 128, 128),
    RGBColor(46, 134, 222),
    RGBColor(214, 120, 32),
    RGBColor(40, 160, 96),
    RGBColor(190, 82, 170),
    RGBColor(200, 70, 70),
    RGBColor(24, 158, 166),
    RGBColor(150, 130, 30),
];

type Cause = Box<dyn std::error::Error + Send + Sync>;
type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;
type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Every treatment's change against the baseline with its interval, and the line of no change; colours by verdict.
pub(super) fn effects(report: &Report<'_>) -> Result<Plot, ReportError> {
    let fail = |source| ReportError::Plot {
        plot: "effects",
        source,
    };
    let rows = u32::try_from(report.evaluation.comparisons.len()).unwrap_or(u32::MAX);
    let lines = report.candidates().map(|(t, _)| names(report, t).len()).max();
    let lines = u32::try_from(lines.unwrap_or(1)).unwrap_or(1);
    let height = AXIS + (LINE * lines + 14) * rows.clamp(1, 300);
    let mut svg = String::new();
    draw_effects(report, &mut svg, height).map_err(fail)?;
    let lines: Vec<_> = report
        .candidates()
        .map(|(treatment, comparison)| {
            let change = wording::change(&comparison.primary().effect);
            let verdict = wording::verdict(comparison.primary().verdict);
            format!("{}: {change}, {verdict}", report.label(&treatment.id))
        })
        .collect();
    Ok(finish(
        PlotKind::Effects,
        &svg,
        "Change against the baseline with its interval",
        &lines.join("; "),
    ))
}

/// The response of each block for the baseline and the treatments with the largest gains; drift shows as a slope.
pub(super) fn samples(report: &Report<'_>) -> Result<Plot, ReportError> {
    let fail = |source| ReportError::Plot {
        plot: "samples",
        source,
    };
    let series = series(report);
    let mut svg = String::new();
    draw_samples(report, &series, &mut svg).map_err(fail)?;
    let names: Vec<_> = series.iter().map(|s| s.name.as_str()).collect();
    let description = format!(
        "{} in each block for {}; the numbers stand in the table of trials",
        axis_name(report),
        names.join(", ")
    );
    Ok(finish(
        PlotKind::Samples,
        &svg,
        "Response of each block",
        &description,
    ))
}

fn axis_name(report: &Report<'_>) -> String {
    let response = report.header.protocol.response();
    let unit = report.header.protocol.unit(&response.metric);
    let name = wording::tame(&response.metric.metric, SHORT);
    if unit.is_empty() {
        name
    } else {
        format!("{name}, {}", wording::tame(unit, 20))
    }
}

fn verdict_colour(verdict: Verdict) -> RGBColor {
    match verdict {
        Verdict::Better => RGBColor(40, 160, 96),
        Verdict::Worse => RGBColor(212, 76, 76),
        Verdict::Equivalent | Verdict::NoGain => RGBColor(46, 134, 222),
        Verdict::Dropped => RGBColor(128, 128, 128),
        Verdict::Inconclusive { .. } | Verdict::NoResolution | Verdict::AtCap => RGBColor(190, 130, 20),
    }
}

fn draw_effects(report: &Report<'_>, svg: &mut String, height: u32) -> Result<(), Cause> {
    let rows: Vec<_> = report.candidates().collect();
    let ends = rows.iter().flat_map(|(_, c)| {
        let interval = c.primary().effect.change_interval_percent();
        [
            interval.map(|i| i.low),
            interval.map(|i| i.high),
            c.primary().effect.change_percent(),
        ]
    });
    let (low, high) = bounds(ends.flatten().chain([0.0]));
    let root = SVGBackend::with_string(svg, (WIDTH, height)).into_drawing_area();
    let goal = match report.header.protocol.response().goal {
        Goal::Maximize => "more is better",
        Goal::Minimize => "less is better",
    };
    let metric = report.response_name(SHORT);
    let mut chart = ChartBuilder::on(&root)
        .margin_right(36)
        .margin_left(NAMES)
        .margin_top(4)
        .x_label_area_size(AXIS - 8)
        .build_cartesian_2d(low..high, 0.0..rows.len().max(1) as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.2))
        .axis_style(INK)
        .x_labels(7)
        .x_label_formatter(&|x| wording::percent(*x))
        .x_desc(format!("change of {metric} against the baseline ({goal})"))
        .label_style(ink(14.0))
        .draw()?;
    let line = [(0.0, 0.0), (0.0, rows.len().max(1) as f64)];
    chart.draw_series([PathElement::new(line, INK.stroke_width(2))])?;
    for (index, (treatment, comparison)) in rows.iter().enumerate() {
        let y = rows.len() as f64 - index as f64 - 0.5;
        let (_, pixel) = chart.backend_coord(&(0.0, y));
        let lines = names(report, treatment);
        let mut at = pixel - 8 * (i32::try_from(lines.len()).unwrap_or(1) - 1);
        for line in &lines {
            write(&root, line, (NAMES - 10, at), HPos::Right)?;
            at += 16;
        }
        draw_effect(&mut chart, comparison, y)?;
    }
    drop(chart);
    root.present()?;
    Ok(())
}

/// The interval as a bar and the estimate as a dot on it.
fn draw_effect(chart: &mut Chart<'_, '_>, comparison: &Comparison, y: f64) -> Result<(), Cause> {
    let colour = verdict_colour(comparison.primary().verdict);
    if let Some(interval) = comparison.primary().effect.change_interval_percent() {
        let line = [(interval.low, y), (interval.high, y)];
        chart.draw_series([PathElement::new(line, colour.stroke_width(3))])?;
    }
    if let Some(change) = comparison
        .primary()
        .effect
        .change_percent()
        .filter(|c| c.is_finite())
    {
        chart.draw_series([Circle::new((change, y), 5, colour.filled())])?;
    }
    Ok(())
}

/// One treatment's numbers: block and response.
struct Samples {
    name: String,
    points: Vec<(f64, f64)>,
}

fn series(report: &Report<'_>) -> Vec<Samples> {
    let metric = &report.header.protocol.response().metric;
    let gain = |c: &Comparison| c.primary().effect.gain_percent.unwrap_or(f64::NEG_INFINITY);
    let mut candidates: Vec<_> = report.candidates().collect();
    candidates.sort_by(|(_, a), (_, b)| gain(b).total_cmp(&gain(a)));
    let shown = report.baseline().into_iter();
    let shown = shown.chain(candidates.into_iter().map(|(t, _)| t)).take(SERIES);
    shown
        .map(|treatment| {
            let values = values(&report.header.protocol, report.records, treatment, metric).into_iter();
            Samples {
                name: report.label(&treatment.id),
                points: values.map(|(block, value)| (f64::from(block), value)).collect(),
            }
        })
        .collect()
}

fn draw_samples(report: &Report<'_>, series: &[Samples], svg: &mut String) -> Result<(), Cause> {
    let (low, high) = bounds(series.iter().flat_map(|s| &s.points).map(|p| p.1));
    let last = report.header.plan.blocks.last().map_or(1, |b| b.number.max(1));
    let legend = 22 * u32::try_from(series.len()).unwrap_or(0);
    let root = SVGBackend::with_string(svg, (WIDTH, 320 + legend)).into_drawing_area();
    let (plot, names) = root.split_vertically(320);
    let unit = report
        .header
        .protocol
        .unit(&report.header.protocol.response().metric);
    let mut chart = ChartBuilder::on(&plot)
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(96)
        .build_cartesian_2d(0.5..f64::from(last) + 0.5, low..high)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(INK.mix(0.2))
        .axis_style(INK)
        .x_labels(usize::try_from(last.min(20)).unwrap_or(20))
        .x_label_formatter(&|x| {
            if x.fract() == 0.0 {
                format!("{x:.0}")
            } else {
                String::new()
            }
        })
        .y_label_formatter(&|y| wording::on_axis(*y, unit))
        .x_desc("block")
        .y_desc(axis_name(report))
        .label_style(ink(14.0))
        .draw()?;
    for (index, samples) in series.iter().enumerate() {
        let colour = PALETTE[index % SERIES];
        draw_one(&mut chart, samples, colour)?;
        let y = 22 * i32::try_from(index).unwrap_or(0) + 10;
        names.draw(&Circle::new((110, y), 4, colour.filled()))?;
        write(&names, &wording::tame(&samples.name, LONG), (122, y), HPos::Left)?;
    }
    drop(chart);
    root.present()?;
    Ok(())
}

/// Points, joined where their blocks follow each other: a missing trial is a gap.
fn draw_one(chart: &mut Chart<'_, '_>, samples: &Samples, colour: RGBColor) -> Result<(), Cause> {
    let joined = samples.points.windows(2).filter(|p| p[1].0 - p[0].0 < 1.5);
    chart.draw_series(joined.map(|p| PathElement::new(p.to_vec(), colour.stroke_width(2))))?;
    chart.draw_series(samples.points.iter().map(|p| Circle::new(*p, 4, colour.filled())))?;
    Ok(())
}

fn ink(size: f64) -> TextStyle<'static> {
    ("sans-serif", size * 1.24).into_font().color(&INK)
}

fn write(area: &Area<'_>, text: &str, at: (i32, i32), side: HPos) -> Result<(), Cause> {
    let style = ink(13.0).pos(Pos::new(side, VPos::Center));
    area.draw(&Text::new(text.to_string(), at, style))?;
    Ok(())
}

/// A line for each level that differs from the baseline.
fn names(report: &Report<'_>, treatment: &Treatment) -> Vec<String> {
    let differences = report.baseline().map(|b| wording::differences(treatment, b));
    let lines = differences.unwrap_or_default();
    lines
        .iter()
        .take(LINES)
        .map(|l| wording::tame(l, SHORT))
        .collect()
}

/// The range of the finite values with a tenth more at both ends; never empty.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let finite = values.filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
        (low.min(v), high.max(v))
    });
    if low > high {
        return (0.0, 1.0);
    }
    let room = ((high - low) * 0.1).max(low.abs().max(high.abs()) * 0.01);
    let room = if room > 0.0 { room } else { 0.5 };
    (low - room, high + room)
}

/// Gives the root a name and a description for those who cannot see it, and inks it.
fn finish(kind: PlotKind, svg: &str, title: &str, description: &str) -> Plot {
    let description = wording::tame(description, 4000);
    let named = html! { title { (title) } desc { (description) } }.into_string();
    let label = html! { (title) }.into_string();
    let inked = svg.replace(INK_ATTRIBUTE, "\"currentColor\"");
    let svg = match inked.split_once('>') {
        Some((root, rest)) => format!("{root} role=\"img\" aria-label=\"{label}\">{named}{rest}"),
        None => inked,
    };
    Plot {
        kind,
        title: title.into(),
        description,
        svg,
    }
}
