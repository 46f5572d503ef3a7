//! Remembers the hash of every package file by size, times and inode, so that an unchanged file is not read again.
//! It does not know what the files are for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::ImageError;

/// When any of these differs, the content may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    inode: u64,
    device: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// SHA-256 of files by path. Entries that were not asked for since [`Fingerprints::load`] are forgotten.
pub(super) struct Fingerprints {
    file: PathBuf,
    known: BTreeMap<PathBuf, (Stamp, String)>,
    used: BTreeMap<PathBuf, (Stamp, String)>,
}

impl Fingerprints {
    /// An unreadable or foreign file is the same as none: everything is hashed again.
    pub(super) fn load(file: PathBuf) -> Self {
        let known = fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self {
            file,
            known,
            used: BTreeMap::new(),
        }
    }

    /// The lower-case hexadecimal SHA-256 of the content.
    pub(super) fn of(&mut self, path: &Path) -> Result<String, ImageError> {
        let failed = |source| ImageError::Read {
            path: path.to_owned(),
            source,
        };
        let stamp = stamp(path).map_err(failed)?;
        let hash = match self.known.get(path) {
            Some((old, hash)) if *old == stamp => hash.clone(),
            _ => hex(&Sha256::digest(fs::read(path).map_err(failed)?)),
        };
        self.used.insert(path.to_owned(), (stamp, hash.clone()));
        Ok(hash)
    }

    /// Writes beside and renames, so that the file is always whole.
    pub(super) fn save(&self) -> Result<(), ImageError> {
        if self.used == self.known {
            return Ok(());
        }
        let new = self.file.with_extension("new");
        serde_json::to_vec(&self.used)
            .map_err(io::Error::from)
            .and_then(|bytes| fs::write(&new, bytes))
            .and_then(|()| fs::rename(&new, &self.file))
            .map_err(|source| ImageError::Write {
                path: self.file.clone(),
                source,
            })
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let about = fs::metadata(path)?;
    Ok(Stamp {
        size: about.size(),
        inode: about.ino(),
        device: about.dev(),
        modified: (about.mtime(), about.mtime_nsec()),
        changed: (about.ctime(), about.ctime_nsec()),
    })
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_hashed_again_and_an_unchanged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (file, memory) = (folder.path().join("file"), folder.path().join("inputs.json"));
        fs::write(&file, "one").unwrap();
        let mut first = Fingerprints::load(memory.clone());
        let one = first.of(&file).unwrap();
        first.save().unwrap();

        let mut forged = Fingerprints::load(memory.clone());
        forged.known.get_mut(&file).unwrap().1 = "remembered".to_owned();
        assert_eq!(forged.of(&file).unwrap(), "remembered");

        fs::write(&file, "longer").unwrap();
        assert_ne!(Fingerprints::load(memory).of(&file).unwrap(), one);
    }

    #[test]
    fn the_hash_is_sha_256() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let hash = Fingerprints::load(folder.path().join("inputs.json"))
            .of(&file)
            .unwrap();
        assert_eq!(
            hash,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }
}
