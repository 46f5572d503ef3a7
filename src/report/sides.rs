//! Baseline and candidate side by side, a row for each metric, in the manner of benchstat: medians, and `~` where no
//! difference is proven. Knows the rows and how they stand on a terminal; not what is said beside them.

use super::table::{fill, pieces};
use super::{Report, wording};
use crate::analysis::{Centre, Comparison, Effect, GuardReport, Judgement, Verdict};
use crate::decision::{self, Sides};

/// Longest name of a metric that is shown.
const METRIC: usize = 60;
/// The fewest columns a metric's name is given; below, a row becomes several lines.
const LEAST: usize = 12;

/// One candidate.
pub(super) struct Group {
    /// How it differs from the baseline.
    pub label: String,
    /// Its metrics: the responses, the guards, the constraints.
    pub rows: Vec<Row>,
}

/// One metric of a candidate; all texts are tame.
pub(super) struct Row {
    /// With its unit, where the numbers do not carry it.
    pub metric: String,
    /// The baseline's median.
    pub baseline: Number,
    /// The candidate's.
    pub candidate: Number,
    /// `+12.3 %`, or `~` where no difference is proven; of a constraint its limit.
    pub change: String,
    /// Its interval, also where nothing is proven; empty without one.
    pub interval: String,
    /// `p=0.006 n=10`; of a guard, which is not tested for a difference, without p.
    pub evidence: String,
    /// The verdict, or what became of a guard.
    pub outcome: &'static str,
}

/// A median and its spread.
#[derive(Default)]
pub(super) struct Number {
    pub median: String,
    pub spread: String,
}

impl Number {
    /// `5,127 ±3 %`.
    pub(super) fn text(&self) -> String {
        format!("{} {}", self.median, self.spread).trim_end().to_string()
    }
}

/// Each candidate, in the plan's order.
pub(super) fn groups(report: &Report<'_>) -> Vec<Group> {
    let sides = decision::sides(report.header, report.records, report.evaluation);
    let group = |((treatment, comparison), sides): ((&crate::design::Treatment, &Comparison), Vec<Sides>)| {
        let (responses, guards) = sides.split_at(comparison.responses.len().min(sides.len()));
        let responses = comparison.responses.iter().zip(responses).map(response);
        let guards = comparison.guards.iter().zip(guards).map(guard);
        Group {
            label: report.label(&treatment.id),
            rows: responses.chain(guards).collect(),
        }
    };
    report.candidates().zip(sides).map(group).collect()
}

fn response((judgement, sides): (&Judgement, &Sides)) -> Row {
    let p = told_p(Some(judgement.p_holm));
    let is_proven = is_difference(judgement.verdict);
    let outcome = judgement.verdict.word();
    row(&judgement.effect, sides, is_proven, &p, outcome)
}

/// Whether numbers of this unit are shown with a prefix, and so with the unit.
fn is_scaled(unit: &str) -> bool {
    matches!(unit, "bit/s" | "B/s")
}

/// `p=0.006 `; nothing for a guard, which has none.
pub(super) fn told_p(p: Option<f64>) -> String {
    match p {
        None => String::new(),
        Some(p) if p < 0.001 => "p<0.001 ".into(),
        Some(p) => format!("p={p:.3} "),
    }
}

/// A metric's name, with its unit where the numbers do not carry it.
pub(super) fn with_unit(name: &str, unit: &str) -> String {
    match wording::tame(unit, 20) {
        unit if unit.is_empty() || is_scaled(&unit) => name.into(),
        unit => format!("{name}, {unit}"),
    }
}

/// Whether a response is shown to differ.
pub(super) fn is_difference(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Better | Verdict::Worse)
}

/// Whether a guard's metric is shown to differ: its margin is another question.
pub(super) fn leaves_out_zero(effect: &Effect) -> bool {
    let interval = effect.change_interval_percent();
    interval.is_some_and(|i| !i.contains(0.0))
}

fn guard((guard, sides): (&GuardReport, &Sides)) -> Row {
    let is_proven = leaves_out_zero(&guard.effect);
    let outcome = guard.outcome.word();
    let row = row(&guard.effect, sides, is_proven, "", outcome);
    match wording::constraint_limit(guard) {
        None => row,
        // Its effect is not against the baseline.
        Some(limit) => Row {
            change: limit,
            interval: String::new(),
            ..row
        },
    }
}

