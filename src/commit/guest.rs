//! Changes inside a guest. The frame only: what a guest needs is still to come.

use super::between::Wanted;
use super::change::{Change, Finding};
use super::{Commit, CommitError, Machine, Origins};
use serde::{Deserialize, Serialize};

/// A file inside a guest from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFileChange {}

/// Live values of a guest from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestValueChange {}

/// What guests were before the first commit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestOrigins {}

impl GuestFileChange {
    pub(super) fn apply(&self, _machine: &mut Machine<'_>) -> Result<(), CommitError> {
        Ok(())
    }

    pub(super) fn undo(&self, _machine: &mut Machine<'_>) -> Result<(), CommitError> {
        Ok(())
    }

    pub(super) fn verify(&self, _machine: &mut Machine<'_>) -> Vec<Finding> {
        Vec::new()
    }
}

impl GuestValueChange {
    pub(super) fn apply(&self, _machine: &mut Machine<'_>) -> Result<(), CommitError> {
        Ok(())
    }

    pub(super) fn undo(&self, _machine: &mut Machine<'_>) -> Result<(), CommitError> {
        Ok(())
    }

    pub(super) fn verify(&self, _machine: &mut Machine<'_>) -> Vec<Finding> {
        Vec::new()
    }
}

/// The changes inside guests that lead from the old commits to the new ones; what was found before any is put into
/// `origins`.
pub(super) fn between(
    _old: &[Commit],
    _new: &[Commit],
    _origins: &mut Origins,
    _wanted: Wanted,
    _machine: &mut Machine<'_>,
) -> Result<Vec<Change>, CommitError> {
    Ok(Vec::new())
}
