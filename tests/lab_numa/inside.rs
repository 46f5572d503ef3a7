//! What is tried in the lab host, with the library itself.

use crate::{common, stage};
use kvmtune::change::{Change, Journal, Outcome, with_treatment};
use kvmtune::experiment::Company;
use kvmtune::facts::Facts;
use kvmtune::host::libvirt::{Connection, embed_root, embed_uri};
use kvmtune::host::numa_maps::{GuestMemory, Policy};
use kvmtune::host::{Host, LocalHost, Power};
use kvmtune::lab::probe::KvmProbe;
use kvmtune::lab::{LabPlace, LabSize, take_down};
use kvmtune::tunable::{Activation, CpuSet, level, lookup};
use kvmtune::units::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

/// Memory of the guests whose memory alone counts.
const MEMORY: Bytes = Bytes::mib(64);

const POOL: &str = "/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages";

fn set(text: &str) -> CpuSet {
    text.parse().unwrap()
}

#[test]
#[ignore = "runs in the lab host"]
fn a_guest_of_the_lab_stays_on_one_node() {
    assert!(stage::is_here());
    let place = LabPlace::new(Path::new("/var/tmp"));
    let size = LabSize {
        vcpus: 2,
        memory: Bytes::mib(512),
        disk: Bytes::mib(64),
    };
    let clock = Instant::now();
    let mut host = LocalHost::lab(
        &place,
        size,
        &Company::default(),
        &common::cache(),
        Arc::default(),
    )
    .unwrap();
    eprintln!("lab set up after {:.1?}", clock.elapsed());
    assert_eq!(*host.lab_of().unwrap().probe(), KvmProbe::Works);
    let facts = host.facts().unwrap();
    assert_two_nodes(&facts);

    host.power(Power::On).unwrap();
    eprintln!("guest ready after {:.1?}", clock.elapsed());
    let pins = level(&lookup("domain.cpu.pin").unwrap(), "same-node", &facts).unwrap();
    let largest = facts.nodes.iter().max_by_key(|n| n.memory).unwrap();
    for setting in &pins.settings {
        host.write(&setting.address, setting.value.as_str()).unwrap();
        let raw = host.read(&setting.address).unwrap();
        assert_eq!(setting.canonical(&raw).as_ref(), Some(&setting.value));
        assert_eq!(setting.value.as_str(), format!("0={0} 1={0}", largest.cpus));
    }
    let memory = GuestMemory::of_process(qemu(&place), size.memory).unwrap();
    assert_eq!(memory.policy(), Some(&Policy::Default));
    every_tunable_of_nodes_is_proven(&mut host, facts, &place);
    host.power(Power::Off).unwrap();
    take_down(&place).unwrap();
}

/// Through the catalogue: each is set as a treatment, read back from the kernel, and given back.
fn every_tunable_of_nodes_is_proven(host: &mut LocalHost, mut facts: Facts, place: &LabPlace) {
    let cases: [(&[(&str, &str)], Policy); 3] = [
        (
            &[("domain.numa.mode", "strict"), ("domain.numa.nodeset", "1")],
            Policy::Bind(set("1")),
        ),
        (
            &[("domain.numa.mode", "interleave"), ("domain.numa.nodeset", "0-1")],
            Policy::Interleave(set("0-1")),
        ),
        (&[("domain.numa.placement", "node1")], Policy::Bind(set("1"))),
    ];
    let mut journal = Journal::open(Path::new("/var/tmp/numa-journal")).unwrap();
    for (levels, policy) in cases {
        let tunables: Vec<_> = levels.iter().map(|(name, _)| lookup(name).unwrap()).collect();
        for address in tunables
            .iter()
            .flat_map(|t| t.addresses_to_read(&facts))
            .collect::<Vec<_>>()
        {
            if let Ok(raw) = host.read(&address) {
                facts.readings.insert(address.to_string(), raw);
            }
        }
        let made = tunables.iter().zip(levels).flat_map(|(tunable, (_, text))| {
            level(tunable, text, &facts)
                .unwrap_or_else(|e| panic!("{levels:?}: {e}"))
                .settings
        });
        let settings: Vec<_> = made.collect();
        let change = Change {
            settings: &settings,
            activation: Activation::DomainRestart,
        };
        let done = with_treatment(host, &mut journal, &change, |_| {
            GuestMemory::of_process(qemu(place), Bytes::mib(512)).unwrap()
        });
        let Outcome::Held(memory) = done.unwrap().outcome else {
            panic!("{levels:?} did not hold");
        };
        eprintln!("{levels:?}: proven, {memory:?}");
        assert_eq!(memory.policy(), Some(&policy), "{levels:?}");
    }
}

