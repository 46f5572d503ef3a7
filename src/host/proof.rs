//! Places of the domain XML proven in the running QEMU: its object model, its block layer, its options, the kernel's
//! own record of its memory. Where QEMU does not tell, libvirt's XML of the running domain has to do.
//!
//! Reads only; does not know why a value is wanted.

use super::libvirt::Domain;
use super::numa_maps::{GuestMemory, Policy};
use super::xml::{self, placed};
use super::{HostError, readback};
use crate::tunable::{ABSENT, CpuSet, DomainSetting, QemuPart, QemuProperty, XmlPlace, XmlSetting};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;

/// What QEMU calls a value, and what levels call it, where the two differ: part, property, QEMU's word, level.
const WORDS: [(QemuPart, &str, &str, &str); 14] = [
    (QemuPart::Memory, "merge", "on", "absent"),
    (QemuPart::Memory, "merge", "off", "present"),
    (QemuPart::Memory, "prealloc", "on", "immediate"),
    (QemuPart::Memory, "prealloc", "off", "ondemand"),
    (QemuPart::Memory, "type", "memory-backend-ram", "anonymous"),
    (QemuPart::Memory, "type", "memory-backend-memfd", "memfd"),
    (QemuPart::Memory, "type", "memory-backend-file", "file"),
    (QemuPart::Netdev, "vhost", "on", "vhost"),
    (QemuPart::Netdev, "vhost", "off", "qemu"),
    (QemuPart::Link, "tx", "bh", "iothread"),
    (QemuPart::Link, "tx", "", "iothread"),
    (QemuPart::Link, "host_mtu", "0", ABSENT),
    (QemuPart::Link, "type", "virtio-net-pci", "virtio"),
    (QemuPart::Disk, "iothread", "", "none"),
];

/// The value of a part of the XML as the running QEMU has it. `asked` is what it was started with: only that tells a
/// CPU model the user named from the same one libvirt chose.
pub(super) fn running(
    domain: &Domain,
    setting: &XmlSetting,
    target: &str,
    asked: &str,
) -> Result<String, HostError> {
    let doing = format!("read domain XML {setting} of {}", domain.name());
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    match setting {
        XmlSetting::Place(XmlPlace {
            qemu: Some(property), ..
        }) => match property.part {
            QemuPart::Memory => {
                memory_property(domain, property)?.map_or_else(|| in_live_xml(domain, setting, target), Ok)
            }
            _ => property_of(domain, property, target),
        },
        XmlSetting::CpuMode => cpu_mode(domain, asked),
        XmlSetting::Topology => topology(domain),
        XmlSetting::NumaMode => Ok(bound(domain)?.0),
        XmlSetting::NumaNodes => Ok(bound(domain)?.1),
        XmlSetting::Placement => placement(domain, target),
        XmlSetting::Place(_) => in_live_xml(domain, setting, target),
        XmlSetting::GuestBoot(_) => Err(fail(&"only the guest tells its command line")),
        _ => readback::running(domain, setting, target),
    }
}

fn in_live_xml(domain: &Domain, setting: &XmlSetting, target: &str) -> Result<String, HostError> {
    let fail = |cause: &dyn ToString| {
        HostError::new(
            format!("read domain XML {setting} of {}", domain.name()),
            cause.to_string(),
        )
    };
    let live = domain.xml_live().map_err(|e| fail(&e))?;
    xml::value(&live, setting, Some(target)).map_err(|e| fail(&e))
}

fn as_level(property: &QemuProperty, told: &str) -> String {
    let known = WORDS
        .iter()
        .find(|(part, name, word, _)| *part == property.part && *name == property.name && *word == told);
    match (known, property.part) {
        (Some((_, _, _, level)), _) => (*level).to_string(),
        // The path of the object, whose name is libvirt's: `/objects/iothread1`.
        (None, QemuPart::Disk) if property.name == "iothread" => told
            .rsplit_once("/iothread")
            .map_or(told, |(_, number)| number)
            .to_string(),
        _ => told.to_string(),
    }
}

