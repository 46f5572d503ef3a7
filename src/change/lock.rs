//! One kvmtune changes a host at a time.
//!
//! Knows a file and its lock; the kernel drops the lock with the process, however that ends.

use super::ChangeError;
use super::journal::open_private;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

/// Held while a host is changed; given back when dropped.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl HostLock {
    /// Takes the lock of `path`, in a folder that exists, without waiting.
    pub fn take(path: &Path) -> Result<Self, ChangeError> {
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
        writeln!(file, "{}", std::process::id()).map_err(failed("write"))?;
        Ok(Self { _file: file })
    }
}

fn holder(file: &File) -> String {
    let mut text = String::new();
    let read = file.take(20).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) if read.is_ok() => format!("another kvmtune (process {pid})"),
        _ => "another kvmtune".into(),
    }
}
