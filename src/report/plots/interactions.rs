//! Two factors in one plot: lines that are not parallel depend on each other. Knows no other plot.

use super::axis::{Axis, Format, beside};
use super::cells::{Cells, Pair, pairs};
use super::effects::metric_title;
use super::factors::goal;
use super::mark::{About, MOST, Tone};
use super::paper::{
    COLUMNS, EDGE, LINE, Side, WIDTH, finish, heading, line, n, notes, short, small, text, whole,
};
use super::{Plot, PlotKind};
use crate::report::{Report, wording};
use maud::{Markup, html};

/// Pairs of factors that are drawn; the surest of more.
const PAIRS: usize = 12;
const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 14.0;
const HEIGHT: f64 = 190.0;

pub(super) fn draw(report: &Report<'_>) -> Plot {
    let mut top = 4.0;
    let (mut parts, mut said) = (Vec::new(), Vec::new());
    for (response, effects) in report.evaluation.effects.iter().enumerate() {
        let (title, next) = heading(
            top,
            &metric_title(report, &effects.metric, goal(report, &effects.metric)),
        );
        parts.push(title);
        top = next + 4.0;
        let all = pairs(report, response);
        for pair in all.iter().take(PAIRS) {
            let Some(cells) = Cells::new(report, response, *pair) else {
                continue;
            };
            // The factor with more levels along the axis: fewer lines.
            let cells = if cells.labels[0].len() < cells.labels[1].len() {
                cells.turned()
            } else {
                cells
            };
            said.push(cells.says());
            let (part, next) = panel(&cells, *pair, top);
            parts.push(part);
            top = next;
        }
        if all.len() > PAIRS {
            let told = format!("The {PAIRS} surest of {} pairs of factors are drawn.", all.len());
            let (part, next) = notes(top, &[told]);
            parts.push(part);
            top = next;
        }
    }
    let averaged = (report.header.plan.factors.len() > 2).then_some(" Averaged over the other factors.");
    let told = format!(
        "Lines that are not parallel depend on each other.{}",
        averaged.unwrap_or_default()
    );
    let (told, end) = notes(top, &[told]);
    finish(
        PlotKind::Interactions,
        "What two factors do together",
        &said.join(". "),
        end + 8.0,
        &html! { @for part in &parts { (part) } (told) },
    )
}

/// One pair: the levels of the first factor along the axis, a line for each level of the second.
fn panel(cells: &Cells, pair: Pair, top: f64) -> (Markup, f64) {
    let upper = top + 2.0 * LINE + 6.0;
    let bottom = upper + HEIGHT;
    let axis = Axis::over(
        cells.changes.iter().flatten().flatten().copied().chain([0.0]),
        bottom - 6.0,
        upper + 6.0,
    );
    let count = cells.labels[0].len();
    let step = (RIGHT - LEFT) / count.max(1) as f64;
    let x = |level: usize| LEFT + (level as f64 + 0.5) * step;
    let columns = whole(step / 9.0).max(2);
    let lines = cells.labels[1].len();
    let legend = bottom + 2.0 * LINE + 4.0;
    let fits = cells.labels[0]
        .iter()
        .all(|l| l.chars().count() <= columns.max(8));
    let numbered = |(place, label): (usize, &String)| {
        if fits {
            short(label, columns)
        } else {
            (place + 1).to_string()
        }
    };
    let axis_labels: Vec<_> = cells.labels[0].iter().enumerate().map(numbered).collect();
    let named = cells.labels[0]
        .iter()
        .enumerate()
        .map(|(place, l)| format!("{}: {l}", place + 1));
    let named = (!fits).then(|| format!("{} is {}.", cells.names[0], named.collect::<Vec<_>>().join(", ")));
    let (named, end) = notes(legend + LINE * lines as f64, &Vec::from_iter(named));
    let surest = format!("interaction p {}", wording::p_value(pair.p_holm));
    let markup = html! {
        (text(EDGE, top + 15.0, Side::Start, &format!("{} × {}", short(&cells.names[0], 23), short(&cells.names[1], 23))))
        (small(EDGE, top + LINE + 14.0, Side::Start, &format!("change against the baseline; {surest} after Holm")))
        (beside(&axis, (LEFT, RIGHT), &Format::percent()))
        (line((LEFT, axis.at(0.0)), (RIGHT, axis.at(0.0)), 0.6))
        (line((LEFT, bottom), (RIGHT, bottom), 0.35))
        @for (level, label) in axis_labels.iter().enumerate() {
            (small(x(level), bottom + 16.0, Side::Middle, label))
        }
        (small(f64::midpoint(LEFT, RIGHT), bottom + LINE + 15.0, Side::Middle, &cells.names[0]))
        @for level in 0..lines {
            (one(cells, level, &axis, x))
            (tone(level, cells).paint(&tone(level, cells).shape().at((EDGE + 6.0, legend + LINE * level as f64 + 9.5), 4.0, None)))
            (text(EDGE + 20.0, legend + LINE * level as f64 + 14.0, Side::Start,
                &short(&format!("{}={}", cells.names[1], cells.labels[1][level]), COLUMNS)))
        }
    };
    (html! { (markup) (named) }, end + LINE)
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
fn one(cells: &Cells, level: usize, axis: &Axis, x: impl Fn(usize) -> f64) -> Markup {
    let places: Vec<_> = cells
        .changes
        .iter()
        .enumerate()
        .filter_map(|(a, row)| row[level].map(|change| (a, x(a), axis.at(change), change)))
        .collect();
    let path: Vec<_> = places
        .iter()
        .map(|(_, x, y, _)| format!("{} {}", n(*x), n(*y)))
        .collect();
    let tone = tone(level, cells);
    tone.paint(&html! {
        @if path.len() > 1 {
            path d={ "M" (path.join("L")) } fill="none" stroke="currentColor" stroke-width="2" {}
        }
        @for (a, x, y, change) in places {
            @let title = format!("{}={}, {}={}: {}", cells.names[0], cells.labels[0][a], cells.names[1],
                cells.labels[1][level], wording::percent(change));
            (tone.shape().at((x, y), 4.5, Some(&About { trial: None, title: &title })))
        }
    })
}
