//! Limits and shares of a guest in the files of its cgroups, of version 1 and 2.
//!
//! Knows folders and files; does not talk to libvirt or QEMU, nor look for the folders itself.
//!
//! Source: libvirt's src/util/vircgroup.c, vircgroupv1.c and vircgroupv2.c: which file each value is kept in, and
//! which of two nested folders.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// libvirt's word for no memory limit, in KiB.
pub(super) const UNLIMITED: u64 = 9_007_199_254_740_991;
/// Version 1 has whole pages instead: up to 64 KiB less.
const NEARLY_UNLIMITED: u64 = UNLIMITED - 63;

/// The folders of one guest for one controller.
#[derive(Debug)]
pub(super) struct Groups {
    own: PathBuf,
}

impl Groups {
    /// From the folder that QEMU's main thread is in: libvirt puts emulator, vCPUs and I/O threads into children.
    pub(super) fn of(main_thread: PathBuf) -> Self {
        match main_thread.parent() {
            Some(parent) if main_thread.ends_with("emulator") => Self { own: parent.into() },
            _ => Self { own: main_thread },
        }
    }

    /// Where shares and weights are: under systemd limits are a folder further in, as the scope is systemd's.
    fn shares(&self) -> &Path {
        match self.own.parent() {
            Some(scope) if self.own.ends_with("libvirt") && is_scope(scope) => scope,
            _ => &self.own,
        }
    }

    /// A value of `virsh schedinfo`, as the kernel holds it; of several threads' groups all must hold the same.
    pub(super) fn scheduler(&self, field: &str) -> io::Result<String> {
        if field == "cpu_shares" {
            return first_line(self.shares(), &["cpu.shares", "cpu.weight"]);
        }
        let (threads, part) = field.rsplit_once('_').unwrap_or((field, ""));
        let part = match part {
            "period" => Part::Period,
            "quota" => Part::Quota,
            _ => return Err(unknown(field)),
        };
        match threads {
            "global" => part.read(&self.own),
            "emulator" => part.read(&self.own.join("emulator")),
            "vcpu" | "iothread" => same(
                threads_of(&self.own, threads)?
                    .into_iter()
                    .map(|(name, folder)| part.read(&folder).map(|value| (name, value))),
            ),
            _ => Err(unknown(field)),
        }
    }

    /// A value of `virsh memtune`, in KiB.
    pub(super) fn memory(&self, field: &str) -> io::Result<String> {
        let files: &[&str] = match field {
            "hard_limit" => &["memory.limit_in_bytes", "memory.max"],
            "soft_limit" => &["memory.soft_limit_in_bytes", "memory.high"],
            "swap_hard_limit" => &["memory.memsw.limit_in_bytes", "memory.swap.max"],
            _ => return Err(unknown(field)),
        };
        let text = first_line(&self.own, files)?;
        if text == "max" {
            return Ok(UNLIMITED.to_string());
        }
        let bytes: u64 = text.parse().map_err(io::Error::other)?;
        let kib = bytes >> 10;
        Ok(if kib >= NEARLY_UNLIMITED { UNLIMITED } else { kib }.to_string())
    }

    /// The weight of the guest's I/O.
    pub(super) fn weight(&self) -> io::Result<String> {
        let files = ["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"];
        let text = first_line(self.shares(), &files)?;
        Ok(text.trim_start_matches("default ").to_string())
    }

    /// A value of `virsh blkiotune` for the device with these numbers, `8:0`; 0 when it has none.
    pub(super) fn device(&self, field: &str, numbers: &str) -> io::Result<String> {
        let (old, new, key) = match field {
            "device_weight" => ("blkio.weight_device", "io.weight", ""),
            "device_read_iops_sec" => ("blkio.throttle.read_iops_device", "io.max", "riops="),
            "device_write_iops_sec" => ("blkio.throttle.write_iops_device", "io.max", "wiops="),
            "device_read_bytes_sec" => ("blkio.throttle.read_bps_device", "io.max", "rbps="),
            "device_write_bytes_sec" => ("blkio.throttle.write_bps_device", "io.max", "wbps="),
            _ => return Err(unknown(field)),
        };
        let folder = if key.is_empty() { self.shares() } else { &self.own };
        let (text, is_new) = first(folder, &[old, new]).map(|(text, at)| (text, at == 1))?;
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let Some((_, limits)) = lines.find(|(device, _)| *device == numbers) else {
            return Ok("0".into());
        };
        let value = if is_new {
            let mut all = limits.split_whitespace();
            all.find_map(|limit| limit.strip_prefix(key)).unwrap_or("max")
        } else {
            limits.trim()
        };
        Ok(if value == "max" { "0" } else { value }.to_string())
    }
}

