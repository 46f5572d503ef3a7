//! Tests of the recommendation; those of whole runs are below.
#![allow(clippy::unwrap_used, reason = "tests")]

mod chain;
mod evaluate;
mod lost;
mod several;
mod sides;

use super::{KeepReason, Recommendation, recommend};
use crate::analysis::{Candidate, Comparison, Criteria, Guard, GuardOutcome, Margin, Pair, Series, compare};
use crate::experiment::Goal;

fn series(metric: &str, goal: Goal, ratio: f64, spread: f64) -> Series {
    let pair = |block: u32| {
        let candidate = 100.0 * (ratio + spread * (f64::from(block) - 5.6));
        Pair {
            block,
            candidate,
            baseline: 100.0,
        }
    };
    Series {
        metric: metric.into(),
        goal,
        pairs: (1..=10).map(pair).collect(),
    }
}

/// A candidate by the ratio of its throughput, and the ratio and spread of its guarded latency.
fn candidate(treatment: &str, throughput: f64, latency: f64, spread: f64) -> Candidate {
    Candidate {
        treatment: treatment.into(),
        responses: vec![series("iops", Goal::Maximize, throughput, 0.002)],
        guards: vec![Guard {
            series: series("p99", Goal::Minimize, latency, spread),
            margin: Margin::new(0.05).unwrap(),
            limit: None,
        }],
    }
}

fn compared(family: &[Candidate]) -> Vec<Comparison> {
    compare(family, &Criteria::default(), 10).unwrap().comparisons
}

#[test]
fn the_best_with_its_guards_held_wins() {
    let family = [
        candidate("good", 1.05, 1.0, 0.001),
        candidate("best", 1.10, 1.0, 0.001),
        candidate("reckless", 1.30, 1.2, 0.001),
    ];
    let Recommendation::Adopt(winner) = recommend(&compared(&family)) else {
        panic!("no winner")
    };
    assert_eq!(winner.treatment(), "best");
    assert_eq!(winner.passed_over().len(), 1);
    assert_eq!(winner.passed_over()[0].treatment, "reckless");
    assert_eq!(winner.passed_over()[0].guards[0].outcome, GuardOutcome::Failed);
}

#[test]
fn a_standing_guard_is_named() {
    for (latency, spread, outcome) in [
        (1.2, 0.001, GuardOutcome::Failed),
        (1.03, 0.03, GuardOutcome::Unproven),
    ] {
        let recommendation = recommend(&compared(&[candidate("fast", 1.2, latency, spread)]));
        let Recommendation::Keep {
            reason: KeepReason::Guarded { blocked },
        } = recommendation
        else {
            panic!("{recommendation:?}")
        };
        assert_eq!(
            (blocked[0].treatment.as_str(), blocked[0].guards[0].outcome),
            ("fast", outcome)
        );
        assert_eq!(blocked[0].guards[0].effect.metric, "p99");
    }
}

#[test]
fn the_baseline_stays_without_a_better_candidate() {
    let reason = |family: &[Candidate]| match recommend(&compared(family)) {
        Recommendation::Keep { reason } => reason,
        Recommendation::Adopt(winner) => panic!("{winner:?}"),
    };
    assert_eq!(reason(&[]), KeepReason::NothingCompared);
    assert_eq!(
        reason(&[candidate("slow", 0.9, 1.0, 0.001)]),
        KeepReason::NoneBetter
    );
    let unclear = Candidate {
        responses: vec![series("iops", Goal::Maximize, 1.005, 0.02)],
        ..candidate("unclear", 1.0, 1.0, 0.001)
    };
    let family = [candidate("slow", 0.9, 1.0, 0.001), unclear];
    assert!(matches!(
        reason(&family),
        KeepReason::Inconclusive { more_blocks: 2.. }
    ));
}

#[test]
fn what_failed_a_guard_is_not_open_however_many_blocks_follow() {
    let unclear = |latency: f64| {
        let mut unclear = candidate("unclear", 1.0, latency, 0.001);
        unclear.responses.push(series("bw", Goal::Maximize, 1.005, 0.02));
        compared(&[unclear]).remove(0)
    };
    let held = unclear(1.0);
    let (judgement, more) = held.open().unwrap();
    assert_eq!(judgement.effect.metric, "bw", "the first response is settled");
    assert!(more > 1);
    assert!(unclear(1.2).open().is_none());
}

#[test]
fn a_confirmation_needs_pairs_in_its_guards_too() {
    let mut family = [candidate("best", 1.10, 1.0, 0.001)];
    let confirmed = |family: &[Candidate]| recommend(&compared(family)).of_confirmation(12);
    assert!(matches!(confirmed(&family), Recommendation::Adopt(_)));
    family[0].guards[0].series.pairs.truncate(9);
    let reason = KeepReason::TooFew { blocks: 12, pairs: 9 };
    assert_eq!(confirmed(&family), Recommendation::Keep { reason });
}

#[test]
fn a_recommendation_serialises() {
    let recommendation = recommend(&compared(&[candidate("best", 1.10, 1.0, 0.001)]));
    let json = serde_json::to_value(&recommendation).unwrap();
    assert_eq!(json["kind"], "adopt");
    assert_eq!(json["comparison"]["responses"][0]["verdict"]["kind"], "better");
    assert_eq!(json["comparison"]["guards"][0]["outcome"], "held");
}
