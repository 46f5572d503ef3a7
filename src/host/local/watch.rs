//! Watching this machine beside a job: the guest's QEMU, the device behind its data disk, its link.
//!
//! Does not know what is read of them, nor what for.

use super::LocalHost;
use crate::host::telemetry::{Sampler, Subject};
use crate::host::{survey, xml};
use crate::lab::ROUTER;
use crate::telemetry::Series;
use std::cell::Cell;

/// Bytes that QEMU's block layer read and wrote on the data disk since it was started; `None` when that was not asked.
type Moved = Option<(u64, u64)>;

/// What watches beside a job.
#[derive(Debug)]
pub(super) struct Watch {
    sampler: Sampler,
    /// When the job's command began, and when it had ended well.
    by_qemu: Cell<(Moved, Moved)>,
}

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
        self.watch = Sampler::start(subject).map(|sampler| Watch {
            sampler,
            by_qemu: Cell::new((None, None)),
        });
    }

    /// The job's command runs now.
    pub(super) fn tell_began(&self) {
        if let Some(watch) = &self.watch {
            watch.sampler.began();
            watch.by_qemu.set((self.moved_by_qemu(), None));
        }
    }

    /// The job has ended well. Only then is QEMU asked: one that hangs would not answer, and nothing limits that.
    pub(super) fn tell_ended(&self) {
        if let Some(watch) = &self.watch {
            let (before, _) = watch.by_qemu.get();
            watch.by_qemu.set((before, self.moved_by_qemu()));
        }
    }

    pub(super) fn end_watching(&mut self) -> Option<Series> {
        let watch = self.watch.take()?;
        let mut series = watch.sampler.end()?;
        series.by_qemu = since(watch.by_qemu.get());
        let companions = self.lab_of().map_or(&[][..], |lab| lab.companions());
        series.is_disk_shared = companions.iter().any(|c| c.name != ROUTER);
        Some(series)
    }

    fn moved_by_qemu(&self) -> Moved {
        self.guest.as_ref()?.domain.block_bytes(&self.disk).ok()
    }
}

/// What was moved between two counts; nothing is known of it when one is missing, or QEMU began anew.
fn since((before, after): (Moved, Moved)) -> Moved {
    let (before, after) = before.zip(after)?;
    Some((after.0.checked_sub(before.0)?, after.1.checked_sub(before.1)?))
}

#[cfg(test)]
mod tests {
    use super::since;

    #[test]
    fn what_was_moved_takes_two_counts_of_one_qemu() {
        assert_eq!(since((Some((10, 1)), Some((30, 5)))), Some((20, 4)));
        assert_eq!(since((Some((10, 1)), None)), None);
        assert_eq!(since((None, Some((30, 5)))), None);
        assert_eq!(since((Some((10, 9)), Some((30, 5)))), None);
    }
}
