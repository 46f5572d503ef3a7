//! The one seam to the machine: read, write, power, run.
//!
//! Knows addresses and commands; does not know treatments, statistics or reports.

mod actors;
pub mod agent;
mod any;
mod bare;
mod batch;
mod build;
mod caches;
mod command;
mod controllers;
pub mod fake;
pub mod guest_file;
mod guest_job;
mod guest_module;
mod host_job;
mod host_link;
mod kernel;
pub mod libvirt;
mod local;
mod next_boot;
pub mod numa_maps;
pub(crate) mod program;
mod proof;
mod readback;
mod simulated;
pub mod ssh;
mod survey;
mod telemetry;
mod tool;
pub mod transport;
pub mod xml;

pub use actors::{other_guests, retuning};
pub use any::AnyHost;
pub use bare::BareHost;
pub use controllers::controllers;
pub(crate) use host_job::remove_leftovers;
pub use kernel::{KernelHost, boot_id};
pub use local::{Cancel, LocalHost};
pub use next_boot::{Boots, NextBoot, reboot_now};
pub use simulated::{Position, SimulatedHost};
pub use tool::{is_installed, run_tool};

use crate::facts::{Facts, Meaning};
use crate::telemetry::Series;
use crate::tunable::{Address, XmlSetting};
use crate::units::Bytes;
use crate::workload::{DropCaches, JobFile, Side};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// Bytes of a setting at most: kernel files are pages.
const MAX_SETTING: usize = 64 * 1024;
/// Said of what is longer.
const TOO_LONG: &str = "it holds more than 64 KiB: that is no setting";

/// Whether the guest is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Started with the pending domain XML, and answering.
    On,
    /// Not running.
    Off,
}

/// A command to run to its end, with a counterpart that runs beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Where it runs.
    pub side: Side,
    /// Program and arguments, complete.
    pub argv: Vec<String>,
    /// Started before and ended after the command.
    pub server: Option<ServerJob>,
    /// How long it should take: not polled hard before.
    pub expected: Duration,
    /// After this it is ended and the job failed.
    pub limit: Duration,
    /// Largest output, result file and series taken.
    pub max_output: Bytes,
    /// Path of the series as the tool names it, [`SERIES_FILE`] with what the tool adds; `None` when it is not wanted.
    pub series: Option<String>,
    /// Put into the job's own folder before it starts.
    pub files: Vec<JobFile>,
    /// Whose page cache is written back and dropped before anything starts.
    pub drop_caches: DropCaches,
}

/// A command that serves a [`Job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerJob {
    /// Where it runs.
    pub side: Side,
    /// Program and arguments, complete.
    pub argv: Vec<String>,
    /// The TCP port that listens when it is ready.
    pub port: u16,
}

/// A command that runs in one of the lab's neighbours while a [`Job`] runs in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BesideJob {
    /// Which neighbour.
    pub neighbour: String,
    /// What it runs, on the side of the guest.
    pub job: Job,
}

/// What jobs left that were started together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Together {
    /// What the guest's own left.
    pub output: JobOutput,
    /// What the others left, in the order they were given.
    pub beside: Vec<JobOutput>,
    /// Between the first start and the last, by the host's clock.
    pub skew: Duration,
    /// How long the guest's own ran on after the first of the others had ended.
    pub alone: Duration,
}

/// What a finished job left. Its content comes from the guest: untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobOutput {
    /// Exit code; signals are 128 + number, as in sh.
    pub exit: i32,
    /// The command's own wall time.
    pub wall: Duration,
    /// Standard output, at most `max_output`.
    pub stdout: Vec<u8>,
    /// Standard error, at most `max_output`.
    pub stderr: Vec<u8>,
    /// The file at [`RESULT_FILE`] of the job's folder when the command wrote one, at most `max_output`.
    pub result: Option<Vec<u8>>,
    /// The series, when the job wants one, at most `max_output`; or why it could not be taken. That fails no job: its
    /// numbers are in the other outputs.
    pub series: Option<Result<Vec<u8>, String>>,
}

/// Stands for the result file in a job's arguments; the host replaces it by a path of the job's own folder.
pub const RESULT_FILE: &str = "{result}";
/// Stands for the series in the same way.
pub const SERIES_FILE: &str = "{series}";
/// Stands for the folder that holds both, and the files that come with the job.
pub const JOB_FOLDER: &str = "{job}";

/// A text of a job with the paths below its folder put in.
fn placed(text: &str, folder: &str) -> String {
    text.replace(RESULT_FILE, &format!("{folder}/result"))
        .replace(SERIES_FILE, &format!("{folder}/series"))
        .replace(JOB_FOLDER, folder)
}

/// A failed host call: what failed, on what, and whether the guest is still good for another trial.
#[derive(Debug, thiserror::Error)]
#[error("failed to {doing}: {cause}")]
pub struct HostError {
    /// What was tried, on what: `write guest:/proc/sys/vm/swappiness`.
    pub doing: String,
    /// Why it failed, and what to try next where that is known.
    pub cause: String,
    /// True when the guest hangs, died or stopped answering: it must be started afresh.
    pub guest_lost: bool,
}

