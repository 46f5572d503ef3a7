//! The words and number formats every report shares, and the taming of hostile texts. Knows no layout.

use crate::analysis::{Effect, GuardReport, Interval, Level, MORE_BLOCKS_CAP, Rule, Stop};
use crate::decision::Evaluation;
use crate::design::{Plan, Treatment, TreatmentId};
use crate::event::{Drift, End, Outcome, Purpose, Stage};
use crate::experiment::{Company, Goal, Guest, Neighbour};
use crate::facts::Facts;
use crate::simulation::NOTICE;
use crate::units::Span;
use std::time::Duration;

/// Longest reason of a failed trial that is shown, in characters.
pub(super) const REASON: usize = 160;
/// Longest name that is shown.
pub(super) const NAME: usize = 120;
/// Longest sentence that is shown.
pub(super) const SENTENCE: usize = 600;

/// What the columns of a verdict table mean.
pub(super) fn legend(evaluation: &Evaluation) -> String {
    let level = confidence(evaluation.confidence);
    let looks = match evaluation.rule {
        Rule::Fixed { .. } => "",
        Rule::Looks { .. } | Rule::Anytime => " and looks",
    };
    let judgements = evaluation.comparisons.iter().flat_map(|c| &c.responses);
    let unknown = if judgements.clone().any(|j| j.effect.interval_percent.is_none()) {
        " [unknown]: too few blocks for an interval, or no look yet."
    } else {
        ""
    };
    format!(
        "n: blocks compared. Intervals of the responses hold at {level} for all candidates{looks} together; each end of \
         a guard's interval is a one-sided {level} bound.{unknown}"
    )
}

/// `95 %`, `97.5 %`.
pub(super) fn confidence(level: Level) -> String {
    format!("{} %", (1000.0 * level.get()).round() / 10.0)
}

/// What a run is for, in a few words; `None` for the usual.
pub(super) fn purpose(purpose: &Purpose) -> Option<String> {
    match purpose {
        Purpose::Sweep => None,
        Purpose::Noise => Some("A/A: the baseline against itself".into()),
        Purpose::Confirm { of } => Some(format!("confirmation of run {} on fresh guests", of.short())),
        Purpose::Ablate { of } => Some(format!(
            "ablation: the winner confirmed by run {}, the baseline here, against it without each of its settings",
            of.short()
        )),
        Purpose::Stage { number, of, .. } => {
            Some(format!("factor {number} of {of}, from the best proven so far"))
        }
    }
}

/// `text` as one line of at most `max` characters that cannot move a cursor, colour a terminal or turn the direction
/// of writing: line ends and tabs become blanks, other control and invisible formatting characters `\u{fffd}`.
pub fn tame(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count >= max {
            out.push('…');
            break;
        }
        out.push(if matches!(c, '\n' | '\r' | '\t') {
            ' '
        } else {
            visible(c)
        });
    }
    out
}

/// The same for a text of many lines; line ends and tabs stay.
pub fn tame_lines(text: &str, max: usize) -> String {
    let keep = |c| {
        if matches!(c, '\n' | '\t') { c } else { visible(c) }
    };
    text.replace("\r\n", "\n").chars().take(max).map(keep).collect()
}

fn visible(c: char) -> char {
    let hides = matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}' | '\u{ffff}' | '\u{e0000}'..='\u{e0fff}');
    if hides || c.is_control() { '\u{fffd}' } else { c }
}

/// `+12.3 %`.
pub(super) fn percent(value: f64) -> String {
    // No sign before what rounds to zero.
    let value = if value.abs() < 0.05 { 0.0 } else { value };
    let sign = if value == 0.0 { "" } else { "+" };
    let text = format!("{value:+.1} %");
    if sign.is_empty() {
        text[1..].to_string()
    } else {
        text
    }
}

/// `1.2 %`: a size, without a sign.
pub(super) fn share(value: f64) -> String {
    if value.abs() < 0.095 {
        format!("{value:.2} %")
    } else {
        format!("{value:.1} %")
    }
}

