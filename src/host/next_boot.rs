//! What the next boot of this host is to have on its kernel's command line, where it is arranged for.
//!
//! Knows files and GRUB's own tools; does not know which parameters there are or why they change.

use super::HostError;
use super::command::{Running, find};
use super::kernel::{KernelHost, boot_id, command_line};
use crate::units::Bytes;
use nix::libc;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A command line is at most a few KiB (`COMMAND_LINE_SIZE`), and so is a drop-in.
const MAX_CONTENT: u64 = 64 * 1024;
/// Where grub-mkconfig of Debian and its kin looks for more of its configuration.
const GRUB_FOLDER: &str = "/etc/default/grub.d";
const DROP_IN: &str = "90-kvmtune-next.cfg";
/// Makes GRUB's menu anew, the first that is installed.
const GRUB_TOOLS: [&[&str]; 2] = [&["update-grub"], &["grub-mkconfig", "-o", "/boot/grub/grub.cfg"]];
/// os-prober may look at every disk.
const GRUB_LIMIT: Duration = Duration::from_mins(5);

/// Where the next boot's command line is arranged for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NextBoot {
    /// Nowhere: the operator is told, and does it.
    Print,
    /// A drop-in of GRUB's configuration.
    Grub,
    /// A file that holds the whole line, for a boot manager of one's own.
    File(PathBuf),
}

impl fmt::Display for NextBoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Print => f.write_str("by hand"),
            Self::Grub => write!(f, "in {GRUB_FOLDER}/{DROP_IN}"),
            Self::File(path) => write!(f, "in {}", path.display()),
        }
    }
}

impl NextBoot {
    /// What is missing here to arrange for a boot so, with what mends it.
    pub fn lack(&self) -> Option<(String, String)> {
        match self {
            Self::Print => None,
            Self::Grub => {
                let tool = GRUB_TOOLS.iter().any(|tool| find(tool[0]).is_some());
                let why = match (Path::new(GRUB_FOLDER).is_dir(), tool) {
                    (true, true) => return None,
                    (false, _) => format!("{GRUB_FOLDER}, for --next-boot grub"),
                    (true, false) => "update-grub or grub-mkconfig, for --next-boot grub".into(),
                };
                Some((
                    why,
                    "use --next-boot print, or --next-boot FILE for another boot manager".into(),
                ))
            }
            Self::File(path) => {
                let wrong = |what: &str| {
                    Some((
                        format!("{what} {}", path.display()),
                        "name another file for --next-boot".into(),
                    ))
                };
                match path.symlink_metadata() {
                    Ok(found) if !found.is_file() => wrong("a plain file at"),
                    Ok(_) => None,
                    Err(_) if path.parent().is_some_and(Path::is_dir) && path.file_name().is_some() => None,
                    Err(_) => wrong("a folder for"),
                }
            }
        }
    }
}

/// A host that can be booted with another command line.
pub trait Boots {
    /// Tells this boot from the next.
    fn boot_id(&mut self) -> Result<String, HostError>;
    /// Tells this machine from another.
    fn machine(&mut self) -> String;
    /// What the running kernel was booted with.
    fn command_line(&mut self) -> Result<String, HostError>;
    /// What is arranged for the next boot at this place; nothing, when nothing is there.
    fn read_next(&mut self, place: &NextBoot) -> Result<Option<String>, HostError>;
    /// Arranges for it, or takes away what was.
    fn write_next(&mut self, place: &NextBoot, content: Option<&str>) -> Result<(), HostError>;
}

impl Boots for KernelHost {
    fn boot_id(&mut self) -> Result<String, HostError> {
        boot_id()
    }

    fn machine(&mut self) -> String {
        let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
        id.trim().chars().take(64).collect()
    }

    fn command_line(&mut self) -> Result<String, HostError> {
        command_line().map(|line| line.trim().to_string())
    }

