//! Unit and property tests of the analysis; reference values and simulations are under `tests/`.
#![allow(clippy::unwrap_used, reason = "tests")]

mod course;

use proptest::prelude::*;

use super::quantile::normal_quantile;
use super::*;
use crate::experiment::Goal;

fn sample(values: &[f64]) -> Sample {
    Sample::new(values.to_vec()).unwrap()
}

fn series(metric: &str, goal: Goal, ratios: &[f64]) -> Series {
    let pair = |(block, ratio)| Pair {
        block,
        candidate: 200.0 * ratio,
        baseline: 200.0,
    };
    Series {
        metric: metric.into(),
        goal,
        pairs: (1..).zip(ratios).map(pair).collect(),
    }
}

fn candidate(ratios: &[f64]) -> Candidate {
    Candidate {
        treatment: "none".into(),
        responses: vec![series("iops", Goal::Maximize, ratios)],
        guards: Vec::new(),
    }
}

/// All blocks judged at once.
fn judged(family: &[Candidate]) -> Result<Vec<Comparison>, AnalysisError> {
    let pairs = family.iter().flat_map(|c| &c.responses).flat_map(|s| &s.pairs);
    let done = pairs.map(|pair| pair.block).max().unwrap_or(0);
    Ok(compare(family, &Criteria::default(), done)?.comparisons)
}

fn verdict(ratios: &[f64]) -> Verdict {
    judged(&[candidate(ratios)]).unwrap()[0].responses[0].verdict
}

/// Ratios spread evenly over ± `half` around `centre`.
fn around(centre: f64, half: f64, blocks: usize) -> Vec<f64> {
    (0..blocks)
        .map(|block| centre - half + 2.0 * half * block as f64 / (blocks - 1) as f64)
        .collect()
}

/// Hollander & Wolfe, table 3.1: Hamilton depression scale factor IV after minus before a tranquilizer.
#[test]
#[allow(clippy::approx_constant, reason = "3.14 is what a patient had")]
fn hamilton_depression_data_match_the_book() {
    let before = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30];
    let after = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29];
    let change: Vec<f64> = after
        .iter()
        .zip(before)
        .map(|(after, before)| after - before)
        .collect();
    let change = sample(&change);
    assert!((signed_rank_test(&change).less - 10.0 / 512.0).abs() < 1e-12);
    assert!((hodges_lehmann(&change).log_ratio() + 0.46).abs() < 1e-9);
    let interval = signed_rank_interval(&change, Level::P95).unwrap();
    assert!((interval.low + 0.786).abs() < 1e-9, "{interval:?}");
    assert!((interval.high + 0.010).abs() < 1e-9, "{interval:?}");
    assert!((interval.level - (1.0 - 20.0 / 512.0)).abs() < 1e-12);
}

#[test]
fn bad_values_are_errors() {
    assert_eq!(
        Sample::new(vec![1.0]),
        Err(AnalysisError::TooFewValues { values: 1 })
    );
    assert!(matches!(
        Sample::new(vec![1.0, f64::NAN]),
        Err(AnalysisError::NotFinite { position: 1, .. })
    ));
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(
            log_ratio(bad, 1.0, Goal::Maximize).unwrap_err().arm,
            Arm::Candidate
        );
        assert_eq!(
            log_ratio(1.0, bad, Goal::Maximize).unwrap_err().arm,
            Arm::Baseline
        );
    }
    assert!(Level::new(1.0).is_err() && Level::new(f64::NAN).is_err() && Margin::new(0.0).is_err());
    let error = judged(&[candidate(&[1.0, 0.0])]).unwrap_err();
    assert!(matches!(error, AnalysisError::Ratio { block: 2, .. }), "{error}");
}

#[test]
fn a_block_counts_once() {
    let mut twice = candidate(&[1.1, 1.2]);
    twice.responses[0].pairs[1].block = 1;
    let error = judged(&[twice]).unwrap_err();
    assert_eq!(
        error,
        AnalysisError::RepeatedBlock {
            metric: "iops".into(),
            block: 1
        }
    );
}

