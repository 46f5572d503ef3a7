//! Watching this machine beside a job: the guest's QEMU, the device behind its data disk, its link.
//!
//! Does not know what is read of them, nor what for.

use super::LocalHost;
use crate::host::telemetry::{Sampler, Subject};
use crate::host::{survey, xml};
use crate::lab::ROUTER;
use crate::telemetry::Series;

impl LocalHost {
    pub(super) fn begin_to_watch(&mut self) {
        let live = self.guest.as_ref().and_then(|g| g.domain.xml_live().ok());
        let live = live.as_deref();
        let disk = live.and_then(|live| xml::disk(live, Some(&self.disk)).ok()?.source);
        let subject = Subject {
            pid: self.guest.as_ref().and_then(|g| g.pid),
            disk: disk.as_deref().and_then(survey::host_device),
            link: live.and_then(|live| xml::link(live)?.device),
        };
        let before = self.moved_by_qemu();
        self.sampler = Sampler::start(subject).map(|sampler| (sampler, before));
    }

    /// The job's command runs now.
    pub(super) fn tell_began(&self) {
        if let Some((sampler, _)) = &self.sampler {
            sampler.began();
        }
    }

    pub(super) fn end_watching(&mut self) -> Option<Series> {
        let (sampler, before) = self.sampler.take()?;
        let mut series = sampler.end()?;
        series.by_qemu = before.zip(self.moved_by_qemu()).and_then(|(before, after)| {
            Some((after.0.checked_sub(before.0)?, after.1.checked_sub(before.1)?))
        });
        let companions = self.lab_of().map_or(&[][..], |lab| lab.companions());
        series.is_disk_shared = companions.iter().any(|c| c.name != ROUTER);
        Some(series)
    }

    fn moved_by_qemu(&self) -> Option<(u64, u64)> {
        self.guest.as_ref()?.domain.block_bytes(&self.disk).ok()
    }
}