    fn read_next(&mut self, place: &NextBoot) -> Result<Option<String>, HostError> {
        match place {
            NextBoot::Print => Ok(None),
            NextBoot::Grub => read(&Path::new(GRUB_FOLDER).join(DROP_IN)),
            NextBoot::File(path) => read(path),
        }
    }

    fn write_next(&mut self, place: &NextBoot, content: Option<&str>) -> Result<(), HostError> {
        match place {
            NextBoot::Print => Ok(()),
            NextBoot::Grub => {
                write(&Path::new(GRUB_FOLDER).join(DROP_IN), content)?;
                make_menu()
            }
            NextBoot::File(path) => write(path, content),
        }
    }
}

/// Reboots this host, in order.
pub fn reboot_now() -> Result<(), HostError> {
    let argv = ["systemctl", "reboot"].map(String::from);
    let done = Running::start(&argv, Bytes::mib(1))?.finish(Duration::from_mins(1), &|| false)?;
    if done.exit == 0 {
        return Ok(());
    }
    let why = format!("`systemctl reboot` gave {}; reboot it by hand", done.exit);
    Err(HostError::new("reboot the host", why))
}

fn read(path: &Path) -> Result<Option<String>, HostError> {
    let failed = |e: io::Error| HostError::new(format!("read {}", path.display()), e);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    let file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let mut text = String::new();
    file.take(MAX_CONTENT).read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Puts the content at `path`, or takes the file away, so that a power cut leaves the one or the other.
fn write(path: &Path, content: Option<&str>) -> Result<(), HostError> {
    let failed = |e: io::Error| HostError::new(format!("write {}", path.display()), e);
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(failed(io::ErrorKind::InvalidInput.into()));
    };
    let placed = match content {
        None => match fs::remove_file(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        },
        Some(content) => {
            let next = folder.join(format!(".{}.kvmtune-next", name.to_string_lossy()));
            replace(&next, content).and_then(|()| fs::rename(&next, path))
        }
    };
    placed
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed)
}

fn replace(path: &Path, content: &str) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

fn make_menu() -> Result<(), HostError> {
    let tool = GRUB_TOOLS.iter().find(|tool| find(tool[0]).is_some());
    let argv: Vec<String> = tool
        .ok_or_else(|| {
            HostError::new(
                "make GRUB's menu",
                "neither update-grub nor grub-mkconfig is installed",
            )
        })?
        .iter()
        .map(ToString::to_string)
        .collect();
    let done = Running::start(&argv, Bytes::mib(1))?.finish(GRUB_LIMIT, &|| false)?;
    if done.exit == 0 {
        return Ok(());
    }
    let said: String = String::from_utf8_lossy(&done.stderr)
        .trim()
        .chars()
        .rev()
        .take(300)
        .collect();
    let said: String = said.chars().rev().collect();
    Err(HostError::new(
        format!("make GRUB's menu with `{}`", argv.join(" ")),
        format!("it gave {}: {}", done.exit, said.escape_debug()),
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_holds_the_whole_line_or_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        let place = NextBoot::File(path.clone());
        let mut host = KernelHost;
        assert_eq!(host.read_next(&place).unwrap(), None);
        for line in ["a b=c\n", "quiet\n"] {
            host.write_next(&place, Some(line)).unwrap();
            assert_eq!(host.read_next(&place).unwrap().as_deref(), Some(line));
        }
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        host.write_next(&place, None).unwrap();
        host.write_next(&place, None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_and_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        fs::write(&target, "x").unwrap();
        let link = folder.path().join("link");
        symlink(&target, &link).unwrap();
        assert!(NextBoot::File(link.clone()).lack().is_some());
        assert!(KernelHost.read_next(&NextBoot::File(link)).is_err());
        assert!(NextBoot::File(folder.path().into()).lack().is_some());
        assert!(NextBoot::File(folder.path().join("a/b")).lack().is_some());
        assert!(NextBoot::File(folder.path().join("new")).lack().is_none());
        assert!(NextBoot::File(target).lack().is_none());
    }
}