fn assert_two_nodes(facts: &Facts) {
    let nodes: Vec<_> = facts.nodes.iter().map(|n| (n.id, n.cpus.to_string())).collect();
    assert_eq!(nodes, [(0, "0-1".into()), (1, "2-3".into())]);
    for node in &facts.nodes {
        let staged = Bytes::mib(stage::NODE_MIB);
        assert!(
            node.memory <= staged && node.memory.0 > staged.0 * 9 / 10,
            "{node:?}"
        );
        let far = |to: u16| if to == node.id { 10 } else { stage::DISTANCE };
        assert_eq!(node.distances, [0, 1].map(|to| (to, far(to))).into());
    }
    let cores: Vec<_> = facts.siblings.iter().map(ToString::to_string).collect();
    assert_eq!(cores, ["0", "1", "2", "3"]);
}

/// The QEMU process of the lab's guest.
fn qemu(place: &LabPlace) -> u32 {
    let name = format!("guest={},", place.domain());
    let names_guest = |pid: &u32| {
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(&name)
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = entries.filter_map(|e| e.file_name().to_str()?.parse().ok());
    pids.find(names_guest).unwrap()
}

/// A guest without an operating system, whose memory is all used when it has started.
fn memory_of_a_guest(connection: &Connection, backing: &str, tuning: &str) -> GuestMemory {
    let xml = format!(
        "<domain type='kvm'><name>memory</name><memory unit='b'>{}</memory><vcpu>1</vcpu>
<memoryBacking>{backing}<allocation mode='immediate'/></memoryBacking>{tuning}
<os><type arch='x86_64' machine='q35'>hvm</type></os><features><acpi/></features>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>",
        MEMORY.0
    );
    let clock = Instant::now();
    let domain = connection.create_xml(&xml).unwrap();
    let memory = GuestMemory::of_process(domain.qemu_pid().unwrap(), MEMORY);
    domain.destroy().unwrap();
    let memory = memory.unwrap();
    eprintln!("{tuning}: {memory:?}, {:.1?}", clock.elapsed());
    memory
}

/// Exactly these nodes hold it. While the kernel makes a huge page of small ones, they are nobody's.
fn assert_resident(memory: &GuestMemory, wanted: &BTreeMap<u16, Bytes>) {
    let found = memory.resident();
    let is_near = |(node, bytes): (&u16, &Bytes)| {
        let found = found.get(node).map_or(0, |b| b.0);
        found <= bytes.0 && found + Bytes::mib(6).0 >= bytes.0
    };
    assert!(
        found.keys().eq(wanted.keys()) && wanted.iter().all(is_near),
        "{memory:?}"
    );
}

fn tuning(mode: &str, nodes: &str) -> String {
    format!("<numatune><memory mode='{mode}' nodeset='{nodes}'/></numatune>")
}

/// The embedded driver in a folder that is left to the end of the lab host; what libvirt asked QEMU for the lab's guest
/// it need not ask again.
fn connection() -> Connection {
    let root = Path::new("/run/guests");
    embed_root(root, &[]).unwrap();
    let known = symlink(common::cache().join("libvirt"), root.join("cache"));
    assert!(known.is_ok() || root.join("cache").exists(), "{known:?}");
    Connection::open(&embed_uri(root).unwrap()).unwrap()
}

#[test]
#[ignore = "runs in the lab host"]
fn every_mode_puts_memory_where_it_says() {
    assert!(stage::is_here());
    let connection = connection();
    let half = Bytes(MEMORY.0 / 2);
    let cases = [
        ("strict", "1", Policy::Bind(set("1")), vec![(1, MEMORY)]),
        (
            "interleave",
            "0-1",
            Policy::Interleave(set("0-1")),
            vec![(0, half), (1, half)],
        ),
        ("preferred", "1", Policy::Preferred(set("1")), vec![(1, MEMORY)]),
        // Its work is the cpuset's, which the policy does not tell.
        ("restrictive", "0", Policy::Default, vec![(0, MEMORY)]),
    ];
    for (mode, nodes, policy, resident) in cases {
        let memory = memory_of_a_guest(&connection, "", &tuning(mode, nodes));
        assert_eq!(memory.policy(), Some(&policy), "{mode} {nodes}");
        assert_resident(&memory, &resident.into_iter().collect());
    }
    let free = memory_of_a_guest(&connection, "", "");
    assert_eq!(free.policy(), Some(&Policy::Default));
    assert!(!free.nodes().0.is_empty());
}

#[test]
#[ignore = "runs in the lab host"]
fn huge_pages_come_from_the_pool_of_a_node() {
    assert!(stage::is_here());
    let mount = Path::new("/run/hugepages");
    fs::create_dir_all(mount).unwrap();
    let none = None::<&str>;
    nix::mount::mount(none, mount, Some("hugetlbfs"), nix::mount::MsFlags::empty(), none).unwrap();
    let pages = MEMORY.0 / Bytes::mib(2).0;
    fs::write(POOL, pages.to_string()).unwrap();
    assert_eq!(fs::read_to_string(POOL).unwrap().trim(), pages.to_string());
    let connection = connection();

    let memory = memory_of_a_guest(&connection, "<hugepages/>", &tuning("strict", "1"));
    assert_eq!(memory.0[0].page, Bytes::mib(2));
    assert_resident(&memory, &[(1, MEMORY)].into());
}
