//! Two runs side by side: alike, unlike, hostile, and pairs that cannot be compared.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::event::{Outcome, RunId};
use crate::facts::SIMULATED;
use crate::report::fixture::Fixture;
use crate::units::Bytes;

/// The same night in another order of luck: the treatment that wins alone is no better here.
fn another() -> Fixture {
    let mut fixture = Fixture::quickstart();
    fixture.header.run = RunId(uuid::Uuid::from_u128(0x0190_0000_0000_7000_8000_fedc_ba98_7654));
    fixture.header.plan.seed = 42;
    let ordinary = fixture.header.plan.treatments[1].id.clone();
    for record in &mut fixture.records {
        if let Outcome::Measured { observations, .. } = &mut record.outcome
            && record.trial.treatment == ordinary
        {
            observations[0].value /= 1.31;
        }
    }
    fixture.evaluated()
}

fn shown(first: &Fixture, second: &Fixture) -> String {
    compare_text(&compare(&first.report(), &second.report()).unwrap(), 80)
}

#[test]
fn alike_runs_stand_side_by_side() {
    let (first, second) = (Fixture::quickstart(), another());
    let (first, second) = (first.report(), second.report());
    let both = compare(&first, &second).unwrap();
    let text = compare_text(&both, 80);
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    insta::assert_snapshot!("alike", text);
    insta::assert_snapshot!("alike_in_markdown", compare_markdown(&both));
    let document = serde_json::to_value(&both).unwrap();
    assert_eq!(document["schema"], "kvmtune-compare-1");
    assert_eq!(document["comparable"], true);
    let found: Vec<_> = document["treatments"].as_array().unwrap().iter().collect();
    assert_eq!(found.len(), 3, "without the baseline");
    assert_eq!(found[0]["metrics"][0]["verdicts"], "only-first");
    assert_eq!(found[0]["metrics"][1]["verdicts"], "agree");
}

/// Each change makes the runs incomparable, and it is the first thing that is said.
#[test]
fn unlike_runs_are_told_so_first() {
    type Change = fn(&mut Fixture);
    let changes: [(&str, Change); 5] = [
        ("host.kernel 6.18.0 and 6.19.0", |f| {
            f.header
                .facts
                .record
                .insert("host.kernel".into(), "6.19.0".into());
        }),
        ("the second is a simulation", |f| {
            f.header
                .facts
                .record
                .insert(SIMULATED.into(), "model.toml".into());
        }),
        ("the guests differ", |f| {
            if let crate::experiment::Guest::Lab { memory, .. } = &mut f.header.protocol.guest {
                *memory = Bytes::mib(2048);
            }
        }),
        ("workload fio-randread-4k (its command", |f| {
            f.header.protocol.workloads[0].argv.push("--iodepth=64".into());
        }),
        ("different baselines", |f| f.header.plan.treatments.swap(0, 1)),
    ];
    for (reason, change) in changes {
        let mut second = another();
        change(&mut second);
        let second = second.evaluated();
        let text = shown(&Fixture::quickstart(), &second);
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.starts_with("NOT COMPARABLE: - "), "{text}");
        assert!(flat.contains(reason), "{reason}\n{text}");
        assert!(!flat.contains("Comparable: hosts"), "{text}");
        let first = Fixture::quickstart();
        let marked = compare_markdown(&compare(&first.report(), &second.report()).unwrap());
        assert!(
            marked.lines().nth(2).unwrap().contains("NOT COMPARABLE"),
            "{marked}"
        );
    }
}

#[test]
fn only_facts_that_differ_are_told() {
    let mut second = another();
    let record = &mut second.header.facts.record;
    record.insert("guest.kernel".into(), "6.1.0-other".into());
    record.insert("domain.xml".into(), "<domain>".repeat(200));
    let text = shown(&Fixture::quickstart(), &second);
    let facts = text.split_once("facts that differ").unwrap().1;
    assert!(
        facts.contains("guest.kernel") && facts.contains("6.1.0-other"),
        "{text}"
    );
    assert!(
        facts.contains("(1600") && facts.contains("0123456789ab unknown"),
        "{text}"
    );
    assert!(!facts.contains("host.cpu.model"), "{text}");
}

