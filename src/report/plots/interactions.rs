//! Two factors in one plot: lines that are not parallel depend on each other. Knows no other plot.

use super::axis::{Axis, Chart, Format, Frame, mesh, ticks_beside, title_below};
use super::backend::Drawn;
use super::cells::{Cells, Pair};
use super::element::Mark;
use super::mark::{INK, MOST, Tone, pen};
use super::pairs::Sheet;
use super::paper::{COLUMNS, EDGE, LINE, Side, notes, short, small, text, whole};
use super::{Plot, PlotKind};
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::PathElement;

const HEIGHT: f64 = 190.0;

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let sheet = Sheet {
        kind: PlotKind::Interactions,
        title: "What two factors do together",
        most: 12,
        note: "Lines that are not parallel depend on each other.",
    };
    sheet.draw(report, |cells, pair, _, top| panel(cells, pair, top))
}

/// One pair: the levels of the first factor along the axis, a line for each level of the second.
fn panel(cells: &Cells, pair: Pair, top: f64) -> Drawn<(Markup, f64)> {
    let frame = Frame::beside(top + 2.0 * LINE + 6.0, top + 2.0 * LINE + 6.0 + HEIGHT);
    let changes = cells.changes.iter().flatten().flatten().copied();
    let y = Axis::over(changes.chain([0.0]), ticks_beside(HEIGHT), &Format::percent());
    let levels = &cells.labels[0];
    let columns = whole((frame.right - frame.left) / levels.len().max(1) as f64 / 9.0).max(2);
    let fits = levels.iter().all(|l| l.chars().count() <= columns.max(8));
    let label = |(place, label): (usize, &String)| {
        let number = (place + 1).to_string();
        (place as f64, if fits { short(label, columns) } else { number })
    };
    let labels = levels.iter().enumerate().map(label).collect();
    let x = Axis::named(-0.5..levels.len() as f64 - 0.5, labels);
    let chart = frame.chart((&x, &y), |chart| {
        mesh(chart, false)?;
        let ends = [(x.ends().start, 0.0), (x.ends().end, 0.0)];
        chart.draw_series([PathElement::new(ends, pen(&INK, 0.6, 1.0))])?;
        (0..cells.labels[1].len()).try_for_each(|level| one(chart, cells, level))
    })?;
    let surest = format!("interaction p {}", wording::p_value(pair.p_holm));
    let mut parts = vec![html! {
        (text(EDGE, top + 15.0, Side::Start, &format!("{} × {}", short(&cells.names[0], 23), short(&cells.names[1], 23))))
        (small(EDGE, top + LINE + 14.0, Side::Start, &format!("change against the baseline; {surest} after Holm")))
        (chart)
        (title_below(frame.bottom + LINE, &cells.names[0]))
    }];
    let mut y = frame.bottom + 2.0 * LINE + 4.0;
    for (level, label) in cells.labels[1].iter().enumerate() {
        let tone = tone(level, cells);
        parts.push(Mark::new((EDGE + 6.0, y + 9.5), tone.shape(), 4.0, &tone).alone()?);
        let name = short(&format!("{}={label}", cells.names[1]), COLUMNS);
        parts.push(text(EDGE + 20.0, y + 14.0, Side::Start, &name));
        y += LINE;
    }
    let named = levels
        .iter()
        .enumerate()
        .map(|(place, l)| format!("{}: {l}", place + 1));
    let named = (!fits).then(|| format!("{} is {}.", cells.names[0], named.collect::<Vec<_>>().join(", ")));
    let (named, end) = notes(y, &Vec::from_iter(named));
    Ok((html! { @for part in &parts { (part) } (named) }, end + LINE))
}

/// The baseline's level recedes.
fn tone(level: usize, cells: &Cells) -> Tone {
    if level == cells.baselines[1] {
        return Tone::Quiet;
    }
    let before = usize::from(level > cells.baselines[1]);
    Tone::Series((level - before) % MOST)
}

/// The line of one level of the second factor.
fn one(chart: &mut Chart<'_>, cells: &Cells, level: usize) -> Drawn<()> {
    let tone = tone(level, cells);
    let known = cells.changes.iter().enumerate();
    let known: Vec<_> = known
        .filter_map(|(a, row)| Some((a as f64, row[level]?)))
        .collect();
    chart.draw_series([PathElement::new(known.clone(), pen(&tone, 1.0, 2.0))])?;
    let signs = cells.changes.iter().zip(&cells.labels[0]).enumerate();
    let signs = signs.filter_map(|(a, (row, label))| {
        let change = row[level]?;
        let title = format!(
            "{}={label}, {}={}: {}",
            cells.names[0],
            cells.names[1],
            cells.labels[1][level],
            wording::percent(change)
        );
        Some(Mark::new((a as f64, change), tone.shape(), 4.5, &tone).told(None, title))
    });
    chart.draw_series(signs)?;
    Ok(())
}
