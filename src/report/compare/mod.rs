//! Two runs set side by side: what is alike, what is not, and what each says by itself. Pools nothing and tests nothing
//! across runs. Knows two reports; not where they are kept.

mod like;
mod show;
#[cfg(test)]
mod tests;

pub use show::{compare_markdown, compare_text};

use super::{Report, conclusion, sides, wording};
use crate::analysis::{Effect, GuardOutcome, Interval, Verdict};
use crate::decision::{self, Sides};
use crate::design::{Role, TreatmentId};
use crate::event::RunId;
use crate::experiment::{Goal, MetricId};
use jiff::Timestamp;
use serde::Serialize;

/// Two runs, schema `kvmtune-compare-1`. Texts stand in it as they were found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct SideBySide<'a> {
    schema: &'static str,
    /// Whether host, guest, workloads and baseline are alike.
    comparable: bool,
    /// Why not: what differs, each in a sentence.
    unlike: Vec<String>,
    /// What else was done differently, and does not forbid to read one beside the other.
    otherwise: Vec<String>,
    /// What may be read from the two, and what may not.
    reading: &'static str,
    runs: [RunSide<'a>; 2],
    /// The facts in which the hosts and guests differ.
    facts: Vec<FactRow<'a>>,
    /// The treatments of both.
    treatments: Vec<TreatmentRow>,
    /// The labels of treatments that only one of them has.
    alone: [Vec<String>; 2],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct RunSide<'a> {
    run: String,
    #[serde(skip)]
    short: String,
    experiment: &'a str,
    question: Option<&'a str>,
    started: Timestamp,
    version: &'a str,
    seed: u64,
    host: String,
    host_class: String,
    simulated: Option<&'a str>,
    blocks: u32,
    answer: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct FactRow<'a> {
    name: &'a str,
    values: [Option<&'a str>; 2],
}

/// One treatment that both runs have.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TreatmentRow {
    id: TreatmentId,
    label: String,
    metrics: Vec<MetricRow>,
}

/// One metric that both runs judge.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetricRow {
    metric: MetricId,
    unit: String,
    goal: Goal,
    sides: [MetricSide; 2],
    verdicts: Agreement,
}

/// What one run says of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct MetricSide {
    #[serde(flatten)]
    measured: Sides,
    change_percent: Option<f64>,
    change_interval_percent: Option<Interval>,
    /// Whether a difference is proven; of a guard, whether its interval leaves out 0.
    differs: bool,
    blocks: usize,
    /// After Holm's correction; a guard has none.
    p_holm: Option<f64>,
    /// Of a constraint: what the candidate's values are held against, whatever the baseline has.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<f64>,
    said: Said,
}

/// What a run says of a metric: of a response, or of a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Said {
    Verdict(Verdict),
    Guard(GuardOutcome),
}

impl Said {
    /// In one or two words; also what two runs must share to agree.
    fn word(self) -> &'static str {
        match self {
            Self::Verdict(verdict) => verdict.word(),
            Self::Guard(outcome) => outcome.word(),
        }
    }

    /// Whether something is claimed.
    fn is_shown(self) -> bool {
        match self {
            Self::Verdict(v) => matches!(
                v,
                Verdict::Better | Verdict::Worse | Verdict::Equivalent | Verdict::NoGain
            ),
            Self::Guard(outcome) => outcome != GuardOutcome::Unproven,
        }
    }
}

/// Whether two runs say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Agreement {
    /// Both show the same.
    Agree,
    /// They show different things.
    Differ,
    /// The first shows something, the second nothing.
    OnlyFirst,
    /// The second shows something, the first nothing.
    OnlySecond,
    /// Neither shows anything.
    Nothing,
    /// It is a response of one and a guard of the other, or a constraint with another limit: it is judged differently.
    OtherQuestion,
}

impl Agreement {
    fn of(first: Said, second: Said) -> Self {
        let is_guard = |said: Said| matches!(said, Said::Guard(_));
        if is_guard(first) != is_guard(second) {
            return Self::OtherQuestion;
        }
        match (first.is_shown(), second.is_shown()) {
            (true, true) if first.word() == second.word() => Self::Agree,
            (true, true) => Self::Differ,
            (true, false) => Self::OnlyFirst,
            (false, true) => Self::OnlySecond,
            (false, false) => Self::Nothing,
        }
    }
}

/// Why two runs cannot be set side by side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// Both names are of one run.
    #[error("both are run {0}: name two runs; `kvmtune runs` lists them")]
    Same(String),
    /// Nothing was measured.
    #[error("run {0} has no trials: there is nothing to compare; `kvmtune run --resume {0}` measures them")]
    NoTrials(String),
    /// There is no number they share.
    #[error("the runs judge nothing in common: {0} has {1}, {2} has {3}")]
    NothingInCommon(String, String, String, String),
}

/// Sets two runs side by side.
pub fn compare<'a>(first: &Report<'a>, second: &Report<'a>) -> Result<SideBySide<'a>, CompareError> {
    let reports = [*first, *second];
    let short = |report: &Report<'_>| report.header.run.short();
    let id = |report: &Report<'_>| -> RunId { report.header.run };
    if id(first) == id(second) {
        return Err(CompareError::Same(short(first)));
    }
    if let Some(empty) = reports.iter().find(|r| r.records.is_empty()) {
        return Err(CompareError::NoTrials(short(empty)));
    }
    let judged = reports.map(|report| judged_metrics(&report));
    if !judged[0].iter().any(|metric| judged[1].contains(metric)) {
        let [a, b] = judged.map(|metrics| named(&metrics));
        return Err(CompareError::NothingInCommon(short(first), a, short(second), b));
    }
    let unlike = like::unlike(first.header, second.header);
    let treatments = treatments(&reports);
    let alone = |own: &Report<'_>, other: &Report<'_>| {
        let theirs = listed(other);
        let own_ids = listed(own).into_iter().filter(|id| !theirs.contains(id));
        own_ids.map(|id| own.label(id)).collect()
    };
    Ok(SideBySide {
        schema: "kvmtune-compare-1",
        comparable: unlike.is_empty(),
        reading: if unlike.is_empty() {
            like::ALIKE
        } else {
            like::UNLIKE
        },
        unlike,
        otherwise: like::otherwise(first.header, second.header),
        runs: reports.map(|report| run_side(&report)),
        facts: like::facts(first.header, second.header),
        treatments,
        alone: [alone(first, second), alone(second, first)],
    })
}

