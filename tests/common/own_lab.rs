//! A lab for a test that drives the host itself; taken down when the test ends, however it ends.

use super::common;
use kvmtune::experiment::Company;
use kvmtune::host::{Host, LocalHost, Power};
use kvmtune::lab::{LabPlace, LabSize, take_down};
use kvmtune::units::Bytes;
use std::sync::Arc;
use tempfile::TempDir;

/// A guest of two vCPUs that runs.
pub(crate) struct OwnLab {
    pub(crate) host: LocalHost,
    pub(crate) place: LabPlace,
    /// For a journal, and the lab's disk.
    #[allow(dead_code, reason = "not every test keeps a journal there")]
    pub(crate) state: TempDir,
}

impl OwnLab {
    /// `None` where there can be no lab.
    pub(crate) fn open(company: &Company) -> Option<Self> {
        if !common::lab_is_possible() {
            return None;
        }
        let state = tempfile::tempdir().unwrap();
        let place = LabPlace::new(state.path());
        let size = LabSize {
            vcpus: 2,
            memory: Bytes::mib(512),
            disk: Bytes::mib(64),
        };
        let host = LocalHost::lab(&place, size, company, &common::cache(), Arc::default()).unwrap();
        let mut lab = Self { host, place, state };
        lab.host.power(Power::On).unwrap();
        Some(lab)
    }
}

impl Drop for OwnLab {
    fn drop(&mut self) {
        self.host.dismiss_company();
        let off = self.host.power(Power::Off);
        let down = take_down(&self.place);
        if off.is_err() || down.is_err() {
            eprintln!("left behind: {off:?} {down:?}");
        }
    }
}
