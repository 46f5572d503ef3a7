//! What each factor does by itself and together with another, as rows of a table. Knows no layout.

use super::{Report, wording};
use crate::analysis::{Contrast, Effect};
use crate::decision::Effects;
use crate::experiment::Goal;

/// What a table of effects holds.
pub(super) const HEADER: [&str; 4] = ["factor", "effect", "n", "p Holm"];

/// A table for each response: its title, then name, change with interval, blocks and p-value of each effect.
pub(super) fn tables(report: &Report<'_>) -> Vec<(String, Vec<Vec<String>>)> {
    let one = |effects: &Effects| {
        let response = report.header.protocol.responses.iter();
        let goal = response
            .filter(|r| r.metric == effects.metric)
            .map(|r| r.goal)
            .next()
            .unwrap_or(Goal::Maximize);
        let main = effects.main.iter().map(|effect| {
            let name = level(report, effect.factor, effect.level);
            row(&name, &effects.metric.metric, goal, &effect.contrast)
        });
        let interactions = effects.interactions.iter().map(|interaction| {
            let [a, b] = [0, 1].map(|i| level(report, interaction.factors[i], interaction.levels[i]));
            row(
                &format!("{a} x {b}"),
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

fn row(name: &str, metric: &str, goal: Goal, contrast: &Contrast) -> Vec<String> {
    let effect = Effect {
        metric: metric.into(),
        goal,
        blocks: contrast.blocks,
        gain_percent: contrast.gain_percent,
        interval_percent: contrast.interval_percent,
    };
    vec![
        name.into(),
        wording::change(&effect),
        contrast.blocks.to_string(),
        wording::p_value(contrast.p_holm),
    ]
}
