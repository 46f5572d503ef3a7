//! The report as one JSON document, schema `kvmtune-report-1`. Knows no layout; texts stand in it as they were found.

use super::overhead::{Overhead, overhead};
use super::{Report, conclusion, pace, wording};
use crate::analysis::{Comparison, Interval};
use crate::decision::{Counts, Recommendation};
use crate::event::{End, Outcome, TrialRecord};
use crate::experiment::{Goal, Guest, MetricId};
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
    guest: &'a Guest,
    host: String,
    seed: u64,
    blocks: Blocks,
    end: Option<End>,
    answer: String,
    recommendation: &'a Recommendation,
    response: ResponseRow<'a>,
    baseline: BaselineRow<'a>,
    treatments: Vec<TreatmentRow<'a>>,
    counts: Counts,
    trials: Vec<TrialRow<'a>>,
    overhead: Overhead,
    notices: Vec<String>,
    facts: &'a BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Blocks {
    planned: usize,
    measured: usize,
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

impl<'a> From<Report<'a>> for Document<'a> {
    fn from(report: Report<'a>) -> Self {
        let (header, evaluation) = (report.header, report.evaluation);
        let response = header.protocol.response();
        let (measured, planned) = report.blocks();
        let seconds_each = pace::block(header, report.records).map(|t| t.as_secs_f64());
        Self {
            schema: "kvmtune-report-1",
            run: header.run.to_string(),
            started: header.started,
            version: &header.version,
            experiment: &header.experiment,
            file: &header.file,
            text: &header.text,
            question: header.protocol.question.as_deref(),
            guest: &header.protocol.guest,
            host: wording::host(&header.facts),
            seed: header.plan.seed,
            blocks: Blocks {
                planned,
                measured,
                seconds_each,
            },
            end: report.end,
            answer: conclusion::answer(&report),
            recommendation: &evaluation.recommendation,
            response: ResponseRow {
                metric: &response.metric,
                goal: response.goal,
                unit: header.protocol.unit(&response.metric),
            },
            baseline: BaselineRow {
                id: report.baseline().map(|t| t.id.as_str()),
                levels: report.baseline().map_or(&[], |t| &t.levels),
                median: evaluation.baseline_medians[0],
            },
            treatments: treatments(report, seconds_each),
            counts: evaluation.counts,
            trials: report.records.iter().map(trial).collect(),
            overhead: overhead(&report),
            notices: conclusion::notices(&report),
            facts: &header.facts.record,
        }
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