fn property_of(domain: &Domain, property: &QemuProperty, target: &str) -> Result<String, HostError> {
    let doing = format!("ask QEMU for {}", property.name);
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    let live = domain.xml_live().map_err(|e| fail(&e))?;
    let disk = || xml::disk(&live, Some(target)).map_err(|e| fail(&e));
    let link = || {
        let alias = xml::link(&live).and_then(|link| link.alias);
        alias.ok_or_else(|| fail(&"the domain has no network interface"))
    };
    let told = match property.part {
        QemuPart::Disk => {
            let alias = disk()?
                .alias
                .ok_or_else(|| fail(&"the disk has no name in QEMU"))?;
            device_property(domain, &alias, &property.name)?
        }
        QemuPart::Link => device_property(domain, &link()?, &property.name)?,
        QemuPart::Blockdev => {
            let block = readback::block(domain, &disk()?, &property.name)?;
            let inserted = &block["inserted"];
            match inserted.get(&property.name) {
                Some(told) => told.clone(),
                None => {
                    let node = inserted["node-name"].as_str().unwrap_or_default();
                    let option = json_option(domain, "-blockdev", "node-name", node)?;
                    let told = option.get(&property.name).cloned();
                    told.unwrap_or_else(|| Value::from("ignore"))
                }
            }
        }
        QemuPart::Netdev => {
            let option = json_option(domain, "-netdev", "id", &format!("host{}", link()?))?;
            netdev(&option, &property.name)
        }
        QemuPart::Cpu => Value::from(cpu_word(&option(domain, "-cpu")?, &property.name)),
        QemuPart::Memory => Value::Null,
    };
    let told = text(&told).ok_or_else(|| fail(&format!("it answers {told}")))?;
    Ok(as_level(property, &told))
}

/// QEMU's JSON as one word.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Bool(true) => Some("on".into()),
        Value::Bool(false) => Some("off".into()),
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => Some(text.clone()),
        Value::Null => Some(String::new()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// A property of a device, or of the virtio device in its PCI shell.
fn device_property(domain: &Domain, alias: &str, name: &str) -> Result<Value, HostError> {
    let shell = format!("/machine/peripheral/{alias}");
    qom(domain, &shell, name).or_else(|error| {
        let inner = format!("{shell}/virtio-backend");
        qom(domain, &inner, name).map_err(|_| error)
    })
}

fn query(domain: &Domain, command: &str) -> Result<Value, HostError> {
    readback::ask(domain, command, &json!({ "execute": command }).to_string())
}

fn qom(domain: &Domain, path: &str, name: &str) -> Result<Value, HostError> {
    let command = json!({ "execute": "qom-get", "arguments": { "path": path, "property": name } });
    readback::ask(domain, &format!("for {name} of {path}"), &command.to_string())
}

/// What follows an option, each time it is there.
fn options(domain: &Domain, name: &str) -> Result<Vec<String>, HostError> {
    let fail = |e: std::io::Error| HostError::new(format!("look for {name} in QEMU's options"), e);
    let pid = domain.qemu_pid().map_err(fail)?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).map_err(fail)?;
    Ok(after(&command, name))
}

/// A value that looks like the option itself does not count.
fn after(command: &[u8], name: &str) -> Vec<String> {
    let words: Vec<_> = command.split(|b| *b == 0).collect();
    let mut found = Vec::new();
    let mut at = 1;
    while at + 1 < words.len() {
        let takes_value = words[at].starts_with(b"-") && !words[at + 1].starts_with(b"-");
        if words[at] == name.as_bytes() && takes_value {
            found.push(String::from_utf8_lossy(words[at + 1]).into_owned());
        }
        at += if takes_value || words[at] == b"-append" {
            2
        } else {
            1
        };
    }
    found
}

