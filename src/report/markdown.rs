//! The verdict table in Markdown (GitHub's flavour). Knows its escapes, not where it is shown.

use super::{Report, certificate, conclusion, effects, machine, text, verdict, wording};
use crate::analysis::Comparison;
use std::fmt::Write as _;

/// The whole report.
pub fn markdown(report: &Report<'_>) -> String {
    let mut out = format!(
        "## {}\n\n",
        escape(&wording::tame(&report.header.experiment, wording::NAME))
    );
    let _ = write!(out, "**{}**\n\n", escape(&conclusion::answer(report)));
    let metric = report.response_name(wording::NAME);
    let _ = writeln!(out, "| treatment | {} | n | p Holm | verdict |", escape(&metric));
    out += "|---|---|--:|--:|---|\n";
    let _ = writeln!(out, "| baseline | {} | | | |", escape(&text::baseline(report)));
    for (treatment, comparison) in report.candidates() {
        out += &candidate(&report.label(&treatment.id), comparison);
    }
    let _ = writeln!(out, "\n{}\n", escape(&wording::legend(report.evaluation)));
    for (name, value) in text::head(report).into_iter().skip(1) {
        let _ = writeln!(out, "- {name}: {}", escape(&value));
    }
    out += "\n### Verdicts\n";
    for (treatment, comparison) in report.candidates() {
        out += &evidence(&verdict::lines(report, treatment, comparison));
    }
    for (title, rows) in effects::tables(report) {
        let _ = write!(
            out,
            "\n### {}\n\n| {} |\n|---|---|--:|--:|\n",
            escape(&title),
            effects::HEADER.join(" | ")
        );
        for row in rows {
            let cells: Vec<_> = row.iter().map(|cell| escape(cell)).collect();
            let _ = writeln!(out, "| {} |", cells.join(" | "));
        }
    }
    if let Some(certificate) = report.certified {
        out += &list("Certificate", &certificate::lines(certificate));
    }
    out += &list("What the host did, medians", &machine::lines(report));
    out += &list("Trials without a number", &text::without_number(report));
    out += &list("Notices", &conclusion::notices(report));
    out
}

fn candidate(label: &str, comparison: &Comparison) -> String {
    let effect = &comparison.primary().effect;
    let mut out = format!(
        "| {} | {} | {} | {} | **{}** |\n",
        code(label),
        escape(&wording::change(effect)),
        effect.blocks,
        escape(&wording::p_value(comparison.primary().p_holm)),
        wording::verdict(comparison.primary().verdict),
    );
    for judgement in comparison.responses.iter().skip(1) {
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | **{}** |",
            escape(&wording::tame(&judgement.effect.metric, wording::NAME)),
            escape(&wording::change(&judgement.effect)),
            judgement.effect.blocks,
            escape(&wording::p_value(judgement.p_holm)),
            wording::verdict(judgement.verdict),
        );
    }
    for guard in &comparison.guards {
        let limit = wording::tame(&wording::guard_limit(guard), wording::NAME);
        let _ = writeln!(
            out,
            "| guard {} | {} | {} | | {} |",
            escape(&limit),
            escape(&wording::change(&guard.effect)),
            guard.effect.blocks,
            wording::guard_outcome(guard.outcome),
        );
    }
    out
}

/// The lines of one candidate as a list in a list.
fn evidence(lines: &[String]) -> String {
    let mut out = String::new();
    for (place, line) in lines.iter().enumerate() {
        let indent = if place == 0 { "\n" } else { "  " };
        let _ = writeln!(out, "{indent}- {}", escape(line.trim_start()));
    }
    out
}

fn list(title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = items.iter().map(|i| format!("- {}", escape(i))).collect();
    format!("\n### {title}\n\n{}\n", lines.join("\n"))
}

/// One line in which nothing is markup, not even a bare link, a mention or an issue number.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '@' => out += "&#64;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '!' => out.extend(['\\', c]),
            _ => out.push(c),
        }
    }
    // GitHub makes links of bare addresses.
    out.replace("://", "&#58;//").replace("www.", "www&#46;")
}

/// A code span that stays in its table cell.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "\\|"))
}
