//! What tools write, as bytes: whatever they are, every built-in workload answers with numbers that a measurement can
//! give, or with one line that is tame for a terminal.
//!
//! The first byte chooses the workload, the rest is its output.
#![no_main]

use kvmtune::host::JobOutput;
use kvmtune::workload::Library;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::builtin);

fuzz_target!(|data: &[u8]| {
    let Some((which, output)) = data.split_first() else {
        return;
    };
    let workloads: Vec<_> = LIBRARY.iter().collect();
    let workload = workloads[usize::from(*which) % workloads.len()];
    let left = JobOutput {
        stdout: output.to_vec(),
        result: Some(output.to_vec()),
        series: Some(Ok(output.to_vec())),
        ..JobOutput::default()
    };
    match workload.observations(&left) {
        Ok(found) => {
            for one in found {
                assert!(one.value.is_finite() && one.value >= 0.0, "{one:?}");
            }
        }
        Err(error) => {
            let said = error.to_string();
            assert!(!said.contains(char::is_control) && said.len() < 600, "{said:?}");
        }
    }
    if let Ok(Some(samples)) = workload.samples(&left) {
        assert!(samples.iter().all(|rate| rate.is_finite() && *rate >= 0.0));
    }
});
