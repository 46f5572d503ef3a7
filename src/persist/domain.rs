//! What a commit makes last in a libvirt domain and inside its guest.

use super::lasting::Lasting;
use crate::experiment::SshTarget;
use crate::tunable::{Setting, XmlSetting};
use serde::{Deserialize, Serialize};

/// A domain, and how it and its guest are reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainRef {
    /// The libvirt connection URI.
    pub connection: String,
    /// The domain's name.
    pub name: String,
    /// The domain's UUID.
    pub uuid: String,
    /// Target name of its data disk.
    pub disk: String,
    /// The guest's ssh server, when that is the way into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<SshTarget>,
}

/// The part of a commit that goes to one domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainPart {
    /// Which one.
    pub domain: DomainRef,
    /// Its own settings, in the order they are written.
    pub settings: Vec<Setting>,
    /// What they came to in its definition when they were committed; empty in older ledgers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<(XmlSetting, String)>,
    /// What is made to last inside its guest.
    pub lasting: Vec<Lasting>,
    /// The guest's live values, in the order they are written.
    pub values: Vec<Setting>,
}
