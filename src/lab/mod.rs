//! The embedded default: a small guest of kvmtune's own, in a private network namespace, on a loop device.
//!
//! Knows how the lab is built and taken down; does not know treatments or workloads.

mod companion;
mod disk;
mod domain;
pub mod image;
pub mod net;
mod pages;
pub mod probe;
pub mod router;
pub mod ssh;

pub use companion::{Companion, ROUTER};
pub use disk::DiskError;
pub use domain::DATA_TARGET;

use crate::experiment::Company;
use crate::host::agent::Agent;
use crate::host::libvirt::{LibvirtError, embed_root, embed_uri};
use crate::units::Bytes;
use image::{Image, ImageError};
use net::NetError;
use probe::KvmProbe;
use serde::{Deserialize, Serialize};
use ssh::LabSsh;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The bridge in the lab's network namespace.
const BRIDGE: &str = "kvmtune0";
/// The host's address on it: in a namespace of its own, so that it meets no real network.
pub const HOST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// The guest's address.
pub const GUEST_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
const PREFIX: u8 = 24;
/// Embedded roots live here: their paths must be short, because sockets lie below.
const RUN: &str = "/run/kvmtune";
/// Bytes of a console that a message tells.
const TAIL: u64 = 400;

/// Why there is no lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// The guest image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The private network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The data disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// libvirt.
    #[error(transparent)]
    Libvirt(#[from] LibvirtError),
    /// A key for the lab's ssh server.
    #[error("{program} made no key for the lab's ssh server: {said}")]
    Key {
        /// The program.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// The ssh server in the guest.
    #[error(
        "the lab's ssh server does not start: {0}; see that dropbear-bin is installed, and that `kvmtune lab build` succeeds"
    )]
    SshServer(String),
    /// A file of the lab.
    #[error("cannot {doing} {path}: {source}")]
    File {
        /// `make`, `remove` …
        doing: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// How large the lab's guest is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LabSize {
    /// Number of vCPUs.
    pub vcpus: u16,
    /// Memory.
    pub memory: Bytes,
    /// Size of the data disk.
    pub disk: Bytes,
}

/// What a guest has of the lab's data disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slice {
    /// All of it.
    Whole,
    /// Bytes of it: guests that share one disk compete for it.
    Part {
        /// Where it begins.
        offset: u64,
        /// How long it is.
        size: u64,
    },
}

/// Everything a lab leaves on the host is found from its place, also after kvmtune was killed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabPlace {
    /// Eight hex digits.
    pub id: String,
    /// The embedded driver's root.
    pub root: PathBuf,
    /// The file behind the data disk.
    pub data: PathBuf,
}

impl LabPlace {
    /// A new place; nothing is made yet. `state` is the folder for the data disk's file.
    ///
    /// Its path is resolved, because the kernel tells a loop device's file so, and because `recover` may be started
    /// in another folder.
    pub fn new(state: &Path) -> Self {
        let resolved = fs::canonicalize(state).or_else(|_| std::path::absolute(state));
        let state = resolved.unwrap_or_else(|_| state.to_path_buf());
        let id = uuid::Uuid::now_v7().simple().to_string()[24..].to_string();
        Self {
            root: Path::new(RUN).join(&id),
            data: state.join(format!("lab-{id}.img")),
            id,
        }
    }

    /// The guest's libvirt name; it carries the id, so that its cgroups can be told from others.
    pub fn domain(&self) -> String {
        format!("kvmtune-{}", self.id)
    }

    /// True when it has the shape [`LabPlace::new`] gives: a journal is not trusted with `rm -r`.
    pub fn is_sane(&self) -> bool {
        let id_ok = self.id.len() == 8 && self.id.chars().all(|c| c.is_ascii_hexdigit());
        let data_ok = self
            .data
            .file_name()
            .is_some_and(|n| *n == *format!("lab-{}.img", self.id));
        id_ok && data_ok && self.root == Path::new(RUN).join(&self.id)
    }
}

/// A lab that is set up; its guest is started through [`Lab::uri`] with [`Lab::definition`].
#[derive(Debug)]
pub struct Lab {
    place: LabPlace,
    loop_device: String,
    definition: String,
    companions: Vec<Companion>,
    probe: KvmProbe,
    image: Image,
    /// Images with other kernels.
    others: Vec<Image>,
    cache: PathBuf,
    /// Made when an experiment asks for it.
    ssh: Option<LabSsh>,
}

impl Lab {
    /// Sets up image, network, disk and root. The calling thread enters the lab's network namespace for good.
    ///
    /// The caller has noted `place` where it survives a crash.
    pub fn set_up(
        place: &LabPlace,
        size: LabSize,
        company: &Company,
        cache: &Path,
    ) -> Result<Self, LabError> {
        let image = image::build(cache)?;
        let probe = probe::probe_kvm(&image, probe::DEFAULT_LIMIT);
        net::enter_private_network(BRIDGE, HOST_ADDRESS, PREFIX)?;
        let pages = pages::mount(&place.root)?;
        embed_root(&place.root, &pages).map_err(|source| file_error("make", &place.root, source))?;
        share_capabilities(&place.root, cache)?;
        let beside: u64 = company.neighbours.iter().map(|n| n.disk.0).sum();
        let whole = Bytes(size.disk.0.saturating_add(beside));
        let loop_device = disk::attach(&place.data, whole)?;
        let kvm = probe == KvmProbe::Works;
        let slice = if beside == 0 {
            Slice::Whole
        } else {
            Slice::Part {
                offset: 0,
                size: size.disk.0,
            }
        };
        let definition = domain::definition(&domain::Parts {
            place,
            name: place.domain(),
            console: "console".into(),
            vcpus: size.vcpus,
            memory: size.memory,
            image: &image,
            disk: Some((&loop_device, slice)),
            address: GUEST_ADDRESS,
            is_router: false,
            kvm,
        });
        let companions = companion::companions(place, company, size.disk, &image, &loop_device, kvm);
        Ok(Self {
            place: place.clone(),
            loop_device,
            definition,
            companions,
            probe,
            image,
            others: Vec::new(),
            cache: cache.to_path_buf(),
            ssh: None,
        })
    }

