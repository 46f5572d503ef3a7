//! From readings of counters to what a second of a measured window came to.

use super::{COUNTERS, Counter, HOST, HostMetric, TABLE};
use crate::workload::{Observation, Workload};
use std::fmt::Write as _;
use std::time::Duration;

/// More readings than this are thinned out: two hours of seconds.
const MOST: usize = 7200;

/// All counters at one time; `None` where the host does not tell one.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Time since the watching began.
    pub at: Duration,
    /// By [`TABLE`].
    pub counters: [Option<u64>; COUNTERS],
}

impl Reading {
    /// A reading of nothing.
    pub fn empty(at: Duration) -> Self {
        Self {
            at,
            counters: [None; COUNTERS],
        }
    }

    /// One counter.
    pub fn get(&self, counter: Counter) -> Option<u64> {
        self.counters[counter as usize]
    }

    /// Sets one counter.
    pub fn set(&mut self, counter: Counter, value: Option<u64>) {
        self.counters[counter as usize] = value;
    }
}

/// What was seen beside one job.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series {
    /// Readings in the order of time, about a second apart.
    pub readings: Vec<Reading>,
    /// When the job's command began, as far as it came to that.
    pub began: Option<Duration>,
    /// The device behind the data disk.
    pub disk: Option<String>,
    /// Whether guests beside the one that is measured use that device too: its counters are of all of them.
    pub is_disk_shared: bool,
    /// The host's end of the guest's link.
    pub link: Option<String>,
    /// Bytes that QEMU's block layer read and wrote on the data disk since then.
    pub by_qemu: Option<(u64, u64)>,
}

impl Series {
    /// Keeps a reading. When there are too many every other one goes: then true, and the next ones should be twice as far
    /// apart.
    pub fn push(&mut self, reading: Reading) -> bool {
        self.readings.push(reading);
        if self.readings.len() < MOST {
            return false;
        }
        let mut place = 0;
        self.readings.retain(|_| {
            place += 1;
            place % 2 == 1
        });
        true
    }

    /// What happened from `skipped` after the command began, for so long; the readings before it are discarded. `None`
    /// where no time of it was seen.
    pub fn window(&self, skipped: Duration, length: Duration) -> Option<Window> {
        let from = self.began?.saturating_add(skipped);
        self.between(from, from.saturating_add(length))
    }

    /// What happened while a workload was measured: the last `time` before its command ended, `wall` after it began, and
    /// nothing of its warm-up. What a tool does before it begins (starting, laying out a file) can take longer than what
    /// it does after its end. Of one with a fixed amount of work, all of its time but the warm-up.
    pub fn measured(&self, workload: &Workload, wall: Duration) -> Option<Window> {
        let (warmup, mut time) = (workload.warmup.0, workload.time.0);
        if !workload.runs_for_its_time() && wall > warmup {
            time = wall.saturating_sub(warmup);
        }
        let from = wall.saturating_sub(time).max(warmup);
        let length = wall.saturating_sub(from);
        self.window(from, if length.is_zero() { time } else { length })
    }

    /// What happened from the beginning of the command on; not what made the guest ready for it.
    pub fn whole(&self) -> Option<Window> {
        self.window(Duration::ZERO, Duration::MAX)
    }

    fn between(&self, from: Duration, to: Duration) -> Option<Window> {
        let (first, last) = (self.readings.first()?, self.readings.last()?);
        let (from, to) = (from.max(first.at), to.min(last.at));
        let seconds = to.checked_sub(from)?.as_secs_f64();
        if seconds <= 0.0 {
            return None;
        }
        let mut counts = [None; COUNTERS];
        for (place, count) in counts.iter_mut().enumerate() {
            let (start, end) = (self.at(from, place), self.at(to, place));
            *count = start
                .zip(end)
                .map(|(start, end)| end - start)
                .filter(|count| *count >= 0.0);
        }
        Some(Window { seconds, counts })
    }

    /// A counter at a time between two readings, by a straight line.
    fn at(&self, at: Duration, counter: usize) -> Option<f64> {
        let after = self.readings.partition_point(|r| r.at < at);
        let after = self.readings.get(after).or(self.readings.last())?;
        let before = self.readings.partition_point(|r| r.at <= at).checked_sub(1);
        let before = before.and_then(|place| self.readings.get(place)).unwrap_or(after);
        let (low, high) = (before.counters[counter]?, after.counters[counter]?);
        // What falls began anew: nothing is known of the time between.
        let rise = high.checked_sub(low)? as f64;
        let width = after.at.saturating_sub(before.at).as_secs_f64();
        let share = if width > 0.0 {
            at.saturating_sub(before.at).as_secs_f64() / width
        } else {
            0.0
        };
        Some(low as f64 + share * rise)
    }

