//! What a proof rests on, in numbers and in plain lines, and what a run could have proven. Knows the words of the
//! lines, not the layout they stand in.

use super::Evaluation;
use super::ablation::settings;
use super::advice::Selection;
use super::chain::Link;
use super::numbers::Numbers;
use crate::analysis::{
    Comparison, Effect, GuardReport, Interval, Judgement, Level, Observed, Sample, hodges_lehmann, log_ratio,
    median, shrink, smallest_provable_effect,
};
use crate::design::Treatment;
use crate::diagnostic::one_line;
use crate::event::RunHeader;
use crate::experiment::Goal;

/// Longest name in a line, in characters.
const NAME: usize = 120;

/// The evidence of a comparison with the baseline, as lines without indentation.
pub(super) fn lines(
    header: &RunHeader,
    evaluation: &Evaluation,
    comparison: &Comparison,
    selection: Option<Selection>,
) -> Vec<String> {
    let mut lines = vec![what(header)];
    let trials = evaluation.counts.measured;
    lines.extend(
        comparison
            .responses
            .iter()
            .map(|j| response(j, evaluation.confidence)),
    );
    lines.extend(comparison.guards.iter().map(guard));
    lines.extend(selection.map(selection_line));
    lines.extend(noise(header, evaluation));
    let lost = evaluation.counts.failed + evaluation.counts.invalid + evaluation.counts.unsteady;
    if lost > 0 {
        lines.push(format!("{lost} of {} trials without a number", lost + trials));
    }
    lines
}

/// `domain.disk.io=native | fio-randread-4k | host class 9c1e | seed 41 | run 0123abcd`.
fn what(header: &RunHeader) -> String {
    let treatments = &header.plan.treatments;
    let settings = treatments
        .first()
        .zip(treatments.get(1))
        .map(|(baseline, treatment)| settings(treatment, baseline));
    let settings: Vec<_> = settings
        .into_iter()
        .flatten()
        .map(|(tunable, level)| format!("{tunable}={level}"))
        .collect();
    let workloads: Vec<_> = header
        .protocol
        .workloads
        .iter()
        .map(|w| w.name.as_str())
        .collect();
    format!(
        "{} | {} | host class {} | seed {} | run {}",
        one_line(&settings.join(" "), 4 * NAME),
        one_line(&workloads.join(" "), NAME),
        header.facts.class(),
        header.plan.seed,
        header.run.short()
    )
}

/// `iops +3.1 % [+2.2, +4.0] 95 % | p=.0005 exact, Holm m=1 | 12 fresh blocks (24 trials): better`.
fn response(judgement: &Judgement, level: Level) -> String {
    let effect = &judgement.effect;
    format!(
        "{} {} {} % | p={} exact, Holm m={} | {} fresh blocks ({} trials): {}",
        one_line(&effect.metric, NAME),
        change(effect),
        (1000.0 * level.get()).round() / 10.0,
        p_value(judgement.p_raw),
        judgement.family,
        effect.blocks,
        2 * effect.blocks,
        judgement.verdict.word(),
    )
}

/// `clat_p99_us -0.4 % [-2.9, +2.1] | guard <= +5 %: held`.
fn guard(guard: &GuardReport) -> String {
    let metric = one_line(&guard.effect.metric, NAME);
    let margin = (guard.margin.get() * 1e8).round() / 1e6;
    let limit = match guard.effect.goal {
        Goal::Minimize => format!("<= +{margin} %"),
        Goal::Maximize => format!(">= -{margin} %"),
    };
    let outcome = guard.outcome.word();
    if let Some(limit) = guard.limit {
        let sign = if guard.effect.goal == Goal::Minimize {
            "<="
        } else {
            ">="
        };
        let change = change(&guard.effect);
        return format!("{metric} {change} against {limit} | constraint {sign} {limit}: {outcome}");
    }
    format!("{metric} {} | guard {limit}: {outcome}", change(&guard.effect))
}

/// What is said of the gain that the treatment was chosen for.
pub(super) fn selection_line(selection: Selection) -> String {
    format!(
        "selection estimate {} (shrunk for having been picked: {}), not used",
        percent(selection.gain_percent),
        percent(selection.shrunk_percent)
    )
}

