//! The write-ahead undo journal: what must be undone, on disk before the change it undoes is made.
//!
//! JSON lines, only ever appended to, emptied when nothing is open. Does not know how an undo is done.

use super::lock::{HostLock, Keeper};
use super::{ChangeError, Left};
use crate::experiment::SshTarget;
use crate::host::{NextBoot, Scope};
use crate::lab::LabPlace;
use crate::tunable::{Address, BootParameter, Kind};
use nix::libc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How one change is undone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// Write the old value.
    Write(WriteUndo),
    /// End a session of the lab, or give a domain back.
    Session(SessionUndo),
    /// Give the host its own command line back. It outlives the boot it is noted in.
    NextBoot(NextBootUndo),
}

/// What the host was booted with before a run that boots it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct NextBootUndo {
    /// Where the next boot is arranged for.
    pub place: NextBoot,
    /// Which machine it is.
    pub machine: String,
    /// The whole command line.
    pub line: String,
    /// The parameters that are changed.
    pub parameters: Vec<BootParameter>,
    /// What stood at the place.
    pub prior: Option<String>,
}

/// The old value of one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WriteUndo {
    /// Where.
    pub address: Address,
    /// How readings are spelled canonically.
    pub kind: Kind,
    /// What was selected before, as it was read.
    pub old: String,
    /// What must still exist for the undo to make sense.
    pub scope: Scope,
}

/// What a session leaves on the machine when it is killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionUndo {
    /// An embedded guest; everything made for it is found from its place.
    Lab(LabPlace),
    /// A domain of the user's.
    Domain {
        /// The libvirt connection URI.
        connection: String,
        /// The domain's name.
        name: String,
        /// The domain's UUID.
        uuid: String,
        /// The run it was found in, as [`Scope::Domain`] names it; absent when it was off.
        instance: Option<String>,
        /// Target name of its data disk; the first disk in journals of old.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        disk: Option<String>,
        /// The guest's ssh server, when that is the way into it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ssh: Option<SshTarget>,
    },
}

impl fmt::Display for Undo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(undo) => write!(f, "{} = {}", undo.address, undo.old.escape_default()),
            Self::Session(SessionUndo::Lab(place)) => write!(f, "lab {}", place.id),
            Self::Session(SessionUndo::Domain { name, .. }) => write!(f, "session of domain {name}"),
            Self::NextBoot(_) => f.write_str("the host's command line"),
        }
    }
}

/// An undo with its number in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Numbers ascend in the order of changes.
    pub seq: u64,
    /// How it is undone.
    pub undo: Undo,
    /// Why no running change will undo it: it was found at start, or could not be restored.
    left: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::large_enum_variant, reason = "a handful at a time")]
enum Record {
    Opened { seq: u64, undo: Box<Undo> },
    Closed { seqs: Vec<u64> },
}

/// The journal of one host. Whoever has it open is the only one who may change that host.
pub struct Journal {
    _lock: HostLock,
    path: PathBuf,
    file: File,
    /// Bytes known to be whole lines on disk.
    len: u64,
    /// True when bytes beyond `len` may stand in the file.
    torn: bool,
    next: u64,
    open: BTreeMap<u64, Entry>,
    observer: Option<Box<dyn FnMut(u64) + Send>>,
    appends: u64,
}

impl Journal {
    /// Opens or creates the journal in `dir`, which no other process may have open. A torn last line is dropped:
    /// the change it announced was not made.
    pub fn open(dir: &Path) -> Result<Self, ChangeError> {
        Self::open_as(dir, Keeper::Verb)
    }

