//! A file tree of the guest before it becomes an archive or a disk: guest path to what stands there.
//! It does not know the formats it is written in, nor why a file is wanted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What stands at one path of the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    Directory {
        mode: u32,
    },
    /// A file of this machine, copied under the guest path.
    Copy {
        from: PathBuf,
    },
    /// A program that kvmtune carries in itself.
    Program {
        bytes: &'static [u8],
    },
    /// A file whose text is part of kvmtune or derived from package files.
    Text {
        text: String,
        mode: u32,
    },
    Link {
        to: String,
    },
}

/// Guest paths, relative to the root and sorted, so that a directory comes before what it holds.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// Puts a node at a guest path, replacing what was there, and makes its parent directories.
    pub(super) fn insert(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        for (end, _) in path.match_indices('/') {
            self.0
                .entry(path[..end].to_owned())
                .or_insert(Node::Directory { mode: 0o755 });
        }
        self.0.insert(path.to_owned(), node);
    }

    pub(super) fn directory(&mut self, path: &str) {
        self.insert(path, Node::Directory { mode: 0o755 });
    }

    pub(super) fn copy(&mut self, from: &Path, to: &str) {
        self.insert(
            to,
            Node::Copy {
                from: from.to_owned(),
            },
        );
    }

    pub(super) fn text(&mut self, path: &str, text: impl Into<String>) {
        self.insert(
            path,
            Node::Text {
                text: text.into(),
                mode: 0o644,
            },
        );
    }

    pub(super) fn script(&mut self, path: &str, text: &str) {
        self.insert(
            path,
            Node::Text {
                text: text.to_owned(),
                mode: 0o755,
            },
        );
    }

    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.insert(path, Node::Link { to: to.to_owned() });
    }

    pub(super) fn contains(&self, path: &str) -> bool {
        self.0.contains_key(path.trim_matches('/'))
    }

    /// Whether the file itself stands there, not a link to one.
    pub(super) fn holds_file(&self, path: &str) -> bool {
        matches!(self.0.get(path), Some(Node::Copy { .. }))
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }
}

/// The guest path of a file of this machine: Debian's merged /usr, where /bin, /sbin and /lib* are links.
pub(super) fn merged_usr(path: &str) -> String {
    let path = path.trim_start_matches('/');
    match path.split('/').next() {
        Some("bin" | "sbin" | "lib" | "lib64") => format!("usr/{path}"),
        _ => path.to_owned(),
    }
}
