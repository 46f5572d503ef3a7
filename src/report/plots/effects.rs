//! Every treatment against the baseline: a panel for each response and each guard. Knows no other plot.

use super::backend::Drawn;
use super::forest::{Panel, Row, below_each_other};
use super::mark::{of_guard, of_verdict};
use super::{Plot, PlotKind};
use crate::analysis::Comparison;
use crate::design::Treatment;
use crate::experiment::{Goal, MetricId};
use crate::report::{Report, wording};

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    report
        .evaluation
        .comparisons
        .is_empty()
        .then(|| "the run has no treatment beside the baseline".into())
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let panels = panels(report);
    let title = "Change of each treatment against the baseline, with intervals";
    below_each_other(PlotKind::Effects, title, &panels)
}

/// The name of a metric, and which way is better.
pub(super) fn metric_title(report: &Report<'_>, metric: &MetricId, goal: Goal) -> String {
    let name = report.header.protocol.name_of(metric);
    let way = match goal {
        Goal::Maximize => "more is better",
        Goal::Minimize => "less is better",
    };
    format!("{} ({way})", wording::tame(&name, 60))
}

/// The candidates with a part of their comparison, the largest gain in the first response first.
fn sorted<'a>(report: &Report<'a>) -> Vec<(&'a Treatment, &'a Comparison)> {
    let gain = |c: &Comparison| c.primary().effect.gain_percent.unwrap_or(f64::NEG_INFINITY);
    let mut all: Vec<_> = report.candidates().collect();
    all.sort_by(|(_, a), (_, b)| gain(b).total_cmp(&gain(a)));
    all
}

fn panels(report: &Report<'_>) -> Vec<Panel> {
    let protocol = &report.header.protocol;
    let candidates = sorted(report);
    let level = wording::confidence(report.evaluation.confidence);
    let rows = |of: &dyn Fn(&str, &Comparison) -> Option<Row>| {
        let named = candidates.iter().map(|(t, c)| (report.label(&t.id), c));
        named.filter_map(|(name, c)| of(&name, c)).collect::<Vec<_>>()
    };
    let responses = protocol.responses.iter().enumerate().map(|(place, response)| {
        let row = |name: &str, c: &Comparison| {
            let judgement = c.responses.get(place)?;
            let word = judgement.verdict.word();
            Some(Row::new(
                name,
                &judgement.effect,
                of_verdict(judgement.verdict),
                word,
            ))
        };
        let rows = rows(&row);
        let notes = [
            format!("The intervals hold at {level} for all treatments and responses together."),
            unknown(&rows),
        ];
        Panel {
            title: metric_title(report, &response.metric, response.goal),
            goal: response.goal,
            rows,
            smallest: Some(protocol.smallest_effect.0),
            margin: None,
            notes: notes.into_iter().filter(|n| !n.is_empty()).collect(),
        }
    });
    let guards = protocol.guards.iter().enumerate().map(|(place, guard)| {
        let row = |name: &str, c: &Comparison| {
            let found = c.guards.get(place)?;
            let word = found.outcome.word();
            Some(Row::new(name, &found.effect, of_guard(found.outcome), word))
        };
        let rows = rows(&row);
        let notes = [
            format!("Each end of an interval is a one-sided {level} bound."),
            unknown(&rows),
        ];
        let margin = guard.margin.0;
        Panel {
            title: format!("Guard: {}", metric_title(report, &guard.metric, guard.goal)),
            goal: guard.goal,
            rows,
            smallest: None,
            margin: Some(match guard.goal {
                Goal::Maximize => -margin,
                Goal::Minimize => margin,
            }),
            notes: notes.into_iter().filter(|n| !n.is_empty()).collect(),
        }
    });
    responses.chain(guards).collect()
}

/// What is to be said when some rows have no interval.
fn unknown(rows: &[Row]) -> String {
    if rows.iter().any(|r| r.interval.is_none()) {
        "Without a bar: too few blocks for an interval, or no look yet.".into()
    } else {
        String::new()
    }
}