fn named(metrics: &[MetricId]) -> String {
    let names: Vec<_> = metrics.iter().map(ToString::to_string).collect();
    wording::tame(&names.join(", "), wording::NAME)
}

/// Responses, then guards.
fn judged_metrics(report: &Report<'_>) -> Vec<MetricId> {
    let protocol = &report.header.protocol;
    let responses = protocol.responses.iter().map(|r| r.metric.clone());
    responses
        .chain(protocol.guards.iter().map(|g| g.metric.clone()))
        .collect()
}

fn listed<'a>(report: &Report<'a>) -> Vec<&'a TreatmentId> {
    let all = report.header.plan.treatments.iter();
    all.filter(|t| t.role == Role::Listed).map(|t| &t.id).collect()
}

fn run_side<'a>(report: &Report<'a>) -> RunSide<'a> {
    let header = report.header;
    RunSide {
        run: header.run.to_string(),
        short: header.run.short(),
        experiment: &header.experiment,
        question: header.protocol.question.as_deref(),
        started: header.started,
        version: &header.version,
        seed: header.plan.seed,
        host: wording::host(&header.facts),
        host_class: header.facts.class(),
        simulated: header.facts.simulated(),
        blocks: report.evaluation.done,
        answer: conclusion::answer(report),
    }
}

/// The candidates of both runs, in the order of the first.
fn treatments(reports: &[Report<'_>; 2]) -> Vec<TreatmentRow> {
    let [first, second] = reports.map(|report| candidates(&report));
    let row = |(id, label, mine): (TreatmentId, String, Vec<MetricSide>)| {
        let (_, _, theirs) = second.iter().find(|(other, ..)| *other == id)?;
        let metrics = mine.into_iter().filter_map(|side| {
            let is_same = |o: &&MetricSide| {
                o.measured.metric == side.measured.metric && o.limit.is_some() == side.limit.is_some()
            };
            let other = theirs.iter().find(is_same)?;
            Some(metric_row(&reports[0], side, other.clone()))
        });
        Some(TreatmentRow {
            metrics: metrics.collect(),
            label,
            id,
        })
    };
    first.into_iter().filter_map(row).collect()
}

fn metric_row(report: &Report<'_>, first: MetricSide, second: MetricSide) -> MetricRow {
    let protocol = &report.header.protocol;
    let metric = first.measured.metric.clone();
    let responses = protocol.responses.iter().map(|r| (&r.metric, r.goal));
    let guards = protocol.guards.iter().map(|g| (&g.metric, g.goal));
    let constraints = protocol.constraints.iter().map(|c| (&c.metric, c.side));
    let mut goals = responses.chain(guards).chain(constraints);
    let goal = goals.find(|(id, _)| **id == metric).map(|(_, goal)| goal);
    MetricRow {
        unit: first.measured.unit.clone(),
        goal: goal.unwrap_or(Goal::Maximize),
        verdicts: if first.limit == second.limit {
            Agreement::of(first.said, second.said)
        } else {
            Agreement::OtherQuestion
        },
        sides: [first, second],
        metric,
    }
}

/// Each candidate with its metrics, responses first.
fn candidates(report: &Report<'_>) -> Vec<(TreatmentId, String, Vec<MetricSide>)> {
    let sides = decision::sides(report.header, report.records, report.evaluation);
    let all = report.candidates().zip(sides);
    all.filter(|((treatment, _), _)| treatment.role == Role::Listed)
        .map(|((treatment, comparison), sides)| {
            let responses = comparison.responses.iter();
            let responses = responses
                .zip(&sides)
                .map(|(j, sides)| metric_side(&j.effect, Some(j.p_holm), Said::Verdict(j.verdict), sides));
            let guards = comparison
                .guards
                .iter()
                .zip(sides.iter().skip(comparison.responses.len()));
            let guards = guards.map(|(guard, sides)| {
                let side = metric_side(&guard.effect, None, Said::Guard(guard.outcome), sides);
                against_limit(side, guard.limit)
            });
            let metrics = responses.chain(guards).collect();
            (treatment.id.clone(), report.label(&treatment.id), metrics)
        })
        .collect()
}

/// The effect of a constraint is not against the baseline.
fn against_limit(side: MetricSide, limit: Option<f64>) -> MetricSide {
    match limit {
        None => side,
        Some(_) => MetricSide {
            differs: false,
            change_percent: None,
            change_interval_percent: None,
            limit,
            ..side
        },
    }
}

fn metric_side(effect: &Effect, p_holm: Option<f64>, said: Said, measured: &Sides) -> MetricSide {
    MetricSide {
        differs: match said {
            Said::Verdict(verdict) => sides::is_difference(verdict),
            Said::Guard(_) => sides::leaves_out_zero(effect),
        },
        measured: measured.clone(),
        change_percent: effect.change_percent(),
        change_interval_percent: effect.change_interval_percent(),
        blocks: effect.blocks,
        p_holm,
        limit: None,
        said,
    }
}