/// `[+2.2, +4.0]`, in percent.
pub(super) fn interval(interval: Interval) -> String {
    let end = |value: f64| percent(value).trim_end_matches(" %").to_string();
    format!("[{}, {}]", end(interval.low), end(interval.high))
}

/// The change of the metric itself and its interval: `+12.3 % [+2.2, +4.0]`.
pub(super) fn change(effect: &Effect) -> String {
    let bounds = effect
        .change_interval_percent()
        .map_or_else(|| "[unknown]".into(), interval);
    match effect.change_percent() {
        Some(change) => format!("{} {bounds}", percent(change)),
        None => "no estimate".into(),
    }
}

/// `0.0312`, `< 0.0001`.
pub(super) fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "<.0001".into()
    } else {
        format!("{p:.4}")
    }
}

/// The colour of a verdict or of a guard's outcome on a terminal: a parameter of SGR (ECMA-48, 8.3.117).
pub(super) fn colour(word: &str) -> Option<u8> {
    match word {
        "better" | "held" => Some(32),
        "worse" | "failed" => Some(31),
        "equivalent" | "no gain" => Some(36),
        "inconclusive" | "unproven" | "no resolution" | "at cap" => Some(33),
        "dropped" => Some(90),
        _ => None,
    }
}

/// What a guard or a constraint asks for, tamed: `guard p99 <= +5 %`, `constraint p99 <= 5000`.
pub(super) fn guard_limit(guard: &GuardReport) -> String {
    let kind = if guard.limit.is_some() {
        "constraint"
    } else {
        "guard"
    };
    format!("{kind} {}", tame(&limit(guard), NAME))
}

/// By how much a guard's metric changed; of a constraint, how far it is from the limit.
pub(super) fn guard_change(guard: &GuardReport) -> String {
    let against = guard.limit.map_or("", |_| " against the limit");
    format!("{}{against}", change(&guard.effect))
}

/// `<= 5000`: the limit of a constraint; `None` of a guard.
pub(super) fn constraint_limit(guard: &GuardReport) -> Option<String> {
    let sign = match guard.effect.goal {
        Goal::Minimize => "<=",
        Goal::Maximize => ">=",
    };
    guard.limit.map(|limit| format!("{sign} {limit}"))
}

fn limit(guard: &GuardReport) -> String {
    if let Some(limit) = constraint_limit(guard) {
        return format!("{} {limit}", guard.effect.metric);
    }
    let margin = 100.0 * guard.margin.get();
    // Shares such as 0.05 are not exact in binary; no margin is finer than this.
    let margin = (margin * 1e6).round() / 1e6;
    match guard.effect.goal {
        Goal::Minimize => format!("{} <= +{margin} %", guard.effect.metric),
        Goal::Maximize => format!("{} >= -{margin} %", guard.effect.metric),
    }
}

/// `about 12 more blocks, about 9m30s`.
pub(super) fn more_blocks(blocks: u32, block: Option<Duration>) -> String {
    if blocks >= MORE_BLOCKS_CAP {
        return format!("far too many more blocks (over {MORE_BLOCKS_CAP})");
    }
    let plural = if blocks == 1 { "block" } else { "blocks" };
    let time = block.map(|b| format!(", about {}", duration(b.saturating_mul(blocks))));
    format!("about {blocks} more {plural}{}", time.unwrap_or_default())
}

/// `5.1s`, `1m20s`, `2h5m`.
pub fn duration(length: Duration) -> String {
    if length < Duration::from_secs(10) {
        return seconds(length);
    }
    Span(Duration::from_secs_f64(length.as_secs_f64().round())).to_string()
}

/// `0.051s`, `5.1s`, `80.0s`: comparable down a column.
pub(super) fn seconds(length: Duration) -> String {
    let seconds = length.as_secs_f64();
    if seconds < 1.0 {
        format!("{seconds:.3}s")
    } else {
        format!("{seconds:.1}s")
    }
}

/// `7,650 1/s`, `1.12 Gbit/s`.
pub(super) fn quantity(value: f64, unit: &str) -> String {
    if matches!(unit, "bit/s" | "B/s") {
        for (scale, prefix) in [(1e9, "G"), (1e6, "M"), (1e3, "k")] {
            if value.abs() >= scale {
                return format!("{:.2} {prefix}{unit}", value / scale);
            }
        }
    }
    format!("{} {}", number(value), tame(unit, 20))
        .trim_end()
        .to_string()
}

