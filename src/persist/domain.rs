//! What a commit makes last in a libvirt domain and inside its guest.

use super::lasting::Lasting;
use crate::tunable::Setting;
use serde::{Deserialize, Serialize};

/// The part of a commit that goes to one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainPart {
    /// The libvirt connection URI.
    pub connection: String,
    /// The domain's name.
    pub name: String,
    /// The domain's UUID.
    pub uuid: String,
    /// Its own settings, in the order they are written.
    pub settings: Vec<Setting>,
    /// What is made to last inside its guest.
    pub lasting: Vec<Lasting>,
    /// The guest's live values, in the order they are written.
    pub values: Vec<Setting>,
}
