//! Writes a [`Tree`] as an ext4 disk with e2fsprogs, without mounting anything.
//! `mke2fs -d` would keep the change times of its source files, which nobody can set; `debugfs write`
//! stamps everything with `E2FSPROGS_FAKE_TIME`, so equal trees give equal bytes.
//! It does not know what the files are for.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::ImageError;
use super::command::{run, tool};
use super::tree::{Node, Tree};

const BLOCK: u64 = 4096;
const IDENTITY: &str = "6b766d74-756e-4000-8000-746f6f6c7301";
const HASH_SEED: &str =
    "hash_seed=6b766d74-756e-4000-8000-746f6f6c7302,root_owner=0:0,lazy_itable_init=0,nodiscard";

/// Makes the disk at `path`, just large enough; it is meant to be mounted read-only.
pub(super) fn write(tree: &Tree, path: &Path) -> Result<(), ImageError> {
    let nodes = tree.nodes().count() as u64;
    let blocks = data_blocks(tree)?;
    // Room for inode tables, directories and extent blocks; unused blocks cost nothing in a sparse file.
    let blocks = blocks + blocks / 50 + nodes + 256;
    run(e2fs("mke2fs")
        .args(["-q", "-F", "-b", "4096", "-I", "256", "-m", "0", "-N"])
        .arg((nodes + 64).to_string())
        .args(["-O", "none,extent,filetype,dir_index,large_file,sparse_super"])
        .args(["-U", IDENTITY, "-E", HASH_SEED, "-L", "kvmtune-tools"])
        .arg(path)
        .arg(blocks.to_string()))?;
    fill(path, &script(tree)?)
}

/// Without a file of defaults the result does not depend on this machine's /etc/mke2fs.conf.
fn e2fs(program: &str) -> Command {
    let mut command = tool(program);
    command
        .env("MKE2FS_CONFIG", "/dev/null")
        .env("E2FSPROGS_FAKE_TIME", "1");
    command
}

fn data_blocks(tree: &Tree) -> Result<u64, ImageError> {
    let mut blocks = 0;
    for (_, node) in tree.nodes() {
        if let Node::Copy { from } = node {
            let about = fs::metadata(from).map_err(|source| ImageError::Read {
                path: from.clone(),
                source,
            })?;
            blocks += about.len().div_ceil(BLOCK);
        }
    }
    Ok(blocks)
}

/// The commands for `debugfs`, which has no way to quote: names must be plain.
fn script(tree: &Tree) -> Result<String, ImageError> {
    let mut script = String::new();
    for (path, node) in tree.nodes() {
        let line = match node {
            Node::Directory { .. } => format!("mkdir {}\n", plain(path)?),
            Node::Link { to } => format!("symlink {} {}\n", plain(path)?, plain(to)?),
            Node::Copy { from } => {
                let (path, from) = (plain(path)?, from.to_string_lossy());
                format!(
                    "write {} {path}\nset_inode_field {path} mode 0100755\n",
                    plain(&from)?
                )
            }
            Node::Text { .. } | Node::Program { .. } => {
                return Err(ImageError::Name {
                    name: path.to_owned(),
                });
            }
        };
        script.push_str(&line);
    }
    Ok(script)
}

fn plain(name: &str) -> Result<&str, ImageError> {
    let fits = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._+-@".contains(c));
    if fits {
        Ok(name)
    } else {
        Err(ImageError::Name {
            name: name.to_owned(),
        })
    }
}

/// `debugfs` exits with 0 after a failed command; anything on stderr beyond its version is a failure.
fn fill(path: &Path, script: &str) -> Result<(), ImageError> {
    let start = |source| ImageError::Start {
        program: "debugfs".to_owned(),
        source,
    };
    let mut child = e2fs("debugfs")
        .args(["-w", "-f", "-"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(script.as_bytes()).map_err(start)?;
    }
    let output = child.wait_with_output().map_err(start)?;
    let said = String::from_utf8_lossy(&output.stderr);
    let problem = said.lines().find(|line| !line.starts_with("debugfs 1."));
    match problem {
        None if output.status.success() => Ok(()),
        _ => Err(ImageError::Tool {
            program: "debugfs".to_owned(),
            said: problem.unwrap_or("it was stopped").to_owned(),
        }),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn directories_come_before_their_files() {
        let mut tree = Tree::default();
        tree.copy(Path::new("/bin/x"), "usr/bin/x");
        let expected =
            "mkdir usr\nmkdir usr/bin\nwrite /bin/x usr/bin/x\nset_inode_field usr/bin/x mode 0100755\n";
        assert_eq!(script(&tree).unwrap(), expected);
    }

    #[test]
    fn names_that_debugfs_would_split_are_refused() {
        let mut tree = Tree::default();
        tree.copy(Path::new("/bin/a b"), "usr/a");
        assert!(matches!(script(&tree), Err(ImageError::Name { name }) if name == "/bin/a b"));
    }
}
