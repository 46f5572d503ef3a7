//! Plots with a panel for each pair of factors. Knows no panel.

use super::backend::Drawn;
use super::cells::{Cells, Pair, pairs};
use super::effects::metric_title;
use super::factors::goal;
use super::paper::{finish, heading, notes};
use super::{Plot, PlotKind};
use crate::experiment::Goal;
use crate::report::Report;
use maud::{Markup, html};

/// Such a plot beside its panels.
pub(super) struct Sheet {
    pub(super) kind: PlotKind,
    pub(super) title: &'static str,
    /// Pairs of factors that are drawn; the surest of more.
    pub(super) most: usize,
    /// Stands below the panels.
    pub(super) note: &'static str,
}

impl Sheet {
    /// Draws it; `panel` draws one pair from a height on, and tells where the next thing may begin. Cells come with the factor
    /// of more levels first.
    pub(super) fn draw(
        &self,
        report: &Report<'_>,
        panel: impl Fn(&Cells, Pair, Goal, f64) -> Drawn<(Markup, f64)>,
    ) -> Drawn<Plot> {
        let mut top = 4.0;
        let (mut parts, mut said) = (Vec::new(), Vec::new());
        let mut put = |(part, next): (Markup, f64)| {
            parts.push(part);
            next
        };
        for (response, effects) in report.evaluation.effects.iter().enumerate() {
            let goal = goal(report, &effects.metric);
            top = put(heading(top, &metric_title(report, &effects.metric, goal))) + 4.0;
            let all = pairs(report, response);
            for pair in all.iter().take(self.most) {
                let Some(cells) = Cells::new(report, response, *pair) else {
                    continue;
                };
                let cells = if cells.labels[0].len() < cells.labels[1].len() {
                    cells.turned()
                } else {
                    cells
                };
                said.push(cells.says());
                top = put(panel(&cells, *pair, goal, top)?);
            }
            if all.len() > self.most {
                let told = format!(
                    "The {} surest of {} pairs of factors are drawn.",
                    self.most,
                    all.len()
                );
                top = put(notes(top, &[told]));
            }
        }
        let averaged = (report.header.plan.factors.len() > 2).then_some(" Averaged over the other factors.");
        let told = format!("{}{}", self.note, averaged.unwrap_or_default());
        top = put(notes(top, &[told]));
        let body = html! { @for part in &parts { (part) } };
        Ok(finish(self.kind, self.title, &said.join(". "), top + 8.0, &body))
    }
}
