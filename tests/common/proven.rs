//! Results that prove something on this machine without a measurement: those of a described machine, with what is of no
//! machine replaced.
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::event::{End, Event, RunHeader};
use kvmtune::store::Store;
use kvmtune::tunable::Setting;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

const EXPERIMENT: &str = r#"
[factor]
tunable = "guest.swappiness"
levels = [60, 10]
baseline = 60
[workload]
use = "fio-randread-4k"
time = "3s"
[response]
metric = "iops"
goal = "maximize"
[design]
blocks = 8
"#;
const MODEL: &str = r#"
boot = "10s"
[[noise]]
cv = "1%"
[[effect]]
set = { "guest.swappiness" = "10" }
metric = "iops"
change = "+20%"
"#;

/// Records in `results` a sweep and its confirmation, in which a treatment of these settings wins over one without any;
/// `edit` makes each run one of this machine.
pub(crate) fn prove(results: &Path, settings: &[Setting], edit: &dyn Fn(&mut RunHeader)) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("proven.toml"), EXPERIMENT).unwrap();
    fs::write(folder.path().join("model.toml"), MODEL).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_kvmtune"))
        .current_dir(folder.path())
        .args([
            "run",
            "--quiet",
            "proven.toml",
            "--simulate",
            "model.toml",
            "--seed",
            "7",
        ])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let simulated = Store::open_existing(&folder.path().join("results")).unwrap();
    let mut store = Store::open(results).unwrap();
    for run in simulated.runs().unwrap() {
        let mut header = simulated.header(run.run).unwrap();
        header
            .facts
            .record
            .retain(|name, _| !name.starts_with("simulated"));
        for treatment in &mut header.plan.treatments {
            let wins = treatment.levels.iter().any(|(_, level)| level == "10");
            let all = if wins { settings.to_vec() } else { Vec::new() };
            treatment.boot = Vec::new();
            (treatment.restart, treatment.live) = all.into_iter().partition(|s| s.address.needs_guest_off());
        }
        edit(&mut header);
        store
            .record(&Event::RunStarted {
                header: Box::new(header),
            })
            .unwrap();
        for record in simulated.trials(run.run).unwrap() {
            store
                .record(&Event::TrialFinished {
                    record: Box::new(record),
                })
                .unwrap();
        }
        store.record(&Event::RunFinished { end: End::Complete }).unwrap();
    }
}
