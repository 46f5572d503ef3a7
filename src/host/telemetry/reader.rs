//! Reads all counters once, and keeps what is needed to add up threads that come and go.

use super::Subject;
use crate::telemetry::{
    Counter, Reading, Schedule, ThreadClass, block_bytes, class_of, interrupts, kernel_times, link_bytes,
    process_ticks, schedule, stalled,
};
use nix::unistd::{SysconfVar, sysconf};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes of a file at most; a list of links is the longest.
const LONGEST: u64 = 1 << 20;
/// Threads at most: a QEMU has a few for each CPU and 64 workers a pool.
const MOST_THREADS: usize = 4096;
/// CPUs whose frequency is read: those of a large machine are alike.
const MOST_CPUS: usize = 64;

/// A thread as it was read last.
struct Seen {
    class: ThreadClass,
    schedule: Schedule,
}

pub(super) struct Reader {
    subject: Subject,
    /// Nanoseconds of a clock tick.
    tick: u64,
    /// Folders of the threads' process and of kernel threads that serve it.
    processes: Vec<PathBuf>,
    threads: HashMap<u32, Seen>,
    /// By class, with threads that ended.
    totals: [Schedule; 5],
    frequencies: Vec<PathBuf>,
    /// Thousands of cycles so far, up to this time.
    cycles: (u64, Duration),
    exits: Option<PathBuf>,
    is_first: bool,
}

impl Reader {
    pub(super) fn new(subject: Subject) -> Self {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten();
        let ticks = ticks.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
        let processes = subject.pid.map_or_else(Vec::new, processes);
        Self {
            tick: 1_000_000_000 / ticks.unwrap_or(100),
            processes,
            threads: HashMap::new(),
            totals: [Schedule::default(); 5],
            frequencies: frequencies(),
            cycles: (0, Duration::ZERO),
            exits: subject.pid.and_then(exits),
            is_first: true,
            subject,
        }
    }

    /// Everything, as of now.
    pub(super) fn read(&mut self, at: Duration) -> Reading {
        let mut reading = Reading::empty(at);
        self.machine(&mut reading);
        self.process(&mut reading);
        self.devices(&mut reading);
        self.frequency(&mut reading);
        // Last, so that what all this took is in it.
        let own = text("/proc/thread-self/schedstat").and_then(|t| schedule(&t));
        reading.set(Counter::Watching, own.map(|s| s.ran));
        self.is_first = false;
        reading
    }

    fn machine(&self, reading: &mut Reading) {
        let kernel = text("/proc/stat");
        let times = kernel.as_deref().and_then(kernel_times);
        let ns = |ticks: u64| ticks.checked_mul(self.tick);
        reading.set(Counter::MachineCpu, times.and_then(|(busy, ..)| ns(busy)));
        reading.set(Counter::MachineSteal, times.and_then(|(_, steal, _)| ns(steal)));
        reading.set(Counter::MachineSwitches, times.map(|(.., switches)| switches));
        reading.set(Counter::MachineInterrupts, kernel.as_deref().and_then(interrupts));
        let waits = [
            (Counter::PressureCpu, "/proc/pressure/cpu"),
            (Counter::PressureIo, "/proc/pressure/io"),
            (Counter::PressureMemory, "/proc/pressure/memory"),
        ];
        for (counter, path) in waits {
            reading.set(counter, text(path).and_then(|t| stalled(&t)));
        }
    }

    fn process(&mut self, reading: &mut Reading) {
        let Some(pid) = self.subject.pid else { return };
        let stat = text(format!("/proc/{pid}/stat")).and_then(|t| process_ticks(&t));
        let Some(process) = stat.and_then(|ticks| ticks.checked_mul(self.tick)) else {
            return;
        };
        let beside = self.threads(pid);
        reading.set(Counter::Cpu, process.checked_add(beside));
        if self.threads.is_empty() {
            // A kernel without these statistics.
            return;
        }
        let total = |class: ThreadClass| self.totals[class as usize];
        let ran = |class| Some(total(class).ran);
        let all = |what: fn(&Schedule) -> u64| Some(self.totals.iter().map(what).sum());
        reading.set(Counter::VcpuCpu, ran(ThreadClass::Vcpu));
        reading.set(Counter::IoCpu, ran(ThreadClass::Io));
        reading.set(Counter::EmulatorCpu, ran(ThreadClass::Emulator));
        reading.set(Counter::VhostCpu, ran(ThreadClass::Vhost));
        reading.set(Counter::OtherCpu, ran(ThreadClass::Other));
        reading.set(Counter::RunDelay, all(|s| s.waited));
        reading.set(Counter::Steal, Some(total(ThreadClass::Vcpu).waited));
        reading.set(Counter::Switches, all(|s| s.turns));
        reading.set(Counter::Exits, self.exits.as_deref().and_then(number));
    }

