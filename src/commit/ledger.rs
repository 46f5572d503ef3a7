//! The ledger: which commits are in force, and what was there before the first of them.

use super::file::{Content, FileState};
use super::machine::Watch;
use super::root::Root;
use super::{CommitError, DomainOrigins, GuestOrigins};
use crate::change::WriteUndo;
use crate::event::RunId;
use crate::persist::domain::DomainPart;
use crate::persist::{CommitId, Keeper, Lasting, Layer, Stamp};
use crate::tunable::Setting;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a commit is for, in virsh's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// The running system only, until its next boot.
    Live,
    /// What lasts only: files and definitions.
    Config,
    /// Both.
    Both,
}

impl Extent {
    /// Whether the running system is changed.
    pub fn is_live(self) -> bool {
        self != Self::Config
    }

    /// Whether what lasts is changed.
    pub fn is_config(self) -> bool {
        self != Self::Live
    }
}

/// The part of a commit that goes to the host or the image.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HostPart {
    /// What is made to last.
    pub lasting: Vec<Lasting>,
    /// Live values, in the order they are written.
    pub values: Vec<Setting>,
    /// Everything that the running system is to hold, now or after a reboot.
    pub checked: Vec<Setting>,
    /// The profile of tuned that kvmtune's own builds upon; `None` where tuned is not installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned: Option<String>,
    /// Whether kvmtune's own profile is made the active one.
    #[serde(default)]
    pub activates_profile: bool,
}

/// One commit in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Its number, and what speaks for it.
    pub stamp: Stamp,
    /// The run that was asked about.
    pub run: RunId,
    /// What it changes.
    pub extent: Extent,
    /// The boot of the host it was made in; empty for an image.
    #[serde(default)]
    pub boot: String,
    /// What takes it back after a reboot, when it waits to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<Keeper>,
    /// The host's part.
    pub host: HostPart,
    /// The domain's and guest's part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<DomainPart>,
}

impl Commit {
    /// What it adds to the host's files.
    pub fn layer(&self) -> Layer<'_> {
        let items = if self.extent.is_config() {
            self.host.lasting.as_slice()
        } else {
            &[]
        };
        let tuned = self.host.tuned.as_deref().filter(|_| self.extent.is_config());
        let keeper = self.keeper.as_ref().filter(|_| self.extent.is_config());
        Layer {
            stamp: &self.stamp,
            items,
            tuned,
            keeper,
        }
    }
}

/// What was there before the first commit that changed it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Origins {
    /// Files, links and folders.
    #[serde(default)]
    pub files: BTreeMap<PathBuf, FileState>,
    /// Live values of the host.
    #[serde(default)]
    pub values: Vec<WriteUndo>,
    /// The active profile of tuned; empty when none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Domains.
    #[serde(default)]
    pub domains: DomainOrigins,
    /// Guests.
    #[serde(default)]
    pub guests: GuestOrigins,
}

/// All commits in force, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Ledger {
    /// Counts its changes.
    pub serial: u64,
    /// How many commits there ever were.
    pub last: u32,
    /// In force.
    pub commits: Vec<Commit>,
    /// What they replaced.
    pub origins: Origins,
}

impl Ledger {
    /// The number of the next commit.
    pub fn next_id(&self) -> CommitId {
        CommitId(self.last + 1)
    }

    /// The commit of a number, or the newest.
    pub fn find(&self, id: Option<CommitId>) -> Result<&Commit, CommitError> {
        match id {
            Some(id) => self
                .commits
                .iter()
                .find(|commit| commit.stamp.commit == id)
                .ok_or(CommitError::Unknown { id }),
            None => self
                .commits
                .last()
                .ok_or_else(|| CommitError::Refused("nothing is committed".into())),
        }
    }
}

/// Where ledger and half-made changes are kept.
#[derive(Debug)]
pub struct LedgerStore {
    root: Root,
    folder: PathBuf,
}

/// The ledger's folder below the state folder.
const FOLDER: &str = "/commits";
/// The ledger's folder in an image.
const IMAGE_FOLDER: &str = "/var/lib/kvmtune/commits";

