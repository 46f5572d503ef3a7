//! How kvmtune reaches into a guest: by its agent, or by ssh. Files and short commands; long ones are in [`job`].
//! It does not know what the commands are for.
//!
//! Whatever the way, the guest is not trusted: sizes and times are bounded, and no text of it reaches a shell.

use super::agent::{Agent, AgentError};
use super::ssh::{Problem, Ssh, SshError};
use std::time::Duration;

pub mod job;

pub use super::agent::ExecOutput;
pub use job::{Job, JobOutput, JobState};

/// The way into one guest.
#[derive(Debug)]
pub enum Transport {
    /// The guest agent, through libvirt.
    Agent(Agent),
    /// An ssh server in the guest.
    Ssh(Box<Ssh>),
}

/// Why what was asked of a guest was not done.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The guest agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// ssh.
    #[error(transparent)]
    Ssh(#[from] SshError),
    /// A job took too long and was killed.
    #[error("{object} in the guest did not finish within {limit:.1?}; it was stopped")]
    TooSlow {
        /// The program.
        object: String,
        /// The limit.
        limit: Duration,
    },
    /// A job's files say it neither runs nor ended.
    #[error("{object} in the guest disappeared without an exit code; was it killed, or the guest reset?")]
    Vanished {
        /// The program.
        object: String,
    },
    /// The caller gave up.
    #[error("{object} in the guest was stopped on request")]
    Cancelled {
        /// The program.
        object: String,
    },
    /// A job that cannot be started, or files of it that are not what was written there.
    #[error("the guest answered with nonsense: {0}")]
    Nonsense(String),
    /// A request that cannot be sent.
    #[error("cannot ask the guest for this: {0}")]
    Request(&'static str),
}

impl TransportError {
    /// Whether the guest is silent, or lost what was asked of it: it must be started afresh.
    pub fn is_silent(&self) -> bool {
        match self {
            Self::Agent(error) => matches!(
                error,
                AgentError::NotAnswering { .. }
                    | AgentError::Transport { .. }
                    | AgentError::TooSlow { .. }
                    | AgentError::ResultLost { .. }
            ),
            Self::Ssh(error) => error.is_silent(),
            Self::TooSlow { .. } | Self::Vanished { .. } => true,
            Self::Cancelled { .. } | Self::Nonsense(_) | Self::Request(_) => false,
        }
    }

    /// Whether there was no answer in time: a busy guest may still give one when asked again.
    pub fn is_late(&self) -> bool {
        matches!(
            self,
            Self::Agent(AgentError::NotAnswering { .. }) | Self::Ssh(SshError::NotAnswering { .. })
        ) || matches!(self, Self::Ssh(SshError::Connect(error)) if matches!(error.problem, Problem::Silent(_)))
    }

    /// Whether the guest answered that it cannot: there is no such file, or it may not be written.
    pub fn is_refused(&self) -> bool {
        matches!(
            self,
            Self::Agent(AgentError::Refused { .. }) | Self::Ssh(SshError::Refused { .. })
        )
    }

    /// Whether there was more data than allowed.
    pub fn is_too_large(&self) -> bool {
        matches!(
            self,
            Self::Agent(AgentError::TooLarge { .. }) | Self::Ssh(SshError::TooLarge { .. })
        )
    }

    /// Whether waiting for the guest cannot help: something is to be mended first.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Ssh(error) if error.is_final())
    }
}

impl Transport {
    /// Whether the guest answers within `limit`.
    pub fn ping(&self, limit: Duration) -> Result<(), TransportError> {
        match self {
            Self::Agent(agent) => Ok(agent.ping(limit)?),
            Self::Ssh(ssh) => Ok(ssh.ping(limit)?),
        }
    }

    /// Reads a file of at most `max_bytes`, of procfs and sysfs too.
    pub fn read_file(&self, path: &str, max_bytes: usize) -> Result<Vec<u8>, TransportError> {
        match self {
            Self::Agent(agent) => Ok(agent.read_file(path, max_bytes)?),
            Self::Ssh(ssh) => Ok(ssh.read_file(path, max_bytes)?),
        }
    }

    /// Writes a file, with what is there before replaced. A kernel file's refusal (`EINVAL` of a sysctl) is an error.
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), TransportError> {
        match self {
            Self::Agent(agent) => Ok(agent.write_file(path, bytes)?),
            Self::Ssh(ssh) => Ok(ssh.write_file(path, bytes)?),
        }
    }

    /// Whether a file is there.
    pub fn exists(&self, path: &str) -> Result<bool, TransportError> {
        match self {
            Self::Agent(agent) => Ok(agent.exists(path)?),
            Self::Ssh(ssh) => Ok(ssh.exists(path)?),
        }
    }

    /// Runs a short command and waits for its end, at most `limit`. Its output must stay below 4 MiB, its arguments
    /// and standard input together below 96 KiB: what is larger is a [`job`].
    pub fn exec(
        &self,
        argv: &[&str],
        stdin: Option<&[u8]>,
        limit: Duration,
    ) -> Result<ExecOutput, TransportError> {
        match self {
            Self::Agent(agent) => Ok(agent.exec(argv, stdin, limit)?),
            Self::Ssh(ssh) => Ok(ssh.exec(argv, stdin, limit)?),
        }
    }
}
