//! Levels made real on a host of two nodes.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::{CpuSet, DomainSetting, ParameterGroup, lookup};
use super::*;
use crate::facts::Node;
use crate::units::Bytes;

fn facts() -> Facts {
    let set = |text: &str| text.parse::<CpuSet>().unwrap();
    let node = |id, cpus: &str| Node {
        id,
        cpus: set(cpus),
        memory: Bytes::mib(1024),
        distances: [0, 1].map(|to| (to, if to == id { 10 } else { 21 })).into(),
    };
    let readings = [
        ("guest:/sys/block/vdb/queue/scheduler", "[none] mq-deadline"),
        (
            "host:/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
            "3\n",
        ),
        ("domain XML disk cache", "writeback"),
    ];
    Facts {
        host_cpus: set("0-3"),
        nodes: vec![node(0, "0-1"), node(1, "2-3")],
        vcpus: 2,
        guest_memory: Bytes::mib(512),
        guest_disk: Some("vdb".into()),
        has: ["hugetlbfs".to_string()].into(),
        guest_modules: ["bfq".to_string(), "tcp_htcp".into(), "tcp_diag".into()].into(),
        readings: readings.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        ..Facts::default()
    }
}

fn settings(tunable: &str, text: &str) -> Vec<String> {
    let level = level(&lookup(tunable).unwrap(), text, &facts()).unwrap();
    level
        .settings
        .iter()
        .map(|s| format!("{} = {}", s.address, s.value))
        .collect()
}

#[test]
fn a_scheduler_in_a_module_is_loaded_first() {
    assert_eq!(
        settings("guest.disk.scheduler", "cfq"),
        [
            "guest module bfq = loaded",
            "guest:/sys/block/vdb/queue/scheduler = bfq"
        ]
    );
    assert_eq!(
        settings("guest.disk.scheduler", "noop"),
        ["guest:/sys/block/vdb/queue/scheduler = none"]
    );
}

