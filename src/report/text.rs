//! The verdict table for a terminal. Knows how wide it may be and whether it may be coloured, not what stdout is.

use super::table::{fill, pieces, table};
use super::{Report, certificate, conclusion, effects, machine, verdict, wording};
use crate::analysis::{Comparison, Judgement};
use crate::design::{Guests, Treatment};
use std::fmt::Write as _;

/// Columns all cells but the first need.
const OTHER_COLUMNS: u16 = 52;
/// Columns all cells of a table of effects but the first need.
const EFFECT_COLUMNS: u16 = 40;
/// The fewest columns a report is laid out for.
const NARROWEST: u16 = 60;

/// The whole report, at most `width` columns wide (not below 60).
pub fn text(report: &Report<'_>, width: u16, colour: bool) -> String {
    let width = width.max(NARROWEST);
    let mut out = headline(report, width);
    out.push('\n');
    let table = verdict_table(report, width);
    out += &if colour { coloured(&table) } else { table };
    out += &fill(&wording::legend(report.evaluation), width, "");
    out.push('\n');
    out += &fill(&conclusion::answer(report), width, "");
    out += &verdicts(report, width);
    out += &effect_tables(report, width);
    if let Some(certificate) = report.certified {
        out += &list("certificate", &certificate::lines(certificate), width);
    }
    out += &list("what the host did, medians", &machine::lines(report), width);
    out += &list("trials without a number", &without_number(report), width);
    out += &list("notices", &conclusion::notices(report), width);
    out
}

fn headline(report: &Report<'_>, width: u16) -> String {
    let mut out = String::new();
    for (name, value) in head(report) {
        let lines = fill(&value, width, "           ");
        let _ = write!(out, "{name:<11}{}", lines.trim_start());
    }
    out
}

/// What stands above every verdict table, as name and value.
pub(super) fn head(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let header = report.header;
    let (measured, planned) = report.blocks();
    let discarded = header.plan.blocks.iter().filter(|b| b.number == 0).count();
    let mut head = vec![("experiment", wording::tame(&header.experiment, wording::NAME))];
    if let Some(question) = &header.protocol.question {
        head.push(("question", wording::tame(question, wording::SENTENCE)));
    }
    if let Some(purpose) = wording::purpose(&header.purpose) {
        head.push(("purpose", purpose));
    }
    if let Some(baseline) = report.baseline() {
        head.push(("baseline", wording::tame(&baseline.label(), wording::SENTENCE)));
    }
    let fresh = match header.plan.guests {
        Guests::Shared => "",
        Guests::Block => "; a fresh one for each block",
        Guests::Fresh => "; a fresh one for each trial",
    };
    let guest = wording::guest(&header.protocol.guest);
    head.push(("guest", format!("{guest}{fresh}")));
    head.push(("host", wording::host(&header.facts)));
    head.push((
        "run",
        format!(
            "{}, {:.0}, seed {}",
            header.run.short(),
            header.started,
            header.plan.seed
        ),
    ));
    head.push((
        "blocks",
        format!("{measured} of {planned} measured + {discarded} discarded"),
    ));
    head
}

fn verdict_table(report: &Report<'_>, width: u16) -> String {
    let first = usize::from(width - OTHER_COLUMNS);
    let metric = report.response_name(22);
    let header = ["treatment", &metric, "n", "p Holm", "verdict"];
    let named = report.baseline().and_then(|b| b.name.as_ref());
    let mut rows = vec![vec![
        named.map_or_else(
            || "baseline".into(),
            |name| wording::tame(&format!("baseline: {name}"), first),
        ),
        baseline(report),
        String::new(),
        String::new(),
        String::new(),
    ]];
    for (treatment, comparison) in report.candidates() {
        rows.push(candidate(report, treatment, comparison, first));
        rows.extend(comparison.responses.iter().skip(1).map(|r| response(r, first)));
        rows.extend(guards(comparison, first));
    }
    table(&header, rows, &[2], width)
}

/// Its median with the unit.
pub(super) fn baseline(report: &Report<'_>) -> String {
    let protocol = &report.header.protocol;
    let unit = protocol.unit(&protocol.response().metric);
    report.evaluation.baseline_medians[0].map_or_else(
        || "no number".into(),
        |median| format!("{} (median)", wording::quantity(median, unit)),
    )
}

