//! Generators of pins on machines of any shape.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::{available_levels, level};
use super::*;
use crate::facts::Node;
use crate::tunable::lookup;
use crate::units::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Cores dealt to nodes in turn, as firmware likes to; the second threads come after all first ones.
fn machine(nodes: u16, cores: u16, threads: u16, vcpus: u16) -> Facts {
    let all = nodes * cores;
    let core = |core: u16| (0..threads).map(|t| core + t * all).collect::<CpuSet>();
    let node = |id: u16| Node {
        id,
        cpus: (0..all)
            .filter(|c| c % nodes == id)
            .flat_map(|c| core(c).0)
            .collect(),
        memory: Bytes::mib(1024 * u64::from(id + 1)),
        distances: BTreeMap::new(),
    };
    Facts {
        host_cpus: (0..all * threads).collect(),
        nodes: (0..nodes).map(node).collect(),
        siblings: (0..all).map(core).collect(),
        vcpus,
        iothreads: 2,
        guest_memory: Bytes::mib(1024),
        has: ["iothread".to_string()].into(),
        ..Facts::default()
    }
}

fn made(tunable: &str, word: &str, facts: &Facts) -> Result<String, LevelError> {
    let level = level(&lookup(tunable).unwrap(), word, facts)?;
    assert_eq!(level.label, word);
    Ok(level.settings.last().unwrap().value.to_string())
}

fn pin(word: &str, facts: &Facts) -> Result<String, LevelError> {
    made("domain.cpu.pin", word, facts)
}

/// Two nodes of two cores of two threads: node 0 has cores 0 and 2, so CPUs 0,4 and 2,6.
#[test]
fn generators_follow_nodes_and_cores() {
    let facts = machine(2, 2, 2, 4);
    assert_eq!(pin("compact", &facts).unwrap(), "0=0 1=4 2=2 3=6");
    assert_eq!(pin("spread", &facts).unwrap(), "0=0 1=1 2=2 3=3");
    assert_eq!(pin("sibling-free", &facts).unwrap(), "0=0 1=2 2=1 3=3");
    assert_eq!(
        pin("same-node", &facts).unwrap(),
        "0=1,3,5,7 1=1,3,5,7 2=1,3,5,7 3=1,3,5,7"
    );
    assert_eq!(made("domain.cpu.emulator-pin", "own", &facts).unwrap(), "1,3,5,7");
    assert_eq!(made("domain.cpu.emulator-pin", "all", &facts).unwrap(), "0-7");
    assert_eq!(made("domain.cpu.iothread-pin", "own", &facts).unwrap(), "1=7 2=3");
    assert_eq!(
        made("domain.cpu.iothread-pin", "none", &facts).unwrap(),
        "1=0-7 2=0-7"
    );
    assert_eq!(
        level(&lookup("domain.cpu.iothread-pin").unwrap(), "2=1", &facts)
            .unwrap()
            .settings[0]
            .value
            .as_str(),
        "1=0-7 2=1"
    );
}

#[test]
fn what_a_host_is_too_small_for_is_refused_with_its_numbers() {
    let error = |found: Result<String, LevelError>| found.unwrap_err().to_string();
    let facts = machine(2, 1, 2, 3);
    assert_eq!(
        error(pin("sibling-free", &facts)),
        "level `sibling-free` cannot be used here: the guest has 3 vCPUs, and the host 2 cores (the first CPU of each: \
         0-1)"
    );
    assert_eq!(
        error(pin("same-node", &facts)),
        "level `same-node` cannot be used here: no node has 3 CPUs and 1024 MiB for the guest: node 0 has CPUs 0,2 and \
         1024 MiB, node 1 has CPUs 1,3 and 2048 MiB"
    );
    let full = machine(1, 2, 1, 2);
    assert_eq!(
        error(made("domain.cpu.emulator-pin", "own", &full)),
        "level `own` cannot be used here: the guest's 2 vCPUs leave none of the host's CPUs 0-1 free"
    );
    let unknown = Facts {
        siblings: Vec::new(),
        ..machine(1, 4, 1, 2)
    };
    assert!(error(pin("sibling-free", &unknown)).contains("does not tell"));
    assert!(made("domain.cpu.emulator-pin", "0-9", &full).is_err());
    assert!(
        level(
            &lookup("domain.cpu.iothread-pin").unwrap(),
            "3=0",
            &machine(1, 4, 1, 2)
        )
        .is_err()
    );
}

