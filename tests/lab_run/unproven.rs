//! Numbers under settings that did not hold are no measurements.

use crate::place::{Place, kernel_value, script, wait_until};
use kvmtune::event::Outcome;
use std::fs;
use std::time::Duration;

const PAGE_CLUSTER: &str = "/proc/sys/vm/page-cluster";

/// The guest's kernel rounds `rps_sock_flow_entries` up to a power of two (`rps_sock_flow_sysctl` in
/// `net/core/sysctl_net_core.c`); and somebody else writes the host's `page-cluster` whenever kvmtune has set it.
#[test]
fn settings_that_do_not_hold_are_told() {
    let experiment = r#"
        factor = [
            { tunable = "guest-sysctl:net.core.rps_sock_flow_entries", levels = [0, 100, 256] },
            { tunable = "sysctl:vm.page-cluster", levels = [7] },
        ]
        workload = { use = "load" }
        design = { kind = "one-at-a-time", blocks = 2 }
    "#;
    let Some(place) = Place::new(experiment, &script("sleep 1; n=1;")) else {
        return;
    };
    let before = kernel_value(PAGE_CLUSTER);
    assert_ne!(before, "7", "the test changes it to this");
    let mut run = place.start(&["run", "experiment.toml"]);
    wait_until("the end of kvmtune", || {
        if kernel_value(PAGE_CLUSTER) == "7" {
            // kvmtune reads it back within milliseconds, and again after the second that the workload takes.
            std::thread::sleep(Duration::from_millis(400));
            fs::write(PAGE_CLUSTER, "8").unwrap();
        }
        run.has_ended()
    });
    let done = run.finish();
    assert!(done.status.success(), "{done:?}");
    assert_eq!(kernel_value(PAGE_CLUSTER), before);
    let trials = place.labelled();
    assert_eq!(trials.len(), 4 * 3);
    for (label, record) in trials {
        let told = match &record.outcome {
            Outcome::Invalid { drift } => drift
                .iter()
                .map(|d| (d.wanted.as_str(), d.found.as_str(), d.during))
                .collect(),
            _ => vec![],
        };
        let expected = match label.as_str() {
            "guest-sysctl:net.core.rps_sock_flow_entries=100" => ("100", "128", false),
            "sysctl:vm.page-cluster=7" => ("7", "8", true),
            _ => {
                assert!(matches!(record.outcome, Outcome::Measured { .. }), "{record:#?}");
                continue;
            }
        };
        assert_eq!(told, [expected], "{label}: {record:#?}");
    }
}
