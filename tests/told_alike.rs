//! What a chain of runs comes to is told alike by `recommend` and by the reports of its runs, as page, text and Markdown.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "simulated/mod.rs"]
mod simulated;

use serde_json::Value;
use simulated::{NOISE, Place};
use std::fs;

/// The page of a run.
fn page(place: &Place, run: &str) -> String {
    place.does(&format!("report {run} --html page.html"));
    fs::read_to_string(place.0.path().join("page.html")).unwrap()
}

const WEAK: &str = "[[factor]]
tunable = \"domain.disk.io\"
levels = [\"threads\", \"native\"]
baseline = \"threads\"
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
[design]
blocks = { min = 8, max = 20 }
confirm = false
";

/// What looked best by luck: the pages of both runs and the advice say the same, and the page on disk is not the old one.
#[test]
fn a_confirmation_that_failed_is_told_everywhere() {
    let model = "[[noise]]\ncv = \"3%\"\n[[effect]]\nset = { \"domain.disk.io\" = \"native\" }\nmetric = \"iops\"\nchange = \"+3%\"\n";
    let refuted = (1..40).find_map(|seed| {
        let place = Place::new(WEAK, model);
        place.does(&format!(
            "run some.toml --simulate model.toml --quiet --seed {seed}"
        ));
        place.does("recommend --measure --quiet");
        let is_refuted = place.json("recommend")["result"]["why"]["kind"] == "not-confirmed";
        is_refuted.then_some(place)
    });
    let place = refuted.unwrap();
    let found = place.recorded()[0].0.run.short();
    let folder = fs::read_dir(place.0.path().join("results")).unwrap();
    let kept = folder.filter_map(|entry| {
        let path = entry.unwrap().path();
        path.to_string_lossy()
            .ends_with(&format!("{found}.html"))
            .then_some(path)
    });
    let kept: Vec<_> = kept.collect();
    assert_eq!(kept.len(), 1);
    let kept = fs::read_to_string(&kept[0]).unwrap();
    for page in [page(&place, &found), kept] {
        assert!(page.contains("looked best, and was not confirmed"), "{page}");
        assert!(
            !page.contains("Every comparison was settled") && !page.contains(">Set <"),
            "{page}"
        );
    }
    let markdown = place.does(&format!("report {found} --markdown"));
    assert!(!markdown.contains("Best configuration"), "{markdown}");
    assert!(place.does("report").contains("did not confirm"));
}

/// The whole stays by the advice, by the page, by the text.
#[test]
fn a_smaller_set_that_is_worse_than_the_whole_is_not_set() {
    let place = Place::new(
        &format!(
            "{}confirm = false\n",
            include_str!("../experiments/stand-ins.toml")
        ),
        include_str!("../experiments/models/stand-ins.toml"),
    );
    place.does("run some.toml --simulate model.toml --quiet --seed 2");
    let advice = place.json("recommend --measure");
    assert_eq!(advice["settings"].as_array().unwrap().len(), 3);
    let last = place.recorded()[3].0.run.short();
    let page = page(&place, &last);
    assert!(
        page.contains("The whole winner stays: set <code class=\"better\">domain.disk.io=native guest.swappiness=10 guest.vfs-cache-pressure=50"),
        "{page}"
    );
    assert!(
        place
            .does(&format!("report {last}"))
            .contains("worse than the whole")
    );
    let report = place.json(&format!("report {last}"));
    assert_eq!(
        report["against-whole"]["responses"][0]["verdict"]["kind"],
        "worse"
    );
}

/// The estimate of the last stage is against the best so far: it is not that of the whole.
#[test]
fn a_stage_is_no_selection_estimate_of_the_whole() {
    let factor =
        "[[factor]]\ntunable = \"guest.thp\"\nlevels = [\"madvise\", \"always\"]\nbaseline = \"madvise\"\n";
    let kind = "[design]\nkind = \"one-factor\"\nblocks = 12\nconfirm = 12\n";
    let (factors, _) = WEAK.split_once("[design]").unwrap();
    let effect = |of: &str| format!("[[effect]]\nset = {{ {of} }}\nmetric = \"iops\"\nchange = \"+10%\"\n");
    let model = ["\"domain.disk.io\" = \"native\"", "\"guest.thp\" = \"always\""].map(effect);
    let place = Place::new(
        &format!("{factor}{factors}{kind}"),
        &format!("{NOISE}{}", model.concat()),
    );
    place.does("run some.toml --simulate model.toml --quiet --seed 2");
    let confirmed = place.json("report");
    assert_eq!(
        confirmed["purpose"]["kind"], "confirm",
        "{}",
        confirmed["purpose"]
    );
    assert_eq!(confirmed["selection-change-percent"], Value::Null);
    let stage = place.recorded()[0].0.run.short();
    assert!(page(&place, &stage).contains("selection estimate: what was chosen"));
}

const SEVERAL: &str = "[[factor]]
tunable = \"domain.disk.io\"
levels = [\"threads\", \"native\"]
baseline = \"threads\"
[[factor]]
tunable = \"guest.swappiness\"
levels = [60, 10]
baseline = 60
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
[[response]]
metric = \"iops\"
[[response]]
metric = \"clat_p99_us\"
[[constraint]]
metric = \"clat_mean_us\"
at-most = 5000
[design]
kind = \"full-factorial\"
blocks = 12
confirm = false
";
const TRADED: &str = "[[noise]]
cv = \"2%\"
[[metric]]
name = \"clat_mean_us\"
value = 1000
[[effect]]
set = { \"domain.disk.io\" = \"native\" }
metric = \"iops\"
change = \"+10%\"
[[effect]]
set = { \"guest.swappiness\" = \"10\" }
metric = \"clat_p99_us\"
change = \"-10%\"
[[effect]]
set = { \"domain.disk.io\" = \"native\" }
metric = \"clat_p99_us\"
change = \"+1%\"
";

/// One rule for the front, also of what is weighed; and a limit stands wherever a guard does.
#[test]
fn several_responses_are_told_alike_by_plot_report_and_advice() {
    let weighed = SEVERAL
        .replace("\"iops\"\n", "\"iops\"\nweight = 2\n")
        .replace("\"clat_p99_us\"\n", "\"clat_p99_us\"\nweight = 1\n");
    for (experiment, seed) in [(SEVERAL, 3), (SEVERAL, 4), (SEVERAL, 5), (&weighed, 3)] {
        let place = Place::new(experiment, TRADED);
        place.run(&format!("--seed {seed}"));
        let advice = place.json("recommend");
        let report = place.json("report");
        assert_eq!(report["front"], advice["front"]);
        assert_eq!(advice["front"].as_array().unwrap().len(), 4);
        place.does("plot --kind pareto --output pareto.svg");
        let svg = fs::read_to_string(place.0.path().join("pareto.svg")).unwrap();
        let description = svg
            .split("<desc>")
            .nth(1)
            .unwrap()
            .split("</desc>")
            .next()
            .unwrap();
        for told in &advice["front"].as_array().unwrap()[1..] {
            let name = told["treatment"].as_str().unwrap();
            let own = description
                .split("; ")
                .find(|one| one.starts_with(&format!("{name}:")))
                .unwrap();
            let is_front = told["standing"]["kind"] == "front";
            assert_eq!(own.ends_with("(front)"), is_front, "{description} {told}");
        }
        let page = page(&place, "latest");
        assert!(
            page.contains("treatments in all responses")
                && page.contains("constraint clat_mean_us &lt;= 5000")
        );
        let text = place
            .does("report")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        for words in [
            "clat_mean_us, us",
            "<= 5000 (n=12) held",
            "constraint clat_mean_us <= 5000: held",
            "its constraint held",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("guard clat_mean_us"), "{text}");
        let trials = page.split("id=\"every-trial\"").nth(1).unwrap();
        let head = trials.split("</thead>").next().unwrap();
        assert!(
            head.contains("clat_mean_us") && head.contains("iops") && head.contains("clat_p99_us"),
            "{head}"
        );
    }
}
