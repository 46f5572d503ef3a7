//! Two metrics at once: the treatments that are not beaten in both, of all of them. Knows no other plot.

use super::axis::{Axis, Format, below, beside, title_below};
use super::mark::{About, Shape, Tone};
use super::paper::{COLUMNS, EDGE, LINE, Side, WIDTH, finish, line, n, notes, short, small, text, wrap};
use super::{Plot, PlotKind};
use crate::analysis::{Comparison, Effect};
use crate::decision::{Place, Standing};
use crate::experiment::{Goal, MetricId};
use crate::report::{Report, wording};
use maud::{Markup, html};

const LEFT: f64 = 78.0;
const RIGHT: f64 = WIDTH - 14.0;
const HEIGHT: f64 = 340.0;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    let protocol = &report.header.protocol;
    if protocol.aims().len() + protocol.guards.len() < 2 {
        return Some("the experiment has one response and no guard".into());
    }
    let points = points(report);
    points
        .is_empty()
        .then(|| "no treatment has an estimate of both metrics yet".into())
}

/// One metric of the two.
struct Measure {
    id: MetricId,
    goal: Goal,
    /// Whether the front is of all responses, which may be more than the two.
    is_of_all: bool,
    /// The change that a guard does not let pass, in percent.
    margin: Option<f64>,
}

/// One treatment.
#[derive(Debug)]
struct Point {
    name: String,
    changes: [f64; 2],
    intervals: [Option<(f64, f64)>; 2],
    is_front: bool,
}

/// The first response, and the second or else the first guard.
fn sides(report: &Report<'_>) -> Option<[Measure; 2]> {
    let protocol = &report.header.protocol;
    let aims = protocol.aims();
    let response = |place: usize| {
        let response = aims.get(place)?;
        Some(Measure {
            id: response.metric.clone(),
            goal: response.goal,
            is_of_all: !report.front.is_empty(),
            margin: None,
        })
    };
    let guard = || {
        let guard = protocol.guards.first()?;
        let sign = if guard.goal == Goal::Maximize { -1.0 } else { 1.0 };
        Some(Measure {
            id: guard.metric.clone(),
            goal: guard.goal,
            is_of_all: false,
            margin: Some(sign * guard.margin.0),
        })
    };
    Some([response(0)?, response(1).or_else(guard)?])
}

fn effects<'a>(comparison: &'a Comparison, place: Option<&'a Place>) -> Option<[&'a Effect; 2]> {
    // Of a weighted response, what it is made of.
    if let Some([first, second, ..]) = place.map(|p| &p.effects[..])
        && comparison.responses.len() < 2
    {
        return Some([first, second]);
    }
    let second = comparison.responses.get(1).map(|j| &j.effect);
    let second = second.or_else(|| comparison.guards.first().map(|g| &g.effect));
    Some([&comparison.primary().effect, second?])
}

/// Where the treatment of a comparison stands in all responses.
fn place<'a>(report: &Report<'a>, comparison: &Comparison) -> Option<&'a Place> {
    let mut all = report.front.iter();
    all.find(|place| place.treatment == comparison.treatment)
}

/// The candidates that have both estimates; the baseline stands at no change.
fn points(report: &Report<'_>) -> Vec<Point> {
    let Some(sides) = sides(report) else {
        return Vec::new();
    };
    let point = |(treatment, comparison): (&crate::design::Treatment, &Comparison)| {
        let effects = effects(comparison, place(report, comparison))?;
        let change = |e: &Effect| e.change_percent().filter(|c| c.is_finite());
        Some(Point {
            name: wording::tame(&report.label(&treatment.id), super::paper::NAME),
            changes: [change(effects[0])?, change(effects[1])?],
            intervals: effects.map(|e| e.change_interval_percent().map(|i| (i.low, i.high))),
            is_front: place(report, comparison).is_some_and(|p| p.standing == Standing::Front),
        })
    };
    let mut points: Vec<Point> = report.candidates().filter_map(point).collect();
    let gain = |changes: [f64; 2], side: usize| match sides[side].goal {
        Goal::Maximize => changes[side],
        Goal::Minimize => -changes[side],
    };
    let all: Vec<_> = points.iter().map(|p| p.changes).chain([[0.0; 2]]).collect();
    let beats = |a: [f64; 2], b: [f64; 2]| {
        let at_least = (0..2).all(|side| gain(a, side) >= gain(b, side));
        at_least && (0..2).any(|side| gain(a, side) > gain(b, side))
    };
    // Of one response and a guard there is no front but this.
    for point in points.iter_mut().filter(|_| report.front.is_empty()) {
        point.is_front = !all.iter().any(|other| beats(*other, point.changes));
    }
    points.sort_by(|a, b| gain(b.changes, 0).total_cmp(&gain(a.changes, 0)));
    points
}

