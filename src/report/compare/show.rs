//! Two runs side by side on a terminal and in Markdown. Knows layouts, compares nothing.

use super::{Agreement, FactRow, MetricRow, MetricSide, RunSide, SideBySide};
use crate::report::markdown::{code, escape, in_cell};
use crate::report::table::fill;
use crate::report::{sides, wording};
use std::fmt::Write as _;

/// The fewest columns they are laid out for.
const NARROWEST: u16 = 80;
/// Longest fact that is shown of either, in characters.
const FACT: usize = 160;
/// Longest name of a metric that is shown.
const METRIC: usize = 40;

/// All of it, at most `width` columns wide (not below 80).
pub fn compare_text(both: &SideBySide<'_>, width: u16) -> String {
    let width = width.max(NARROWEST);
    let mut out = fill(&headline(both), width, "");
    for reason in &both.unlike {
        out += &item(reason, width);
    }
    out += &fill(both.reading, width, "");
    out.push('\n');
    for run in &both.runs {
        let lines = run_lines(run);
        out += &fill(&lines[0], width, "");
        for line in &lines[1..] {
            out += &fill(line, width, "  ");
        }
    }
    out += &notes(both, width);
    out += &facts(both, width);
    out.push('\n');
    for line in apart(both) {
        out += &fill(&line, width, "");
    }
    out + &columns(both, width)
}

/// The treatments of both: a line for what is told of a metric, a column for each run.
fn columns(both: &SideBySide<'_>, width: u16) -> String {
    let [a, b] = both.runs.each_ref().map(|run| run.short.as_str());
    let all = || both.treatments.iter().flat_map(|t| &t.metrics).flat_map(rows);
    let wide = all()
        .map(|[_, first, _]| first.chars().count())
        .max()
        .unwrap_or(0);
    let wide = wide.max(a.len());
    let mut out = String::new();
    for treatment in &both.treatments {
        out.push('\n');
        out += &fill(&treatment.label, width, "  ")[2..];
        let _ = writeln!(out, "{:21} {a:wide$}  {b}", "");
        for metric in &treatment.metrics {
            let _ = writeln!(out, "  {}", name(metric));
            for [what, first, second] in rows(metric) {
                let _ = writeln!(out, "    {what:17} {first:wide$}  {second}");
            }
        }
    }
    out
}

/// What matters most, in a sentence.
fn headline(both: &SideBySide<'_>) -> String {
    if both.comparable {
        return format!(
            "Comparable: hosts of one class ({}), the same guest, workloads and baseline.",
            both.runs[0].host_class
        );
    }
    "NOT COMPARABLE:".into()
}

fn item(text: &str, width: u16) -> String {
    format!("  - {}", fill(text, width, "    ").trim_start())
}

/// What a run is, and its answer.
fn run_lines(run: &RunSide<'_>) -> Vec<String> {
    let question = run.question.map(|q| wording::tame(q, wording::SENTENCE));
    let mut lines = vec![format!(
        "{} {}, {:.0}, {} blocks, seed {}",
        run.short,
        wording::tame(run.experiment, wording::NAME),
        run.started,
        run.blocks,
        run.seed
    )];
    lines.extend(question);
    lines.push(format!("host class {}: {}", run.host_class, run.host));
    lines.push(run.answer.clone());
    lines
}

fn notes(both: &SideBySide<'_>, width: u16) -> String {
    if both.otherwise.is_empty() {
        return String::new();
    }
    let items: String = both.otherwise.iter().map(|note| item(note, width)).collect();
    format!("\nalso different\n{items}")
}

fn facts(both: &SideBySide<'_>, width: u16) -> String {
    let mut out = String::new();
    for row in &both.facts {
        let _ = writeln!(out, "  {}", wording::tame(row.name, 76));
        for (run, value) in both.runs.iter().zip(fact(row)) {
            let told = fill(&format!("{} {value}", run.short), width, "      ");
            let _ = write!(out, "    {}", told.trim_start());
        }
    }
    if out.is_empty() {
        out
    } else {
        format!("\nfacts that differ\n{out}")
    }
}

/// Both values of a fact; of long ones only the beginning.
fn fact(row: &FactRow<'_>) -> [String; 2] {
    row.values.map(|value| match value {
        Some(value) if value.chars().count() > FACT => {
            format!(
                "{} ({} characters)",
                wording::tame(value, FACT),
                value.chars().count()
            )
        }
        Some(value) => wording::tame(value, FACT),
        None => "unknown".into(),
    })
}

