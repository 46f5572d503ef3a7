//! The database of results: every run, trial, observation and raw output, appended and never changed.
//!
//! The only place that knows SQL. Does not know what the numbers mean.

mod error;
mod export;
mod find;
mod read;
mod record;
#[cfg(test)]
mod tests;

pub use error::StoreError;
pub use export::Logged;
pub use read::RunSummary;

use crate::event::RunId;
use error::{corrupt, failed};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the database in the folder of results.
pub const FILE: &str = "kvmtune.db";

/// Version of `schema.sql`, kept in `user_version`.
const SCHEMA: i64 = 2;

/// Marks the file as kvmtune's, in `application_id`: `kvmt`.
const APPLICATION: i64 = 0x6b76_6d74;

/// How long another process may hold the database; its transactions take milliseconds, but a disk benchmark may
/// delay their fsync.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open database of results.
#[derive(Debug)]
pub struct Store {
    db: Connection,
    path: PathBuf,
    /// The run that events without an id are of.
    current: Option<RunId>,
}

impl Store {
    /// Opens the database in the folder `dir` for writing; makes both when they are absent.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        const DOING: &str = "open the results";
        let folder = |doing, source| StoreError::Folder {
            doing,
            path: dir.to_path_buf(),
            source,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(dir)
            .map_err(|e| folder("create the folder", e))?;
        let path = fs::canonicalize(dir)
            .map_err(|e| folder("reach the folder", e))?
            .join(FILE);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut db = connect(&path, flags).map_err(failed(DOING, &path))?;
        if db.is_readonly("main").map_err(failed(DOING, &path))? {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_READONLY);
            return Err(failed(DOING, &path)(rusqlite::Error::SqliteFailure(code, None)));
        }
        check_version(&db, &path)?;
        make_durable(&db).map_err(failed(DOING, &path))?;
        create_tables(&mut db).map_err(failed("create the tables", &path))?;
        Ok(Self {
            db,
            path,
            current: None,
        })
    }

    /// Opens the database in the folder `dir` for reading, a read-only folder too; nothing is made.
    pub fn open_existing(dir: &Path) -> Result<Self, StoreError> {
        let path = dir.join(FILE);
        let path = match File::open(&path).and_then(|_| fs::canonicalize(dir)) {
            Ok(dir) => dir.join(FILE),
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(StoreError::Missing { path }),
            Err(source) => {
                let doing = "read";
                return Err(StoreError::Folder { doing, path, source });
            }
        };
        let db = open_for_reading(&path)?;
        if check_version(&db, &path)? == 0 {
            return Err(StoreError::Missing { path });
        }
        Ok(Self {
            db,
            path,
            current: None,
        })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> StoreError + use<> {
        failed(doing, &self.path)
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // The folder is resolved, so a link in the place of the file itself is somebody's trap.
    let flags = flags
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(PATIENCE)?;
    // A database from somebody else must not run functions through its views.
    db.pragma_update(None, "trusted_schema", false)?;
    // Without it a statement is planned anew for every value bound to it: a quarter of the time of reading a run.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(db)
}

/// A committed trial survives power loss: in WAL mode FULL syncs the log at every commit. Where the file system
/// has no shared memory `SQLite` keeps its rollback journal, which is as durable.
fn make_durable(db: &Connection) -> rusqlite::Result<()> {
    db.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "full")?;
    db.pragma_update(None, "foreign_keys", true)
}

fn create_tables(db: &mut Connection) -> rusqlite::Result<()> {
    let change = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Asked under the lock: another process may have been quicker.
    if version(&change)? == 0 {
        change.execute_batch(include_str!("schema.sql"))?;
    }
    change.commit()
}

/// Tries as a writer first, because only a writer can bring in the log a killed run left behind.
fn open_for_reading(path: &Path) -> Result<Connection, StoreError> {
    let opened = connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|db| {
        db.pragma_update(None, "query_only", true)?;
        version(&db)?;
        Ok(db)
    });
    match opened.map_err(failed("read the results", path)) {
        Err(StoreError::ReadOnly { source, .. }) => {
            if has_log(path) {
                let path = path.to_path_buf();
                return Err(StoreError::Unmerged { path, source });
            }
            // Without the right to write here there can be no locks. Should somebody who may write begin to while we
            // read, pages of two states may meet: an error, mended by reading again.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
            connect(&immutable_uri(path), flags).map_err(failed("read the results", path))
        }
        other => other,
    }
}

fn has_log(path: &Path) -> bool {
    fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0)
}

/// <https://www.sqlite.org/uri.html>: `%`, `?` and `#` are escaped.
fn immutable_uri(path: &Path) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            _ => uri.push(byte),
        }
    }
    uri.extend(b"?immutable=1");
    std::ffi::OsString::from_vec(uri).into()
}

fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The schema version; 0 is an empty file.
fn check_version(db: &Connection, path: &Path) -> Result<i64, StoreError> {
    const DOING: &str = "read the schema version";
    // One statement sees one state, even while another process makes the tables.
    const SQL: &str = "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_schema)
                       FROM pragma_user_version, pragma_application_id";
    let (found, application, tables): (i64, i64, i64) = db
        .query_row(SQL, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .map_err(failed(DOING, path))?;
    match (found, application, tables) {
        (0, 0, 0) => Ok(0),
        (SCHEMA, APPLICATION, _) => Ok(found),
        (1..SCHEMA, APPLICATION, _) => Err(StoreError::Older {
            path: path.to_path_buf(),
            found,
            known: SCHEMA,
        }),
        (_, APPLICATION, _) if found > SCHEMA => Err(StoreError::Newer {
            path: path.to_path_buf(),
            found,
            known: SCHEMA,
        }),
        _ => Err(corrupt(DOING, path, "its tables are of another program")),
    }
}