pub(super) fn draw(report: &Report<'_>) -> Option<Plot> {
    let sides = sides(report)?;
    let points = points(report);
    let name = |side: &Measure| wording::tame(&report.header.protocol.name_of(&side.id), 40);
    let (across, up) = (name(&sides[0]), name(&sides[1]));
    let top = 2.0 * LINE + 4.0;
    let bottom = top + HEIGHT;
    let ends = |side: usize| {
        let margin = sides[side].margin;
        let ends = points.iter().flat_map(move |p| {
            let (low, high) = p.intervals[side].unwrap_or((p.changes[side], p.changes[side]));
            [low, high, p.changes[side]]
        });
        ends.chain([0.0]).chain(margin)
    };
    let x = Axis::over(ends(0), LEFT + 8.0, RIGHT - 8.0);
    let y = Axis::over(ends(1), bottom - 8.0, top + 8.0);
    let front: Vec<_> = points.iter().filter(|p| p.is_front).collect();
    let (list, next) = list(&front, points.len(), bottom + 2.0 * LINE + 8.0);
    let (told, end) = notes(next, &told(&sides));
    let way = |side: &Measure| {
        if side.goal == Goal::Maximize {
            "more is better"
        } else {
            "less is better"
        }
    };
    let body = html! {
        (text(EDGE, 15.0, Side::Start, &format!("↑ change of {} ({})", short(&up, 24), way(&sides[1]))))
        (beside(&y, (LEFT, RIGHT), &Format::percent()))
        (below(&x, (top, bottom), &Format::percent()))
        (title_below(bottom + LINE, &format!("→ change of {} ({})", short(&across, 24), way(&sides[0]))))
        (line((x.at(0.0), top), (x.at(0.0), bottom), 0.5))
        (line((LEFT, y.at(0.0)), (RIGHT, y.at(0.0)), 0.5))
        @if let Some(margin) = sides[1].margin {
            (Tone::Bad.paint(&html! {
                path d={ "M" (n(LEFT)) " " (n(y.at(margin))) "H" (n(RIGHT)) } stroke="currentColor" stroke-width="1.5"
                    stroke-dasharray="5 4" {}
            }))
        }
        (drawn(&points, [&across, &up], &x, &y))
        (list)
        (told)
    };
    let said: Vec<_> = points
        .iter()
        .map(|p| {
            let front = if p.is_front { " (front)" } else { "" };
            format!(
                "{}: {} {}, {} {}{front}",
                p.name,
                across,
                wording::percent(p.changes[0]),
                up,
                wording::percent(p.changes[1])
            )
        })
        .collect();
    Some(finish(
        PlotKind::Pareto,
        "Two metrics, and the treatments that none beats in both",
        &said.join("; "),
        end + 8.0,
        &body,
    ))
}

fn told(sides: &[Measure; 2]) -> Vec<String> {
    let margin = sides[1].margin.map(|_| "Dashed: the guard's margin.".to_string());
    let front = "Front: the treatments that no other one, nor the baseline, beats in both metrics, by the estimates alone; the \
                 lines are their intervals.";
    let of_all = "Front: the treatments that no other one, nor the baseline, beats in all responses, by the estimates in the \
                  blocks both have; the lines are intervals of the change.";
    let front = if sides[0].is_of_all { of_all } else { front };
    margin.into_iter().chain([front.to_string()]).collect()
}

