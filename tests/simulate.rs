//! Whole runs of the binary on machines that are only described: what is planted is found, what is not is not, and
//! nothing but the results is touched.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "simulated/mod.rs"]
mod simulated;

use nix::sys::signal::Signal;
use serde_json::Value;
use simulated::{EFFECTS, NOISE, Place, verdicts};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;

const EXPERIMENT: &str = "
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
[design]
blocks = 12
confirm = false
";

#[test]
fn a_planted_effect_and_its_interaction_are_found() {
    let place = Place::new(EXPERIMENT, &format!("{NOISE}{EFFECTS}"));
    let report = place.run("--seed 11");
    let found = verdicts(&report);
    assert_eq!(
        found[1..],
        ["native none better", "native bfq worse"],
        "{found:?}"
    );
    assert!(
        !found[0].ends_with("better") && !found[0].ends_with("worse"),
        "{found:?}"
    );
    let gain = report["treatments"][1]["change-percent"].as_f64().unwrap();
    assert!((gain - 10.0).abs() < 4.0, "{gain}");
    let worse = report["treatments"][2]["change-percent"].as_f64().unwrap();
    assert!((worse + 23.0).abs() < 5.0, "{worse}");
}

#[test]
fn where_nothing_is_planted_nothing_is_found() {
    let place = Place::new(EXPERIMENT, NOISE);
    for seed in 0..4 {
        let report = place.run(&format!("--seed {seed}"));
        let found = verdicts(&report);
        let claims = |verdict: &String| verdict.ends_with("better") || verdict.ends_with("worse");
        assert!(!found.iter().any(claims), "seed {seed}: {found:?}");
    }
}

#[test]
fn a_simulation_says_so_wherever_it_is_shown() {
    const NOTICE: &str = "simulated: these numbers are of a model, not of a machine";
    let place = Place::new(EXPERIMENT, &format!("{NOISE}{EFFECTS}"));
    assert!(
        place
            .does("plan some.toml --simulate model.toml")
            .contains(NOTICE)
    );
    let report = place.run("--seed 1 --html page.html");
    assert_eq!(report["facts"]["simulated"], "model.toml");
    assert_eq!(report["facts"]["simulated.model"], format!("{NOISE}{EFFECTS}"));
    assert!(
        report["answer"]
            .as_str()
            .unwrap()
            .starts_with("In a simulation: ")
    );
    assert!(report["notices"].to_string().contains(NOTICE));
    for report in ["report", "report --markdown"] {
        let text = place.does(report);
        assert!(text.matches(NOTICE).count() >= 2, "{report}: {text}");
        assert!(text.contains("In a simulation: "), "{report}: {text}");
    }
    let page = fs::read_to_string(place.0.path().join("page.html")).unwrap();
    assert!(page.matches(NOTICE).count() >= 2 && page.contains("--simulate model.toml"));
    assert!(place.does("runs").contains("simulated, complete"));
    let table = place.does("export --csv");
    assert!(table.lines().next().unwrap().ends_with(",simulated"));
    assert!(table.lines().skip(1).all(|row| row.ends_with(",model.toml")));
    assert_eq!(place.json("runs")[0]["simulated"], true);
}

#[test]
fn the_same_seed_gives_the_same_observations() {
    let place = Place::new(EXPERIMENT, &format!("failures = \"5%\"\n{NOISE}{EFFECTS}"));
    let mut runs = Vec::new();
    for options in ["--seed 3", "--seed 3", "--seed 4"] {
        place.run(options);
        runs.push(place.observations("latest"));
    }
    assert!(runs[0].len() > 200, "{}", runs[0].len());
    assert_eq!(runs[0], runs[1]);
    assert_ne!(runs[0], runs[2]);
}

#[test]
fn a_share_of_the_trials_fails_and_is_recorded() {
    let place = Place::new(EXPERIMENT, "failures = \"20%\"\n[noise]\ncv = \"1%\"");
    let report = place.run("--seed 2");
    let trials = report["trials"].as_array().unwrap();
    let judged = trials.iter().filter(|t| t["block"] != 0);
    let failed = judged.filter(|t| t["result"]["outcome"] == "failed").count();
    assert!((4..=20).contains(&failed), "{failed} of {}", trials.len());
    let counts = &report["counts"];
    assert_eq!(counts["failed"], failed);
    assert!(place.does("report").contains("the model lets this trial fail"));
    let all = Place::new(EXPERIMENT, "failures = \"99%\"");
    let command = "run some.toml --simulate model.toml --quiet --seed 1";
    all.command(command).assert().code(6);
}

