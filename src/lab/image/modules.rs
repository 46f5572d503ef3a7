//! Chooses kernel modules and everything they need, from the index files that `depmod` wrote.
//! It does not know what the guest does with them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::ImageError;
use super::tree::Tree;

/// Without these the guest has no disks, no network and no agent.
const REQUIRED: &[&str] = &["virtio_pci", "virtio_console", "virtio_net", "virtio_blk"];

/// What experiments may ask for: disk schedulers, queueing disciplines, test disks, connection tracking;
/// and the power button. Left out where the kernel does not have them.
const WANTED: &[&str] = &[
    "bfq",
    "kyber_iosched",
    "sch_netem",
    "sch_fq",
    "sch_cake",
    "sch_ingress",
    "null_blk",
    "nf_conntrack",
    "button",
    "evdev",
    "virtio_balloon",
    "virtio_rng",
];

/// Every congestion algorithm, and what `ss` asks about them.
const WANTED_PREFIX: &str = "kernel/net/ipv4/tcp_";

/// The text of `modules.dep` (paths) and `modules.alias`, cut down to the chosen modules.
#[derive(Debug, PartialEq, Eq)]
struct Chosen {
    paths: BTreeSet<String>,
    dependencies: String,
    aliases: String,
}

/// Puts the chosen modules and their index files where the guest's `modprobe` looks.
pub(super) fn add(tree: &mut Tree, release: &str) -> Result<(), ImageError> {
    let folder = PathBuf::from("/lib/modules").join(release);
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|source| ImageError::Read { path, source })
    };
    let built_in = read("modules.builtin")?;
    let chosen = choose(&read("modules.dep")?, &read("modules.alias")?, &built_in).map_err(|name| {
        ImageError::Module {
            name,
            release: release.to_owned(),
        }
    })?;
    let inside = |name: &str| format!("usr/lib/modules/{release}/{name}");
    for path in &chosen.paths {
        tree.copy(&folder.join(path), &inside(path));
    }
    tree.text(&inside("modules.dep"), chosen.dependencies);
    tree.text(&inside("modules.alias"), chosen.aliases);
    tree.text(&inside("modules.builtin"), built_in);
    Ok(())
}

/// The name of a module by its path: `kernel/block/kyber-iosched.ko.xz` is `kyber_iosched`.
fn name(path: &str) -> Option<String> {
    let file = Path::new(path).file_name()?.to_str()?;
    Some(file.split_once(".ko")?.0.replace('-', "_"))
}

/// Fails with the name of a required module that the kernel neither has nor builds in.
fn choose(dependencies: &str, aliases: &str, built_in: &str) -> Result<Chosen, String> {
    let known: BTreeMap<&str, Vec<&str>> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (path, needs.split_whitespace().collect()))
        .collect();
    let by_name: BTreeMap<String, &str> = known
        .keys()
        .filter_map(|path| Some((name(path)?, *path)))
        .collect();
    let built_in: BTreeSet<String> = built_in.lines().filter_map(name).collect();
    if let Some(lost) = REQUIRED
        .iter()
        .find(|module| !by_name.contains_key(**module) && !built_in.contains(**module))
    {
        return Err((*lost).to_owned());
    }
    let wanted = REQUIRED
        .iter()
        .chain(WANTED)
        .filter_map(|module| by_name.get(*module).copied());
    let by_prefix = known
        .keys()
        .copied()
        .filter(|path| path.starts_with(WANTED_PREFIX));
    let paths = closure(wanted.chain(by_prefix), &known);

    let dependencies = dependencies
        .lines()
        .filter(|line| line.split_once(':').is_some_and(|(path, _)| paths.contains(path)));
    let names: BTreeSet<String> = paths.iter().filter_map(|path| name(path)).collect();
    let aliases = aliases.lines().filter(|line| {
        line.rsplit(' ')
            .next()
            .is_some_and(|module| names.contains(module))
    });
    Ok(Chosen {
        dependencies: text(dependencies),
        aliases: text(aliases),
        paths,
    })
}

fn text<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn closure<'a>(
    wanted: impl Iterator<Item = &'a str>,
    known: &BTreeMap<&'a str, Vec<&'a str>>,
) -> BTreeSet<String> {
    let mut chosen = BTreeSet::new();
    let mut open: Vec<&str> = wanted.collect();
    while let Some(path) = open.pop() {
        if chosen.insert(path.to_owned()) {
            open.extend(known.get(path).into_iter().flatten());
        }
    }
    chosen
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const DEPENDENCIES: &str = "\
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/net/virtio_net.ko:
kernel/drivers/block/virtio_blk.ko:
kernel/block/kyber-iosched.ko:
kernel/net/ipv4/tcp_bbr.ko:
kernel/fs/nfs/nfs.ko: kernel/drivers/virtio/virtio.ko
";
    const BUILT_IN: &str = "kernel/drivers/char/virtio_console.ko\n";

    #[test]
    fn follows_dependencies_and_leaves_the_rest() {
        let chosen = choose(DEPENDENCIES, "alias a nfs\nalias b-c kyber_iosched\n", BUILT_IN).unwrap();
        let names: Vec<_> = chosen.paths.iter().filter_map(|path| name(path)).collect();
        let expected = [
            "kyber_iosched",
            "virtio_blk",
            "virtio_net",
            "virtio",
            "virtio_pci",
            "virtio_ring",
            "tcp_bbr",
        ];
        assert_eq!(names, expected);
        assert_eq!(chosen.aliases, "alias b-c kyber_iosched\n");
        assert!(!chosen.dependencies.contains("nfs"));
        assert_eq!(chosen.dependencies.lines().count(), chosen.paths.len());
    }

    #[test]
    fn a_required_module_may_be_built_in_but_not_absent() {
        assert_eq!(choose(DEPENDENCIES, "", "").unwrap_err(), "virtio_console");
    }

    #[test]
    fn a_name_has_underscores_and_no_suffix() {
        assert_eq!(name("kernel/block/kyber-iosched.ko.xz").unwrap(), "kyber_iosched");
        assert_eq!(name("kernel/readme"), None);
    }
}
