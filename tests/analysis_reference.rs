//! Holds the statistics to values made by scipy and statsmodels; see `tests/reference/make_reference.py`.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::analysis::{
    Level, Sample, boundary, e_value, hodges_lehmann, holm, mser5, signed_rank_interval, signed_rank_test,
    smallest_attainable_p, theil_sen,
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
    interval_95: Option<(f64, f64)>,
}

impl LargeCase {
    fn check(&self, what: &str) {
        let sample = Sample::new(self.values.clone()).unwrap();
        let test = signed_rank_test(&sample);
        assert_close(test.two_sided, self.two_sided, what);
        assert_close(test.greater, self.greater, what);
        assert_close(test.less, self.less, what);
        assert_close(hodges_lehmann(&sample).log_ratio(), self.hodges_lehmann, what);
        if let Some((low, high)) = self.interval_95 {
            let ours = signed_rank_interval(&sample, Level::P95).unwrap();
            assert_close(ours.low, low, what);
            assert_close(ours.high, high, what);
        }
    }
}

#[derive(Deserialize)]
struct TextbookCase {
    name: String,
    #[serde(flatten)]
    case: LargeCase,
}

#[derive(Deserialize)]
struct Mser5Case {
    values: Vec<f64>,
    warmup: usize,
    at_limit: bool,
}

#[derive(Deserialize)]
struct EProcessCase {
    values: Vec<f64>,
    value: f64,
    greatest: f64,
    positive: bool,
}

#[derive(Deserialize)]
struct BoundaryCase {
    looks: Vec<u32>,
    alpha: f64,
    nominal: Vec<f64>,
}

#[derive(Deserialize)]
struct TheilSenCase {
    values: Vec<f64>,
    slope: f64,
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
    assert!(cases.iter().filter(|case| case.interval_95.is_some()).count() >= 40);
    for case in &cases {
        case.check(&format!("n = {}", case.values.len()));
    }
}

/// Hollander & Wolfe, *Nonparametric Statistical Methods*, table 3.1 (Hamilton depression scale factor IV, after minus
/// before a tranquilizer): T+ = 5, p = .020 one-sided, θ = −.46, 95 % interval −.786 to −.010. Darwin, *The Effects of
/// Cross and Self Fertilisation* (1876), by Fisher's *The Design of Experiments*: 15 pairs of maize.
#[test]
fn textbook_examples() {
    let cases: Vec<TextbookCase> = serde_json::from_str(include_str!("reference/textbooks.json")).unwrap();
    let named = |name: &str| &cases.iter().find(|case| case.name == name).unwrap().case;
    for case in &cases {
        case.case.check(&case.name);
    }
    let hamilton = named("hamilton");
    let printed = Sample::new(hamilton.values.clone()).unwrap();
    assert_close(signed_rank_test(&printed).less, 10.0 / 512.0, "P(T+ ≤ 5)");
    assert_close(hodges_lehmann(&printed).log_ratio(), -0.46, "θ");
    let interval = signed_rank_interval(&printed, Level::P95).unwrap();
    assert_close(interval.low, -0.786, "low");
    assert_close(interval.high, -0.010, "high");
    let darwin = Sample::new(named("darwin").values.clone()).unwrap();
    assert!((signed_rank_test(&darwin).two_sided - 0.041_26).abs() < 5e-6);
}

/// The example of four p-values that introductions to Holm's method give.
#[test]
fn holms_steps_by_hand() {
    let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
    for (ours, by_hand) in adjusted.into_iter().zip([0.03, 0.06, 0.06, 0.02]) {
        assert_close(ours, by_hand, "Holm");
    }
}

#[test]
fn truncations_by_mser5() {
    let cases: Vec<Mser5Case> = serde_json::from_str(include_str!("reference/mser5.json")).unwrap();
    assert!(cases.len() >= 200);
    assert!(cases.iter().any(|case| case.at_limit) && cases.iter().any(|case| case.warmup == 0));
    for case in &cases {
        let ours = mser5(&case.values).unwrap();
        assert_eq!(
            (ours.warmup, ours.at_limit),
            (case.warmup, case.at_limit),
            "{:?}",
            case.values
        );
    }
}

#[test]
fn evidence_of_the_e_process() {
    let cases: Vec<EProcessCase> = serde_json::from_str(include_str!("reference/e_process.json")).unwrap();
    assert!(cases.len() >= 120 && cases.iter().any(|case| !case.positive));
    for case in &cases {
        let ours = e_value(&case.values);
        let what = format!("{:?}", case.values);
        assert!((ours.value / case.value - 1.0).abs() < 1e-9, "{what}");
        assert!((ours.greatest / case.greatest - 1.0).abs() < 1e-9, "{what}");
        assert_eq!(ours.positive, case.positive, "{what}");
    }
}

#[test]
fn boundaries_of_several_looks() {
    let cases: Vec<BoundaryCase> = serde_json::from_str(include_str!("reference/boundary.json")).unwrap();
    assert!(cases.len() >= 24 && cases.iter().any(|case| case.looks.len() > 20));
    for case in &cases {
        for (ours, theirs) in boundary(&case.looks, case.alpha).into_iter().zip(&case.nominal) {
            assert!(
                (ours / theirs - 1.0).abs() < 1e-6,
                "{:?} {}: {ours} {theirs}",
                case.looks,
                case.alpha
            );
        }
    }
}

#[test]
fn slopes_of_theil_and_sen() {
    let cases: Vec<TheilSenCase> = serde_json::from_str(include_str!("reference/theil_sen.json")).unwrap();
    assert!(cases.len() >= 60);
    for case in &cases {
        assert_close(theil_sen(&case.values), case.slope, &format!("{:?}", case.values));
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
