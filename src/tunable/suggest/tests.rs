//! The levels of each rule on made-up machines, with the arithmetic word for word.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::facts::{NetworkFacts, Node, Ram};
use crate::tunable::{CpuSet, lookup};
use crate::units::Bytes;
use std::collections::BTreeMap;

const READINGS: [(&str, &str); 24] = [
    ("guest:/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("guest:/proc/sys/net/core/rmem_max", "212992\n"),
    ("host:/proc/sys/net/core/netdev_max_backlog", "1000\n"),
    ("guest:/proc/sys/net/ipv4/tcp_mem", "5751 7669 11502\n"),
    ("guest:/proc/sys/net/netfilter/nf_conntrack_max", "3840\n"),
    ("host:/proc/sys/vm/dirty_bytes", "0\n"),
    ("host:/proc/sys/vm/dirty_ratio", "20\n"),
    ("guest:/proc/sys/vm/dirty_ratio", "20\n"),
    ("guest:/proc/sys/vm/min_free_kbytes", "2834\n"),
    ("host:/proc/sys/vm/swappiness", "60\n"),
    (
        "host:/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "10\n",
    ),
    (
        "host:/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages",
        "7\n",
    ),
    (
        "host:/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages",
        "0\n",
    ),
    (
        "host:/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages",
        "0\n",
    ),
    (
        "guest:/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        "0\n",
    ),
    (
        "host:/sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        "4\n",
    ),
    (
        "host:/sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages",
        "4\n",
    ),
    ("domain XML hugepages", "off"),
    ("guest:/sys/block/vdb/queue/read_ahead_kb", "128\n"),
    ("guest:/sys/block/vdb/queue/scheduler", "[none] mq-deadline"),
    ("domain vCPU pins", "0=0-7 1=0-7 2=0-7 3=0-7"),
    ("domain emulator pin", "0-7"),
    ("domain XML cpu topology", "4x1x1"),
    ("domain XML disk cache", "none"),
];

/// Two nodes of two cores of two threads; the second node is too small for the guest.
fn facts() -> Facts {
    let set = |text: &str| text.parse::<CpuSet>().unwrap();
    let node = |id, cpus: &str, memory| Node {
        id,
        cpus: set(cpus),
        memory: Bytes::mib(memory),
        distances: BTreeMap::new(),
    };
    let ram = |total, available| Ram {
        total: Bytes::mib(total),
        available: Bytes::mib(available),
    };
    Facts {
        host_cpus: set("0-7"),
        nodes: vec![node(0, "0-3", 4096), node(1, "4-7", 1024)],
        siblings: ["0,2", "1,3", "4,6", "5,7"].map(set).to_vec(),
        vcpus: 4,
        iothreads: 1,
        guest_memory: Bytes::mib(2048),
        host_ram: Some(ram(5120, 4000)),
        guest_ram: Some(ram(2000, 1800)),
        network: Some(NetworkFacts {
            bandwidth: 1_100_000_000,
            rtt: 900,
            link_speed: None,
        }),
        guest_disk: Some("vdb".into()),
        guest_modules: ["bfq".to_string(), "nf_conntrack".into()].into(),
        has: ["hugetlbfs".to_string(), "iothread".into()].into(),
        readings: READINGS.map(|(at, raw)| (at.to_string(), raw.to_string())).into(),
        ..Facts::default()
    }
}

fn told_of(tunable: &str, facts: &Facts) -> String {
    match suggest(&lookup(tunable).unwrap(), facts) {
        Ok(found) => format!("{}\n{}", found.levels.join(" | "), found.arithmetic.join("\n")),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn every_rule_tells_its_arithmetic() {
    let shown: Vec<_> = [
        "guest.net.tcp-rmem",
        "guest.net.rmem-max",
        "guest-sysctl:net.core.rmem_max",
        "host.net.netdev-max-backlog",
        "guest.net.tcp-mem",
        "guest.net.conntrack-max",
        "host.dirty-bytes",
        "host.dirty-ratio",
        "guest.dirty-ratio",
        "guest.min-free-kbytes",
        "host.swappiness",
        "host.hugepages.2MiB",
        "host.hugepages.2MiB.node1",
        "host.hugepages.1GiB",
        "guest.hugepages.2MiB",
        "domain.memory.hugepages",
        "guest.disk.read-ahead-kb",
        "guest.disk.scheduler",
        "domain.disk.cache",
        "domain.disk.queues",
        "domain.cpu.pin",
        "domain.cpu.emulator-pin",
        "domain.cpu.iothread-pin",
        "domain.cpu.topology",
        "domain.numa.nodeset",
        "domain.numa.placement",
    ]
    .iter()
    .map(|tunable| format!("{tunable}\n{}\n\n", told_of(tunable, &facts())))
    .collect();
    insta::assert_snapshot!(shown.concat());
}

#[test]
fn what_is_not_known_is_said() {
    let bare = Facts {
        network: None,
        host_ram: None,
        ..facts()
    };
    let mut simulated = bare.clone();
    simulated
        .record
        .insert(crate::facts::SIMULATED.into(), "model.toml".into());
    let small = Facts {
        vcpus: 1,
        host_ram: Some(Ram {
            total: Bytes::mib(3000),
            available: Bytes::mib(1000),
        }),
        ..facts()
    };
    let shown: Vec<_> = [
        ("guest.net.tcp-rmem", &bare),
        ("guest.net.tcp-rmem", &simulated),
        ("host.dirty-bytes", &bare),
        ("host.hugepages.1GiB", &small),
        ("domain.memory.hugepages", &small),
        ("domain.cpu.topology", &small),
        ("domain.disk.queues", &small),
        ("host.thp", &bare),
        ("host.net.tcp-mem", &bare),
    ]
    .iter()
    .map(|(tunable, facts)| format!("{tunable}: {}", told_of(tunable, facts)))
    .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn buffers_follow_the_link_and_the_memory() {
    let levels = |bandwidth, rtt, link_speed| {
        let network = Some(NetworkFacts {
            bandwidth,
            rtt,
            link_speed,
        });
        let facts = Facts { network, ..facts() };
        suggest(&lookup("guest.net.rmem-max").unwrap(), &facts)
            .unwrap()
            .levels
    };
    let mib = |n: u64| (n << 20).to_string();
    assert_eq!(
        levels(9_000_000_000, 10_000, None),
        ["212992".to_string(), mib(16), mib(32), mib(64), mib(54)]
    );
    // A slow stream over a fast link.
    assert!(levels(100_000_000, 1000, Some(10_000_000_000)).contains(&mib(54)));
    // An eighth of the available memory is 225 MiB; what is more is not suggested.
    assert!(!levels(u64::MAX, 60_000_000, None).contains(&u64::MAX.to_string()));
    assert_eq!(levels(1, 1, None), ["212992", "65536"]);
}

#[test]
fn what_is_set_now_is_always_there_and_never_twice() {
    for tunable in catalogue().iter().filter(|t| t.rule().is_some()) {
        let Ok(found) = suggest(tunable, &facts()) else {
            continue;
        };
        let levels: Vec<_> = found
            .levels
            .iter()
            .map(|l| level(tunable, l, &facts()).unwrap())
            .collect();
        let name = &tunable.name;
        if let Ok(now) = ambient_level(tunable, &facts()) {
            assert!(levels.iter().any(|l| l.settings == now.settings), "{name}");
        }
        for (i, one) in levels.iter().enumerate() {
            assert!(
                levels[..i].iter().all(|l| l.settings != one.settings),
                "{name} {one:?}"
            );
        }
        assert!(levels.len() >= 2, "{name}");
        assert!(
            found
                .arithmetic
                .iter()
                .all(|l| l.starts_with(&format!("{name}: "))),
            "{name}"
        );
    }
}

#[test]
fn steps_of_the_table_are_legal() {
    for tunable in catalogue() {
        if let Some(Rule::Steps(steps)) = &tunable.suggest {
            for step in steps {
                assert!(tunable.kind.parse(step).is_ok(), "{} {step}", tunable.name);
            }
        }
    }
    let without = [
        "domain.cpu.shares",
        "domain.emulator",
        "sysctl:kernel.watchdog_thresh",
    ];
    assert!(without.iter().all(|name| lookup(name).unwrap().rule().is_none()));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    /// Guests say anything of themselves; no number may bring a rule down.
    #[test]
    fn no_amount_overflows(bandwidth: u64, rtt: u64, speed: Option<u64>, total: u64, available: u64, vcpus in 0u16..2000) {
        let ram = Some(Ram { total: Bytes(total), available: Bytes(available) });
        let facts = Facts {
            network: Some(NetworkFacts { bandwidth, rtt, link_speed: speed }),
            host_ram: ram,
            guest_ram: ram,
            guest_memory: Bytes(total),
            vcpus,
            ..facts()
        };
        for tunable in catalogue().iter().filter(|t| t.suggest.is_some()) {
            let _ = suggest(tunable, &facts);
        }
    }
}
