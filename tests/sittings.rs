//! Sittings of the binary on machines that are only described: which run follows which, when a run ends, and what may
//! be added to it.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "simulated/mod.rs"]
mod simulated;

use kvmtune::analysis::{Rule, Stop};
use kvmtune::decision::{Recommendation, evaluate};
use kvmtune::design::Guests;
use kvmtune::event::{End, Outcome, Purpose, RunHeader, TrialRecord};
use kvmtune::experiment::Stopping;
use nix::sys::signal::Signal;
use simulated::{NOISE, Place};

const WORKLOAD: &str = "
[workload]
use = \"fio-randread-4k\"
time = \"3s\"
warmup = \"1s\"
";
const IO: &str = "
[[factor]]
tunable = \"domain.disk.io\"
levels = [\"native\"]
baseline = \"threads\"
";
/// Nothing is restarted for them, so that a resumed run is like one in one piece.
const LIVE: &str = "
[[factor]]
tunable = \"guest.thp\"
levels = [\"always\"]
baseline = \"never\"
[[factor]]
tunable = \"guest.disk.scheduler\"
levels = [\"bfq\"]
baseline = \"none\"
[[factor]]
tunable = \"guest.swappiness\"
levels = [10]
baseline = 60
";
const NATIVE: &str = "
[[effect]]
set = { \"domain.disk.io\" = \"native\" }
metric = \"iops\"
change = \"+10%\"
";
/// No part of it depends on time or on starts of the guest.
const TIMELESS: &str = "[[noise]]\ncv = \"1%\"\ntail = \"t3\"\nwander = \"2%\"\n";

const RUN: &str = "run some.toml --simulate model.toml --quiet";

fn effect(set: &str, change: &str) -> String {
    format!("[[effect]]\nset = {{ {set} }}\nmetric = \"iops\"\nchange = \"{change}\"\n")
}

fn end(place: &Place, run: usize) -> Option<End> {
    place.store().runs().unwrap()[run].end
}

/// What a run recommends.
fn winner(run: &(RunHeader, Vec<TrialRecord>)) -> Option<String> {
    match evaluate(&run.0, &run.1).unwrap().recommendation {
        Recommendation::Adopt(winner) => Some(winner.treatment().to_string()),
        Recommendation::Keep { .. } => None,
    }
}

fn labels(header: &RunHeader) -> Vec<String> {
    let all = header.plan.treatments.iter();
    all.map(|t| t.label_against(&header.plan.treatments[0])).collect()
}

/// Block, treatment and numbers of every trial, without ids and times.
fn numbers(runs: &[(RunHeader, Vec<TrialRecord>)]) -> Vec<Vec<(u32, String, Outcome)>> {
    let trial = |r: &TrialRecord| (r.trial.block, r.trial.treatment.to_string(), r.outcome.clone());
    let run = |(_, records): &(_, Vec<TrialRecord>)| records.iter().map(trial).collect();
    runs.iter().map(run).collect()
}

#[test]
fn a_clear_winner_ends_the_run_and_is_confirmed() {
    let place = Place::new(&format!("{IO}{WORKLOAD}"), &format!("{NOISE}{NATIVE}"));
    let sitting = place.json("run some.toml --simulate model.toml --seed 5");
    assert_eq!(sitting["runs"].as_array().unwrap().len(), 2);
    let runs = place.recorded();
    let [(sweep, trials), (confirm, confirmed)] = runs.as_slice() else {
        panic!("{} runs", runs.len())
    };
    assert_eq!(sweep.protocol.stopping, Stopping::Looks { min: 8, max: 20 });
    assert_eq!(
        end(&place, 0),
        Some(End::Answered {
            stop: Stop::Superiority
        })
    );
    let evaluation = evaluate(sweep, trials).unwrap();
    assert!([8, 10, 12].contains(&evaluation.done), "{}", evaluation.done);
    assert_eq!(winner(&runs[0]).unwrap(), "domain.disk.io=native");

    assert_eq!(confirm.purpose, Purpose::Confirm { of: sweep.run });
    assert_eq!((confirm.plan.planned, confirm.plan.guests), (12, Guests::Fresh));
    assert_eq!(end(&place, 1), Some(End::Complete));
    assert_eq!(
        evaluate(confirm, confirmed).unwrap().rule,
        Rule::Fixed { blocks: 12 }
    );
    assert_eq!(winner(&runs[1]).unwrap(), "domain.disk.io=native");
    let boots: std::collections::BTreeSet<_> = confirmed.iter().map(|r| r.trial.boot).collect();
    assert_eq!(
        (confirmed.len(), boots.len()),
        (26, 26),
        "a fresh guest for each trial"
    );
    assert_ne!(numbers(&runs)[0][..16], numbers(&runs)[1][..16], "fresh numbers");
}

#[test]
fn a_confirmation_is_as_the_file_says() {
    for (confirm, planned) in [("false", None), ("13", Some(13))] {
        let design = format!("[design]\nconfirm = {confirm}\n");
        let place = Place::new(&format!("{IO}{WORKLOAD}{design}"), &format!("{NOISE}{NATIVE}"));
        place.does(&format!("{RUN} --seed 5"));
        let runs = place.recorded();
        assert!(winner(&runs[0]).is_some());
        assert_eq!(runs.get(1).map(|(header, _)| header.plan.planned), planned);
    }
    let nothing = Place::new(&format!("{IO}{WORKLOAD}"), NOISE);
    nothing.does(&format!("{RUN} --seed 5"));
    assert_eq!(
        nothing.purposes(),
        [Purpose::Sweep],
        "there is nothing to confirm"
    );
}

#[test]
fn a_dropped_treatment_is_measured_no_more() {
    let levels = IO.replace("[\"native\"]", "[\"native\", \"io_uring\"]");
    let model = format!(
        "{NOISE}{}{}",
        effect("\"domain.disk.io\" = \"native\"", "+1%"),
        effect("\"domain.disk.io\" = \"io_uring\"", "-20%")
    );
    let place = Place::new(&format!("{levels}{WORKLOAD}"), &model);
    place.does(&format!("{RUN} --seed 3"));
    let (header, records) = &place.recorded()[0];
    let bad = &header.plan.treatments[2];
    let last = records
        .iter()
        .filter(|r| r.trial.treatment == bad.id)
        .map(|r| r.trial.block);
    assert!((5..=7).contains(&last.max().unwrap()));
    let done = evaluate(header, records).unwrap().done;
    assert!(done >= 8, "{done}");
    let log = place.does(&format!("export {} --jsonl", header.run));
    let dropped: Vec<_> = log.lines().filter(|l| l.contains("treatment-dropped")).collect();
    assert!(
        dropped.len() == 1 && dropped[0].contains(bad.id.as_str()),
        "{dropped:?}"
    );
}

fn one_factor() -> Place {
    let model = format!(
        "{TIMELESS}{}{}",
        effect("\"guest.thp\" = \"always\"", "+10%"),
        effect("\"guest.swappiness\" = 10", "+6%")
    );
    let design = "[design]\nkind = \"one-factor\"\n";
    Place::new(&format!("{LIVE}{WORKLOAD}{design}"), &model)
}

#[test]
fn factors_follow_each_other_and_keep_what_is_proven() {
    let place = one_factor();
    place.does(&format!("{RUN} --seed 8"));
    let runs = place.recorded();
    assert_eq!(runs.len(), 4);
    let first = runs[0].0.run;
    for (number, (header, _)) in (1..=3).zip(&runs) {
        let stage = Purpose::Stage {
            number,
            of: 3,
            first: (number > 1).then_some(first),
        };
        assert_eq!(header.purpose, stage);
    }
    let said: Vec<_> = runs.iter().map(|(header, _)| labels(header)[1].clone()).collect();
    assert_eq!(
        said[..3],
        [
            "guest.thp=always",
            "guest.disk.scheduler=bfq",
            "guest.swappiness=10"
        ]
    );
    assert_eq!(
        said[3], "guest.thp=always guest.swappiness=10",
        "all that was kept"
    );
    assert_eq!(winner(&runs[1]), None);
    for (header, _) in &runs[1..3] {
        assert!(header.plan.treatments.iter().all(|t| t.levels[0].1 == "always"));
    }
    assert_eq!(runs[3].0.purpose, Purpose::Confirm { of: runs[2].0.run });
    let begun: Vec<_> = runs[3].0.plan.treatments[0]
        .levels
        .iter()
        .map(|l| l.1.as_str())
        .collect();
    assert_eq!(begun, ["never", "none", "60"], "against what it began with");
    let evaluation = evaluate(&runs[3].0, &runs[3].1).unwrap();
    let gain = evaluation.comparisons[0].primary().effect.gain_percent.unwrap();
    assert!((gain - 16.6).abs() < 3.0, "{gain}");
    let seeds = runs.iter().map(|(header, _)| header.plan.seed);
    assert_eq!(
        seeds.collect::<Vec<_>>(),
        [8, 9, 10, 11],
        "an order of its own each"
    );
}

#[test]
fn stages_without_a_winner_are_not_confirmed() {
    let place = Place::new(
        &format!("{LIVE}{WORKLOAD}[design]\nkind = \"one-factor\"\n"),
        TIMELESS,
    );
    place.does(&format!("{RUN} --seed 8"));
    let stages = place.purposes();
    assert!(stages.len() == 3 && stages.iter().all(|p| matches!(p, Purpose::Stage { .. })));
}

#[test]
fn a_sitting_that_was_killed_comes_to_the_same() {
    let whole = one_factor();
    whole.does(&format!("{RUN} --seed 8"));
    let expected = whole.recorded();
    let place = one_factor();
    let command = "run some.toml --simulate model.toml --seed 8";
    place.stops(command, 5, Signal::SIGKILL);
    // In its first stage, in a later one, and in the confirmation.
    let mut stops = 0;
    while place.store().resumable().unwrap().is_some() {
        let runs = place.recorded();
        let is_last = runs.last().unwrap().0.purpose.clone();
        match (stops, &is_last) {
            (0, _) => place.stops("run --resume", 20, Signal::SIGINT),
            (1, Purpose::Stage { .. }) => place.stops("run --resume", 30, Signal::SIGKILL),
            _ => drop(place.does("run --resume --quiet")),
        }
        stops += 1;
        assert!(stops < 6, "it never ends");
    }
    let now = place.recorded();
    assert!(stops >= 2);
    assert_eq!(numbers(&now), numbers(&expected));
    let told = |runs: &[(RunHeader, Vec<TrialRecord>)]| runs.iter().map(winner).collect::<Vec<_>>();
    assert_eq!(told(&now), told(&expected));
    for run in 0..now.len() {
        assert_eq!(end(&place, run), end(&whole, run));
    }
}

#[test]
fn a_confirmation_that_was_stopped_sees_the_numbers_it_would_have() {
    let live = LIVE.split("[[factor]]").nth(1).unwrap();
    let text = format!("[[factor]]{live}{WORKLOAD}[design]\nconfirm = 40\n");
    let model = format!("{TIMELESS}{}", effect("\"guest.thp\" = \"always\"", "+10%"));
    let whole = Place::new(&text, &model);
    whole.does(&format!("{RUN} --seed 2"));
    let expected = whole.recorded();
    let place = Place::new(&text, &model);
    let sweep = expected[0].1.len();
    let command = "run some.toml --simulate model.toml --seed 2";
    place.stops(command, sweep + 6, Signal::SIGINT);
    place.does("run --resume --quiet");
    assert_eq!(numbers(&place.recorded()), numbers(&expected));
}

#[test]
fn listed_treatments_are_compared_under_their_names() {
    let text = format!(
        "{WORKLOAD}[design]\nkind = \"explicit\"\n
        [[treatment]]\nname = \"as it is\"\nset = {{ \"domain.disk.io\" = \"threads\", \"guest.thp\" = \"never\" }}
        [[treatment]]\nname = \"both\"\nset = {{ \"domain.disk.io\" = \"native\", \"guest.thp\" = \"always\" }}
        [[treatment]]\nname = \"huge\"\nset = {{ \"guest.thp\" = \"always\" }}\n"
    );
    let model = format!("{NOISE}{}", effect("\"domain.disk.io\" = \"native\"", "+15%"));
    let place = Place::new(&text, &model);
    place.does(&format!("{RUN} --seed 4"));
    let runs = place.recorded();
    assert_eq!(labels(&runs[0].0), ["as it is", "both", "huge"]);
    assert_eq!(winner(&runs[0]).unwrap(), "both");
    assert_eq!(runs[1].0.purpose, Purpose::Confirm { of: runs[0].0.run });
    assert_eq!(runs[1].0.plan.treatments[1].id, runs[0].0.plan.treatments[1].id);

    let (pair, _) = text.rsplit_once("[[treatment]]").unwrap();
    let place = Place::new(&pair.replace("explicit", "a-b"), &model);
    place.does(&format!("{RUN} --seed 4"));
    let runs = place.recorded();
    assert_eq!(
        (labels(&runs[0].0).len(), winner(&runs[0]).unwrap().as_str()),
        (2, "both")
    );
}

#[test]
fn an_a_a_run_certifies_the_runs_that_follow() {
    let place = Place::new(&format!("{IO}{WORKLOAD}"), &format!("{NOISE}{NATIVE}"));
    place.does("noise some.toml --simulate model.toml --quiet --seed 1 --blocks 12");
    let (noise, records) = place.recorded().remove(0);
    assert_eq!(noise.purpose, Purpose::Noise);
    assert_eq!(
        (noise.plan.planned, labels(&noise)),
        (12, vec!["baseline".into(), "baseline again".into()])
    );
    assert_eq!(records.len(), 26);
    assert!(noise.certificate.is_none());
    place.does(&format!("{RUN} --seed 5"));
    let runs = place.recorded();
    for (header, _) in &runs[1..] {
        let certificate = header.certificate.as_ref().unwrap();
        assert_eq!((certificate.run, certificate.noise.blocks), (noise.run, 12));
        assert!(
            (0.003..0.03).contains(&certificate.noise.within_cv),
            "{certificate:?}"
        );
    }
    // Another machine is not certified, and neither is another question.
    place.write("model.toml", NOISE);
    place.does(&format!("{RUN} --seed 5"));
    assert!(place.recorded().last().unwrap().0.certificate.is_none());
    place.write("model.toml", &format!("{NOISE}{NATIVE}"));
    place.write(
        "some.toml",
        &format!("{IO}{WORKLOAD}[response]\nmetric = \"clat_p99_us\"\n"),
    );
    place.does(&format!("{RUN} --seed 5"));
    assert!(place.recorded().last().unwrap().0.certificate.is_none());
}

#[test]
fn blocks_are_added_up_to_a_registered_look() {
    let model = "[noise]\ncv = \"6%\"\n";
    let place = Place::new(
        &format!("{IO}{WORKLOAD}[design]\nblocks = {{ min = 6, max = 8 }}\n"),
        model,
    );
    place.does(&format!("{RUN} --seed 1"));
    assert_eq!(end(&place, 0), Some(End::Complete));
    let before = numbers(&place.recorded());
    for (more, blocks) in [(1, 12), (1, 16), (9, 32)] {
        place.does(&format!("run --continue latest --blocks {more} --quiet"));
        let (header, records) = place.recorded().remove(0);
        assert_eq!((header.plan.judged(), header.plan.planned), (blocks, 8));
        let done = evaluate(&header, &records).unwrap();
        assert_eq!((done.done, done.rule), (blocks, Rule::Looks { min: 6, max: 8 }));
        assert_eq!(numbers(&place.recorded())[0][..before[0].len()], before[0]);
        let summary = place.store().runs().unwrap().remove(0);
        assert!(summary.done <= summary.planned, "{summary:?}");
    }
    let said = place.refuses("run --continue latest --blocks 1", 5);
    assert!(said.contains("last registered look, at 32 blocks"), "{said}");
    place.refuses("run --continue latest", 2);

    place.write("some.toml", &format!("{IO}{WORKLOAD}[design]\nblocks = 7\n"));
    place.does(&format!("{RUN} --seed 1"));
    let said = place.refuses("run --continue latest --blocks 4", 5);
    assert!(said.contains("its 7 blocks were fixed beforehand"), "{said}");
}

#[test]
fn any_time_is_good_to_stop_and_to_go_on() {
    let place = Place::new(
        &format!("{IO}{WORKLOAD}[design]\nconfirm = false\n"),
        &format!("{NOISE}{NATIVE}"),
    );
    place.does(&format!("{RUN} --seed 5 --anytime"));
    let (header, records) = place.recorded().remove(0);
    assert_eq!(header.protocol.stopping, Stopping::Anytime);
    let stop = Stop::Superiority;
    assert_eq!(end(&place, 0), Some(End::Answered { stop }));
    let evaluation = evaluate(&header, &records).unwrap();
    assert_eq!((evaluation.rule, evaluation.stop), (Rule::Anytime, Some(stop)));
    place.does("run --continue latest --blocks 5 --quiet");
    let (header, records) = place.recorded().remove(0);
    let now = evaluate(&header, &records).unwrap();
    assert_eq!(now.done, evaluation.done + 5);
    assert_eq!(end(&place, 0), Some(End::Complete));
}

#[test]
fn a_winner_is_confirmed_when_asked() {
    let place = Place::new(
        &format!("{IO}{WORKLOAD}[design]\nconfirm = false\n"),
        &format!("{NOISE}{NATIVE}"),
    );
    place.does(&format!("{RUN} --seed 5"));
    let sweep = place.recorded().remove(0).0;
    place.does(&format!("confirm {} --blocks 13 --quiet", sweep.run));
    let runs = place.recorded();
    let (header, records) = &runs[1];
    assert_eq!(header.purpose, Purpose::Confirm { of: sweep.run });
    assert_eq!((header.plan.planned, records.len()), (13, 28));
    assert_ne!(header.plan.seed, sweep.plan.seed, "an order of its own");
    assert!(winner(&runs[1]).is_some());
    let said = place.refuses(&format!("confirm {}", sweep.run), 5);
    assert!(said.contains("a second chance for the same claim"), "{said}");
    let said = place.refuses(&format!("confirm {}", header.run), 5);
    assert!(said.contains("is itself the confirmation"), "{said}");
    let told = place.does(&format!("report {}", sweep.run));
    assert!(told.contains("confirmed by run"), "{told}");
    let nothing = Place::new(&format!("{IO}{WORKLOAD}"), NOISE);
    nothing.does(&format!("{RUN} --seed 5"));
    let said = nothing.refuses("confirm", 5);
    assert!(said.contains("has no winner to confirm"), "{said}");
    assert_eq!(nothing.purposes().len(), 1);
}
