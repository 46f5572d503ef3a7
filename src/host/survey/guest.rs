//! What the guest says of itself: kernel, modules, network link, NUMA nodes.
//!
//! All of it is untrusted: bounded, and kept only where it is what it should be.

use super::{LocalHost, MAX_FACT};
use crate::facts::Facts;
use crate::host::local::chain;
use crate::host::transport::Transport;
use crate::host::{HostError, xml};
use crate::tunable::CpuSet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// Listing files is short.
const LIMIT: Duration = Duration::from_secs(10);
/// Folders of modules that tunables can need: disk schedulers, congestion control, packet filters, queues, devices.
const MODULES: [&str; 6] = [
    "block",
    "net/ipv4",
    "net/ipv6",
    "net/netfilter",
    "net/sched",
    "drivers",
];
/// A name and an address a line.
const LINKS: &str =
    "for link in /sys/class/net/*; do echo \"${link##*/} $(cat \"$link/address\" 2>/dev/null)\"; done";

pub(super) fn facts(host: &LocalHost, facts: &mut Facts) -> Result<(), HostError> {
    let disk = host.disk().to_string();
    let transport = host.transport()?;
    let read = |path: &str| {
        let bytes = transport.read_file(path, MAX_FACT).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_string())
    };
    if let Transport::Ssh(_) = transport {
        facts.record.insert("guest.transport".into(), "ssh".into());
    }
    let release = read("/proc/sys/kernel/osrelease");
    let meminfo = read("/proc/meminfo");
    facts.guest_ram = meminfo.as_deref().and_then(super::ram);
    let mut record: BTreeMap<String, String> = BTreeMap::new();
    let flags = read("/proc/cpuinfo").and_then(|info| {
        let line = info.lines().find(|l| l.starts_with("flags"))?;
        Some(super::pages(line))
    });
    let named = [
        ("guest.cpu.pages", flags),
        ("guest.kernel.version", read("/proc/version")),
        ("guest.kernel.command-line", read("/proc/cmdline")),
        ("guest.thp", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        (
            "guest.clocksource",
            read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ),
        (
            "guest.memory",
            meminfo.and_then(|m| m.lines().next().map(str::to_string)),
        ),
        ("guest.kernel", release.clone()),
    ];
    record.extend(
        named
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_string(), value?))),
    );
    if read(&format!("/sys/block/{disk}/queue/scheduler")).is_none() {
        facts.guest_disk = None;
    }
    let release = release.filter(|r| {
        r.chars()
            .all(|c| c.is_ascii_alphanumeric() || ".-_+~".contains(c))
    });
    if let Some(release) = release {
        facts.guest_modules = loadable_modules(transport, &release)?;
    }
    facts.record.extend(record);
    let nodes = read("/sys/devices/system/node/online").and_then(|list| list.parse::<CpuSet>().ok());
    // A kernel without NUMA has one node.
    facts.guest_nodes = nodes.map_or(1, |nodes| u16::try_from(nodes.0.len()).unwrap_or(u16::MAX));
    facts.guest_link = link(host, transport);
    Ok(())
}

/// The guest's name of the first network interface of its domain: both know its address on the wire.
fn link(host: &LocalHost, transport: &Transport) -> Option<String> {
    let live = host.running_domain()?.xml_live().ok()?;
    let mac = xml::link(&live)?.mac;
    let listed = transport.exec(&["/bin/sh", "-c", LINKS], None, LIMIT).ok()?;
    named_by(&String::from_utf8_lossy(&listed.stdout), &mac)
}

fn named_by(listed: &str, mac: &str) -> Option<String> {
    let mut links = listed.lines().filter_map(|line| line.trim().split_once(' '));
    let (name, _) = links.find(|(name, address)| address.eq_ignore_ascii_case(mac) && is_link_name(name))?;
    Some(name.to_string())
}

/// What the kernel takes for a name (`dev_valid_name`), of plain characters.
fn is_link_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !name.starts_with(['.', '-'])
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

/// Modules of the guest that settings can need.
fn loadable_modules(transport: &Transport, release: &str) -> Result<BTreeSet<String>, HostError> {
    let folders = MODULES.map(|folder| format!("/lib/modules/{release}/kernel/{folder}"));
    let argv: Vec<&str> = ["/bin/ls", "-1", "-R"]
        .into_iter()
        .chain(folders.iter().map(String::as_str))
        .collect();
    let listed = transport
        .exec(&argv, None, LIMIT)
        .map_err(|e| HostError::new("list the guest's modules", chain(&e)))?;
    Ok(modules_in(&String::from_utf8_lossy(&listed.stdout)))
}

fn modules_in(listed: &str) -> BTreeSet<String> {
    let module = |line: &str| {
        let (name, _) = Path::new(line.trim()).file_name()?.to_str()?.split_once(".ko")?;
        let tame = (1..=64).contains(&name.len())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        tame.then(|| name.to_string())
    };
    listed.lines().filter_map(module).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_found_by_its_address() {
        let listed =
            "lo 00:00:00:00:00:00\neth0 52:54:00:aa:bb:cc\n$(x) 52:54:00:aa:bb:cd\nbonding_masters \n";
        assert_eq!(named_by(listed, "52:54:00:AA:BB:CC").as_deref(), Some("eth0"));
        assert_eq!(named_by(listed, "52:54:00:aa:bb:cd"), None);
        assert_eq!(named_by("", "52:54:00:aa:bb:cd"), None);
    }

    #[test]
    fn modules_are_told_from_folders() {
        let listed = "/lib/modules/6/kernel/block:\nbfq.ko\nkyber-iosched.ko.xz\n\n/lib/modules/6/kernel/drivers/a.ko:\n\
                      nf_conntrack.ko.zst\n../x;.ko\nREADME\n";
        let found: Vec<_> = modules_in(listed).into_iter().collect();
        assert_eq!(found, ["a", "bfq", "kyber-iosched", "nf_conntrack"]);
    }
}
