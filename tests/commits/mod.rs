//! A pretended machine: a folder with files of all kinds, a host whose values are kept in a file, and commits for it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use kvmtune::commit::*;
use kvmtune::event::RunId;
use kvmtune::host::fake::FakeHost;
use kvmtune::persist::*;
use kvmtune::tunable::*;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

pub fn file(path: &str) -> Address {
    Address::HostFile {
        path: path.into(),
        format: Format::Plain,
    }
}

pub const SWAPPINESS: &str = "/proc/sys/vm/swappiness";
pub const BYTES: &str = "/proc/sys/vm/dirty_bytes";
pub const RATIO: &str = "/proc/sys/vm/dirty_ratio";
pub const SLEEP: &str = "/sys/kernel/mm/ksm/sleep_millisecs";
pub const POLL: &str = "/sys/module/kvm/parameters/halt_poll_ns";
pub const SCHEDULER: &str = "/sys/block/sda/queue/scheduler";

fn number(path: &str, value: &str) -> Setting {
    let kind = Kind::Integer { min: 0, max: 1 << 40 };
    Setting::own(file(path), kind.parse(value).unwrap(), kind)
}

/// A word of the command line.
fn boot(value: &str) -> Setting {
    Setting::own(
        Address::HostBoot("mitigations".parse().unwrap()),
        Kind::Boot.parse(value).unwrap(),
        Kind::Boot,
    )
}

fn scheduler(value: &str) -> Setting {
    let kind = Kind::Word { aliases: Vec::new() };
    Setting::own(file(SCHEDULER), kind.parse(value).unwrap(), kind)
}

/// A machine with one disk, and kvm as a module.
pub struct Sys;

impl Sysfs for Sys {
    fn read(&mut self, path: &str) -> Option<String> {
        match path {
            "/sys/block/sda/device/wwid" => Some("naa.5000c500a1b2c3d4\n".into()),
            "/sys/module/kvm/initstate" => Some("live\n".into()),
            _ => None,
        }
    }

    fn link(&mut self, path: &str) -> Option<String> {
        (path == "/sys/block/sda").then(|| "../devices/pci0000:00/0000:00:1f.2/ata1/host0/sda".into())
    }

    fn is_writable(&mut self, _: &str) -> bool {
        true
    }
}

/// Which settings a commit has; each number another combination of places and values.
pub fn settings(which: u32) -> Vec<Setting> {
    let follows = |setting: Setting| setting.in_role(SettingRole::Follows);
    match which % 6 {
        0 => vec![number(SWAPPINESS, "10"), boot("off")],
        1 => vec![number(SWAPPINESS, "11"), number(SLEEP, "200"), scheduler("bfq")],
        2 => vec![number(BYTES, "1048576"), follows(number(RATIO, "0"))],
        3 => vec![
            number(RATIO, "5"),
            follows(number(BYTES, "0")),
            number(POLL, "100"),
        ],
        4 => vec![number(POLL, "200"), number(SLEEP, "300"), boot("auto,nosmt")],
        _ => vec![number(SWAPPINESS, "12"), scheduler("none")],
    }
}

pub fn commit(ledger: &Ledger, which: u32, extent: Extent, waits: bool) -> Commit {
    let id = ledger.next_id();
    let tuned = Some(Tuned {
        base: "virtual-host".into(),
        runs: true,
    });
    let mut settings = settings(which);
    if extent == Extent::Live {
        settings.retain(|s| !matches!(s.address, Address::HostBoot(_)));
    }
    Commit {
        stamp: Stamp {
            commit: id,
            run: "0123456789ab".into(),
            experiment: "some\n# evil".into(),
            at: "2026-07-01T10:00:00Z".parse().unwrap(),
            evidence: vec!["iops +9 %\nvm.swappiness = 99".into()],
            deadline: waits.then(|| "2100-01-01T00:00:00Z".parse().unwrap()),
        },
        run: RunId(uuid::Uuid::from_u128(u128::from(id.0))),
        extent,
        boot: "0".into(),
        keeper: waits.then(|| Keeper {
            program: "/usr/bin/kvmtune".into(),
            state: "/var/lib/kvm tune".into(),
        }),
        host: host_part(&settings, extent, tuned, &mut Sys).unwrap(),
        domain: None,
    }
}

