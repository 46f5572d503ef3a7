//! What tools write, as bytes: whatever they are, every built-in workload answers with numbers that a measurement can
//! give, or with one line that is tame for a terminal.
//!
//! The first line names the workload, the rest is its output; one that names none is output of the workload that the
//! first byte chooses.
#![no_main]

use kvmtune::host::JobOutput;
use kvmtune::workload::{Library, Moved, Workload};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

static LIBRARY: LazyLock<Library> = LazyLock::new(Library::builtin);

fn chosen(data: &[u8]) -> Option<(&'static Workload, &[u8])> {
    let line = data.iter().position(|byte| *byte == b'\n');
    let named = line.and_then(|end| {
        let name = std::str::from_utf8(&data[..end]).ok()?;
        Some((LIBRARY.get(name)?, &data[end + 1..]))
    });
    named.or_else(|| {
        let (which, output) = data.split_first()?;
        let at = usize::from(*which) % LIBRARY.iter().count();
        Some((LIBRARY.iter().nth(at)?, output))
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((workload, output)) = chosen(data) else {
        return;
    };
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
    let is_count = |bytes: f64| bytes.is_finite() && bytes >= 0.0;
    match workload.moved(&left) {
        Some(Moved::Disk { read, written, time }) => {
            assert!(is_count(read) && is_count(written) && !time.is_zero());
        }
        Some(Moved::Network { bytes, most, time }) => {
            assert!(is_count(bytes) && is_count(most) && !time.is_zero());
        }
        None => {}
    }
});
