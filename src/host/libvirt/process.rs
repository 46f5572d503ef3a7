//! The QEMU process behind a domain, from its pid file and procfs. It does not talk to libvirt.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The pid in `RUN_DIR/NAME.pid`, checked against the process's command line: the pid may have been
/// reused since libvirt wrote the file.
pub(super) fn pid(run_dir: &Path, name: &str, uuid: Uuid) -> io::Result<u32> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{name:?} is no domain name"),
        ));
    }
    let path = run_dir.join(format!("{name}.pid"));
    let text = fs::read_to_string(&path).map_err(|e| with_path(&e, &path))?;
    let pid: u32 = text.trim().parse().map_err(|_| stale(&path))?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).map_err(|_| stale(&path))?;
    if !names_guest(&command, uuid) {
        return Err(stale(&path));
    }
    Ok(pid)
}

/// The pid of the QEMU that has the domain's UUID on its command line, where the driver keeps its pid files in a
/// place that is not known: a session's, or a daemon's with a state folder of its own.
pub(super) fn pid_by_command(uuid: Uuid) -> io::Result<u32> {
    let is_guest = |pid: &u32| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        let is_qemu = program
            .file_name()
            .is_some_and(|name| name.to_string_lossy().contains("qemu"));
        is_qemu && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| names_guest(&command, uuid))
    };
    let pids = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.into_iter().find(is_guest).ok_or_else(|| {
        let text = format!("no QEMU with the UUID {uuid} runs on this host");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

/// The directory of a process's cgroup for one controller: its own hierarchy (v1) or the unified one.
pub(super) fn cgroup(pid: u32, controller: &str) -> io::Result<PathBuf> {
    let places = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    find_cgroup(&places, &mounts, controller).ok_or_else(|| {
        let text = format!("no mounted cgroup hierarchy has the {controller} controller for process {pid}");
        io::Error::new(io::ErrorKind::NotFound, text)
    })
}

fn names_guest(command: &[u8], uuid: Uuid) -> bool {
    let text = uuid.to_string();
    let mut words = command.split(|&byte| byte == 0);
    words.any(|word| word == b"-uuid") && words.next() == Some(text.as_bytes())
}

fn find_cgroup(places: &str, mounts: &str, controller: &str) -> Option<PathBuf> {
    let place = |wanted: &dyn Fn(&str) -> bool| {
        places.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let found = fields.next().is_some_and(wanted);
            fields
                .next()
                .filter(|_| found)
                .map(|path| path.trim_start_matches('/'))
        })
    };
    let mount = |kind: &str, wanted: &dyn Fn(&str) -> bool| {
        mounts.lines().find_map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let found = fields.get(2) == Some(&kind) && fields.get(3).is_some_and(|options| wanted(options));
            fields.get(1).filter(|_| found).map(PathBuf::from)
        })
    };
    let has = |list: &str| list.split(',').any(|entry| entry == controller);
    let (directory, path) = match place(&has) {
        Some(path) => (mount("cgroup", &has)?, path),
        None => (mount("cgroup2", &|_| true)?, place(&str::is_empty)?),
    };
    // A path that climbs out belongs to a process outside this cgroup namespace.
    (!path.split('/').any(|part| part == "..")).then(|| directory.join(path))
}

fn stale(path: &Path) -> io::Error {
    let text = format!("{} names no running QEMU of this domain", path.display());
    io::Error::new(io::ErrorKind::NotFound, text)
}

fn with_path(error: &io::Error, path: &Path) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const MOUNTS: &str = "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,cpu,cpuacct 0 0\n\
        cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";

    #[test]
    fn both_kinds_of_hierarchy() {
        let v1 = "5:cpu,cpuacct:/machine/qemu-1-a/emulator\n0::/user.slice\n";
        let found = find_cgroup(v1, MOUNTS, "cpu").unwrap();
        assert_eq!(
            found,
            Path::new("/sys/fs/cgroup/cpu,cpuacct/machine/qemu-1-a/emulator")
        );
        let v2 = "0::/machine.slice/machine-qemu\\x2d1.scope/libvirt/emulator\n";
        let found = find_cgroup(v2, MOUNTS, "cpu").unwrap();
        assert!(found.starts_with("/sys/fs/cgroup/unified/machine.slice"));
        assert_eq!(find_cgroup("0::/../../outside\n", MOUNTS, "cpu"), None);
        assert_eq!(find_cgroup(v1, "", "cpu"), None);
        assert_eq!(find_cgroup("garbage", MOUNTS, "cpu"), None);
    }

    #[test]
    fn only_the_guests_own_process_counts() {
        let uuid = Uuid::from_u128(7);
        let command = format!("qemu\0-uuid\0{uuid}\0-S\0");
        assert!(names_guest(command.as_bytes(), uuid));
        assert!(!names_guest(command.as_bytes(), Uuid::from_u128(8)));
        assert!(!names_guest(format!("grep\0{uuid}\0").as_bytes(), uuid));
        assert!(pid(Path::new("/run"), "../etc/passwd", uuid).is_err());
        assert!(pid(Path::new("/nonexistent"), "web", uuid).is_err());
    }
}
