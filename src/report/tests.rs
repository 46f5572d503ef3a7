//! Reports of a made-up run, as a reader sees them, and of a hostile one.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::fixture::Fixture;
use super::*;
use crate::analysis::Noise;
use crate::event::{Certificate, Outcome, Purpose};
use crate::experiment::{BARRIER, SKEW};
use crate::units::Span;
use crate::workload::Observation;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest, Sha256};
use std::time::Duration;

fn columns(text: &str) -> usize {
    text.lines().map(|l| l.chars().count()).max().unwrap_or(0)
}

const EXPECTED: Span = Span::secs(430);

fn value(document: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(document).unwrap()
}

#[test]
fn the_text_fits_a_terminal() {
    let fixture = Fixture::quickstart();
    let plain = text(&fixture.report(), 80, false);
    assert!(columns(&plain) <= 80, "{plain}");
    assert!(!plain.contains('\u{1b}'));
    insta::assert_snapshot!(plain);
    let coloured = text(&fixture.report(), 80, true);
    assert!(coloured.contains("\u{1b}[32mbetter\u{1b}[0m"), "{coloured}");
    for width in [60, 72, 100, 132] {
        let narrow = text(&fixture.report(), width, false);
        assert!(columns(&narrow) <= width.into(), "{width}\n{narrow}");
    }
}

#[test]
fn an_unproven_run_says_what_it_would_take() {
    let mut fixture = Fixture::quickstart();
    fixture.records.retain(|r| r.trial.block <= 3);
    fixture.end = Some(End::TimeBudget);
    let fixture = fixture.evaluated();
    insta::assert_snapshot!(text(&fixture.report(), 80, false));
}

#[test]
fn a_run_without_a_number_is_still_told() {
    let mut fixture = Fixture::quickstart();
    fixture.records.clear();
    fixture.end = None;
    let fixture = fixture.evaluated();
    let text = text(&fixture.report(), 80, false);
    assert!(
        text.contains("no number") && text.contains("unfinished: 0 of 10 blocks"),
        "{text}"
    );
    html(&fixture.report()).unwrap();
    value(&json(&fixture.report()));
}

#[test]
fn the_same_in_markdown() {
    insta::assert_snapshot!(markdown(&Fixture::quickstart().report()));
}

#[test]
fn the_document_keeps_its_schema() {
    let fixture = Fixture::quickstart();
    let document = value(&json(&fixture.report()));
    assert_eq!(document["schema"], "kvmtune-report-2");
    assert_eq!(
        document["treatments"][0]["comparison"]["responses"][0]["verdict"]["kind"],
        "better"
    );
    assert_eq!(
        document["trials"].as_array().unwrap().len(),
        fixture.records.len()
    );
    let failed = |t: &&serde_json::Value| t["result"]["outcome"] == "failed";
    let failed = document["trials"]
        .as_array()
        .unwrap()
        .iter()
        .find(failed)
        .unwrap();
    assert_eq!(failed["result"]["stage"], "measure");
    let keys: Vec<_> = document.as_object().unwrap().keys().cloned().collect();
    insta::assert_snapshot!(keys.join(" "));
}

#[test]
fn overhead_is_told_live_and_after_a_start() {
    let fixture = Fixture::quickstart();
    let mut report = fixture.report();
    let overhead = overhead(&report);
    let trials = [&overhead.live, &overhead.restart].map(|g| g.as_ref().unwrap().trials);
    assert_eq!(trials.iter().sum::<usize>(), fixture.records.len() - 2);
    insta::assert_snapshot!(overhead.to_string());
    report.records = &[];
    assert!(super::overhead(&report).to_string().contains("no trial"));
}

#[test]
fn how_far_apart_guests_started_is_told() {
    let mut fixture = Fixture::quickstart();
    assert_eq!(overhead(&fixture.report()).skew, None);
    let mut apart = [3.0, 40.0, 5.0].into_iter();
    for record in &mut fixture.records {
        if let (Outcome::Measured { observations, .. }, Some(value)) = (&mut record.outcome, apart.next()) {
            observations.push(Observation {
                workload: BARRIER.into(),
                metric: SKEW.into(),
                value,
            });
        }
    }
    let overhead = overhead(&fixture.report());
    assert!(
        overhead
            .skew
            .is_some_and(|skew| (skew.max_seconds - 0.04).abs() < 1e-9)
    );
    let told = overhead.to_string();
    assert!(
        told.ends_with("the guests of measured trials started 5.0 ms (40.0 ms) apart\n"),
        "{told}"
    );
}

