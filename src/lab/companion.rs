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
const ROUTER_MEMORY: Bytes = Bytes::mib(256);
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
