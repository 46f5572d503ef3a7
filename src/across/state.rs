//! What a run across reboots must know after the next one: a small file beside the journal.
//!
//! Read strictly, because it decides what the host is booted with: its owner only, no key too many, checked names and
//! values. Does not know what is done with it.

use super::AcrossError;
use crate::design::BootAt;
use crate::event::RunId;
use crate::host::NextBoot;
use crate::tunable::BootEdit;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

const NAME: &str = "across-reboots.json";
const MAX_SIZE: u64 = 64 * 1024;

/// Where a run across reboots stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct State {
    /// How it is written.
    pub schema: Schema,
    /// The run.
    pub run: RunId,
    /// Folder of the database it is in.
    pub results: PathBuf,
    /// Where the next boot is arranged for.
    pub next_boot: NextBoot,
    /// The machine it runs on.
    pub machine: String,
    /// The boot in which this was written: in any other one the host was rebooted.
    pub boot: String,
    /// How often the host was to be rebooted so far.
    pub reboots: u32,
    /// How much of its time is used, in seconds.
    pub spent: u64,
    /// What the next boot is for.
    pub purpose: BootPurpose,
}

/// How the file is written; another version is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schema {
    /// The only one so far.
    #[serde(rename = "kvmtune-across-reboots-1")]
    One,
}

/// What a boot of the host is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum BootPurpose {
    /// To measure.
    Measure {
        /// Which boot of the plan it is.
        at: BootAt,
        /// How many boots were made for it, with this one.
        attempts: u32,
        /// What its command line is to have.
        edits: Vec<BootEdit>,
    },
    /// To give the host its own command line back.
    GiveBack,
}

impl State {
    /// The state of a run before it is known what its next boot is for.
    pub fn new(run: RunId, results: PathBuf, next_boot: NextBoot) -> Self {
        Self {
            schema: Schema::One,
            run,
            results,
            next_boot,
            machine: String::new(),
            boot: String::new(),
            reboots: 0,
            spent: 0,
            purpose: BootPurpose::GiveBack,
        }
    }

    /// The state of a run that follows from this one on the same host: its boots and its time are its own.
    #[must_use]
    pub fn followed_by(self, run: RunId) -> Self {
        Self {
            run,
            reboots: 0,
            spent: 0,
            purpose: BootPurpose::GiveBack,
            ..self
        }
    }

    /// Time of the budget that is used.
    pub fn time_spent(&self) -> Duration {
        Duration::from_secs(self.spent)
    }
}

/// Where the file is.
pub fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// The state kept in the folder `dir`, if there is one.
pub fn load(dir: &Path) -> Result<Option<State>, AcrossError> {
    let path = path(dir);
    let failed = |source| AcrossError::Io {
        doing: "read",
        path: path.clone(),
        source,
    };
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(&path);
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let found = file.metadata().map_err(failed)?;
    let wrong = |why: String| AcrossError::Wrong {
        path: path.clone(),
        why,
    };
    if !found.is_file() {
        return Err(wrong("it is no plain file".into()));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() || found.mode() & 0o022 != 0 {
        return Err(wrong("others can write to it".into()));
    }
    if found.len() > MAX_SIZE {
        return Err(wrong("it is too large".into()));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(failed)?;
    let state: State = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if let BootPurpose::Measure { attempts: 0, .. } = state.purpose {
        return Err(wrong("a boot that was never made".into()));
    }
    Ok(Some(state))
}

/// Keeps the state: the old one or the new one is there, whenever the power goes.
pub(super) fn save(dir: &Path, state: &State) -> Result<(), AcrossError> {
    let path = path(dir);
    let failed = |source| AcrossError::Io {
        doing: "write",
        path: path.clone(),
        source,
    };
    let next = path.with_extension("next");
    let write = || -> io::Result<()> {
        if let Err(e) = fs::remove_file(&next)
            && e.kind() != io::ErrorKind::NotFound
        {
            return Err(e);
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&next)?;
        serde_json::to_writer_pretty(&mut file, state)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&next, &path)?;
        File::open(dir)?.sync_all()
    };
    write().map_err(failed)
}

/// Removes it.
pub(super) fn remove(dir: &Path) -> Result<(), AcrossError> {
    let path = path(dir);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(AcrossError::Io {
            doing: "remove",
            path,
            source,
        }),
        _ => Ok(()),
    }
}
