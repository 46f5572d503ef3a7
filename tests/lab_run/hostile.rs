//! Guests that crash, hang, flood and lie: a failed trial with its reason, and the next one measures.

use crate::place::{Place, script, wait_until};
use kvmtune::event::{Outcome, Stage, TrialRecord};
use nix::sys::signal::Signal;
use std::time::Duration;

/// The guest does something else at each level.
const LOAD: &str = r#"
n=1;
level=$(cat /proc/sys/vm/swappiness);
case $level in
    101) echo c >/proc/sysrq-trigger ;;
    102) sleep 600 ;;
    103) cat /dev/zero ;;
    104) echo "jobs: 12"; exit 0 ;;
    105) kill -STOP $(pidof qemu-ga); sleep 600 ;;
    106) echo "no space left" >&2; exit 3 ;;
    107) poweroff -f ;;
esac;
"#;

/// Level, stage, a part of the message, whether a fresh guest is needed.
const EVILS: [(&str, Stage, &str, bool); 7] = [
    ("101", Stage::Measure, "in the guest", true),
    ("102", Stage::Measure, "did not finish within", true),
    ("103", Stage::Measure, "did not finish within", true),
    ("104", Stage::Parse, "cannot read fio's JSON", false),
    ("105", Stage::Measure, "did not answer", true),
    ("106", Stage::Parse, "exited with 3: no space left", false),
    ("107", Stage::Measure, "", true),
];

#[test]
fn a_hostile_guest_fails_its_own_trial_only() {
    let experiment = r#"
        seed = 4
        factor = { tunable = "guest.swappiness", levels = [60, 61, 62, 63, 101, 102, 103, 104, 105, 106, 107] }
        workload = { use = "load" }
        design = { blocks = 2 }
    "#;
    let Some(place) = Place::new(experiment, &script(LOAD)) else {
        return;
    };
    // One block has every evil; the others would only show it again.
    let mut run = place.start(&["run", "experiment.toml"]);
    wait_until("the end of a block", || {
        assert!(!run.has_ended(), "{:#?}", place.records());
        place.has_a_run() && place.records().len() > 11
    });
    run.signal(Signal::SIGINT);
    let done = run.finish();
    assert_eq!(done.status.code(), Some(130), "{done:?}");
    let trials = place.labelled();
    for (label, record) in &trials {
        eprintln!(
            "{label} on guest {}: {:.1?}, {:?}",
            record.trial.boot, record.timing.total, record.outcome
        );
    }
    for (label, record) in &trials {
        let level = label.rsplit_once('=').map_or("60", |(_, level)| level);
        match EVILS.iter().find(|evil| evil.0 == level) {
            Some((_, stage, said, _)) => assert_failed(level, record, *stage, said),
            None => assert!(matches!(record.outcome, Outcome::Measured { .. }), "{record:#?}"),
        }
    }
    for pair in trials.windows(2) {
        let [(label, evil), (_, next)] = pair else {
            continue;
        };
        let lost = EVILS.iter().any(|e| e.3 && label.ends_with(&format!("={}", e.0)));
        let fresh = next.trial.boot - evil.trial.boot;
        assert_eq!(fresh, u32::from(lost), "{label} is followed by {next:#?}");
    }
}

fn assert_failed(level: &str, record: &TrialRecord, expected: Stage, said: &str) {
    let Outcome::Failed { stage, message } = &record.outcome else {
        panic!("{level}: {record:#?}")
    };
    assert_eq!(*stage, expected, "{level}: {message}");
    assert!(message.contains(said), "{level}: {message}");
    // The workload's limit is 4 s, and each unanswered command to its agent may take 10 s; it sleeps for 600 s.
    assert!(
        record.timing.total < Duration::from_mins(1),
        "{level}: {record:#?}"
    );
}
