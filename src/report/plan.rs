//! A plan before it is run: what will be done, in which order, what is touched and how long it takes.
//!
//! Knows the plan and the time it should take; not how the time was estimated.

use super::certificate::{self, Proof};
use super::table::{fill, table};
use super::wording;
use crate::analysis::{Rule, registered_looks};
use crate::decision::claim_rule;
use crate::design::{Block, Guests, Plan, Treatment, WholePlot};
use crate::event::RunHeader;
use crate::tunable::Address;
use crate::units::Span;
use serde::Serialize;
use std::fmt::Write as _;

/// Blocks whose order is shown in full.
const SHOWN: usize = 3;

/// One place that is written, with the values it takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Place {
    address: String,
    values: Vec<String>,
    restart: bool,
    reboot: bool,
}

/// A plan as one document, schema `kvmtune-plan-1`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PlanDocument<'a> {
    schema: &'static str,
    seed: u64,
    treatments: Vec<PlannedTreatment<'a>>,
    blocks: &'a [Block],
    trials: usize,
    restarts: usize,
    /// Reboots of the host at the most.
    reboots: usize,
    expected_seconds: f64,
    then: &'a [String],
    touches: Vec<Place>,
    rule: Rule,
    looks: Vec<u32>,
    /// What it can prove; nothing without an A/A run of the same question on this host.
    proof: Option<Proof>,
    notices: &'a [String],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct PlannedTreatment<'a> {
    id: &'a str,
    levels: &'a [(String, String)],
}

/// The plan for a terminal, at most `width` columns wide.
pub fn plan_text(header: &RunHeader, expected: Span, then: &[String], width: u16) -> String {
    let plan = &header.plan;
    let judged = plan.blocks.iter().filter(|b| b.number > 0).count();
    let mut out = format!(
        "{} treatments in {judged} blocks + {} discarded, {} trials, {} guest starts\n",
        plan.treatments.len(),
        plan.blocks.len() - judged,
        plan.trials(),
        plan.restarts(),
    );
    if plan.needs_reboots() {
        let _ = writeln!(
            out,
            "up to {} reboots of the host, with `kvmtune run --across-reboots`",
            plan.reboots()
        );
    }
    if let Some(purpose) = wording::purpose(&header.purpose) {
        let _ = writeln!(out, "{purpose}");
    }
    let _ = writeln!(out, "seed {}, about {}", plan.seed, wording::duration(expected.0));
    for line in then {
        out += &fill(&wording::tame(line, wording::SENTENCE), width, "  ");
    }
    out.push('\n');
    out += &treatments(plan, width);
    out += "\norder\n";
    for block in plan.blocks.iter().take(SHOWN) {
        let name = format!("  block {}  ", block.number);
        let lines = fill(&order(plan, block), width, &" ".repeat(name.len()));
        let _ = write!(out, "{name}{}", lines.trim_start());
    }
    if plan.blocks.len() > SHOWN {
        let more = plan.blocks.len() - SHOWN;
        let _ = writeln!(
            out,
            "  … and {more} more, each with every treatment once, shuffled by the seed"
        );
    }
    out += "\ntouches, and restores after each trial\n";
    out += &touches(plan, width);
    out.push('\n');
    out += &fill(&looks(header), width, "");
    out.push('\n');
    let told = match proof(header, expected) {
        Some(proof) => certificate::proof_lines(&proof, header.protocol.smallest_effect),
        None => vec![certificate::UNKNOWN.into()],
    };
    for (place, line) in told.iter().enumerate() {
        let indent = if place == 0 { "" } else { "  " };
        out += &fill(line, width, indent);
    }
    if !plan.notices.is_empty() {
        out += "\nnotices\n";
    }
    for notice in &plan.notices {
        let lines = fill(&wording::tame(notice, wording::SENTENCE), width, "    ");
        let _ = write!(out, "  - {}", lines.trim_start());
    }
    out
}

/// When claims may be made.
fn looks(header: &RunHeader) -> String {
    let rule = claim_rule(header);
    let (planned, beyond) = registered_looks(rule);
    let told = |looks: &[u32]| {
        looks
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    };
    match rule {
        Rule::Fixed { blocks } => format!("judged once, after {blocks} blocks"),
        Rule::Looks { .. } => format!(
            "looks after {} blocks; with `--continue` also after {}",
            told(&planned),
            told(&beyond)
        ),
        Rule::Anytime => "judged after every block, by a process that may be stopped at any time".into(),
    }
}