#[test]
fn better_is_positive_for_both_goals() {
    assert!(log_ratio(2.0, 1.0, Goal::Maximize).unwrap() > 0.0);
    assert!(log_ratio(2.0, 1.0, Goal::Minimize).unwrap() < 0.0);
    let faster = series("p99", Goal::Minimize, &around(0.8, 0.01, 9));
    let sped_up = Candidate {
        treatment: "x".into(),
        responses: vec![faster],
        guards: Vec::new(),
    };
    let comparison = judged(&[sped_up]).unwrap()[0].primary().clone();
    assert_eq!(comparison.verdict, Verdict::Better);
    assert!((comparison.effect.gain_percent.unwrap() - 25.0).abs() < 0.1);
    assert!((comparison.effect.change_percent().unwrap() + 20.0).abs() < 0.1);
    let change = comparison.effect.change_interval_percent().unwrap();
    assert!(change.low < -20.0 && -20.0 < change.high, "{change:?}");
}

#[test]
fn verdicts_follow_the_data() {
    assert_eq!(verdict(&around(1.03, 0.02, 10)), Verdict::Better);
    assert_eq!(verdict(&around(0.97, 0.02, 10)), Verdict::Worse);
    assert_eq!(verdict(&around(1.000_01, 0.004, 10)), Verdict::Equivalent);
    assert!(matches!(
        verdict(&around(1.005, 0.05, 10)),
        Verdict::Inconclusive { more_blocks: 2.. }
    ));
    assert_eq!(
        verdict(&[1.0, 1.0, 1.0, 1.0, 1.0, 1.1, 1.1, 1.2, 1.1, 1.3]),
        Verdict::NoResolution
    );
    assert_eq!(verdict(&[1.0; 10]), Verdict::AtCap);
}

#[test]
fn large_p_is_never_equivalence() {
    assert!(matches!(
        verdict(&[1.05, 0.95, 1.06, 0.94, 1.01, 0.99]),
        Verdict::Inconclusive { .. }
    ));
}

#[test]
fn equivalence_needs_both_sides() {
    let equivalent = |values: &[f64]| {
        let ratios: Vec<f64> = values.iter().map(|value| value.exp()).collect();
        let blocks = u32::try_from(values.len()).unwrap();
        let judged = compare(&[candidate(&ratios)], &Criteria::default(), blocks).unwrap();
        judged.comparisons[0].primary().negligible
    };
    let near: Vec<f64> = around(0.0, 0.008, 10);
    let shifted = |by: f64| near.iter().map(|value| value + by).collect::<Vec<f64>>();
    assert!(equivalent(&near));
    assert!(!equivalent(&shifted(0.008)) && !equivalent(&shifted(-0.008)));
    assert!(!equivalent(&near[..4]));
}

#[test]
fn extreme_levels_are_unprovable_but_harmless() {
    let extreme = Level::new(1.0 - f64::EPSILON / 2.0).unwrap().simultaneous(1000);
    assert!(fewest_blocks(extreme) > 50);
    assert_eq!(blocks_needed(0.03, 0.01, extreme), u32::MAX);
    for values in [around(0.03, 0.02, 10), around(0.03, 0.02, 60), vec![0.0; 10]] {
        assert!(signed_rank_interval(&sample(&values), extreme).is_none());
    }
}

