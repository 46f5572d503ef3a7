//! What an A/A run says of its host, and what a plan can prove with it. Knows the words, not where certificates are
//! kept.

use super::wording;
use crate::analysis::{Level, blocks_needed};
use crate::event::Certificate;
use crate::units::Percent;
use serde::Serialize;
use std::time::Duration;

/// Budgets for which the smallest provable effect is told.
const BUDGETS: [(&str, Duration); 3] = [
    ("30 minutes", Duration::from_mins(30)),
    ("2 hours", Duration::from_hours(2)),
    ("a night of 8 hours", Duration::from_hours(8)),
];
/// Effects for which the time to prove them is told, in percent.
const EFFECTS: [f64; 3] = [1.0, 2.0, 5.0];

/// `A/A 2026-11-26: sigma_d 1.1 %, lag-1 .08, smallest provable (12 blocks) 1.0 %`.
pub(super) fn line(certificate: &Certificate, blocks: usize) -> String {
    let noise = &certificate.noise;
    let blocks = u32::try_from(blocks).unwrap_or(u32::MAX);
    let provable = provable(certificate, blocks, Level::P95).map_or_else(|| "nothing".into(), wording::share);
    format!(
        "A/A {:.10}: sigma_d {}, lag-1 {:.2}, smallest provable ({blocks} blocks) {provable}",
        certificate.started.to_string(),
        wording::share(noise.sigma_d_percent),
        noise.lag1
    )
}

/// The smallest difference so many blocks prove with power .8, in percent.
fn provable(certificate: &Certificate, blocks: u32, level: Level) -> Option<f64> {
    Some(certificate.noise.smallest_provable(blocks, level)?.percent())
}

/// The whole certificate.
pub(super) fn lines(certificate: &Certificate) -> Vec<String> {
    let noise = &certificate.noise;
    let per_hour = noise
        .drift_percent_per_hour
        .map(|d| format!(", {} an hour", wording::percent(d)));
    let per_hour = per_hour.unwrap_or_default();
    let mut lines = vec![
        format!(
            "within-block CV {} (of {}, {} blocks)",
            wording::share(100.0 * noise.within_cv),
            wording::tame(&certificate.metric.to_string(), wording::NAME),
            noise.blocks
        ),
        format!(
            "difference of the same treatment in a block: standard deviation {}",
            wording::share(noise.sigma_d_percent)
        ),
        format!("lag-1 autocorrelation {:.2}", noise.lag1),
        format!(
            "drift {} over the run{per_hour}",
            wording::percent(noise.drift_percent)
        ),
    ];
    if let Some(gain) = noise.interleaving_gain {
        lines.push(format!(
            "interleaving: differences of nothing are {gain:.1} times as large when all of A comes before all of B"
        ));
    }
    for (name, budget) in BUDGETS {
        let block = certificate.trial.saturating_mul(2);
        let blocks = fits(budget, block);
        let told = provable(certificate, blocks, Level::P95).map_or_else(|| "nothing".into(), wording::share);
        lines.push(format!(
            "smallest provable effect in {name}: {told} ({blocks} blocks of one candidate)"
        ));
    }
    lines
}

/// How many blocks fit, beside the discarded one.
fn fits(budget: Duration, block: Duration) -> u32 {
    let blocks = budget.as_secs_f64() / block.as_secs_f64().max(1e-3) - 1.0;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and is cut to a number of blocks"
    )]
    let blocks = blocks.max(0.0) as u32;
    blocks.min(10_000)
}

/// What a plan can prove.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Proof {
    /// The A/A run it is known from.
    run: String,
    /// Blocks of the plan.
    blocks: u32,
    /// How many claims share the error rate.
    family: usize,
    /// The smallest effect they prove with power .8, in percent; `None` where they prove nothing.
    smallest_percent: Option<f64>,
    /// What proving other effects takes.
    effort: Vec<Effort>,
}

/// What proving an effect takes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Effort {
    percent: f64,
    blocks: u32,
    seconds: f64,
}

/// What so many blocks of so many candidates can prove, each block taking `block`.
pub(super) fn proof(certificate: &Certificate, blocks: u32, family: usize, block: Duration) -> Proof {
    let level = Level::P95.simultaneous(family);
    let effort = |percent: f64| {
        let effect = (percent / 100.0_f64).ln_1p();
        let blocks = blocks_needed(certificate.noise.within_cv, effect, level);
        Effort {
            percent,
            blocks,
            seconds: block.as_secs_f64() * f64::from(blocks),
        }
    };
    Proof {
        run: certificate.run.short(),
        blocks,
        family,
        smallest_percent: provable(certificate, blocks, level),
        effort: EFFECTS.map(effort).to_vec(),
    }
}

/// The proof in words: what it is of, then a line each; `interest` is the smallest effect the experiment asks for.
pub(super) fn proof_lines(proof: &Proof, interest: Percent) -> Vec<String> {
    let claims = if proof.family == 1 { "claim" } else { "claims" };
    let mut lines = vec![format!(
        "what it can prove (A/A run {}, power .8, {} {claims} at 5 % together)",
        proof.run, proof.family
    )];
    lines.push(match proof.smallest_percent {
        Some(smallest) => format!(
            "{} blocks: differences from {} on",
            proof.blocks,
            wording::share(smallest)
        ),
        None => format!("{} blocks: nothing, there are too few", proof.blocks),
    });
    if proof
        .smallest_percent
        .is_some_and(|smallest| smallest > interest.0)
    {
        lines.push(format!(
            "smallest-effect is {interest}: differences between the two will rather stay inconclusive"
        ));
    }
    lines.extend(proof.effort.iter().map(|effort| {
        let time = Duration::try_from_secs_f64(effort.seconds).unwrap_or(Duration::MAX);
        format!(
            "proving {:.0} % takes about {} blocks, about {}",
            effort.percent,
            effort.blocks,
            wording::duration(time)
        )
    }));
    lines
}

/// What a plan says without a certificate.
pub(super) const UNKNOWN: &str = "what it can prove is not known: there is no A/A run of this workload on this host; `kvmtune noise FILE` makes one";