/// `A/A 2026-11-26: sigma_d 1.1 %, lag-1 0.08, smallest provable (12 blocks) 1.0 %`.
fn noise(header: &RunHeader, evaluation: &Evaluation) -> Option<String> {
    let certificate = header.certificate.as_ref()?;
    let noise = &certificate.noise;
    let provable = noise.smallest_provable(evaluation.done, Level::P95);
    let provable = provable.map_or_else(|| "nothing".into(), |p| format!("{:.1} %", p.percent()));
    Some(format!(
        "A/A {:.10}: sigma_d {:.1} %, lag-1 {:.2}, smallest provable ({} blocks) {provable}",
        certificate.started.to_string(),
        noise.sigma_d_percent,
        noise.lag1,
        evaluation.done
    ))
}

/// The gain of a treatment where it was chosen, raw and shrunk; `None` where it was not measured against this baseline.
pub(super) fn selection(
    link: &Link,
    found: &Evaluation,
    baseline: &Treatment,
    treatment: &Treatment,
) -> Option<Selection> {
    let plan = &link.header.plan;
    if plan.treatments.first()?.levels != baseline.levels {
        return None;
    }
    let place = plan
        .candidates()
        .position(|(_, t)| t.levels == treatment.levels)?;
    let samples = samples(link, found);
    let observed: Vec<Observed> = samples.iter().flatten().map(observed).collect();
    let before = samples.get(..place)?.iter().flatten().count();
    samples.get(place)?.as_ref()?;
    let percent = |log_ratio: f64| 100.0 * log_ratio.exp_m1();
    Some(Selection {
        gain_percent: percent(observed[before].estimate),
        shrunk_percent: percent(shrink(&observed)[before]),
    })
}

fn observed(sample: &Sample) -> Observed {
    let blocks = sample.len() as f64;
    Observed {
        estimate: hodges_lehmann(sample).log_ratio(),
        error: sample.standard_deviation() / blocks.sqrt(),
    }
}

/// The smallest gain the run could have proven for one of its candidates, in percent.
pub(super) fn provable_percent(link: &Link, found: &Evaluation) -> Option<f64> {
    let certified = link.header.certificate.as_ref().map(|c| c.noise.within_cv);
    let samples = samples(link, found);
    let measured = samples.iter().zip(&found.comparisons);
    let pairs = measured
        .filter(|(_, comparison)| comparison.dropped.is_none())
        .map(|(sample, _)| sample.as_ref().map_or(0, Sample::len));
    // What was lost proves nothing, and what was dropped was not to be measured to the end.
    let pairs = u32::try_from(pairs.min()?).unwrap_or(u32::MAX);
    let spreads = samples.iter().flatten();
    let within_cv = certified.or_else(|| {
        let each = spreads.map(|s| s.standard_deviation() / std::f64::consts::SQRT_2);
        median(each.collect())
    })?;
    let hypotheses = found.comparisons.iter().map(|c| c.responses.len()).sum();
    let level = found.confidence.simultaneous(hypotheses);
    let effect = smallest_provable_effect(within_cv, pairs, level)?;
    Some(100.0 * effect.exp_m1())
}

/// The differences of each candidate in the first response, in the complete blocks.
fn samples(link: &Link, found: &Evaluation) -> Vec<Option<Sample>> {
    let Link { header, records, .. } = link;
    let numbers = Numbers::new(&header.protocol, &header.plan, records);
    let response = header.protocol.response();
    let baseline = numbers.column(0, &response.metric);
    let sample = |place: usize| {
        let series = numbers.series(place, &response.metric, response.goal, &baseline);
        let pairs = series.pairs.iter().filter(|pair| pair.block <= found.done);
        let differences = pairs.filter_map(|p| log_ratio(p.candidate, p.baseline, response.goal).ok());
        Sample::new(differences.collect()).ok()
    };
    header.plan.candidates().map(|(place, _)| sample(place)).collect()
}

fn change(effect: &Effect) -> String {
    let bounds = |i: Interval| format!("[{:+.1}, {:+.1}]", i.low, i.high);
    let interval = effect
        .change_interval_percent()
        .map_or_else(|| "[unknown]".into(), bounds);
    match effect.change_percent() {
        Some(change) => format!("{} {interval}", percent(change)),
        None => "no estimate".into(),
    }
}

fn percent(value: f64) -> String {
    format!("{value:+.1} %")
}

fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "<.0001".into()
    } else {
        format!("{p:.4}")
    }
}