#[test]
fn the_node_is_large_enough_and_named() {
    let mut facts = machine(3, 2, 1, 2);
    // The largest has too few CPUs.
    facts.nodes[2].cpus = [2].into_iter().collect();
    let pinned = lookup("domain.cpu.pin").unwrap();
    assert_eq!(
        told(&pinned, "same-node", &facts).unwrap(),
        "domain.cpu.pin: same-node is node 1 (CPUs 1,4, 2048 MiB)"
    );
    assert_eq!(pin("same-node", &facts).unwrap(), "0=1,4 1=1,4");
    assert_eq!(told(&pinned, "compact", &facts), None);
}

#[test]
fn only_pins_that_differ_are_listed() {
    let labels = |facts: &Facts| -> Vec<String> {
        let all = available_levels(&lookup("domain.cpu.pin").unwrap(), facts).unwrap();
        all.into_iter().map(|l| l.label).collect()
    };
    assert_eq!(labels(&machine(1, 2, 1, 2)), ["none", "compact"]);
    assert_eq!(
        labels(&machine(2, 2, 2, 2)),
        ["none", "compact", "spread", "same-node", "sibling-free"]
    );
}

proptest! {
    #[test]
    fn maps_name_every_vcpu_and_only_cpus_that_are_online(
        (nodes, cores, threads) in (1u16..5, 1u16..9, 1u16..4),
        vcpus in 1u16..40,
        offline in proptest::collection::btree_set(0u16..64, 0..6),
    ) {
        let mut facts = machine(nodes, cores, threads, vcpus);
        facts.host_cpus.0.retain(|c| *c == 0 || !offline.contains(c));
        for word in lookup("domain.cpu.pin").unwrap().generators() {
            let Ok(map) = pin(word, &facts) else {
                prop_assert!(["sibling-free", "same-node"].contains(word), "{word}");
                continue;
            };
            let pins: Vec<(u16, CpuSet)> = map
                .split(' ')
                .map(|pin| pin.split_once('=').unwrap())
                .map(|(v, cpus)| (v.parse().unwrap(), cpus.parse().unwrap()))
                .collect();
            let named: Vec<u16> = pins.iter().map(|(v, _)| *v).collect();
            prop_assert_eq!(named, (0..vcpus).collect::<Vec<_>>());
            for (_, cpus) in &pins {
                prop_assert!(!cpus.0.is_empty() && cpus.0.is_subset(&facts.host_cpus.0), "{} {}", word, map);
            }
            let single = ["compact", "spread", "sibling-free"].contains(word);
            let taken: CpuSet = pins.iter().flat_map(|(_, cpus)| cpus.iter()).collect();
            if single {
                let most = usize::from(vcpus).min(facts.host_cpus.0.len());
                prop_assert_eq!(taken.0.len(), most, "{} {}", word, map);
            }
            let shared = facts.siblings.iter().any(|core| core.0.intersection(&taken.0).count() > 1);
            prop_assert!(*word != "sibling-free" || !shared, "{}", map);
            if *word == "same-node" {
                prop_assert!(facts.nodes.iter().any(|n| taken.0.is_subset(&n.cpus.0)), "{}", map);
                prop_assert!(taken.0.len() >= usize::from(vcpus));
            }
            if *word == "spread" && usize::from(vcpus) <= facts.nodes.len() {
                let crowded = facts.nodes.iter().any(|n| n.cpus.0.intersection(&taken.0).count() > 1);
                let empty = facts.nodes.iter().any(|n| n.cpus.0.is_disjoint(&facts.host_cpus.0));
                prop_assert!(!crowded || empty, "{}", map);
            }
        }
    }

    #[test]
    fn what_is_own_is_shared_with_no_compact_vcpu(
        (nodes, cores, threads) in (1u16..4, 1u16..6, 1u16..3),
        vcpus in 1u16..12,
    ) {
        let facts = machine(nodes, cores, threads, vcpus);
        let of = |map: String| -> CpuSet {
            map.split(' ').map(|p| p.split_once('=').map_or(p, |(_, c)| c)).flat_map(|c| c.parse::<CpuSet>().unwrap().0).collect()
        };
        let vcpu_cpus = of(pin("compact", &facts).unwrap());
        for tunable in ["domain.cpu.emulator-pin", "domain.cpu.iothread-pin"] {
            match made(tunable, "own", &facts) {
                Ok(own) => prop_assert!(of(own).0.is_disjoint(&vcpu_cpus.0)),
                Err(_) => prop_assert!(vcpu_cpus == facts.host_cpus),
            }
        }
    }
}
