//! Whole runs, made up from plans and numbers: what is complete, what counts, and what it shows.

use crate::analysis::{Rule, Stop, Verdict};
use crate::decision::{certificate, certifies, evaluate, observed, progress};
use crate::design::{Guests, Pace, Part, Plan, Role};
use crate::diagnostic::Source;
use crate::event::{Outcome, Purpose, RunHeader, RunId, Stage, Timing, Trial, TrialRecord};
use crate::experiment::parse;
use crate::simulation::Machine;
use crate::workload::{Library, Observation};
use std::time::Duration;

const SCHEDULERS: &str = "
    [[factor]]
    tunable = \"guest.disk.scheduler\"
    levels = [\"bfq\", \"kyber\"]
    baseline = \"none\"
    [workload]
    use = \"fio-randread-4k\"
";
const IO_AND_SCHEDULER: &str = "
    [[factor]]
    tunable = \"domain.disk.io\"
    levels = [\"native\"]
    baseline = \"threads\"
    [[factor]]
    tunable = \"guest.disk.scheduler\"
    levels = [\"bfq\"]
    baseline = \"none\"
    [workload]
    use = \"fio-randread-4k\"
";

pub(super) fn planned(text: &str, part: Part<'_>, purpose: Purpose) -> RunHeader {
    let source = Source {
        name: "some.toml".into(),
        text: text.into(),
    };
    let experiment = parse(&source, &Library::builtin()).unwrap_or_else(|e| panic!("{e}"));
    let facts = Machine::of(&experiment).facts;
    let pace = Pace {
        boot: Duration::from_secs(20),
        overhead: Duration::from_millis(500),
    };
    let plan = Plan::new(&experiment, &facts, part, pace, 7).unwrap_or_else(|e| panic!("{e}"));
    RunHeader {
        run: RunId(uuid::Uuid::from_u128(0x0199_0000_0000_7000_8000_0000_0000_0001)),
        started: "2026-07-01T10:00:00Z".parse().unwrap(),
        version: "0.1.0".into(),
        experiment: experiment.name.clone(),
        file: source.name,
        text: source.text,
        purpose,
        certificate: None,
        protocol: experiment.protocol(),
        plan,
        facts,
    }
}

fn sweep(text: &str) -> RunHeader {
    planned(text, Part::Whole, Purpose::Sweep)
}

/// A little that differs from block to block and treatment to treatment.
pub(super) fn wobble(block: u32, treatment: usize) -> f64 {
    let mixed =
        (u64::from(block) * 41 + treatment as u64 * 29 + u64::from(block) * treatment as u64 * 13) % 97;
    0.004 * (mixed as f64 / 97.0 - 0.5)
}

pub(super) fn measured(metrics: &[(&str, f64)]) -> Outcome {
    let observation = |(metric, value): &(&str, f64)| Observation {
        workload: "fio-randread-4k".into(),
        metric: (*metric).into(),
        value: *value,
    };
    Outcome::Measured {
        suspect: Vec::new(),
        observations: metrics.iter().map(observation).collect(),
    }
}

/// The trials of the first blocks in the planned order, ten seconds each; `None` is a trial that is not made.
pub(super) fn trials(
    header: &RunHeader,
    blocks: u32,
    outcome: impl Fn(u32, usize) -> Option<Outcome>,
) -> Vec<TrialRecord> {
    let plan = &header.plan;
    let order = plan
        .blocks
        .iter()
        .filter(|b| b.number <= blocks)
        .flat_map(|block| {
            let plots = block.plots.iter().flat_map(|plot| &plot.treatments);
            plots.map(|treatment| (block.number, *treatment))
        });
    let mut records = Vec::new();
    for (order, (block, treatment)) in (0..).zip(order) {
        let Some(outcome) = outcome(block, treatment) else {
            continue;
        };
        records.push(TrialRecord {
            trial: Trial {
                block,
                boot: 1,
                order,
                treatment: plan.treatments[treatment].id.clone(),
            },
            started: header.started + Duration::from_secs(10 * u64::from(order)),
            outcome,
            timing: Timing::default(),
            raw: Vec::new(),
        });
    }
    records
}

/// Trials of treatments with these gains over the baseline.
fn gains(header: &RunHeader, blocks: u32, ratios: &[f64]) -> Vec<TrialRecord> {
    trials(header, blocks, |block, treatment| {
        let iops = 5000.0 * ratios[treatment] * (1.0 + wobble(block, treatment));
        Some(measured(&[("iops", iops)]))
    })
}

#[test]
fn an_interrupted_block_is_not_complete() {
    let header = sweep(SCHEDULERS);
    let records = gains(&header, 12, &[1.0, 1.1, 1.1]);
    let per_block = 3;
    let through = |trials: usize| {
        let progress = progress(&header, &records[..trials]).unwrap();
        (progress.done, progress.stop)
    };
    assert_eq!(through(0), (0, None));
    assert_eq!(through(per_block), (0, None), "the first block is discarded");
    assert_eq!(through(9 * per_block), (8, None), "too few for two candidates");
    assert_eq!(through(11 * per_block - 1), (9, None));
    assert_eq!(through(11 * per_block), (10, Some(Stop::Superiority)));
    assert_eq!(through(11 * per_block + 1), (10, Some(Stop::Superiority)));
    assert_eq!(through(12 * per_block), (11, None), "only at looks");
    let open = evaluate(&header, &records[..11 * per_block + 2]).unwrap();
    assert_eq!(open.done, 10);
    assert!(open.comparisons.iter().all(|c| c.primary().effect.blocks == 10));
    assert_eq!(open.rule, Rule::Looks { min: 8, max: 20 });
}

#[test]
fn a_dropped_treatment_does_not_leave_its_blocks_open() {
    let header = sweep(SCHEDULERS);
    let records = trials(&header, 9, |block, treatment| {
        let ratio = [1.0, 0.9, 1.002][treatment];
        let iops = 5000.0 * ratio * (1.0 + wobble(block, treatment));
        (treatment != 1 || block <= 3).then(|| measured(&[("iops", iops)]))
    });
    let progress = progress(&header, &records).unwrap();
    assert_eq!(progress.done, 9);
    assert_eq!(progress.active, [true, false, true]);
    assert_eq!(progress.dropped.len(), 1);
    assert_eq!((progress.dropped[0].0, progress.dropped[0].1), (1, 3));
    // One that is missing without having been dropped does.
    let lost = trials(&header, 9, |block, treatment| {
        (treatment != 2 || block != 9).then(|| measured(&[("iops", 5000.0 + f64::from(block))]))
    });
    assert_eq!(super::super::progress(&header, &lost).unwrap().done, 8);
    let evaluation = evaluate(&header, &records).unwrap();
    assert_eq!(evaluation.comparisons[0].primary().effect.blocks, 3);
    assert_eq!(evaluation.comparisons[0].primary().verdict, Verdict::Dropped);
}

#[test]
fn the_same_record_gives_the_same_progress_at_every_length() {
    let header = sweep(SCHEDULERS);
    let records = gains(&header, 20, &[1.0, 1.003, 0.99]);
    for done in 1..=20 {
        let upto = records.iter().filter(|r| r.trial.block <= done).cloned();
        let upto: Vec<_> = upto.collect();
        let then = progress(&header, &upto).unwrap();
        let mut longer = header.clone();
        longer.plan.extend(40);
        assert_eq!(progress(&longer, &upto).unwrap(), then, "{done}");
        assert_eq!(then.done, done);
    }
}

#[test]
fn the_baseline_in_the_middle_stands_in_for_a_lost_one() {
    let header = sweep(&format!("{SCHEDULERS}time = \"20m\"\n[design]\nblocks = 8\n"));
    let roles: Vec<_> = header.plan.treatments.iter().map(|t| t.role).collect();
    assert_eq!(roles, [Role::Listed, Role::Listed, Role::Listed, Role::Middle]);
    let records = trials(&header, 8, |block, treatment| {
        let drift = 1.0 + 0.01 * f64::from(block);
        let iops = [100.0, 110.0, 121.0, 100.0][treatment] * drift;
        Some(match (block, treatment) {
            (2, 0) => Outcome::Failed {
                stage: Stage::Measure,
                message: "lost".into(),
            },
            // Not looked at where the first one gave a number.
            (_, 3) if block != 2 => measured(&[("iops", 1.0)]),
            _ => measured(&[("iops", iops)]),
        })
    });
    let evaluation = evaluate(&header, &records).unwrap();
    assert_eq!(evaluation.comparisons.len(), 2, "it is no candidate");
    let effect = |c: usize| &evaluation.comparisons[c].primary().effect;
    let gain = |c: usize| effect(c).gain_percent.unwrap();
    assert!(
        (gain(0) - 10.0).abs() < 1e-9 && (gain(1) - 21.0).abs() < 1e-9,
        "{} {}",
        gain(0),
        gain(1)
    );
    assert_eq!(effect(0).blocks, 8);
    let without: Vec<_> = records[..records.len() - 4]
        .iter()
        .chain(&records[records.len() - 4..])
        .filter(|r| r.trial.block < 8 || r.trial.treatment != header.plan.treatments[3].id)
        .cloned()
        .collect();
    assert_eq!(
        progress(&header, &without).unwrap().done,
        7,
        "it belongs to the block"
    );
}

#[test]
fn trials_without_a_sound_number_count_as_such() {
    let header = sweep(&format!("{SCHEDULERS}[design]\nblocks = 8\n"));
    let records = trials(&header, 8, |block, treatment| {
        let Outcome::Measured { observations, .. } = measured(&[("iops", 5000.0 + f64::from(block))]) else {
            unreachable!()
        };
        Some(match (block, treatment) {
            (2, 1) => Outcome::Unsteady {
                observations,
                message: "it never settled".into(),
            },
            (3, 1) => Outcome::Failed {
                stage: Stage::Measure,
                message: "no".into(),
            },
            (4, 0) => Outcome::Invalid { drift: Vec::new() },
            _ => Outcome::Measured {
                observations,
                suspect: Vec::new(),
            },
        })
    });
    let evaluation = evaluate(&header, &records).unwrap();
    let counts = evaluation.counts;
    assert_eq!((counts.unsteady, counts.failed, counts.invalid), (1, 1, 1));
    assert_eq!((counts.discarded, counts.measured), (3, 21));
    assert_eq!(evaluation.done, 8, "a failed trial was made");
    let blocks: Vec<_> = evaluation
        .comparisons
        .iter()
        .map(|c| c.primary().effect.blocks)
        .collect();
    assert_eq!(blocks, [5, 7]);
}

#[test]
fn a_derived_metric_is_one_of_each_trial() {
    let text = format!(
        "{SCHEDULERS}[[derived]]\nname = \"speed\"\nunit = \"1\"\ngoal = \"maximize\"\n\
         ratio = [\"iops\", \"clat_mean_us\"]\n[response]\nmetric = \"speed\"\n[design]\nblocks = 8\n"
    );
    let header = sweep(&text);
    let records = trials(&header, 8, |block, treatment| {
        let load = 1.0 + 0.1 * f64::from(block);
        let ratio = [1.0, 1.2, 1.0][treatment] * (1.0 + wobble(block, treatment));
        Some(measured(&[
            ("iops", 100.0 * load * ratio),
            ("clat_mean_us", 10.0 * load),
        ]))
    });
    let evaluation = evaluate(&header, &records).unwrap();
    let found = evaluation.comparisons[0].primary();
    assert_eq!(
        (found.effect.metric.as_str(), found.verdict),
        ("speed", Verdict::Better)
    );
    assert!((found.effect.gain_percent.unwrap() - 20.0).abs() < 0.5);
    let Outcome::Measured { observations, .. } = &records[0].outcome else {
        panic!()
    };
    let metric = &header.protocol.response().metric;
    let speed = observed(&header.protocol, observations, metric).unwrap();
    assert!(speed > 9.0 && speed < 13.0);
    assert_eq!(observed(&header.protocol, &observations[..1], metric), None);
    assert_eq!(header.protocol.unit(metric), "1");
}

#[test]
fn stages_share_one_error_rate() {
    // Seven blocks reach p = .0156 at the least.
    let text = format!(
        "{}[design]\nkind = \"one-factor\"\nblocks = 7\n",
        SCHEDULERS.replace(", \"kyber\"", "")
    );
    let verdict = |of: u32| {
        let part = Part::Stage { factor: 0, kept: &[] };
        let purpose = Purpose::Stage {
            number: 1,
            of,
            first: None,
        };
        let header = planned(&text, part, purpose);
        let records = gains(&header, 7, &[1.0, 1.1]);
        let comparison = evaluate(&header, &records).unwrap().comparisons.remove(0);
        comparison.primary().verdict
    };
    assert_eq!(verdict(1), Verdict::Better);
    assert_eq!(verdict(3), Verdict::Better);
    assert!(matches!(verdict(4), Verdict::Inconclusive { .. }));
}

#[test]
fn a_restart_factor_has_its_main_effect() {
    let header = sweep(&format!("{IO_AND_SCHEDULER}[design]\nblocks = 10\n"));
    let records = trials(&header, 10, |block, treatment| {
        let levels = &header.plan.treatments[treatment].levels;
        let has = |level: &str| levels.iter().any(|(_, l)| l == level);
        let ratio = if has("native") { 1.2 } else { 1.0 } * if has("bfq") { 0.9 } else { 1.0 };
        Some(measured(&[(
            "iops",
            5000.0 * ratio * (1.0 + wobble(block, treatment)),
        )]))
    });
    let effects = evaluate(&header, &records).unwrap().effects;
    assert_eq!(effects.len(), 1);
    let main: Vec<_> = effects[0]
        .main
        .iter()
        .map(|e| e.contrast.gain_percent.unwrap())
        .collect();
    assert!(
        (main[0] - 20.0).abs() < 0.5 && (main[1] + 10.0).abs() < 0.5,
        "{main:?}"
    );
    assert!(header.plan.factors[0].whole_plot);
    assert_eq!(effects[0].main[0].contrast.blocks, 10);
    let interaction = &effects[0].interactions[0].contrast;
    assert!(interaction.gain_percent.unwrap().abs() < 0.5 && interaction.p_holm > 0.05);
    let alone = format!("{IO_AND_SCHEDULER}[design]\nkind = \"one-at-a-time\"\nblocks = 10\n");
    let header = sweep(&alone);
    let evaluation = evaluate(&header, &gains(&header, 10, &[1.0, 1.0, 1.0])).unwrap();
    assert!(evaluation.effects.is_empty(), "no treatment combines factors");
}

/// An A/A run with noise of this size.
fn noise(blocks: u32, size: f64) -> (RunHeader, Vec<TrialRecord>) {
    let header = planned(SCHEDULERS, Part::Noise { blocks }, Purpose::Noise);
    let records = trials(&header, blocks, |block, treatment| {
        let iops = 5000.0 * (1.0 + size / 0.004 * wobble(block, treatment));
        Some(measured(&[("iops", iops)]))
    });
    (header, records)
}

#[test]
fn an_a_a_run_certifies_its_noise() {
    let (header, records) = noise(20, 0.1);
    assert_eq!(header.plan.treatments[1].role, Role::Again);
    let certificate = certificate(&header, &records).unwrap().unwrap();
    assert_eq!((certificate.run, certificate.noise.blocks), (header.run, 20));
    assert!(
        (0.01..0.06).contains(&certificate.noise.within_cv),
        "{certificate:?}"
    );
    assert!(certificate.trial.abs_diff(Duration::from_secs(10)) < Duration::from_secs(1));
    let evaluation = evaluate(&header, &records).unwrap();
    assert_eq!(evaluation.rule, Rule::Fixed { blocks: 20 });
    assert_eq!(evaluation.comparisons[0].treatment, "baseline again");

    let of = super::super::certificate;
    assert_eq!(
        of(&header, &records[..3]).unwrap(),
        None,
        "one block tells nothing"
    );
    let sweep = sweep(&SCHEDULERS.replace(", \"kyber\"", ""));
    assert_eq!(of(&sweep, &gains(&sweep, 8, &[1.0; 2])).unwrap(), None);

    // What it could not have shown is not claimed in a run under it.
    let mut certified = sweep.clone();
    let small = gains(&sweep, 8, &[1.0, 1.02]);
    assert_eq!(
        progress(&certified, &small).unwrap().stop,
        Some(Stop::Superiority)
    );
    certified.certificate = Some(certificate);
    assert_eq!(progress(&certified, &small).unwrap().stop, None);
}

#[test]
fn a_certificate_is_of_one_question_on_one_class_of_host() {
    let (noise, _) = noise(6, 0.1);
    let other = sweep(SCHEDULERS);
    assert!(certifies(&noise, &other));
    assert!(!certifies(&other, &noise), "only an A/A run certifies");
    let longer = sweep(&format!("{SCHEDULERS}time = \"50s\"\n"));
    let of_another = sweep(&format!("{SCHEDULERS}[response]\nmetric = \"clat_p99_us\"\n"));
    let mut elsewhere = other.clone();
    elsewhere.facts.record.insert("host.kernel".into(), "7.0".into());
    for unlike in [longer, of_another, elsewhere] {
        assert!(!certifies(&noise, &unlike));
    }
    let fewer = sweep(&format!("{SCHEDULERS}[design]\nblocks = 9\n"));
    assert!(certifies(&noise, &fewer), "the number of blocks is no matter");
    let mut fresh = other.clone();
    fresh.plan.guests = Guests::Fresh;
    assert!(!certifies(&noise, &fresh), "starts of the guest are noise too");
    fresh.purpose = Purpose::Confirm { of: other.run };
    assert!(certifies(&noise, &fresh));
    let mut of_fresh = noise.clone();
    of_fresh.plan.guests = Guests::Fresh;
    assert!(!certifies(&of_fresh, &other));
}
