//! Whether what a workload says it moved is what the host's disk and link saw.
//!
//! Says what does not agree, in words; does not know what becomes of the trial.

use super::{Counter, Series, Window};
use crate::units::Percent;
use crate::workload::{CrossCheck, Moved, Workload, program};
use std::time::Duration;

/// So many bytes are no disagreement: metadata, a warm-up that began late, a handful of packets.
const SLACK: f64 = 1024.0 * 1024.0;
/// More than so many times of what was asked for is somebody else's, too.
const TOO_MUCH: f64 = 2.0;

/// One direction of what a tool says it moved.
struct Claim<'c> {
    /// `it read`.
    did: &'static str,
    /// `the host's disk loop3 gave`.
    place: String,
    /// Bytes in its measured time.
    said: f64,
    /// Bytes that can be seen of it at the most.
    most: f64,
    time: Duration,
    /// What was seen: in the measured window, and from the command's beginning on.
    seen: (Option<f64>, Option<f64>),
    /// What QEMU's block layer moved from the command's beginning on.
    by_qemu: Option<f64>,
    workload: &'c Workload,
}

/// What of a workload's own numbers the host did not see; empty when all agrees, or nothing can be held against it.
pub fn doubts(
    workload: &Workload,
    moved: Option<Moved>,
    series: &Series,
    window: Option<&Window>,
) -> Vec<String> {
    let CrossCheck::Within(margin) = workload.cross_check else {
        return Vec::new();
    };
    let Some(whole) = series.whole() else {
        return Vec::new();
    };
    let seen = (window, &whole);
    let mut doubts = Vec::new();
    if let (true, Some(disk)) = (workload.needs_scratch(), &series.disk) {
        doubts.extend(disk_doubts(workload, moved, series, disk, seen, margin));
    }
    let uses_link = workload.needs_network() || workload.needs_neighbour();
    if let (true, Some(link)) = (uses_link, &series.link) {
        doubts.extend(link_doubts(workload, moved, link, seen, margin));
    }
    doubts
}

fn disk_doubts(
    workload: &Workload,
    moved: Option<Moved>,
    series: &Series,
    disk: &str,
    (window, whole): (Option<&Window>, &Window),
    margin: Percent,
) -> Vec<String> {
    let seen = |counter| (window.and_then(|w| w.count(counter)), whole.count(counter));
    let Some(Moved::Disk { read, written, time }) = moved else {
        // What the device did for all guests says nothing of one.
        let (place, nothing) = if series.is_disk_shared {
            ("its QEMU".into(), series.by_qemu == Some((0, 0)))
        } else {
            let all = seen(Counter::DiskRead).1.zip(seen(Counter::DiskWritten).1);
            (format!("the host's disk {disk}"), all == Some((0.0, 0.0)))
        };
        let text = format!(
            "{}: it uses the data disk, and {place} moved nothing: it never reached it",
            workload.name
        );
        return nothing.then_some(text).into_iter().collect();
    };
    let claim = |did, verb: &str, said, counter, by_qemu: Option<u64>| {
        let by_qemu = by_qemu.map(|bytes| bytes as f64);
        // What its own QEMU did says something of its cache.
        let (place, seen, by_qemu) = if series.is_disk_shared {
            (format!("its QEMU {verb}"), (None, by_qemu), Some(0.0))
        } else {
            (format!("the host's disk {disk} {verb}"), seen(counter), by_qemu)
        };
        Claim {
            did,
            place,
            said,
            most: said,
            time,
            seen,
            by_qemu,
            workload,
        }
    };
    let claims = [
        claim(
            "read",
            "gave",
            read,
            Counter::DiskRead,
            series.by_qemu.map(|q| q.0),
        ),
        claim(
            "wrote",
            "took",
            written,
            Counter::DiskWritten,
            series.by_qemu.map(|q| q.1),
        ),
    ];
    claims.iter().filter_map(|claim| claim.doubt(margin)).collect()
}

fn link_doubts(
    workload: &Workload,
    moved: Option<Moved>,
    link: &str,
    (window, whole): (Option<&Window>, &Window),
    margin: Percent,
) -> Vec<String> {
    // Which way it went does not matter: the other one carries acknowledgements.
    let larger = |window: &Window| {
        let (from, to) = (window.count(Counter::FromGuest)?, window.count(Counter::ToGuest)?);
        Some(from.max(to))
    };
    let seen = (window.and_then(larger), larger(whole));
    let Some(Moved::Network { bytes, most, time }) = moved else {
        let text = format!(
            "{}: it uses the network, and the guest's link {link} carried nothing: its traffic took another way",
            workload.name
        );
        return (seen.1 == Some(0.0)).then_some(text).into_iter().collect();
    };
    let claim = Claim {
        did: "moved",
        place: format!("the guest's link {link} carried"),
        said: bytes,
        most,
        time,
        seen,
        by_qemu: None,
        workload,
    };
    claim.doubt(margin).into_iter().collect()
}

