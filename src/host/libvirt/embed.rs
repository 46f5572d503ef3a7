//! The directory an embedded driver lives in. It does not open the driver.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The longest root, in bytes: below it libvirt puts
/// `lib/qemu/channel/target/domain-9999-<20 letters of the name>/org.qemu.guest_agent.0`,
/// and a unix socket's address holds 107 bytes.
pub const MAX_ROOT_LENGTH: usize = 27;

const URI: &str = "qemu:///embed?root=";

/// For a driver inside this process: no log daemon to hand consoles to, no security driver or mount
/// namespace (nothing but our own lab guest runs there), and no change of owner on files we own anyway.
const QEMU_CONF: &str = "\
stdio_handler = \"file\"
security_driver = \"none\"
namespaces = []
user = \"root\"
group = \"root\"
dynamic_ownership = 0
remember_owner = 0
";

/// The URI of the embedded driver that lives in `dir`.
pub fn embed_uri(dir: &Path) -> io::Result<String> {
    Ok(format!("{URI}{}", plain(dir)?))
}

pub(super) fn root_of(uri: &str) -> Option<PathBuf> {
    uri.strip_prefix(URI).map(PathBuf::from)
}

/// Makes `dir` (mode 700) the root of an embedded driver; `hugetlbfs` are the mounts that huge pages are
/// taken from, one for each page size; without any libvirt looks for itself.
pub fn embed_root(dir: &Path, hugetlbfs: &[PathBuf]) -> io::Result<()> {
    let root = plain(dir)?;
    if root.len() > MAX_ROOT_LENGTH {
        let text = format!(
            "{root} is longer than {MAX_ROOT_LENGTH} bytes, so that the guest agent's socket below it \
             would not fit a unix address; choose a shorter directory"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let mut conf = QEMU_CONF.to_owned();
    if !hugetlbfs.is_empty() {
        let quoted = hugetlbfs
            .iter()
            .map(|mount| plain(mount).map(|path| format!("\"{path}\"")));
        let quoted: Vec<_> = quoted.collect::<io::Result<_>>()?;
        conf = format!("{conf}hugetlbfs_mount = [{}]\n", quoted.join(", "));
    }
    let etc = dir.join("etc");
    DirBuilder::new().recursive(true).mode(0o700).create(&etc)?;
    let fresh = etc.join("qemu.conf.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(conf.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, etc.join("qemu.conf"))
}

/// An absolute path that means the same in a URI, in `qemu.conf` and to the kernel.
fn plain(path: &Path) -> io::Result<&str> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    match path.to_str() {
        Some(text) if text.starts_with('/') && text.chars().all(safe) => Ok(text),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} is not an absolute path of letters, digits, `.`, `_` and `-`",
                path.display()
            ),
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_root_is_private_and_names_the_hugetlbfs() {
        let temp = tempfile::Builder::new().prefix("kt-").tempdir_in("/tmp").unwrap();
        let root = temp.path().join("root");
        embed_root(&root, &["/dev/hugepages".into(), "/mnt/1g".into()]).unwrap();
        let conf = root.join("etc/qemu.conf");
        let text = fs::read_to_string(&conf).unwrap();
        assert!(text.contains("stdio_handler = \"file\"\n"));
        assert!(text.ends_with("hugetlbfs_mount = [\"/dev/hugepages\", \"/mnt/1g\"]\n"));
        assert_eq!(fs::metadata(&conf).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&root).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(root_of(&embed_uri(&root).unwrap()), Some(root));
    }

    #[test]
    fn paths_that_could_mean_something_else_are_refused() {
        for path in ["relative", "/a b", "/a\"b", "/a?b", "/a%41", "/a\nuser", ""] {
            assert!(embed_root(Path::new(path), &[]).is_err(), "{path:?}");
        }
        let long = format!("/tmp/{}", "x".repeat(MAX_ROOT_LENGTH));
        assert!(embed_root(Path::new(&long), &[]).is_err());
        assert!(!Path::new(&long).exists());
    }
}