#[test]
fn too_few_blocks_prove_nothing() {
    assert_eq!(fewest_blocks(Level::P95), 6);
    assert!((smallest_attainable_p(6) - 0.03125).abs() < 1e-15);
    for blocks in 2..6 {
        let steep = around(2.0, 0.1, blocks);
        assert!(
            matches!(verdict(&steep), Verdict::Inconclusive { more_blocks: 1.. }),
            "{blocks} blocks"
        );
        let comparison = judged(&[candidate(&steep)]).unwrap()[0].primary().clone();
        assert!(comparison.effect.interval_percent.is_none());
    }
    assert_eq!(verdict(&around(2.0, 0.1, 6)), Verdict::Better);
    assert_eq!(verdict(&[]), Verdict::Inconclusive { more_blocks: 6 });
    assert_eq!(verdict(&[2.0]), Verdict::Inconclusive { more_blocks: 6 });
}

#[test]
fn a_larger_family_needs_more_evidence() {
    let shift = around(1.03, 0.02, 8);
    assert_eq!(verdict(&shift), Verdict::Better);
    let family = vec![candidate(&shift); 10];
    let comparisons = judged(&family).unwrap();
    assert!(
        comparisons
            .iter()
            .all(|comparison| matches!(comparison.primary().verdict, Verdict::Inconclusive { .. }))
    );
    assert!(
        comparisons
            .iter()
            .all(|comparison| comparison.primary().effect.interval_percent.is_none())
    );
    assert!((comparisons[0].primary().p_holm - 10.0 * comparisons[0].primary().p_raw).abs() < 1e-12);
}

#[test]
fn guards_are_held_failed_or_unproven() {
    let outcome = |ratios: &[f64], goal| {
        let guard = Guard {
            series: series("m", goal, ratios),
            margin: Margin::new(0.05).unwrap(),
            limit: None,
        };
        judge_guard(&guard, Level::P95).unwrap().outcome
    };
    assert_eq!(
        outcome(&around(1.03, 0.01, 8), Goal::Minimize),
        GuardOutcome::Held
    );
    assert_eq!(
        outcome(&around(1.10, 0.01, 8), Goal::Minimize),
        GuardOutcome::Failed
    );
    assert_eq!(
        outcome(&around(1.05, 0.03, 8), Goal::Minimize),
        GuardOutcome::Unproven
    );
    assert_eq!(
        outcome(&around(0.97, 0.01, 8), Goal::Maximize),
        GuardOutcome::Held
    );
    assert_eq!(
        outcome(&around(0.90, 0.01, 8), Goal::Maximize),
        GuardOutcome::Failed
    );
    assert_eq!(outcome(&[1.0; 8], Goal::Minimize), GuardOutcome::Held);
    assert_eq!(outcome(&[1.0; 4], Goal::Minimize), GuardOutcome::Unproven);
}

#[test]
fn planning_matches_the_protocol() {
    // 15.7 · .03² / (.955 · .01²) = 148 pairs.
    assert_eq!(blocks_needed(0.03, 0.01, Level::P95), 148);
    assert_eq!(blocks_needed(0.000_1, 0.01, Level::P95), 6);
    assert_eq!(blocks_needed(1.0, 0.0, Level::P95), u32::MAX);
    assert!((smallest_provable_effect(0.03, 148, Level::P95).unwrap() - 0.01).abs() < 1e-4);
    assert!(smallest_provable_effect(0.03, 5, Level::P95).is_none());
    let wild = [
        9.0,
        8.0,
        7.0,
        6.0,
        5.0,
        1.0 / 5.01,
        1.0 / 6.01,
        1.0 / 7.01,
        1.0 / 8.01,
        1.0 / 9.01,
    ];
    let far_too_many = Verdict::Inconclusive {
        more_blocks: MORE_BLOCKS_CAP,
    };
    assert_eq!(verdict(&wild), far_too_many);
}

