//! What tests against the lab's guest share: the skip rule, the image, a scratch driver root.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use kvmtune::host::libvirt::{Connection, LibvirtError, embed_root, embed_uri};
use tempfile::TempDir;
use uuid::Uuid;

#[path = "../common/mod.rs"]
mod common;

/// The folder of the lab guest's image, built when it is not there; `None` when there can be no lab here.
pub(crate) fn image() -> Option<PathBuf> {
    if !common::lab_is_possible() {
        return None;
    }
    let image = kvmtune::lab::image::build(&common::cache()).unwrap();
    image.kernel.parent().map(Path::to_path_buf)
}

/// A scratch directory made the root of an embedded driver.
pub(crate) fn scratch_root() -> TempDir {
    let root = tempfile::Builder::new().prefix("kt-").tempdir_in("/tmp").unwrap();
    embed_root(root.path(), &[]).unwrap();
    root
}

/// The embedded driver in a scratch directory; dropping it ends what still runs there.
pub(crate) struct Lab {
    pub(crate) connection: Connection,
    pub(crate) root: TempDir,
}

impl Lab {
    pub(crate) fn open(root: TempDir) -> Self {
        Self {
            connection: Connection::open(&embed_uri(root.path()).unwrap()).unwrap(),
            root,
        }
    }
}

/// A domain's XML: small, quiet, booting the image directly; `devices` is added to it.
pub(crate) fn domain_xml(image: &Path, root: &Path, (name, uuid): (&str, Uuid), devices: &str) -> String {
    let (image, root) = (image.display(), root.display());
    format!(
        "<domain type='qemu'><name>{name}</name><uuid>{uuid}</uuid>
<memory unit='MiB'>512</memory><vcpu>2</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type><kernel>{image}/vmlinuz</kernel>
<initrd>{image}/initrd</initrd><cmdline>console=ttyS0</cmdline></os>
<features><acpi/></features><on_reboot>restart</on_reboot>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='none'/>
<serial type='file'><source path='{root}/console'/></serial>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
{devices}</devices></domain>"
    )
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in self.connection.domains().unwrap_or_default() {
            let Ok(domain) = self.connection.lookup(&name) else {
                continue;
            };
            let done: Result<(), LibvirtError> = if domain.is_active().unwrap_or(false) {
                domain.destroy()
            } else {
                Ok(())
            };
            let persistent = domain.is_persistent().unwrap_or(false);
            let done = done.and_then(|()| if persistent { domain.undefine() } else { Ok(()) });
            if let Err(error) = done {
                eprintln!("left behind: {error}");
            }
        }
    }
}

/// Waits until `done` or panics after `limit`.
pub(crate) fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(
            started.elapsed() < limit,
            "{what} did not happen within {limit:?}"
        );
        thread::sleep(Duration::from_millis(100));
    }
}

/// Whether the process exists and is no zombie.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The peak resident memory of this process in bytes.
pub(crate) fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}