fn row(effect: &Effect, sides: &Sides, is_proven: bool, p: &str, outcome: &'static str) -> Row {
    let name = wording::tame(&effect.metric, METRIC);
    let change = effect.change_percent().filter(|_| is_proven);
    let interval = effect.change_interval_percent();
    Row {
        metric: with_unit(&name, &sides.unit),
        baseline: number(sides.baseline, &sides.unit),
        candidate: number(sides.candidate, &sides.unit),
        change: change.map_or_else(|| "~".into(), wording::percent),
        interval: interval.map(wording::interval).unwrap_or_default(),
        evidence: format!("{p}n={}", effect.blocks),
        outcome,
    }
}

/// A median with its spread, as it is shown.
pub(super) fn number(centre: Option<Centre>, unit: &str) -> Number {
    let Some(centre) = centre else {
        return Number {
            median: "no number".into(),
            ..Number::default()
        };
    };
    let spread = match centre.spread_percent() {
        Some(percent) => format!("±{percent:.0} %"),
        None => "±∞".into(),
    };
    Number {
        median: if is_scaled(unit) {
            wording::quantity(centre.median, unit)
        } else {
            wording::number(centre.median)
        },
        spread,
    }
}

/// What the signs of the table mean.
pub(super) fn legend(report: &Report<'_>) -> String {
    let constraints = if report.header.protocol.constraints.is_empty() {
        ""
    } else {
        "<=, >=: the limit of a constraint, which is about the candidate alone. "
    };
    format!(
        "Medians, ± their 95 % interval (∞: fewer than 6 blocks); the change is estimated within blocks, not from the \
         medians. ~: no difference is proven. {constraints}p: after Holm's correction. {}",
        wording::legend(report.evaluation)
    )
}

/// The table on a terminal of `width` columns. Intervals of the change stand in it where there is room.
pub(super) fn table(groups: &[Group], width: u16, colour: bool) -> String {
    let cells = Cells::of(groups);
    let room = usize::from(width);
    let (cells, first) = match (
        room.checked_sub(cells.all(true)),
        room.checked_sub(cells.all(false)),
    ) {
        (Some(first), _) if first >= cells.metric => (cells.with(true), cells.metric),
        (_, Some(first)) if first >= LEAST => (cells.with(false), first.min(cells.metric)),
        _ => return stacked(groups, width),
    };
    let mut out = format!(
        "{:first$}│ {:width$}│ {:width$}  vs baseline\n",
        "",
        "baseline",
        "candidate",
        width = cells.number(),
    );
    for group in groups {
        out += &fill(&group.label, width, "  ")[2..];
        for row in &group.rows {
            out += &line(row, &cells, first, colour);
        }
    }
    out
}

fn line(row: &Row, cells: &Cells, first: usize, colour: bool) -> String {
    let mut names = name(&row.metric, first).into_iter();
    let outcome = match wording::colour(row.outcome).filter(|_| colour) {
        Some(code) => format!("\u{1b}[{code}m{}\u{1b}[0m", row.outcome),
        None => row.outcome.into(),
    };
    let number = |n: &Number| format!("{:>width$} {}", n.median, n.spread, width = cells.median);
    let mut out = format!(
        "{:first$}  {:width$}  {:width$}  {:change$}  {outcome}\n",
        names.next().unwrap_or_default(),
        number(&row.baseline),
        number(&row.candidate),
        change(row, cells.interval),
        width = cells.number(),
        change = cells.change,
    );
    for rest in names {
        out += &rest;
        out.push('\n');
    }
    out
}

