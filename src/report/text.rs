//! The verdict table for a terminal. Knows how wide it may be and whether it may be coloured, not what stdout is.

use super::table::{fill, pieces, table};
use super::{Report, certificate, conclusion, effects, front, machine, pace, sides, verdict, wording};
use crate::design::Guests;
use std::fmt::Write as _;

/// Columns all cells of a table of effects but the first need.
const EFFECT_COLUMNS: u16 = 40;
/// The fewest columns a report is laid out for.
const NARROWEST: u16 = 60;

/// The whole report, at most `width` columns wide (not below 60).
pub fn text(report: &Report<'_>, width: u16, colour: bool) -> String {
    let width = width.max(NARROWEST);
    let mut out = headline(report, width);
    out.push('\n');
    out += &sides::table(&sides::groups(report), width, colour);
    out += &fill(&sides::legend(report), width, "");
    out.push('\n');
    out += &fill(&conclusion::answer(report), width, "");
    out.extend(conclusion::confirmed(report).map(|said| fill(&said, width, "")));
    out += &verdicts(report, width);
    out += &list(
        front::TITLE,
        &front::standings(report.header, report.front),
        width,
    );
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
    head.extend(pace::cost(report).map(|cost| ("cost", cost)));
    head
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
