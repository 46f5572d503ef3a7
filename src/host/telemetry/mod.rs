//! Watching the host beside a job: a thread of its own that only reads, about once a second.
//!
//! Knows the files; what they come to is `telemetry`'s. Does not know what the job is for.

mod reader;

use crate::telemetry::Series;
use reader::Reader;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Between two readings.
const PERIOD: Duration = Duration::from_secs(1);

/// What is watched; what is `None` is not there.
#[derive(Debug, Clone, Default)]
pub(super) struct Subject {
    /// The guest's QEMU.
    pub(super) pid: Option<u32>,
    /// The device behind the data disk: `loop3`.
    pub(super) disk: Option<String>,
    /// The host's end of the guest's link.
    pub(super) link: Option<String>,
}

/// What the thread is told.
enum Tell {
    /// The job's command runs from now on.
    Began,
    /// It is over.
    End,
}

/// A thread that reads counters until it is ended.
#[derive(Debug)]
pub(super) struct Sampler {
    thread: JoinHandle<Series>,
    tell: Sender<Tell>,
}

impl Sampler {
    /// Begins to read. `None` when there can be no thread.
    pub(super) fn start(subject: Subject) -> Option<Self> {
        let (tell, told) = channel();
        let thread = thread::Builder::new()
            .name("telemetry".into())
            .spawn(move || watch(subject, &told))
            .ok()?;
        Some(Self { thread, tell })
    }

    /// Tells that the command of the job runs from now on: it is read at once, and each second after that.
    pub(super) fn began(&self) {
        // A thread that is gone is noticed at the end.
        let _ = self.tell.send(Tell::Began);
    }

    /// Reads a last time.
    pub(super) fn end(self) -> Option<Series> {
        let _ = self.tell.send(Tell::End);
        self.thread.join().ok()
    }
}

fn watch(subject: Subject, told: &Receiver<Tell>) -> Series {
    let started = Instant::now();
    let mut series = Series {
        disk: subject.disk.clone(),
        link: subject.link.clone(),
        ..Series::default()
    };
    let mut reader = Reader::new(subject);
    let mut period = PERIOD;
    let mut next = started;
    loop {
        if series.push(reader.read(started.elapsed())) {
            period *= 2;
        }
        next = (next + period).max(Instant::now());
        match told.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Tell::Began) => {
                next = Instant::now();
                series.began.get_or_insert(started.elapsed());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Ok(Tell::End) | Err(RecvTimeoutError::Disconnected) => {
                series.push(reader.read(started.elapsed()));
                return series;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::telemetry::{Counter, HostMetric};
    use std::hint::black_box;

    /// Spins in a thread called like one of QEMU's.
    fn busy(name: &str, time: Duration) -> JoinHandle<()> {
        let spin = move || {
            let until = Instant::now() + time;
            while Instant::now() < until {
                black_box(0);
            }
        };
        thread::Builder::new().name(name.into()).spawn(spin).unwrap()
    }

    #[test]
    fn a_process_is_watched_from_its_job_on() {
        let subject = Subject {
            pid: Some(std::process::id()),
            disk: None,
            link: Some("lo".into()),
        };
        let sampler = Sampler::start(subject).unwrap();
        thread::sleep(Duration::from_millis(50));
        sampler.began();
        busy("CPU 0/KVM", Duration::from_millis(1500)).join().unwrap();
        let series = sampler.end().unwrap();
        let window = series.window(Duration::ZERO, Duration::from_mins(1)).unwrap();
        let rate = |name: &str| window.rate(HostMetric::named(name).unwrap());
        assert!(window.seconds > 1.4 && series.readings.len() >= 4, "{series:?}");
        let (vcpu, all) = (rate("vcpu_cpu").unwrap(), rate("cpu").unwrap());
        assert!(vcpu > 0.0, "a vCPU thread that spins takes time");
        assert!(all > vcpu * 0.9, "{all} in all, {vcpu} of it by vCPUs");
        assert!(rate("link_to_guest_bytes").is_some() && rate("machine_cpu").unwrap() > 0.0);
        assert_eq!(window.count(Counter::DiskRead), None);
        assert!(series.csv().starts_with(b"seconds,cpu,vcpu_cpu,"));
    }

    #[test]
    fn a_process_that_is_gone_is_not_told() {
        let gone = Subject {
            pid: Some(u32::MAX),
            ..Subject::default()
        };
        let sampler = Sampler::start(gone).unwrap();
        sampler.began();
        let series = sampler.end().unwrap();
        let last = series.readings.last().unwrap();
        assert_eq!(last.get(Counter::Cpu), None);
        assert!(last.get(Counter::MachineCpu).is_some());
    }

    /// The target is 1 % of a CPU; the figure is printed, and ten times as much fails.
    #[test]
    fn watching_costs_little() {
        let subject = Subject {
            pid: Some(std::process::id()),
            disk: crate::host::survey::host_device("/"),
            link: Some("lo".into()),
        };
        let workers: Vec<_> = (0..20)
            .map(|_| thread::spawn(|| thread::sleep(Duration::from_secs(3))))
            .collect();
        let sampler = Sampler::start(subject).unwrap();
        sampler.began();
        for worker in workers {
            worker.join().unwrap();
        }
        let series = sampler.end().unwrap();
        let cost = series.whole().unwrap();
        let share = cost.rate(HostMetric::named("telemetry_cpu").unwrap()).unwrap();
        println!(
            "telemetry takes {:.3} % of a CPU beside 20 threads; the target is 1 %",
            100.0 * share
        );
        assert!(share < 0.1, "{share}");
    }
}