#[test]
fn time_passes_as_it_would() {
    // 13 blocks of 2 starts of 10 s and 4 trials of 4.3 s.
    let place = Place::new(EXPERIMENT, "boot = \"10s\"");
    let plan = place.json("plan some.toml --simulate model.toml --seed 1");
    assert!(
        (plan["expected-seconds"].as_f64().unwrap() - 13.0 * 37.2).abs() < 1.0,
        "{plan}"
    );
    let report = place.run("--seed 1");
    let trials = report["trials"].as_array().unwrap();
    let time = |t: &Value| t["started"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let took = time(&trials[51]).duration_since(time(&trials[0])).as_secs_f64();
    assert!((450.0..490.0).contains(&took), "{took}");
    assert_eq!(trials[0]["seconds"]["workload"], 4.0);
    let budget = Place::new(
        &format!("{EXPERIMENT}[budget]\ntime = \"3m\"\n"),
        "boot = \"10s\"",
    );
    let report = budget.run("--seed 1");
    assert_eq!(report["end"], "time-budget");
    assert_eq!(report["blocks"]["measured"], 4);
}

#[test]
fn an_interrupted_run_goes_on_with_its_model_from_the_record() {
    let live = EXPERIMENT
        .replace("domain.disk.io", "guest.thp")
        .replace("threads", "never");
    let live = live
        .replace("native", "always")
        .replace("blocks = 12", "blocks = 40");
    // No part that depends on time or on starts, of which a resumed run has one more.
    let place = Place::new(&live, "[noise]\ncv = \"2%\"\nwander = \"3%\"\n");
    place.run("--seed 9");
    let whole = place.observations("latest");

    place.stops("run some.toml --simulate model.toml --seed 9", 15, Signal::SIGINT);
    let done = place.observations("latest").len();
    assert!((15 * 6..whole.len()).contains(&done), "{done} of {}", whole.len());

    // Neither file is needed any more.
    place.write("model.toml", "[[effect]]");
    fs::remove_file(place.0.path().join("some.toml")).unwrap();
    let report = place.json("run --resume")["runs"][0].clone();
    assert_eq!(report["end"], "complete");
    assert_eq!(place.observations("latest"), whole);
    let times: Vec<_> = report["trials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["started"].to_string())
        .collect();
    assert!(times.is_sorted(), "time went back");
}

#[test]
fn bad_models_are_answered_with_their_places() {
    let model =
        "boot = 12\n[[effect]]\nset = { \"guest.thp\" = \"never\" }\nmetric = \"iops\"\nchange = \"+1%\"\n";
    let place = Place::new(EXPERIMENT, model);
    for verb in ["run", "plan"] {
        for (file, words) in [
            (
                "model.toml",
                &["model.toml:1:8", "model.toml:3:9", "does not change `guest.thp`"][..],
            ),
            ("none.toml", &["cannot read none.toml", "name a model file"]),
        ] {
            let done = place
                .command(&format!("{verb} some.toml --simulate {file}"))
                .assert()
                .code(3);
            let said = String::from_utf8_lossy(&done.get_output().stderr).into_owned();
            assert!(words.iter().all(|word| said.contains(word)), "{said}");
        }
    }
    assert!(!place.0.path().join("results").exists() && !place.0.path().join("state").exists());
    let both = place
        .command("run --resume --simulate model.toml")
        .assert()
        .code(2);
    assert!(String::from_utf8_lossy(&both.get_output().stderr).contains("cannot be used with"));
}

#[test]
fn a_job_file_is_found_beside_its_workload_or_said_to_be_no_good() {
    let workload = "summary = \"x\"\nrun = \"guest\"\njob = \"mix.fio\"\n[[metric]]\nname = \"read_iops\"\n\
                    unit = \"1/s\"\ngoal = \"maximize\"\n";
    let place = Place::new(&EXPERIMENT.replace("fio-randread-4k", "mine"), NOISE);
    let folder = place.0.path().join("workloads");
    fs::create_dir(&folder).unwrap();
    place.write("workloads/mine.toml", workload);
    let plan = "plan some.toml --simulate model.toml";
    let said = |bytes: &[u8]| {
        fs::write(folder.join("mix.fio"), bytes).unwrap();
        let said = place.refuses(plan, 3);
        assert!(
            said.contains("mine.toml:3:7") && !said.contains('\u{1b}'),
            "{said}"
        );
        said
    };
    assert!(place.refuses(plan, 3).contains("there is no job file mix.fio"));
    assert!(said(&b"[a]\n".repeat(20_000)).contains("larger than 64 KiB"));
    assert!(said(b"[a]\n\xff\n").contains("no UTF-8"));
    assert!(said(b"[a]\nfilename=\x1b[2J\n").contains("line 2: control characters"));
    place.write(
        "workloads/mix.fio",
        "[a]\nrw=read\nfilename=${SCRATCH}\nramp_time=${WARMUP}\n",
    );
    place.does(plan);
    fs::remove_file(folder.join("mix.fio")).unwrap();
    fs::create_dir(folder.join("mix.fio")).unwrap();
    assert!(place.refuses(plan, 3).contains("cannot use the job file mix.fio"));
    // Nobody names this one.
    place.write(
        "workloads/mine.toml",
        &workload.replace("mix.fio", "fio-randrw-4k.fio"),
    );
    place.does(plan);
}

#[test]
fn no_root_is_needed() {
    let place = Place::new(EXPERIMENT, &format!("{NOISE}{EFFECTS}"));
    let binary = assert_cmd::cargo::cargo_bin("kvmtune");
    let mut command = std::process::Command::new(&binary);
    if nix::unistd::geteuid().is_root() {
        let nobody = 65534;
        std::os::unix::fs::chown(place.0.path(), Some(nobody), Some(nobody)).unwrap();
        command.uid(nobody).gid(nobody);
        let reached = std::process::Command::new(&binary)
            .uid(nobody)
            .gid(nobody)
            .arg("--version")
            .output();
        if reached.is_err() {
            eprintln!("skipped: nobody else can reach {}", binary.display());
            return;
        }
    }
    let results = place.0.path().join("mine");
    let done = command
        .current_dir(place.0.path())
        .args("run some.toml --simulate model.toml --quiet --seed 1 --results".split(' '))
        .arg(&results)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(Path::new(&results).join("kvmtune.db").exists());
}

/// What R and pandas go by: one header, rows of its length, numbers that parse, and every level where it belongs.
const READER: &str = r#"
import csv, json, sys
rows = list(csv.DictReader(open(sys.argv[1], newline="", encoding="utf-8")))
lines = [json.loads(line) for line in open(sys.argv[2], encoding="utf-8")]
assert rows and all(None not in row and None not in row.values() for row in rows), "ragged"
measured = [row for row in rows if row["outcome"] == "measured"]
assert all(float(row["value"]) > 0 and row["unit"] for row in measured), "numbers"
assert {row["suspect"] for row in rows} == {"false"}, "suspect"
baselines = [row for row in rows if row["role"] == "baseline"]
assert baselines and all(row["domain.disk.io"] == "threads" for row in baselines), "baseline"
trials = {int(row["order"]) for row in rows}
told = [line["event"]["record"] for line in lines if line["event"]["event"] == "trial-finished"]
assert trials == {record["trial"]["order"] for record in told}, "trials"
values = {}
for record in told:
    for one in record.get("outcome", {}).get("observations", []):
        values[record["trial"]["order"], one["workload"], one["metric"]] = one["value"]
for row in measured:
    key = int(row["order"]), row["workload"], row["metric"]
    assert values[key] == float(row["value"]), key
print(len(measured))
"#;

#[test]
fn another_program_reads_the_same_numbers() {
    let place = Place::new(EXPERIMENT, NOISE);
    let report = place.run("--seed 3");
    for (format, file) in [("--csv", "run.csv"), ("--jsonl", "run.jsonl")] {
        let text = place.does(&format!("report latest {format}"));
        assert_eq!(text, place.does(&format!("export latest {format}")));
        place.write(file, &text);
    }
    let read = std::process::Command::new("python3")
        .args(["-c", READER, "run.csv", "run.jsonl"])
        .current_dir(place.0.path())
        .output()
        .unwrap();
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let measured: usize = String::from_utf8(read.stdout).unwrap().trim().parse().unwrap();
    let trials = report["trials"].as_array().unwrap().len();
    assert!(measured > trials, "{measured} observations of {trials} trials");
    place.refuses("report latest --csv --markdown", 2);
}

#[test]
fn two_runs_are_set_side_by_side() {
    let place = Place::new(EXPERIMENT, &format!("{NOISE}{EFFECTS}"));
    place.run("--seed 11");
    place.run("--seed 12");
    let runs = place.recorded();
    let [a, b] = [&runs[0].0.run, &runs[1].0.run].map(kvmtune::event::RunId::short);
    let both = place.json(&format!("compare {a} {b}"));
    assert_eq!(both["comparable"], true);
    assert_eq!(both["treatments"].as_array().unwrap().len(), 3);
    assert!(place.does(&format!("compare {a} {b}")).starts_with("Comparable"));
    place.write("model.toml", NOISE);
    place.run("--seed 13");
    let both = place.json(&format!("compare {a} latest"));
    assert_eq!(both["comparable"], false, "another model is another class");
    assert!(
        place
            .does(&format!("compare {a} latest"))
            .starts_with("NOT COMPARABLE")
    );
    assert!(
        place
            .does(&format!("compare {a} latest --markdown"))
            .contains("**NOT COMPARABLE")
    );
    assert!(
        place
            .refuses("compare latest latest", 5)
            .contains("name two runs")
    );
    assert!(
        place
            .refuses(&format!("compare {a} nosuch"), 5)
            .contains("nosuch")
    );
    place.refuses(&format!("compare {a}"), 2);
}