fn candidate(
    report: &Report<'_>,
    treatment: &Treatment,
    comparison: &Comparison,
    first: usize,
) -> Vec<String> {
    let differences = report
        .baseline()
        .map(|b| wording::differences(treatment, b))
        .unwrap_or_default();
    let mut lines: Vec<_> = differences.iter().flat_map(|d| pieces(d, first)).collect();
    if lines.is_empty() || treatment.name.is_some() {
        lines = pieces(&report.label(&treatment.id), first);
    }
    vec![
        lines.join("\n"),
        wording::change(&comparison.primary().effect),
        comparison.primary().effect.blocks.to_string(),
        wording::p_value(comparison.primary().p_holm),
        wording::verdict(comparison.primary().verdict).into(),
    ]
}

/// A response beside the first.
fn response(judgement: &Judgement, first: usize) -> Vec<String> {
    let metric = wording::tame(&judgement.effect.metric, wording::NAME);
    let name = fill(&metric, u16::try_from(first).unwrap_or(u16::MAX), "  ");
    vec![
        name.trim_end().into(),
        wording::change(&judgement.effect),
        judgement.effect.blocks.to_string(),
        wording::p_value(judgement.p_holm),
        wording::verdict(judgement.verdict).into(),
    ]
}

/// The evidence for each candidate, ending in its verdict.
fn verdicts(report: &Report<'_>, width: u16) -> String {
    let mut out = String::from("\nverdicts\n");
    for (treatment, comparison) in report.candidates() {
        for line in verdict::lines(report, treatment, comparison) {
            let indent = if line.starts_with("  ") { "    " } else { "  " };
            let hanging = format!("{indent}    ");
            let _ = write!(
                out,
                "{indent}{}",
                fill(line.trim_start(), width, &hanging).trim_start()
            );
        }
    }
    out
}

fn effect_tables(report: &Report<'_>, width: u16) -> String {
    let first = usize::from(width - EFFECT_COLUMNS);
    let mut out = String::new();
    for (title, mut rows) in effects::tables(report) {
        let title = format!("{title}, averaged over the other factors; 95 % together");
        out.push('\n');
        out += &fill(&title, width, "");
        for name in rows.iter_mut().filter_map(|row| row.first_mut()) {
            let words: Vec<_> = name.split(' ').flat_map(|word| pieces(word, first)).collect();
            if name.chars().count() > first {
                *name = words.join("\n");
            }
        }
        out += &table(&effects::HEADER, rows, &[2, 3], width);
    }
    out
}

fn guards(comparison: &Comparison, first: usize) -> impl Iterator<Item = Vec<String>> {
    comparison.guards.iter().map(move |guard| {
        let limit = wording::tame(&wording::guard_limit(guard), wording::NAME);
        let name = fill(
            &format!("guard {limit}"),
            u16::try_from(first).unwrap_or(u16::MAX),
            "  ",
        );
        vec![
            name.trim_end().into(),
            wording::change(&guard.effect),
            guard.effect.blocks.to_string(),
            String::new(),
            wording::guard_outcome(guard.outcome).into(),
        ]
    })
}

/// Block, treatment and reason of each trial that gave no number.
pub(super) fn without_number(report: &Report<'_>) -> Vec<String> {
    let line = |r: &crate::event::TrialRecord| {
        let reason = wording::reason(&r.outcome)?;
        let treatment = wording::tame(&report.label(&r.trial.treatment), wording::NAME);
        let outcome = wording::outcome(&r.outcome);
        Some(format!("block {} {treatment} {outcome}: {reason}", r.trial.block))
    };
    report.records.iter().filter_map(line).collect()
}

fn list(title: &str, items: &[String], width: u16) -> String {
    if items.is_empty() {
        return String::new();
    }
    let mut out = format!("\n{title}\n");
    for item in items {
        let lines = fill(item, width, "    ");
        let _ = write!(out, "  - {}", lines.trim_start());
    }
    out
}

/// Verdicts and outcomes, the last cell of their lines, in colour.
fn coloured(table: &str) -> String {
    let words = [
        ("better", 32),
        ("held", 32),
        ("worse", 31),
        ("failed", 31),
        ("equivalent", 36),
        ("inconclusive", 33),
        ("unproven", 33),
        ("no resolution", 33),
        ("at cap", 33),
        ("no gain", 36),
        ("dropped", 90),
    ];
    let paint = |line: &str| {
        let cell = words.iter().find_map(|&(word, code)| {
            // Two blanks before it: a cell of its own, not the end of a treatment's name.
            let head = line.strip_suffix(word).filter(|head| head.ends_with("  "))?;
            Some(format!("{head}\u{1b}[{code}m{word}\u{1b}[0m\n"))
        });
        cell.unwrap_or_else(|| format!("{line}\n"))
    };
    table.lines().map(paint).collect()
}
