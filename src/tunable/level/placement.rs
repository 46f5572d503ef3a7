//! Placements: which host CPUs all vCPUs share, and which nodes their memory is from, by a word or as written.
//!
//! Knows the nodes in [`Facts`]; not how memory is bound.

use super::LevelError;
use crate::facts::{Facts, Node};
use crate::tunable::{CpuSet, Tunable};

/// True for a word that makes a placement from the host's nodes.
pub(in crate::tunable) fn is_placement_word(text: &str) -> bool {
    matches!(text, "none" | "same-node" | "interleave") || node_number(text).is_some()
}

fn node_number(text: &str) -> Option<u16> {
    let number = text.strip_prefix("node")?;
    number.parse().ok().filter(|n: &u16| n.to_string() == number)
}

/// The words there are for this host.
pub(super) fn words(facts: &Facts) -> Vec<String> {
    let nodes = facts.nodes.iter().filter(|n| usable(n));
    let nodes = nodes.map(|n| format!("node{}", n.id));
    ["none".to_string()]
        .into_iter()
        .chain(nodes)
        .chain(["interleave".into()])
        .collect()
}

/// A node of memory alone cannot run anything, and one without memory holds nothing.
fn usable(node: &Node) -> bool {
    !node.cpus.0.is_empty() && node.memory.0 > 0
}

/// The placement as written, or as a word means it here.
pub(super) fn placement(tunable: &Tunable, text: &str, facts: &Facts) -> Result<String, LevelError> {
    let unusable = |why: String| LevelError::Unusable {
        level: text.trim().into(),
        why,
    };
    let on = |node: &Node| format!("cpus={} nodes={} mode=strict", node.cpus, node.id);
    match text.trim() {
        "none" => Ok("none".into()),
        // As for pins: the node with the most memory.
        "same-node" => {
            let nodes = facts.nodes.iter().filter(|n| usable(n));
            let node = nodes.max_by_key(|n| (n.memory, std::cmp::Reverse(n.id)));
            let node = node.ok_or_else(|| unusable("no node of the host has both CPUs and memory".into()))?;
            if node.memory < facts.guest_memory {
                return Err(unusable(format!(
                    "node {} has {}, and the guest {}",
                    node.id, node.memory, facts.guest_memory
                )));
            }
            Ok(on(node))
        }
        "interleave" => {
            let nodes = facts.nodes.iter().filter(|n| n.memory.0 > 0);
            let nodes = CpuSet::from_iter(nodes.map(|n| n.id));
            Ok(format!("cpus={} nodes={nodes} mode=interleave", facts.host_cpus))
        }
        word if node_number(word).is_some() => {
            let id = node_number(word);
            let node = facts.nodes.iter().find(|n| Some(n.id) == id && usable(n));
            let node = node.ok_or_else(|| LevelError::Unavailable {
                level: word.into(),
                choices: words(facts),
            })?;
            Ok(on(node))
        }
        explicit => {
            let value = tunable.kind.parse(explicit)?;
            for part in value.as_str().split_whitespace() {
                let (name, set) = part.split_once('=').unwrap_or((part, ""));
                let (all, what) = match name {
                    "cpus" => (facts.host_cpus.clone(), "CPUs"),
                    "nodes" => (CpuSet::from_iter(facts.nodes.iter().map(|n| n.id)), "nodes"),
                    _ => continue,
                };
                if !set.parse::<CpuSet>()?.0.is_subset(&all.0) {
                    return Err(unusable(format!("the host has {what} {all} only")));
                }
            }
            Ok(value.to_string())
        }
    }
}
