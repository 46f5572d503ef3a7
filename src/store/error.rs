//! What can go wrong with the database of results, said so that the user knows what to do.
//!
//! Knows `SQLite`'s result codes; does not know the tables.

use rusqlite::ErrorCode;
use std::io;
use std::path::{Path, PathBuf};

/// A failed call on the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing has been stored there.
    #[error(
        "no results in {}: run an experiment first (`kvmtune run FILE`), or name the folder it ran in",
        .path.display()
    )]
    Missing {
        /// Where the database would be.
        path: PathBuf,
    },
    /// The folder or the file cannot be made, reached or opened at all.
    #[error("failed to {doing} {}: {source}; check its owner and permissions, or name another folder", .path.display())]
    Folder {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The folder, the file or the file system takes no writes.
    #[error(
        "failed to {doing}: {} cannot be written ({source}); make its folder writable or name another one",
        .path.display()
    )]
    ReadOnly {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// `SQLite`'s error.
        source: rusqlite::Error,
    },
    /// A killed run left trials in the write-ahead log, and the folder takes no writes to bring them in.
    #[error(
        "failed to read {}: its newest trials are still in the write-ahead log beside it and the folder is \
         read-only ({source}); copy the whole folder to a writable place and read it there",
        .path.display()
    )]
    Unmerged {
        /// The database.
        path: PathBuf,
        /// `SQLite`'s error.
        source: rusqlite::Error,
    },
    /// No space.
    #[error(
        "failed to {doing}: no space left for {} ({source}); what was stored before is safe: free some space, \
         then go on with `kvmtune run --resume`",
        .path.display()
    )]
    Full {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// `SQLite`'s error.
        source: rusqlite::Error,
    },
    /// Not a database, or a damaged one.
    #[error(
        "failed to {doing}: {} is damaged or not a database of kvmtune ({source}); move it away to start afresh, \
         or rescue its rows with `sqlite3 FILE .recover`",
        .path.display()
    )]
    Corrupt {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Somebody else holds it.
    #[error(
        "failed to {doing}: {} is locked by another process ({source}); wait for it to end (`fuser` names it), \
         then try again",
        .path.display()
    )]
    Locked {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// `SQLite`'s error.
        source: rusqlite::Error,
    },
    /// Written by an earlier kvmtune.
    #[error(
        "{} has schema version {found}, this kvmtune writes {known}: read it with the kvmtune that wrote it, and name \
         another folder with `--results`",
        .path.display()
    )]
    Older {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// Written by a later kvmtune.
    #[error(
        "{} has schema version {found}, this kvmtune knows up to {known}: use a newer kvmtune, or another folder",
        .path.display()
    )]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema version.
        found: i64,
        /// The version of this program.
        known: i64,
    },
    /// A trial or a number that breaks a rule of the tables: recorded twice, or not finite.
    #[error("failed to {doing}: {} refused the row ({source}); nothing of it was stored", .path.display())]
    Refused {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// The rule.
        source: rusqlite::Error,
    },
    /// A record that cannot be turned into text or compressed.
    #[error("failed to {doing}: {source}; nothing of it was stored")]
    Encode {
        /// What was tried.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// Any other failure of the database.
    #[error("failed to {doing} in {}: {source}; look for disk errors in `dmesg`", .path.display())]
    Other {
        /// What was tried.
        doing: &'static str,
        /// The database.
        path: PathBuf,
        /// `SQLite`'s error.
        source: rusqlite::Error,
    },
    /// A trial was reported before the run it is of.
    #[error("an event came before its run was started or resumed; start the run first")]
    NoRun,
    /// No such run.
    #[error("no run `{wanted}`{}; `kvmtune runs` lists them all", .nearest.as_ref().map(|n| format!(", did you mean `{n}`?")).unwrap_or_default())]
    Unknown {
        /// What was asked for, cut and escaped.
        wanted: String,
        /// The name most like it.
        nearest: Option<String>,
    },
    /// Several runs.
    #[error("`{wanted}` may be any of {}: give more of the id", .candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// Short ids that match, with their experiments.
        candidates: Vec<String>,
    },
    /// No such trial.
    #[error("run {run} has no trial {order}; `kvmtune export` lists its trials")]
    NoTrial {
        /// Short id of the run.
        run: String,
        /// The position asked for.
        order: u32,
    },
    /// The receiver of an export took no more.
    #[error("failed to write the export: {source}; check the space and permissions of its target")]
    Output {
        /// Why; a closed pipe is of kind `BrokenPipe`.
        source: io::Error,
    },
}

/// Maps `SQLite`'s errors while `doing` something on the database at `path`.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
    let path = path.to_path_buf();
    move |source| classify(doing, path.clone(), source)
}

fn classify(doing: &'static str, path: PathBuf, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error() {
        Some(e) if e.extended_code == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
            StoreError::Full { doing, path, source }
        }
        Some(e) => match e.code {
            ErrorCode::DiskFull => StoreError::Full { doing, path, source },
            ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied => {
                StoreError::ReadOnly { doing, path, source }
            }
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => StoreError::Locked { doing, path, source },
            ErrorCode::ConstraintViolation => StoreError::Refused { doing, path, source },
            ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => corrupt(doing, path, source),
            _ => StoreError::Other { doing, path, source },
        },
        // A column of another type, or a text that is no id or time: somebody else wrote the row.
        None => corrupt(doing, path, source),
    }
}

/// The database holds something no kvmtune wrote.
pub(super) fn corrupt(
    doing: &'static str,
    path: impl Into<PathBuf>,
    source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> StoreError {
    StoreError::Corrupt {
        doing,
        path: path.into(),
        source: source.into(),
    }
}
