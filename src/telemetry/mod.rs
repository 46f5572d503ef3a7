//! What the host did beside a trial: its counters by the second, what they come to, and whether they agree with what a
//! workload says of itself.
//!
//! Pure: gets texts and readings; does not know how they are read, nor what is judged by them.

mod check;
mod fold;
mod procfs;
mod seconds;

pub use check::doubts;
pub use fold::{Reading, Series, Window};
pub use procfs::{
    Schedule, ThreadClass, block_bytes, class_of, interrupts, kernel_times, link_bytes, process_ticks,
    schedule, stalled,
};
pub use seconds::Seconds;

use crate::experiment::{Goal, Guest, MetricId};
use crate::units::Span;
use crate::workload::{Metric, Workload};

/// Stands for the workload of what the host did.
pub const HOST: &str = "host";

/// What only grows while the host runs. The order is that of [`TABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// CPU time of QEMU and its vhost threads, in ns.
    Cpu,
    /// Of the vCPU threads, in ns.
    VcpuCpu,
    /// Of I/O threads and the workers that carry requests out, in ns.
    IoCpu,
    /// Of QEMU's main thread, in ns.
    EmulatorCpu,
    /// Of vhost threads, in ns.
    VhostCpu,
    /// Of all other threads of QEMU, in ns.
    OtherCpu,
    /// Time in which threads of QEMU could run and had no CPU, in ns.
    RunDelay,
    /// The same of the vCPU threads, in ns: what a guest calls steal.
    Steal,
    /// Times a thread of QEMU was put on a CPU.
    Switches,
    /// CPU time of the whole machine, in ns.
    MachineCpu,
    /// Time that the machine's own hypervisor kept from it, in ns.
    MachineSteal,
    /// Context switches of the whole machine.
    MachineSwitches,
    /// Interrupts that the whole machine served.
    MachineInterrupts,
    /// Time in which some task waited for a CPU, in µs.
    PressureCpu,
    /// Time in which some task waited for a disk, in µs.
    PressureIo,
    /// Time in which some task waited for memory, in µs.
    PressureMemory,
    /// Bytes that the disk gave.
    DiskRead,
    /// Bytes that the disk took.
    DiskWritten,
    /// Reads of the disk.
    DiskReads,
    /// Writes of the disk.
    DiskWrites,
    /// Bytes that the guest sent over its link.
    FromGuest,
    /// Bytes that the guest was sent over its link.
    ToGuest,
    /// Cycles of a CPU, in thousands: its frequency, summed up.
    Cycles,
    /// Exits of the guest to KVM.
    Exits,
    /// CPU time of the thread that reads all this, in ns.
    Watching,
}

/// Number of counters.
pub const COUNTERS: usize = TABLE.len();

/// A number of the host as a metric.
#[derive(Debug)]
pub struct HostMetric {
    /// What it is the rate of.
    pub counter: Counter,
    /// Its name.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Its direction.
    pub goal: Goal,
    /// What one count is in its unit, each second.
    pub scale: f64,
    /// Whether a host without a guest has it.
    pub without_guest: bool,
    /// Where it is read.
    pub source: &'static str,
}

