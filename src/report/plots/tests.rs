//! Every kind of plot of made-up runs: complete, well formed, inside its frame, the same each time.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::paper::WIDTH;
use super::*;
use crate::event::{Outcome, Stage};
use crate::experiment::{Goal, MetricId, Response};
use crate::report::fixture::{Fixture, treatment};
use crate::telemetry::Seconds;
use crate::workload::{Metric, Observation};
use roxmltree::{Document, Node};
use std::collections::BTreeSet;

const WORKLOAD: &str = "fio-randread-4k";

/// Two responses, a guard, and percentiles of latency.
fn rich() -> Fixture {
    let mut fixture = Fixture::quickstart();
    percentiles(&mut fixture);
    fixture.evaluated()
}

fn percentiles(fixture: &mut Fixture) {
    let protocol = &mut fixture.header.protocol;
    let percentiles = [
        ("clat_p50_us", 0.2),
        ("clat_p999_us", 7.0),
        ("clat_p9999_us", 20.0),
    ];
    for (name, _) in percentiles {
        protocol.workloads[0].metrics.push(Metric {
            name: name.into(),
            unit: "us".into(),
            goal: Goal::Minimize,
        });
    }
    protocol.responses.push(Response {
        metric: MetricId {
            workload: WORKLOAD.into(),
            metric: "clat_p999_us".into(),
        },
        goal: Goal::Minimize,
    });
    for record in &mut fixture.records {
        if let Outcome::Measured { observations, .. } = &mut record.outcome {
            let p99 = observations[1].value;
            observations.extend(percentiles.map(|(name, times)| Observation {
                workload: WORKLOAD.into(),
                metric: name.into(),
                value: p99 * times,
            }));
        }
    }
}

/// Many treatments of two factors.
fn many(levels: usize) -> Fixture {
    let caches: Vec<_> = (0..levels)
        .map(|n| format!("cache-mode-with-a-long-name-{n}"))
        .collect();
    let mut treatments = Vec::new();
    for (place, cache) in caches.iter().enumerate() {
        for scheduler in ["none", "mq-deadline", "bfq", "kyber"] {
            treatments.push(treatment(&format!("{place:04x}{scheduler}"), cache, scheduler));
        }
    }
    let ratios: Vec<_> = (0..treatments.len())
        .map(|n| 1.0 + f64::from(u8::try_from(n * 37 % 23).unwrap()) / 50.0)
        .collect();
    Fixture::of("many", treatments, &ratios)
}

/// Six seconds of each trial.
fn watched(fixture: &Fixture) -> Vec<Seconds> {
    let table = |order: u32| {
        let rows =
            (0..6).map(|s| format!("{s},{},0,{}", 0.5 + f64::from(s * order % 7) / 10.0, 1000 * order));
        let text = format!(
            "seconds,cpu,steal,disk_read_bytes\n{}\n",
            rows.collect::<Vec<_>>().join("\n")
        );
        Seconds::parse(order, text.as_bytes()).unwrap()
    };
    fixture.records.iter().map(|r| table(r.trial.order)).collect()
}

/// All plots there are, and that the others say why not.
fn plots(fixture: &Fixture) -> Vec<Plot> {
    let telemetry = watched(fixture);
    let report = Report {
        telemetry: &telemetry,
        ..fixture.report()
    };
    let drawn = PlotKind::ALL.map(|kind| {
        let plot = plot(&report, kind).unwrap();
        assert_eq!(plot.is_none(), why_not(&report, kind).is_some(), "{kind:?}");
        plot
    });
    drawn.into_iter().flatten().collect()
}

/// The plot as a tree; it is named and described, finite, and every text of it inside, with the letters of a phone.
fn check(svg: &str) {
    let document = Document::parse(svg).unwrap();
    let root = document.root_element();
    assert_eq!(root.attribute("role"), Some("img"));
    assert_eq!(root.attribute("width"), Some("100%"));
    let mut children = root.children();
    let title = children.next().unwrap();
    assert!(title.has_tag_name(title_name("title")) && !title.text().unwrap().is_empty());
    assert!(
        children.next().unwrap().text().is_some_and(|t| t.len() > 10),
        "{svg}"
    );
    let all: Vec<f64> = root
        .attribute("viewBox")
        .unwrap()
        .split(' ')
        .map(|n| n.parse().unwrap())
        .collect();
    for node in root.descendants().filter(Node::is_element) {
        for attribute in node.attributes() {
            assert!(
                !attribute.value().contains("NaN") && !attribute.value().contains("inf"),
                "{attribute:?}"
            );
        }
        if node.tag_name().name() == "text" {
            check_text(&node, all[3]);
        }
        if let ("circle", Some(x)) = (node.tag_name().name(), node.attribute("cx")) {
            assert!((0.0..=WIDTH).contains(&x.parse::<f64>().unwrap()));
        }
    }
}

fn title_name(name: &'static str) -> (&'static str, &'static str) {
    ("http://www.w3.org/2000/svg", name)
}

