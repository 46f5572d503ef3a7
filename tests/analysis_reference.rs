//! Holds the statistics to values made by scipy and statsmodels; see `tests/reference/make_reference.py`.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::analysis::{
    Level, Sample, hodges_lehmann, holm, signed_rank_interval, signed_rank_test, smallest_attainable_p,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct SmallCase {
    kind: String,
    values: Vec<f64>,
    two_sided: f64,
    greater: f64,
    less: f64,
    hodges_lehmann: f64,
    interval_90: Option<(f64, f64)>,
    interval_95: Option<(f64, f64)>,
    interval_99: Option<(f64, f64)>,
}

#[derive(Deserialize)]
struct LargeCase {
    values: Vec<f64>,
    two_sided: f64,
    greater: f64,
    less: f64,
    hodges_lehmann: f64,
}

#[derive(Deserialize)]
struct HolmCase {
    p: Vec<f64>,
    adjusted: Vec<f64>,
}

fn assert_close(ours: f64, theirs: f64, what: &str) {
    assert!(
        (ours - theirs).abs() < 1e-8,
        "{what}: ours {ours}, reference {theirs}"
    );
}

#[test]
fn small_samples_with_ties_and_zeros() {
    let cases: Vec<SmallCase> =
        serde_json::from_str(include_str!("reference/signed_rank_small.json")).unwrap();
    assert!(cases.len() >= 300);
    for kind in ["plain", "heavy", "ties", "zeros"] {
        assert!(
            cases.iter().filter(|case| case.kind == kind).count() >= 70,
            "{kind}"
        );
    }
    for case in &cases {
        let what = format!("{:?}", case.values);
        let sample = Sample::new(case.values.clone()).unwrap();
        let test = signed_rank_test(&sample);
        assert_close(test.two_sided, case.two_sided, &what);
        assert_close(test.greater, case.greater, &what);
        assert_close(test.less, case.less, &what);
        assert_close(hodges_lehmann(&sample).log_ratio(), case.hodges_lehmann, &what);
        for (level, theirs) in [
            (0.90, case.interval_90),
            (0.95, case.interval_95),
            (0.99, case.interval_99),
        ] {
            let ours = signed_rank_interval(&sample, Level::new(level).unwrap());
            assert_eq!(ours.is_some(), theirs.is_some(), "{level} {what}");
            if let (Some(ours), Some((low, high))) = (ours, theirs) {
                assert_close(ours.low, low, &format!("low {level} {what}"));
                assert_close(ours.high, high, &format!("high {level} {what}"));
            }
        }
    }
}

#[test]
fn larger_samples() {
    let cases: Vec<LargeCase> =
        serde_json::from_str(include_str!("reference/signed_rank_large.json")).unwrap();
    assert!(cases.len() >= 60);
    for case in &cases {
        let what = format!("n = {}", case.values.len());
        let sample = Sample::new(case.values.clone()).unwrap();
        let test = signed_rank_test(&sample);
        assert_close(test.two_sided, case.two_sided, &what);
        assert_close(test.greater, case.greater, &what);
        assert_close(test.less, case.less, &what);
        assert_close(hodges_lehmann(&sample).log_ratio(), case.hodges_lehmann, &what);
    }
}

#[test]
fn holm_adjusted_p_values() {
    let cases: Vec<HolmCase> = serde_json::from_str(include_str!("reference/holm.json")).unwrap();
    assert!(cases.len() >= 40);
    for case in &cases {
        for (ours, theirs) in holm(&case.p).into_iter().zip(&case.adjusted) {
            assert_close(ours, *theirs, &format!("{:?}", case.p));
        }
    }
}

#[test]
fn all_values_positive_give_the_smallest_p() {
    for blocks in 2..=50_u32 {
        let values = (1..=blocks).map(f64::from).collect();
        let p = signed_rank_test(&Sample::new(values).unwrap()).two_sided;
        assert!(
            (p / smallest_attainable_p(blocks) - 1.0).abs() < 1e-12,
            "{blocks}"
        );
    }
}