#[test]
fn a_scheduler_nobody_offers_is_refused_with_the_choices() {
    let error = level(&lookup("guest.disk.scheduler").unwrap(), "kyber", &facts()).unwrap_err();
    let LevelError::Unavailable { choices, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(choices, ["bfq", "mq-deadline", "none"]);
}

#[test]
fn a_topology_multiplies_to_the_vcpus_however_large_its_numbers() {
    let topology = lookup("domain.cpu.topology").unwrap();
    assert!(level(&topology, "1x2x1", &facts()).is_ok());
    for (text, product) in [
        ("65535x65535x65535", "281462092005375"),
        ("32768x32768x4", "4294967296"),
    ] {
        let error = level(&topology, text, &facts()).unwrap_err().to_string();
        assert!(error.contains(&format!("makes {product} vCPUs")), "{error}");
    }
}

#[test]
fn backing_by_huge_pages_grows_the_pool() {
    assert_eq!(
        settings("domain.memory.hugepages", "2MiB"),
        [
            "host:/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages = 259",
            "domain XML hugepages = 2MiB"
        ]
    );
}

#[test]
fn pin_generators_use_the_topology() {
    assert_eq!(
        settings("domain.cpu.pin", "none"),
        ["domain vCPU pins = 0=0-3 1=0-3"]
    );
    assert_eq!(
        settings("domain.cpu.pin", "compact"),
        ["domain vCPU pins = 0=0 1=1"]
    );
    assert_eq!(
        settings("domain.cpu.pin", "spread"),
        ["domain vCPU pins = 0=0 1=2"]
    );
    assert_eq!(
        settings("domain.cpu.pin", "1=3"),
        ["domain vCPU pins = 0=0-3 1=3"]
    );
    assert!(level(&lookup("domain.cpu.pin").unwrap(), "0=64", &facts()).is_err());
    assert!(level(&lookup("domain.cpu.pin").unwrap(), "7=0", &facts()).is_err());
}

#[test]
fn io_threads_are_pinned_by_libvirts_numbers() {
    let pin = lookup("domain.cpu.iothread-pin").unwrap();
    let mut facts = facts();
    let why = level(&pin, "none", &facts).unwrap_err().to_string();
    assert!(why.contains("<iothreads>1</iothreads>"), "{why}");
    (facts.iothreads, facts.has) = (2, ["iothread".to_string()].into());
    let value = |text: &str| level(&pin, text, &facts).map(|l| l.settings[0].value.to_string());
    assert_eq!(value("none").unwrap(), "1=0-3 2=0-3");
    assert_eq!(value("2=3").unwrap(), "1=0-3 2=3");
    let LevelError::Unavailable { choices, .. } = level(&pin, "0=1", &facts).unwrap_err() else {
        panic!()
    };
    assert_eq!(choices, ["I/O threads 1-2"]);
}

#[test]
fn native_io_over_the_page_cache_is_a_conflict() {
    let io = level(&lookup("domain.disk.io").unwrap(), "native", &facts())
        .unwrap()
        .settings;
    assert!(Setting::conflict(&io, &facts()).is_some());
    let cache = level(&lookup("domain.disk.cache").unwrap(), "none", &facts())
        .unwrap()
        .settings;
    assert!(Setting::conflict(&[io, cache].concat(), &facts()).is_none());
}

#[test]
fn the_ambient_level_is_what_is_read() {
    let tunable = lookup("guest.disk.scheduler").unwrap();
    assert_eq!(ambient_level(&tunable, &facts()).unwrap().label, "none");
}

#[test]
fn domain_settings_have_stable_text() {
    assert_eq!(
        Address::Domain(DomainSetting::Parameter(
            ParameterGroup::Scheduler,
            "cpu_shares".into()
        ))
        .to_string(),
        "domain cpu_shares"
    );
}

#[test]
fn what_a_level_means_is_the_hosts_to_say() {
    let machine = lookup("domain.machine").unwrap();
    let address = machine.address(&facts()).unwrap();
    let mut facts = facts();
    let meanings = [
        ("q35".to_string(), Meaning::Is("pc-q35-7.2".into())),
        ("isapc".to_string(), Meaning::Unusable("it has no PCI".into())),
    ];
    facts.meanings.insert(address.to_string(), meanings.into());
    let named = |text| level(&machine, text, &facts);
    assert_eq!(named("q35").unwrap(), named("pc-q35-7.2").unwrap());
    let error = named("isapc").unwrap_err().to_string();
    assert_eq!(error, "level `isapc` cannot be used here: it has no PCI");
    assert!(named("../q35").is_err());
}

#[test]
fn the_hosts_queue_is_not_that_of_another_image() {
    let mut facts = facts();
    let image = Address::DomainXml(XmlSetting::DiskImage);
    facts.host_disk = Some("loop3".into());
    facts.readings.insert(image.to_string(), "/dev/loop3".into());
    let setting = |name: &str, text: &str| {
        let tunable = lookup(name).unwrap();
        Setting {
            address: tunable.address(&facts).unwrap(),
            value: tunable.kind.parse(text).unwrap(),
            kind: tunable.kind,
            role: SettingRole::Own,
        }
    };
    let queue = setting("host.disk.read-ahead-kb", "128");
    let (own, other) = (
        setting("domain.disk.image", "/dev/loop3"),
        setting("domain.disk.image", "/b.img"),
    );
    assert_eq!(Setting::conflict(&[queue.clone(), own], &facts), None);
    assert_eq!(Setting::conflict(std::slice::from_ref(&other), &facts), None);
    let why = Setting::conflict(&[queue, other], &facts).unwrap();
    assert!(why.contains("loop3") && why.contains("/b.img"), "{why}");
}

fn own(name: &str, text: &str, facts: &Facts) -> Setting {
    let tunable = lookup(name).unwrap();
    let value = tunable.kind.parse(text).unwrap();
    Setting::own(tunable.address(facts).unwrap(), value, tunable.kind)
}

#[test]
fn a_format_goes_with_an_image_of_it() {
    let mut facts = facts();
    let image = Address::DomainXml(XmlSetting::DiskImage);
    let found = |format: &str| Meaning::Image {
        format: format.into(),
    };
    let meanings = [
        ("/a.img".into(), found("raw")),
        ("/b.qcow2".into(), found("qcow2")),
    ];
    facts.meanings.insert(image.to_string(), meanings.into());
    let why = |settings: &[(&str, &str)]| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, text)| own(name, text, &facts))
            .collect();
        Setting::conflict(&settings, &facts)
    };
    assert_eq!(why(&[("domain.disk.image", "/a.img")]), None);
    assert_eq!(
        why(&[("domain.disk.image", "/b.qcow2"), ("domain.disk.format", "qcow2")]),
        None
    );
    assert!(
        why(&[("domain.disk.image", "/b.qcow2")])
            .unwrap()
            .contains("domain.disk.format=qcow2")
    );
    assert!(
        why(&[("domain.disk.format", "qcow2")])
            .unwrap()
            .contains("needs a domain.disk.image")
    );
    let mixed = [("domain.disk.image", "/a.img"), ("domain.disk.format", "qcow2")];
    assert!(why(&mixed).unwrap().contains("/a.img is raw"));
}

