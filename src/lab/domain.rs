//! The lab guest's domain XML, and finding what is left of a guest whose kvmtune was killed.
//!
//! Does not talk to libvirt: a leftover must be found without it.

use super::image::{AGENT_PORT, COMMAND_LINE, DATA_SERIAL, Image, TOOLS_SERIAL};
use super::{BRIDGE, LabPlace, PREFIX, Slice};
use crate::units::Bytes;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What a definition is made of.
pub(super) struct Parts<'p> {
    pub(super) place: &'p LabPlace,
    /// Its libvirt name.
    pub(super) name: String,
    /// In its root's file names: `console`, or `console-hog`.
    pub(super) console: String,
    pub(super) vcpus: u16,
    pub(super) memory: Bytes,
    pub(super) image: &'p Image,
    /// What it has of the data disk.
    pub(super) disk: Option<(&'p str, Slice)>,
    pub(super) address: Ipv4Addr,
    /// True for a router: a second interface, and packets on the wire as large as they are sent, so that what happens to
    /// one of them happens to one.
    pub(super) is_router: bool,
    pub(super) kvm: bool,
}

/// The data disk: all of the loop device, or a part of it where others have the rest.
fn data_disk(device: &str, slice: Slice) -> String {
    let source = match slice {
        Slice::Whole => format!("<source dev='/dev/{device}'/>"),
        // Shareable, because QEMU locks the whole device against others that write to it.
        Slice::Part { offset, size } => format!(
            "<source dev='/dev/{device}'><slices><slice type='storage' offset='{offset}' size='{size}'/></slices></source>
      <shareable/>"
        ),
    };
    format!(
        "<disk type='block' device='disk'>
      <driver name='qemu' type='raw' cache='none' io='threads'/>
      {source}
      <target dev='{DATA_TARGET}' bus='virtio'/>
      <serial>{DATA_SERIAL}</serial>
      <address type='pci' bus='0' slot='5'/>
    </disk>"
    )
}

/// One on the lab's bridge. Its hardware address is that of the guest that was there before it, so that nobody on the
/// bridge remembers a wrong one; other labs are in other networks.
fn interface(slot: u8, address: Ipv4Addr, is_router: bool) -> String {
    let last = address.octets()[3];
    let driver = if is_router {
        "<driver name='qemu'><host csum='off' gso='off' tso4='off' tso6='off' ecn='off' ufo='off' mrg_rxbuf='on'/>\
         <guest csum='off' tso4='off' tso6='off' ecn='off' ufo='off'/></driver>"
    } else {
        ""
    };
    format!(
        "<interface type='bridge'>
      <mac address='52:54:00:4b:{slot:02x}:{last:02x}'/>
      <source bridge='{BRIDGE}'/>
      <model type='virtio'/>{driver}
      <rom enabled='no'/>
      <address type='pci' bus='0' slot='{slot}'/>
    </interface>"
    )
}

/// A quiet guest: nothing in it that is not used. All that is put in is a number or a path made by kvmtune from
/// safe characters, checked by `embed_root` and the image's own folder names.
pub(super) fn definition(parts: &Parts) -> String {
    let Parts {
        place,
        image,
        kvm,
        address,
        ..
    } = parts;
    // Of a CPU model of ours libvirt asks QEMU for some 400 properties, one by one, at every start; without one the
    // emulated guest has QEMU's default, which is all its programs need.
    let (kind, cpu) = if *kvm {
        ("kvm", "\n  <cpu mode='host-passthrough'/>")
    } else {
        ("qemu", "")
    };
    format!(
        "<domain type='{kind}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <memory unit='b'>{memory}</memory>
  <vcpu>{vcpus}</vcpu>
  <iothreads>1</iothreads>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{COMMAND_LINE} kvmtune.ip={address}/{PREFIX}</cmdline>
  </os>
  <features><acpi/></features>{cpu}
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{tools}'/>
      <target dev='vda' bus='virtio'/>
      <readonly/>
      <serial>{TOOLS_SERIAL}</serial>
      <address type='pci' bus='0' slot='4'/>
    </disk>
    {data}
    {links}
    <serial type='file'><source path='{root}/{console}.log'/></serial>
    <channel type='unix'><target type='virtio' name='{AGENT_PORT}'/></channel>
    <controller type='virtio-serial'><address type='pci' bus='0' slot='3'/></controller>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>",
        name = parts.name,
        uuid = uuid::Uuid::now_v7(),
        memory = parts.memory.0,
        vcpus = parts.vcpus,
        data = parts
            .disk
            .map_or_else(String::new, |(device, slice)| data_disk(device, slice)),
        links = [2, 6][..if parts.is_router { 2 } else { 1 }]
            .iter()
            .map(|slot| interface(*slot, *address, parts.is_router))
            .collect::<String>(),
        console = parts.console,
        kernel = image.kernel.display(),
        initrd = image.initrd.display(),
        tools = image.tools.display(),
        root = place.root.display(),
    )
}