#[test]
fn a_plan_tells_what_it_will_do() {
    let fixture = Fixture::quickstart();
    let text = plan_text(&fixture.header, EXPECTED, &[], 80);
    assert!(columns(&text) <= 80, "{text}");
    insta::assert_snapshot!(text);
    let document = value(&plan_json(&fixture.header, EXPECTED, &[]));
    assert_eq!(document["schema"], "kvmtune-plan-1");
    assert_eq!(document["touches"].as_array().unwrap().len(), 2);
}

#[test]
fn runs_are_listed() {
    let row = RunRow {
        simulated: false,
        purpose: Purpose::Sweep,
        id: "0123456789ab".into(),
        experiment: "quick\u{1b}[2Jstart".into(),
        started: Fixture::quickstart().header.started,
        done: 12,
        planned: 44,
        state: "unfinished".into(),
    };
    insta::assert_snapshot!(runs(&[row]));
    assert!(runs(&[]).starts_with("no runs"));
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let fixture = Fixture::quickstart();
    let page = html(&fixture.report()).unwrap();
    check_page(&page);
    for part in [
        "is best",
        "What was not proven",
        "kvmtune run experiments/quickstart.toml --seed 41",
    ] {
        assert!(page.contains(part), "{part}");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.html");
    std::fs::write(&file, &page).unwrap();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
}

/// HTML's void elements closed, the doctype, attributes without a value and the script off, a page must be XML.
fn check_page(page: &str) {
    for forbidden in ["src=", "<link", "@import", "url(", "<img", " style=", "onclick"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    assert_eq!(
        page.matches("http").count(),
        page.matches("http://www.w3.org/2000/svg").count() + 1
    );
    let (before, rest) = page.split_once("<script>").unwrap();
    let (script, after) = rest.split_once("</script>").unwrap();
    assert!(!after.contains("<script") && !before.contains("<script"));
    let hash = |text: &str| BASE64.encode(Sha256::digest(text));
    assert!(before.contains(&format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-",
        hash(script)
    )));
    for style in before.split("<style>").skip(1) {
        let (style, _) = style.split_once("</style>").unwrap();
        assert!(before.contains(&format!("'sha256-{}'", hash(style))), "{style}");
    }
    let mut xml = format!("{before}{after}")
        .replace("<!DOCTYPE html>", "")
        .replace("<details open>", "<details>")
        .replace(" data-fixed>", ">")
        .replace("<wbr>", "");
    for meta in ["charset", "name", "http-equiv"] {
        let parts: Vec<_> = xml.split(&format!("<meta {meta}=")).map(str::to_string).collect();
        xml = parts[0].clone();
        for part in &parts[1..] {
            xml.extend([&format!("<meta {meta}="), part.replacen('>', "/>", 1).as_str()]);
        }
    }
    let document = roxmltree::Document::parse(&xml).unwrap();
    let plots: Vec<_> = document
        .descendants()
        .filter(|n| n.has_tag_name(("http://www.w3.org/2000/svg", "svg")))
        .collect();
    assert!(plots.len() >= 2);
    assert!(plots.iter().all(|p| p.attribute("aria-label").is_some()));
}

#[test]
fn plots_show_every_treatment() {
    let fixture = Fixture::quickstart();
    for kind in [PlotKind::Effects, PlotKind::Samples] {
        let svg = plot(&fixture.report(), kind).unwrap().unwrap().svg;
        roxmltree::Document::parse(&svg).unwrap();
        assert!(svg.contains("currentColor") && !svg.contains("#7F7F7E"));
        assert!(!svg.contains("NaN") && !svg.contains("#000000"), "{svg}");
        let levels = fixture.header.plan.treatments[1..].iter().flat_map(|t| &t.levels);
        for (tunable, level) in levels.filter(|(_, level)| level == "mq-deadline") {
            assert!(svg.contains(&format!("{tunable}={level}")), "{tunable}");
        }
    }
}

#[test]
fn hostile_texts_stay_texts() {
    let fixture = Fixture::hostile();
    let report = fixture.report();
    let page = html(&report).unwrap();
    check_page(&page);
    let terminal = text(&report, 80, false);
    assert!(columns(&terminal) <= 80, "{terminal}");
    let plan = plan_text(&fixture.header, EXPECTED, &[], 80);
    assert!(columns(&plan) <= 80, "{plan}");
    let markdown = markdown(&report);
    for (name, out) in [
        ("page", &page),
        ("text", &terminal),
        ("plan", &plan),
        ("markdown", &markdown),
    ] {
        // Tabs stand between the numbers of a page's trials.
        let bad = |c: char| (c.is_control() && c != '\n' && c != '\t') || c == '\u{202e}';
        assert!(!out.contains(bad), "{name}");
        assert!(out.len() < 400_000, "{name}: {}", out.len());
    }
    // Code is taken literally; nothing in it ends it.
    let lines = markdown.lines().filter(|l| !l.starts_with("    "));
    let outside = |line: &str| line.split('`').step_by(2).collect::<String>();
    assert!(lines.map(outside).all(|l| !l.contains("<script")), "{markdown}");
    // JSON keeps what was found, escaped.
    let document = serde_json::to_string(&json(&report)).unwrap();
    assert!(!document.contains('\u{1b}') && document.contains("\\u001b[2J"));
}

#[test]
fn many_treatments_and_blocks_are_drawn() {
    let mut fixture = Fixture::quickstart();
    for record in &mut fixture.records {
        if let Outcome::Measured { observations, .. } = &mut record.outcome {
            observations[0].value = 5.0;
        }
    }
    let fixture = fixture.evaluated();
    let draw = |kind| plot(&fixture.report(), kind).unwrap().unwrap().svg;
    let svg = draw(PlotKind::Effects) + &draw(PlotKind::Samples);
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    assert!(text(&fixture.report(), 80, false).contains("at cap"));
}

fn certificate(fixture: &Fixture) -> Certificate {
    Certificate {
        run: fixture.header.run,
        started: fixture.header.started,
        metric: fixture.header.protocol.response().metric.clone(),
        noise: Noise {
            blocks: 20,
            within_cv: 0.011,
            sigma_d: 0.0156,
            sigma_d_percent: 1.57,
            lag1: 0.08,
            drift_percent: -0.4,
            drift_percent_per_hour: Some(-1.2),
            interleaving_gain: Some(1.8),
        },
        trial: Duration::from_secs(9),
    }
}

#[test]
fn a_certificate_tells_what_a_host_resolves() {
    let mut fixture = Fixture::quickstart();
    let certificate = certificate(&fixture);
    insta::assert_snapshot!("certificate", super::certificate::lines(&certificate).join("\n"));
    fixture.header.certificate = Some(certificate);
    let plan = plan_text(&fixture.header, EXPECTED, &[], 80);
    let proof: Vec<_> = plan
        .lines()
        .skip_while(|l| !l.starts_with("what it can prove"))
        .collect();
    insta::assert_snapshot!("what_a_plan_can_prove", proof.join("\n"));
}

#[test]
fn a_confirmation_sets_the_selection_beside_its_own_gain() {
    let mut fixture = Fixture::quickstart();
    fixture.header.purpose = Purpose::Confirm {
        of: fixture.header.run,
    };
    fixture.header.plan.guests = crate::design::Guests::Fresh;
    fixture.header.certificate = Some(certificate(&fixture));
    let fixture = fixture.evaluated();
    let mut report = fixture.report();
    report.selection = Some(36.4);
    let (treatment, comparison) = report.candidates().next().unwrap();
    insta::assert_snapshot!(
        "confirmed",
        verdict::lines(&report, treatment, comparison).join("\n")
    );
    // It has fewer blocks than anything is adopted on.
    let told = text(&report, 200, false);
    assert!(told.contains("adopting takes 12 complete blocks"), "{told}");
}

#[test]
fn an_a_a_run_says_whether_it_found_a_difference() {
    let mut fixture = Fixture::quickstart();
    fixture.header.purpose = Purpose::Noise;
    let report = fixture.report();
    assert!(text(&report, 80, false).contains("VERDICT differs from itself"));
}
