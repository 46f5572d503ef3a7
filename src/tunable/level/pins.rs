//! Pin maps: which host CPUs each vCPU or I/O thread may use, by the name of a generator or as written.
//!
//! Knows the topology in [`Facts`]; not how a thread is pinned.

use super::LevelError;
use crate::facts::Facts;
use crate::tunable::{CpuSet, DomainSetting, Home, Tunable};
use std::ops::Range;

/// The threads that are pinned: vCPUs from 0, or libvirt's I/O threads from 1.
fn threads(tunable: &Tunable, facts: &Facts) -> Range<u16> {
    match tunable.home {
        Home::Domain(DomainSetting::IothreadPins) => 1..facts.iothreads.saturating_add(1),
        _ => 0..facts.vcpus,
    }
}

/// Pin maps by generator name; every thread is named, so that reading back compares whole maps.
pub(super) fn pins(tunable: &Tunable, text: &str, facts: &Facts) -> Result<String, LevelError> {
    let all = &facts.host_cpus;
    let cpus: Vec<u16> = all.iter().collect();
    let one_each = |order: Vec<u16>| {
        let pick = |n: usize| CpuSet::from_iter(order.get(n % order.len().max(1)).copied());
        (0..)
            .zip(threads(tunable, facts))
            .map(|(n, thread)| (thread, pick(n)))
            .collect::<Vec<_>>()
    };
    let map = match text.trim() {
        "none" => threads(tunable, facts).map(|v| (v, all.clone())).collect(),
        "compact" => one_each(cpus),
        "spread" => one_each(spread_order(facts)),
        "same-node" => {
            let node = facts
                .nodes
                .iter()
                .max_by_key(|n| n.memory)
                .map_or(all, |n| &n.cpus);
            threads(tunable, facts).map(|v| (v, node.clone())).collect()
        }
        explicit => explicit_pins(tunable, explicit, facts)?,
    };
    let written: Vec<_> = map.iter().map(|(vcpu, cpus)| format!("{vcpu}={cpus}")).collect();
    Ok(written.join(" "))
}

/// CPUs taken from the nodes in turn.
fn spread_order(facts: &Facts) -> Vec<u16> {
    let nodes: Vec<Vec<u16>> = facts.nodes.iter().map(|n| n.cpus.iter().collect()).collect();
    let longest = nodes.iter().map(Vec::len).max().unwrap_or(0);
    (0..longest)
        .flat_map(|i| nodes.iter().filter_map(move |n| n.get(i).copied()))
        .collect()
}

fn explicit_pins(tunable: &Tunable, text: &str, facts: &Facts) -> Result<Vec<(u16, CpuSet)>, LevelError> {
    let value = tunable.kind.parse(text)?;
    let unavailable = |level: &str, choices| LevelError::Unavailable {
        level: level.into(),
        choices,
    };
    let all = || threads(tunable, facts);
    let mut map: Vec<_> = all().map(|v| (v, facts.host_cpus.clone())).collect();
    for pin in value.as_str().split_whitespace() {
        let (vcpu, cpus) = pin.split_once('=').unwrap_or((pin, ""));
        let cpus: CpuSet = cpus.parse()?;
        if !cpus.0.is_subset(&facts.host_cpus.0) {
            return Err(unavailable(pin, vec![format!("host CPUs {}", facts.host_cpus)]));
        }
        match map.iter_mut().find(|(v, _)| v.to_string() == vcpu) {
            Some(slot) => slot.1 = cpus,
            None => {
                let numbers: CpuSet = all().collect();
                let whose = match tunable.home {
                    Home::Domain(DomainSetting::IothreadPins) => "I/O threads",
                    _ => "vCPUs",
                };
                return Err(unavailable(pin, vec![format!("{whose} {numbers}")]));
            }
        }
    }
    Ok(map)
}
