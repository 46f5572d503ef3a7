//! Every trial: those without a number or suspect, with their reasons; all of them as a table, and as a text of all
//! their numbers.
//!
//! Of a long run the table holds the first rows only; the text holds all of it, and the script makes rows of it as
//! they are looked at. So ten thousand trials open at once, and without a script they can still be read.

use super::super::overhead::overhead;
use super::super::{Report, wording};
use super::answer::chip;
use super::table::{Table, code, in_column, titled};
use crate::decision::observed;
use crate::event::{Outcome, TrialRecord};
use crate::experiment::MetricId;
use crate::workload::Observation;
use maud::{Markup, html};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Rows that are in the page before anybody scrolls.
const ROWS: usize = 300;
/// Troubled trials that are listed; the table of all trials has the others.
const TROUBLES: usize = 200;
/// From so many rows on they stand in a frame of their own.
const FRAMED: usize = 12;
/// Columns of the text before the metrics: block, order, start, treatment, outcome, begun, seconds.
const BEFORE: usize = 7;

/// What the sections share of the trials.
struct Trials<'a> {
    report: &'a Report<'a>,
    /// By treatment.
    labels: BTreeMap<&'a str, String>,
    /// What is judged, which has a column in the table.
    asked: Vec<MetricId>,
    /// Everything else that was observed.
    others: Vec<(&'a str, &'a str)>,
}

/// Responses, what a weighted one is made of, guards and constraints, each once.
pub(super) fn asked(report: &Report<'_>) -> Vec<MetricId> {
    let protocol = &report.header.protocol;
    let aims = protocol.aims();
    let responses = protocol.responses.iter().chain(&aims).map(|r| &r.metric);
    let guards = protocol.guards.iter().map(|g| &g.metric);
    let constraints = protocol.constraints.iter().map(|c| &c.metric);
    let mut asked: Vec<MetricId> = Vec::new();
    for metric in responses.chain(guards).chain(constraints) {
        if !asked.contains(metric) {
            asked.push(metric.clone());
        }
    }
    asked
}

pub(super) fn section(report: &Report<'_>) -> Markup {
    let trials = Trials::new(report);
    let count = report.records.len();
    html! {
        section #trials {
            h2 { "Trials" }
            (trials.troubles())
            h3 { "Every trial" }
            p .small {
                "In the order they were run. Block 0 warms up: it is measured and not judged."
                @if count > ROWS {
                    " The first " (ROWS) " of " (count) " are shown here"
                    span .scripted { ", the others as you scroll" } "; all stand in the text below."
                }
            }
            (trials.table())
            details .bulk {
                summary { "Every number as text" }
                p .small { "Tab-separated, one line a trial, numbers as they were measured." }
                pre #all-trials tabindex="0" data-copy="Copy all trials" { (trials.text()) }
            }
            details {
                summary { "What a trial costs beside its workload" }
                pre tabindex="0" { (overhead(report).to_string()) }
            }
        }
    }
}

impl<'a> Trials<'a> {
    fn new(report: &'a Report<'a>) -> Self {
        let treatments = report.header.plan.treatments.iter();
        let asked = asked(report);
        let others = others(report, &asked);
        Self {
            report,
            labels: treatments.map(|t| (t.id.as_str(), report.label(&t.id))).collect(),
            asked,
            others,
        }
    }

    fn label(&self, record: &TrialRecord) -> &str {
        let id = record.trial.treatment.as_str();
        self.labels.get(id).map_or("unknown", String::as_str)
    }

    /// Trials that failed, were invalid, never settled or are suspect.
    fn troubles(&self) -> Markup {
        let troubled: Vec<_> = self
            .report
            .records
            .iter()
            .filter_map(|r| Some((r, reason(r)?)))
            .collect();
        if troubled.is_empty() {
            return html! { p { "Every trial gave its numbers, and none is suspect." } };
        }
        let content = html! {
            thead { tr {
                th scope="col" .number { "block" } th scope="col" .number { "order" } th scope="col" { "treatment" }
                th scope="col" { "outcome" } th scope="col" { "reason" }
            } }
            tbody { @for (record, reason) in troubled.iter().take(TROUBLES) {
                tr data-trial=(name(record)) {
                    td .number { (record.trial.block) } td .number { (record.trial.order) }
                    td { (code(self.label(record))) }
                    td { (chip(outcome(record))) } td .reason { (reason) }
                }
            } }
        };
        let table = Table {
            id: "troubles",
            caption: "Trials that failed, were invalid or not steady, or are suspect",
            filtered: true,
        };
        html! {
            h3 { "Failed, invalid, not steady or suspect" }
            @if troubled.len() > TROUBLES {
                p .small { "The first " (TROUBLES) " of " (troubled.len()) "; the table of every trial has the others." }
            }
            div .tall[troubled.len() > FRAMED] { (table.around(&content)) }
        }
    }

