//! What is already there on a machine that may set the same: gathered, not judged.

use super::change::ACTIVE_PROFILE;
use super::{CommitError, Root};
use crate::persist::OwnFile;
use crate::persist::conflict::{OtherFile, Others, folders, singles};
use std::collections::BTreeSet;
use std::path::Path;

/// Where tuned looks for profiles, its user's first.
const PROFILES: [&str; 3] = ["/etc/tuned/profiles", "/etc/tuned", "/usr/lib/tuned"];
/// More are no chain that somebody has written.
const MAX_PROFILES: usize = 20;
/// The name of kvmtune's own.
const OWN: &str = "kvmtune";

/// tuned's active profile on this machine; `None` when tuned is not installed, empty when none is active.
pub fn active_profile(root: &Root) -> Result<Option<String>, CommitError> {
    if !root.is_folder(Path::new("/etc/tuned")) {
        return Ok(None);
    }
    let active = root.read(Path::new(ACTIVE_PROFILE))?.unwrap_or_default();
    Ok(Some(active.trim().to_string()))
}

/// All files that may set the same. `base` is what kvmtune's own profile builds upon, or else the active profile;
/// `own_profile` says whether kvmtune's own is made the active one.
pub fn others(
    root: &Root,
    base: Option<&str>,
    own_profile: bool,
    command_line: String,
) -> Result<Others, CommitError> {
    let mut files = Vec::new();
    for kind in OwnFile::ALL {
        let (folders, ending) = folders(kind);
        for folder in folders {
            for name in root
                .list(Path::new(folder))?
                .into_iter()
                .filter(|name| name.ends_with(ending))
            {
                push(root, kind, format!("{folder}/{name}"), &mut files)?;
            }
        }
        for path in singles(kind) {
            push(root, kind, (*path).to_string(), &mut files)?;
        }
    }
    let profiles = match base {
        Some(names) => profiles(root, names)?,
        None => Vec::new(),
    };
    Ok(Others {
        files,
        profiles,
        own_profile,
        command_line,
    })
}

fn push(
    root: &Root,
    kind: OwnFile,
    path: String,
    files: &mut Vec<(OwnFile, OtherFile)>,
) -> Result<(), CommitError> {
    // A link to /dev/null hides the others of its name: so does its empty text.
    let text = root.read(Path::new(&path))?;
    if let Some(text) = text {
        files.push((kind, OtherFile { path, text }));
    }
    Ok(())
}

/// The profiles of these names and those they include, the one that counts first.
fn profiles(root: &Root, names: &str) -> Result<Vec<OtherFile>, CommitError> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    let mut wanted: Vec<String> = names.split_whitespace().map(str::to_string).collect();
    // Of several active ones the last counts.
    wanted.reverse();
    wanted.truncate(MAX_PROFILES);
    while !wanted.is_empty() && found.len() < MAX_PROFILES {
        let name = wanted.remove(0);
        let is_name = name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !name.starts_with('.');
        if !is_name || name == OWN || !seen.insert(name.clone()) {
            continue;
        }
        for folder in PROFILES {
            let path = format!("{folder}/{name}/tuned.conf");
            if let Some(text) = root.read(Path::new(&path))? {
                let includes = text
                    .lines()
                    .filter_map(|line| line.trim().strip_prefix("include"));
                let includes = includes.filter_map(|rest| rest.trim_start().strip_prefix('='));
                let more: Vec<_> = includes
                    .flat_map(|list| list.split([',', ' ', ';']))
                    .map(str::trim)
                    .filter(|n| !n.is_empty())
                    .collect();
                wanted.extend(more.into_iter().map(str::to_string));
                found.push(OtherFile { path, text });
                break;
            }
        }
    }
    Ok(found)
}
