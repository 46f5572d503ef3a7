//! What each level of a factor does by itself, averaged over the other factors. Knows no other plot.

use super::backend::Drawn;
use super::effects::metric_title;
use super::forest::{Panel, Row, below_each_other};
use super::mark::{Shape, Tone};
use super::{Plot, PlotKind};
use crate::analysis::{Contrast, Effect};
use crate::experiment::{Goal, MetricId};
use crate::report::{Report, wording};

/// As sure as [`crate::decision::Evaluation::effects`] are.
const CLAIM: f64 = 0.05;

pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    let some = report.evaluation.effects.iter().any(|e| !e.main.is_empty());
    (!some).then(|| {
        "no treatment differs from the baseline in two factors, so the effects plot shows all there is".into()
    })
}

pub(super) fn draw(report: &Report<'_>) -> Drawn<Plot> {
    let panels: Vec<_> = report
        .evaluation
        .effects
        .iter()
        .map(|effects| {
            let goal = goal(report, &effects.metric);
            let rows = effects.main.iter().map(|main| {
                let name = level(report, main.factor, main.level);
                row(&name, &effects.metric.metric, goal, &main.contrast)
            });
            Panel {
                title: metric_title(report, &effects.metric, goal),
                goal,
                rows: rows.collect(),
                smallest: Some(report.header.protocol.smallest_effect.0),
                margin: None,
                notes: vec![
                    "Each level against its factor's baseline level, averaged over the other factors; the intervals hold at 95 % \
                     together."
                        .into(),
                ],
            }
        })
        .collect();
    let title = "What each level of a factor does by itself";
    below_each_other(PlotKind::MainEffects, title, &panels)
}

/// A level with its factor's name.
pub(super) fn level(report: &Report<'_>, factor: usize, level: usize) -> String {
    let factor = report.header.plan.factors.get(factor);
    let text = factor.and_then(|f| Some(format!("{}={}", f.tunable, f.levels.get(level)?.label)));
    wording::tame(&text.unwrap_or_default(), super::paper::NAME)
}

/// Which way of a response is better.
pub(super) fn goal(report: &Report<'_>, metric: &MetricId) -> Goal {
    let mut responses = report.header.protocol.responses.iter();
    let found = responses.find(|r| r.metric == *metric);
    found.map_or(Goal::Maximize, |r| r.goal)
}

fn row(name: &str, metric: &str, goal: Goal, contrast: &Contrast) -> Row {
    let effect = Effect {
        metric: metric.into(),
        goal,
        blocks: contrast.blocks,
        gain_percent: contrast.gain_percent,
        interval_percent: contrast.interval_percent,
    };
    let gain = contrast.gain_percent.unwrap_or(0.0);
    let (sign, word) = match (contrast.p_holm <= CLAIM, gain > 0.0) {
        (true, true) => ((Tone::Good, Shape::Up), "better"),
        (true, false) => ((Tone::Bad, Shape::Down), "worse"),
        (false, _) => ((Tone::Open, Shape::Ring), "not shown"),
    };
    Row::new(name, &effect, sign, word)
}
