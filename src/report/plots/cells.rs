//! The treatments of a run as cells of two factors: the change in each, averaged over the other factors. Knows no layout.

use crate::design::Role;
use crate::report::{Report, wording};

/// Two factors that some treatments combine, and the smallest p-value of their interaction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub(super) factors: [usize; 2],
    pub(super) p_holm: f64,
}

/// The pairs of factors of one response, the surest interaction first.
pub(super) fn pairs(report: &Report<'_>, response: usize) -> Vec<Pair> {
    let mut pairs: Vec<Pair> = Vec::new();
    let effects = report.evaluation.effects.get(response);
    for interaction in effects.iter().flat_map(|e| &e.interactions) {
        let p_holm = interaction.contrast.p_holm;
        match pairs.iter_mut().find(|p| p.factors == interaction.factors) {
            Some(pair) => pair.p_holm = pair.p_holm.min(p_holm),
            None => pairs.push(Pair {
                factors: interaction.factors,
                p_holm,
            }),
        }
    }
    pairs.sort_by(|a, b| a.p_holm.total_cmp(&b.p_holm).then(a.factors.cmp(&b.factors)));
    pairs
}

/// Why no two factors can be shown together.
pub(super) fn why_not(report: &Report<'_>) -> Option<String> {
    pairs(report, 0)
        .is_empty()
        .then(|| "no treatment differs from the baseline in two factors".into())
}

/// The change in each cell of two factors.
#[derive(Debug)]
pub(super) struct Cells {
    /// Names of the factors, tamed.
    pub(super) names: [String; 2],
    /// Labels of their levels, tamed.
    pub(super) labels: [Vec<String>; 2],
    /// The baseline's levels.
    pub(super) baselines: [usize; 2],
    /// By the level of the first factor, then of the second; in percent of the baseline's cell. `None` where nothing was
    /// measured.
    pub(super) changes: Vec<Vec<Option<f64>>>,
    /// What is said of the treatment of a cell, where it is of one only.
    pub(super) verdicts: Vec<Vec<Option<&'static str>>>,
}

impl Cells {
    /// Of one response; the pair is of the plan.
    pub(super) fn new(report: &Report<'_>, response: usize, pair: Pair) -> Option<Self> {
        let plan = &report.header.plan;
        let factors = [
            plan.factors.get(pair.factors[0])?,
            plan.factors.get(pair.factors[1])?,
        ];
        let sizes = factors.map(|f| f.levels.len());
        let mut logs = vec![vec![Vec::new(); sizes[1]]; sizes[0]];
        let mut verdicts = vec![vec![None; sizes[1]]; sizes[0]];
        let judged = plan.candidates().zip(&report.evaluation.comparisons);
        let judged = judged.filter_map(|((_, treatment), comparison)| {
            let judgement = comparison.responses.get(response)?;
            let change = judgement.effect.change_percent()?;
            Some((treatment, change, judgement.verdict.word()))
        });
        let baseline = plan.treatments.first().map(|t| (t, 0.0, "baseline"));
        for (treatment, change, verdict) in baseline.into_iter().chain(judged) {
            let level = |which: usize| {
                let (_, label) = treatment.levels.get(pair.factors[which])?;
                factors[which].levels.iter().position(|l| l.label == *label)
            };
            let (Some(a), Some(b), Role::Listed) = (level(0), level(1), treatment.role) else {
                continue;
            };
            logs[a][b].push((1.0 + change / 100.0).ln());
            verdicts[a][b] = (logs[a][b].len() == 1).then_some(verdict);
        }
        let baselines = factors.map(|f| f.baseline);
        let mean = |values: &Vec<f64>| {
            let finite: Vec<_> = values.iter().copied().filter(|v| v.is_finite()).collect();
            (!finite.is_empty()).then(|| finite.iter().sum::<f64>() / finite.len() as f64)
        };
        let base = mean(logs.get(baselines[0])?.get(baselines[1])?)?;
        let change = |values: &Vec<f64>| mean(values).map(|m| 100.0 * (m - base).exp_m1());
        let tamed = |which: usize| {
            let labels = factors[which].levels.iter();
            labels.map(|l| wording::tame(&l.label, 60)).collect::<Vec<_>>()
        };
        Some(Self {
            names: factors.map(|f| wording::tame(&f.tunable, 60)),
            labels: [tamed(0), tamed(1)],
            baselines,
            changes: logs.iter().map(|row| row.iter().map(change).collect()).collect(),
            verdicts,
        })
    }

    /// The same with the factors the other way round.
    pub(super) fn turned(self) -> Self {
        fn turn<T: Clone>(table: &[Vec<T>]) -> Vec<Vec<T>> {
            let width = table.first().map_or(0, Vec::len);
            (0..width)
                .map(|b| table.iter().map(|row| row[b].clone()).collect())
                .collect()
        }
        let ([a, b], [of_a, of_b]) = (self.names, self.labels);
        Self {
            names: [b, a],
            labels: [of_b, of_a],
            baselines: [self.baselines[1], self.baselines[0]],
            changes: turn(&self.changes),
            verdicts: turn(&self.verdicts),
        }
    }

    /// Every cell in words.
    pub(super) fn says(&self) -> String {
        let mut said = Vec::new();
        for (a, row) in self.changes.iter().enumerate() {
            for (b, change) in row.iter().enumerate() {
                let change = change.map_or("not measured".into(), wording::percent);
                said.push(format!("{}, {}: {change}", self.labels[0][a], self.labels[1][b]));
            }
        }
        format!("{} by {}: {}", self.names[0], self.names[1], said.join("; "))
    }
}
