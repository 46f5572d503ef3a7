//! Several responses: the front, weights and constraints, on runs with planted numbers.

use super::evaluate::{measured, planned, trials, wobble};
use crate::decision::{Evaluation, KeepReason, Link, Recommendation, Standing, evaluate, front};
use crate::design::Part;
use crate::event::{Purpose, RunHeader};
use crate::experiment::{Weighed, Weight};

const SCHEDULERS: &str = "
    [[factor]]
    tunable = \"guest.disk.scheduler\"
    levels = [\"bfq\", \"kyber\", \"mq-deadline\"]
    baseline = \"none\"
    [workload]
    use = \"fio-randread-4k\"
    [design]
    blocks = 12
";
const BOTH: &str = "
    [[response]]
    metric = \"iops\"
    [[response]]
    metric = \"clat_p99_us\"
";
const WEIGHED: &str = "
    [[response]]
    metric = \"iops\"
    weight = 2
    [[response]]
    metric = \"clat_p99_us\"
    weight = 1
";

/// iops and p99 of each treatment, the baseline first.
type Numbers = [(f64, f64); 4];

/// The second is fast, the third has low latency, the fourth is worse than the second in both.
const TRADED: Numbers = [(5000.0, 500.0), (5500.0, 560.0), (5100.0, 430.0), (5200.0, 600.0)];

fn run(rest: &str, numbers: Numbers) -> Link {
    let header = planned(&format!("{SCHEDULERS}{rest}"), Part::Whole, Purpose::Sweep);
    let records = trials(&header, 12, |block, treatment| {
        let (iops, p99) = numbers[treatment];
        let iops = iops * (1.0 + wobble(block, treatment));
        let p99 = p99 * (1.0 + wobble(block + 5, treatment));
        Some(measured(&[("iops", iops), ("clat_p99_us", p99)]))
    });
    Link::new(header, records, true)
}

fn judged(link: &Link) -> Evaluation {
    evaluate(&link.header, &link.records).unwrap()
}

fn winner(evaluation: &Evaluation) -> &str {
    match &evaluation.recommendation {
        Recommendation::Adopt(winner) => winner.treatment(),
        Recommendation::Keep { reason } => panic!("{reason:?}"),
    }
}

#[test]
fn the_front_holds_what_nothing_beats_in_everything() {
    let link = run(BOTH, TRADED);
    let places = front(&link).unwrap();
    let standings: Vec<_> = places.iter().map(|p| p.standing.clone()).collect();
    let [baseline, fast, quick, beaten] = &standings[..] else {
        panic!("{standings:?}")
    };
    let by = |name: &str| Standing::ProvenDominated { by: name.into() };
    assert_eq!(*baseline, by("guest.disk.scheduler=kyber"));
    assert_eq!((fast, quick), (&Standing::Front, &Standing::Front));
    assert_eq!(*beaten, by("guest.disk.scheduler=bfq"));
    assert_eq!(places[1].effects.len(), 2);
    let gain = places[1].effects[0].gain_percent.unwrap();
    assert!((gain - 10.0).abs() < 0.5, "{gain}");
    assert!(
        front(&run("", TRADED)).unwrap().is_empty(),
        "one response has no front"
    );
}

#[test]
fn what_few_blocks_show_is_dominated_by_estimate_only() {
    let mut link = run(BOTH, TRADED);
    link.records.retain(|r| r.trial.block <= 4);
    let places = front(&link).unwrap();
    assert!(
        matches!(places[3].standing, Standing::Dominated { .. }),
        "{:?}",
        places[3]
    );
}

#[test]
fn weights_choose_among_responses_by_one_test() {
    let link = run(WEIGHED, TRADED);
    let evaluation = judged(&link);
    // (2 ln 1.1 - ln 1.12) / 3 against (2 ln 1.02 + ln (500/430)) / 3.
    assert_eq!(winner(&evaluation), "guest.disk.scheduler=kyber");
    assert!(evaluation.comparisons.iter().all(|c| c.responses.len() == 1));
    let primary = evaluation.comparisons[1].primary();
    assert_eq!((primary.family, primary.effect.metric.as_str()), (3, "weighted"));
    let wanted = 100.0 * ((2.0 * 1.02_f64.ln() + (500.0_f64 / 430.0).ln()) / 3.0).exp_m1();
    assert!((primary.effect.gain_percent.unwrap() - wanted).abs() < 0.3);
    assert_eq!(front(&link).unwrap().len(), 4, "the front is of what is weighed");
    // Other weights, another choice: as a file says them, and as they are put in force later.
    let heavy = WEIGHED.replace("weight = 2", "weight = 9");
    assert_eq!(winner(&judged(&run(&heavy, TRADED))), "guest.disk.scheduler=bfq");
    let mut later = run(BOTH, TRADED);
    let weights = [9.0, 1.0].map(|w| Weight::new(w).unwrap());
    let aims = later.header.protocol.aims();
    let weighed = aims.into_iter().zip(weights).map(|(aim, weight)| Weighed {
        metric: aim.metric,
        goal: aim.goal,
        weight,
    });
    later.header.protocol.weigh(weighed.collect());
    assert_eq!(winner(&judged(&later)), "guest.disk.scheduler=bfq");
}

#[test]
fn a_constraint_is_kept_by_the_treatment_itself() {
    let rest = |limit: &str| format!("[[constraint]]\nmetric = \"clat_p99_us\"\n{limit}\n");
    let of = |limit: &str| judged(&run(&rest(limit), TRADED));
    assert_eq!(winner(&of("at-most = 700")), "guest.disk.scheduler=bfq");
    // The fastest is over it, and so is the next.
    let evaluation = of("at-most = 550");
    assert_eq!(winner(&evaluation), "guest.disk.scheduler=kyber");
    let Recommendation::Adopt(winner) = &evaluation.recommendation else {
        panic!()
    };
    let passed: Vec<_> = winner.passed_over().iter().map(|b| b.guards[0].limit).collect();
    assert_eq!(passed, [Some(550.0), Some(550.0)]);
    let held = &winner.comparison().guards[0];
    let against = held.effect.change_percent().unwrap();
    assert!((against + 100.0 * (1.0 - 430.0 / 550.0)).abs() < 0.5, "{against}");
    for (limit, wanted) in [("at-most = 400", 3), ("at-least = 700", 3)] {
        let Recommendation::Keep {
            reason: KeepReason::Guarded { blocked },
        } = of(limit).recommendation
        else {
            panic!("{limit}")
        };
        assert_eq!(blocked.len(), wanted);
    }
}

#[test]
fn a_zero_keeps_an_upper_limit() {
    let mut numbers = TRADED;
    numbers[1].1 = 0.0;
    let limit = "[[constraint]]\nmetric = \"clat_p99_us\"\nat-most = 5\n";
    assert_eq!(winner(&judged(&run(limit, numbers))), "guest.disk.scheduler=bfq");
}

#[test]
fn an_old_record_has_no_constraints() {
    let header: RunHeader = run("", TRADED).header;
    let json = serde_json::to_value(&header.protocol).unwrap();
    assert!(json.get("constraints").is_none());
    let again: crate::experiment::Protocol = serde_json::from_value(json).unwrap();
    assert_eq!(again, header.protocol);
}
