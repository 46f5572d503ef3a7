//! The changes that lead from one set of commits in force to another.

use super::change::ACTIVE_PROFILE;
use super::{
    Afterwards, Change, Commit, CommitError, FileChange, FileState, Ledger, Machine, domain, guest, live,
};
use crate::persist::{OwnFile, render};
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
    let profile = profile(old, &mut next, wanted, machine, &mut since)?;
    let (commits, origins) = (&next.commits, &mut next.origins);
    let of_domain = domain::between(&old.commits, commits, origins, wanted, machine, &mut since)?;
    let of_guest = guest::between(&old.commits, commits, origins, wanted, machine, &mut since)?;
    if !since.is_empty() && wanted == Wanted::Careful {
        return Err(CommitError::ChangedSince { changed: since });
    }
    // tuned puts back what it found when its profile is left: so the profile comes before the values, and is left before its
    // file goes. One that stays is read again after its file has changed, and, when that is undone, after it has changed back.
    let is_adding = next.commits.len() >= old.commits.len();
    let stays = profile
        .iter()
        .any(|change| matches!(change, Change::Profile { after, .. } if after == PROFILE));
    let again = if stays && has_profile(&old.commits).is_some() {
        profile.clone()
    } else {
        Vec::new()
    };
    let changes = match (is_adding, stays) {
        (true, _) => [again, files, profile, values, of_domain, of_guest],
        (false, true) => [of_guest, of_domain, again, files, profile, values],
        (false, false) => [of_guest, of_domain, profile, values, files, again],
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
        let as_seen = |state: FileState| match origin {
            FileState::File { .. } => state,
            _ => state.labelled_as(&found),
        };
        if let Some((_, needed)) = was
            && found != as_seen(as_left(needed))
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
            let to = match wanted {
                Wanted::Verified => as_seen(as_left(needed)),
                _ => as_left(needed),
            };
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

fn values(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let tops = |ledger: &Ledger| {
        let layers = ledger.commits.iter();
        live::tops(layers.map(|commit| (commit.extent, &commit.host.values[..])))
    };
    let tops = live::Tops {
        before: tops(old),
        after: tops(next),
        is_adding: next.commits.len() > old.commits.len(),
    };
    if tops.before.is_empty() && tops.after.is_empty() {
        return Ok(Vec::new());
    }
    let known = &mut next.origins.values;
    let change = live::between(&tops, known, wanted, machine.host()?, since)?;
    Ok(change.map(Change::Value).into_iter().collect())
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
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (was, is) = (has_profile(&old.commits), has_profile(&next.commits));
    let own = || PROFILE.to_string();
    if wanted == Wanted::Verified {
        let (before, after) = (own(), own());
        return Ok(is
            .map(|_| Change::Profile { before, after })
            .into_iter()
            .collect());
    }
    if was == is {
        return Ok(Vec::new());
    }
    let active = machine.root.read(Path::new(ACTIVE_PROFILE))?.unwrap_or_default();
    let before = active.trim().to_string();
    if was.is_some() && before != PROFILE {
        since.push(format!(
            "tuned's active profile was changed since: it is `{}`, committed was `{PROFILE}`",
            before.escape_default()
        ));
    }
    let after = match (was, is) {
        (None, _) => {
            next.origins.profile = Some(before.clone());
            own()
        }
        (Some(_), Some(_)) => own(),
        (Some(_), None) => next.origins.profile.take().unwrap_or_default(),
    };
    Ok(vec![Change::Profile { before, after }])
}
