//! The files on the host or the image that lead from one set of commits in force to another. Knows no values and no domains.

use super::between::Wanted;
use super::{Afterwards, Change, Commit, CommitError, FileChange, FileState, Ledger, Machine};
use crate::persist::{OwnFile, render};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Starts the unit of commits that wait to be kept.
const OVERDUE_LINK: &str = "/etc/systemd/system/multi-user.target.wants/kvmtune-overdue.service";

/// One of our files, and what is to stand there.
type Needed = (OwnFile, FileState);

/// What is to stand at each path for these commits: a text, or a link.
fn needed(commits: &[Commit]) -> BTreeMap<PathBuf, Needed> {
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

/// The changes of files; what somebody else changed since is put into `since`.
pub(super) fn between(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (before, after) = (needed(&old.commits), needed(&next.commits));
    let (old_folders, new_folders) = (folders(before.keys()), folders(after.keys()));
    let made = make(new_folders.difference(&old_folders), next, machine)?;
    // The inner folders first.
    let left = old_folders
        .iter()
        .rev()
        .filter(|path| !new_folders.contains(*path));
    let mut unmade = Vec::new();
    for path in left {
        if let Some(origin) = next.origins.files.remove(path) {
            unmade.push(change(path, FileState::Folder, origin, None));
        }
    }
    let mut placed = Vec::new();
    let paths: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for path in paths {
        let (was, is) = (before.get(path), after.get(path));
        if was != is || wanted == Wanted::Verified {
            placed.push(place(path, (was, is), next, wanted, machine, since)?);
        }
    }
    // What takes long and shows at the next boot only comes last.
    placed.sort_by_key(|change| matches!(change, Change::File(FileChange { then: Some(_), .. })));
    Ok([made, placed, unmade].concat())
}

/// The folders that are not there, made.
fn make<'p>(
    folders: impl Iterator<Item = &'p PathBuf>,
    next: &mut Ledger,
    machine: &Machine<'_>,
) -> Result<Vec<Change>, CommitError> {
    let mut made = Vec::new();
    for path in folders {
        match machine.look(path)? {
            FileState::Folder => {}
            FileState::Absent => {
                next.origins.files.insert(path.clone(), FileState::Absent);
                made.push(change(path, FileState::Absent, FileState::Folder, None));
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
    Ok(made)
}

/// One file from what it was for the old commits to what it is for the new ones.
fn place(
    path: &PathBuf,
    (was, is): (Option<&Needed>, Option<&Needed>),
    next: &mut Ledger,
    wanted: Wanted,
    machine: &Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Change, CommitError> {
    let found = machine.look(path)?;
    let shown = machine.root.shown(path);
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
    match was {
        Some((_, needed)) if found != as_seen(as_left(needed)) => {
            since.push(format!("{} was changed since", shown.display()));
        }
        None if wanted != Wanted::Verified && matches!(found, FileState::Link { .. } | FileState::Folder) => {
            return Err(CommitError::Refused(format!(
                "{} is {} of somebody's: move it away; nothing was changed",
                shown.display(),
                found.told()
            )));
        }
        _ => {}
    }
    let then = afterwards(was.or(is), machine)?;
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
    Ok(change(path, found, to, then))
}

/// GRUB's menu is made of its drop-in, where it can be made.
fn afterwards(needed: Option<&Needed>, machine: &Machine<'_>) -> Result<Option<Afterwards>, CommitError> {
    let is_grub = needed.is_some_and(|(file, _)| *file == OwnFile::Grub);
    let Some((_, menu)) = machine.tools.menu.as_ref().filter(|_| is_grub) else {
        return Ok(None);
    };
    Ok(Some(Afterwards::Menu {
        path: menu.clone(),
        found: machine.look(menu)?,
    }))
}

fn change(path: &Path, before: FileState, after: FileState, then: Option<Afterwards>) -> Change {
    Change::File(FileChange {
        path: path.into(),
        before,
        after,
        then,
    })
}
