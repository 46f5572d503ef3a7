//! Makes the lab's guest image (kernel, first root, disk of tools) from this machine's Debian packages.
//! Equal packages give equal bytes; an image is kept under the hash of everything it is made of.
//! It does not know how a guest is started, nor what will run in it.

mod command;
mod cpio;
mod disk;
mod fingerprint;
mod libraries;
mod modules;
mod packages;
mod recipe;
mod tree;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use fingerprint::Fingerprints;
use packages::Kernel;
pub use packages::{
    MissingPackage, OPTIONAL_TOOLS, Program, TOOLS, find, install_command, is_for_labs, missing, package_of,
};
use recipe::Recipe;

/// The serial the disk [`Image::tools`] must be attached with for the guest to mount it on /opt/tools.
pub const TOOLS_SERIAL: &str = "kvmtune-tools";
/// A virtio disk attached with this serial is /dev/kvmtune-data in the guest.
pub const DATA_SERIAL: &str = "kvmtune-data";
/// The name of the virtio-serial port the guest agent listens on.
pub const AGENT_PORT: &str = "org.qemu.guest_agent.0";
/// Kernel command line of a quiet guest that stops when its kernel panics. Words the guest knows besides:
/// `kvmtune.ip=ADDRESS/LENGTH` for eth0, `kvmtune.hostname=NAME`, and `kvmtune.probe` (see `PROBE_LINE`).
pub const COMMAND_LINE: &str = "console=ttyS0 quiet panic=-1";
/// Given `kvmtune.probe`, the guest prints this line on its console as soon as user space runs, then powers off.
pub const PROBE_LINE: &str = "KVMTUNE-PROBE-OK";

/// zstd's default: beyond it the archive hardly shrinks, and the guest unpacks it no faster.
const COMPRESSION: i32 = 3;

/// Lower-case hexadecimal SHA-256 over all an image is made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageHash(pub(super) String);

impl ImageHash {
    /// The 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A finished image; its files never change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The kernel (bzImage).
    pub kernel: PathBuf,
    /// The first root: a cpio archive, compressed with zstd.
    pub initrd: PathBuf,
    /// A raw ext4 disk, to be attached read-only as a virtio disk with the serial [`TOOLS_SERIAL`].
    pub tools: PathBuf,
    /// The kernel's release, as `uname -r` gives it.
    pub release: String,
    /// What it was made of.
    pub hash: ImageHash,
}

impl Image {
    fn in_folder(folder: &Path, release: String, hash: ImageHash) -> Self {
        let file = |name| folder.join(name);
        Self {
            kernel: file("vmlinuz"),
            initrd: file("initrd"),
            tools: file("tools.img"),
            release,
            hash,
        }
    }

    fn is_complete(&self) -> bool {
        [&self.kernel, &self.initrd, &self.tools]
            .iter()
            .all(|path| path.is_file())
    }
}

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Not installed on this machine; all of it at once.
    #[error("the lab guest needs {}; install with `{}`", list(.packages), install_command(.packages))]
    Missing {
        /// What is missing, by package.
        packages: Vec<MissingPackage>,
    },
    /// No installed kernel is called so.
    #[error("the lab has no kernel {name}, only {}; others are installed as linux-image-*-cloud-amd64", known.join(", "))]
    Kernel {
        /// The release looked for.
        name: String,
        /// The releases there are.
        known: Vec<String>,
    },
    /// The kernel has a module index without a module every guest needs.
    #[error("kernel {release} has no module {name}; reinstall linux-image-{release}")]
    Module {
        /// The module.
        name: String,
        /// The kernel release.
        release: String,
    },
    /// The loader cannot find a library of an installed program.
    #[error("shared library {name} is not found by ldd; run `apt-get --fix-broken install`")]
    Library {
        /// As the program names it.
        name: String,
    },
    /// A file name the disk maker cannot take.
    #[error(
        "file name {name:?} cannot be put on the disk of tools; it may hold only letters, digits and /._+-@"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// A package file could not be read.
    #[error("cannot read {path}; reinstall the package that owns it (`dpkg -S {path}`)")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The cache could not be written.
    #[error("cannot write {path}; see that its disk has 200 MiB free and that the folder is yours")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A tool could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The tool.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A tool failed.
    #[error("{program} failed: {said}")]
    Tool {
        /// The tool.
        program: String,
        /// Its exit status and what it printed.
        said: String,
    },
}

