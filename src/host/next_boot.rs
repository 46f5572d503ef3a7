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
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A command line is at most a few KiB (`COMMAND_LINE_SIZE`), and so is a drop-in.
const MAX_CONTENT: u64 = 64 * 1024;
/// Where grub-mkconfig of Debian and its kin looks for more of its configuration.
const GRUB_FOLDER: &str = "/etc/default/grub.d";
const DROP_IN: &str = "90-kvmtune-next.cfg";
/// What stands there while the menu is made without it.
const EMPTY_DROP_IN: &str = "# kvmtune takes this file away when GRUB's menu is made without it.\n";
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
                    Ok(found) if found.len() > MAX_CONTENT => {
                        wrong("a file no longer than a command line at")
                    }
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
            NextBoot::Grub => read(&Grub::of_host().drop_in),
            NextBoot::File(path) => read(path),
        }
    }

    fn write_next(&mut self, place: &NextBoot, content: Option<&str>) -> Result<(), HostError> {
        match place {
            NextBoot::Print => Ok(()),
            NextBoot::Grub => Grub::of_host().write(content),
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
    file.take(MAX_CONTENT + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > MAX_CONTENT {
        // What is not known whole could not be put back.
        let why = format!("it is longer than {MAX_CONTENT} bytes, and no command line is; name another file");
        return Err(HostError::new(format!("read {}", path.display()), why));
    }
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
            replace(&next, content, path).and_then(|()| fs::rename(&next, path))
        }
    };
    placed
        .and_then(|()| File::open(folder)?.sync_all())
        .map_err(failed)
}

/// Makes a file anew, in the place of `old`.
fn replace(path: &Path, content: &str, old: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    if let Ok(found) = old.symlink_metadata() {
        fchown(&file, Some(found.uid()), Some(found.gid()))?;
        file.set_permissions(found.permissions())?;
    }
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// GRUB's configuration, and what makes its menu of it.
struct Grub {
    drop_in: PathBuf,
    /// The first that is installed is used.
    tools: Vec<Vec<String>>,
}

impl Grub {
    fn of_host() -> Self {
        let tool = |argv: &[&str]| argv.iter().map(ToString::to_string).collect();
        Self {
            drop_in: Path::new(GRUB_FOLDER).join(DROP_IN),
            tools: GRUB_TOOLS.into_iter().map(tool).collect(),
        }
    }

    /// Puts the drop-in in force, or takes it away. It is gone only when a menu was made without it: however early
    /// this ends, what is still there tells that the menu may be of it.
    fn write(&self, content: Option<&str>) -> Result<(), HostError> {
        if content.is_none() && read(&self.drop_in)?.is_none() {
            return Ok(());
        }
        write(&self.drop_in, Some(content.unwrap_or(EMPTY_DROP_IN)))?;
        self.make_menu()?;
        match content {
            Some(_) => Ok(()),
            None => write(&self.drop_in, None),
        }
    }

    fn make_menu(&self) -> Result<(), HostError> {
        let argv = self
            .tools
            .iter()
            .find(|argv| argv.first().is_some_and(|tool| find(tool).is_some()))
            .ok_or_else(|| {
                HostError::new(
                    "make GRUB's menu",
                    "neither update-grub nor grub-mkconfig is installed",
                )
            })?;
        let done = Running::start(argv, Bytes::mib(1))?.finish(GRUB_LIMIT, &|| false)?;
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
    fn a_file_too_long_to_be_put_back_is_refused_and_a_mode_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        let place = NextBoot::File(path.clone());
        fs::write(&path, "x".repeat(64 * 1024)).unwrap();
        assert!(place.lack().is_none() && KernelHost.read_next(&place).is_ok());
        fs::write(&path, "x".repeat(64 * 1024 + 1)).unwrap();
        let refused = KernelHost.read_next(&place).unwrap_err().to_string();
        assert!(refused.contains("longer than"), "{refused}");
        assert!(place.lack().is_some());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
        KernelHost.write_next(&place, Some("quiet\n")).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o660);
    }

    /// Its menu is its drop-in, made unless a file `broken` is there.
    fn grub(folder: &Path) -> Grub {
        let drop_in = folder.join(DROP_IN);
        let script = r#"[ ! -e "$2/broken" ] && cp "$1" "$2/menu""#;
        let argv = ["/bin/sh", "-c", script, "sh"].map(String::from);
        let places = [drop_in.as_path(), folder].map(|path| path.to_str().unwrap().to_string());
        Grub {
            drop_in,
            tools: vec![vec!["/nonexistent".into()], [&argv[..], &places].concat()],
        }
    }

    #[test]
    fn a_drop_in_is_gone_only_when_the_menu_was_made_without_it() {
        let folder = tempfile::tempdir().unwrap();
        let grub = grub(folder.path());
        let menu = || fs::read_to_string(folder.path().join("menu")).unwrap();
        grub.write(Some("LINE=quiet\n")).unwrap();
        assert_eq!(menu(), "LINE=quiet\n");
        fs::write(folder.path().join("broken"), "").unwrap();
        for _ in 0..2 {
            assert!(grub.write(None).is_err());
            assert_eq!(menu(), "LINE=quiet\n");
            let left = read(&grub.drop_in).unwrap();
            assert_eq!(
                left.as_deref(),
                Some(EMPTY_DROP_IN),
                "it tells that the menu is old"
            );
        }
        fs::remove_file(folder.path().join("broken")).unwrap();
        grub.write(None).unwrap();
        assert_eq!(
            (menu().as_str(), read(&grub.drop_in).unwrap()),
            (EMPTY_DROP_IN, None)
        );
        grub.write(None).unwrap();
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