impl HostError {
    /// A failure that leaves the guest usable.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "callers hand over errors and texts alike"
    )]
    pub fn new(doing: impl Into<String>, cause: impl ToString) -> Self {
        Self {
            doing: doing.into(),
            cause: cause.to_string(),
            guest_lost: false,
        }
    }

    /// The same failure with the guest lost.
    #[must_use]
    pub fn losing_guest(mut self) -> Self {
        self.guest_lost = true;
        self
    }
}

/// What a value at an address lives and dies with: once it is gone there is nothing left to restore.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// A runtime value of the host's kernel: gone with a reboot.
    Boot {
        /// `/proc/sys/kernel/random/boot_id`.
        id: String,
    },
    /// A value of a private network namespace.
    Network {
        /// Inode of the namespace, as in `net:[4026531840]`.
        inode: u64,
    },
    /// A value of one run of the domain: guest files, guest modules and live libvirt calls.
    Domain {
        /// The domain's UUID.
        uuid: String,
        /// Tells one run from the next, e.g. QEMU's pid and start time; [`Scope::OFF`] while it does not run.
        instance: String,
    },
    /// The domain's stored definition: survives even a reboot of the host.
    Definition {
        /// The domain's UUID.
        uuid: String,
    },
}

impl Scope {
    /// The instance of a domain that does not run.
    pub const OFF: &str = "off";
}

/// What became of a write, and what was read of its place once all were done.
pub type Exchanged = (Result<(), HostError>, Result<String, HostError>);

/// One host with one guest. Synchronous; used from one thread.
pub trait Host {
    /// What is known of host and guest, without the readings.
    fn facts(&mut self) -> Result<Facts, HostError>;
    /// The raw content at an address: from the running system where it runs, else from what is pending.
    fn read(&mut self, address: &Address) -> Result<String, HostError>;
    /// Writes a canonical value; domain XML is pending until the next power-on.
    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError>;
    /// What several addresses hold, each as [`Host::read`] tells it.
    fn read_all(&mut self, addresses: &[Address]) -> Vec<Result<String, HostError>> {
        addresses.iter().map(|address| self.read(address)).collect()
    }
    /// True for a place that the kernel lets nobody write.
    fn is_read_only(&mut self, _address: &Address) -> bool {
        false
    }
    /// Writes several values in this order, each as [`Host::write`] does; one that fails does not stop the others.
    fn write_all(&mut self, writes: &[(Address, String)]) -> Vec<Result<(), HostError>> {
        writes
            .iter()
            .map(|(address, value)| self.write(address, value))
            .collect()
    }
    /// Writes several values in this order, then reads those addresses.
    fn exchange(&mut self, writes: &[(Address, String)]) -> Vec<Exchanged> {
        let written = self.write_all(writes);
        let addresses: Vec<_> = writes.iter().map(|(address, _)| address.clone()).collect();
        written.into_iter().zip(self.read_all(&addresses)).collect()
    }
    /// What the value at an address lives and dies with, now.
    fn scope(&mut self, address: &Address) -> Result<Scope, HostError>;
    /// Starts or stops the guest, by force when it does not answer; doing nothing when it is as wanted.
    fn power(&mut self, power: Power) -> Result<(), HostError>;
    /// Runs a command to its end.
    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError>;
    /// Runs a command with others beside it in the lab's neighbours, all started at one instant. Where time is only
    /// pretended they run one after the other.
    fn run_together(&mut self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let output = self.run(job)?;
        let beside = beside
            .iter()
            .map(|b| self.run(&b.job))
            .collect::<Result<_, _>>()?;
        Ok(Together {
            output,
            beside,
            skew: Duration::ZERO,
            alone: Duration::ZERO,
        })
    }
    /// Begins to watch this machine beside a job that comes next.
    fn watch(&mut self) {}
    /// Ends that, and tells what was seen; nothing on a host that cannot be watched.
    fn watched(&mut self) -> Option<Series> {
        None
    }
    /// What a value of domain XML means on this host; `None` when it means what it says.
    fn meaning(&mut self, _setting: &XmlSetting, _value: &str) -> Option<Meaning> {
        None
    }
    /// Programs that run now and are known to set such a place, as `name (process N)`.
    fn actors(&mut self, _address: &Address) -> Vec<String> {
        Vec::new()
    }
    /// Waits until the machine may have settled. A simulated host does not sleep.
    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }
    /// The time of day, as trials are dated.
    fn now(&mut self) -> Timestamp {
        Timestamp::now()
    }
    /// Time on a clock that is never set: what things take is the difference of two readings.
    fn clock(&mut self) -> Duration {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        START.elapsed()
    }
    /// Time since an earlier reading of that clock.
    fn since(&mut self, reading: Duration) -> Duration {
        self.clock().saturating_sub(reading)
    }
}
