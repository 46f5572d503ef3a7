//! Writes a [`Tree`] as a cpio archive in the `newc` format that the kernel unpacks as its first root.
//! The bytes depend on the tree alone: zero times and owners, inodes counted in path order. It does not know
//! about compression.
//! Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.

use std::io::{self, Write};

use super::tree::{Node, Tree};

/// Bytes before the name: a magic number of six and thirteen fields of eight digits.
const HEADER: usize = 110;
const TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// Writes every node of the tree and the trailer.
pub(super) fn write(tree: &Tree, out: &mut impl Write) -> io::Result<()> {
    for (inode, (path, node)) in (1u32..).zip(tree.nodes()) {
        match node {
            Node::Directory { mode } => entry(out, inode, DIRECTORY | mode, path, &[])?,
            Node::Copy { from } => entry(out, inode, FILE | 0o755, path, &std::fs::read(from)?)?,
            Node::Program { bytes } => entry(out, inode, FILE | 0o755, path, bytes)?,
            Node::Text { text, mode } => entry(out, inode, FILE | mode, path, text.as_bytes())?,
            Node::Link { to } => entry(out, inode, LINK | 0o777, path, to.as_bytes())?,
        }
    }
    entry(out, 0, 0, "TRAILER!!!", &[])
}

fn entry(out: &mut impl Write, inode: u32, mode: u32, name: &str, data: &[u8]) -> io::Result<()> {
    let size = u32::try_from(data.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    let name_size =
        u32::try_from(name.len() + 1).map_err(|_| io::Error::from(io::ErrorKind::InvalidFilename))?;
    let links = if mode & TYPE == DIRECTORY { 2 } else { 1 };
    // inode, mode, uid, gid, links, mtime, size, device, device of the node, name size, checksum
    let fields = [inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
    out.write_all(b"070701")?;
    for field in fields {
        write!(out, "{field:08x}")?;
    }
    out.write_all(name.as_bytes())?;
    out.write_all(&[0])?;
    pad(out, HEADER + name.len() + 1)?;
    out.write_all(data)?;
    pad(out, data.len())
}

/// Names (with their header) and data each end on a multiple of four bytes.
fn pad(out: &mut impl Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..written.next_multiple_of(4) - written])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn archive(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tree, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_entry_has_the_layout_of_newc() {
        let mut tree = Tree::default();
        tree.text("a", "hello");
        let bytes = archive(&tree);
        let header = concat!(
            "070701", "00000001", "000081a4", "00000000", "00000000", "00000001", "00000000", "00000005",
            "00000000", "00000000", "00000000", "00000000", "00000002", "00000000",
        );
        assert_eq!(&bytes[..110], header.as_bytes());
        assert_eq!(&bytes[110..120], b"a\0hello\0\0\0");
        assert_eq!(&bytes[120..126], b"070701");
        assert!(bytes.windows(11).any(|w| w == b"TRAILER!!!\0"));
        assert_eq!(bytes.len() % 4, 0);
    }

    #[test]
    fn parents_come_first_and_order_of_insertion_does_not_show() {
        let (mut one, mut two) = (Tree::default(), Tree::default());
        one.text("usr/bin/a", "1");
        one.link("bin", "usr/bin");
        two.link("bin", "usr/bin");
        two.text("usr/bin/a", "1");
        let paths: Vec<_> = one.nodes().map(|(path, _)| path).collect();
        assert_eq!(paths, ["bin", "usr", "usr/bin", "usr/bin/a"]);
        assert_eq!(archive(&one), archive(&two));
    }

    #[test]
    fn directories_and_links_carry_their_type() {
        let mut tree = Tree::default();
        tree.insert("tmp", Node::Directory { mode: 0o1777 });
        tree.link("x", "tmp");
        let text = String::from_utf8(archive(&tree)).unwrap();
        assert!(text.starts_with("07070100000001000043ff"));
        assert!(text.contains("0000a1ff"));
    }
}
