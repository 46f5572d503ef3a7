//! Changes inside the guest of a domain: its files of configuration and its live values, through its agent or by ssh.
//!
//! Does not know the domain's own settings, nor how the texts of files are made.

use super::between::Wanted;
use super::change::{Change, Finding, Held, Layer};
use super::file::{Content, FileState};
use super::value::ValueChange;
use super::{Commit, CommitError, Domains, Extent, Machine, Origins, domains, live};
use crate::change::{WriteUndo, lasting};
use crate::host::Host;
use crate::host::guest_file::{Found, GuestFile, GuestFiles};
use crate::persist::domain::DomainRef;
use crate::persist::{self, OwnFile, Sysfs, render};
use crate::tunable::Setting;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// Those of kvmtune's own files that a guest can have, in the order they are written. Its kernel's command line is the
/// domain's, or its own boot loader's.
const FILES: [OwnFile; 7] = [
    OwnFile::ModulesLoad,
    OwnFile::Modprobe,
    OwnFile::Sysctl,
    OwnFile::Tmpfiles,
    OwnFile::Udev,
    OwnFile::Unit,
    OwnFile::UnitWanted,
];

/// A file inside a guest from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestFileChange {
    /// Whose guest.
    pub domain: DomainRef,
    /// Its absolute path there.
    pub path: String,
    /// As it was found.
    pub before: FileState,
    /// As it is to be.
    pub after: FileState,
    /// Folders that are made for it, the innermost first: they go with it.
    pub folders: Vec<String>,
}

/// Live values of a guest from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestValueChange {
    /// Whose guest.
    pub domain: DomainRef,
    /// The values.
    pub values: ValueChange,
    /// What comes with its next start: only looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Setting>,
}

/// A file of a guest before the first commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestOrigin {
    /// What it was.
    pub state: FileState,
    /// Folders that were missing on the way to it, the innermost first.
    pub folders: Vec<String>,
}

/// What guests were before the first commit, by UUID of their domain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct GuestOrigins {
    /// Their files, by path.
    #[serde(default)]
    pub files: BTreeMap<String, BTreeMap<String, GuestOrigin>>,
    /// Their live values.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<WriteUndo>>,
}

/// A guest's /sys.
pub(super) struct GuestSysfs<'g>(pub(super) GuestFiles<'g>);

impl Sysfs for GuestSysfs<'_> {
    fn read(&mut self, path: &str) -> Option<String> {
        self.0.kernel_file(path)
    }

    fn link(&mut self, path: &str) -> Option<String> {
        self.0.kernel_link(path)
    }

    fn is_writable(&mut self, path: &str) -> bool {
        self.0.kernel_mode(path).is_some_and(|mode| mode & 0o200 != 0)
    }
}

fn look(files: &GuestFiles<'_>, path: &str) -> Result<(FileState, Vec<String>), CommitError> {
    Ok(match files.look(path)? {
        Found::Nothing { folders } => (FileState::Absent, folders),
        Found::File(file) => {
            let state = FileState::File {
                content: Content(file.content),
                mode: file.mode,
                owner: file.uid,
                group: file.gid,
                attributes: Vec::new(),
            };
            (state, Vec::new())
        }
    })
}

impl GuestFileChange {
    pub(super) fn apply(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        self.put(&self.after, machine)
    }

    pub(super) fn undo(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        if Domains::is_gone(&self.domain)? {
            return Ok(());
        }
        self.put(&self.before, machine)
    }

    fn put(&self, state: &FileState, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        machine.step("write guest file", Path::new(&self.path))?;
        let files = machine.domains.reach(&self.domain)?.guest_files()?;
        match state {
            FileState::Absent => files.remove(&self.path, &self.folders)?,
            FileState::File {
                content,
                mode,
                owner,
                group,
                ..
            } => {
                let file = GuestFile {
                    content: content.0.clone(),
                    mode: *mode,
                    uid: *owner,
                    gid: *group,
                };
                files.put(&self.path, &file)?;
            }
            other => {
                let why = format!("{} in the guest is to be {}", self.path, other.told());
                return Err(CommitError::Refused(why));
            }
        }
        Ok(())
    }

