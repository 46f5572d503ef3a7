//! A file with all that is kept of it, and its change from one state to another.

use super::change::{Finding, Held, Layer};
use super::{CommitError, Machine};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

/// Bytes; base64 in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content(pub Vec<u8>);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    /// Nothing.
    Absent,
    /// A folder, whatever is in it.
    Folder,
    /// A symbolic link.
    Link {
        /// Where it leads, as it is written.
        target: String,
    },
    /// A plain file.
    File {
        /// Its bytes.
        content: Content,
        /// Its permissions.
        mode: u32,
        /// Its owner.
        owner: u32,
        /// Its group.
        group: u32,
        /// Its extended attributes, by name.
        attributes: Vec<(String, Content)>,
    },
}

impl FileState {
    /// A new file of root's that all may read.
    pub fn new(text: &str) -> Self {
        Self::File {
            content: Content(text.as_bytes().to_vec()),
            mode: 0o644,
            owner: 0,
            group: 0,
            attributes: Vec::new(),
        }
    }

    /// Another text in a file that keeps its owner, mode and attributes; a new file where there is none.
    #[must_use]
    pub fn with_text(&self, text: &str) -> Self {
        match self {
            Self::File {
                mode,
                owner,
                group,
                attributes,
                ..
            } => Self::File {
                content: Content(text.as_bytes().to_vec()),
                mode: *mode,
                owner: *owner,
                group: *group,
                attributes: attributes.clone(),
            },
            _ => Self::new(text),
        }
    }

    /// It with the extended attributes of what is found: labels and access lists are given to a new file by the system.
    #[must_use]
    pub(super) fn labelled_as(self, found: &Self) -> Self {
        match (self, found) {
            (
                Self::File {
                    content,
                    mode,
                    owner,
                    group,
                    ..
                },
                Self::File { attributes, .. },
            ) => Self::File {
                content,
                mode,
                owner,
                group,
                attributes: attributes.clone(),
            },
            (state, _) => state,
        }
    }

    /// Its text; `None` when it is no file.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::File { content, .. } => Some(String::from_utf8_lossy(&content.0).into_owned()),
            _ => None,
        }
    }

    /// Whether what is found is this.
    pub(super) fn held(&self, found: &Self) -> Held {
        match (found, self) {
            (found, wanted) if found == wanted => Held::Yes,
            (Self::File { content, .. }, Self::File { content: wanted, .. }) if content == wanted => {
                Held::No("its owner, mode or attributes were changed".into())
            }
            (Self::File { .. }, Self::File { .. }) => Held::No("its content was changed".into()),
            (found, _) => Held::No(format!("it is {}", found.told())),
        }
    }

    /// It in a few words.
    pub fn told(&self) -> &'static str {
        match self {
            Self::Absent => "not there",
            Self::Folder => "a folder",
            Self::Link { .. } => "a link",
            Self::File { .. } => "a file",
        }
    }
}

/// What is run once a file is in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Afterwards {
    /// GRUB's menu is made.
    Menu {
        /// Where it stands, below the root.
        path: PathBuf,
        /// As it was found: what could not make it cannot make it again either.
        found: FileState,
    },
}

/// A file, link or folder from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileChange {
    /// Below the root.
    pub path: PathBuf,
    /// As it was found.
    pub before: FileState,
    /// As it is to be.
    pub after: FileState,
    /// What must be run for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Afterwards>,
}

impl FileChange {
    pub(super) fn apply(&self, machine: &Machine<'_>) -> Result<(), CommitError> {
        if self.after == FileState::Absent && self.before == FileState::Folder {
            return self.remove_folder(machine);
        }
        machine.place(&self.path, &self.after)?;
        match self.then {
            Some(Afterwards::Menu { .. }) => machine.make_menu(),
            None => Ok(()),
        }
    }

    pub(super) fn undo(&self, machine: &Machine<'_>) -> Result<(), CommitError> {
        if self.before == FileState::Absent && self.after == FileState::Folder {
            return self.remove_folder(machine);
        }
        machine.put_back(&self.path, &self.before)?;
        match &self.then {
            // Kernels may have come and gone since it was found: it is made anew, and put back as it was only where it cannot.
            Some(Afterwards::Menu { path, found })
                if !machine.root.is_at(path, found)?
                    && (machine.tools.menu.is_none() || machine.make_menu().is_err()) =>
            {
                machine.place(path, found)
            }
            _ => Ok(()),
        }
    }

    /// What somebody has put in its place is theirs.
    fn remove_folder(&self, machine: &Machine<'_>) -> Result<(), CommitError> {
        match machine.look(&self.path)? {
            FileState::Folder => machine.place(&self.path, &FileState::Absent),
            _ => Ok(()),
        }
    }

    pub(super) fn verify(&self, machine: &Machine<'_>) -> Vec<Finding> {
        let place = machine.root.shown(&self.path).display().to_string();
        let held = match machine.look(&self.path) {
            Ok(found) => self.after.held(&found),
            Err(error) => Held::No(error.to_string()),
        };
        vec![Finding {
            layer: Layer::File,
            place,
            wanted: self.after.told().into(),
            held,
        }]
    }
}
