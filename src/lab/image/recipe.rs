//! Decides what stands where in the guest: the first root (in memory) and the disk of tools.
//! It reads only names and index files; the content is hashed and copied elsewhere.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::fingerprint::{Fingerprints, hex};
use super::packages::{Kernel, OPTIONAL_TOOLS, TOOLS, applets, find, missing};
use super::tree::{Node, Tree, merged_usr};
use super::{ImageError, ImageHash, libraries, modules};
use crate::host::program;

/// Changes whenever the same inputs would give other bytes than before.
const FORMAT: &str = "kvmtune guest image 1";

/// Where the guest mounts the disk of tools.
const TOOLS_MOUNT: &str = "/opt/tools";

/// Everything an image is made of.
pub(super) struct Recipe {
    pub(super) kernel: PathBuf,
    pub(super) root: Tree,
    pub(super) tools: Tree,
}

impl Recipe {
    /// Plans an image of this kernel from the installed packages, or names all that are missing.
    pub(super) fn from_installed_packages(kernel: Kernel) -> Result<Self, ImageError> {
        let absent = || ImageError::Missing { packages: missing() };
        let needed = |name: &str| find(name).ok_or_else(absent);
        let Kernel { path, release } = kernel;
        let mut root = skeleton();
        add_busybox(&mut root, &needed("busybox")?)?;
        add_programs(&mut root, &[needed("qemu-ga")?])?;
        let bytes = program::BYTES;
        root.insert(&format!("usr/bin/{}", program::NAME), Node::Program { bytes });
        modules::add(&mut root, &release)?;

        let mut programs = TOOLS
            .iter()
            .map(|(name, _)| needed(name))
            .collect::<Result<Vec<_>, _>>()?;
        programs.extend(OPTIONAL_TOOLS.iter().filter_map(|(name, _)| find(name)));
        let mut tools = Tree::default();
        add_programs(&mut tools, &programs)?;
        let tools = reach_from(&mut root, &tools);
        Ok(Self {
            kernel: path,
            root,
            tools,
        })
    }

    /// Covers the format, the kernel, and every path, kind and content of both trees.
    pub(super) fn hash(&self, fingerprints: &mut Fingerprints) -> Result<ImageHash, ImageError> {
        let mut sum = Sha256::new();
        sum.update(format!("{FORMAT}\nkernel {}\n", fingerprints.of(&self.kernel)?));
        for (name, tree) in [("root", &self.root), ("tools", &self.tools)] {
            for (path, node) in tree.nodes() {
                let what = match node {
                    Node::Directory { mode } => format!("directory {mode:o}"),
                    Node::Copy { from } => format!("file {}", fingerprints.of(from)?),
                    Node::Program { bytes } => format!("file {}", hex(&Sha256::digest(bytes))),
                    Node::Text { text, mode } => format!("text {mode:o} {}", hex(&Sha256::digest(text))),
                    Node::Link { to } => format!("link {to}"),
                };
                sum.update(format!("{name} {path} {what}\n"));
            }
        }
        Ok(ImageHash(hex(&sum.finalize())))
    }
}

fn skeleton() -> Tree {
    let mut tree = Tree::default();
    for path in [
        "dev",
        "proc",
        "sys",
        "run",
        "root",
        "opt/tools",
        "usr/bin",
        "usr/sbin",
        "usr/lib",
        "usr/lib64",
        "var",
    ] {
        tree.directory(path);
    }
    tree.insert("tmp", Node::Directory { mode: 0o1777 });
    for path in ["bin", "sbin", "lib", "lib64"] {
        tree.link(path, &format!("usr/{path}"));
    }
    tree.link("var/run", "/run");
    tree.link("var/tmp", "/tmp");
    tree.link("etc/mtab", "/proc/self/mounts");
    tree.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
    tree.text("etc/group", "root:x:0:\n");
    tree.text("etc/hosts", "127.0.0.1 localhost\n");
    tree.text("etc/inittab", include_str!("../guest/inittab"));
    tree.script("init", include_str!("../guest/init.sh"));
    tree.script("etc/late", include_str!("../guest/late.sh"));
    tree.script("usr/sbin/shutdown", include_str!("../guest/shutdown.sh"));
    // The name busybox's acpid derives from the event of the power button.
    tree.link("etc/acpi/PWRF/00000080", "/sbin/shutdown");
    tree
}

fn add_busybox(tree: &mut Tree, busybox: &Path) -> Result<(), ImageError> {
    tree.copy(busybox, "usr/bin/busybox");
    for applet in applets(busybox)? {
        let path = merged_usr(&applet);
        if path.starts_with("usr/") && !tree.contains(&path) {
            tree.link(&path, "/usr/bin/busybox");
        }
    }
    Ok(())
}

/// Puts programs and all their libraries where they stand on this machine.
fn add_programs(tree: &mut Tree, programs: &[PathBuf]) -> Result<(), ImageError> {
    let paths: Vec<&Path> = programs.iter().map(PathBuf::as_path).collect();
    for path in programs.iter().chain(&libraries::closure(&paths)?) {
        tree.copy(path, &merged_usr(&path.to_string_lossy()));
    }
    Ok(())
}

/// The tree of the disk: what the root does not hold itself. The root gets a link to each file under its
/// own path, so that programs and the loader find them there once the disk is mounted.
fn reach_from(root: &mut Tree, wanted: &Tree) -> Tree {
    let mut disk = Tree::default();
    for (path, node) in wanted.nodes() {
        if let Node::Copy { from } = node
            && !root.holds_file(path)
        {
            disk.copy(from, path);
            root.link(path, &format!("{TOOLS_MOUNT}/{path}"));
        }
    }
    disk
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn the_hash_follows_content_path_and_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let hash = |content: &str, path: &str, text: &str| {
            std::fs::write(&file, content).unwrap();
            let (mut root, mut tools) = (Tree::default(), Tree::default());
            root.text("init", text);
            tools.copy(&file, path);
            let recipe = Recipe {
                kernel: file.clone(),
                root,
                tools,
            };
            recipe
                .hash(&mut Fingerprints::load(folder.path().join("none")))
                .unwrap()
        };
        let base = hash("a", "usr/a", "t");
        assert_eq!(base, hash("a", "usr/a", "t"));
        for other in [
            hash("b", "usr/a", "t"),
            hash("a", "usr/b", "t"),
            hash("a", "usr/a", "u"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_library_in_the_root_is_not_on_the_disk_and_a_tool_hides_its_applet() {
        let (mut root, mut wanted) = (Tree::default(), Tree::default());
        root.copy(Path::new("/lib/libc.so.6"), "usr/lib/libc.so.6");
        root.link("usr/bin/ip", "/usr/bin/busybox");
        wanted.copy(Path::new("/lib/libc.so.6"), "usr/lib/libc.so.6");
        wanted.copy(Path::new("/usr/bin/ip"), "usr/bin/ip");
        let disk = reach_from(&mut root, &wanted);
        assert!(disk.contains("usr/bin/ip") && !disk.contains("usr/lib/libc.so.6"));
        let link = root
            .nodes()
            .find(|(path, _)| *path == "usr/bin/ip")
            .map(|(_, node)| node.clone());
        assert_eq!(
            link,
            Some(Node::Link {
                to: "/opt/tools/usr/bin/ip".to_owned()
            })
        );
    }
}
