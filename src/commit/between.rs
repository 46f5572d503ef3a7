//! The changes that lead from one set of commits in force to another.

use super::change::ACTIVE_PROFILE;
use super::{
    Afterwards, Change, Commit, CommitError, FileChange, FileState, Ledger, Machine, ValueChange, domain,
    guest,
};
use crate::change::lasting;
use crate::persist::{OwnFile, render};
use crate::tunable::{Address, Setting};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What is wanted of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// To make them, unless somebody else has changed what they are about since.
    Careful,
    /// To make them in any case.
    Forced,
    /// To look whether what they lead to is in force.
    Verified,
}

/// The name of kvmtune's own profile of tuned.
const PROFILE: &str = "kvmtune";
/// Starts the unit of commits that wait to be kept.
const OVERDUE_LINK: &str = "/etc/systemd/system/multi-user.target.wants/kvmtune-overdue.service";

/// The ledger with `commits` in force instead of those of `old`, and the changes that lead to it.
pub fn between(
    old: &Ledger,
    commits: Vec<Commit>,
    wanted: Wanted,
    machine: &mut Machine<'_>,
) -> Result<(Ledger, Vec<Change>), CommitError> {
    let mut next = Ledger {
        commits,
        ..old.clone()
    };
    let mut since = Vec::new();
    let files = files(old, &mut next, wanted, machine, &mut since)?;
    let values = values(old, &mut next, wanted, machine, &mut since)?;
    let profile = profile(old, &mut next, wanted, machine)?;
    if !since.is_empty() && wanted == Wanted::Careful {
        return Err(CommitError::ChangedSince { changed: since });
    }
    let of_domain = domain::between(&old.commits, &next.commits, &mut next.origins, wanted, machine)?;
    let of_guest = guest::between(&old.commits, &next.commits, &mut next.origins, wanted, machine)?;
    // tuned puts back what it found when its profile is left: so the profile comes before the values, and is left before its
    // file goes.
    let is_adding = next.commits.len() >= old.commits.len();
    let changes = if is_adding {
        [files, profile, values, of_domain, of_guest]
    } else {
        [of_guest, of_domain, profile, values, files]
    };
    Ok((next, changes.concat()))
}

/// What is to stand at each path for these commits: a text, or a link.
fn needed(commits: &[Commit]) -> BTreeMap<PathBuf, (OwnFile, FileState)> {
    let layers: Vec<_> = commits.iter().map(Commit::layer).collect();
    let mut needed = BTreeMap::new();
    for file in OwnFile::ALL {
        if let Some(text) = render(file, &layers) {
            needed.insert(PathBuf::from(file.path()), (file, FileState::new(&text)));
            if file == OwnFile::Overdue {
                let target = file.path().to_string();
                needed.insert(OVERDUE_LINK.into(), (file, FileState::Link { target }));
            }
        }
    }
    needed
}

/// The folders of these paths, the outer ones first.
fn folders<'p>(paths: impl Iterator<Item = &'p PathBuf>) -> BTreeSet<PathBuf> {
    let above = |path: &'p PathBuf| path.ancestors().skip(1).filter(|p| p.parent().is_some());
    paths.flat_map(above).map(Path::to_path_buf).collect()
}

fn files(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (before, after) = (needed(&old.commits), needed(&next.commits));
    let (mut made, mut placed, mut unmade) = (Vec::new(), Vec::new(), Vec::new());
    let (old_folders, new_folders) = (folders(before.keys()), folders(after.keys()));
    for path in new_folders.difference(&old_folders) {
        match machine.look(path)? {
            FileState::Folder => {}
            FileState::Absent => {
                next.origins.files.insert(path.clone(), FileState::Absent);
                made.push(file(path, FileState::Absent, FileState::Folder, None));
            }
            // A link to a folder is followed, below the root.
            FileState::Link { .. } if machine.root.is_folder(path) => {}
            other => {
                let shown = machine.root.shown(path);
                return Err(CommitError::Refused(format!(
                    "{} is {} where a folder is needed; nothing was changed",
                    shown.display(),
                    other.told()
                )));
            }
        }
    }
    for path in old_folders.difference(&new_folders).rev_paths() {
        if let Some(origin) = next.origins.files.remove(&path) {
            unmade.push(file(&path, FileState::Folder, origin, None));
        }
    }
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let (was, is) = (before.get(path), after.get(path));
        if was == is && wanted != Wanted::Verified {
            continue;
        }
        let found = machine.look(path)?;
        let origin = match (was, next.origins.files.get(path)) {
            (Some(_), Some(origin)) => origin.clone(),
            (None, Some(origin)) if wanted == Wanted::Verified => origin.clone(),
            _ => found.clone(),
        };
        let as_left = |needed: &FileState| match needed.text() {
            Some(text) => origin.with_text(&text),
            None => needed.clone(),
        };
        if let Some((_, needed)) = was
            && found != as_left(needed)
        {
            since.push(format!(
                "{} was changed since",
                machine.root.shown(path).display()
            ));
        }
        if was.is_none()
            && wanted != Wanted::Verified
            && matches!(found, FileState::Link { .. } | FileState::Folder)
        {
            let shown = machine.root.shown(path);
            return Err(CommitError::Refused(format!(
                "{} is {} of somebody's: move it away; nothing was changed",
                shown.display(),
                found.told()
            )));
        }
        let is_grub = was.or(is).is_some_and(|(file, _)| *file == OwnFile::Grub);
        let then = match &machine.tools.menu {
            Some((_, menu)) if is_grub => {
                let found = machine.look(menu)?;
                Some(Afterwards::Menu {
                    path: menu.clone(),
                    found,
                })
            }
            _ => None,
        };
        let to = if let Some((_, needed)) = is {
            let to = as_left(needed);
            next.origins.files.insert(path.clone(), origin);
            to
        } else {
            next.origins.files.remove(path);
            origin
        };
        placed.push(file(path, found, to, then));
    }
    // What takes long and shows at the next boot only comes last.
    placed.sort_by_key(|change| matches!(change, Change::File(FileChange { then: Some(_), .. })));
    Ok([made, placed, unmade].concat())
}