    /// Adds up the threads; gives the time of those that are not the process's own.
    fn threads(&mut self, pid: u32) -> u64 {
        let mut now = HashMap::with_capacity(self.threads.len());
        let mut beside = 0u64;
        for folder in &self.processes {
            let is_own = folder.ends_with(format!("{pid}/task"));
            for thread in numbered(folder).take(MOST_THREADS) {
                let place = folder.join(thread.to_string());
                let Some(schedule) = text(place.join("schedstat")).and_then(|t| schedule(&t)) else {
                    continue;
                };
                let before = self.threads.get(&thread);
                let class = match before {
                    Some(seen) if seen.class != ThreadClass::Other => seen.class,
                    // A new thread has the name of the one that started it until it is given its own.
                    _ => class_of(&text(place.join("comm")).unwrap_or_default(), thread == pid),
                };
                // One that appears later began with nothing; the first time is where counting starts.
                let start = match before {
                    Some(seen) => seen.schedule,
                    None if self.is_first => schedule,
                    None => Schedule::default(),
                };
                add(&mut self.totals[class as usize], schedule, start);
                if !is_own {
                    beside = beside.saturating_add(schedule.ran);
                }
                now.insert(thread, Seen { class, schedule });
            }
        }
        self.threads = now;
        beside
    }

    fn devices(&self, reading: &mut Reading) {
        let disk = self.subject.disk.as_ref();
        let disk = disk.and_then(|name| block_bytes(&text(format!("/sys/block/{name}/stat"))?));
        reading.set(Counter::DiskRead, disk.map(|[read, ..]| read));
        reading.set(Counter::DiskWritten, disk.map(|[_, written, ..]| written));
        reading.set(Counter::DiskReads, disk.map(|[_, _, reads, _]| reads));
        reading.set(Counter::DiskWrites, disk.map(|[.., writes]| writes));
        // Of QEMU's own network namespace: /sys/class/net shows that of its mount.
        let link = self.subject.pid.zip(self.subject.link.as_ref());
        let link = link.and_then(|(pid, name)| link_bytes(&text(format!("/proc/{pid}/net/dev"))?, name));
        reading.set(Counter::FromGuest, link.map(|(received, _)| received));
        reading.set(Counter::ToGuest, link.map(|(_, sent)| sent));
    }

    /// The mean of all CPUs held since the last reading.
    fn frequency(&mut self, reading: &mut Reading) {
        let khz: Vec<u64> = self.frequencies.iter().filter_map(|path| number(path)).collect();
        let Some(mean) = khz.iter().sum::<u64>().checked_div(khz.len() as u64) else {
            return;
        };
        let (cycles, since) = self.cycles;
        let milliseconds = u64::try_from(reading.at.saturating_sub(since).as_millis()).unwrap_or(0);
        let cycles = cycles.saturating_add(mean.saturating_mul(milliseconds) / 1000);
        self.cycles = (cycles, reading.at);
        reading.set(Counter::Cycles, Some(cycles));
    }
}

fn add(total: &mut Schedule, now: Schedule, start: Schedule) {
    total.ran = total.ran.saturating_add(now.ran.saturating_sub(start.ran));
    total.waited = total
        .waited
        .saturating_add(now.waited.saturating_sub(start.waited));
    total.turns = total.turns.saturating_add(now.turns.saturating_sub(start.turns));
}

/// The folders of QEMU's threads, and of the kernel threads of vhost, which are no threads of QEMU before Linux 6.4.
fn processes(pid: u32) -> Vec<PathBuf> {
    let vhost = format!("vhost-{pid}");
    let serves = |other: &u32| text(format!("/proc/{other}/comm")).is_some_and(|name| name.trim() == vhost);
    let serving = numbered(Path::new("/proc")).filter(serves);
    std::iter::once(pid)
        .chain(serving)
        .map(|pid| PathBuf::from(format!("/proc/{pid}/task")))
        .collect()
}

fn frequencies() -> Vec<PathBuf> {
    let cpu = |number| {
        PathBuf::from(format!(
            "/sys/devices/system/cpu/cpu{number}/cpufreq/scaling_cur_freq"
        ))
    };
    (0..MOST_CPUS).map(cpu).filter(|path| path.exists()).collect()
}

/// `/sys/kernel/debug/kvm/PID-FD/exits`.
fn exits(pid: u32) -> Option<PathBuf> {
    let mine = format!("{pid}-");
    let entries = fs::read_dir("/sys/kernel/debug/kvm").ok()?.flatten();
    let mut own = entries.filter(|e| e.file_name().to_string_lossy().starts_with(&mine));
    own.next().map(|e| e.path().join("exits"))
}

/// The numbers that are names in a folder.
fn numbered(folder: &Path) -> impl Iterator<Item = u32> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok())
}

fn number(path: &Path) -> Option<u64> {
    text(path)?.trim().parse().ok()
}

fn text(path: impl AsRef<Path>) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path)
        .ok()?
        .take(LONGEST)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
