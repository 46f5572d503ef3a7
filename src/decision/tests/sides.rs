//! Medians of both sides, over the blocks that are compared and no others.

use super::evaluate::{SCHEDULERS, measured, sweep, trials};
use crate::decision::{evaluate, sides};
use crate::event::{Outcome, RunHeader, Stage, TrialRecord};
use crate::experiment::Stopping;

/// A run that drops nothing.
fn fixed() -> RunHeader {
    let mut header = sweep(SCHEDULERS);
    header.protocol.stopping = Stopping::Fixed;
    header
}

/// The baseline has 1000, 1010, 1020 … iops in blocks 1, 2, 3 …; each candidate ten times its place more.
fn rising(header: &RunHeader, blocks: u32, lost: impl Fn(u32, usize) -> bool) -> Vec<TrialRecord> {
    trials(header, blocks, |block, treatment| {
        if lost(block, treatment) {
            return Some(Outcome::Failed {
                stage: Stage::Measure,
                message: "lost".into(),
            });
        }
        let iops = 1000.0 + 10.0 * (f64::from(block) - 1.0) + 10.0 * treatment as f64;
        Some(measured(&[("iops", iops)]))
    })
}

#[test]
fn medians_are_of_the_blocks_that_are_compared() {
    let header = fixed();
    let blocks = header.plan.planned;
    // The first candidate lost its first two blocks, in which the baseline was slowest.
    let records = rising(&header, blocks, |block, treatment| treatment == 1 && block <= 2);
    let evaluation = evaluate(&header, &records).unwrap();
    let found = sides(&header, &records, &evaluation);
    let medians = |candidate: usize| {
        let response = &found[candidate][0];
        let median = |centre: Option<crate::analysis::Centre>| centre.unwrap().median;
        (median(response.baseline), median(response.candidate))
    };
    let middle = |first: u32| 1000.0 + 5.0 * f64::from(first + blocks - 2);
    assert_eq!(medians(0), (middle(3), middle(3) + 10.0));
    assert_eq!(medians(1), (middle(1), middle(1) + 20.0));
    assert_eq!(found[0][0].unit, "1/s");
}

#[test]
fn the_median_of_an_even_number_of_blocks_is_between_two() {
    let header = fixed();
    for blocks in [4, 5] {
        let records = rising(&header, blocks, |_, _| false);
        let evaluation = evaluate(&header, &records).unwrap();
        let expected = 1000.0 + 5.0 * f64::from(blocks - 1);
        assert_eq!(evaluation.baseline_medians, [Some(expected)], "{blocks}");
        let found = sides(&header, &records, &evaluation);
        let centre = found[0][0].baseline.unwrap();
        assert!((centre.median - expected).abs() < 1e-9);
        assert_eq!(centre.interval, None, "{blocks} blocks are too few");
    }
}

#[test]
fn without_a_pair_there_is_no_median() {
    let header = fixed();
    let records = rising(&header, 4, |_, treatment| treatment == 2);
    let evaluation = evaluate(&header, &records).unwrap();
    let found = sides(&header, &records, &evaluation);
    assert!(found[0][0].baseline.is_some());
    assert_eq!((found[1][0].baseline, found[1][0].candidate), (None, None));
}

#[test]
fn the_blocks_after_a_drop_do_not_count() {
    let header = sweep(SCHEDULERS);
    let records = rising(&header, 9, |_, _| false);
    let evaluation = evaluate(&header, &records).unwrap();
    let found = sides(&header, &records, &evaluation);
    let after = evaluation.comparisons[0].dropped.unwrap().after;
    assert!(after < 9);
    let expected = 1000.0 + 5.0 * f64::from(after - 1);
    assert!((found[0][0].baseline.unwrap().median - expected).abs() < 1e-9);
}