impl Claim<'_> {
    fn doubt(&self, margin: Percent) -> Option<String> {
        let least = self.said * (1.0 - margin.fraction());
        let reached = self.reached()?;
        // Of little that was moved, only that nothing arrived says something.
        let nothing = self.said > 0.0 && self.seen.1 == Some(0.0);
        if nothing || reached < least && self.said - reached > SLACK {
            let why = self.why(least);
            return Some(self.words(reached, &why));
        }
        let seen = self.seen.0?;
        let much = seen > self.most * TOO_MUCH && seen - self.most > SLACK && self.said > 0.0;
        much.then(|| {
            self.words(
                seen,
                "something else used it too, or what is between them multiplies the work",
            )
        })
    }

    /// The most that can have arrived of it: in its own time, or its share of all that the host saw from the command's
    /// beginning to the last moment, in which is also what was written back after the end.
    fn reached(&self) -> Option<f64> {
        let (time, warmup) = (self.time.as_secs_f64(), self.workload.warmup.0.as_secs_f64());
        let all = self.seen.1? * time / (time + warmup);
        Some(self.seen.0.unwrap_or(0.0).max(all))
    }

    /// Where what did not arrive was served.
    fn why(&self, least: f64) -> String {
        match (self.did, self.by_qemu) {
            ("moved", _) => "its traffic took another way".into(),
            ("read", Some(bytes)) if bytes >= least => "the host's page cache served it".into(),
            ("read", Some(_)) => "the guest's page cache served it".into(),
            ("read", None) => "the host's page cache or the guest's served it".into(),
            (_, Some(bytes)) if bytes >= least => "the host's page cache holds it".into(),
            (_, Some(_)) => "the guest's page cache holds it".into(),
            (_, None) => "the host's page cache or the guest's holds it".into(),
        }
    }

    fn words(&self, seen: f64, why: &str) -> String {
        let tool = program(&self.workload.argv);
        let tool = tool.rsplit('/').next().unwrap_or(tool);
        format!(
            "{}: {tool} says it {} {}, and in that time {} {}: {why}",
            self.workload.name,
            self.did,
            bytes(self.said),
            self.place,
            bytes(seen),
        )
    }
}