    pub(super) fn verify(&self, machine: &mut Machine<'_>) -> Vec<Finding> {
        let held = match machine.domains.reach(&self.domain) {
            Ok(host) if !host.is_on() => off(),
            Ok(host) => match host.guest_files().map_err(CommitError::from) {
                Ok(files) => match look(&files, &self.path) {
                    Ok((found, _)) => self.after.held(&found),
                    Err(error) => Held::No(error.to_string()),
                },
                Err(error) => Held::No(error.to_string()),
            },
            Err(error) => Held::No(error.to_string()),
        };
        vec![Finding {
            layer: Layer::GuestFile,
            place: format!("{}: {}", self.domain.name, self.path),
            wanted: self.after.told().into(),
            held,
        }]
    }
}

fn off() -> Held {
    Held::NotYet("a start of the guest, to be looked at".into())
}

impl GuestValueChange {
    pub(super) fn apply(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        machine.step("set values in the guest of", Path::new(&self.domain.name))?;
        let host = machine.domains.reach(&self.domain)?;
        host.guest_files()?;
        lasting::put_back(host, &self.values.back)?;
        Ok(lasting::set(host, &self.values.set)?)
    }

    pub(super) fn undo(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        if Domains::is_gone(&self.domain)? {
            return Ok(());
        }
        machine.step("put back values in the guest of", Path::new(&self.domain.name))?;
        let host = machine.domains.reach(&self.domain)?;
        Ok(lasting::put_back(host, &self.values.before)?)
    }

    pub(super) fn verify(&self, machine: &mut Machine<'_>) -> Vec<Finding> {
        let mut one = |setting: &Setting, late: bool| {
            let held = match machine.domains.reach(&self.domain) {
                Ok(host) if !host.is_on() => off(),
                Ok(host) => match host.read(&setting.address) {
                    Ok(raw) if setting.canonical(&raw).as_ref() == Some(&setting.value) => Held::Yes,
                    Ok(raw) => {
                        let found = setting.address.selected(&raw).escape_default();
                        if late {
                            Held::NotYet(format!("a restart of the guest: it reads `{found}`"))
                        } else {
                            Held::No(format!("it reads `{found}`"))
                        }
                    }
                    Err(error) => Held::No(error.to_string()),
                },
                Err(error) => Held::No(error.to_string()),
            };
            Finding {
                layer: Layer::GuestValue,
                place: format!("{}: {}", self.domain.name, setting.address),
                wanted: setting.value.to_string(),
                held,
            }
        };
        let set = self.values.set.iter().map(|s| (s, false));
        let all: Vec<_> = set.chain(self.late.iter().map(|s| (s, true))).collect();
        all.into_iter()
            .map(|(setting, late)| one(setting, late))
            .collect()
    }
}

/// The changes inside guests that lead from the old commits to the new ones; what was found before any is put into
/// `origins`.
pub(super) fn between(
    old: &[Commit],
    new: &[Commit],
    origins: &mut Origins,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let mut changes = Vec::new();
    for domain in domains::concerned(old, new) {
        if wanted == Wanted::Forced && Domains::is_gone(&domain)? {
            origins.guests.files.remove(&domain.uuid);
            origins.guests.values.remove(&domain.uuid);
            continue;
        }
        let files = files(&domain, (old, new), origins, wanted, machine, since)?;
        let values = values(&domain, (old, new), origins, wanted, machine, since)?;
        changes.extend(files);
        changes.extend(values);
    }
    Ok(changes)
}