/// A response of one that is a guard of the other has no verdicts to agree, and what only one of them has is named.
#[test]
fn other_questions_are_not_agreed_on() {
    let mut second = another();
    let guard = second.header.protocol.guards.remove(0);
    second.header.protocol.responses = vec![crate::experiment::Response {
        metric: guard.metric,
        goal: guard.goal,
    }];
    second.header.plan.treatments[3].id = serde_json::from_value("99999999".into()).unwrap();
    let second = second.evaluated();
    let first = Fixture::quickstart();
    let (first, second) = (first.report(), second.report());
    let both = compare(&first, &second).unwrap();
    let metrics = |row: &TreatmentRow| row.metrics.iter().map(|m| m.verdicts).collect::<Vec<_>>();
    assert!(
        both.treatments
            .iter()
            .all(|row| metrics(row) == [Agreement::OtherQuestion])
    );
    assert_eq!(both.alone.each_ref().map(Vec::len), [1, 1]);
    assert!(compare_text(&both, 80).contains("also different"));
}

/// A limit of one run says nothing of another's: both are named, and no verdict of theirs agrees or differs.
#[test]
fn other_constraints_are_told() {
    let limited = |mut fixture: Fixture, limit| {
        let guard = fixture.header.protocol.guards[0].clone();
        fixture.header.protocol.constraints = vec![crate::experiment::Constraint {
            metric: guard.metric,
            side: guard.goal,
            limit,
        }];
        fixture.evaluated()
    };
    let (first, second) = (limited(Fixture::quickstart(), 5000.0), limited(another(), 900.0));
    let flat = shown(&first, &second);
    let flat = flat.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        flat.contains("they have other constraints: clat_p99_us <= 5000; clat_p99_us <= 900"),
        "{flat}"
    );
    assert!(flat.contains("limit 5000 limit 900 other limits"), "{flat}");
    let same = shown(&first, &limited(another(), 5000.0));
    assert!(
        !same.contains("other constraints") && same.contains("verdict: agree"),
        "{same}"
    );
}

#[test]
fn verdicts_agree_when_both_show_the_same() {
    let open = Said::Verdict(Verdict::Inconclusive { more_blocks: 3 });
    let further = Said::Verdict(Verdict::Inconclusive { more_blocks: 300 });
    let [better, worse] = [Verdict::Better, Verdict::Worse].map(Said::Verdict);
    for (first, second, expected) in [
        (better, better, Agreement::Agree),
        (better, worse, Agreement::Differ),
        (better, open, Agreement::OnlyFirst),
        (open, worse, Agreement::OnlySecond),
        (open, further, Agreement::Nothing),
        (better, Said::Guard(GuardOutcome::Held), Agreement::OtherQuestion),
    ] {
        assert_eq!(Agreement::of(first, second), expected);
    }
}

#[test]
fn pairs_that_share_nothing_are_refused() {
    let first = Fixture::quickstart();
    let refused = |second: &Fixture| {
        compare(&first.report(), &second.report())
            .unwrap_err()
            .to_string()
    };
    assert!(refused(&first).contains("both are run 0123456789ab"));
    let mut empty = another();
    empty.records.clear();
    assert!(refused(&empty.evaluated()).contains("run fedcba987654 has no trials"));
    let mut other = another();
    other.header.protocol.guards.clear();
    other.header.protocol.responses[0].metric.metric = "bandwidth".into();
    let told = refused(&other.evaluated());
    assert!(
        told.contains("nothing in common") && told.contains("fio-randread-4k.bandwidth"),
        "{told}"
    );
}

/// A run whose trials all failed is compared: it has no numbers, and says so.
#[test]
fn a_run_without_numbers_says_so() {
    let mut second = another();
    let failed = second.records[0].clone();
    for record in &mut second.records {
        record.outcome = Outcome::Failed {
            stage: crate::event::Stage::Measure,
            message: format!("no {}", failed.trial.order),
        };
    }
    let text = shown(&Fixture::quickstart(), &second.evaluated());
    assert!(text.contains("no number") && text.contains("n=0"), "{text}");
}

#[test]
fn hostile_texts_stay_texts() {
    let (hostile, second) = (Fixture::hostile(), another());
    let (first, second) = (hostile.report(), second.report());
    let both = compare(&first, &second).unwrap();
    let text = compare_text(&both, 80);
    let marked = compare_markdown(&both);
    for out in [&text, &marked] {
        let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!out.contains(bad) && out.len() < 100_000, "{out}");
    }
    assert!(text.lines().all(|l| l.chars().count() <= 80), "{text}");
    let outside = |line: &str| line.split('`').step_by(2).collect::<String>();
    assert!(
        marked.lines().map(outside).all(|l| !l.contains("<script")),
        "{marked}"
    );
}
