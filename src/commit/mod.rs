//! What is proven made permanent: written down, put in force, watched, and taken back.
//!
//! Knows the ledger of commits and how each change is made and undone; does not know what proves a treatment, nor how the
//! texts of files are made (`persist`).

mod between;
mod change;
mod domain;
mod domain_part;
mod domains;
mod file;
mod files;
mod guest;
mod ledger;
mod live;
mod machine;
mod opened;
mod part;
mod root;
mod scan;
mod shown;
mod status;
mod sysfs;
mod transaction;
mod value;

pub use between::{Wanted, between};
pub use change::{Change, Finding, Held, Layer};
pub use domain::{DefinitionChange, DomainChange, DomainOrigins};
pub use domain_part::{Measured, domain_part};
pub use domains::Domains;
pub use file::{Afterwards, FileChange, FileState};
pub use guest::{GuestFileChange, GuestOrigins, GuestValueChange};
pub use ledger::{Commit, Extent, HostPart, Ledger, LedgerStore, Origins, is_half_made};
pub use machine::{Machine, Tools, Watch};
pub use opened::{Opened, next_deadline};
pub use part::{Tuned, host_part, split};
pub use root::Root;
pub use scan::{active_profile, others};
pub use status::status;
pub use sysfs::HostSysfs;
pub use transaction::{Pending, carry_out, give_up_half_made, put_back_half_made};
pub use value::ValueChange;

use crate::change::ChangeError;
use crate::host::HostError;
use crate::persist::{CommitId, Unfit};
use std::io;
use std::path::PathBuf;

/// Why something was not committed or not taken back.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// A file could not be read or written.
    #[error("failed to {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A value or a tool.
    #[error(transparent)]
    Host(#[from] HostError),
    /// Journal and lock.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// A setting cannot be made to last.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// Something is not as the last commit left it.
    #[error("{}; nothing was changed: look at it, and put it back by hand, or let `kvmtune revert --force` overwrite it", changed.join("; "))]
    ChangedSince {
        /// What, and how.
        changed: Vec<String>,
    },
    /// No commit has this number.
    #[error("no commit {id} is in force; `kvmtune status` lists them")]
    Unknown {
        /// The number.
        id: CommitId,
    },
    /// The ledger cannot be read.
    #[error("{} is damaged: {why}; move it away once you have undone by hand what it names", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Anything else that is in the way.
    #[error("{0}")]
    Refused(String),
    /// A change failed half-way, and what was done could not be undone: it stays noted, and the next verb tries again.
    #[error("{failed}; and what was done before could not be put back: {left}")]
    NotPutBack {
        /// Why the change was given up.
        failed: String,
        /// What is left, and why.
        left: String,
    },
}
