//! The domains that commits are about, reached when one is first needed.

use super::{Commit, CommitError, Extent};
use crate::experiment::SshTarget;
use crate::host::libvirt::{Connection, LibvirtErrorKind};
use crate::host::{HostError, LocalHost};
use crate::persist::CommitId;
use crate::persist::domain::{DomainPart, DomainRef};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Domains that were reached, by UUID.
#[derive(Debug, Default)]
pub struct Domains {
    open: BTreeMap<String, LocalHost>,
}

impl Domains {
    /// Finds a domain by its name, with the disk of this target name for its data disk, or its first.
    pub fn find(
        &mut self,
        connection: &str,
        name: &str,
        disk: Option<&str>,
        ssh: Option<&SshTarget>,
    ) -> Result<DomainRef, CommitError> {
        let host = LocalHost::domain(connection, name, disk, Arc::default())?;
        let found = DomainRef {
            connection: connection.into(),
            name: name.into(),
            uuid: host.uuid(),
            disk: host.disk().into(),
            ssh: ssh.cloned(),
        };
        self.reach(&found)?;
        Ok(found)
    }

    /// The domain, and its guest when it runs.
    pub fn reach(&mut self, at: &DomainRef) -> Result<&mut LocalHost, CommitError> {
        if !self.open.contains_key(&at.uuid) {
            let mut host = LocalHost::domain(&at.connection, &at.name, Some(&at.disk), Arc::default())?;
            if host.uuid() != at.uuid {
                return Err(CommitError::Refused(format!(
                    "domain {} of {} is another one now: its UUID is {}, committed to was {}",
                    at.name,
                    at.connection,
                    host.uuid(),
                    at.uuid
                )));
            }
            if let Some(target) = &at.ssh {
                host.reach_by_ssh(target.clone())?;
            }
            self.open.insert(at.uuid.clone(), host);
        }
        let lost = || CommitError::Refused(format!("domain {} is gone", at.name));
        self.open.get_mut(&at.uuid).ok_or_else(lost)
    }

    /// Whether the domain is gone for good: undefined, or another one of its name.
    pub(super) fn is_gone(at: &DomainRef) -> Result<bool, CommitError> {
        let fail = |e| HostError::new(format!("look for domain {} of {}", at.name, at.connection), e);
        let connection = Connection::open(&at.connection).map_err(fail)?;
        match connection.lookup(&at.name) {
            Ok(found) => Ok(found.uuid().to_string() != at.uuid),
            Err(e) if e.kind() == LibvirtErrorKind::NoDomain => Ok(true),
            Err(e) => Err(fail(e).into()),
        }
    }
}

/// The domains of which the new commits want something else than the old ones, each as the newest of them reaches it. Of
/// any other nothing is changed, so it need not be there.
pub(super) fn concerned(old: &[Commit], new: &[Commit]) -> Vec<DomainRef> {
    let mut found: BTreeMap<String, DomainRef> = BTreeMap::new();
    for part in old.iter().chain(new).filter_map(|commit| commit.domain.as_ref()) {
        found.insert(part.domain.uuid.clone(), part.domain.clone());
    }
    found.retain(|uuid, _| !asked(old, uuid).eq(asked(new, uuid)));
    found.into_values().collect()
}

/// All that commits want of one domain; a deadline changes nothing of it.
fn asked<'c>(
    commits: &'c [Commit],
    uuid: &'c str,
) -> impl Iterator<Item = (CommitId, Extent, &'c DomainPart)> {
    parts(commits, uuid).map(|(commit, part)| (commit.stamp.commit, commit.extent, part))
}

/// The parts that commits have for one domain, the oldest first.
pub(super) fn parts<'c>(
    commits: &'c [Commit],
    uuid: &'c str,
) -> impl Iterator<Item = (&'c Commit, &'c DomainPart)> {
    let part = move |commit: &'c Commit| {
        let part = commit.domain.as_ref().filter(|part| part.domain.uuid == uuid)?;
        Some((commit, part))
    };
    commits.iter().filter_map(part)
}
