//! Which host CPUs each thread of the guest may use, by the name of a generator or as written.
//!
//! Knows the topology in [`Facts`]; not how a thread is pinned.

use super::LevelError;
use crate::facts::{Facts, Node};
use crate::tunable::{CpuSet, DomainSetting, Home, Tunable};

/// The text of a level that says where threads run, complete: every vCPU or I/O thread is named, so that reading
/// back compares whole maps. `None` when the tunable is no such thing.
pub(super) fn pins(tunable: &Tunable, text: &str, facts: &Facts) -> Result<Option<String>, LevelError> {
    let word = text.trim();
    let map = match &tunable.home {
        Home::Domain(DomainSetting::VcpuPins) => vcpu_pins(tunable, word, facts)?,
        Home::Domain(DomainSetting::IothreadPins) => iothread_pins(tunable, word, facts)?,
        Home::Domain(DomainSetting::EmulatorPin) => {
            return emulator_pin(tunable, word, facts).map(|cpus| Some(cpus.to_string()));
        }
        _ => return Ok(None),
    };
    let written: Vec<_> = map.iter().map(|(id, cpus)| format!("{id}={cpus}")).collect();
    Ok(Some(written.join(" ")))
}

type Map = Vec<(u16, CpuSet)>;

fn vcpu_pins(tunable: &Tunable, word: &str, facts: &Facts) -> Result<Map, LevelError> {
    let vcpus = 0..facts.vcpus;
    Ok(match word {
        "none" => vcpus.map(|v| (v, facts.host_cpus.clone())).collect(),
        "compact" => one_each(vcpus, &compact(facts)),
        "spread" => one_each(vcpus, &spread(facts)),
        "sibling-free" => one_each(vcpus, &sibling_free(facts)?),
        "same-node" => {
            let cpus = same_node(facts)?.map_or_else(|| facts.host_cpus.clone(), |n| cpus_of(n, facts));
            vcpus.map(|v| (v, cpus.clone())).collect()
        }
        explicit => explicit_pins(tunable, explicit, vcpus, "vCPUs", facts)?,
    })
}

/// libvirt counts I/O threads from 1.
fn iothread_pins(tunable: &Tunable, word: &str, facts: &Facts) -> Result<Map, LevelError> {
    let threads = 1..facts.iothreads.saturating_add(1);
    Ok(match word {
        "none" => threads.map(|t| (t, facts.host_cpus.clone())).collect(),
        // From the other end than vCPUs come from.
        "own" => one_each(
            threads,
            &free_of_vcpus(facts)?.into_iter().rev().collect::<Vec<_>>(),
        ),
        explicit => explicit_pins(tunable, explicit, threads, "I/O threads", facts)?,
    })
}

fn emulator_pin(tunable: &Tunable, word: &str, facts: &Facts) -> Result<CpuSet, LevelError> {
    match word {
        "all" => Ok(facts.host_cpus.clone()),
        "own" => Ok(free_of_vcpus(facts)?.into_iter().collect()),
        explicit => {
            let cpus: CpuSet = tunable.kind.parse(explicit)?.as_str().parse()?;
            online(&cpus, explicit, facts)?;
            Ok(cpus)
        }
    }
}

/// One CPU for each thread, in this order; from its beginning again when there are more threads.
fn one_each(threads: std::ops::Range<u16>, order: &[u16]) -> Map {
    let pick = |at: usize| CpuSet::from_iter(order.get(at % order.len().max(1)).copied());
    threads.enumerate().map(|(at, id)| (id, pick(at))).collect()
}

/// A CPU, where it stands.
struct Cpu {
    node: usize,
    /// The first CPU of its core.
    core: u16,
    /// Which of the core's threads it is.
    thread: usize,
    number: u16,
}

fn topology(facts: &Facts) -> Vec<Cpu> {
    let place = |number: u16| {
        let core: Vec<u16> = facts
            .siblings
            .iter()
            .find(|core| core.0.contains(&number))
            .map_or_else(
                || vec![number],
                |core| core.0.intersection(&facts.host_cpus.0).copied().collect(),
            );
        Cpu {
            node: facts
                .nodes
                .iter()
                .position(|node| node.cpus.0.contains(&number))
                .unwrap_or(facts.nodes.len()),
            core: core.first().copied().unwrap_or(number),
            thread: core.iter().position(|c| *c == number).unwrap_or(0),
            number,
        }
    };
    facts.host_cpus.iter().map(place).collect()
}

/// A core is filled before the next, a node before the next.
pub(super) fn compact(facts: &Facts) -> Vec<u16> {
    let mut cpus = topology(facts);
    cpus.sort_by_key(|c| (c.node, c.core, c.number));
    cpus.iter().map(|c| c.number).collect()
}

/// The nodes in turn; of each one thread of every core before the others.
fn spread(facts: &Facts) -> Vec<u16> {
    let mut cpus = topology(facts);
    cpus.sort_by_key(|c| (c.node, c.thread, c.core));
    let mut turns: Vec<(usize, usize, u16)> = Vec::new();
    for cpu in cpus {
        let turn = turns.iter().filter(|(_, node, _)| *node == cpu.node).count();
        turns.push((turn, cpu.node, cpu.number));
    }
    turns.sort_unstable();
    turns.into_iter().map(|(.., cpu)| cpu).collect()
}

