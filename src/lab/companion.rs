//! The guests of a lab beside the one that is measured: neighbours, and the router of a long path.
//!
//! Knows how they are defined; does not start them, and does not know what they run.

use super::image::Image;
use super::router::ROUTER_ADDRESS;
use super::{LabPlace, Slice, domain};
use crate::experiment::Company;
use crate::units::Bytes;
use std::net::Ipv4Addr;

/// The companion that is the router.
pub const ROUTER: &str = "router";
/// What it holds.
pub const ROUTER_MEMORY: Bytes = Bytes::mib(256);
/// Neighbours are 10.77.0.3 and so on: there are eight at most.
const FIRST: u8 = 3;

/// One guest beside the one that is measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Companion {
    /// The neighbour's name, or [`ROUTER`].
    pub name: String,
    /// Its domain XML.
    pub definition: String,
    /// Its address on the lab's bridge.
    pub address: Ipv4Addr,
}

/// Everybody in `company`; the guest itself has the first `offset` bytes of the data disk.
pub(super) fn companions(
    place: &LabPlace,
    company: &Company,
    offset: Bytes,
    image: &Image,
    loop_device: &str,
    kvm: bool,
) -> Vec<Companion> {
    let mut offset = offset.0;
    let mut all = Vec::new();
    for (neighbour, last) in company.neighbours.iter().zip(FIRST..) {
        let address = Ipv4Addr::new(10, 77, 0, last);
        let part = Slice::Part {
            offset,
            size: neighbour.disk.0,
        };
        offset += neighbour.disk.0;
        let parts = domain::Parts {
            place,
            name: format!("{}-{}", place.domain(), neighbour.name),
            console: format!("console-{}", neighbour.name),
            vcpus: neighbour.vcpus,
            memory: neighbour.memory,
            image,
            disk: Some((loop_device, part)),
            address,
            is_router: false,
            kvm,
        };
        all.push(Companion {
            name: neighbour.name.clone(),
            definition: domain::definition(&parts),
            address,
        });
    }
    if company.path.is_some() {
        let parts = domain::Parts {
            place,
            name: format!("{}-{ROUTER}", place.domain()),
            console: format!("console-{ROUTER}"),
            vcpus: 1,
            memory: ROUTER_MEMORY,
            image,
            disk: None,
            address: ROUTER_ADDRESS,
            is_router: true,
            kvm,
        };
        all.push(Companion {
            name: ROUTER.into(),
            definition: domain::definition(&parts),
            address: ROUTER_ADDRESS,
        });
    }
    all
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::image::ImageHash;
    use super::*;
    use crate::experiment::{LongPath, Neighbour};
    use crate::units::{Percent, Span};
    use roxmltree::Document;
    use std::path::Path;

    fn neighbour(name: &str, disk: u64) -> Neighbour {
        Neighbour {
            name: name.into(),
            workload: None,
            uses: None,
            vcpus: 1,
            memory: Bytes::mib(256),
            disk: Bytes::mib(disk),
        }
    }

    #[test]
    fn each_has_its_own_name_address_and_part_of_the_disk() {
        let place = LabPlace::new(Path::new("/var/tmp"));
        let image = Image {
            kernel: "/k".into(),
            initrd: "/i".into(),
            tools: "/t".into(),
            release: "6.1".into(),
            hash: ImageHash(String::new()),
        };
        let company = Company {
            neighbours: vec![neighbour("hog", 160), neighbour("other", 200)],
            path: Some(LongPath {
                rtt: Span::secs(1),
                loss: Percent(0.0),
                rate: None,
                queue: 10,
            }),
        };
        let all = companions(&place, &company, Bytes::mib(64), &image, "loop7", false);
        let names: Vec<_> = all.iter().map(|c| c.name.as_str()).collect();
        assert_eq!(names, ["hog", "other", ROUTER]);
        let documents: Vec<_> = all
            .iter()
            .map(|c| Document::parse(&c.definition).unwrap())
            .collect();
        let text = |d: &Document<'_>, tag: &str| {
            let node = d.descendants().find(|n| n.has_tag_name(tag));
            node.and_then(|n| n.text()).unwrap_or_default().to_string()
        };
        let slice = |d: &Document<'_>| {
            let node = d.descendants().find(|n| n.has_tag_name("slice"))?;
            let number = |key| node.attribute(key)?.parse::<u64>().ok();
            Some((number("offset")? >> 20, number("size")? >> 20))
        };
        let slices: Vec<_> = documents.iter().map(slice).collect();
        assert_eq!(slices, [Some((64, 160)), Some((224, 200)), None]);
        let mut addresses = Vec::new();
        for (companion, document) in all.iter().zip(&documents) {
            // A leftover is found by the lab's id.
            assert_eq!(
                text(document, "name"),
                format!("{}-{}", place.domain(), companion.name)
            );
            assert!(text(document, "cmdline").contains(&format!("kvmtune.ip={}/", companion.address)));
            let links = document.descendants().filter(|n| n.has_tag_name("mac"));
            addresses.extend(links.filter_map(|n| n.attribute("address").map(str::to_string)));
        }
        assert_eq!(addresses.len(), 4, "the router has two: {addresses:?}");
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), 4, "{addresses:?}");
    }
}