    /// Makes the keys of an ssh server in the guest, once.
    pub fn prepare_ssh(&mut self) -> Result<&LabSsh, LabError> {
        let ssh = match self.ssh.take() {
            Some(ssh) => ssh,
            None => LabSsh::make(&self.place)?,
        };
        Ok(self.ssh.insert(ssh))
    }

    /// Starts the ssh server in a guest that has just booted, when there are keys for it.
    pub fn start_ssh(&self, agent: &Agent) -> Result<(), LabError> {
        self.ssh.as_ref().map_or(Ok(()), |ssh| ssh.start(agent))
    }

    /// The embedded driver's root: what lies below goes with the lab.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// URI of the embedded driver.
    pub fn uri(&self) -> Result<String, LabError> {
        embed_uri(&self.place.root).map_err(|source| file_error("use", &self.place.root, source))
    }

    /// The guest's domain XML.
    pub fn definition(&self) -> &str {
        &self.definition
    }

    /// The other guests, in the order of the experiment, the router last.
    pub fn companions(&self) -> &[Companion] {
        &self.companions
    }

    /// The loop device behind the data disk: `loop3`.
    pub fn loop_device(&self) -> &str {
        &self.loop_device
    }

    /// Whether KVM is used, and why not.
    pub fn probe(&self) -> &KvmProbe {
        &self.probe
    }

    /// The image the guest boots.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The image with the newest installed kernel whose release begins with `name`; made when there is none.
    pub fn image_with(&mut self, name: &str) -> Result<&Image, LabError> {
        let image = image::build_for(&self.cache, name)?;
        self.others.retain(|known| known.release != image.release);
        self.others.push(image);
        Ok(&self.others[self.others.len() - 1])
    }

    /// The release of the lab's kernel at `path`.
    pub fn release_of(&self, path: &str) -> Option<&str> {
        let mut all = self.others.iter().chain([&self.image]);
        let image = all.find(|image| image.kernel.to_str() == Some(path))?;
        Some(&image.release)
    }

    /// The image with exactly this kernel, made before.
    pub fn image_of(&self, release: &str) -> Option<&Image> {
        let mut all = self.others.iter().chain([&self.image]);
        all.find(|image| image.release == release)
    }

    /// What the guest's console said; [`console_tail`] reads it.
    pub fn console_log(&self) -> PathBuf {
        self.place.root.join("console.log")
    }

    /// The same of another guest's.
    pub fn console_log_of(&self, companion: &str) -> PathBuf {
        self.place.root.join(format!("console-{companion}.log"))
    }
}

/// A fresh root makes libvirt ask QEMU for its capabilities, which takes some 8 s; it keeps the answers, and checks
/// them against the QEMU binary, in a folder that all labs can share.
fn share_capabilities(root: &Path, cache: &Path) -> Result<(), LabError> {
    let shared = cache.join("libvirt");
    fs::create_dir_all(&shared).map_err(|source| file_error("make", &shared, source))?;
    let link = root.join("cache");
    let shared = fs::canonicalize(&shared).map_err(|source| file_error("find", &shared, source))?;
    std::os::unix::fs::symlink(&shared, &link).map_err(|source| file_error("make", &link, source))
}

/// The end of a console, for messages. The guest writes it, as long as it likes: no more than the end is read.
pub fn console_tail(log: &Path) -> String {
    let tail = tail(log).unwrap_or_default();
    let clean = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { ' ' };
    let text: String = String::from_utf8_lossy(&tail).chars().map(clean).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn tail(log: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn file_error(doing: &'static str, path: &Path, source: io::Error) -> LabError {
    LabError::File {
        doing,
        path: path.display().to_string(),
        source,
    }
}

/// Takes down whatever is left of a lab, whoever made it; doing nothing for what is gone already.
///
/// The network namespace needs nothing: it ends with the guest's process and kvmtune's thread.
pub fn take_down(place: &LabPlace) -> Result<(), LabError> {
    domain::end_guest(place).map_err(|source| file_error("end the guest of", &place.root, source))?;
    disk::detach(&place.data)?;
    pages::unmount(&place.root)?;
    domain::remove_cgroups(&place.domain());
    // One that was just being started when its kvmtune was killed is there now; without the root none can start.
    domain::end_guest(place).map_err(|source| file_error("end the guest of", &place.root, source))?;
    for path in [&place.root, &place.data] {
        let gone = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
        match gone {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(file_error("remove", path, e)),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn of_a_console_without_end_the_end_is_told() {
        let mut log = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(console_tail(log.path()), "");
        log.write_all(b"Booting\r\n\x1b[0mKernel\n").unwrap();
        assert_eq!(console_tail(log.path()), "Booting [0mKernel");
        // Larger than any memory: a hole that takes no room.
        log.as_file().set_len(1 << 42).unwrap();
        log.seek(SeekFrom::End(0)).unwrap();
        log.write_all(b" panic - not syncing\n").unwrap();
        assert_eq!(console_tail(log.path()), "panic - not syncing");
        assert_eq!(console_tail(Path::new("/no/such/log")), "");
    }
}