/// The name of a metric, indented, in as many lines as it takes.
fn name(metric: &str, first: usize) -> Vec<String> {
    let mut lines = vec![String::from(" ")];
    for word in metric.split(' ').flat_map(|word| pieces(word, first - 2)) {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= first => {
                line.push(' ');
                line.push_str(&word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines
}

/// The rows where there is no room for columns.
fn stacked(groups: &[Group], width: u16) -> String {
    let mut out = String::new();
    for group in groups {
        out += &fill(&group.label, width, "  ")[2..];
        for row in &group.rows {
            let told = format!(
                "{}: {} → {}, {}, {}",
                row.metric,
                row.baseline.text(),
                row.candidate.text(),
                change(row, true),
                row.outcome
            );
            out += "  ";
            out += fill(&told, width, "    ").trim_start();
        }
    }
    out
}

/// `+31.6 % [+28.9, +33.6] (p=0.006 n=10)`.
fn change(row: &Row, interval: bool) -> String {
    let interval = if interval && !row.interval.is_empty() {
        format!("{} ", row.interval)
    } else {
        String::new()
    };
    format!("{} {interval}({})", row.change, row.evidence)
}

/// How wide the columns are, in characters.
#[derive(Clone, Copy)]
struct Cells {
    metric: usize,
    median: usize,
    spread: usize,
    /// Without and with intervals.
    changes: [usize; 2],
    outcome: usize,
    /// Whether intervals are shown, and how wide the change is then.
    interval: bool,
    change: usize,
}

impl Cells {
    fn of(groups: &[Group]) -> Self {
        let rows = groups.iter().flat_map(|group| &group.rows);
        let widest = |of: &dyn Fn(&Row) -> usize| rows.clone().map(of).max().unwrap_or(0);
        let both = |of: fn(&Number) -> &str| {
            widest(&|row| {
                of(&row.baseline)
                    .chars()
                    .count()
                    .max(of(&row.candidate).chars().count())
            })
        };
        Self {
            metric: widest(&|row| row.metric.chars().count() + 2),
            median: both(|n| &n.median),
            spread: both(|n| &n.spread),
            changes: [false, true].map(|with| widest(&|row| change(row, with).chars().count())),
            outcome: widest(&|row| row.outcome.len()),
            interval: false,
            change: 0,
        }
    }

    fn number(&self) -> usize {
        (self.median + 1 + self.spread).max("candidate".len())
    }

    /// All but the metric, with the blanks between.
    fn all(&self, interval: bool) -> usize {
        2 + self.number() + 2 + self.number() + 2 + self.changes[usize::from(interval)] + 2 + self.outcome
    }

    fn with(self, interval: bool) -> Self {
        Self {
            interval,
            change: self.changes[usize::from(interval)],
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;

    #[test]
    fn only_what_is_proven_has_a_change() {
        let fixture = Fixture::quickstart();
        let groups = groups(&fixture.report());
        let told = |candidate: usize, row: usize| {
            let row = &groups[candidate].rows[row];
            (
                row.change.as_str(),
                row.interval.as_str(),
                row.evidence.as_str(),
                row.outcome,
            )
        };
        assert_eq!(
            told(0, 0),
            ("+31.6 %", "[+28.9, +33.6]", "p=0.006 n=10", "better")
        );
        assert_eq!(told(0, 1), ("~", "[-0.4, +0.6]", "n=10", "held"));
        assert_eq!(told(1, 0), ("~", "[-1.6, +2.8]", "p=0.109 n=8", "inconclusive"));
        assert_eq!(told(2, 1), ("+20.0 %", "[+19.3, +20.7]", "n=10", "failed"));
    }

    #[test]
    fn intervals_stand_where_there_is_room_and_columns_where_they_fit() {
        let fixture = Fixture::quickstart();
        let groups = groups(&fixture.report());
        let [wide, usual, narrow] = [100, 80, 60].map(|width| table(&groups, width, false));
        assert!(
            wide.contains("+31.6 % [+28.9, +33.6] (p=0.006 n=10)  better\n"),
            "{wide}"
        );
        assert!(
            usual.contains("+31.6 % (p=0.006 n=10)  better\n") && !usual.contains("[+28.9"),
            "{usual}"
        );
        assert!(
            narrow.contains("→") && !narrow.contains("│") && narrow.contains("[+28.9"),
            "{narrow}"
        );
        // One column: the dots of all numbers' ends are below each other.
        let ends: Vec<_> = wide.lines().filter_map(|line| line.find(" ±")).collect();
        assert_eq!(ends.len(), 6);
        assert!(ends.iter().all(|end| *end == ends[0]), "{wide}");
    }

    #[test]
    fn a_long_name_of_a_metric_is_broken_not_cut() {
        let mut fixture = Fixture::quickstart();
        let id = crate::experiment::MetricId {
            workload: "w".into(),
            metric: "a_metric_whose_name_goes_on_and_on".into(),
        };
        fixture.header.protocol.responses[0].metric = id;
        let fixture = fixture.evaluated();
        let shown = table(&groups(&fixture.report()), 80, false);
        let first: String = shown
            .lines()
            .filter(|line| line.starts_with("  "))
            .map(|line| line.chars().take(30).collect::<String>())
            .collect();
        let letters = |text: &str| text.split_whitespace().collect::<String>();
        assert!(letters(&first).contains("a_metric_whose"), "{shown}");
        assert!(
            shown.contains("no number") && shown.lines().all(|l| l.chars().count() <= 80),
            "{shown}"
        );
    }
}
