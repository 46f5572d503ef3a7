//! `kvmtune recommend` as a user meets it: whole chains of runs on machines that are only described, cut and gone on
//! with, and what is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "simulated/mod.rs"]
mod simulated;

use kvmtune::event::Purpose;
use nix::sys::signal::Signal;
use serde_json::Value;
use simulated::Place;

const BUNDLE: [&str; 2] = [
    include_str!("../experiments/bundle.toml"),
    include_str!("../experiments/models/bundle.toml"),
];
const STAND_INS: [&str; 2] = [
    include_str!("../experiments/stand-ins.toml"),
    include_str!("../experiments/models/stand-ins.toml"),
];
const RUN: &str = "run some.toml --simulate model.toml --quiet --seed 5";

/// A folder in which the experiment has run, with its confirmation left to `recommend`.
fn begun([experiment, model]: [&str; 2]) -> Place {
    let place = Place::new(&format!("{experiment}confirm = false\n"), model);
    place.does(RUN);
    place
}

fn settings(advice: &Value) -> Vec<String> {
    let settings = advice["settings"].as_array().unwrap().iter();
    settings.map(|s| s[0].as_str().unwrap().to_string()).collect()
}

/// What is printed, however it is broken into lines.
fn told(place: &Place, arguments: &str) -> String {
    let words = place.does(arguments).replace('\u{a0}', " ");
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What the runs are for, in one letter each.
fn legs(place: &Place) -> String {
    let letter = |purpose: Purpose| match purpose {
        Purpose::Sweep => 's',
        Purpose::Stage { .. } => 'f',
        Purpose::Noise => 'n',
        Purpose::Confirm { .. } => 'c',
        Purpose::Ablate { .. } => 'a',
    };
    place.purposes().into_iter().map(letter).collect()
}

#[test]
fn a_bundle_is_confirmed_taken_apart_and_confirmed_again() {
    let place = begun(BUNDLE);
    let before = told(&place, "recommend");
    assert!(before.contains("Nothing can be recommended yet"), "{before}");
    assert!(before.contains("kvmtune recommend") && before.contains("--measure"));
    let advice = place.json("recommend --measure");
    assert_eq!(legs(&place), "scac");
    assert_eq!(settings(&advice), ["domain.disk.io", "guest.thp"]);
    assert_eq!(advice["is-minimal"], true);
    assert_eq!(advice["schema"], "kvmtune-advice-1");
    let whats = advice["runs"].as_array().unwrap().iter().map(|r| &r["what"]);
    let whats: Vec<_> = whats.map(|what| what.as_str().unwrap()).collect();
    assert_eq!(
        whats,
        [
            "compared by",
            "confirmation",
            "taken apart by",
            "confirmation of what is left"
        ]
    );
    assert_eq!(advice["result"]["minimality"], "minimal");
    let gain = &advice["result"]["comparison"]["responses"][0]["effect"]["gain-percent"];
    assert!((gain.as_f64().unwrap() - 14.5).abs() < 3.0, "{gain}");
    // From every run of the chain, and by name.
    for run in place
        .recorded()
        .iter()
        .map(|(header, _)| header.run.short())
        .chain(["bundle".into()])
    {
        let from = place.json(&format!("recommend {run}"));
        assert_eq!(
            from["result"]["treatment"], advice["result"]["treatment"],
            "{run}"
        );
    }
    // Nothing is measured twice, nor confirmed twice.
    place.does("recommend --measure --quiet");
    assert_eq!(legs(&place), "scac");
    let recorded = place.recorded();
    let ids: Vec<_> = recorded.iter().map(|(header, _)| header.run.short()).collect();
    assert!(
        place
            .refuses(&format!("confirm {}", ids[0]), 5)
            .contains("a second one")
    );
    assert!(
        place
            .refuses(&format!("confirm {}", ids[2]), 5)
            .contains("recommend")
    );
    // What was confirmed is not looked at again.
    let said = place.refuses(&format!("run --continue {} --blocks 1", ids[0]), 5);
    assert!(said.contains("went on from what it showed"), "{said}");
    let measures =
        |run: &str| told(&place, &format!("report {run}")).contains("with --measure it leaves out");
    assert_eq!((measures(&ids[1]), measures(&ids[3])), (true, false));
    // Each run has blocks of its own order.
    let seeds: Vec<_> = recorded.iter().map(|(header, _)| header.plan.seed).collect();
    assert_eq!(seeds, [5, 6, 7, 8]);
    let text = told(&place, "recommend");
    for words in [
        "In a simulation: Adopt domain.disk.io=native guest.thp=always",
        "guest.swappiness=10: not proven to be needed",
        "(Holm p ",
        "12 fresh blocks (24 trials): better",
        "guard <= +10 %: held",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(
        !text.contains("kvmtune commit"),
        "a simulation is not made permanent: {text}"
    );
    assert!(place.does("recommend --markdown").contains("### settings"));
    let runs = place.does("runs");
    assert!(
        runs.contains("takes apart") && runs.contains("confirms"),
        "{runs}"
    );
    let report = place.does(&format!("report {}", ids[2]));
    assert!(
        report.contains("Proven worse: without domain.disk.io=native"),
        "{report}"
    );
}

#[test]
fn settings_that_stand_in_for_each_other_are_not_left_out() {
    let place = begun(STAND_INS);
    let advice = place.json("recommend --measure");
    assert_eq!(advice["result"]["minimality"], "whole-stays");
    assert_eq!(
        (settings(&advice).len(), &advice["is-minimal"]),
        (3, &Value::Bool(false))
    );
    assert_eq!(legs(&place), "scac");
    let text = told(&place, "recommend");
    assert!(
        text.contains("or each is too small to be proven in so many blocks"),
        "{text}"
    );
}

#[test]
fn a_chain_that_is_cut_goes_on() {
    let place = begun(BUNDLE);
    let whole = {
        let whole = begun(BUNDLE);
        settings(&whole.json("recommend --measure"))
    };
    // In the confirmation, which has 26 trials.
    place.stops("recommend --measure --state state", 10, Signal::SIGINT);
    assert_eq!(legs(&place), "sc");
    let told = place.json("recommend");
    assert_eq!(told["result"]["advice"], "unfinished");
    assert!(
        told["next"]["command"]
            .as_str()
            .unwrap()
            .starts_with("kvmtune run --resume")
    );
    place.does("run --resume --quiet");
    assert_eq!(legs(&place), "sc");
    // In the ablation, which has 52.
    place.stops("recommend --measure --state state", 20, Signal::SIGKILL);
    assert_eq!(legs(&place), "sca");
    let told = place.json("recommend");
    assert_eq!(told["result"]["advice"], "adopt");
    assert_eq!(told["is-minimal"], false);
    // Resumed, it goes on to the confirmation of what is left.
    place.stops("run --resume --state state", 40, Signal::SIGTERM);
    assert_eq!(legs(&place), "scac");
    let advice = place.json("recommend --measure");
    assert_eq!(legs(&place), "scac");
    assert_eq!(
        (settings(&advice), &advice["is-minimal"]),
        (whole, &Value::Bool(true))
    );
}

#[test]
fn stages_lead_to_one_confirmation_and_one_ablation() {
    let [_, model] = BUNDLE;
    let factor = |tunable: &str, from: &str, to: &str| {
        format!(
            "[[factor]]\ntunable = \"{tunable}\"\nlevels = [\"{from}\", \"{to}\"]\nbaseline = \"{from}\"\n"
        )
    };
    let experiment = [
        factor("domain.disk.io", "threads", "native"),
        factor("guest.swappiness", "60", "10"),
        factor("guest.thp", "madvise", "always"),
        "[workload]\nuse = \"fio-randread-4k\"\ntime = \"3s\"\n[design]\nkind = \"one-factor\"\n".into(),
    ];
    let place = begun([&experiment.concat(), model]);
    let advice = place.json("recommend --measure");
    assert_eq!(legs(&place), "fffca", "both are needed: {advice}");
    assert_eq!(settings(&advice), ["domain.disk.io", "guest.thp"]);
    // The last stage compared with what was kept before it: its estimate is of something else.
    let confirmation = place.recorded()[3].0.run.short();
    let report = place.json(&format!("report {confirmation}"));
    assert_eq!(report["selection-change-percent"], Value::Null);
    let first = place.recorded()[0].0.run.short();
    assert_eq!(settings(&place.json(&format!("recommend {first}"))).len(), 2);
}

#[test]
fn without_a_winner_the_baseline_stays() {
    let [experiment, _] = BUNDLE;
    let place = begun([experiment, simulated::NOISE]);
    let text = told(&place, "recommend");
    assert!(text.contains("In a simulation: Keep the baseline"), "{text}");
    assert!(text.contains("the smallest gain run"), "{text}");
    place.does("recommend --measure --quiet");
    assert_eq!(legs(&place), "s");
    assert_eq!(place.json("recommend")["result"]["advice"], "keep");
    let [experiment, _] = STAND_INS;
    let two = "[[response]]\nmetric = \"iops\"\n[[response]]\nmetric = \"clat_p99_us\"\n[design]";
    let experiment = experiment
        .replace("all three", "@all https://evil.example")
        .replace("[design]", two);
    let place = begun([&experiment, simulated::NOISE]);
    let markdown = place.does("recommend --markdown");
    assert!(
        markdown.contains("evil") && !markdown.contains("@all") && !markdown.contains("://"),
        "{markdown}"
    );
}

#[test]
fn what_cannot_be_recommended_from_is_refused() {
    let [experiment, model] = BUNDLE;
    let place = Place::new(experiment, model);
    assert!(place.refuses("recommend", 5).contains("no results"));
    place.does("noise some.toml --simulate model.toml --quiet --seed 1 --blocks 6");
    let said = place.refuses("recommend", 5);
    assert!(said.contains("measures the baseline against itself"), "{said}");
    assert!(place.refuses("recommend nobody", 5).contains("nobody"));
    place.stops(
        &format!("{} --state state", RUN.replace(" --quiet", "")),
        3,
        Signal::SIGINT,
    );
    let text = told(&place, "recommend");
    assert!(
        text.contains("is unfinished") && text.contains("--resume"),
        "{text}"
    );
    place.command("recommend --blocks 12").assert().code(2);
    place.command("recommend --measure --blocks 11").assert().code(2);
    // The files it came from are not needed, but may not be others.
    place.does("run --resume --quiet");
    place.does("recommend --measure --quiet --blocks 13");
}

const TRADED: [&str; 2] = [
    "[[factor]]
tunable = \"guest.disk.scheduler\"
levels = [\"bfq\", \"kyber\"]
baseline = \"none\"
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
[[response]]
metric = \"iops\"
[[response]]
metric = \"clat_p99_us\"
[design]
blocks = 12
",
    "[[noise]]
cv = \"1%\"
[[effect]]
set = { \"guest.disk.scheduler\" = \"bfq\" }
metric = \"iops\"
change = \"+10%\"
[[effect]]
set = { \"guest.disk.scheduler\" = \"bfq\" }
metric = \"clat_p99_us\"
change = \"+12%\"
[[effect]]
set = { \"guest.disk.scheduler\" = \"kyber\" }
metric = \"clat_p99_us\"
change = \"-10%\"
",
];

#[test]
fn weights_choose_what_is_then_confirmed_by_them() {
    let place = begun(TRADED);
    let level = |advice: &Value| advice["settings"][0][1].as_str().unwrap().to_string();
    let text = told(&place, "recommend");
    assert!(
        text.contains("on the front") && text.contains("guest.disk.scheduler=kyber"),
        "{text}"
    );
    for (weights, code, words) in [
        ("--weight iops=2", 2, "give each response of the run one weight"),
        (
            "--weight iops=2 --weight nonsense=1",
            2,
            "there are: iops, clat_p99_us",
        ),
        ("--weight iops=2 --weight iops=1", 2, "give each response"),
        ("--weight iops=0 --weight clat_p99_us=1", 2, "from 0.001 to 1000"),
        ("--weight iops", 2, "such as iops=2"),
    ] {
        let said = place.refuses(&format!("recommend {weights}"), code);
        assert!(said.contains(words), "{weights}: {said}");
    }
    let weights = "--weight iops=9 --weight clat_p99_us=1";
    let text = told(&place, &format!("recommend {weights}"));
    assert!(text.contains(&format!("--measure {weights}")), "{text}");
    // Cut in the confirmation, it goes on with its weights.
    place.stops(
        &format!("recommend --measure {weights} --state state"),
        9,
        Signal::SIGINT,
    );
    place.does("run --resume --quiet");
    let advice = place.json("recommend");
    assert_eq!(level(&advice), "bfq");
    assert_eq!(
        advice["result"]["comparison"]["responses"][0]["effect"]["metric"],
        "weighted"
    );
    assert_eq!(legs(&place), "sc");
    place.does(&format!("recommend {weights} --quiet"));
    let other = place.refuses("recommend --weight iops=1 --weight clat_p99_us=1", 5);
    assert!(other.contains("a new question"), "{other}");
    // By its own rule the run chooses the other one.
    let place = begun(TRADED);
    assert_eq!(level(&place.json("recommend --measure")), "kyber");
}

#[test]
fn a_limit_stands_against_what_is_fast() {
    let [experiment, model] = TRADED;
    let model = format!("[[metric]]\nname = \"clat_p99_us\"\nvalue = 1000\n{model}");
    let experiment = experiment.replace(
        "[[response]]\nmetric = \"clat_p99_us\"",
        "[[constraint]]\nmetric = \"clat_p99_us\"\nat-most = 1060",
    );
    let place = begun([&experiment, &model]);
    let text = told(&place, "recommend");
    assert!(
        text.contains("clat_p99_us <= 1060") && text.contains("Keep the baseline"),
        "{text}"
    );
    assert!(place.does("report").contains("clat_p99_us <= 1060"));
    let kept = begun([&experiment.replace("1060", "1200"), &model]);
    let text = told(&kept, "recommend --measure --quiet");
    assert!(text.contains("constraint <= 1200: held"), "{text}");
}
