//! Whether two runs are alike enough to be read side by side, and what differs between them. Knows headers, no numbers.

use super::FactRow;
use crate::event::RunHeader;
use crate::experiment::{Constraint, Goal, Protocol};
use crate::facts::{CLASS, SIMULATED, SIMULATED_MODEL};
use crate::report::wording;
use std::collections::BTreeSet;

/// Longest fact that is named in a sentence, in characters.
const FACT: usize = 60;

/// What may be read from two runs that are alike.
pub(super) const ALIKE: &str = "Each change is against the baseline of its own run, in the blocks of its own run. Nothing is \
                                pooled, and nothing is tested from one run to the other: another night is another night. \
                                A verdict that both reach was reached twice; medians that differ between the runs say \
                                nothing about a cause. To compare two states of one machine, make them levels of one run.";

/// The same of two that are not.
pub(super) const UNLIKE: &str = "Each run stands for itself: its changes are against its own baseline on its own host. Do not \
                                 compare the medians, do not average the changes, and take agreeing verdicts for no more \
                                 than two findings in two places.";

/// Why two runs are not comparable, the weightiest first; empty when they are.
pub(super) fn unlike(first: &RunHeader, second: &RunHeader) -> Vec<String> {
    let mut reasons = Vec::new();
    let simulated = [first, second].map(|h| h.facts.simulated().is_some());
    match simulated {
        [true, false] => reasons.push("the first is a simulation, the second of a machine".into()),
        [false, true] => reasons.push("the second is a simulation, the first of a machine".into()),
        _ if first.facts.class() != second.facts.class() => reasons.push(classes(first, second)),
        _ => {}
    }
    if first.protocol.guest != second.protocol.guest {
        let [a, b] = [first, second].map(|h| wording::guest(&h.protocol.guest));
        reasons.push(if a == b {
            "the guests are not the same, or their company is not".into()
        } else {
            format!("the guests differ: {a}; {b}")
        });
    }
    reasons.extend(workloads(&first.protocol, &second.protocol));
    let [a, b] = [first, second].map(|h| h.plan.treatments.first());
    if a.map(|t| &t.id) != b.map(|t| &t.id) {
        let [a, b] = [a, b].map(|t| t.map_or_else(String::new, crate::design::Treatment::label));
        let [a, b] = [a, b].map(|label| wording::tame(&label, wording::NAME));
        reasons.push(format!("the changes are against different baselines: {a}; {b}"));
    }
    reasons
}

/// `the hosts are of different classes (60ed, 3304): host.kernel 6.1.0 and 6.18.0`.
fn classes(first: &RunHeader, second: &RunHeader) -> String {
    let differing = CLASS.iter().filter_map(|name| {
        let [a, b] = [first, second].map(|h| h.facts.record.get(*name).map_or("unknown", String::as_str));
        let told = match *name {
            SIMULATED_MODEL => "the models".to_string(),
            name => format!("{name} {} and {}", wording::tame(a, FACT), wording::tame(b, FACT)),
        };
        (a != b).then_some(told)
    });
    let differing: Vec<_> = differing.collect();
    format!(
        "the hosts are of different classes ({}, {}): {}",
        first.facts.class(),
        second.facts.class(),
        differing.join("; ")
    )
}

/// Whether the numbers mean the same.
fn workloads(first: &Protocol, second: &Protocol) -> Option<String> {
    let names =
        |protocol: &Protocol| -> Vec<String> { protocol.workloads.iter().map(|w| w.name.clone()).collect() };
    let [a, b] = [names(first), names(second)];
    let told = |names: &[String]| wording::tame(&names.join(", "), wording::NAME);
    if a != b {
        return Some(format!("the workloads differ: {}; {}", told(&a), told(&b)));
    }
    let pairs = first.workloads.iter().zip(&second.workloads);
    let changed: Vec<_> = pairs
        .filter(|(a, b)| a != b)
        .map(|(a, _)| a.name.clone())
        .collect();
    (!changed.is_empty()).then(|| {
        format!(
            "of the same name and not the same: workload {} (its command, times or parser)",
            told(&changed)
        )
    })
}

/// What was done differently between runs that may still be read side by side.
pub(super) fn otherwise(first: &RunHeader, second: &RunHeader) -> Vec<String> {
    let mut notes = Vec::new();
    let [a, b] =
        [first, second].map(|h| wording::purpose(&h.purpose).unwrap_or_else(|| "a comparison".into()));
    if a != b {
        notes.push(format!("they are for different things: {a}; {b}"));
    }
    if first.plan.guests != second.plan.guests {
        notes.push("one has fresh guests where the other shares them".into());
    }
    let (p, q) = (&first.protocol, &second.protocol);
    if p.responses != q.responses || p.guards != q.guards {
        notes.push("they have other responses, guards or margins; what both judge stands below".into());
    }
    if p.constraints != q.constraints {
        notes.push(format!(
            "they have other constraints: {}; {}",
            constraints(p),
            constraints(q)
        ));
    }
    if p.stopping != q.stopping || p.smallest_effect != q.smallest_effect {
        notes.push(
            "their verdicts follow other rules: when they look, or which effect is the smallest of interest"
                .into(),
        );
    }
    if first.version != second.version {
        let [a, b] = [first, second].map(|h| wording::tame(&h.version, FACT));
        notes.push(format!(
            "they were measured by different versions of kvmtune: {a}; {b}"
        ));
    }
    notes
}

/// `p99 <= 5000, iops >= 100`.
fn constraints(protocol: &Protocol) -> String {
    let one = |c: &Constraint| {
        let sign = if c.side == Goal::Minimize { "<=" } else { ">=" };
        format!("{} {sign} {}", protocol.name_of(&c.metric), c.limit)
    };
    let all: Vec<_> = protocol.constraints.iter().map(one).collect();
    if all.is_empty() {
        return "none".into();
    }
    wording::tame(&all.join(", "), wording::NAME)
}

/// The facts in which they differ: what was recorded, and what the experiment's places read before anything was changed.
pub(super) fn facts<'a>(first: &'a RunHeader, second: &'a RunHeader) -> Vec<FactRow<'a>> {
    let maps = |h: &'a RunHeader| [&h.facts.record, &h.facts.readings];
    let [a, b] = [maps(first), maps(second)];
    let rows = a.into_iter().zip(b).flat_map(|(a, b)| {
        let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        names.into_iter().map(move |name| FactRow {
            name,
            values: [a, b].map(|facts| facts.get(name).map(|v| v.trim_end())),
        })
    });
    let is_told = |name: &str| name != SIMULATED;
    rows.filter(|row| row.values[0] != row.values[1] && is_told(row.name))
        .collect()
}