/// Which treatments are not set side by side.
fn apart(both: &SideBySide<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    if both.treatments.is_empty() {
        lines.push("They have no treatment in common but, at most, the baseline.".into());
    }
    for (run, labels) in both.runs.iter().zip(&both.alone) {
        if !labels.is_empty() {
            let labels = wording::tame(&labels.join("; "), wording::SENTENCE);
            lines.push(format!("only in {}: {labels}", run.short));
        }
    }
    lines
}

/// A metric with its workload and unit.
fn name(metric: &MetricRow) -> String {
    sides::with_unit(&wording::tame(&metric.metric.to_string(), METRIC), &metric.unit)
}

/// What is told of one metric: each time what it is, and its value in either run.
fn rows(metric: &MetricRow) -> [[String; 3]; 4] {
    let line = |what: &str, of: &dyn Fn(&MetricSide) -> String| {
        let [first, second] = metric.sides.each_ref().map(of);
        [what.to_string(), first, second]
    };
    let number = |centre| sides::number(centre, &metric.unit).text();
    let verdict = match metric.verdicts {
        Agreement::Agree => "verdict: agree",
        Agreement::Differ => "verdict: DIFFER",
        Agreement::OnlyFirst | Agreement::OnlySecond => "verdict: only one",
        Agreement::Nothing => "verdict: neither",
        Agreement::OtherQuestion if metric.sides[0].limit.is_some() => "other limits",
        Agreement::OtherQuestion => "response, guard",
    };
    [
        line("baseline", &|side| number(side.measured.baseline)),
        line("candidate", &|side| number(side.measured.candidate)),
        line("change", &change),
        line(verdict, &said),
    ]
}

/// `+31.6 % [+28.9, +33.6]`, or `~` and the interval where no difference is proven; of a constraint its limit.
fn change(side: &MetricSide) -> String {
    if let Some(limit) = side.limit {
        return format!("limit {limit}");
    }
    let change = side.change_percent.filter(|_| side.differs);
    let change = change.map_or_else(|| "~".into(), wording::percent);
    let interval = side
        .change_interval_percent
        .map(wording::interval)
        .unwrap_or_default();
    format!("{change} {interval}").trim_end().to_string()
}

/// `better (p=0.006 n=10)`.
fn said(side: &MetricSide) -> String {
    format!(
        "{} ({}n={})",
        side.said.word(),
        sides::told_p(side.p_holm),
        side.blocks
    )
}

/// The same in Markdown.
pub fn compare_markdown(both: &SideBySide<'_>) -> String {
    let [a, b] = both.runs.each_ref().map(|run| run.short.as_str());
    let mut out = format!("## Runs {a} and {b}\n\n**{}**\n\n", escape(&headline(both)));
    out += &list("", &both.unlike);
    let _ = write!(out, "{}\n\n", escape(both.reading));
    for run in &both.runs {
        let lines = run_lines(run);
        let _ = writeln!(out, "- {}", escape(&lines[0]));
        for line in &lines[1..] {
            let _ = writeln!(out, "  - {}", escape(line));
        }
    }
    out += &list("\n### Also different\n\n", &both.otherwise);
    if !both.facts.is_empty() {
        let _ = write!(
            out,
            "\n### Facts that differ\n\n| fact | {a} | {b} |\n|---|---|---|\n"
        );
    }
    for row in &both.facts {
        let [first, second] = fact(row).map(|value| escape(&value));
        let _ = writeln!(
            out,
            "| {} | {first} | {second} |",
            escape(&wording::tame(row.name, wording::NAME))
        );
    }
    out += &list("\n### Not in both\n\n", &apart(both));
    if !both.treatments.is_empty() {
        let _ = write!(
            out,
            "\n### Treatments of both\n\n| treatment | metric | | {a} | {b} |\n|---|---|---|---|---|\n"
        );
    }
    for treatment in &both.treatments {
        let mut label = in_cell(&code(&treatment.label));
        for metric in &treatment.metrics {
            let mut metric_name = escape(&name(metric));
            for row in rows(metric) {
                let cells = row.each_ref().map(|cell| escape(cell));
                let (label, metric) = (std::mem::take(&mut label), std::mem::take(&mut metric_name));
                let _ = writeln!(out, "| {label} | {metric} | {} |", cells.join(" | "));
            }
        }
    }
    out
}

fn list(title: &str, items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: Vec<_> = items.iter().map(|item| format!("- {}", escape(item))).collect();
    format!("{title}{}\n\n", items.join("\n"))
}