/// The data disk's target name.
pub const DATA_TARGET: &str = "vdb";

/// Kills every QEMU process of the lab, and waits for its end: the guest, and one that libvirt was asking for what it can,
/// which is a process of its own and outlives the killed one that asked.
pub(super) fn end_guest(place: &LabPlace) -> io::Result<()> {
    let limit = Instant::now() + Duration::from_secs(10);
    while let Some(pid) = guest_pid(place) {
        match kill(pid, Signal::SIGKILL) {
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
        // Its command line is gone before it closes the data disk, which cannot be detached until then.
        while holds_files(pid) {
            if Instant::now() > limit {
                return Err(io::Error::other(format!("process {pid} does not end")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    Ok(())
}

/// False for a process that is gone, and for a zombie whose other threads are gone too: only its exit code is left.
fn holds_files(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
    let threads = fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count);
    state.is_some_and(|s| !s.starts_with(['Z', 'X'])) || threads > 1
}

fn guest_pid(place: &LabPlace) -> Option<Pid> {
    // `-NAME` follows in a companion's name.
    let needle = format!("guest={}", place.domain());
    let root = format!("{}/", place.root.display());
    let is_guest = |pid: i32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = command.split(|b| *b == 0);
        let name = words.next().map(|w| String::from_utf8_lossy(w).into_owned());
        // An emulator can be started by a link of another name.
        let program = fs::read_link(format!("/proc/{pid}/exe")).map(|p| p.display().to_string());
        let is_qemu = name.into_iter().chain(program).any(|p| p.contains("qemu"));
        let names_lab = |w: &[u8]| {
            let word = String::from_utf8_lossy(w);
            let is_of_lab = word
                .strip_prefix(&needle)
                .is_some_and(|rest| rest.starts_with([',', '-']));
            is_of_lab || word.contains(&root)
        };
        is_qemu && words.any(names_lab)
    };
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.into_iter().find(|pid| is_guest(*pid)).map(Pid::from_raw)
}

/// Removes the empty cgroups libvirt made for a guest it did not see end.
pub(super) fn remove_cgroups(domain: &str) {
    for controller in children(Path::new("/sys/fs/cgroup")) {
        for machine in children(&controller.join("machine")) {
            let name = machine
                .file_name()
                .map(|n| n.to_string_lossy().into_owned())
                .unwrap_or_default();
            if name.contains(domain) {
                remove_tree(&machine);
            }
        }
    }
}

/// cgroup folders are removed from the leaves, folder by folder; their files cannot be removed.
fn remove_tree(folder: &Path) {
    for child in children(folder) {
        remove_tree(&child);
    }
    // A killed process leaves its cgroup a moment after it is gone from /proc. One that stays busy holds somebody
    // else's process, and is not ours to remove.
    for _ in 0..20 {
        match fs::remove_dir(folder) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(10));
            }
            _ => break,
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|e| e.path())
        .filter(|p| p.is_dir() && !p.is_symlink())
        .collect()
}