fn list(packages: &[MissingPackage]) -> String {
    packages
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

/// The image of the packages installed now, with the newest kernel: from the cache, or made first (seconds).
///
/// Safe to call from several processes at once; a process killed half-way leaves nothing that is later taken
/// for an image.
pub fn build(cache_dir: &Path) -> Result<Image, ImageError> {
    build_with(cache_dir, |mut kernels| {
        (!kernels.is_empty()).then(|| kernels.swap_remove(0))
    })?
    .ok_or_else(|| ImageError::Missing { packages: missing() })
}

/// The same with the newest kernel whose release begins with `name`: `6.12`.
pub fn build_for(cache_dir: &Path, name: &str) -> Result<Image, ImageError> {
    let pick = |kernels: Vec<Kernel>| {
        let mut kernels = kernels.into_iter();
        kernels.find(|k| packages::names_release(name, &k.release))
    };
    build_with(cache_dir, pick)?.ok_or_else(|| ImageError::Kernel {
        name: name.to_owned(),
        known: packages::kernels().into_iter().map(|k| k.release).collect(),
    })
}

/// The image of the kernel that is picked from all there are, the newest first.
fn build_with(
    cache_dir: &Path,
    pick: impl FnOnce(Vec<Kernel>) -> Option<Kernel>,
) -> Result<Option<Image>, ImageError> {
    let failed = |source| ImageError::Write {
        path: cache_dir.to_owned(),
        source,
    };
    fs::create_dir_all(cache_dir).map_err(failed)?;
    let lock = File::create(cache_dir.join("image.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;

    let packages = missing();
    if !packages.is_empty() {
        return Err(ImageError::Missing { packages });
    }
    let Some(kernel) = pick(packages::kernels()) else {
        return Ok(None);
    };
    let release = kernel.release.clone();
    let recipe = Recipe::from_installed_packages(kernel)?;
    let mut fingerprints = Fingerprints::load(cache_dir.join("inputs.json"));
    let hash = recipe.hash(&mut fingerprints)?;
    fingerprints.save()?;
    let folder = cache_dir.join(format!("image-{}", &hash.as_str()[..16]));
    let image = Image::in_folder(&folder, release, hash);
    if !image.is_complete() {
        make(&recipe, &image, &folder, &cache_dir.join("image-unfinished"))?;
    }
    Ok(Some(image))
}

/// Makes the files in `unfinished`, which the caller's lock makes ours, and renames it when all are on the disk.
fn make(recipe: &Recipe, image: &Image, folder: &Path, unfinished: &Path) -> Result<(), ImageError> {
    let failed = |source| ImageError::Write {
        path: folder.to_owned(),
        source,
    };
    remove(unfinished).map_err(failed)?;
    remove(folder).map_err(failed)?;
    fs::create_dir(unfinished).map_err(failed)?;
    let new = Image::in_folder(unfinished, image.release.clone(), image.hash.clone());
    fs::copy(&recipe.kernel, &new.kernel).map_err(failed)?;
    write_root(recipe, &new.initrd).map_err(failed)?;
    disk::write(&recipe.tools, &new.tools)?;
    for path in [&new.kernel, &new.initrd, &new.tools] {
        File::open(path)
            .and_then(|file| file.sync_all())
            .map_err(failed)?;
    }
    fs::rename(unfinished, folder).map_err(failed)
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn write_root(recipe: &Recipe, path: &Path) -> io::Result<()> {
    let mut archive = zstd::Encoder::new(io::BufWriter::new(File::create(path)?), COMPRESSION)?;
    cpio::write(&recipe.root, &mut archive)?;
    archive.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_names_every_package_and_the_command() {
        let miss = |package, what: &str| MissingPackage {
            package,
            what: what.to_owned(),
        };
        let packages = vec![miss("fio", "program fio"), miss("iperf3", "program iperf3")];
        let expected = "the lab guest needs program fio (package fio), program iperf3 (package iperf3); \
                        install with `apt-get install fio iperf3`";
        assert_eq!(ImageError::Missing { packages }.to_string(), expected);
    }
}
