//! The host as libvirt describes it. It does not read sysfs itself.

use roxmltree::{Document, Node};

use super::CpuMap;

/// CPUs and memory of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// The CPU model as libvirt names it, such as `x86_64`.
    pub model: String,
    /// Active CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// NUMA cells, in libvirt's order; at least one on any host libvirt knows.
    pub cells: Vec<NumaCell>,
}

/// One NUMA cell of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumaCell {
    /// The kernel's node number.
    pub id: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// The cell's CPUs.
    pub cpus: CpuMap,
}

/// Reads `<host><topology><cells>` of the capabilities.
pub(super) fn parse_cells(capabilities: &str) -> Result<Vec<NumaCell>, String> {
    let document = Document::parse(capabilities).map_err(|e| format!("capabilities are not XML: {e}"))?;
    let host = child(document.root_element(), "host");
    let cells = host
        .and_then(|n| child(n, "topology"))
        .and_then(|n| child(n, "cells"));
    let Some(cells) = cells else { return Ok(Vec::new()) };
    cells
        .children()
        .filter(|n| n.has_tag_name("cell"))
        .map(parse_cell)
        .collect()
}

fn parse_cell(cell: Node) -> Result<NumaCell, String> {
    let id = number(cell, "id")?;
    let memory_bytes = match child(cell, "memory") {
        // libvirt always writes this element in KiB.
        Some(memory) => {
            let kib = memory.text().and_then(|t| t.trim().parse::<u64>().ok());
            kib.and_then(|k| k.checked_mul(1024))
                .ok_or("a NUMA cell's memory is no number")?
        }
        None => 0,
    };
    let cpus = child(cell, "cpus").into_iter().flat_map(|n| n.children());
    let cpus: Result<CpuMap, String> = cpus
        .filter(|n| n.has_tag_name("cpu"))
        .map(|n| number(n, "id"))
        .collect();
    Ok(NumaCell {
        id,
        memory_bytes,
        cpus: cpus?,
    })
}

fn child<'a>(node: Node<'a, 'a>, name: &str) -> Option<Node<'a, 'a>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn number(node: Node, attribute: &str) -> Result<u32, String> {
    let text = node.attribute(attribute).unwrap_or_default();
    text.parse()
        .map_err(|_| format!("<{}> has {attribute} {text:?}, no number", node.tag_name().name()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn cells_with_their_cpus_and_memory() {
        let xml = "<capabilities><host><topology><cells num='2'>\
            <cell id='0'><memory unit='KiB'>1024</memory><cpus num='2'><cpu id='0'/><cpu id='2'/></cpus></cell>\
            <cell id='1'><cpus num='1'><cpu id='1'/></cpus></cell>\
            </cells></topology></host></capabilities>";
        let cells = parse_cells(xml).unwrap();
        assert_eq!(cells[0].memory_bytes, 1 << 20);
        assert_eq!(cells[0].cpus.to_string(), "0,2");
        assert_eq!(cells[1].cpus.to_string(), "1");
        assert!(parse_cells("<capabilities/>").unwrap().is_empty());
        assert!(parse_cells("<cap").is_err());
        assert!(parse_cells(&xml.replace("id='2'", "id='x'")).is_err());
    }
}
