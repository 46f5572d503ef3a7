//! The lab host's first root: the lab guest's, whose shell and drivers do, and what leads to the machine's root.

use kvmtune::lab::image::Image;
use std::fs;
use std::path::Path;

const MODULES: [(&str, &str); 3] = [("fuse", "fuse"), ("fuse", "virtiofs"), ("overlayfs", "overlay")];

/// The kernel unpacks archives that follow each other into one root.
pub(super) fn of(image: &Image) -> Vec<u8> {
    let mut bytes = fs::read(&image.initrd).unwrap();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    entry(&mut bytes, 0o040_755, "stage", &[]);
    let scripts = [
        ("init", include_str!("init.sh")),
        ("inittab", include_str!("inittab")),
        ("lab-host", include_str!("lab-host")),
    ];
    for (name, text) in scripts {
        entry(&mut bytes, 0o100_755, &format!("stage/{name}"), text.as_bytes());
    }
    let modules = Path::new("/lib/modules").join(&image.release).join("kernel/fs");
    for (folder, name) in MODULES {
        let module = fs::read(modules.join(folder).join(format!("{name}.ko"))).unwrap();
        entry(&mut bytes, 0o100_644, &format!("stage/{name}.ko"), &module);
    }
    entry(&mut bytes, 0, "TRAILER!!!", &[]);
    bytes
}

/// One file of a `newc` archive. An inode number counts for files with several links only.
fn entry(out: &mut Vec<u8>, mode: u32, name: &str, data: &[u8]) {
    let (size, name_size) = (data.len(), name.len() + 1);
    out.extend(
        format!(
            "070701{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{size:08x}",
            0, 0, 0, 1, 0
        )
        .bytes(),
    );
    out.extend(format!("{:08x}{:08x}{:08x}{:08x}{name_size:08x}{:08x}", 0, 0, 0, 0, 0).bytes());
    for part in [format!("{name}\0").as_bytes(), data] {
        out.extend(part);
        out.resize(out.len().next_multiple_of(4), 0);
    }
}
