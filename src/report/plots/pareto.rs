//! Two metrics at once: the treatments that are not beaten in both, of all of them. Knows no other plot.

use super::axis::{Axis, Chart, Format, Frame, mesh, ticks_beside, title_below};
use super::backend::Drawn;
use super::element::{Mark, Told};
use super::mark::{INK, Shape, Tone, pen};
use super::paper::{COLUMNS, EDGE, LINE, Side, finish, notes, short, small, text, wrap};
use super::{Plot, PlotKind};
use crate::analysis::{Comparison, Effect};
use crate::decision::{Place, Standing};
use crate::experiment::{Goal, MetricId};
use crate::report::{Report, wording};
use maud::{Markup, html};
use plotters::element::PathElement;
use plotters_backend::BackendCoord;

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

pub(super) fn draw(report: &Report<'_>) -> Drawn<Option<Plot>> {
    let Some(sides) = sides(report) else {
        return Ok(None);
    };
    let points = points(report);
    let name = |side: &Measure| wording::tame(&report.header.protocol.name_of(&side.id), 40);
    let (across_name, up_name) = (name(&sides[0]), name(&sides[1]));
    let top = 2.0 * LINE + 4.0;
    let bottom = top + HEIGHT;
    let frame = Frame::beside(top, bottom);
    let ends = |side: usize| {
        let margin = sides[side].margin;
        let ends = points.iter().flat_map(move |p| {
            let (low, high) = p.intervals[side].unwrap_or((p.changes[side], p.changes[side]));
            [low, high, p.changes[side]]
        });
        ends.chain([0.0]).chain(margin)
    };
    let x = Axis::over(ends(0), 6, &Format::percent());
    let y = Axis::over(ends(1), ticks_beside(HEIGHT), &Format::percent());
    let mut labels = html! {};
    let chart = frame.chart((&x, &y), |chart| {
        mesh(chart, true)?;
        let across = |at: f64| [(x.ends().start, at), (x.ends().end, at)];
        let up = [(0.0, y.ends().start), (0.0, y.ends().end)];
        chart.draw_series([up, across(0.0)].map(|ends| PathElement::new(ends, pen(&INK, 0.5, 1.0))))?;
        let margin = sides[1].margin.map(across);
        let dashed = |ends| Told::dashed(PathElement::new(ends, pen(&Tone::Bad, 1.0, 1.5)));
        chart.draw_series(margin.map(dashed))?;
        drawn(chart, &points, [&across_name, &up_name])?;
        labels = labels_of(chart, &points, frame);
        Ok(())
    })?;
    let front: Vec<_> = points.iter().filter(|p| p.is_front).collect();
    let (list, next) = list(&front, points.len(), bottom + 2.0 * LINE + 8.0)?;
    let (told, end) = notes(next, &told(&sides));
    let way = |side: &Measure| {
        if side.goal == Goal::Maximize {
            "more is better"
        } else {
            "less is better"
        }
    };
    let body = html! {
        (text(EDGE, 15.0, Side::Start, &format!("↑ change of {} ({})", short(&up_name, 24), way(&sides[1]))))
        (title_below(bottom + LINE, &format!("→ change of {} ({})", short(&across_name, 24), way(&sides[0]))))
        (chart)
        (labels)
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
                across_name,
                wording::percent(p.changes[0]),
                up_name,
                wording::percent(p.changes[1])
            )
        })
        .collect();
    Ok(Some(finish(
        PlotKind::Pareto,
        "Two metrics, and the treatments that none beats in both",
        &said.join("; "),
        end + 8.0,
        &body,
    )))
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
fn drawn(chart: &mut Chart<'_>, points: &[Point], names: [&str; 2]) -> Drawn<()> {
    let one = |chart: &mut Chart<'_>, point: &Point, tone: Tone, shape: Shape, r: f64| {
        let [x, y] = point.changes;
        let title = format!(
            "{}: {} {}, {} {}",
            point.name,
            names[0],
            wording::percent(x),
            names[1],
            wording::percent(y)
        );
        let across = point.intervals[0].map(|(low, high)| [(low, y), (high, y)]);
        let up = point.intervals[1].map(|(low, high)| [(x, low), (x, high)]);
        let intervals = across.into_iter().chain(up);
        chart.draw_series(intervals.map(|ends| PathElement::new(ends, pen(&tone, 0.45, 1.0))))?;
        chart.draw_series([Mark::new((x, y), shape, r, &tone).told(None, title)])?;
        Drawn::Ok(())
    };
    let (front, beaten): (Vec<_>, Vec<_>) = points.iter().partition(|p| p.is_front);
    for point in beaten {
        one(chart, point, Tone::Quiet, Shape::Dot, 3.2)?;
    }
    let joined: Vec<_> = front.iter().map(|p| (p.changes[0], p.changes[1])).collect();
    let joined = PathElement::new(joined, pen(&Tone::Same, 1.0, 1.5));
    chart.draw_series((front.len() > 1).then(|| Told::dashed(joined)))?;
    for point in front {
        one(chart, point, Tone::Same, Shape::Diamond, 5.5)?;
    }
    chart.draw_series([Mark::new((0.0, 0.0), Shape::Square, 4.5, &INK).told(None, "baseline".into())])?;
    Ok(())
}

/// The numbers of the front's treatments, and the baseline's name.
fn labels_of(chart: &Chart<'_>, points: &[Point], frame: Frame) -> Markup {
    let front = points.iter().filter(|p| p.is_front).enumerate();
    let front = front.map(|(place, p)| ((p.changes[0], p.changes[1]), (place + 1).to_string()));
    let mut taken = Vec::new();
    html! {
        @for (at, content) in front.chain([((0.0, 0.0), "baseline".to_string())]) {
            (label(&mut taken, chart.backend_coord(&at), &content, frame))
        }
    }
}

/// A label beside its point, on the first side where none stands yet.
fn label(taken: &mut Vec<(f64, f64, f64)>, (x, y): BackendCoord, content: &str, frame: Frame) -> Markup {
    let (x, y) = (f64::from(x) / 10.0, f64::from(y) / 10.0);
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
        let inside = left > frame.left && left + width < frame.right;
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
fn list(front: &[&Point], all: usize, top: f64) -> Drawn<(Markup, f64)> {
    let beaten = all - front.len();
    let mut y = top + 14.0;
    let mut parts = Vec::new();
    for (place, point) in front.iter().enumerate() {
        parts.push(Mark::new((EDGE + 6.0, y - 4.5), Shape::Diamond, 4.5, &Tone::Same).alone()?);
        for line in wrap(&format!("{} {}", place + 1, point.name), COLUMNS - 2, 2) {
            parts.push(text(EDGE + 20.0, y, Side::Start, &line));
            y += LINE;
        }
    }
    if beaten > 0 {
        parts.push(Mark::new((EDGE + 6.0, y - 4.5), Shape::Dot, 3.2, &Tone::Quiet).alone()?);
        parts.push(text(
            EDGE + 20.0,
            y,
            Side::Start,
            &format!("beaten by another one: {beaten}"),
        ));
        y += LINE;
    }
    Ok((html! { @for part in &parts { (part) } }, y - 8.0))
}