fn option(domain: &Domain, name: &str) -> Result<String, HostError> {
    // Without it QEMU has its default.
    Ok(options(domain, name)?.pop().unwrap_or_default())
}

/// The option written as JSON that has this text at this key.
fn json_option(domain: &Domain, name: &str, key: &str, wanted: &str) -> Result<Value, HostError> {
    let all = options(domain, name)?;
    let parsed = all
        .iter()
        .filter_map(|text| serde_json::from_str::<Value>(text).ok());
    let mut found = parsed.filter(|option| option[key].as_str() == Some(wanted));
    found.next().ok_or_else(|| {
        HostError::new(
            format!("look for {name} {wanted} in QEMU's options"),
            "it has none written as JSON; it takes libvirt 8 and QEMU 7",
        )
    })
}

/// A multiqueue tap has a file for each queue.
fn netdev(option: &Value, name: &str) -> Value {
    match name {
        "queues" => {
            let files = option["fds"].as_str().map_or(1, |fds| fds.split(':').count());
            Value::from(files)
        }
        _ => option.get(name).cloned().unwrap_or(Value::Bool(false)),
    }
}

/// A flag of the CPU; what the cache is shown as is told by two.
fn cpu_word(option: &str, name: &str) -> String {
    let of = |name: &str| {
        let words = option.split(',').filter_map(|word| word.split_once('='));
        words
            .filter(|(key, _)| *key == name)
            .last()
            .map(|(_, value)| value)
    };
    match name {
        "cache" => match (of("host-cache-info"), of("l3-cache")) {
            (Some("on"), _) => "passthrough".into(),
            (Some("off"), Some("off")) => "disable".into(),
            (_, Some("on")) => "emulate".into(),
            _ => "none".into(),
        },
        name => of(name).unwrap_or("off").into(),
    }
}

/// QEMU's type of the vCPUs is the model that runs.
fn cpu_mode(domain: &Domain, asked: &str) -> Result<String, HostError> {
    let fail = |cause: &dyn ToString| HostError::new("ask QEMU for its CPU model", cause.to_string());
    let cpus = query(domain, "query-cpus-fast")?;
    let kind = cpus[0]["qom-type"].as_str().unwrap_or_default();
    let model = kind
        .strip_suffix("-cpu")
        .and_then(|kind| kind.rsplit_once('-'))
        .map(|(model, _)| model)
        .ok_or_else(|| fail(&format!("it answers {kind}")))?;
    let live = domain.xml_live().map_err(|e| fail(&e))?;
    let named = xml::cpu_model(&live);
    let as_named = named.as_deref().is_some_and(|named| {
        model == named || model.strip_prefix(named).is_some_and(|v| v.starts_with("-v"))
    });
    Ok(match model {
        "host" => "host-passthrough".into(),
        "max" => "maximum".into(),
        // What libvirt takes where a definition names none.
        "qemu64" | "qemu32" if asked == "none" => "none".into(),
        _ if as_named && matches!(asked, "host-model" | "custom") => asked.into(),
        other => format!("model {other}"),
    })
}

/// Counts the places QEMU has for CPUs.
fn topology(domain: &Domain) -> Result<String, HostError> {
    let slots = query(domain, "query-hotpluggable-cpus")?;
    let slots = slots.as_array().map(Vec::as_slice).unwrap_or_default();
    counted(slots).ok_or_else(|| HostError::new("ask QEMU for its CPU topology", "it tells none"))
}

fn counted(slots: &[Value]) -> Option<String> {
    let count = |names: &[&str]| {
        let ids = slots.iter().map(|slot| {
            let id = |name: &&str| slot["props"][*name].as_u64().unwrap_or(0);
            names.iter().map(id).collect::<Vec<_>>()
        });
        ids.collect::<BTreeSet<_>>().len()
    };
    let (sockets, cores) = (count(&["socket-id"]), count(&["die-id", "core-id"]));
    let threads = count(&["thread-id"]);
    (sockets > 0).then(|| format!("{sockets}x{cores}x{threads}"))
}