fn file(path: &Path, before: FileState, after: FileState, then: Option<Afterwards>) -> Change {
    Change::File(FileChange {
        path: path.into(),
        before,
        after,
        then,
    })
}

/// The inner folders first.
trait Inward {
    fn rev_paths(self) -> Vec<PathBuf>;
}

impl<'p, I: Iterator<Item = &'p PathBuf>> Inward for I {
    fn rev_paths(self) -> Vec<PathBuf> {
        let mut paths: Vec<_> = self.cloned().collect();
        paths.reverse();
        paths
    }
}

/// The live values of these commits, the newest of each place, with whether a file holds it too.
fn tops(commits: &[Commit]) -> Vec<(&Setting, bool)> {
    let mut tops: Vec<(&Setting, bool)> = Vec::new();
    for commit in commits.iter().filter(|commit| commit.extent.is_live()) {
        for setting in &commit.host.values {
            tops.retain(|(other, _)| other.address != setting.address);
            tops.push((setting, commit.extent.is_config()));
        }
    }
    tops
}

fn values(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (before, after) = (tops(&old.commits), tops(&next.commits));
    let top = |tops: &[(&Setting, bool)], address: &Address| -> Option<(Setting, bool)> {
        let found = tops.iter().find(|(setting, _)| setting.address == *address)?;
        Some((found.0.clone(), found.1))
    };
    let differs = |setting: &Setting, others: &[(&Setting, bool)]| {
        wanted == Wanted::Verified
            || top(others, &setting.address).is_none_or(|(other, _)| other.value != setting.value)
    };
    let set: Vec<Setting> = after
        .iter()
        .filter(|(s, _)| differs(s, &before))
        .map(|(s, _)| (*s).clone())
        .collect();
    let left: Vec<Setting> = before
        .iter()
        .filter(|(s, _)| top(&after, &s.address).is_none())
        .map(|(s, _)| (*s).clone())
        .collect();
    if set.is_empty() && left.is_empty() {
        return Ok(Vec::new());
    }
    if wanted == Wanted::Verified {
        return Ok(vec![Change::Value(ValueChange {
            before: Vec::new(),
            back: Vec::new(),
            set,
        })]);
    }
    let all: Vec<Setting> = set.iter().chain(&left).cloned().collect();
    let found = lasting::found(machine.host()?, &all)?;
    let mut back = Vec::new();
    for (setting, now) in all.iter().zip(&found) {
        let origin = next
            .origins
            .values
            .iter()
            .position(|o| o.address == setting.address);
        let was = top(&before, &setting.address);
        let same_boot = origin.is_some_and(|at| next.origins.values[at].scope == now.scope);
        // In another boot the device may have another name, and this name another device.
        let is_known = same_boot || !is_of_device(&setting.address);
        if let Some((was, in_file)) = &was
            && is_known
            && (same_boot || *in_file)
            && was.canonical(&now.old).as_ref() != Some(&was.value)
        {
            since.push(format!(
                "{} was changed since: it reads `{}`, committed was `{}`",
                setting.address,
                now.old.escape_default(),
                was.value
            ));
        }
        match (origin, top(&after, &setting.address)) {
            (None, Some(_)) => next.origins.values.push(now.clone()),
            (Some(_), Some(_)) | (None, None) => {}
            (Some(at), None) => {
                let mut origin = next.origins.values.remove(at);
                // A file has set it again in this boot.
                if is_known && was.is_some_and(|(_, in_file)| in_file) {
                    origin.scope = now.scope.clone();
                }
                back.push(origin);
            }
        }
    }
    Ok(vec![Change::Value(ValueChange {
        before: found,
        back,
        set,
    })])
}

/// True for a file of a disk or a link, whose name may be another one after a reboot.
fn is_of_device(address: &Address) -> bool {
    let Address::HostFile { path, .. } = address else {
        return false;
    };
    ["/sys/block/", "/sys/class/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

fn has_profile(commits: &[Commit]) -> Option<String> {
    let layers: Vec<_> = commits.iter().map(Commit::layer).collect();
    let is_active = commits.iter().any(|commit| commit.host.activates_profile);
    render(OwnFile::Tuned, &layers).filter(|_| is_active)
}

fn profile(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &Machine<'_>,
) -> Result<Vec<Change>, CommitError> {
    let (was, is) = (has_profile(&old.commits), has_profile(&next.commits));
    let own = || PROFILE.to_string();
    let change = match (was, is) {
        (None, Some(_)) if wanted == Wanted::Verified => Change::Profile {
            before: own(),
            after: own(),
        },
        (None, Some(_)) => {
            let active = machine.root.read(Path::new(ACTIVE_PROFILE))?.unwrap_or_default();
            let before = active.trim().to_string();
            next.origins.profile = Some(before.clone());
            Change::Profile { before, after: own() }
        }
        (Some(_), None) => {
            let after = next.origins.profile.take().unwrap_or_default();
            Change::Profile { before: own(), after }
        }
        (Some(was), Some(is)) if was != is => Change::Profile {
            before: own(),
            after: own(),
        },
        _ => return Ok(Vec::new()),
    };
    Ok(vec![change])
}