    fn table(&self) -> Markup {
        let protocol = &self.report.header.protocol;
        let last = BEFORE + self.asked.len() + self.others.len();
        let content = html! {
            thead { tr {
                th scope="col" .number data-from="0" { "block" }
                th scope="col" .number data-from="1" { "order" }
                th scope="col" data-from="3" data-as="code" { "treatment" }
                @for (place, metric) in self.asked.iter().enumerate() {
                    @let unit = protocol.unit(metric);
                    th scope="col" .number data-from=(BEFORE + place) data-as="value" data-unit=(wording::tame(unit, 20)) {
                        (titled(&protocol.name_of(metric), unit))
                    }
                }
                th scope="col" data-from="4" data-as="word" { "outcome" }
                th scope="col" .number data-from="2" { "guest start" }
                th scope="col" .number data-from="6" data-as="seconds" { "time" }
                th scope="col" data-from=(last) data-as="reason" { "reason" }
            } }
            tbody { @for record in self.report.records.iter().take(ROWS) { (self.row(record)) } }
        };
        let table = Table {
            id: "every-trial",
            caption: "Every trial",
            filtered: true,
        };
        html! { div .tall data-rows="all-trials" { (table.around(&content)) } }
    }

    /// As the script makes it of a line of the text.
    fn row(&self, record: &TrialRecord) -> Markup {
        let protocol = &self.report.header.protocol;
        html! {
            tr data-trial=(name(record)) {
                td .number { (record.trial.block) }
                td .number { (record.trial.order) }
                td { (code(self.label(record))) }
                @for metric in &self.asked {
                    @match observed(protocol, observations(record), metric) {
                        Some(value) => td .number data-value=(value) { (in_column(value, protocol.unit(metric))) },
                        None => td .number {},
                    }
                }
                td { (chip(outcome(record))) }
                td .number { (record.trial.boot) }
                @let seconds = record.timing.total;
                td .number data-value=(seconds.as_secs_f64()) { (wording::seconds(seconds)) }
                td .reason { (reason(record).unwrap_or_default()) }
            }
        }
    }

    /// A line of names, then one for each trial.
    fn text(&self) -> String {
        let protocol = &self.report.header.protocol;
        let mut text = String::from("block\torder\tguest start\ttreatment\toutcome\tbegun\tseconds");
        let others = self.others.iter().map(|(workload, metric)| MetricId {
            workload: (*workload).into(),
            metric: (*metric).into(),
        });
        for metric in self.asked.iter().cloned().chain(others) {
            text.push('\t');
            text += &titled(&protocol.name_of(&metric), protocol.unit(&metric));
        }
        text += "\treason\n";
        for record in self.report.records {
            self.line(record, &mut text);
        }
        text
    }

    fn line(&self, record: &TrialRecord, text: &mut String) {
        let protocol = &self.report.header.protocol;
        let trial = &record.trial;
        // Writing to a `String` does not fail.
        let _ = write!(
            text,
            "{}\t{}\t{}\t{}\t{}\t{}\t{}",
            trial.block,
            trial.order,
            trial.boot,
            self.label(record),
            outcome(record),
            record.started,
            record.timing.total.as_secs_f64()
        );
        let observations = observations(record);
        for metric in &self.asked {
            text.push('\t');
            if let Some(value) = observed(protocol, observations, metric) {
                let _ = write!(text, "{value}");
            }
        }
        // Trials tell their metrics in the same order, so the next is mostly the next.
        let mut next = 0;
        for metric in &self.others {
            text.push('\t');
            let is_it = |o: &Observation| (o.workload.as_str(), o.metric.as_str()) == *metric;
            let from = observations.iter().skip(next).position(is_it).map(|p| p + next);
            if let Some(place) = from.or_else(|| observations.iter().position(is_it)) {
                next = place + 1;
                let _ = write!(text, "{}", observations[place].value);
            }
        }
        text.push('\t');
        text.push_str(&reason(record).unwrap_or_default());
        text.push('\n');
    }
}

/// Metrics that some trial has and nothing asks for, in the order they were first told.
fn others<'a>(report: &'a Report<'a>, asked: &[MetricId]) -> Vec<(&'a str, &'a str)> {
    let mut found: Vec<(&str, &str)> = Vec::new();
    let mut last: Vec<(&str, &str)> = Vec::new();
    for record in report.records {
        let all = observations(record)
            .iter()
            .map(|o| (o.workload.as_str(), o.metric.as_str()));
        // Mostly the same ones as before.
        if all.clone().eq(last.iter().copied()) {
            continue;
        }
        last = all.collect();
        for metric in &last {
            let is_asked = asked
                .iter()
                .any(|a| (a.workload.as_str(), a.metric.as_str()) == *metric);
            if !is_asked && !found.contains(metric) {
                found.push(*metric);
            }
        }
    }
    found
}

/// What plots call the trial too.
fn name(record: &TrialRecord) -> String {
    format!("{}.{}", record.trial.block, record.trial.order)
}

fn observations(record: &TrialRecord) -> &[Observation] {
    match &record.outcome {
        Outcome::Measured { observations, .. } | Outcome::Unsteady { observations, .. } => observations,
        Outcome::Failed { .. } | Outcome::Invalid { .. } => &[],
    }
}

/// `suspect` of a measured trial that the host does not bear out, else its outcome.
fn outcome(record: &TrialRecord) -> &'static str {
    match &record.outcome {
        Outcome::Measured { suspect, .. } if !suspect.is_empty() => "suspect",
        other => wording::outcome(other),
    }
}

/// Why a trial has no number, or a number that is suspect: one tame line.
fn reason(record: &TrialRecord) -> Option<String> {
    match &record.outcome {
        Outcome::Measured { suspect, .. } => {
            (!suspect.is_empty()).then(|| wording::tame(&suspect.join("; "), wording::SENTENCE))
        }
        other => wording::reason(other),
    }
}