/// One half of a group's bandwidth.
#[derive(Debug, Clone, Copy)]
enum Part {
    Quota,
    Period,
}

impl Part {
    fn read(self, folder: &Path) -> io::Result<String> {
        let (old, field) = match self {
            Self::Quota => ("cpu.cfs_quota_us", 0),
            Self::Period => ("cpu.cfs_period_us", 1),
        };
        let (text, at) = first(folder, &[old, "cpu.max"])?;
        let field = if at == 0 { 0 } else { field };
        let value = text.split_whitespace().nth(field).unwrap_or_default();
        Ok(if value == "max" { "-1" } else { value }.to_string())
    }
}

fn is_scope(folder: &Path) -> bool {
    folder.extension().is_some_and(|e| e == "scope")
}

fn unknown(field: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::Unsupported,
        format!("no file is known for {field}"),
    )
}

/// The content of the first of `files` that is there, and which it is.
fn first(folder: &Path, files: &[&str]) -> io::Result<(String, usize)> {
    for (at, file) in files.iter().enumerate() {
        let path = folder.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok((text, at)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
        }
    }
    let text = format!(
        "{} has no {}: this kernel does not offer it, or libvirt keeps no cgroup of this guest",
        folder.display(),
        files.join(" and no ")
    );
    Err(io::Error::new(io::ErrorKind::NotFound, text))
}

fn first_line(folder: &Path, files: &[&str]) -> io::Result<String> {
    let (text, _) = first(folder, files)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_string())
}

/// The groups of a kind of thread, by number: `vcpu0`, `vcpu1` …
fn threads_of(folder: &Path, kind: &str) -> io::Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<(u32, PathBuf)> = fs::read_dir(folder)
        .map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", folder.display())))?
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.strip_prefix(kind)?.parse().ok()?;
            Some((number, entry.path()))
        })
        .collect();
    if found.is_empty() {
        let text = format!(
            "{} has no group {kind}0 or any other of that kind",
            folder.display()
        );
        return Err(io::Error::new(io::ErrorKind::NotFound, text));
    }
    found.sort_unstable();
    let named = found.into_iter().map(|(n, path)| (format!("{kind}{n}"), path));
    Ok(named.collect())
}

