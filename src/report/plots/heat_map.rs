//! The change in each cell of two factors, as colour and as number. Knows no other plot.

use super::axis::{Axis, Chart, Frame};
use super::backend::Drawn;
use super::cells::Cells;
use super::element::Told;
use super::mark::{INK, SMALL, Tone, letters, pen, wash};
use super::pairs::Sheet;
use super::paper::{EDGE, LINE, Side, WIDTH, short, small, text, whole, wrap};
use super::{Plot, PlotKind};
use crate::experiment::Goal;
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::{Rectangle, Text};

/// Left end of the cells.
const LEFT: f64 = 150.0;
const CELL: f64 = 46.0;
/// Levels beside each other; more go below.
const ACROSS: usize = 6;
/// How strong the strongest colour is: letters stand on it.
const STRONGEST: f64 = 0.45;

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let sheet = Sheet {
        kind: PlotKind::HeatMap,
        title: "Change in each cell of two factors",
        most: 6,
        note: "Change against the baseline, whose cell has a frame. Green: better; red: worse.",
    };
    sheet.draw(report, |cells, _, goal, top| map(cells, goal, top))
}

/// Levels of the first factor below each other, of the second beside each other.
fn map(cells: &Cells, goal: Goal, mut top: f64) -> Drawn<(Markup, f64)> {
    let largest = cells
        .changes
        .iter()
        .flatten()
        .flatten()
        .map(|c| c.abs())
        .fold(0.0, f64::max);
    let (rows, across) = (cells.labels[0].len(), cells.labels[1].len());
    let mut parts = Vec::new();
    for first in (0..across).step_by(ACROSS) {
        let columns = first..(first + ACROSS).min(across);
        let width = (WIDTH - EDGE - LEFT) / columns.len().max(2) as f64;
        let below = top + 3.0 * LINE;
        parts.push(html! {
            (text(LEFT, top + 15.0, Side::Start, &short(&cells.names[1], 38)))
            (small(EDGE, top + 2.0 * LINE + 12.0, Side::Start, &short(&cells.names[0], 15)))
        });
        for (place, b) in columns.clone().enumerate() {
            let x = LEFT + place as f64 * width;
            let room = whole(width / 9.0);
            let label = wrap(&cells.labels[1][b], room.max(3), 2);
            parts.push(html! {
                @for (place, line) in label.iter().enumerate() {
                    (small(x + width / 2.0, top + 2.0 * LINE - 2.0 + 15.0 * place as f64, Side::Middle, line))
                }
            });
        }
        let frame = Frame {
            left: LEFT,
            right: LEFT + width * columns.len() as f64,
            top: below,
            bottom: below + rows as f64 * CELL,
        };
        // The first level stands on top, and a chart counts up.
        let (x, y) = (columns.start as f64..columns.end as f64, -(rows as f64)..0.0);
        parts.push(frame.chart((&Axis::bare(x), &Axis::bare(y)), |chart| {
            let mut all = (0..rows).flat_map(|a| columns.clone().map(move |b| (a, b)));
            all.try_for_each(|at| cell(chart, cells, at, (goal, largest), width > 62.0))
        })?);
        for (a, label) in cells.labels[0].iter().enumerate() {
            let lines = wrap(label, 15, 2);
            let middle = below + (a as f64 + 0.5) * CELL + 4.0 - 7.5 * (lines.len() - 1) as f64;
            parts.push(html! {
                @for (place, line) in lines.iter().enumerate() {
                    (small(LEFT - 8.0, middle + 15.0 * place as f64, Side::End, line))
                }
            });
        }
        top = below + rows as f64 * CELL + LINE;
    }
    Ok((html! { @for part in &parts { (part) } }, top))
}

fn cell(
    chart: &mut Chart<'_>,
    cells: &Cells,
    (a, b): (usize, usize),
    (goal, largest): (Goal, f64),
    has_room: bool,
) -> Drawn<()> {
    let change = cells.changes[a][b];
    let verdict = cells.verdicts[a][b];
    let is_baseline = (a, b) == (cells.baselines[0], cells.baselines[1]);
    let gains = match goal {
        Goal::Maximize => change.is_some_and(|c| c > 0.0),
        Goal::Minimize => change.is_some_and(|c| c < 0.0),
    };
    let tone = if gains { Tone::Good } else { Tone::Bad };
    let strength = change.map_or(0.0, |c| STRONGEST * c.abs() / largest.max(1e-9));
    let number = change.map_or("–".into(), |c| wording::percent(c).replacen('-', "−", 1));
    let title = format!(
        "{}={}, {}={}: {number}{}",
        cells.names[0],
        cells.labels[0][a],
        cells.names[1],
        cells.labels[1][b],
        verdict.map(|v| format!(", {v}")).unwrap_or_default()
    );
    let (x, y) = (b as f64, -(a as f64));
    let inner = [(x, y), (x + 1.0, y - 1.0)];
    let frame = pen(&INK, if is_baseline { 0.8 } else { 0.15 }, 1.0);
    let [mut inside, mut frame] = [wash(&tone, strength), frame].map(|style| Rectangle::new(inner, style));
    for cell in [&mut inside, &mut frame] {
        cell.set_margin(10, 10, 10, 10);
    }
    chart.draw_series([Told::of(inside, None, title)])?;
    chart.draw_series([frame])?;
    let below = verdict.filter(|_| has_room);
    let at = (x + 0.5, y - if below.is_some() { 0.37 } else { 0.5 });
    chart.draw_series([Text::new(number, at, letters(13.0))])?;
    chart.draw_series(below.map(|verdict| Text::new(verdict, (x + 0.5, y - 0.7), letters(SMALL))))?;
    Ok(())
}