#[test]
fn what_qemu_would_refuse_is_no_treatment() {
    let facts = facts();
    let why = |settings: &[(&str, &str)]| {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, text)| own(name, text, &facts))
            .collect();
        Setting::conflict(&settings, &facts).is_some()
    };
    assert!(why(&[("domain.disk.detect-zeroes", "unmap")]));
    assert!(!why(&[
        ("domain.disk.detect-zeroes", "unmap"),
        ("domain.disk.discard", "unmap")
    ]));
    assert!(why(&[
        ("domain.disk.iothread", "1"),
        ("domain.disk.ioeventfd", "off")
    ]));
    assert!(!why(&[("domain.disk.iothread", "1")]));
    assert!(why(&[("domain.numa.mode", "none"), ("domain.numa.nodeset", "0")]));
    assert!(!why(&[
        ("domain.numa.mode", "strict"),
        ("domain.numa.nodeset", "0")
    ]));
}

#[test]
fn placements_use_the_nodes() {
    let placed = |text: &str| settings("domain.numa.placement", text).remove(0);
    assert_eq!(placed("none"), "domain XML placement = none");
    assert_eq!(
        placed("node1"),
        "domain XML placement = cpus=2-3 nodes=1 mode=strict"
    );
    assert_eq!(
        placed("same-node"),
        "domain XML placement = cpus=0-1 nodes=0 mode=strict"
    );
    assert_eq!(
        placed("interleave"),
        "domain XML placement = cpus=0-3 nodes=0-1 mode=interleave"
    );
    assert_eq!(
        placed("mode=preferred nodes=1 cpus=0,1"),
        "domain XML placement = cpus=0-1 nodes=1 mode=preferred"
    );
    let placement = lookup("domain.numa.placement").unwrap();
    for bad in [
        "node2",
        "node01",
        "cpus=0-9 nodes=0 mode=strict",
        "cpus=0 nodes=0 mode=x",
        "cpus=0 nodes=0",
    ] {
        assert!(level(&placement, bad, &facts()).is_err(), "{bad}");
    }
    let mut small = facts();
    small.guest_memory = Bytes::mib(4096);
    let why = level(&placement, "same-node", &small).unwrap_err().to_string();
    assert!(why.contains("for the guest"), "{why}");
    let labels: Vec<_> = available_levels(&placement, &facts())
        .unwrap()
        .into_iter()
        .map(|l| l.label)
        .collect();
    assert_eq!(labels, ["none", "node0", "node1", "interleave"]);
}
