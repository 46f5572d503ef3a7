//! One change of a commit: made, undone and looked at, wherever it is.

use super::{CommitError, DomainChange, FileChange, GuestFileChange, GuestValueChange, Machine, ValueChange};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A change, with all that is needed to make it and to undo it. Both may be done again after a kill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// A file of the host or the image.
    File(FileChange),
    /// Live values of the host.
    Value(ValueChange),
    /// The profile of tuned.
    Profile {
        /// The one that was active.
        before: String,
        /// The one that is to be.
        after: String,
    },
    /// A domain: its definition and its live values.
    Domain(DomainChange),
    /// A file inside a guest.
    GuestFile(GuestFileChange),
    /// Live values of a guest.
    GuestValue(GuestValueChange),
}

impl Change {
    /// Makes it.
    pub fn apply(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        match self {
            Self::File(change) => change.apply(machine),
            Self::Value(change) => change.apply(machine),
            Self::Profile { before, after } => machine.switch_profile(before, after),
            Self::Domain(change) => change.apply(machine),
            Self::GuestFile(change) => change.apply(machine),
            Self::GuestValue(change) => change.apply(machine),
        }
    }

    /// Undoes it, however much of it was made.
    pub fn undo(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        match self {
            Self::File(change) => change.undo(machine),
            Self::Value(change) => change.undo(machine),
            Self::Profile { before, after } => machine.switch_profile(after, before),
            Self::Domain(change) => change.undo(machine),
            Self::GuestFile(change) => change.undo(machine),
            Self::GuestValue(change) => change.undo(machine),
        }
    }

    /// What of a domain or its guest it changes; `None` for the host.
    pub(super) fn in_domain(&self) -> Option<String> {
        match self {
            Self::File(_) | Self::Value(_) | Self::Profile { .. } => None,
            Self::Domain(change) => Some(format!("domain {}", change.domain.name)),
            Self::GuestFile(change) => {
                Some(format!("{} in the guest of {}", change.path, change.domain.name))
            }
            Self::GuestValue(change) => Some(format!("values in the guest of {}", change.domain.name)),
        }
    }

    /// Whether what it made is in force.
    pub fn verify(&self, machine: &mut Machine<'_>) -> Vec<Finding> {
        match self {
            Self::File(change) => change.verify(machine),
            Self::Value(change) => change.verify(machine),
            Self::Profile { after, .. } => vec![profile(after, machine)],
            Self::Domain(change) => change.verify(machine),
            Self::GuestFile(change) => change.verify(machine),
            Self::GuestValue(change) => change.verify(machine),
        }
    }
}

/// Where tuned writes down its active profile.
pub(super) const ACTIVE_PROFILE: &str = "/etc/tuned/active_profile";

fn profile(wanted: &str, machine: &Machine<'_>) -> Finding {
    let held = match machine.root.read(Path::new(ACTIVE_PROFILE)) {
        Ok(found) if found.as_deref().map(str::trim) == Some(wanted) => Held::Yes,
        Ok(found) => Held::No(format!(
            "the active profile is `{}`",
            found.unwrap_or_default().trim().escape_default()
        )),
        Err(error) => Held::No(error.to_string()),
    };
    Finding {
        layer: Layer::Profile,
        place: "tuned".into(),
        wanted: wanted.into(),
        held,
    }
}

/// Where something committed is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layer {
    /// In a file.
    File,
    /// In the running kernel.
    Value,
    /// In tuned.
    Profile,
    /// On the command line of this boot.
    Boot,
    /// In the stored definition of a domain.
    Definition,
    /// In the running domain.
    Domain,
    /// In a file inside a guest.
    GuestFile,
    /// In a guest's running kernel.
    GuestValue,
}

/// Whether something holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// As committed.
    Yes,
    /// Not as committed, and how.
    No(String),
    /// Not yet, and what it waits for: a reboot, a start of the guest.
    NotYet(String),
}

/// What was found at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it was looked for.
    pub layer: Layer,
    /// The place.
    pub place: String,
    /// What was committed.
    pub wanted: String,
    /// Whether it is so.
    pub held: Held,
}