/// The folder of a machine.
pub struct Place(pub PathBuf);

impl Place {
    /// Lays it out: some of kvmtune's own files are there already, with modes and attributes of their own.
    pub fn lay_out(folder: &Path) -> Self {
        let root = folder.join("root");
        for dir in [
            "etc/sysctl.d",
            "etc/udev/rules.d",
            "etc/tuned",
            "etc/systemd/system",
            "usr/lib",
            "boot",
        ] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        fs::create_dir(folder.join("state")).unwrap();
        let own = root.join("etc/sysctl.d/60-kvmtune.conf");
        fs::write(&own, "# somebody's\nvm.swappiness = 40\n\u{fffd}").unwrap();
        fs::set_permissions(&own, fs::Permissions::from_mode(0o4640)).unwrap();
        if rustix::process::geteuid().is_root() {
            rustix::fs::chown(
                &own,
                Some(rustix::fs::Uid::from_raw(12)),
                Some(rustix::fs::Gid::from_raw(34)),
            )
            .unwrap();
            fs::set_permissions(&own, fs::Permissions::from_mode(0o640)).unwrap();
        }
        let attribute = rustix::fs::setxattr(&own, "user.note", b"kept\0", rustix::fs::XattrFlags::empty());
        if let Err(e) = attribute {
            println!("no extended attributes here: {e}");
        }
        default_access(&root.join("etc/udev/rules.d"));
        fs::write(root.join("boot/grub.cfg"), "none").unwrap();
        fs::write(root.join("boot/tuned"), "none").unwrap();
        fs::write(root.join("etc/tuned/active_profile"), "throughput-performance\n").unwrap();
        symlink("../usr/lib", root.join("etc/modprobe.d")).unwrap();
        let mut host = FakeHost::new([
            (file(SWAPPINESS), "60\n"),
            (file(BYTES), "0\n"),
            (file(RATIO), "20\n"),
            (file(SLEEP), "20\n"),
            (file(POLL), "200000\n"),
            (file(SCHEDULER), "mq-deadline\n"),
        ]);
        host.keep_in(&folder.join("host.json")).unwrap();
        // GRUB's menu is its drop-in; tuned-adm does what is needed to see that it was called, and what it has read.
        let script = |name: &str, text: &str| {
            fs::write(folder.join(name), text).unwrap();
        };
        let at = folder.display();
        script(
            "menu.sh",
            &format!(
                "cd '{at}/root'; cat etc/default/grub.d/60-kvmtune.cfg > boot/grub.cfg 2>/dev/null || printf none > boot/grub.cfg\n"
            ),
        );
        script(
            "tuned.sh",
            &format!(
                "[ \"$1\" = off ] && set -- off ''\ncd '{at}/root'\nprintf '%s\\n' \"$2\" > etc/tuned/active_profile\n\
                 if [ \"$2\" = kvmtune ]; then cat etc/tuned/kvmtune/tuned.conf; else printf none; fi > boot/tuned\n"
            ),
        );
        Self(folder.into())
    }

    pub fn host(&self) -> FakeHost {
        let mut host = FakeHost::load(&self.0.join("host.json")).unwrap();
        host.twin(&file(BYTES), &file(RATIO));
        host
    }

    pub fn store(&self) -> LedgerStore {
        LedgerStore::of_host(Root::open(&self.0.join("state")).unwrap())
    }