    /// A table of what each second came to, as CSV: seconds since the command began, then every metric that was told.
    pub fn csv(&self) -> Vec<u8> {
        let told: Vec<_> = TABLE.iter().filter(|m| self.tells(m)).collect();
        let mut out = String::from("seconds");
        for metric in &told {
            let _ = write!(out, ",{}", metric.name);
        }
        out.push('\n');
        let zero = self.began.unwrap_or_default().as_secs_f64();
        for pair in self.readings.windows(2) {
            let Some(window) = self.between(pair[0].at, pair[1].at) else {
                continue;
            };
            let _ = write!(out, "{:.3}", pair[1].at.as_secs_f64() - zero);
            for metric in &told {
                match window.rate(metric) {
                    Some(rate) => {
                        let _ = write!(out, ",{}", rounded(rate));
                    }
                    None => out.push(','),
                }
            }
            out.push('\n');
        }
        out.into_bytes()
    }

    fn tells(&self, metric: &HostMetric) -> bool {
        self.readings.iter().any(|r| r.get(metric.counter).is_some())
    }
}

/// Four digits are enough of a second.
fn rounded(value: f64) -> String {
    let text = format!("{value:.4}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_string()
}

/// How far the counters went in some time.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The time.
    pub seconds: f64,
    counts: [Option<f64>; COUNTERS],
}

impl Window {
    /// How far one counter went.
    pub fn count(&self, counter: Counter) -> Option<f64> {
        self.counts[counter as usize]
    }

    /// A metric: what one second of it came to.
    pub fn rate(&self, metric: &HostMetric) -> Option<f64> {
        Some(self.count(metric.counter)? * metric.scale / self.seconds)
    }