/// The texts of a guest's files for these commits.
fn needed(commits: &[Commit], uuid: &str) -> BTreeMap<&'static str, String> {
    let layers: Vec<_> = domains::parts(commits, uuid)
        .filter(|(commit, _)| commit.extent.is_config())
        .map(|(commit, part)| persist::Layer {
            stamp: &commit.stamp,
            items: &part.lasting,
            tuned: None,
            keeper: None,
        })
        .collect();
    let text = |file: OwnFile| Some((file.path(), render(file, &layers)?));
    FILES.into_iter().filter_map(text).collect()
}

fn files(
    domain: &DomainRef,
    (old, new): (&[Commit], &[Commit]),
    origins: &mut Origins,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (before, after) = (needed(old, &domain.uuid), needed(new, &domain.uuid));
    let known = origins.guests.files.entry(domain.uuid.clone()).or_default();
    let mut changes = Vec::new();
    for path in FILES.map(OwnFile::path) {
        let (was, is) = (before.get(path), after.get(path));
        let change = |before, after, folders| {
            Change::GuestFile(GuestFileChange {
                domain: domain.clone(),
                path: path.to_string(),
                before,
                after,
                folders,
            })
        };
        if wanted == Wanted::Verified {
            let origin = known.get(path).map_or(FileState::Absent, |o| o.state.clone());
            changes.extend(is.map(|text| change(FileState::Absent, origin.with_text(text), Vec::new())));
            continue;
        }
        if was == is {
            continue;
        }
        let guest = machine.domains.reach(domain)?.guest_files()?;
        let (found, folders) = look(&guest, path)?;
        let fresh = GuestOrigin {
            state: found.clone(),
            folders,
        };
        let origin = known
            .get(path)
            .filter(|_| was.is_some())
            .cloned()
            .unwrap_or(fresh);
        if was.is_some_and(|text| found != origin.state.with_text(text)) {
            since.push(format!(
                "{path} in the guest of {} was changed since",
                domain.name
            ));
        }
        let to = if let Some(text) = is {
            known.insert(path.to_string(), origin.clone());
            origin.state.with_text(text)
        } else {
            known.remove(path);
            origin.state.clone()
        };
        changes.push(change(found, to, origin.folders));
    }
    if known.is_empty() {
        origins.guests.files.remove(&domain.uuid);
    }
    Ok(changes)
}

fn values(
    domain: &DomainRef,
    (old, new): (&[Commit], &[Commit]),
    origins: &mut Origins,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Option<Change>, CommitError> {
    let layers =
        |commits| domains::parts(commits, &domain.uuid).map(|(c, part)| (c.extent, &part.values[..]));
    let tops = live::Tops {
        before: live::tops(layers(old)),
        after: live::tops(layers(new)),
        is_adding: new.len() > old.len(),
        same_devices: Vec::new(),
    };
    let all = live::tops(layers(new).map(|(_, values)| (Extent::Both, values)));
    if tops.before.is_empty() && all.is_empty() {
        return Ok(None);
    }
    let known = origins.guests.values.entry(domain.uuid.clone()).or_default();
    let mut late: Vec<Setting> = Vec::new();
    let values = if wanted == Wanted::Verified {
        let is_late = |s: &Setting| !tops.after.iter().any(|(given, _)| given.address == s.address);
        late.extend(all.into_iter().map(|(s, _)| s).filter(is_late));
        Some(ValueChange {
            before: Vec::new(),
            back: Vec::new(),
            set: tops.after.into_iter().map(|(setting, _)| setting).collect(),
        })
    } else {
        let host = machine.domains.reach(domain)?;
        if host.is_on() {
            // A guest that does not answer is none whose values are gone.
            host.guest_files()?;
            live::between(&tops, known, wanted, host, since)?
        } else {
            // What a run held went with it.
            known.clear();
            None
        }
    };
    if known.is_empty() {
        origins.guests.values.remove(&domain.uuid);
    }
    Ok(values.map(|values| {
        Change::GuestValue(GuestValueChange {
            domain: domain.clone(),
            values,
            late,
        })
    }))
}