    pub fn machine<'h>(&self, host: &'h mut FakeHost, watch: &Watch) -> Machine<'h> {
        let tool = |name: &str| {
            let script = self.0.join(name);
            script
                .exists()
                .then(|| vec!["sh".to_string(), script.display().to_string()])
        };
        Machine {
            root: Root::open(&self.0.join("root")).unwrap(),
            host: Some(host),
            tools: Tools {
                menu: tool("menu.sh").map(|argv| (argv, "/boot/grub.cfg".into())),
                tuned: tool("tuned.sh"),
            },
            watch: watch.clone(),
            domains: Domains::default(),
        }
    }

    /// Whether tuned has read its profile since it was changed.
    pub fn tuned_is_up_to_date(&self) -> bool {
        let read = |path: &str| fs::read_to_string(self.0.join("root").join(path)).unwrap_or_default();
        read("etc/tuned/active_profile") != "kvmtune\n"
            || read("boot/tuned") == read("etc/tuned/kvmtune/tuned.conf")
    }

    /// Everything there is on the machine, without the ledger.
    pub fn state(&self) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        walk(&self.0.join("root"), &mut found);
        for (address, value) in &self.host().state().host {
            found.insert(address.clone(), value.trim().into());
        }
        found
    }

    /// Puts commit number `which` in force.
    pub fn commit(&self, which: u32, extent: Extent, waits: bool, watch: &Watch) -> Result<(), CommitError> {
        let mut host = self.host();
        let mut machine = self.machine(&mut host, watch);
        let old = self.store().load()?;
        let commit = commit(&old, which, extent, waits);
        let last = commit.stamp.commit.0;
        let commits = old.commits.iter().cloned().chain([commit]).collect();
        let (next, changes) = between(&old, commits, Wanted::Careful, &mut machine)?;
        carry_out(&self.store(), &mut machine, Ledger { last, ..next }, changes)
    }

    /// Takes back the commit at this place in the ledger.
    pub fn revert(&self, at: usize, wanted: Wanted, watch: &Watch) -> Result<(), CommitError> {
        let mut host = self.host();
        let mut machine = self.machine(&mut host, watch);
        let old = self.store().load()?;
        let mut commits = old.commits.clone();
        commits.remove(at);
        let (next, changes) = between(&old, commits, wanted, &mut machine)?;
        carry_out(&self.store(), &mut machine, next, changes)
    }

    /// Puts back what is half-made.
    pub fn recover(&self, watch: &Watch) -> Result<Option<usize>, CommitError> {
        let mut host = self.host();
        put_back_half_made(&self.store(), &mut self.machine(&mut host, watch))
    }

    /// What of the commits in force does not hold.
    pub fn not_held(&self) -> Vec<Finding> {
        let mut host = self.host();
        let mut machine = self.machine(&mut host, &Watch::default());
        let found = status(&self.store().load().unwrap(), Some("0"), &mut machine).unwrap();
        found
            .into_iter()
            .filter(|f| f.held != Held::Yes && f.layer != kvmtune::commit::Layer::Boot)
            .collect()
    }
}

/// Has the system give an extended attribute to every new file in a folder, as `SELinux` does: here an access list.
fn default_access(folder: &Path) {
    let mut list = vec![2, 0, 0, 0];
    for (tag, permissions, id) in [
        (1_u16, 7_u16, u32::MAX),
        (2, 4, 12),
        (4, 5, u32::MAX),
        (16, 5, u32::MAX),
        (32, 5, u32::MAX),
    ] {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    if let Err(e) = rustix::fs::setxattr(folder, "system.posix_acl_default", &list, flags) {
        println!("no access lists here: {e}");
    }
}

fn walk(folder: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let about = path.symlink_metadata().unwrap();
        let mut text = format!("{:o} {} {}", about.mode(), about.uid(), about.gid());
        if about.is_dir() {
            walk(&path, found);
        } else if about.is_symlink() {
            write!(text, " -> {}", fs::read_link(&path).unwrap().display()).unwrap();
        } else {
            write!(text, " {:?}", String::from_utf8_lossy(&fs::read(&path).unwrap())).unwrap();
            let mut value = [0; 100];
            if let Ok(length) = rustix::fs::getxattr(&path, "user.note", &mut value[..]) {
                write!(text, " note {:?}", &value[..length]).unwrap();
            }
        }
        found.insert(path.display().to_string(), text);
    }
}

/// The first difference, in words; empty when there is none.
pub fn difference(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> String {
    let keys = before.keys().chain(after.keys());
    let differs = |key: &&String| before.get(*key) != after.get(*key);
    keys.into_iter().find(differs).map_or_else(String::new, |key| {
        format!("{key}: {:?}, was {:?}", after.get(key), before.get(key))
    })
}
