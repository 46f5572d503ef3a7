//! What this machine must have installed before a lab guest can be made, and where it is found.
//! It knows Debian's package names; it installs nothing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::command::{run, tool};

/// A program a workload runs inside the guest: its name and its Debian package.
pub type Program = (&'static str, &'static str);

/// Programs the guest always has.
pub const TOOLS: &[Program] = &[
    ("ethtool", "ethtool"),
    ("fio", "fio"),
    ("iperf3", "iperf3"),
    ("stress-ng", "stress-ng"),
    ("tc", "iproute2"),
];

/// Programs the guest has when this machine has them.
pub const OPTIONAL_TOOLS: &[Program] = &[
    ("chrt", "util-linux"),
    ("cyclictest", "rt-tests"),
    // For experiments that reach the lab by ssh.
    ("dropbear", "dropbear-bin"),
    ("hackbench", "rt-tests"),
    ("ip", "iproute2"),
    ("mbw", "mbw"),
    ("numactl", "numactl"),
    ("redis-benchmark", "redis-tools"),
    ("redis-server", "redis-server"),
    ("sockperf", "sockperf"),
    ("ss", "iproute2"),
    ("sysbench", "sysbench"),
];

/// Programs of workloads that no lab guest has, because what they talk to is a user's own.
const OTHERS: &[Program] = &[
    ("nginx", "nginx"),
    ("pgbench", "postgresql-contrib"),
    ("runuser", "util-linux"),
    ("wrk", "wrk"),
];

/// The Debian package that has a program; its own name, where nothing else is known.
pub fn package_of(program: &str) -> &str {
    let known = [TOOLS, OPTIONAL_TOOLS, MACHINERY, OTHERS];
    let found = known.into_iter().flatten().find(|(name, _)| *name == program);
    found.map_or(program, |(_, package)| package)
}

/// Whether lab guests can have a program: they get it from this machine.
pub fn is_for_labs(program: &str) -> bool {
    let known = [TOOLS, OPTIONAL_TOOLS];
    known.into_iter().flatten().any(|(name, _)| *name == program)
}

/// Programs that make and run the guest, and its agent.
const MACHINERY: &[Program] = &[
    ("busybox", "busybox-static"),
    ("debugfs", "e2fsprogs"),
    ("ldd", "libc-bin"),
    ("mke2fs", "e2fsprogs"),
    ("qemu-ga", "qemu-guest-agent"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("setpriv", "util-linux"),
];

/// What the guest's scripts call; the plain `busybox` package lacks some of it.
const APPLETS: &[&str] = &[
    "acpid", "init", "ip", "ln", "modprobe", "mount", "poweroff", "sh", "usleep",
];

const KERNEL_PACKAGE: &str = "linux-image-cloud-amd64";
const KERNEL_SUFFIX: &str = "-cloud-amd64";

/// Something the lab guest is made of that is not installed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MissingPackage {
    /// The Debian package that has it.
    pub package: &'static str,
    /// The program or file that was looked for.
    pub what: String,
}

impl fmt::Display for MissingPackage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (package {})", self.what, self.package)
    }
}

/// Everything that is missing, sorted by package; empty when the lab guest can be made.
pub fn missing() -> Vec<MissingPackage> {
    let mut missing: Vec<MissingPackage> = TOOLS
        .iter()
        .chain(MACHINERY)
        .filter(|(name, _)| find(name).is_none())
        .map(|(name, package)| MissingPackage {
            package,
            what: format!("program {name}"),
        })
        .collect();
    if kernels().is_empty() {
        let what = format!("/boot/vmlinuz-*{KERNEL_SUFFIX} with its modules");
        missing.push(MissingPackage {
            package: KERNEL_PACKAGE,
            what,
        });
    }
    if let Some(busybox) = find("busybox") {
        let has: Vec<String> = applets(&busybox).unwrap_or_default();
        let lacks = |name: &&&str| !has.iter().any(|path| path.rsplit('/').next() == Some(**name));
        if let Some(applet) = APPLETS.iter().find(lacks) {
            missing.push(MissingPackage {
                package: "busybox-static",
                what: format!("busybox applet {applet}"),
            });
        }
    }
    missing.sort();
    missing
}

/// The one command that installs all of it.
pub fn install_command(missing: &[MissingPackage]) -> String {
    let mut packages: Vec<_> = missing.iter().map(|missing| missing.package).collect();
    packages.sort_unstable();
    packages.dedup();
    format!("apt-get install {}", packages.join(" "))
}

/// The path of a program in the system's own folders; `PATH` has no say.
pub fn find(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.is_file())
}

/// The guest paths of busybox's applets, relative to the root.
pub(super) fn applets(busybox: &Path) -> Result<Vec<String>, super::ImageError> {
    let output = run(tool(&busybox.to_string_lossy()).arg("--list-full"))?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(str::to_owned)
        .collect())
}

/// A kernel and the release its modules are filed under.
pub(super) struct Kernel {
    pub(super) path: PathBuf,
    pub(super) release: String,
}

/// The installed cloud kernels that have their modules, the newest first.
pub(super) fn kernels() -> Vec<Kernel> {
    let names = fs::read_dir("/boot").into_iter().flatten().flatten();
    let mut releases: Vec<String> = names
        .filter_map(|entry| Some(entry.file_name().to_str()?.strip_prefix("vmlinuz-")?.to_owned()))
        .filter(|release| release.ends_with(KERNEL_SUFFIX))
        .filter(|release| {
            Path::new("/lib/modules")
                .join(release)
                .join("modules.dep")
                .is_file()
        })
        .collect();
    releases.sort_by_key(|release| std::cmp::Reverse(version(release)));
    let kernel = |release: String| Kernel {
        path: Path::new("/boot").join(format!("vmlinuz-{release}")),
        release,
    };
    releases.into_iter().map(kernel).collect()
}

/// Whether `name` is this release, or its beginning up to a separator: 6.12 of 6.12.9+bpo, not of 6.120.
pub(super) fn names_release(name: &str, release: &str) -> bool {
    let rest = release.strip_prefix(name).filter(|_| !name.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

/// The numbers of a release in order: 6.1.0-9 comes before 6.1.0-56.
fn version(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_compare_as_numbers() {
        assert!(version("6.1.0-56-cloud-amd64") > version("6.1.0-9-cloud-amd64"));
        assert!(version("6.12.9+bpo-cloud-amd64") > version("6.1.0-56-cloud-amd64"));
    }

    #[test]
    fn a_release_is_named_by_its_beginning() {
        let release = "6.12.117+deb12-cloud-amd64";
        for name in ["6", "6.12", "6.12.117", "6.12.117+deb12", release] {
            assert!(names_release(name, release), "{name}");
        }
        for name in ["", "6.1", "6.12.11", "6.12.117+deb12-cloud-amd64-dbg", "none"] {
            assert!(!names_release(name, release), "{name}");
        }
    }

    #[test]
    fn one_command_installs_every_package_once() {
        let miss = |package, what: &str| MissingPackage {
            package,
            what: what.to_owned(),
        };
        let all = [
            miss("fio", "program fio"),
            miss("e2fsprogs", "mke2fs"),
            miss("e2fsprogs", "debugfs"),
        ];
        assert_eq!(install_command(&all), "apt-get install e2fsprogs fio");
    }
}