/// What the plan can prove, as far as an A/A run tells.
fn proof(header: &RunHeader, expected: Span) -> Option<Proof> {
    let certificate = header.certificate.as_ref()?;
    let plan = &header.plan;
    let family = plan.candidates().count() * header.protocol.responses.len();
    let block = expected.0 / u32::try_from(plan.blocks.len()).unwrap_or(1).max(1);
    Some(certificate::proof(certificate, plan.judged(), family, block))
}

fn treatments(plan: &Plan, width: u16) -> String {
    let mut out = String::from("treatments\n");
    for (number, treatment) in plan.treatments.iter().enumerate() {
        let name = if number == 0 {
            let all = wording::tame(&treatment.label(), wording::SENTENCE);
            format!("baseline: {all}")
        } else {
            wording::label(plan, &treatment.id)
        };
        let lines = fill(&name, width, "       ");
        let _ = write!(out, "  T{number:<4}{}", lines.trim_start());
    }
    out
}

/// `[T1 T3] [T0 T2]`: brackets hold what is measured between two guest starts, braces what between two boots of the host.
fn order(plan: &Plan, block: &Block) -> String {
    if plan.needs_reboots() && block.plots.iter().any(|p| p.boot > 0) {
        let last = block.plots.last().map_or(0, |p| p.boot);
        let boots = (0..=last).map(|boot| {
            let of_boot = block.plots.iter().filter(|p| p.boot == boot).cloned();
            let plots: Vec<_> = of_boot.map(|p| WholePlot { boot: 0, ..p }).collect();
            let inside = order(
                plan,
                &Block {
                    number: block.number,
                    plots,
                },
            );
            format!("{{{inside}}}")
        });
        return boots.collect::<Vec<_>>().join(" ");
    }
    let several =
        plan.guests != Guests::Shared || plan.treatments.iter().any(|t: &Treatment| !t.restart.is_empty());
    let plot = |treatments: &[usize]| {
        let names: Vec<_> = treatments.iter().map(|t| format!("T{t}")).collect();
        if several {
            format!("[{}]", names.join(" "))
        } else {
            names.join(" ")
        }
    };
    let plots: Vec<_> = block.plots.iter().map(|p| plot(&p.treatments)).collect();
    plots.join(" ")
}

fn places(plan: &Plan) -> Vec<Place> {
    let mut places: Vec<Place> = Vec::new();
    let settings = plan.treatments.iter().flat_map(|t| {
        let cold = t.boot.iter().chain(&t.restart);
        cold.map(|s| (s, true)).chain(t.live.iter().map(|s| (s, false)))
    });
    for (setting, restart) in settings {
        let (address, value) = (setting.address.to_string(), setting.value.to_string());
        match places.iter_mut().find(|p| p.address == address) {
            Some(place) if place.values.contains(&value) => {}
            Some(place) => place.values.push(value),
            None => places.push(Place {
                address,
                values: vec![value],
                reboot: matches!(setting.address, Address::HostBoot(_)),
                restart,
            }),
        }
    }
    places
}

fn touches(plan: &Plan, width: u16) -> String {
    let row = |place: &Place| {
        let values: Vec<_> = place.values.iter().map(|v| wording::tame(v, 40)).collect();
        vec![
            format!("  {}", wording::tame(&place.address, wording::NAME)),
            wording::tame(&values.join(" | "), 60),
            match (place.reboot, place.restart) {
                (true, _) => "reboot".into(),
                (_, true) => "guest off".into(),
                _ => "live".into(),
            },
        ]
    };
    let rows = places(plan).iter().map(row).collect();
    table(&["  place", "values", "written"], rows, &[], width.max(60))
}

/// Everything the text says and the order of every block, ready to be serialised.
pub fn plan_json<'a>(header: &'a RunHeader, expected: Span, then: &'a [String]) -> PlanDocument<'a> {
    let plan = &header.plan;
    PlanDocument {
        schema: "kvmtune-plan-1",
        seed: plan.seed,
        treatments: plan
            .treatments
            .iter()
            .map(|t| PlannedTreatment {
                id: t.id.as_str(),
                levels: &t.levels,
            })
            .collect(),
        blocks: &plan.blocks,
        trials: plan.trials(),
        restarts: plan.restarts(),
        reboots: plan.reboots(),
        expected_seconds: expected.0.as_secs_f64(),
        then,
        touches: places(plan),
        rule: claim_rule(header),
        looks: registered_looks(claim_rule(header)).0,
        proof: proof(header, expected),
        notices: &plan.notices,
    }
}
