//! One kvmtune changes a host at a time.
//!
//! Knows a file and its lock; the kernel drops the lock with the process, however that ends.

use super::ChangeError;
use super::journal::open_private;
use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Held while this host is changed, whatever the folders of whoever does it are.
pub const HOST_LOCK: &str = "/run/kvmtune.lock";

/// What a process holds a lock for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// A verb somebody called.
    Verb,
    /// The restoring of what a killed run left.
    Watchman,
}

/// Who holds a lock, as its file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A process that has not said yet what it is.
    Unknown,
    /// A process with its number.
    Known(Keeper, u32),
}

/// The word of a watchman in a lock's file, behind its number.
const WATCHMAN: &str = "watchman";

/// Held while a host is changed; given back when dropped.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes the lock of `path`, in a folder that exists, without waiting.
    pub fn take(path: &Path, keeper: Keeper) -> Result<Self, ChangeError> {
        let path = path.to_path_buf();
        let failed = |doing| {
            let path = path.clone();
            move |source| ChangeError::Io { doing, path, source }
        };
        let mut file = open_private(&path).map_err(failed("open"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(ChangeError::Locked {
                    holder: holder(&file),
                    path,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed("lock")(source)),
        }
        file.set_len(0).map_err(failed("write"))?;
        let pid = std::process::id();
        let written = match keeper {
            Keeper::Verb => writeln!(file, "{pid}"),
            Keeper::Watchman => writeln!(file, "{pid} {WATCHMAN}"),
        };
        written.map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &File) -> Holder {
    let mut text = String::new();
    let read = file.take(40).read_to_string(&mut text);
    let (pid, word) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    match pid.parse() {
        Ok(pid) if read.is_ok() && word == WATCHMAN => Holder::Known(Keeper::Watchman, pid),
        Ok(pid) if read.is_ok() => Holder::Known(Keeper::Verb, pid),
        _ => Holder::Unknown,
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => write!(f, "another kvmtune changes this host now"),
            Self::Known(Keeper::Verb, pid) => {
                write!(f, "another kvmtune (process {pid}) changes this host now")
            }
            Self::Known(Keeper::Watchman, pid) => write!(
                f,
                "the watchman of a run that was killed (process {pid}) restores this host now"
            ),
        }
    }
}