/// True when a verb was killed while it changed this host, or is about it now.
pub fn is_half_made(state: &Path) -> bool {
    state.join(&FOLDER[1..]).join(PENDING).symlink_metadata().is_ok()
}

/// Longest note of the ledger's, in bytes: GRUB's menu at its longest, and the definitions of hundreds of domains.
const MAX_NOTE: usize = 16 << 20;
const LEDGER: &str = "ledger.json";
const PENDING: &str = "pending.json";

impl LedgerStore {
    /// The ledger of this host, in its state folder. Nothing is made before the first commit.
    pub fn of_host(state: Root) -> Self {
        Self {
            root: state,
            folder: FOLDER.into(),
        }
    }

    /// The ledger of an image, inside it.
    pub fn of_image(image: Root) -> Self {
        Self {
            root: image,
            folder: IMAGE_FOLDER.into(),
        }
    }

    /// The ledger; an empty one when there is none.
    pub fn load(&self) -> Result<Ledger, CommitError> {
        Ok(self.read(LEDGER)?.unwrap_or_default())
    }

    /// Makes `ledger` the one that counts. When this returns, it is on disk.
    pub(super) fn save(&self, ledger: &Ledger, watch: &Watch) -> Result<(), CommitError> {
        self.write(LEDGER, ledger, watch)
    }

    /// What was announced and not ended.
    pub(super) fn pending<T: DeserializeOwned>(&self) -> Result<Option<T>, CommitError> {
        self.read(PENDING)
    }

    /// Announces changes. When this returns, they are on disk and may be made.
    pub(super) fn announce<T: Serialize>(&self, pending: &T, watch: &Watch) -> Result<(), CommitError> {
        let mut folder = PathBuf::from("/");
        for part in self.folder.iter().filter(|part| *part != "/") {
            folder.push(part);
            if self.root.look(&folder)? == FileState::Absent {
                self.root.place(&folder, &FileState::Folder, watch)?;
            }
        }
        self.write(PENDING, pending, watch)
    }

    /// Refuses a ledger that could not be read again.
    pub(super) fn fits(&self, ledger: &Ledger) -> Result<(), CommitError> {
        self.text(LEDGER, ledger).map(drop)
    }

    /// Nothing is announced any more.
    pub(super) fn settle(&self, watch: &Watch) -> Result<(), CommitError> {
        self.root
            .place(&self.folder.join(PENDING), &FileState::Absent, watch)
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, CommitError> {
        let path = self.folder.join(name);
        match self.root.look_up_to(&path, MAX_NOTE as u64)? {
            FileState::Absent => Ok(None),
            FileState::File { content, .. } => {
                let parsed = serde_json::from_slice(&content.0);
                parsed.map(Some).map_err(|e| self.damaged(&path, e.to_string()))
            }
            other => Err(self.damaged(&path, format!("it is {}", other.told()))),
        }
    }

    fn damaged(&self, path: &Path, why: String) -> CommitError {
        CommitError::Damaged {
            path: self.root.shown(path),
            why,
        }
    }

    fn text<T: Serialize>(&self, name: &str, what: &T) -> Result<Vec<u8>, CommitError> {
        let path = self.folder.join(name);
        let bytes = serde_json::to_vec_pretty(what).map_err(|e| self.damaged(&path, e.to_string()))?;
        if bytes.len() > MAX_NOTE {
            return Err(CommitError::Refused(format!(
                "{} would have {} MiB, and no more than {} are read: take older commits back first; nothing was changed",
                self.root.shown(&path).display(),
                bytes.len() >> 20,
                MAX_NOTE >> 20
            )));
        }
        Ok(bytes)
    }

    fn write<T: Serialize>(&self, name: &str, what: &T, watch: &Watch) -> Result<(), CommitError> {
        let path = self.folder.join(name);
        let bytes = self.text(name, what)?;
        let state = FileState::File {
            content: Content(bytes),
            mode: 0o600,
            owner: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            attributes: Vec::new(),
        };
        self.root.place(&path, &state, watch)
    }
}