/// `1.2 GiB`.
fn bytes(count: f64) -> String {
    const UNITS: [(&str, f64); 3] = [
        ("GiB", 1024.0 * 1024.0 * 1024.0),
        ("MiB", 1024.0 * 1024.0),
        ("KiB", 1024.0),
    ];
    let unit = UNITS.iter().find(|(_, size)| count >= *size);
    unit.map_or_else(
        || format!("{count:.0} bytes"),
        |(name, size)| format!("{:.1} {name}", count / size),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::host::JobOutput;
    use crate::telemetry::Reading;
    use crate::workload::Library;

    fn said_of(workload: &Workload, moved: Option<Moved>, series: &Series) -> Vec<String> {
        let window = series.measured(workload, Duration::from_secs(6));
        doubts(workload, moved, series, window.as_ref())
    }

    const MIB: u64 = 1 << 20;

    fn workload(name: &str) -> Workload {
        Library::builtin().get(name).unwrap().clone()
    }

    /// A job of 1 s of warm-up, 5 s and a second of idling, with so many MiB at each second.
    fn series(counter: Counter, mib: [u64; 8]) -> Series {
        let mut series = Series {
            began: Some(Duration::ZERO),
            disk: Some("loop3".into()),
            link: Some("vnet0".into()),
            ..Series::default()
        };
        for (second, mib) in (0..).zip(mib) {
            let mut reading = Reading::empty(Duration::from_secs(second));
            for known in [
                Counter::DiskRead,
                Counter::DiskWritten,
                Counter::FromGuest,
                Counter::ToGuest,
            ] {
                reading.set(known, Some(0));
            }
            reading.set(counter, Some(mib * MIB));
            series.push(reading);
        }
        series
    }

    fn read(mib: u64) -> Moved {
        Moved::Disk {
            read: (mib * MIB) as f64,
            written: 0.0,
            time: Duration::from_secs(5),
        }
    }

    const DIRECT: [u64; 8] = [0, 20, 40, 60, 80, 100, 120, 120];

    #[test]
    fn a_read_that_reached_the_disk_is_believed() {
        let fio = workload("fio-randread-4k");
        assert_eq!(
            said_of(&fio, Some(read(100)), &series(Counter::DiskRead, DIRECT)),
            [""; 0]
        );
        // Within the margin.
        assert_eq!(
            said_of(&fio, Some(read(120)), &series(Counter::DiskRead, DIRECT)),
            [""; 0]
        );
        // Nothing was said, and something moved.
        assert_eq!(said_of(&fio, None, &series(Counter::DiskRead, DIRECT)), [""; 0]);
    }

    #[test]
    fn a_read_from_a_cache_is_doubted_in_words() {
        let fio = workload("fio-randread-4k");
        let mut cached = series(Counter::DiskRead, [0, 3, 3, 3, 3, 3, 3, 3]);
        let said = said_of(&fio, Some(read(1229)), &cached);
        assert_eq!(
            said,
            [
                "fio-randread-4k: fio says it read 1.2 GiB, and in that time the host's disk loop3 gave 2.5 MiB: the host's \
                 page cache or the guest's served it"
            ]
        );
        cached.by_qemu = Some((1400 * MIB, 0));
        assert!(said_of(&fio, Some(read(1229)), &cached)[0].ends_with("the host's page cache served it"));
        cached.by_qemu = Some((3 * MIB, 0));
        assert!(said_of(&fio, Some(read(1229)), &cached)[0].ends_with("the guest's page cache served it"));
        cached.is_disk_shared = true;
        assert!(
            said_of(&fio, Some(read(1229)), &cached)[0]
                .ends_with("its QEMU gave 2.5 MiB: the guest's page cache served it")
        );
        let off = Workload {
            cross_check: CrossCheck::Off,
            ..fio
        };
        assert_eq!(said_of(&off, Some(read(1229)), &cached), [""; 0]);
    }

    #[test]
    fn the_tool_of_a_job_file_is_named() {
        let fio = workload("fio-randread-4k-qd1");
        let said = said_of(&fio, Some(read(100)), &series(Counter::DiskRead, [0; 8]));
        assert!(
            said[0].starts_with("fio-randread-4k-qd1: fio says it read "),
            "{said:?}"
        );
    }

    #[test]
    fn of_a_shared_disk_what_others_do_is_not_held_against_a_guest() {
        let fio = workload("fio-randread-4k");
        let mut shared = series(Counter::DiskRead, [0, 900, 1800, 2700, 3600, 4500, 5400, 5400]);
        assert!(said_of(&fio, Some(read(100)), &shared)[0].contains("something else"));
        shared.is_disk_shared = true;
        shared.by_qemu = Some((120 * MIB, 0));
        assert_eq!(said_of(&fio, Some(read(100)), &shared), [""; 0]);
        shared.by_qemu = None;
        assert_eq!(said_of(&fio, Some(read(100)), &shared), [""; 0]);
    }

    #[test]
    fn what_is_written_back_at_the_end_has_arrived() {
        let fio = workload("fio-randwrite-4k");
        let late = series(Counter::DiskWritten, [0, 0, 0, 0, 0, 0, 0, 120]);
        let written = Some(Moved::Disk {
            read: 0.0,
            written: (100 * MIB) as f64,
            time: Duration::from_secs(5),
        });
        assert_eq!(said_of(&fio, written, &late), [""; 0]);
        let never = series(Counter::DiskRead, [0; 8]);
        assert!(said_of(&fio, written, &never)[0].contains("took 0 bytes"));
    }

    #[test]
    fn what_an_earlier_trial_left_to_be_written_is_not_its_own() {
        let fio = workload("fio-randwrite-4k");
        let mut late = series(Counter::DiskWritten, [0, 120, 120, 120, 120, 120, 120, 120]);
        late.began = Some(Duration::from_secs(1));
        let written = Some(Moved::Disk {
            read: 0.0,
            written: (100 * MIB) as f64,
            time: Duration::from_secs(5),
        });
        let said = said_of(&fio, written, &late);
        assert!(said[0].contains("took 0 bytes"), "{said:?}");
        let said = said_of(&fio, None, &late);
        assert!(said[0].contains("never reached it"), "{said:?}");
    }

    #[test]
    fn more_than_was_asked_for_is_somebody_elses() {
        let fio = workload("fio-randread-4k");
        let said = said_of(&fio, Some(read(40)), &series(Counter::DiskRead, DIRECT));
        assert!(said[0].contains("something else"), "{said:?}");
        assert_eq!(
            said_of(&fio, Some(read(60)), &series(Counter::DiskRead, DIRECT)),
            [""; 0]
        );
    }

    #[test]
    fn a_workload_that_says_nothing_must_reach_the_disk() {
        let fio = workload("fio-randread-4k");
        let said = said_of(&fio, None, &series(Counter::DiskRead, [0; 8]));
        assert!(said[0].contains("never reached"), "{said:?}");
        let memory = workload("stress-ng-memory");
        assert_eq!(
            said_of(&memory, None, &series(Counter::DiskRead, [0; 8])),
            [""; 0]
        );
    }

    #[test]
    fn of_a_shared_disk_qemu_tells_whether_it_was_reached() {
        let fio = workload("fio-randread-4k");
        let mut shared = series(Counter::DiskRead, DIRECT);
        shared.is_disk_shared = true;
        assert_eq!(said_of(&fio, None, &shared), [""; 0], "nothing is known");
        shared.by_qemu = Some((0, 0));
        assert_eq!(
            said_of(&fio, None, &shared),
            ["fio-randread-4k: it uses the data disk, and its QEMU moved nothing: it never reached it"]
        );
        let mut cached = series(Counter::DiskRead, [0; 8]);
        cached.is_disk_shared = true;
        cached.by_qemu = Some((4096, 0));
        assert_eq!(
            said_of(&fio, None, &cached),
            [""; 0],
            "the host's page cache is not seen"
        );
    }

    #[test]
    fn traffic_is_held_against_the_link() {
        let iperf3 = workload("iperf3-host-to-guest");
        let moved = |mib: u64| {
            Some(Moved::Network {
                bytes: (mib * MIB) as f64,
                most: (mib * MIB) as f64,
                time: Duration::from_secs(5),
            })
        };
        // Headers: six in a hundred more on the wire.
        assert_eq!(
            said_of(&iperf3, moved(94), &series(Counter::ToGuest, DIRECT)),
            [""; 0]
        );
        assert_eq!(
            said_of(&iperf3, moved(94), &series(Counter::FromGuest, DIRECT)),
            [""; 0]
        );
        let said = said_of(&iperf3, moved(94), &series(Counter::DiskRead, [0; 8]));
        assert!(
            said[0].contains("link vnet0 carried 0 bytes: its traffic took another way"),
            "{said:?}"
        );
    }

    #[test]
    fn traffic_between_guests_is_held_against_the_link_too() {
        let iperf3 = workload("iperf3-guest-to-guest");
        let said = said_of(&iperf3, None, &series(Counter::DiskRead, [0; 8]));
        assert!(
            said[0].contains("link vnet0 carried nothing: its traffic took another way"),
            "{said:?}"
        );
        assert_eq!(
            said_of(&iperf3, None, &series(Counter::FromGuest, DIRECT)),
            [""; 0]
        );
    }

    #[test]
    fn what_was_sent_and_lost_on_the_way_is_no_one_elses() {
        let iperf3 = workload("iperf3-udp-guest-to-host");
        let output = JobOutput {
            stdout: include_bytes!("../../tests/data/iperf3-udp-lossy.json").to_vec(),
            ..JobOutput::default()
        };
        let moved = iperf3.moved(&output);
        // All that was sent: 1060 MiB, of which 299 arrived.
        let all = [0, 212, 424, 636, 848, 1060, 1060, 1060];
        assert_eq!(said_of(&iperf3, moved, &series(Counter::FromGuest, all)), [""; 0]);
        let too_much = said_of(
            &iperf3,
            moved,
            &series(Counter::FromGuest, all.map(|mib| 3 * mib)),
        );
        assert!(too_much[0].contains("something else"), "{too_much:?}");
        let too_little = said_of(
            &iperf3,
            moved,
            &series(Counter::FromGuest, all.map(|mib| mib / 8)),
        );
        assert!(too_little[0].contains("another way"), "{too_little:?}");
    }

    #[test]
    fn nothing_is_doubted_without_counters() {
        let fio = workload("fio-randread-4k");
        assert_eq!(said_of(&fio, Some(read(100)), &Series::default()), [""; 0]);
        let unknown = Series {
            disk: None,
            ..series(Counter::DiskRead, [0; 8])
        };
        assert_eq!(said_of(&fio, Some(read(100)), &unknown), [""; 0]);
    }
}