fn check_text(node: &Node<'_, '_>, height: f64) {
    let place = |name| node.attribute(name).unwrap().parse::<f64>().unwrap();
    let content = node.text().unwrap_or_default();
    let size = if node.attribute("class") == Some("kv-small") {
        15.0
    } else {
        17.0
    };
    // Letters of a sans-serif are a little more than half as wide as they are high.
    let width = 0.53 * size * content.chars().count() as f64;
    let (x, y) = (place("x"), place("y"));
    let (left, right) = match node.attribute("text-anchor") {
        None => (x, x + width),
        Some("end") => (x - width, x),
        _ => (x - width / 2.0, x + width / 2.0),
    };
    assert!(
        left > -6.0 && right < WIDTH + 6.0,
        "{content:?} from {left} to {right}"
    );
    assert!(y > 8.0 && y < height, "{content:?} at {y} of {height}");
}

fn trials(svg: &str) -> Vec<String> {
    let document = Document::parse(svg).unwrap();
    let found = document.descendants().filter_map(|n| n.attribute("data-trial"));
    found.map(str::to_string).collect()
}

fn of(plots: &[Plot], kind: PlotKind) -> &Plot {
    plots.iter().find(|p| p.kind == kind).unwrap()
}

#[test]
fn every_kind_is_drawn_inside_its_frame() {
    let plots = plots(&rich());
    assert_eq!(plots.len(), PlotKind::ALL.len());
    for plot in &plots {
        check(&plot.svg);
        assert!(
            plot.svg.contains("currentColor") && !plot.svg.contains("#000"),
            "{}",
            plot.title
        );
    }
}

#[test]
fn every_trial_stands_at_its_place_and_is_named() {
    let mut fixture = rich();
    fixture.records[9].outcome = Outcome::Unsteady {
        observations: vec![Observation {
            workload: WORKLOAD.into(),
            metric: "iops".into(),
            value: 5000.0,
        }],
        message: "it never settled".into(),
    };
    if let Outcome::Measured { suspect, .. } = &mut fixture.records[13].outcome {
        suspect.push("the disk saw half of it".into());
    }
    let fixture = fixture.evaluated();
    let plots = plots(&fixture);
    let samples = of(&plots, PlotKind::Samples);
    let shown: BTreeSet<_> = trials(&samples.svg).into_iter().collect();
    let all = fixture
        .records
        .iter()
        .map(|r| format!("{}.{}", r.trial.block, r.trial.order));
    assert_eq!(shown, all.collect());
    assert_eq!(trials(&samples.svg).len(), fixture.records.len());
    for told in [
        "it never settled",
        "the disk saw half of it",
        "ended by signal 9",
        "of the discarded block",
        "not mq-deadline",
    ] {
        assert!(samples.svg.contains(told), "{told}");
    }
    // What does not count is not in the distributions.
    let counted = fixture.evaluation.counts.measured;
    assert_eq!(trials(&of(&plots, PlotKind::Distributions).svg).len(), counted);
    let telemetry = trials(&of(&plots, PlotKind::Telemetry).svg);
    assert_eq!(
        telemetry.len(),
        2 * fixture.records.len(),
        "two metrics are not zero all the time"
    );
}

#[test]
fn margins_verdicts_and_numbers_are_told_in_words() {
    let plots = plots(&rich());
    let effects = &of(&plots, PlotKind::Effects).svg;
    for told in [
        "better",
        "failed",
        "±1 %",
        "margin, +5 %",
        "Guard: clat_p99_us",
        "less is better",
    ] {
        assert!(effects.contains(told), "{told}");
    }
    let map = &of(&plots, PlotKind::HeatMap).svg;
    for told in ["baseline", "mq-deadline", "writeback", "+50"] {
        assert!(map.contains(told), "{told}");
    }
    assert!(of(&plots, PlotKind::Percentiles).svg.contains("p99.99"));
    assert!(of(&plots, PlotKind::Pareto).description.contains("(front)"));
    let main = of(&plots, PlotKind::MainEffects);
    assert!(
        main.description.contains("domain.disk.cache=none"),
        "{}",
        main.description
    );
    assert!(of(&plots, PlotKind::Interactions).svg.contains("interaction p"));
}

#[test]
fn many_treatments_and_hostile_names_stay_inside() {
    for fixture in [many(15), Fixture::hostile()] {
        for plot in plots(&fixture) {
            check(&plot.svg);
            assert!(
                !plot.svg.contains("<script") && !plot.svg.contains('\u{202e}'),
                "{}",
                plot.title
            );
            assert!(plot.svg.len() < 900_000, "{}: {}", plot.title, plot.svg.len());
        }
    }
}

