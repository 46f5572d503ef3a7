//! How a family fares as its blocks grow: when candidates are dropped, and what is not asked of them afterwards.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::analysis::{Candidate, Criteria, Pair, Rule, Series, compare, follow, looks};
use kvmtune::experiment::Goal;

const RULE: Rule = Rule::Looks { min: 6, max: 12 };

fn criteria() -> Criteria {
    Criteria {
        rule: RULE,
        ..Criteria::default()
    }
}

/// A candidate that gains this many percent in each block.
fn candidate(gains: &[f64]) -> Candidate {
    let pair = |(block, gain): (u32, &f64)| Pair {
        block,
        candidate: 100.0 + gain,
        baseline: 100.0,
    };
    Candidate {
        treatment: "x".into(),
        responses: vec![Series {
            metric: "iops".into(),
            goal: Goal::Maximize,
            pairs: (1..).zip(gains).map(pair).collect(),
        }],
        guards: Vec::new(),
    }
}

fn wavering(around: f64, blocks: u32) -> Vec<f64> {
    (0..blocks)
        .map(|block| around + 0.1 * f64::from(block % 3))
        .collect()
}

#[test]
fn longer_schedules_have_more_looks() {
    assert_eq!(looks(8, 20), [8, 10, 12, 14, 17, 20]);
    assert_eq!(
        looks(6, 30),
        [6, 9, 10, 11, 12, 13, 14, 16, 18, 20, 22, 24, 26, 28, 30]
    );
}

#[test]
fn what_is_clearly_behind_is_dropped_after_three_blocks() {
    let family = [candidate(&wavering(5.0, 3)), candidate(&wavering(1.0, 3))];
    assert!(follow(&family, &criteria(), 2).unwrap().is_active(1));
    let course = follow(&family, &criteria(), 3).unwrap();
    assert_eq!(course.dropped[1].unwrap().after, 3);
    assert_eq!(course.dropped[1].unwrap().leader, Some(0));
    // Behind, and not clearly.
    let family = [candidate(&[5.0, 1.0, 6.0]), candidate(&[4.0, 2.0, 1.0])];
    assert!(follow(&family, &criteria(), 3).unwrap().is_active(1));
}

/// Worse in every block: p falls with each, and only the looks while it was measured count.
#[test]
fn a_dropped_candidate_is_not_tested_at_later_looks() {
    let leader = candidate(&wavering(5.0, 12));
    let measured = compare(&[leader.clone(), candidate(&wavering(-1.0, 3))], &criteria(), 12).unwrap();
    let and_more = compare(&[leader, candidate(&wavering(-1.0, 12))], &criteria(), 12).unwrap();
    let (dropped, same) = (&measured.comparisons[1], &and_more.comparisons[1]);
    assert_eq!(dropped.dropped.unwrap().after, 3);
    assert_eq!(dropped.primary().verdict, same.primary().verdict);
    assert!(dropped.primary().claim_below == 0.0 && same.primary().claim_below == 0.0);
    assert!((dropped.primary().p_raw - 0.25).abs() < 1e-12 && (same.primary().p_raw - 0.25).abs() < 1e-12);
}

/// Six blocks cannot have p below 1/32: what the first look may spend of α/10 goes to those that can claim.
#[test]
fn a_look_that_cannot_claim_costs_nothing() {
    let family = vec![candidate(&wavering(5.0, 12)); 10];
    let at = |blocks| {
        compare(&family, &criteria(), blocks).unwrap().comparisons[0]
            .primary()
            .claim_below
    };
    assert!(at(6) == 0.0 && at(12) > 0.0 && at(12) <= 0.05);
}
