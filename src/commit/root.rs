//! A folder taken for the root of a file system: no path and no symbolic link leads out of it.
//!
//! The kernel resolves every path (`RESOLVE_IN_ROOT` of openat2(2), since Linux 5.6), so that nothing can be swapped in
//! between.

use super::CommitError;
use super::file::{Content, FileState as State};
use super::machine::Watch;
use rustix::fs::{
    AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, ResolveFlags, Uid, XattrFlags, chmodat, fchmod,
    fchown, fgetxattr, flistxattr, flock, fsetxattr, fsync, mkdirat, openat, openat2, readlinkat, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// Longest file that is kept to be put back.
const MAX_FILE: u64 = 1 << 20;
/// How often a path is resolved anew: a second of a machine that never rests.
const MAX_TRIES: u32 = 10_000;
/// Ends the names of files that are not in place yet: no reader of such folders takes them up.
const UNFINISHED: &str = ".kvmtune-new";

/// A folder taken for `/`.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

impl Root {
    /// Opens it.
    pub fn open(path: &Path) -> Result<Self, CommitError> {
        let failed = |source: Errno| CommitError::File {
            doing: "open",
            path: path.into(),
            source: source.into(),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).map_err(failed)?;
        Ok(Self {
            path: path.into(),
            fd,
        })
    }

    /// Takes the lock of the folder itself, without waiting; the kernel drops it with the process.
    pub fn lock(&self) -> Result<(), CommitError> {
        flock(&self.fd, FlockOperation::NonBlockingLockExclusive).map_err(|e| match e {
            Errno::WOULDBLOCK => {
                let path = self.path.display();
                CommitError::Refused(format!("another kvmtune changes {path} now: wait for it to end"))
            }
            e => self.failed("lock", Path::new("/"))(e),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below it as the user would write it.
    pub fn shown(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn failed(&self, doing: &'static str, path: &Path) -> impl Fn(Errno) -> CommitError + use<> {
        let path = self.shown(path);
        move |source| CommitError::File {
            doing,
            path: path.clone(),
            source: source.into(),
        }
    }

    fn open_below(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0;
        loop {
            // While anything on the machine is renamed or mounted, the kernel cannot be sure of a `..` and says so.
            match openat2(&self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < MAX_TRIES => tries += 1,
                opened => return opened,
            }
            thread::sleep(Duration::from_micros(100));
        }
    }

    /// The folder of a path, opened, and the last part of it; `None` when there is no such folder.
    fn parent<'p>(&self, path: &'p Path) -> Result<Option<(OwnedFd, &'p Path)>, Errno> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL);
        };
        match self.open_below(folder, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => Ok(Some((fd, Path::new(name)))),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The content of a file, links followed below the root; `None` when it is not there.
    pub fn read(&self, path: &Path) -> Result<Option<String>, CommitError> {
        let failed = self.failed("read", path);
        match self.open_below(path, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(fd) => {
                let mut bytes = Vec::new();
                let file = File::from(fd);
                let read = file.take(MAX_FILE).read_to_end(&mut bytes);
                match read.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO)) {
                    Ok(_) => {}
                    // A folder of such a name is no file to any reader.
                    Err(Errno::ISDIR) => return Ok(None),
                    Err(e) => return Err(failed(e)),
                }
                Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
            }
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Names of a folder's entries, sorted; none when it is not there.
    pub fn list(&self, path: &Path) -> Result<Vec<String>, CommitError> {
        let failed = self.failed("read", path);
        let fd = match self.open_below(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(fd).map_err(&failed)? {
            let name = entry.map_err(&failed)?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// True for a folder, links followed below the root.
    pub fn is_folder(&self, path: &Path) -> bool {
        self.open_below(path, OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// What stands at a path, its own links not followed.
    pub fn look(&self, path: &Path) -> Result<State, CommitError> {
        self.look_up_to(path, MAX_FILE)
    }

    /// The same of a file of up to `limit` bytes.
    pub(super) fn look_up_to(&self, path: &Path, limit: u64) -> Result<State, CommitError> {
        self.look_at(path, limit).map_err(self.failed("read", path))
    }

    /// True for the root of the running system, however it was named.
    pub(super) fn is_running_system(&self) -> Result<bool, CommitError> {
        let failed = self.failed("read", Path::new("/"));
        let (own, running) = (
            rustix::fs::fstat(&self.fd).map_err(&failed)?,
            rustix::fs::stat("/").map_err(&failed)?,
        );
        Ok((own.st_dev, own.st_ino) == (running.st_dev, running.st_ino))
    }

    /// True when this state stands at a path, and nothing unfinished beside it.
    pub fn is_at(&self, path: &Path, state: &State) -> Result<bool, CommitError> {
        let beside = path.file_name().map_or_else(
            || path.into(),
            |name| path.with_file_name(unfinished(Path::new(name))),
        );
        Ok(self.look(path)? == *state && self.look(&beside)? == State::Absent)
    }

    fn look_at(&self, path: &Path, limit: u64) -> Result<State, Errno> {
        let Some((folder, name)) = self.parent(path)? else {
            return Ok(State::Absent);
        };
        let about = match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(about) => about,
            Err(Errno::NOENT) => return Ok(State::Absent),
            Err(e) => return Err(e),
        };
        match FileType::from_raw_mode(about.st_mode) {
            FileType::Directory => Ok(State::Folder),
            FileType::Symlink => {
                let target = readlinkat(&folder, name, Vec::new())?;
                Ok(State::Link {
                    target: target.to_string_lossy().into_owned(),
                })
            }
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let mut file = File::from(openat(&folder, name, flags, Mode::empty())?);
                let mut bytes = Vec::new();
                let read = (&mut file).take(limit + 1).read_to_end(&mut bytes);
                read.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
                if bytes.len() as u64 > limit {
                    return Err(Errno::FBIG);
                }
                let about = rustix::fs::fstat(&file)?;
                Ok(State::File {
                    content: Content(bytes),
                    mode: about.st_mode & 0o7777,
                    owner: about.st_uid,
                    group: about.st_gid,
                    attributes: attributes(&file)?,
                })
            }
            _ => Err(Errno::INVAL),
        }
    }

    /// Puts a state in place, so that a power cut leaves the old or the new one; also what an earlier try left behind is
    /// removed.
    pub fn place(&self, path: &Path, state: &State, watch: &Watch) -> Result<(), CommitError> {
        let failed = self.failed("write", path);
        let step = || {
            watch
                .step()
                .map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
        };
        step()?;
        let Some((folder, name)) = self.parent(path).map_err(&failed)? else {
            return if *state == State::Absent {
                Ok(())
            } else {
                Err(failed(Errno::NOENT))
            };
        };
        let unfinished = unfinished(name);
        gone(unlinkat(&folder, &unfinished, AtFlags::empty())).map_err(&failed)?;
        match state {
            State::Absent => {
                step()?;
                remove(&folder, name).map_err(&failed)?;
            }
            State::Folder => {
                step()?;
                match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) => chmodat(&folder, name, Mode::from_raw_mode(0o755), AtFlags::empty())
                        .map_err(&failed)?,
                    Err(Errno::EXIST) => {}
                    Err(e) => return Err(failed(e)),
                }
            }
            State::Link { target } => {
                step()?;
                symlinkat(target, &folder, &unfinished).map_err(&failed)?;
                step()?;
                renameat(&folder, &unfinished, &folder, name).map_err(&failed)?;
            }
            State::File {
                content,
                mode,
                owner,
                group,
                attributes,
            } => {
                step()?;
                let made = make(
                    &folder,
                    &unfinished,
                    &content.0,
                    *mode,
                    (*owner, *group),
                    attributes,
                );
                let placed = made.and_then(|()| {
                    watch
                        .step()
                        .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
                    renameat(&folder, &unfinished, &folder, name)
                });
                if let Err(e) = placed {
                    let _ = unlinkat(&folder, &unfinished, AtFlags::empty());
                    return Err(failed(e));
                }
            }
        }
        step()?;
        fsync(&folder).map_err(&failed)
    }
}

/// The name of a file that is not in place yet.
fn unfinished(name: &Path) -> PathBuf {
    PathBuf::from(format!(".{}{UNFINISHED}", name.display()))
}

/// Makes a file whole, with its owner and mode, before it has its name.
fn make(
    folder: &OwnedFd,
    name: &Path,
    content: &[u8],
    mode: u32,
    (owner, group): (u32, u32),
    attributes: &[(String, Content)],
) -> Result<(), Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat(folder, name, flags, Mode::from_raw_mode(0o600))?;
    let about = rustix::fs::fstat(&fd)?;
    if (about.st_uid, about.st_gid) != (owner, group) {
        fchown(&fd, Some(Uid::from_raw(owner)), Some(Gid::from_raw(group)))?;
    }
    fchmod(&fd, Mode::from_raw_mode(mode))?;
    for (name, value) in attributes {
        fsetxattr(&fd, name, &value.0, XattrFlags::empty())?;
    }
    let mut file = File::from(fd);
    let written = file.write_all(content).and_then(|()| file.sync_all());
    written.map_err(|e: io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

/// Removes a file or link; a folder only when nothing is in it.
fn remove(folder: &OwnedFd, name: &Path) -> Result<(), Errno> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => match unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(()),
            done => done,
        },
        done => gone(done),
    }
}

fn gone(done: Result<(), Errno>) -> Result<(), Errno> {
    match done {
        Err(Errno::NOENT) => Ok(()),
        done => done,
    }
}

/// The extended attributes of a file; none on a file system without them.
fn attributes(file: &File) -> Result<Vec<(String, Content)>, Errno> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut found = Vec::new();
    for name in names[..length].split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0; 64 * 1024];
        let length = fgetxattr(file, &name, &mut value[..])?;
        value.truncate(length);
        found.push((name, Content(value)));
    }
    found.sort();
    Ok(found)
}