#[test]
fn odd_numbers_break_nothing() {
    let odd = [f64::NAN, f64::INFINITY, 0.0, -3.0, 1e300, f64::MIN_POSITIVE];
    for value in odd {
        let mut fixture = rich();
        for record in &mut fixture.records {
            if let Outcome::Measured { observations, .. } = &mut record.outcome {
                for observation in observations {
                    observation.value = value;
                }
            }
        }
        // What cannot be judged keeps the judgement it had.
        if let Ok(evaluation) = crate::decision::evaluate(&fixture.header, &fixture.records) {
            fixture.evaluation = evaluation;
        }
        for plot in plots(&fixture) {
            check(&plot.svg);
        }
    }
}

#[test]
fn little_is_drawn_as_little() {
    for kept in [0, 1, 2, 5] {
        let mut fixture = rich();
        fixture.records.truncate(kept);
        let fixture = fixture.evaluated();
        let plots = plots(&fixture);
        for plot in &plots {
            check(&plot.svg);
        }
        assert_eq!(plots.iter().any(|p| p.kind == PlotKind::Samples), kept > 0);
    }
    let mut fixture = rich();
    for record in &mut fixture.records {
        record.outcome = Outcome::Failed {
            stage: Stage::Start,
            message: "no guest".into(),
        };
    }
    let fixture = fixture.evaluated();
    let plots = plots(&fixture);
    for plot in &plots {
        check(&plot.svg);
    }
    assert_eq!(
        trials(&of(&plots, PlotKind::Samples).svg).len(),
        fixture.records.len()
    );
}

#[test]
fn what_there_is_nothing_of_is_told() {
    let fixture = Fixture::quickstart();
    let report = fixture.report();
    for (kind, why) in [
        (PlotKind::Percentiles, "two percentiles"),
        (PlotKind::Telemetry, "by the second"),
    ] {
        let told = why_not(&report, kind).unwrap();
        assert!(told.contains(why), "{told}");
        assert_eq!(plot(&report, kind).unwrap(), None);
    }
}

#[test]
fn long_runs_are_drawn_with_few_elements() {
    let mut fixture = many(15);
    let whole = fixture.records.clone();
    while fixture.records.len() < 10_000 {
        let next = fixture.records.len();
        fixture
            .records
            .extend(whole.iter().cloned().enumerate().map(|(place, mut record)| {
                record.trial.order = u32::try_from(next + place).unwrap();
                record
            }));
    }
    let telemetry = watched(&fixture);
    let report = Report {
        telemetry: &telemetry,
        ..fixture.report()
    };
    for kind in [PlotKind::Samples, PlotKind::Distributions, PlotKind::Telemetry] {
        let plot = plot(&report, kind).unwrap().unwrap();
        check(&plot.svg);
        assert!(plot.svg.len() < 1_500_000, "{kind:?}: {}", plot.svg.len());
        // Nothing is left out: what cannot be pointed at is a dot of a path.
        let dots = plot.svg.matches("h0").count() + trials(&plot.svg).len();
        let counted = fixture
            .records
            .iter()
            .filter(|r| r.trial.block > 0 && matches!(r.outcome, Outcome::Measured { .. }));
        match kind {
            PlotKind::Samples => assert_eq!(dots, fixture.records.len()),
            PlotKind::Distributions => assert_eq!(dots, counted.count()),
            _ => assert!(
                plot.svg
                    .contains("Of more than 300 trials each is drawn as its mean")
            ),
        }
    }
}

#[test]
fn the_same_record_gives_the_same_plots() {
    assert_eq!(plots(&rich()), plots(&rich()));
}

#[test]
fn a_plot_stands_alone_and_becomes_pixels() {
    let fonts = Fonts::of_system().unwrap();
    for plot in plots(&rich()) {
        let svg = plot.alone(700);
        let document = Document::parse(&svg).unwrap();
        let root = document.root_element();
        assert_eq!(root.attribute("width"), Some("700"));
        assert_eq!(root.tag_name().namespace(), Some("http://www.w3.org/2000/svg"));
        assert!(root.attribute("color").is_some());
        let png = plot.png(700, &fonts).unwrap();
        let picture = resvg::tiny_skia::Pixmap::decode_png(&png).unwrap();
        assert_eq!(picture.width(), 700);
        let colours: BTreeSet<_> = picture
            .pixels()
            .iter()
            .map(|p| (p.red(), p.green(), p.blue()))
            .collect();
        assert!(colours.len() > 20, "{}: {} colours", plot.title, colours.len());
        let paper = picture
            .pixels()
            .iter()
            .filter(|p| p.red() == 255 && p.alpha() == 255)
            .count();
        assert!(paper * 2 > picture.pixels().len(), "{} has no paper", plot.title);
        assert_eq!(png, plot.png(700, &fonts).unwrap());
    }
}

#[test]
fn a_picture_that_is_too_large_is_refused() {
    let plots = plots(&many(15));
    let error = of(&plots, PlotKind::Effects)
        .png(8000, &Fonts::of_system().unwrap())
        .unwrap_err();
    assert!(error.to_string().contains("--width"), "{error}");
}