    /// Both times together; what one of them does not tell is not told.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.seconds += other.seconds;
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own = own.zip(other).map(|(own, other)| own + other);
        }
        self
    }

    /// Every metric that is told.
    pub fn observations(&self) -> Vec<Observation> {
        let observation = |metric: &HostMetric| {
            Some(Observation {
                workload: HOST.into(),
                metric: metric.name.into(),
                value: self.rate(metric)?,
            })
        };
        TABLE.iter().filter_map(observation).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::units::Span;
    use crate::workload::Library;
    use proptest::prelude::*;

    /// One counter, with its value at each second.
    fn series(counter: Counter, values: &[u64], began: u64) -> Series {
        let mut series = Series {
            began: Some(Duration::from_secs(began)),
            ..Series::default()
        };
        for (second, value) in (0..).zip(values) {
            let mut reading = Reading::empty(Duration::from_secs(second));
            reading.set(counter, Some(*value));
            series.push(reading);
        }
        series
    }

    /// A built-in workload with other times, in seconds.
    fn timed(name: &str, warmup: u64, time: u64) -> Workload {
        Workload {
            warmup: Span::secs(warmup),
            time: Span::secs(time),
            ..Library::builtin().get(name).unwrap().clone()
        }
    }

    #[test]
    fn every_counter_stands_at_its_place() {
        for (place, metric) in TABLE.iter().enumerate() {
            assert_eq!(metric.counter as usize, place, "{}", metric.name);
            assert!(HostMetric::named(metric.name).is_some() && metric.unit.len() <= 16);
        }
    }

    #[test]
    fn the_warm_up_is_cut_off() {
        // Nothing, then a second of warm-up with 3 CPUs, then 2 s with half a CPU, then nothing.
        let ns = [0, 0, 3_000_000_000, 3_500_000_000, 4_000_000_000, 4_000_000_000];
        let series = series(Counter::Cpu, &ns, 1);
        let window = series
            .window(Duration::from_secs(1), Duration::from_secs(2))
            .unwrap();
        let cpu = HostMetric::named("cpu").unwrap();
        assert!((window.rate(cpu).unwrap() - 0.5).abs() < 1e-9);
        let all = series.whole().unwrap();
        assert!((all.rate(cpu).unwrap() - 1.0).abs() < 1e-9);
        assert_eq!(window.observations().len(), 1, "only what is told");
    }

    #[test]
    fn what_a_tool_does_before_it_begins_is_not_measured() {
        // Three seconds of laying out a file, one of warm-up, two that are measured.
        let series = series(Counter::DiskRead, &[0, 0, 0, 0, 100, 300, 500, 500], 0);
        let seconds = Duration::from_secs;
        let measured = |warmup, time, wall| {
            let fio = timed("fio-randread-4k", warmup, time);
            series.measured(&fio, seconds(wall)).unwrap()
        };
        let window = measured(1, 2, 6);
        assert_eq!(window.count(Counter::DiskRead), Some(400.0));
        assert!((window.seconds - 2.0).abs() < 1e-9);
        // One that ended early, and one that tells no time.
        let early = measured(1, 20, 6);
        assert!((early.seconds - 5.0).abs() < 1e-9);
        let untold = measured(4, 2, 0);
        assert_eq!(untold.count(Counter::DiskRead), Some(400.0));
    }

    #[test]
    fn a_fixed_amount_of_work_is_measured_all_the_time() {
        let series = series(Counter::Cpu, &[0, 0, 1, 2, 3, 4, 5, 5], 1);
        let count = |workload: &Workload, wall| {
            let window = series.measured(workload, Duration::from_secs(wall)).unwrap();
            window.count(Counter::Cpu)
        };
        // Expected to take 2 s, and took 5.
        assert_eq!(count(&timed("hackbench", 0, 2), 5), Some(5.0));
        assert_eq!(count(&timed("hackbench", 1, 2), 5), Some(4.0));
        assert_eq!(count(&timed("hackbench", 0, 2), 0), Some(2.0), "no time was told");
        assert_eq!(count(&timed("stress-ng-memory", 0, 2), 5), Some(2.0));
    }

    #[test]
    fn a_counter_that_falls_is_not_told() {
        let series = series(Counter::DiskRead, &[500, 600, 10, 20], 0);
        assert_eq!(series.whole().unwrap().count(Counter::DiskRead), None);
        let later = series
            .window(Duration::from_secs(2), Duration::from_secs(1))
            .unwrap();
        assert_eq!(later.count(Counter::DiskRead), Some(10.0));
    }

    #[test]
    fn what_was_not_seen_has_no_window() {
        let long = Duration::from_secs(9);
        assert_eq!(Series::default().whole(), None);
        assert_eq!(series(Counter::Cpu, &[1], 0).whole(), None);
        let seen = series(Counter::Cpu, &[1, 2], 0);
        assert_eq!(seen.window(long, long), None);
        let never_began = Series { began: None, ..seen };
        assert_eq!(never_began.window(Duration::ZERO, long), None);
    }

    #[test]
    fn two_workloads_are_taken_together() {
        let one = series(Counter::DiskRead, &[0, 10], 0).whole().unwrap();
        let other = series(Counter::DiskRead, &[0, 10, 50], 0).whole().unwrap();
        let both = one.clone().and(&other);
        let rate = both.rate(HostMetric::named("disk_read_bytes").unwrap());
        assert!((rate.unwrap() - 20.0).abs() < 1e-9);
        let blind = series(Counter::Cpu, &[0, 10], 0).whole().unwrap();
        assert_eq!(one.and(&blind).observations(), []);
    }

    #[test]
    fn a_long_job_keeps_few_readings() {
        let mut series = Series::default();
        let mut step = 1;
        let mut at = 0;
        for _ in 0..40_000 {
            at += step;
            if series.push(Reading::empty(Duration::from_secs(at))) {
                step *= 2;
            }
        }
        assert!(series.readings.len() < MOST);
        assert!(series.readings.is_sorted_by_key(|r| r.at));
    }

    #[test]
    fn the_table_is_of_seconds() {
        let series = series(Counter::DiskReads, &[0, 5, 7], 1);
        let text = String::from_utf8(series.csv()).unwrap();
        assert_eq!(text, "seconds,disk_reads\n0.000,5\n1.000,2\n");
    }

    proptest! {
        #[test]
        fn windows_that_meet_add_up(steps in prop::collection::vec(0u64..1_000_000, 3..30), cut in 0.0f64..1.0) {
            let values: Vec<u64> = steps.iter().scan(0, |sum, step| { *sum += step; Some(*sum) }).collect();
            let series = series(Counter::FromGuest, &values, 0);
            let end = Duration::from_secs(values.len() as u64 - 1);
            let middle = end.mul_f64(cut);
            let count = |from, length| {
                series.window(from, length).map_or(0.0, |w| w.count(Counter::FromGuest).unwrap())
            };
            let parts = count(Duration::ZERO, middle) + count(middle, end.saturating_sub(middle));
            let whole = series.whole().unwrap().count(Counter::FromGuest).unwrap();
            prop_assert!((parts - whole).abs() <= 1e-6 * whole.max(1.0), "{parts} and {whole}");
        }
    }
}