/// Four digits or more, with thousands apart.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 1000.0 => grouped(value),
        v if v >= 100.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.4}"),
    }
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut out = String::from(if value < 0.0 { "-" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The levels in which `treatment` differs from `baseline`, each as `tunable=level`, tamed; empty for the baseline.
pub(super) fn differences(treatment: &Treatment, baseline: &Treatment) -> Vec<String> {
    let differs = treatment.levels.iter().filter(|l| !baseline.levels.contains(l));
    differs
        .map(|(tunable, level)| tame(&format!("{tunable}={level}"), NAME))
        .collect()
}

/// The treatment's differences from the plan's baseline; its id when the plan has no such treatment.
pub(super) fn label(plan: &Plan, id: &TreatmentId) -> String {
    let treatment = plan.treatments.iter().find(|t| t.id == *id);
    match (treatment, plan.treatments.first()) {
        (Some(treatment), Some(baseline)) => tame(&treatment.label_against(baseline), SENTENCE),
        _ => tame(id.as_str(), NAME),
    }
}

/// `the lab's own, 2 vCPUs, 1GiB memory`.
pub(super) fn guest(guest: &Guest) -> String {
    match guest {
        Guest::Lab {
            vcpus,
            memory,
            ssh,
            company,
            ..
        } => {
            let by = if *ssh { ", by ssh" } else { "" };
            let beside = beside(company);
            format!("the lab's own, {vcpus} vCPUs, {memory} memory{by}{beside}")
        }
        Guest::Domain {
            name, connect, ssh, ..
        } => {
            let by = ssh
                .as_ref()
                .map(|target| format!(", by ssh as {}", tame(&target.to_string(), NAME)));
            let by = by.unwrap_or_default();
            format!("domain {} at {}{by}", tame(name, NAME), tame(connect, NAME))
        }
        Guest::Host { .. } => "none: the workloads run on the host".into(),
    }
}

/// `, beside hog (fio-randread-4k), over a path of 50ms round trip, 0.1% loss, 100Mbit/s, a queue of 1000 packets`.
fn beside(company: &Company) -> String {
    let of = |n: &Neighbour| {
        let uses = n.uses.as_deref().unwrap_or("serves");
        format!("{} ({})", tame(&n.name, NAME), tame(uses, NAME))
    };
    let neighbours: Vec<_> = company.neighbours.iter().map(of).collect();
    let neighbours = match neighbours.as_slice() {
        [] => String::new(),
        all => format!(", beside {}", all.join(", ")),
    };
    let path = company.path.map(|path| format!(", over a path of {path}"));
    neighbours + &path.unwrap_or_default()
}

/// `Xeon E5, kvm, kernel 6.1.0`: what results may be compared by at a glance.
pub(super) fn host(facts: &Facts) -> String {
    if let Some(model) = facts.simulated() {
        return format!("{NOTICE} ({})", tame(model, NAME));
    }
    let record = |name: &str| facts.record.get(name).map(|value| tame(value, 60));
    let cpu = record("host.cpu.model").unwrap_or_else(|| "unknown CPU".into());
    let kernel = record("host.kernel").unwrap_or_else(|| "unknown".into());
    format!("{cpu}, {}, kernel {kernel}", acceleration(facts))
}

/// `kvm`, `software emulation` or that it is not known.
pub(super) fn acceleration(facts: &Facts) -> &'static str {
    let told = facts.record.get("lab.acceleration").map(String::as_str);
    let xml = facts.record.get("domain.xml").map_or("", |xml| xml.trim_start());
    let head = xml.split('>').next().unwrap_or_default();
    match told {
        Some("kvm") => "kvm",
        Some(_) => "software emulation",
        None if head.contains("type='kvm'") || head.contains("type=\"kvm\"") => "kvm",
        None if head.contains("type='qemu'") || head.contains("type=\"qemu\"") => "software emulation",
        None => "acceleration unknown",
    }
}

/// How a run ended.
pub(super) fn end(end: End) -> &'static str {
    match end {
        End::Complete => "all blocks of the plan were run",
        End::Answered {
            stop: Stop::Superiority,
        } => "the best candidate was proven; the other blocks were not needed",
        End::Answered {
            stop: Stop::Equivalence,
        } => "nothing differs from the baseline; the other blocks were not needed",
        End::Answered { stop: Stop::Futility } => "nothing can become better by as much as is of interest",
        End::TimeBudget => "the time budget was used up",
        End::Interrupted => "interrupted; the host was restored",
        End::AwaitsReboot { .. } => {
            "waits for a reboot of the host; `kvmtune run --across-reboots --resume` goes on"
        }
        End::NotRestored => "stopped: the host could not be restored; run `kvmtune recover`",
        End::Failing => "stopped: too many trials failed in a row",
    }
}

