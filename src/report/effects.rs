//! What each factor does by itself and together with another, as rows of a table. Knows no layout.

use super::{Report, wording};
use crate::analysis::{Contrast, Effect};
use crate::decision::Effects;
use crate::experiment::Goal;

/// What a table of effects holds.
pub(super) const HEADER: [&str; 4] = ["factor", "effect", "n", "p Holm"];

/// One effect: its name, what it is in numbers, and its p-value.
pub(super) type Row = (String, Effect, f64);

/// A table for each response: its title, then name, change with interval, blocks and p-value of each effect.
pub(super) fn tables(report: &Report<'_>) -> Vec<(String, Vec<Vec<String>>)> {
    let texts = |(name, effect, p_holm): Row| {
        let blocks = effect.blocks.to_string();
        vec![name, wording::change(&effect), blocks, wording::p_value(p_holm)]
    };
    let table = |(title, rows): (String, Vec<Row>)| (title, rows.into_iter().map(texts).collect());
    rows(report).into_iter().map(table).collect()
}

/// The same in numbers.
pub(super) fn rows(report: &Report<'_>) -> Vec<(String, Vec<Row>)> {
    let one = |effects: &Effects| {
        let response = report.header.protocol.responses.iter();
        let goal = response
            .filter(|r| r.metric == effects.metric)
            .map(|r| r.goal)
            .next()
            .unwrap_or(Goal::Maximize);
        let main = effects.main.iter().map(|effect| {
            let name = level(report, effect.factor, effect.level);
            row(name, &effects.metric.metric, goal, &effect.contrast)
        });
        let interactions = effects.interactions.iter().map(|interaction| {
            let [a, b] = [0, 1].map(|i| level(report, interaction.factors[i], interaction.levels[i]));
            row(
                format!("{a} x {b}"),
                &effects.metric.metric,
                goal,
                &interaction.contrast,
            )
        });
        let title = wording::tame(&format!("effects on {}", effects.metric), wording::NAME);
        (title, main.chain(interactions).collect())
    };
    report.evaluation.effects.iter().map(one).collect()
}

fn level(report: &Report<'_>, factor: usize, level: usize) -> String {
    let factor = report.header.plan.factors.get(factor);
    let text = factor.and_then(|f| Some(format!("{}={}", f.tunable, f.levels.get(level)?.label)));
    wording::tame(&text.unwrap_or_default(), wording::NAME)
}

fn row(name: String, metric: &str, goal: Goal, contrast: &Contrast) -> Row {
    let effect = Effect {
        metric: metric.into(),
        goal,
        blocks: contrast.blocks,
        gain_percent: contrast.gain_percent,
        interval_percent: contrast.interval_percent,
    };
    (name, effect, contrast.p_holm)
}
