//! Models from text to numbers: what is in force is what counts, and any text is answered.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::diagnostic::Diagnostics;
use crate::experiment;
use crate::tunable::level;
use crate::workload::Library;
use proptest::prelude::*;
use std::time::Duration;

const EXPERIMENT: &str = "
[[factor]]
tunable = \"domain.cpu.pin\"
levels = \"available\"
[[factor]]
tunable = \"guest.net.rmem-max\"
levels = [\"1MiB\", \"2MiB\"]
[[workload]]
use = \"fio-randread-4k\"
[[workload]]
use = \"fio-randwrite-4k\"
";

fn source(text: &str) -> Source {
    Source {
        name: "x.toml".into(),
        text: text.into(),
    }
}

fn experiment() -> Experiment {
    experiment::parse(&source(EXPERIMENT), &Library::builtin()).unwrap()
}

fn model(text: &str) -> Result<Model, Diagnostics> {
    let experiment = experiment();
    parse(&source(text), &experiment, &Machine::of(&experiment).facts)
}

/// What the model gives for random reads under these levels of the two factors.
fn iops(text: &str, levels: [&str; 2]) -> f64 {
    let experiment = experiment();
    let facts = Machine::of(&experiment).facts;
    let factors = experiment.factors.iter().zip(levels);
    let set: Vec<_> = factors
        .flat_map(|(f, text)| level(&f.tunable, text, &facts).unwrap().settings)
        .collect();
    let moment = Moment {
        trial: 0,
        boot: 1,
        elapsed: Duration::ZERO,
    };
    let mut truth = Truth::new(model(text).unwrap(), 1);
    let numbers = truth.numbers("fio-randread-4k", moment, |setting| set.contains(setting));
    assert_eq!(numbers.len(), 6);
    numbers[0].1
}

#[test]
fn effects_multiply_and_interactions_come_on_top() {
    let text = "
        [[metric]]
        workload = \"fio-randread-4k\"
        name = \"iops\"
        value = 1000
        [[effect]]
        set = { \"domain.cpu.pin\" = \"compact\" }
        metric = \"fio-randread-4k.iops\"
        change = \"+10%\"
        [[effect]]
        set = { \"guest.net.rmem-max\" = 2097152 }
        metric = \"fio-randread-4k.iops\"
        change = \"-50 %\"
        [[effect]]
        set = { \"guest.net.rmem-max\" = \"2MiB\", \"domain.cpu.pin\" = \"compact\" }
        metric = \"fio-randread-4k.iops\"
        change = \"100%\"
        [[effect]]
        set = { \"guest.net.rmem-max\" = \"2MiB\" }
        metric = \"fio-randwrite-4k.iops\"
        change = \"900%\"
    ";
    for (levels, expected) in [
        (["none", "1MiB"], 1000.0),
        (["compact", "1MiB"], 1100.0),
        (["spread", "2MiB"], 500.0),
        (["compact", "2MiB"], 1100.0),
    ] {
        let found = iops(text, levels);
        assert!((found - expected).abs() < 1e-6, "{levels:?}: {found}");
    }
}

#[test]
fn a_level_that_no_treatment_has_is_refused() {
    for (level, good) in [
        ("spread", true),
        ("0=0-7 1=0-7", true),
        ("0=3", false),
        ("same-node", true),
        // The same as another here.
        ("sibling-free", true),
        ("1=3", false),
    ] {
        let text = format!(
            "[[effect]]\nset = {{ \"domain.cpu.pin\" = \"{level}\" }}\nmetric = \"fio-randread-4k.iops\"\nchange = \"+1%\""
        );
        assert_eq!(model(&text).is_ok(), good, "{level}");
    }
}

#[test]
fn a_metric_takes_from_the_common_noise_what_its_own_leaves_out() {
    let text = "
        [[noise]]
        metric = \"fio-randread-4k.iops\"
        cv = \"5%\"
        [[noise]]
        cv = \"1%\"
        tail = \"t3\"
        drift = \"-1%\"
    ";
    let model = model(text).unwrap();
    let (own, other) = (model.metrics[0].noise, model.metrics[1].noise);
    assert_eq!((own.tail, other.tail), (Tail::T3, Tail::T3));
    assert!((own.cv - 0.05).abs() < 1e-12 && (other.cv - 0.01).abs() < 1e-12);
    assert!((own.drift - 0.99_f64.ln()).abs() < 1e-12);
}

#[test]
fn a_stand_in_runs_nothing_of_the_machine() {
    let stand_in = stand_in(&experiment());
    for workload in &stand_in.workloads {
        assert_eq!(workload.argv, [PROGRAM, workload.name.as_str()]);
        assert!(!workload.needs_scratch() && !workload.needs_network());
    }
    assert_eq!(stand_in.responses, experiment().responses);
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let _ = model(&text).map_err(|e| e.to_string());
    }

    #[test]
    fn any_value_of_any_key_is_answered(
        key in "(trial|boot|failures|seed|metric|noise|effect)",
        sub in "(name|value|workload|metric|cv|tail|boot|drift|wander|lag1|set|change|gain)",
        value in "(1|-1|1e400|nan|true|\"\"|\"5\"|\"%\"|\"-100%\"|\"iops\"|\"\u{1F600}\"|\\[\\]|\\[\\[\\]\\]|\\{\\}|1979-05-27)",
    ) {
        let _ = model(&format!("{key} = {value}")).map_err(|e| e.to_string());
        let _ = model(&format!("[[{key}]]\n{sub} = {value}")).map_err(|e| e.to_string());
        let _ = model(&format!("[[effect]]\nset = {{ \"{sub}\" = {value} }}")).map_err(|e| e.to_string());
    }
}