/// The first thread of each core, a node before the next.
fn sibling_free(facts: &Facts) -> Result<Vec<u16>, LevelError> {
    let unusable = |why: String| LevelError::Unusable {
        level: "sibling-free".into(),
        why,
    };
    if facts.siblings.is_empty() {
        return Err(unusable(
            "the host does not tell which of its CPUs share a core".into(),
        ));
    }
    let mut cpus = topology(facts);
    cpus.retain(|c| c.thread == 0);
    cpus.sort_by_key(|c| (c.node, c.core));
    let first: Vec<u16> = cpus.iter().map(|c| c.number).collect();
    if usize::from(facts.vcpus) > first.len() {
        let named: CpuSet = first.iter().copied().collect();
        return Err(unusable(format!(
            "the guest has {} vCPUs, and the host {} cores (the first CPU of each: {named})",
            facts.vcpus,
            first.len()
        )));
    }
    Ok(first)
}

fn cpus_of(node: &Node, facts: &Facts) -> CpuSet {
    CpuSet(node.cpus.0.intersection(&facts.host_cpus.0).copied().collect())
}

/// The node that has a CPU for each vCPU and memory for the guest: the one with most memory among those. `None` when
/// the host has no nodes at all.
pub(super) fn same_node(facts: &Facts) -> Result<Option<&Node>, LevelError> {
    let fits = |node: &&Node| {
        cpus_of(node, facts).0.len() >= usize::from(facts.vcpus) && node.memory >= facts.guest_memory
    };
    // Of equals the first.
    let found = facts.nodes.iter().rev().filter(fits).max_by_key(|n| n.memory);
    if found.is_some() || facts.nodes.is_empty() {
        return Ok(found);
    }
    let told = |n: &Node| format!("node {} has CPUs {} and {} MiB", n.id, n.cpus, n.memory.0 >> 20);
    let nodes: Vec<_> = facts.nodes.iter().map(told).collect();
    Err(LevelError::Unusable {
        level: "same-node".into(),
        why: format!(
            "no node has {} CPUs and {} MiB for the guest: {}",
            facts.vcpus,
            facts.guest_memory.0 >> 20,
            nodes.join(", ")
        ),
    })
}

/// CPUs that no vCPU of the compact map uses, in its order.
fn free_of_vcpus(facts: &Facts) -> Result<Vec<u16>, LevelError> {
    let free: Vec<u16> = compact(facts).split_off(usize::from(facts.vcpus).min(facts.host_cpus.0.len()));
    if free.is_empty() {
        return Err(LevelError::Unusable {
            level: "own".into(),
            why: format!(
                "the guest's {} vCPUs leave none of the host's CPUs {} free",
                facts.vcpus, facts.host_cpus
            ),
        });
    }
    Ok(free)
}

fn online(cpus: &CpuSet, written: &str, facts: &Facts) -> Result<(), LevelError> {
    if cpus.0.is_subset(&facts.host_cpus.0) {
        return Ok(());
    }
    Err(LevelError::Unavailable {
        level: written.into(),
        choices: vec![format!("host CPUs {}", facts.host_cpus)],
    })
}

/// Threads that are not named may run everywhere.
fn explicit_pins(
    tunable: &Tunable,
    text: &str,
    threads: std::ops::Range<u16>,
    what: &str,
    facts: &Facts,
) -> Result<Map, LevelError> {
    let value = tunable.kind.parse(text)?;
    let last = threads.end.saturating_sub(1);
    let unavailable = |pin: &str| LevelError::Unavailable {
        level: pin.into(),
        choices: vec![format!("{what} {}-{last}", threads.start)],
    };
    let mut map: Map = threads.clone().map(|id| (id, facts.host_cpus.clone())).collect();
    for pin in value.as_str().split_whitespace() {
        let (thread, cpus) = pin.split_once('=').unwrap_or((pin, ""));
        let cpus: CpuSet = cpus.parse()?;
        online(&cpus, pin, facts)?;
        let slot = map.iter_mut().find(|(id, _)| id.to_string() == thread);
        slot.ok_or_else(|| unavailable(pin))?.1 = cpus;
    }
    Ok(map)
}

/// What a generator chose here that its name does not say.
pub(super) fn told(tunable: &Tunable, word: &str, facts: &Facts) -> Option<String> {
    let name = &tunable.name;
    match (&tunable.home, word) {
        (Home::Domain(DomainSetting::VcpuPins), "same-node") => {
            let node = same_node(facts).ok()??;
            Some(format!(
                "{name}: same-node is node {} (CPUs {}, {} MiB)",
                node.id,
                cpus_of(node, facts),
                node.memory.0 >> 20
            ))
        }
        (Home::Domain(DomainSetting::EmulatorPin | DomainSetting::IothreadPins), "own") => {
            let free: CpuSet = free_of_vcpus(facts).ok()?.into_iter().collect();
            let used: CpuSet = compact(facts).into_iter().take(facts.vcpus.into()).collect();
            Some(format!(
                "{name}: own is of CPUs {free}, which the vCPUs leave when compact on {used}"
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