/// `measured`, `failed`, `invalid`.
pub(super) fn outcome(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Measured { .. } => "measured",
        Outcome::Unsteady { .. } => "not steady",
        Outcome::Failed { .. } => "failed",
        Outcome::Invalid { .. } => "invalid",
    }
}

/// Why a trial gave no number, as one tame line; `None` for one that did.
pub(super) fn reason(outcome: &Outcome) -> Option<String> {
    let text = match outcome {
        Outcome::Measured { .. } => return None,
        Outcome::Unsteady { message, .. } => message.clone(),
        Outcome::Failed { stage, message } => format!("{}: {message}", self::stage(*stage)),
        Outcome::Invalid { drift } => drift.iter().map(drifted).collect::<Vec<_>>().join("; "),
    };
    Some(tame(&text, REASON))
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Start => "starting the guest",
        Stage::Apply => "applying the settings",
        Stage::Verify => "verifying the settings",
        Stage::Prepare => "making the disk ready",
        Stage::Measure => "running the workload",
        Stage::Parse => "reading the workload's output",
    }
}

fn drifted(drift: &Drift) -> String {
    let when = if drift.during {
        " after the measurement"
    } else {
        ""
    };
    let Drift {
        address,
        wanted,
        found,
        actors,
        ..
    } = drift;
    let who = match actors.as_slice() {
        [] => String::new(),
        [one] => format!("; {one} runs and sets such places"),
        several => format!("; these run and set such places: {}", several.join(", ")),
    };
    format!("{address} was {found}{when}, not {wanted}{who}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (12.34, "+12.3 %"),
            (-0.42, "-0.4 %"),
            (0.01, "0.0 %"),
            (-0.04, "0.0 %"),
        ] {
            assert_eq!(percent(value), text);
        }
        for (value, text) in [
            (7649.6, "7,650"),
            (1_234_567.0, "1,234,567"),
            (-1000.0, "-1,000"),
            (0.5, "0.5000"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(quantity(1.123e9, "bit/s"), "1.12 Gbit/s");
        assert_eq!(quantity(99.0, ""), "99.00");
        assert_eq!(p_value(0.000_01), "<.0001");
        assert_eq!(duration(Duration::from_millis(80_400)), "1m20s");
        assert_eq!(duration(Duration::from_millis(5_123)), "5.1s");
        assert_eq!(more_blocks(1, None), "about 1 more block");
        assert_eq!(
            more_blocks(10, Some(Duration::from_mins(1))),
            "about 10 more blocks, about 10m"
        );
        assert!(more_blocks(1000, None).starts_with("far too many"));
    }

    #[test]
    fn hostile_texts_become_one_tame_line() {
        let hostile = "a\u{1b}[31mred\r\n\u{202e}evil\u{200b}\u{7}\t\u{9b}x";
        let tamed = tame(hostile, 100);
        assert_eq!(tamed, "a\u{fffd}[31mred  \u{fffd}evil\u{fffd}\u{fffd} \u{fffd}x");
        assert_eq!(tame(&"x".repeat(10_000), 20).chars().count(), 21);
        assert_eq!(tame_lines("a\r\n\tb\u{1b}", 100), "a\n\tb\u{fffd}");
    }
}