/// A property of the guest's memory; `None` when QEMU has no object for it.
fn memory_property(domain: &Domain, property: &QemuProperty) -> Result<Option<String>, HostError> {
    let Some(backend) = backend(domain)? else {
        return Ok(None);
    };
    let told = match property.name.as_str() {
        "type" => {
            let id = backend["id"].as_str().unwrap_or_default();
            qom(domain, &format!("/objects/{id}"), "type")?
        }
        name => backend.get(name).cloned().unwrap_or_default(),
    };
    Ok(text(&told).map(|told| as_level(property, &told)))
}

/// The object of the guest's memory; of several, for several nodes of the guest, the first.
fn backend(domain: &Domain) -> Result<Option<Value>, HostError> {
    let reply = query(domain, "query-memdev")?;
    Ok(reply.as_array().and_then(|all| all.first()).cloned())
}

/// Mode and nodes of the guest's memory: QEMU's word, and the kernel's where they differ.
fn bound(domain: &Domain) -> Result<(String, String), HostError> {
    let backend = backend(domain)?.unwrap_or_default();
    let nodes = backend["host-nodes"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let nodes = nodes.iter().filter_map(|n| u16::try_from(n.as_u64()?).ok());
    let nodes = CpuSet::from_iter(nodes);
    let mode = match backend["policy"].as_str() {
        Some("bind") => "strict",
        Some("preferred") => "preferred",
        Some("interleave") => "interleave",
        _ => return Ok(("none".into(), ABSENT.into())),
    };
    let fail = |cause: &dyn ToString| HostError::new("look where the guest's memory is", cause.to_string());
    let pid = domain.qemu_pid().map_err(|e| fail(&e))?;
    let live = domain.xml_live().map_err(|e| fail(&e))?;
    let (_, memory) = xml::size(&live).map_err(|e| fail(&e))?;
    let held = GuestMemory::of_process(pid, memory)?;
    Ok(agreed(mode, &nodes, &held))
}

/// The kernel has the last word: it keeps pages where they were used first, whatever is said later.
fn agreed(mode: &str, nodes: &CpuSet, held: &GuestMemory) -> (String, String) {
    let as_bound = match (mode, held.policy()) {
        ("strict", Some(Policy::Bind(bound))) => bound == nodes && held.nodes().0.is_subset(&nodes.0),
        ("interleave", Some(Policy::Interleave(bound))) => bound == nodes,
        // Of several preferred nodes an older kernel knows the first.
        ("preferred", Some(Policy::Preferred(bound))) => bound.0.is_subset(&nodes.0),
        _ => false,
    };
    if as_bound {
        return (mode.into(), nodes.to_string());
    }
    let (policy, on) = (held.policy(), held.nodes());
    (
        format!("{mode} (the kernel has {policy:?})"),
        format!("{nodes} (its pages are on {on})"),
    )
}

/// The host's nodes that have memory.
pub(super) fn nodes_with_memory() -> Option<String> {
    let text = fs::read_to_string("/sys/devices/system/node/has_memory").ok()?;
    let nodes: CpuSet = text.trim().parse().ok()?;
    Some(nodes.to_string())
}

fn placement(domain: &Domain, target: &str) -> Result<String, HostError> {
    let (mode, nodes) = bound(domain)?;
    let pins = readback::live(domain, &DomainSetting::VcpuPins, target)?;
    let sets: BTreeSet<_> = pins
        .split_whitespace()
        .filter_map(|pin| pin.split_once('=').map(|(_, cpus)| cpus))
        .collect();
    let all = sets.len() == 1;
    let cpus = sets.into_iter().next().unwrap_or_default();
    let online = fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    Ok(match all {
        true if cpus == online.trim() && mode == "none" => placed(None, &mode, &nodes),
        true => placed(Some(cpus), &mode, &nodes),
        false => format!("vCPUs {pins} nodes={nodes} mode={mode}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_from_their_values() {
        let command = b"qemu\0-append\0-cpu\0-cpu\0max,+x\0-S\0-cpu\0host,kvm-poll-control=on\0-netdev\0{}\0";
        assert_eq!(after(command, "-cpu"), ["max,+x", "host,kvm-poll-control=on"]);
        assert_eq!(after(command, "-append"), Vec::<String>::new());
        assert!(after(b"", "-cpu").is_empty());
    }

    #[test]
    fn flags_of_a_cpu_and_files_of_a_tap() {
        let option = "host,migratable=on,host-cache-info=on,l3-cache=off,kvm-hint-dedicated=on";
        assert_eq!(cpu_word(option, "cache"), "passthrough");
        assert_eq!(cpu_word(option, "kvm-hint-dedicated"), "on");
        assert_eq!(cpu_word(option, "kvm-poll-control"), "off");
        assert_eq!(cpu_word("qemu64", "cache"), "none");
        assert_eq!(
            netdev(&json!({ "fds": "3:4", "vhost": true }), "queues"),
            json!(2)
        );
        assert_eq!(netdev(&json!({ "fd": "3" }), "queues"), json!(1));
        assert_eq!(netdev(&json!({ "fd": "3" }), "vhost"), json!(false));
    }

    #[test]
    fn a_topology_is_counted() {
        let slot = |s: u8, d: u8, c: u8, t: u8| json!({ "props": { "socket-id": s, "die-id": d, "core-id": c, "thread-id": t } });
        let slots = [
            slot(0, 0, 0, 0),
            slot(0, 0, 1, 0),
            slot(1, 0, 0, 0),
            slot(1, 0, 1, 0),
        ];
        assert_eq!(counted(&slots).as_deref(), Some("2x2x1"));
        let dies = [
            slot(0, 0, 0, 0),
            slot(0, 1, 0, 0),
            slot(0, 0, 0, 1),
            slot(0, 1, 0, 1),
        ];
        assert_eq!(counted(&dies).as_deref(), Some("1x2x2"));
        assert_eq!(counted(&[]), None);
    }

    #[test]
    fn the_kernels_word_about_memory_counts() {
        let nodes = |text: &str| text.parse::<CpuSet>().unwrap_or_default();
        let held = |policy, on: u16| {
            GuestMemory(vec![crate::host::numa_maps::Mapping {
                policy,
                resident: [(on, crate::units::Bytes::mib(1))].into(),
                page: crate::units::Bytes(4096),
            }])
        };
        let agree = |mode: &str, wanted: &str, held: &GuestMemory| {
            agreed(mode, &nodes(wanted), held) == (mode.to_string(), wanted.to_string())
        };
        assert!(agree("strict", "0", &held(Policy::Bind(nodes("0")), 0)));
        assert!(!agree("strict", "0", &held(Policy::Bind(nodes("0")), 1)));
        assert!(!agree("strict", "0", &held(Policy::Default, 0)));
        assert!(agree(
            "interleave",
            "0-1",
            &held(Policy::Interleave(nodes("0-1")), 1)
        ));
        assert!(agree("preferred", "1", &held(Policy::Preferred(nodes("1")), 0)));
        assert!(!agree("interleave", "0-1", &held(Policy::Bind(nodes("0-1")), 1)));
    }

    #[test]
    fn qemus_words_become_levels() {
        let level =
            |property: &str, told: &str| as_level(&property.parse().unwrap_or_else(|e| panic!("{e}")), told);
        assert_eq!(level("memory.merge", "off"), "present");
        assert_eq!(level("disk.iothread", "/objects/iothread12"), "12");
        assert_eq!(level("disk.iothread", ""), "none");
        assert_eq!(level("link.host_mtu", "0"), "absent");
        assert_eq!(level("disk.num-queues", "0"), "0");
    }
}
