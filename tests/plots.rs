//! `kvmtune plot` on runs of described machines: the files it writes, and what it says where there is nothing to draw.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "simulated/mod.rs"]
mod simulated;

use simulated::{EFFECTS, NOISE, Place};
use std::fs;

const FACTORIAL: &str = "
[[factor]]
tunable = \"domain.disk.io\"
levels = [\"threads\", \"native\"]
baseline = \"threads\"
[[factor]]
tunable = \"guest.disk.scheduler\"
levels = [\"none\", \"bfq\"]
baseline = \"none\"
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
warmup = \"1s\"
[[guard]]
metric = \"clat_p99_us\"
margin = \"5%\"
[design]
blocks = 8
confirm = false
";

/// One factor, one workload that gives one percentile, no guard.
const PLAIN: &str = "
[[factor]]
tunable = \"guest.swappiness\"
levels = [60, 10]
baseline = 60
[workload]
use = \"sysbench-cpu\"
time = \"3s\"
[design]
blocks = 6
confirm = false
";

#[test]
fn every_plot_of_a_run_is_written_as_svg_and_png() {
    let place = Place::new(FACTORIAL, &format!("failures = \"5%\"\n{NOISE}{EFFECTS}"));
    place.run("--seed 5");
    let printed = place.does("plot --all out");
    let kinds = [
        "effects",
        "samples",
        "distributions",
        "percentiles",
        "main-effects",
        "interactions",
        "heat-map",
        "pareto",
    ];
    assert_eq!(printed.lines().count(), 2 * kinds.len(), "{printed}");
    for kind in kinds {
        let svg = fs::read_to_string(place.0.path().join(format!("out/{kind}.svg"))).unwrap();
        assert!(
            svg.starts_with("<svg ") && svg.contains("xmlns=\"http://www.w3.org/2000/svg\""),
            "{kind}"
        );
        assert!(
            svg.contains("<title>") && svg.contains("<desc>") && svg.contains("width=\"1120\""),
            "{kind}"
        );
        let png = fs::read(place.0.path().join(format!("out/{kind}.png"))).unwrap();
        assert!(
            png.starts_with(b"\x89PNG\r\n") && png.len() > 5000,
            "{kind}: {}",
            png.len()
        );
        // The width stands in the header's first field.
        assert_eq!(png[16..20], 1120u32.to_be_bytes(), "{kind}");
    }
    // The same record gives the same bytes, on stdout too.
    let again = place.does("plot latest --kind samples -o - --width 1120");
    let first = fs::read_to_string(place.0.path().join("out/samples.svg")).unwrap();
    assert_eq!(again.trim_end(), first.trim_end());
    let trials = place.json("report")["trials"].as_array().unwrap().len();
    assert_eq!(again.matches("data-trial=").count(), trials);
    let told = place.json("plot some --kind effects -o small.PNG --width 300");
    assert_eq!(told["files"][0]["kind"], "effects");
    assert!(
        told["files"][0]["description"]
            .as_str()
            .unwrap()
            .contains("domain.disk.io=native")
    );
    let png = fs::read(place.0.path().join("small.PNG")).unwrap();
    assert_eq!(png[16..20], 300u32.to_be_bytes());
}

#[test]
fn what_cannot_be_drawn_or_written_is_told() {
    let place = Place::new(PLAIN, NOISE);
    place.run("--seed 5");
    for (arguments, code, told) in [
        (
            "plot --kind heat-map -o x.svg",
            10,
            "no treatment differs from the baseline in two factors",
        ),
        (
            "plot --kind main-effects -o x.svg",
            10,
            "the effects plot shows all there is",
        ),
        ("plot --kind pareto -o x.png", 10, "one response and no guard"),
        (
            "plot --kind telemetry -o x.svg",
            10,
            "a simulated host has no counters",
        ),
        ("plot --kind effects -o x.pdf", 2, "call it x.svg or x.png"),
        ("plot --kind effects -o x", 2, "neither SVG nor PNG"),
        (
            "plot --kind pie -o x.svg",
            2,
            "[possible values: effects, samples",
        ),
        ("plot --kind effects", 2, "--output <FILE>"),
        ("plot", 2, "<--kind <KIND>|--all <DIR>>"),
        ("plot --kind effects -o x.svg --width 9", 2, "200..=8000"),
        (
            "plot --kind effects -o no/such/x.svg",
            5,
            "cannot write no/such/x.svg: No such file",
        ),
        (
            "plot --kind effects -o model.toml/x.png",
            5,
            "cannot write model.toml/x.png: Not a directory",
        ),
        ("plot nothing --kind effects -o x.svg", 5, "nothing"),
        ("plot --all model.toml", 5, "cannot make the folder model.toml"),
    ] {
        let done = place.command(arguments).assert().code(code);
        let error = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        assert!(error.contains(told), "{arguments}: {error}");
        assert!(done.get_output().stdout.is_empty(), "{arguments}");
    }
    for file in ["x.svg", "x.png", "x.pdf", "x"] {
        assert!(!place.0.path().join(file).exists(), "{file}");
    }
    let done = place.command("plot --all out").assert().success();
    let missing = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(missing.contains("no plot of heat-map"), "{missing}");
    assert!(place.0.path().join("out/effects.png").exists());
}
