//! Levels from the topology of host and guest: pins, queues, nodes.

use super::words::{list, size};
use super::{Draft, Ground};
use crate::facts::Node;
use crate::tunable::{CpuSet, LevelError, level, told};

/// Each generator whose pins differ from those before it.
pub(super) fn pins(on: &Ground<'_>) -> Draft {
    let mut draft = Draft::default();
    let mut made: Vec<(&str, String)> = Vec::new();
    for word in on.tunable.generators() {
        let found = match level(on.tunable, word, on.facts) {
            Ok(found) => found,
            Err(error) => {
                draft.lines.push(format!("left out, {error}"));
                continue;
            }
        };
        let value = found
            .settings
            .last()
            .map(|s| s.value.to_string())
            .unwrap_or_default();
        if let Some((same, _)) = made.iter().find(|(_, known)| *known == value) {
            draft.lines.push(format!("{word} is the same as {same} here"));
            continue;
        }
        let name = &on.tunable.name;
        let told = told(on.tunable, word, on.facts);
        let told = told.and_then(|t| Some(t.strip_prefix(&format!("{name}: "))?.to_string()));
        draft
            .lines
            .push(told.unwrap_or_else(|| format!("{word} is {value}")));
        draft.levels.push((*word).to_string());
        made.push((word, value));
    }
    draft
}

/// More than these are rather taken from the middle than from the ends.
const MAX_QUEUES: usize = 5;

pub(super) fn queues(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let vcpus = on.facts.vcpus;
    if vcpus < 2 {
        return Err(on.nothing(format!("{vcpus} vCPU has no use for a second queue")));
    }
    let mut levels: Vec<u16> = (0..16).map(|n| 1 << n).take_while(|n| *n < vcpus).collect();
    levels.push(vcpus);
    while levels.len() > MAX_QUEUES {
        levels.remove(1);
    }
    let levels: Vec<_> = levels.iter().map(ToString::to_string).collect();
    let line = format!(
        "powers of two up to one for each of {vcpus} vCPUs: {}",
        list(&levels)
    );
    Ok(Draft::new(levels, line))
}

pub(super) fn topology(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let vcpus = on.facts.vcpus;
    if vcpus < 2 {
        return Err(on.nothing(format!("{vcpus} vCPU has one topology only")));
    }
    let mut levels = vec![format!("{vcpus}x1x1"), format!("1x{vcpus}x1")];
    let mut parts = vec![format!("{vcpus} vCPUs as sockets or as cores of one")];
    let threads = on
        .facts
        .siblings
        .iter()
        .map(|core| core.0.len())
        .max()
        .unwrap_or(1);
    if threads < 2 {
        parts.push("not as threads, which the host's cores do not have".into());
    } else if vcpus.is_multiple_of(2) {
        parts.push("as threads in pairs, as on the host".into());
        levels.push(format!("1x{}x2", vcpus / 2));
    }
    let nodes = u16::try_from(on.facts.nodes.len()).unwrap_or(1);
    if nodes > 1 && vcpus > nodes && vcpus.is_multiple_of(nodes) {
        parts.push(format!("in {nodes} sockets, as many as the host has nodes"));
        levels.push(format!("{nodes}x{}x1", vcpus / nodes));
    }
    Ok(Draft::new(levels, parts.join("; ")))
}

/// The nodes that can hold the guest's memory, and what is told of all.
fn fitting<'f>(on: &Ground<'f>) -> (Vec<&'f Node>, String) {
    let need = on.facts.guest_memory.0;
    let (fit, small): (Vec<&Node>, Vec<&Node>) = on.facts.nodes.iter().partition(|n| n.memory.0 >= need);
    let named = |nodes: &[&Node]| {
        let each: Vec<_> = nodes
            .iter()
            .map(|n| format!("node {} ({})", n.id, size(n.memory.0)))
            .collect();
        list(&each)
    };
    let line = format!("the guest's {} fit into {}", size(need), named(&fit));
    let rest = match small.as_slice() {
        [] => String::new(),
        small => format!(", not into {}", named(small)),
    };
    (fit, line + &rest)
}

/// The ends of a long row of nodes would be left out else.
const MAX_NODES: usize = 3;

pub(super) fn nodes(on: &Ground<'_>) -> Draft {
    let (fit, line) = fitting(on);
    let all: CpuSet = on.facts.nodes.iter().map(|n| n.id).collect();
    let single = fit.iter().take(MAX_NODES).map(|n| n.id.to_string());
    let line = format!("{line}; all nodes are {all}");
    Draft::new(single.chain([all.to_string()]).collect::<Vec<_>>(), line)
}

pub(super) fn placement(on: &Ground<'_>) -> Draft {
    let (mut fit, line) = fitting(on);
    fit.retain(|n| n.cpus.0.len() >= usize::from(on.facts.vcpus));
    let line = format!(
        "{line}; {} vCPUs each have a CPU on {} of these",
        on.facts.vcpus,
        fit.len()
    );
    let mut levels = vec!["none".to_string()];
    levels.extend(fit.iter().take(MAX_NODES).map(|n| format!("node{}", n.id)));
    if !fit.is_empty() {
        levels.push("same-node".into());
    }
    levels.push("interleave".into());
    Draft::new(levels, line)
}