/// The value all have; where they differ, each with its name.
fn same(all: impl Iterator<Item = io::Result<(String, String)>>) -> io::Result<String> {
    let all: Vec<_> = all.collect::<io::Result<_>>()?;
    Ok(super::one_or_all(&all))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use tempfile::TempDir;

    /// A made-up hierarchy, and the groups of the guest whose main thread is in `main`.
    fn tree(main: &str, files: &[(&str, &str)]) -> (TempDir, Groups) {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let groups = Groups::of(root.path().join(main));
        (root, groups)
    }

    #[test]
    fn version_1_has_a_file_for_each_value() {
        let (_root, cpu) = tree(
            "qemu-1-a/emulator",
            &[
                ("qemu-1-a/cpu.shares", "512\n"),
                ("qemu-1-a/cpu.cfs_period_us", "100000\n"),
                ("qemu-1-a/cpu.cfs_quota_us", "-1\n"),
                ("qemu-1-a/emulator/cpu.cfs_quota_us", "45000\n"),
                ("qemu-1-a/vcpu0/cpu.cfs_quota_us", "40000\n"),
                ("qemu-1-a/vcpu1/cpu.cfs_quota_us", "40000\n"),
                ("qemu-1-a/vcpu0/cpu.cfs_period_us", "50000\n"),
                ("qemu-1-a/vcpu1/cpu.cfs_period_us", "100000\n"),
            ],
        );
        let cases = [
            ("cpu_shares", "512"),
            ("global_period", "100000"),
            ("global_quota", "-1"),
            ("emulator_quota", "45000"),
            ("vcpu_quota", "40000"),
            ("vcpu_period", "vcpu0: 50000, vcpu1: 100000"),
        ];
        for (field, wanted) in cases {
            assert_eq!(cpu.scheduler(field).unwrap(), wanted, "{field}");
        }
        let missing = cpu.scheduler("emulator_period").unwrap_err().to_string();
        assert!(missing.contains("emulator has no cpu.cfs_period_us"), "{missing}");
        let none = cpu.scheduler("iothread_quota").unwrap_err().to_string();
        assert!(none.contains("no group iothread0"), "{none}");
        assert!(cpu.scheduler("nonsense").is_err());
    }

    #[test]
    fn version_2_has_one_file_for_quota_and_period() {
        let scope = "machine.slice/machine-qemu\\x2d1\\x2da.scope";
        let file = |rest: &str| format!("{scope}/{rest}");
        let (_root, cpu) = tree(
            &file("libvirt/emulator"),
            &[
                (&file("cpu.weight"), "200\n"),
                (&file("libvirt/cpu.weight"), "100\n"),
                (&file("libvirt/cpu.max"), "50000 100000\n"),
                (&file("libvirt/emulator/cpu.max"), "max 20000\n"),
                (&file("libvirt/iothread1/cpu.max"), "max 100000\n"),
                (&file("libvirt/vcpu0/cpu.max"), "30000 100000\n"),
            ],
        );
        let cases = [
            ("cpu_shares", "200"),
            ("global_quota", "50000"),
            ("global_period", "100000"),
            ("emulator_quota", "-1"),
            ("emulator_period", "20000"),
            ("iothread_quota", "-1"),
            ("vcpu_quota", "30000"),
        ];
        for (field, wanted) in cases {
            assert_eq!(cpu.scheduler(field).unwrap(), wanted, "{field}");
        }
    }

    #[test]
    fn memory_is_told_in_kib_and_no_limit_in_libvirts_word() {
        let (_root, old) = tree(
            "qemu-1-a",
            &[
                ("qemu-1-a/memory.limit_in_bytes", "2147483648\n"),
                ("qemu-1-a/memory.soft_limit_in_bytes", "9223372036854771712\n"),
            ],
        );
        assert_eq!(old.memory("hard_limit").unwrap(), "2097152");
        assert_eq!(old.memory("soft_limit").unwrap(), UNLIMITED.to_string());
        let missing = old.memory("swap_hard_limit").unwrap_err().to_string();
        assert!(missing.contains("no memory.memsw.limit_in_bytes"), "{missing}");
        let (_root, new) = tree(
            "a.scope/libvirt/emulator",
            &[
                ("a.scope/memory.max", "1\n"),
                ("a.scope/libvirt/memory.max", "1073741824\n"),
                ("a.scope/libvirt/memory.high", "max\n"),
                ("a.scope/libvirt/memory.swap.max", "4096\n"),
            ],
        );
        assert_eq!(new.memory("hard_limit").unwrap(), "1048576");
        assert_eq!(new.memory("soft_limit").unwrap(), UNLIMITED.to_string());
        assert_eq!(new.memory("swap_hard_limit").unwrap(), "4");
    }

    #[test]
    fn devices_are_found_by_their_numbers() {
        let (_root, old) = tree(
            "qemu-1-a",
            &[
                ("qemu-1-a/blkio.bfq.weight", "100\n"),
                ("qemu-1-a/blkio.throttle.read_iops_device", "8:0 500\n7:1 20\n"),
                ("qemu-1-a/blkio.throttle.read_bps_device", ""),
            ],
        );
        assert_eq!(old.weight().unwrap(), "100");
        assert_eq!(old.device("device_read_iops_sec", "7:1").unwrap(), "20");
        assert_eq!(old.device("device_read_iops_sec", "7:11").unwrap(), "0");
        assert_eq!(old.device("device_read_bytes_sec", "8:0").unwrap(), "0");
        let missing = old.device("device_weight", "8:0").unwrap_err().to_string();
        assert!(missing.contains("has no blkio.weight_device"), "{missing}");
        let (_root, new) = tree(
            "a.scope/libvirt/emulator",
            &[
                ("a.scope/io.weight", "default 300\n8:0 50\n"),
                (
                    "a.scope/libvirt/io.max",
                    "8:0 rbps=max wbps=1048576 riops=max wiops=7\n",
                ),
            ],
        );
        assert_eq!(new.weight().unwrap(), "300");
        let cases = [
            ("device_weight", "50"),
            ("device_read_bytes_sec", "0"),
            ("device_write_bytes_sec", "1048576"),
            ("device_read_iops_sec", "0"),
            ("device_write_iops_sec", "7"),
        ];
        for (field, wanted) in cases {
            assert_eq!(new.device(field, "8:0").unwrap(), wanted, "{field}");
        }
    }
}