/// What is beaten below what is not, the baseline above all.
fn drawn(points: &[Point], names: [&str; 2], x: &Axis, y: &Axis) -> Markup {
    let one = |point: &Point, tone: Tone, shape: Shape, r: f64| {
        let (at_x, at_y) = (x.at(point.changes[0]), y.at(point.changes[1]));
        let title = format!(
            "{}: {} {}, {} {}",
            point.name,
            names[0],
            wording::percent(point.changes[0]),
            names[1],
            wording::percent(point.changes[1])
        );
        tone.paint(&html! {
            @if let Some((low, high)) = point.intervals[0] {
                path d={ "M" (n(x.at(low))) " " (n(at_y)) "H" (n(x.at(high))) } stroke="currentColor" stroke-opacity=".45" {}
            }
            @if let Some((low, high)) = point.intervals[1] {
                path d={ "M" (n(at_x)) " " (n(y.at(low))) "V" (n(y.at(high))) } stroke="currentColor" stroke-opacity=".45" {}
            }
            (shape.at((at_x, at_y), r, Some(&About { trial: None, title: &title })))
        })
    };
    let front: Vec<_> = points.iter().filter(|p| p.is_front).collect();
    let path: Vec<_> = front
        .iter()
        .map(|p| format!("{} {}", n(x.at(p.changes[0])), n(y.at(p.changes[1]))))
        .collect();
    let mut taken = Vec::new();
    html! {
        @for point in points.iter().filter(|p| !p.is_front) { (one(point, Tone::Quiet, Shape::Dot, 3.2)) }
        @if path.len() > 1 {
            (Tone::Same.paint(&html! {
                path d={ "M" (path.join("L")) } fill="none" stroke="currentColor" stroke-dasharray="2 4" stroke-width="1.5" {}
            }))
        }
        @for point in &front { (one(point, Tone::Same, Shape::Diamond, 5.5)) }
        (Shape::Square.at((x.at(0.0), y.at(0.0)), 4.5, Some(&About { trial: None, title: "baseline" })))
        @for (place, point) in front.iter().enumerate() {
            (label(&mut taken, (x.at(point.changes[0]), y.at(point.changes[1])), &(place + 1).to_string()))
        }
        (label(&mut taken, (x.at(0.0), y.at(0.0)), "baseline"))
    }
}

/// A label beside its point, on the first side where none stands yet.
fn label(taken: &mut Vec<(f64, f64, f64)>, (x, y): (f64, f64), content: &str) -> Markup {
    let width = 11.0 * content.chars().count() as f64;
    let places = [
        (8.0, -8.0),
        (-8.0 - width, -8.0),
        (8.0, 20.0),
        (-8.0 - width, 20.0),
        (8.0, -26.0),
        (8.0, 38.0),
    ];
    let free = |(dx, dy): &&(f64, f64)| {
        let (left, base) = (x + dx, y + dy);
        let inside = left > LEFT && left + width < RIGHT;
        inside
            && !taken
                .iter()
                .any(|(l, b, w)| left < l + w && *l < left + width && (base - b).abs() < 16.0)
    };
    let (dx, dy) = places.iter().find(free).copied().unwrap_or(places[0]);
    taken.push((x + dx, y + dy, width));
    small(x + dx, y + dy, Side::Start, content)
}

/// The front's treatments with their numbers.
fn list(front: &[&Point], all: usize, top: f64) -> (Markup, f64) {
    let beaten = all - front.len();
    let mut y = top + 14.0;
    let mut parts = Vec::new();
    for (place, point) in front.iter().enumerate() {
        parts.push(Tone::Same.paint(&Shape::Diamond.at((EDGE + 6.0, y - 4.5), 4.5, None)));
        for line in wrap(&format!("{} {}", place + 1, point.name), COLUMNS - 2, 2) {
            parts.push(text(EDGE + 20.0, y, Side::Start, &line));
            y += LINE;
        }
    }
    if beaten > 0 {
        parts.push(Tone::Quiet.paint(&Shape::Dot.at((EDGE + 6.0, y - 4.5), 3.2, None)));
        parts.push(text(
            EDGE + 20.0,
            y,
            Side::Start,
            &format!("beaten by another one: {beaten}"),
        ));
        y += LINE;
    }
    (html! { @for part in &parts { (part) } }, y - 8.0)
}