#[test]
fn quantiles_match_scipy() {
    let reference: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/reference/quantiles.json")).unwrap();
    let rows = |name: &str| serde_json::from_value::<Vec<Vec<f64>>>(reference[name].clone()).unwrap();
    let close = |ours: f64, theirs: f64| (ours - theirs).abs() <= 1e-8 * (1.0 + theirs.abs());
    for row in rows("normal") {
        assert!(close(normal_quantile(row[0]), row[1]), "{row:?}");
    }
    for row in rows("student_t") {
        assert!(
            close(student_t_quantile(row[1], row[0]).unwrap(), row[2]),
            "{row:?}"
        );
    }
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "whole numbers in a file of ours"
    )]
    for row in rows("clopper_pearson") {
        let bounds = clopper_pearson(row[0] as u32, row[1] as u32, Level::new(row[2]).unwrap()).unwrap();
        assert!(
            close(bounds.low, row[3]) && close(bounds.high, row[4]),
            "{row:?} {bounds:?}"
        );
    }
    assert!(clopper_pearson(2, 1, Level::P95).is_none() && clopper_pearson(0, 0, Level::P95).is_none());
    assert!(student_t_quantile(0.5, 0.0).is_none() && student_t_quantile(1.0, 3.0).is_none());
}

/// Continuous values, or values in steps with ties and zeros.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let steps = prop::collection::vec((-4_i32..=5).prop_map(|step| f64::from(step) / 4.0), 2..16);
    prop_oneof![prop::collection::vec(-1.0_f64..1.2, 2..70), steps]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn p_values_are_probabilities_and_mirror(values in values()) {
        let test = signed_rank_test(&sample(&values));
        for p in [test.two_sided, test.greater, test.less] {
            prop_assert!(p > 0.0 && p <= 1.0);
        }
        let flipped: Vec<f64> = values.iter().map(|value| -value).collect();
        let mirror = signed_rank_test(&sample(&flipped));
        prop_assert!((test.two_sided - mirror.two_sided).abs() < 1e-12);
        prop_assert!((test.greater - mirror.less).abs() < 1e-12);
    }

    #[test]
    fn interval_holds_the_estimate_and_mirrors(values in values()) {
        let flipped: Vec<f64> = values.iter().map(|value| -value).collect();
        let (ours, mirror) = (sample(&values), sample(&flipped));
        if let Some(interval) = signed_rank_interval(&ours, Level::P95) {
            prop_assert!(interval.contains(hodges_lehmann(&ours).log_ratio()));
            prop_assert!(interval.level >= 0.95 - 1e-12);
            let other = signed_rank_interval(&mirror, Level::P95).unwrap();
            prop_assert!((interval.low + other.high).abs() < 1e-8 && (interval.high + other.low).abs() < 1e-8);
        }
    }

    #[test]
    fn what_is_not_rejected_is_inside(values in values()) {
        let values = sample(&values);
        if let Some(interval) = signed_rank_interval(&values, Level::P95) {
            prop_assert!(interval.contains(0.0) || signed_rank_test(&values).two_sided <= 0.05);
        }
    }

    #[test]
    fn order_does_not_matter((values, shuffled) in values().prop_flat_map(|values| {
        (Just(values.clone()), Just(values).prop_shuffle())
    })) {
        let (ours, other) = (sample(&values), sample(&shuffled));
        prop_assert_eq!(signed_rank_test(&ours), signed_rank_test(&other));
        prop_assert_eq!(hodges_lehmann(&ours), hodges_lehmann(&other));
        prop_assert_eq!(signed_rank_interval(&ours, Level::P95), signed_rank_interval(&other, Level::P95));
    }

    #[test]
    fn holm_only_raises_and_keeps_order(p_values in prop::collection::vec(0.0_f64..=1.0, 1..20)) {
        let adjusted = holm(&p_values);
        for (index, &raw) in p_values.iter().enumerate() {
            prop_assert!(adjusted[index] >= raw && adjusted[index] <= 1.0);
            for (other, &other_raw) in p_values.iter().enumerate() {
                prop_assert!(raw > other_raw || adjusted[index] <= adjusted[other]);
            }
        }
    }

    #[test]
    fn compare_never_panics(ratios in prop::collection::vec(prop::num::f64::ANY, 0..8)) {
        let _ = judged(&[candidate(&ratios)]);
    }
}