const fn metric(
    counter: Counter,
    name: &'static str,
    (unit, scale): (&'static str, f64),
    without_guest: bool,
    source: &'static str,
) -> HostMetric {
    HostMetric {
        counter,
        name,
        unit,
        goal: match counter {
            Counter::Cycles => Goal::Maximize,
            _ => Goal::Minimize,
        },
        scale,
        without_guest,
        source,
    }
}

const CPUS: (&str, f64) = ("CPUs", 1e-9);
const WAITING: (&str, f64) = ("s/s", 1e-9);
const PRESSURE: (&str, f64) = ("s/s", 1e-6);
const BYTES: (&str, f64) = ("B/s", 1.0);
const TIMES: (&str, f64) = ("1/s", 1.0);

const PROCESS: &str = "/proc/PID/stat of QEMU";
const THREADS: &str = "/proc/PID/task/*/schedstat of QEMU";
const KERNEL: &str = "/proc/stat";
const PSI: &str = "/proc/pressure";
const DISK: &str = "/sys/block/NAME/stat of the device behind the data disk";
const LINK: &str = "/proc/PID/net/dev of QEMU";

/// Every metric of the host, by its counter.
pub const TABLE: [HostMetric; 25] = [
    metric(Counter::Cpu, "cpu", CPUS, false, PROCESS),
    metric(Counter::VcpuCpu, "vcpu_cpu", CPUS, false, THREADS),
    metric(Counter::IoCpu, "io_cpu", CPUS, false, THREADS),
    metric(Counter::EmulatorCpu, "emulator_cpu", CPUS, false, THREADS),
    metric(Counter::VhostCpu, "vhost_cpu", CPUS, false, THREADS),
    metric(Counter::OtherCpu, "other_cpu", CPUS, false, THREADS),
    metric(Counter::RunDelay, "run_delay", WAITING, false, THREADS),
    metric(Counter::Steal, "steal", WAITING, false, THREADS),
    metric(Counter::Switches, "context_switches", TIMES, false, THREADS),
    metric(Counter::MachineCpu, "machine_cpu", CPUS, true, KERNEL),
    metric(Counter::MachineSteal, "machine_steal", CPUS, true, KERNEL),
    metric(Counter::MachineSwitches, "machine_switches", TIMES, true, KERNEL),
    metric(
        Counter::MachineInterrupts,
        "machine_interrupts",
        TIMES,
        true,
        KERNEL,
    ),
    metric(Counter::PressureCpu, "psi_cpu_some", PRESSURE, true, PSI),
    metric(Counter::PressureIo, "psi_io_some", PRESSURE, true, PSI),
    metric(Counter::PressureMemory, "psi_memory_some", PRESSURE, true, PSI),
    metric(Counter::DiskRead, "disk_read_bytes", BYTES, true, DISK),
    metric(Counter::DiskWritten, "disk_write_bytes", BYTES, true, DISK),
    metric(Counter::DiskReads, "disk_reads", TIMES, true, DISK),
    metric(Counter::DiskWrites, "disk_writes", TIMES, true, DISK),
    metric(Counter::FromGuest, "link_from_guest_bytes", BYTES, false, LINK),
    metric(Counter::ToGuest, "link_to_guest_bytes", BYTES, false, LINK),
    metric(
        Counter::Cycles,
        "frequency",
        ("MHz", 1e-3),
        true,
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_cur_freq",
    ),
    metric(Counter::Exits, "kvm_exits", TIMES, false, "/sys/kernel/debug/kvm"),
    metric(
        Counter::Watching,
        "telemetry_cpu",
        CPUS,
        true,
        "/proc/thread-self/schedstat",
    ),
];

impl HostMetric {
    /// The metric with this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|m| m.name == name)
    }

    /// Its id.
    pub fn id(&self) -> MetricId {
        MetricId {
            workload: HOST.into(),
            metric: self.name.into(),
        }
    }
}

/// What a host with this guest can tell of itself, with directions.
pub fn known(guest: Option<&Guest>) -> impl Iterator<Item = (MetricId, Goal)> {
    let has_guest = !matches!(guest, Some(Guest::Host { .. }));
    let told = TABLE.iter().filter(move |m| has_guest || m.without_guest);
    told.map(|m| (m.id(), m.goal))
}

/// The host as a workload that gives these metrics: what stands for it on a machine that is only described. It is like
/// another one in all that does not matter. `None` when nothing of the host is judged.
pub fn stand_in(judged: &[MetricId], like: &Workload) -> Option<Workload> {
    let judged = TABLE.iter().filter(|m| judged.contains(&m.id()));
    let metrics: Vec<_> = judged
        .map(|m| Metric {
            name: m.name.into(),
            unit: m.unit.into(),
            goal: m.goal,
        })
        .collect();
    (!metrics.is_empty()).then(|| Workload {
        name: HOST.into(),
        summary: "what the host did".into(),
        metrics,
        time: Span::secs(0),
        warmup: Span::secs(0),
        ..like.clone()
    })
}
