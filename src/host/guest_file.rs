//! Files of configuration in a guest: looked at, put in place in one step, taken away.
//!
//! The scripts are fixed; paths, modes and owners are arguments and a content is standard input. Does not know what the
//! files are for.

use super::transport::{ExecOutput, Transport};
use super::{HostError, MAX_SETTING, TOO_LONG, guest_job};
use crate::tunable::KernelFile;
use std::time::Duration;

/// A guest that writes its disk back may take this long.
const LIMIT: Duration = Duration::from_mins(1);

/// Says what is at `$1`: raw mode, owner, group and size; or `absent`, then the folders that are missing on the way to it,
/// the innermost first.
const LOOK: &str = r#"
if [ -e "$1" ] || [ -L "$1" ]; then
    exec stat -c '%f %u %g %s' -- "$1"
fi
echo absent
folder=${1%/*}
while [ -n "$folder" ] && [ ! -e "$folder" ]; do
    echo "$folder"
    folder=${folder%/*}
done
"#;

/// Puts standard input at `$1` with mode `$2` and owner `$3`. The new file has a name that no reader of such folders takes,
/// is nobody else's to open before it is whole, and is on the disk before it takes the old one's place.
const PUT: &str = r#"
set -eu
umask 022
mkdir -p -- "${1%/*}"
if [ -L "$1" ] || [ -d "$1" ]; then
    echo 'it is a link or a folder' >&2
    exit 1
fi
umask 077
rm -f -- "$1.kvmtune"
trap 'rm -f -- "$1.kvmtune"' EXIT
set -C
cat > "$1.kvmtune"
chmod "$2" "$1.kvmtune"
chown "$3" "$1.kvmtune"
sync "$1.kvmtune" 2>/dev/null || sync
mv -f -- "$1.kvmtune" "$1"
! command -v restorecon >/dev/null || restorecon "$1" || true
sync "${1%/*}" 2>/dev/null || sync
"#;

/// Removes `$1` and what a write that was cut left of it, then the folders that follow as far as they are empty.
const REMOVE: &str = r#"
set -eu
rm -f -- "$1" "$1.kvmtune"
shift
for folder; do
    rmdir -- "$folder" 2>/dev/null || break
done
sync
"#;

/// A file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestFile {
    /// What it holds.
    pub content: Vec<u8>,
    /// Its permissions: `0o644`.
    pub mode: u32,
    /// Number of its owner.
    pub uid: u32,
    /// Number of its group.
    pub gid: u32,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A plain file.
    File(GuestFile),
    /// Nothing; these folders on the way are missing too, the innermost first.
    Nothing {
        /// Absolute paths.
        folders: Vec<String>,
    },
}

impl Found {
    /// The file, when there is one.
    pub fn file(&self) -> Option<&GuestFile> {
        match self {
            Self::File(file) => Some(file),
            Self::Nothing { .. } => None,
        }
    }
}

/// The files of one running guest.
#[derive(Debug)]
pub struct GuestFiles<'g> {
    transport: &'g Transport,
}

impl<'g> GuestFiles<'g> {
    pub(super) fn of(transport: &'g Transport) -> Self {
        Self { transport }
    }

    /// What is at a path below /etc.
    pub fn look(&self, path: &str) -> Result<Found, HostError> {
        let doing = format!("look at guest:{path}");
        let fail = |cause: &str| HostError::new(doing.clone(), cause);
        let said = self.run(&doing, LOOK, &[require_plain(path, &doing)?], None)?;
        let text = String::from_utf8_lossy(&said.stdout);
        let mut lines = text.lines();
        let first = lines.next().unwrap_or_default();
        if first == "absent" {
            let folders: Vec<_> = lines.map(str::to_string).collect();
            let above = |folder: &String| {
                path.strip_prefix(folder.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
            };
            return if folders.iter().all(above) {
                Ok(Found::Nothing { folders })
            } else {
                Err(fail("the guest names folders that do not lead there"))
            };
        }
        let (raw, owner, group, size) =
            numbers(first).ok_or_else(|| fail("the guest does not tell what it is"))?;
        if raw & 0o170_000 != 0o100_000 {
            return Err(fail(
                "it is no plain file; nothing is written through links or into devices",
            ));
        }
        if size > MAX_SETTING as u64 {
            return Err(fail(TOO_LONG));
        }
        let content = self.transport.read_file(path, MAX_SETTING);
        Ok(Found::File(GuestFile {
            content: content.map_err(|e| guest_job::failed(doing.clone(), &e))?,
            mode: raw & 0o7777,
            uid: owner,
            gid: group,
        }))
    }

    /// Puts a file in place, whole or not at all, and reads it back.
    pub fn put(&self, path: &str, file: &GuestFile) -> Result<(), HostError> {
        let doing = format!("write guest:{path}");
        if file.content.len() > MAX_SETTING {
            return Err(HostError::new(doing, TOO_LONG));
        }
        let (mode, owner) = (
            format!("{:o}", file.mode & 0o7777),
            format!("{}:{}", file.uid, file.gid),
        );
        let arguments = [require_plain(path, &doing)?, &mode, &owner];
        self.run(&doing, PUT, &arguments, Some(&file.content))?;
        if self.look(path)?.file() == Some(file) {
            Ok(())
        } else {
            Err(HostError::new(doing, "it reads otherwise than it was written"))
        }
    }

    /// Removes a file, and these folders as far as nothing else is in them.
    pub fn remove(&self, path: &str, folders: &[String]) -> Result<(), HostError> {
        let doing = format!("remove guest:{path}");
        let mut arguments = vec![require_plain(path, &doing)?];
        for folder in folders {
            arguments.push(require_plain(folder, &doing)?);
        }
        self.run(&doing, REMOVE, &arguments, None)?;
        match self.look(path)? {
            Found::Nothing { .. } => Ok(()),
            Found::File(_) => Err(HostError::new(doing, "it is still there")),
        }
    }

    /// The content of a kernel file; `None` when it is not there or not to be read.
    pub fn kernel_file(&self, path: &str) -> Option<String> {
        let bytes = KernelFile::is_one(path).then(|| self.transport.read_file(path, MAX_SETTING))?;
        Some(String::from_utf8_lossy(&bytes.ok()?).into_owned())
    }

    /// Where a symbolic link below /sys leads, as it is written.
    pub fn kernel_link(&self, path: &str) -> Option<String> {
        let text = self.of_kernel("readlink -- \"$1\"", path)?;
        (!text.is_empty()).then_some(text)
    }

    /// The permissions of a kernel file.
    pub fn kernel_mode(&self, path: &str) -> Option<u32> {
        u32::from_str_radix(&self.of_kernel("stat -c %a -- \"$1\"", path)?, 8).ok()
    }

    fn of_kernel(&self, script: &str, path: &str) -> Option<String> {
        KernelFile::is_one(path).then_some(())?;
        let said = self
            .run("look at the guest's kernel", script, &[path], None)
            .ok()?;
        let text = String::from_utf8_lossy(&said.stdout).trim().to_string();
        (text.len() < 4096).then_some(text)
    }

    /// Whether systemd is the guest's first process.
    pub fn has_systemd(&self) -> Result<bool, HostError> {
        let script = "[ -d /run/systemd/system ] && echo yes || echo no";
        let said = self.run("look for systemd in the guest", script, &[], None)?;
        Ok(said.stdout.starts_with(b"yes"))
    }

    fn run(
        &self,
        doing: &str,
        script: &str,
        arguments: &[&str],
        stdin: Option<&[u8]>,
    ) -> Result<ExecOutput, HostError> {
        let argv = [&["/bin/sh", "-c", script, "kvmtune"], arguments].concat();
        let done = self.transport.exec(&argv, Some(stdin.unwrap_or_default()), LIMIT);
        let done = done.map_err(|e| guest_job::failed(doing.to_string(), &e))?;
        if done.exit_code == 0 {
            return Ok(done);
        }
        let said: String = String::from_utf8_lossy(&done.stderr)
            .trim()
            .chars()
            .take(200)
            .collect();
        Err(HostError::new(
            doing,
            format!("the guest says {}: {}", done.exit_code, said.escape_debug()),
        ))
    }
}

/// Raw mode, owner, group and size.
fn numbers(line: &str) -> Option<(u32, u32, u32, u64)> {
    let mut words = line.split(' ');
    let raw = u32::from_str_radix(words.next()?, 16).ok()?;
    let all = (
        raw,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
        words.next()?.parse().ok()?,
    );
    words.next().is_none().then_some(all)
}

/// A path below /etc that leads nowhere else.
fn require_plain<'p>(path: &'p str, doing: &str) -> Result<&'p str, HostError> {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+-@".contains(c))
    };
    let is_one = path.len() < 200
        && path
            .strip_prefix("/etc/")
            .is_some_and(|rest| rest.split('/').all(plain));
    is_one
        .then_some(path)
        .ok_or_else(|| HostError::new(doing, "not a plain path below /etc"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    #[test]
    fn the_rest_of_a_cut_write_goes_with_the_file() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("sysctl.d");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("60-kvmtune.conf");
        fs::write(folder.join("60-kvmtune.conf.kvmtune"), "vm.sw").unwrap();
        let mut sh = Command::new("/bin/sh");
        sh.args(["-c", REMOVE, "kvmtune"]).args([&path, &folder]);
        assert!(sh.status().unwrap().success());
        assert!(!folder.exists());
    }

    #[test]
    fn only_plain_paths_below_etc() {
        assert!(require_plain("/etc/sysctl.d/60-kvmtune.conf", "x").is_ok());
        for bad in [
            "/etc/",
            "/etc",
            "/etc/../root/a",
            "/root/a",
            "etc/a",
            "/etc/a b",
            "/etc//a",
            "/etc/a\n",
        ] {
            assert!(require_plain(bad, "x").is_err(), "{bad}");
        }
    }

    #[test]
    fn four_numbers_or_nothing() {
        assert_eq!(numbers("81a4 0 0 12"), Some((0o100_644, 0, 0, 12)));
        for bad in ["", "81a4 0 0", "81a4 0 0 12 9", "x 0 0 1", "81a4 -1 0 1"] {
            assert_eq!(numbers(bad), None, "{bad}");
        }
    }
}