    /// The same, and whoever finds it locked meanwhile is told by whom.
    pub fn open_as(dir: &Path, keeper: Keeper) -> Result<Self, ChangeError> {
        create_dir(dir)?;
        let lock = HostLock::take(&dir.join("lock"), keeper)?;
        let path = journal_file(dir);
        let failed = |doing| {
            let path = path.clone();
            move |source| ChangeError::Io { doing, path, source }
        };
        let mut file = open_private(&path).map_err(failed("open"))?;
        File::open(dir)
            .and_then(|d| d.sync_all())
            .map_err(failed("create"))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed("read"))?;
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let mut journal = Self {
            _lock: lock,
            path,
            file,
            len: whole as u64,
            torn: whole < bytes.len(),
            next: 0,
            open: BTreeMap::new(),
            observer: None,
            appends: 0,
        };
        for (i, line) in bytes[..whole].split_inclusive(|b| *b == b'\n').enumerate() {
            let record = serde_json::from_slice(line).map_err(|source| ChangeError::Damaged {
                path: journal.path.clone(),
                line: i + 1,
                source,
            })?;
            journal.take_in(record, Some("an earlier run was ended before it could"));
        }
        journal.compact()?;
        Ok(journal)
    }

    fn take_in(&mut self, record: Record, left: Option<&str>) {
        match record {
            Record::Opened { seq, undo } => {
                self.next = self.next.max(seq + 1);
                let left = left.map(str::to_string);
                let undo = *undo;
                self.open.insert(seq, Entry { seq, undo, left });
            }
            Record::Closed { seqs } => self.open.retain(|seq, _| !seqs.contains(seq)),
        }
    }

    /// Announces changes. When this returns, the undos are on disk and the changes may be made.
    pub fn append(&mut self, undos: Vec<Undo>) -> Result<Vec<Entry>, ChangeError> {
        let first = self.next;
        let numbered = (first..).zip(undos);
        self.write(
            numbered
                .map(|(seq, undo)| Record::Opened {
                    seq,
                    undo: Box::new(undo),
                })
                .collect(),
        )?;
        Ok(self.open.range(first..).map(|(_, entry)| entry.clone()).collect())
    }

    /// Notes that the undos are done.
    pub fn close(&mut self, seqs: Vec<u64>) -> Result<(), ChangeError> {
        if seqs.is_empty() {
            return Ok(());
        }
        self.write(vec![Record::Closed { seqs }])
    }

    fn write(&mut self, records: Vec<Record>) -> Result<(), ChangeError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut lines = Vec::new();
        for record in &records {
            serde_json::to_writer(&mut lines, record).map_err(|e| self.failed("write")(e.into()))?;
            lines.push(b'\n');
        }
        self.cut()?;
        self.torn = true;
        let written = self.file.write_all(&lines).and_then(|()| self.file.sync_data());
        written.map_err(|e| self.failed("write")(e))?;
        self.torn = false;
        self.len += lines.len() as u64;
        for record in records {
            self.take_in(record, None);
        }
        self.appends += 1;
        if let Some(observer) = &mut self.observer {
            observer(self.appends);
        }
        Ok(())
    }

    /// Removes what a failed append, of this process or one that was killed, left behind the last whole line.
    fn cut(&mut self) -> Result<(), ChangeError> {
        if self.torn {
            let cut = self.file.set_len(self.len);
            cut.map_err(|e| self.failed("truncate")(e))?;
            self.torn = false;
        }
        Ok(())
    }

    /// Empties the file when nothing is open; one truncation, so that a kill leaves the old or the new state.
    pub fn compact(&mut self) -> Result<(), ChangeError> {
        if self.is_clean() && self.len > 0 {
            let emptied = self.file.set_len(0).and_then(|()| self.file.sync_data());
            emptied.map_err(|e| self.failed("truncate")(e))?;
            self.len = 0;
            self.torn = false;
        }
        Ok(())
    }

    /// What is still to be undone, in the order of the changes.
    pub fn open_entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.open.values()
    }

    /// True when nothing is to be undone.
    pub fn is_clean(&self) -> bool {
        self.open.is_empty()
    }

    /// True when nothing is to be undone but what outlives this boot of the host, and is for a later one.
    pub fn is_done_for_now(&self) -> bool {
        self.open_entries()
            .all(|entry| matches!(entry.undo, Undo::NextBoot(_)))
    }

    /// Fails with [`ChangeError::Unclean`] when an entry is open that no running change will undo.
    pub fn require_clean(&self) -> Result<(), ChangeError> {
        let entries = self.left();
        if entries.is_empty() {
            Ok(())
        } else {
            Err(ChangeError::Unclean { entries })
        }
    }

    /// The open entries that no running change will undo.
    pub fn left(&self) -> Vec<Left> {
        let left = |entry: &Entry| {
            Some(Left {
                seq: entry.seq,
                what: entry.undo.to_string(),
                why: entry.left.clone()?,
            })
        };
        self.open_entries().filter_map(left).collect()
    }

    /// What is noted of the host's own command line, with its number.
    pub fn next_boot(&self) -> Option<(u64, &NextBootUndo)> {
        self.open_entries().find_map(|entry| match &entry.undo {
            Undo::NextBoot(undo) => Some((entry.seq, undo)),
            _ => None,
        })
    }

    /// Takes the note of the host's own command line over from an earlier boot: this run will undo it.
    pub fn adopt_next_boot(&mut self) {
        let notes = self.open.values_mut();
        for entry in notes.filter(|entry| matches!(entry.undo, Undo::NextBoot(_))) {
            entry.left = None;
        }
    }

    /// Notes that an entry of this run could not be undone.
    pub(super) fn leave(&mut self, seq: u64, why: String) {
        if let Some(entry) = self.open.get_mut(&seq) {
            entry.left = Some(why);
        }
    }

    /// Calls `observer` after each append, with the number of appends so far.
    pub fn observe(&mut self, observer: Box<dyn FnMut(u64) + Send>) {
        self.observer = Some(observer);
    }

    /// Leaves bytes of a line behind, as an append on a full disk does.
    #[cfg(test)]
    pub(super) fn tear(&mut self, bytes: &[u8]) {
        self.torn = true;
        self.file
            .write_all(bytes)
            .expect("a test's own folder can be written");
    }

    fn failed(&self, doing: &'static str) -> impl FnOnce(io::Error) -> ChangeError + use<> {
        let path = self.path.clone();
        move |source| ChangeError::Io { doing, path, source }
    }
}

/// The file of the journal in `dir`. Empty or absent when nothing is to be undone.
pub fn journal_file(dir: &Path) -> PathBuf {
    dir.join("journal.jsonl")
}

/// Makes the folder, for its owner only; refuses one that somebody else can write to.
pub(super) fn create_dir(dir: &Path) -> Result<(), ChangeError> {
    let failed = |source| ChangeError::Io {
        doing: "create",
        path: dir.into(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(failed)?;
    let found = dir.symlink_metadata().map_err(failed)?;
    let untrusted = |why| ChangeError::Untrusted {
        path: dir.into(),
        why,
    };
    if !found.is_dir() {
        return Err(untrusted("it is a link or a file; put a folder in its place"));
    }
    if found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(untrusted("it is somebody else's; make it yours with chown"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(untrusted("others can write to it; close it with chmod 700"));
    }
    Ok(())
}

/// Opens or creates a file for its owner only, for reading and appending, never through a symbolic link.
pub fn open_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}
