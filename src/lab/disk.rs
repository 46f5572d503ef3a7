//! The data disk: a file full of random bytes behind a loop device.
//!
//! Does not know what is stored on it.

use crate::units::Bytes;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Why there is no data disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The file could not be filled.
    #[error("cannot fill {path} with {size}: {source}; free some space or ask for a smaller `guest.disk`")]
    Fill {
        /// The file.
        path: String,
        /// Its size.
        size: Bytes,
        /// Why.
        source: io::Error,
    },
    /// losetup failed.
    #[error("`losetup {arguments}` failed: {message}")]
    Losetup {
        /// What it was told.
        arguments: String,
        /// What it answered.
        message: String,
    },
}

/// Makes `file` and attaches it to a free loop device; gives its name, `loop3`.
///
/// It is filled with random bytes, because reads of a hole never reach the disk; the loop device opens it with
/// `O_DIRECT`, so that the host's page cache is used once, where the cache mode says, and not a second time.
pub(super) fn attach(file: &Path, size: Bytes) -> Result<String, DiskError> {
    fill(file, size).map_err(|source| DiskError::Fill {
        path: file.display().to_string(),
        size,
        source,
    })?;
    let path = file.display().to_string();
    let device = losetup(&["--find", "--show", "--direct-io=on", &path])
        .or_else(|_| losetup(&["--find", "--show", &path]))?;
    Ok(device.trim_start_matches("/dev/").to_string())
}

fn fill(file: &Path, size: Bytes) -> io::Result<()> {
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)?;
    let mut noise = File::open("/dev/urandom")?.take(size.0);
    io::copy(&mut noise, &mut target)?;
    target.sync_all()
}

/// Detaches every loop device of `file`; there may be none, and the file may be gone already.
pub(super) fn detach(file: &Path) -> Result<(), DiskError> {
    let listed = losetup(&["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"])?;
    let file = file.display().to_string();
    for line in listed.lines() {
        let (device, backing) = line.split_once(' ').unwrap_or((line, ""));
        // `--raw` writes the blank of a deleted file's ` (deleted)` as \x20.
        if backing == file || backing == format!("{file}\\x20(deleted)") {
            losetup(&["--detach", device])?;
        }
    }
    Ok(())
}

fn losetup(arguments: &[&str]) -> Result<String, DiskError> {
    let failed = |message: String| DiskError::Losetup {
        arguments: arguments.join(" "),
        message,
    };
    let done = Command::new("losetup")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let done = done.map_err(|e| failed(e.to_string()))?;
    if done.status.success() {
        Ok(String::from_utf8_lossy(&done.stdout).trim().to_string())
    } else {
        Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_string()))
    }
}
