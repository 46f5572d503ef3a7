//! The report in Markdown (GitHub's flavour), fit for a comment on a pull request: everything but the plots, what is long
//! folded away. Knows its escapes, not where it is shown.

use super::sides::{self, Group, Row};
use super::upshot::upshot;
use super::{Report, certificate, conclusion, effects, front, machine, repeat, text, verdict, wording};
use std::fmt::Write as _;

/// The whole report.
pub fn markdown(report: &Report<'_>) -> String {
    let name = wording::tame(&report.header.experiment, wording::NAME);
    let mut out = format!("## {}\n\n", escape(&name));
    if let Some(question) = &report.header.protocol.question {
        let question = wording::tame(question, wording::SENTENCE);
        let _ = write!(out, "Question: {}\n\n", escape(&question));
    }
    let _ = write!(out, "**{}**\n\n", escape(&conclusion::answer(report)));
    if let Some(best) = upshot(report).best(report) {
        let best = report.label(&best.id);
        let _ = write!(out, "{}: {}\n\n", conclusion::best_title(report), code(&best));
    }
    out.extend(conclusion::confirmed(report).map(|said| format!("{}\n\n", escape(&said))));
    out += &verdicts(report);
    out += &list("Not proven", &conclusion::unproven(report));
    out += &list(front::TITLE, &front::standings(report.header, report.front));
    if let Some(certificate) = report.certified {
        out += &list("Certificate", &certificate::lines(certificate));
    }
    out += &list("Notices", &conclusion::notices(report));
    out += &effect_tables(report);
    out += &host(report);
    out += &list("Trials without a number", &text::without_number(report));
    out += &run(report);
    out
}

/// The table, and the evidence for each candidate folded away.
fn verdicts(report: &Report<'_>) -> String {
    let mut out = table(
        "treatment | metric | baseline | candidate | vs baseline | p, n | verdict",
        "---|---|--:|--:|---|---|---",
        sides::groups(report).iter().flat_map(rows),
    );
    let _ = write!(out, "\n{}\n", escape(&sides::legend(report)));
    out += "\n<details><summary>The evidence for each verdict</summary>\n";
    for (treatment, comparison) in report.candidates() {
        out += &evidence(&verdict::lines(report, treatment, comparison));
    }
    out + "\n</details>\n"
}

/// The treatment stands in the first row of its own only.
fn rows(group: &Group) -> impl Iterator<Item = Vec<String>> {
    let labels = std::iter::once(in_cell(&code(&group.label))).chain(std::iter::repeat(String::new()));
    group
        .rows
        .iter()
        .zip(labels)
        .map(|(row, label)| cells(row, label))
}

fn cells(row: &Row, label: String) -> Vec<String> {
    let change = format!("{} {}", row.change, row.interval);
    vec![
        label,
        escape(&row.metric),
        escape(&row.baseline.text()),
        escape(&row.candidate.text()),
        escape(change.trim_end()),
        escape(&row.evidence),
        format!("**{}**", row.outcome),
    ]
}

fn effect_tables(report: &Report<'_>) -> String {
    let mut out = String::new();
    for (title, rows) in effects::tables(report) {
        let _ = write!(
            out,
            "\n### {}\n\nAveraged over the other factors; the intervals hold at 95 % together.\n\n",
            escape(&title)
        );
        let rows = rows
            .into_iter()
            .map(|row| row.iter().map(|cell| escape(cell)).collect());
        out += &table(&effects::HEADER.join(" | "), "---|---|--:|--:", rows);
    }
    out
}

/// What the host did under each treatment.
fn host(report: &Report<'_>) -> String {
    let Some((header, rows)) = machine::table(report) else {
        return String::new();
    };
    let rows = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| escape(cell)).collect());
    let aligned = vec!["---"; header.len()].join("|");
    format!(
        "\n### What the host did, medians\n\n{}",
        table(&header.join(" | "), &aligned, rows)
    )
}

/// What the run is, and how to do it again.
fn run(report: &Report<'_>) -> String {
    let mut out = String::from("\n### The run\n\n");
    let head = text::head(report).into_iter();
    for (name, value) in head.filter(|(name, _)| !matches!(*name, "experiment" | "question")) {
        let _ = writeln!(out, "- {name}: {}", escape(&value));
    }
    let _ = write!(
        out,
        "\nTo repeat it, save the experiment file (`kvmtune report --html` and `--jsonl` hold it) and run\n\n{}\n",
        indented(&repeat::command(report.header))
    );
    out
}

fn table(header: &str, aligned: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {header} |\n|{aligned}|\n");
    for row in rows {
        let _ = writeln!(out, "| {} |", row.join(" | "));
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
pub(super) fn escape(text: &str) -> String {
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

/// A code span; in a cell of a table it needs [`in_cell`].
pub(super) fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'"))
}

/// What would end the cell is escaped, which GitHub undoes before it reads the code.
pub(super) fn in_cell(code: &str) -> String {
    code.replace('|', "\\|")
}

/// A block of code of one line, in which nothing is markup.
fn indented(line: &str) -> String {
    format!("    {line}")
}
