//! A guest's ssh server as a way into it: one connection, kept open; a command is one channel of it.
//! It does not know what the commands are for.
//!
//! The `openssh` crate speaks to the system's ssh client. It is not let start that client: its own way leaves a daemon
//! behind a killed kvmtune, and reads the user's configuration. The guest is not trusted.

use crate::experiment::SshTarget;
use crate::host::agent::ExecOutput;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;

mod command;
mod master;
mod problem;
#[cfg(test)]
mod tests;

use command::{Asked, EXISTS, Ended, READ, RUN, WRITE};
use master::Master;
pub use problem::{ConnectError, Problem};

/// A connection must stand after this.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What takes milliseconds must be answered in this time.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);
/// A whole file must be through in this time.
const FILE_LIMIT: Duration = Duration::from_mins(2);
/// The most bytes one command may write to each output: the agent's limit too.
const MAX_EXEC_OUTPUT: usize = 4 << 20;

/// Why ssh did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SshError {
    /// The ssh client cannot be started, or not be talked to.
    #[error("cannot use the ssh client (package openssh-client)")]
    Client(#[source] io::Error),
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Nothing came back in time.
    #[error("the guest did not answer over ssh within {after:.1?} when asked for {object}")]
    NotAnswering {
        /// The file or program.
        object: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The connection broke: whether the command ran to its end is not known.
    #[error("the ssh connection broke while the guest was asked for {object}: {said}")]
    Lost {
        /// The file or program.
        object: String,
        /// What the client said of it, or how it went.
        said: String,
    },
    /// The guest answered with an error.
    #[error("the guest refused {object}: {said}")]
    Refused {
        /// The file.
        object: String,
        /// What its shell said.
        said: String,
    },
    /// More data than the caller allows.
    #[error("{object} in the guest holds more than {limit} bytes")]
    TooLarge {
        /// The file or output.
        object: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The command ran too long and was killed.
    #[error("{object} in the guest did not finish within {limit:.1?}; it was stopped")]
    TooSlow {
        /// The program.
        object: String,
        /// The limit.
        limit: Duration,
    },
    /// The command ended before it began.
    #[error(
        "the guest's login shell did not start {object}: {said}; see that the user's shell is \
         a common one, and that /bin/sh is there"
    )]
    NotStarted {
        /// The program.
        object: String,
        /// What it said instead.
        said: String,
    },
    /// A request that cannot be sent.
    #[error("cannot ask the guest for this over ssh: {0}")]
    Request(&'static str),
}

impl SshError {
    /// Whether the guest is silent, or lost what was asked of it.
    pub fn is_silent(&self) -> bool {
        matches!(
            self,
            Self::NotAnswering { .. } | Self::Lost { .. } | Self::TooSlow { .. } | Self::Connect(_)
        )
    }

    /// Whether waiting cannot help.
    pub fn is_final(&self) -> bool {
        match self {
            Self::Client(_) | Self::NotStarted { .. } => true,
            Self::Connect(error) => error.problem.is_final(),
            _ => false,
        }
    }
}

/// The way into one guest by ssh. Commands go one at a time.
#[derive(Debug)]
pub struct Ssh {
    target: SshTarget,
    /// Holds the client's control socket; of this object alone.
    folder: PathBuf,
    /// Drives the exchange with the client on the thread that asks.
    runtime: Runtime,
    master: Mutex<Option<Master>>,
}

impl Ssh {
    /// No connection is made yet. `folder` is made for the client's control socket, for root's eyes only, when there
    /// is one; what stands there is removed then, and when this is dropped.
    ///
    /// The client is started by the thread that first asks for something, in that thread's network.
    pub fn new(target: SshTarget, folder: &Path) -> Result<Self, SshError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Self {
            target,
            folder: folder.to_path_buf(),
            runtime: runtime.map_err(SshError::Client)?,
            master: Mutex::new(None),
        })
    }

    /// Where it leads.
    pub fn target(&self) -> &SshTarget {
        &self.target
    }

    /// Whether the guest answers within `limit`; connects when there is no connection.
    pub fn ping(&self, limit: Duration) -> Result<(), SshError> {
        let asked = Asked::of(RUN, &["true"], limit);
        let done = self.run(&asked, "`true`")?;
        if done.exit_code == 0 {
            return Ok(());
        }
        Err(refused("`true`", &done))
    }

    /// Reads a file of at most `max_bytes`. Files of procfs and sysfs work.
    pub fn read_file(&self, path: &str, max_bytes: usize) -> Result<Vec<u8>, SshError> {
        // One byte more than allowed tells a file at its limit from one beyond.
        let count = max_bytes.saturating_add(1).to_string();
        let argv = [path, &count];
        let asked = Asked {
            max: max_bytes,
            ..Asked::of(READ, &argv, file_limit(max_bytes))
        };
        let done = self.ask_of_file(&asked, path)?;
        if done.exit_code == 0 {
            Ok(done.stdout)
        } else {
            Err(refused(path, &done))
        }
    }

    /// Writes a file, with what is there before replaced. A kernel file's refusal (`EINVAL` of a sysctl) comes back as
    /// [`SshError::Refused`].
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), SshError> {
        let argv = [path];
        let asked = Asked {
            stdin: Some(bytes),
            ..Asked::of(WRITE, &argv, file_limit(bytes.len()))
        };
        let done = self.ask_of_file(&asked, path)?;
        if done.exit_code == 0 {
            Ok(())
        } else {
            Err(refused(path, &done))
        }
    }

    /// Whether there is a file.
    pub fn exists(&self, path: &str) -> Result<bool, SshError> {
        let argv = [path];
        let asked = Asked::of(EXISTS, &argv, COMMAND_LIMIT);
        Ok(self.ask_of_file(&asked, path)?.exit_code == 0)
    }

    /// Runs a short command and waits for its end. Its output must stay below 4 MiB, its arguments below 96 KiB.
    pub fn exec(&self, argv: &[&str], stdin: Option<&[u8]>, limit: Duration) -> Result<ExecOutput, SshError> {
        let &program = argv.first().ok_or(SshError::Request("no program to run"))?;
        let asked = Asked {
            stdin,
            max: MAX_EXEC_OUTPUT,
            ..Asked::of(RUN, argv, limit)
        };
        match self.run(&asked, program) {
            Err(SshError::TooLarge { limit, .. }) => {
                let object = format!("the output of {program}");
                Err(SshError::TooLarge { object, limit })
            }
            other => other,
        }
    }

    /// A file that does not come is a guest that does not answer.
    fn ask_of_file(&self, asked: &Asked, path: &str) -> Result<ExecOutput, SshError> {
        // A path that is not absolute could be an option of what reads it.
        if !path.starts_with('/') {
            return Err(SshError::Request("a file's path must begin with `/`"));
        }
        match self.run(asked, path) {
            Err(SshError::TooSlow { .. }) => {
                *self.held() = None;
                Err(not_answering(path, asked.limit))
            }
            other => other,
        }
    }

    /// The connection; a new one when there is none or the old one broke before anything was asked over it.
    fn connected(&self, limit: Duration) -> Result<MutexGuard<'_, Option<Master>>, SshError> {
        let mut held = self.held();
        if held.as_mut().is_none_or(|master| !master.lives()) {
            *held = None;
            *held = Some(Master::connect(&self.target, &self.folder, limit)?);
        }
        Ok(held)
    }

    // The lock guards one pointer, so a panic of another holder left nothing broken.
    fn held(&self) -> MutexGuard<'_, Option<Master>> {
        self.master.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, asked: &Asked, object: &str) -> Result<ExecOutput, SshError> {
        asked.check()?;
        let Asked { max, limit, .. } = *asked;
        let mut held = self.connected(CONNECT_LIMIT.min(limit))?;
        let Some(master) = held.as_mut() else {
            return Err(SshError::Request("no connection"));
        };
        let ended = self.runtime.block_on(asked.run(master.session()));
        let object = object.to_owned();
        match ended {
            Ended::Done(output) => Ok(output),
            Ended::NotStarted { said } => Err(SshError::NotStarted {
                object,
                said: tame(&said),
            }),
            Ended::TooLarge { clean } => {
                keep_only(&mut held, clean);
                Err(SshError::TooLarge { object, limit: max })
            }
            Ended::TooSlow { begun: true, clean } => {
                keep_only(&mut held, clean);
                Err(SshError::TooSlow { object, limit })
            }
            // Nothing ran: the next one who asks shall not wait behind it.
            Ended::TooSlow { begun: false, .. } => {
                *held = None;
                Err(not_answering(&object, limit))
            }
            Ended::Broken(why) => {
                let said = master.said();
                *held = None;
                let said = if said.is_empty() { why } else { said };
                Err(SshError::Lost { object, said })
            }
        }
    }
}

/// A connection on which something still runs is closed.
fn keep_only(held: &mut Option<Master>, clean: bool) {
    if !clean {
        *held = None;
    }
}

fn not_answering(object: &str, after: Duration) -> SshError {
    SshError::NotAnswering {
        object: object.to_owned(),
        after,
    }
}

fn refused(object: &str, done: &ExecOutput) -> SshError {
    let said = tame(&done.stderr);
    SshError::Refused {
        object: object.to_owned(),
        said: if said.is_empty() {
            format!("exit code {}", done.exit_code)
        } else {
            said
        },
    }
}

/// A second more for each 256 KiB.
fn file_limit(bytes: usize) -> Duration {
    let more = u64::try_from(bytes >> 18).unwrap_or(u64::MAX);
    (COMMAND_LIMIT + Duration::from_secs(more.min(3600))).min(FILE_LIMIT)
}

/// One line of what a guest or the client said, for a message.
fn tame(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(&said[..said.len().min(4096)]).into_owned();
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let text: String = text.chars().map(clean).collect();
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").chars().take(300).collect()
}
