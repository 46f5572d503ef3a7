//! The trials of a run as points: where each stands, what it gave, and what is to be told of it. Knows no layout.

use super::mark::Tone;
use super::paper;
use crate::analysis::Comparison;
use crate::decision::observed;
use crate::design::Role;
use crate::event::{Outcome, TrialRecord};
use crate::experiment::MetricId;
use crate::report::{Report, wording};
use std::collections::HashMap;

/// How much a trial says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It counts.
    Counted,
    /// It counts, and the host did not see what the workload says.
    Suspect,
    /// Of the discarded block.
    Discarded,
    /// Its workload never settled.
    Unsteady,
    /// It gave no number.
    Failed,
    /// Its settings did not hold.
    Invalid,
    /// It was measured, and not this metric.
    Without,
}

/// One trial.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) block: u32,
    pub(super) order: u32,
    /// By [`Trials::names`].
    pub(super) treatment: usize,
    /// Finite.
    pub(super) value: Option<f64>,
    pub(super) state: State,
    /// Why it is not just counted.
    reason: Option<String>,
}

/// Every trial of a run, with one of its metrics.
#[derive(Debug)]
pub(super) struct Trials {
    /// In the order they were run.
    pub(super) points: Vec<Point>,
    /// The names of the treatments, in the plan's order; one more for those that are not of the plan.
    pub(super) names: Vec<String>,
    unit: String,
}

impl Trials {
    pub(super) fn new(report: &Report<'_>, metric: &MetricId) -> Self {
        let plan = &report.header.plan;
        let places: HashMap<&str, usize> = plan
            .treatments
            .iter()
            .enumerate()
            .map(|(place, t)| (t.id.as_str(), place))
            .collect();
        let mut points: Vec<_> = report
            .records
            .iter()
            .map(|record| {
                let place = places.get(record.trial.treatment.as_str());
                point(
                    report,
                    record,
                    metric,
                    place.copied().unwrap_or(plan.treatments.len()),
                )
            })
            .collect();
        points.sort_by_key(|p| p.order);
        Self {
            points,
            names: names(report),
            unit: report.header.protocol.unit(metric).into(),
        }
    }

    /// The numbers that count of one treatment, in the order they were measured.
    pub(super) fn counted(&self, treatment: usize) -> impl Iterator<Item = (&Point, f64)> {
        let of_it = self.points.iter().filter(move |p| p.treatment == treatment);
        of_it.filter_map(|p| Some((p, p.value.filter(|_| p.counts())?)))
    }

    /// `block 3, trial 17, cache=none: 5,123 1/s`, and what else is to be said.
    pub(super) fn tell(&self, point: &Point) -> String {
        let Point { block, order, .. } = point;
        let name = self.names.get(point.treatment).map_or("", String::as_str);
        let value = point
            .value
            .map(|v| format!(": {}", wording::quantity(v, &self.unit)));
        let reason = point
            .reason
            .as_ref()
            .map(|r| format!(" ({r})"))
            .unwrap_or_default();
        format!(
            "block {block}, trial {order}, {name}{}{reason}",
            value.unwrap_or_default()
        )
    }
}

impl Point {
    /// Whether its number is judged.
    pub(super) fn counts(&self) -> bool {
        matches!(self.state, State::Counted | State::Suspect)
    }

    /// What a page finds it by.
    pub(super) fn id(&self) -> String {
        format!("{}.{}", self.block, self.order)
    }
}

fn point(report: &Report<'_>, record: &TrialRecord, metric: &MetricId, treatment: usize) -> Point {
    let (observations, state) = match &record.outcome {
        Outcome::Measured {
            observations,
            suspect,
        } if suspect.is_empty() => (Some(observations), State::Counted),
        Outcome::Measured { observations, .. } => (Some(observations), State::Suspect),
        Outcome::Unsteady { observations, .. } => (Some(observations), State::Unsteady),
        Outcome::Failed { .. } => (None, State::Failed),
        Outcome::Invalid { .. } => (None, State::Invalid),
    };
    let value = observations.and_then(|o| observed(&report.header.protocol, o, metric));
    let value = value.filter(|v| v.is_finite());
    let state = match (state, value) {
        (State::Counted | State::Suspect | State::Unsteady, None) => State::Without,
        (State::Counted | State::Suspect, _) if record.trial.block == 0 => State::Discarded,
        (state, _) => state,
    };
    let reason = match (&record.outcome, state) {
        (_, State::Discarded) => Some("of the discarded block".into()),
        (_, State::Without) => Some("it gave no such number".into()),
        (Outcome::Measured { suspect, .. }, _) => suspect
            .first()
            .map(|s| format!("suspect: {}", wording::tame(s, wording::REASON))),
        (other, _) => {
            let why = wording::reason(other).unwrap_or_default();
            Some(format!("{}: {why}", wording::outcome(other)))
        }
    };
    Point {
        block: record.trial.block,
        order: record.trial.order,
        treatment,
        value,
        state,
        reason,
    }
}

/// The names of all treatments, short enough to be repeated for each trial.
fn names(report: &Report<'_>) -> Vec<String> {
    let plan = &report.header.plan;
    let name = |t: &crate::design::Treatment| {
        let label = plan.treatments.first().map(|b| t.label_against(b));
        wording::tame(&label.unwrap_or_default(), paper::NAME)
    };
    let all = plan.treatments.iter().map(name);
    all.chain(["not of the plan".to_string()]).collect()
}

/// The candidates with the largest gains in the first response, the best first: places among the plan's treatments.
pub(super) fn best(report: &Report<'_>) -> Vec<usize> {
    let gain = |c: &Comparison| c.primary().effect.gain_percent.unwrap_or(f64::NEG_INFINITY);
    let places = report.header.plan.candidates().map(|(place, _)| place);
    let mut all: Vec<_> = places.zip(&report.evaluation.comparisons).collect();
    all.sort_by(|(_, a), (_, b)| gain(b).total_cmp(&gain(a)));
    all.into_iter().map(|(place, _)| place).collect()
}

/// The colour of each treatment, by the plan's order and one more: the baseline, and the best candidates. `None` for the
/// others.
pub(super) fn tones(report: &Report<'_>, most: usize) -> Vec<Option<Tone>> {
    let plan = &report.header.plan;
    let mut tones = vec![None; plan.treatments.len() + 1];
    for (place, treatment) in plan.treatments.iter().enumerate() {
        if place == 0 || treatment.role != Role::Listed {
            tones[place] = Some(Tone::Quiet);
        }
    }
    let best = best(report).into_iter().take(most);
    for (series, place) in best.enumerate() {
        tones[place] = Some(Tone::Series(series));
    }
    tones
}
