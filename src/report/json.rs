//! The report as one JSON document, schema `kvmtune-report-2`. Knows no layout; texts stand in it as they were found.

use super::machine::{self, HostRow};
use super::overhead::{Overhead, overhead};
use super::{Confirmation, Report, conclusion, pace, verdict, wording};
use crate::analysis::{Comparison, Effect, Interval, Rule, Stop};
use crate::decision::{Counts, Effects, Place, Recommendation};
use crate::event::{Certificate, End, Outcome, Purpose, TrialRecord};
use crate::experiment::{Goal, Guest, MetricId, Response};
use jiff::Timestamp;
use serde::Serialize;
use std::collections::BTreeMap;

/// Everything a report says. Field names are the schema: new ones may come, none changes its meaning.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Document<'a> {
    schema: &'static str,
    run: String,
    started: Timestamp,
    version: &'a str,
    experiment: &'a str,
    file: &'a str,
    text: &'a str,
    question: Option<&'a str>,
    purpose: &'a Purpose,
    guest: &'a Guest,
    host: String,
    host_class: String,
    seed: u64,
    blocks: Blocks,
    end: Option<End>,
    answer: String,
    recommendation: &'a Recommendation,
    rule: Rule,
    stop: Option<Stop>,
    responses: Vec<ResponseRow<'a>>,
    baseline: BaselineRow<'a>,
    treatments: Vec<TreatmentRow<'a>>,
    effects: &'a [Effects],
    /// What an A/A run certifies, when this is one.
    certificate: Option<&'a Certificate>,
    /// What an earlier A/A run said of this host when the run began.
    certified_by: Option<&'a Certificate>,
    /// Of a confirmation: the change in the run that found the treatment; it is not used.
    selection_change_percent: Option<f64>,
    /// What the run that measured the best treatment again said of it.
    confirmation: Option<ConfirmationRow<'a>>,
    /// Of a confirmation of what an ablation left: that against the whole winner.
    against_whole: Option<&'a Comparison>,
    /// Where the treatments stand in several responses, also in those that a weighted one is made of.
    front: &'a [Place],
    counts: Counts,
    trials: Vec<TrialRow<'a>>,
    overhead: Overhead,
    /// What the host did under each treatment.
    host_did: Vec<HostRow<'a>>,
    notices: Vec<String>,
    facts: &'a BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Blocks {
    planned: u32,
    measured: u32,
    seconds_each: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ResponseRow<'a> {
    metric: &'a MetricId,
    goal: Goal,
    unit: &'a str,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct BaselineRow<'a> {
    id: Option<&'a str>,
    levels: &'a [(String, String)],
    median: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TreatmentRow<'a> {
    id: &'a str,
    levels: &'a [(String, String)],
    change_percent: Option<f64>,
    change_interval_percent: Option<Interval>,
    more_seconds: Option<f64>,
    comparison: &'a Comparison,
    lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct TrialRow<'a> {
    block: u32,
    boot: u32,
    order: u32,
    treatment: &'a str,
    started: Timestamp,
    result: &'a Outcome,
    seconds: Seconds,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Seconds {
    total: f64,
    workload: f64,
    apply: f64,
    verify: f64,
    restore: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct ConfirmationRow<'a> {
    run: String,
    treatment: &'a str,
    confirmed: bool,
    effect: &'a Effect,
    against_whole: Option<&'a Comparison>,
}

impl<'a> From<&'a Confirmation> for ConfirmationRow<'a> {
    fn from(confirmation: &'a Confirmation) -> Self {
        Self {
            run: confirmation.run.to_string(),
            treatment: &confirmation.treatment,
            confirmed: confirmation.confirmed,
            effect: &confirmation.effect,
            against_whole: confirmation.against_whole.as_ref(),
        }
    }
}

impl<'a> From<Report<'a>> for Document<'a> {
    fn from(report: Report<'a>) -> Self {
        let (header, evaluation) = (report.header, report.evaluation);
        let (measured, planned) = report.blocks();
        let seconds_each =
            pace::block(header, report.records, header.plan.treatments.len()).map(|t| t.as_secs_f64());
        Self {
            schema: "kvmtune-report-2",
            run: header.run.to_string(),
            started: header.started,
            version: &header.version,
            experiment: &header.experiment,
            file: &header.file,
            text: &header.text,
            question: header.protocol.question.as_deref(),
            purpose: &header.purpose,
            guest: &header.protocol.guest,
            host: wording::host(&header.facts),
            host_class: header.facts.class(),
            seed: header.plan.seed,
            blocks: Blocks {
                planned,
                measured,
                seconds_each,
            },
            end: report.end,
            answer: conclusion::answer(&report),
            recommendation: &evaluation.recommendation,
            rule: evaluation.rule,
            stop: evaluation.stop,
            responses: header
                .protocol
                .responses
                .iter()
                .map(|r| response(report, r))
                .collect(),
            baseline: BaselineRow {
                id: report.baseline().map(|t| t.id.as_str()),
                levels: report.baseline().map_or(&[], |t| &t.levels),
                median: evaluation.baseline_medians[0],
            },
            treatments: treatments(report, seconds_each),
            effects: &evaluation.effects,
            certificate: report.certified,
            certified_by: header.certificate.as_ref(),
            selection_change_percent: report.selection,
            confirmation: report.confirmation.map(ConfirmationRow::from),
            against_whole: report.against_whole,
            front: report.front,
            counts: evaluation.counts,
            trials: report.records.iter().map(trial).collect(),
            overhead: overhead(&report),
            host_did: machine::rows(&report),
            notices: conclusion::notices(&report),
            facts: &header.facts.record,
        }
    }
}

fn response<'a>(report: Report<'a>, response: &'a Response) -> ResponseRow<'a> {
    ResponseRow {
        metric: &response.metric,
        goal: response.goal,
        unit: report.header.protocol.unit(&response.metric),
    }
}

fn treatments(report: Report<'_>, seconds_each: Option<f64>) -> Vec<TreatmentRow<'_>> {
    let row = |(treatment, comparison)| {
        let comparison: &Comparison = comparison;
        let treatment: &crate::design::Treatment = treatment;
        TreatmentRow {
            id: treatment.id.as_str(),
            levels: &treatment.levels,
            change_percent: comparison.primary().effect.change_percent(),
            change_interval_percent: comparison.primary().effect.change_interval_percent(),
            more_seconds: match comparison.primary().verdict {
                crate::analysis::Verdict::Inconclusive { more_blocks } => {
                    seconds_each.map(|s| s * f64::from(more_blocks))
                }
                _ => None,
            },
            comparison,
            lines: verdict::lines(&report, treatment, comparison),
        }
    };
    report.candidates().map(row).collect()
}

fn trial(record: &TrialRecord) -> TrialRow<'_> {
    let timing = record.timing;
    TrialRow {
        block: record.trial.block,
        boot: record.trial.boot,
        order: record.trial.order,
        treatment: record.trial.treatment.as_str(),
        started: record.started,
        result: &record.outcome,
        seconds: Seconds {
            total: timing.total.as_secs_f64(),
            workload: timing.workload.as_secs_f64(),
            apply: timing.apply.as_secs_f64(),
            verify: timing.verify.as_secs_f64(),
            restore: timing.restore.as_secs_f64(),
        },
    }
}

/// Everything a report says, ready to be serialised.
pub fn json<'a>(report: &Report<'a>) -> Document<'a> {
    Document::from(*report)
}
