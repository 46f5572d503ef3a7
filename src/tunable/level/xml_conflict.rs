//! Parts of the domain XML that cannot hold together, and why: what libvirt or QEMU would refuse, or quietly change.
//!
//! Pure: judges by settings and by what was found where no setting is.

use super::{Setting, SettingRole};
use crate::facts::{Facts, Meaning};
use crate::tunable::{ABSENT, Address, Home, XmlSetting, catalogue};

/// Why these settings cannot hold together.
pub(super) fn conflict(settings: &[Setting], facts: &Facts) -> Option<String> {
    other_format(settings, facts)
        .or_else(|| modeless_nodes(settings))
        .or_else(|| kept_zeroes(settings, facts))
        .or_else(|| thread_without_events(settings, facts))
}

/// The format of the data disk is said, never guessed: an image of another one would be a disk of garbage, and what is
/// written would destroy it.
fn other_format(settings: &[Setting], facts: &Facts) -> Option<String> {
    let named = |address: &Address| settings.iter().rev().find(|s| s.address == *address);
    let format_address = place_of("domain.disk.format")?;
    let before = facts.reading(&format_address).unwrap_or("raw");
    let format = named(&format_address).map_or(before, |s| s.value.as_str());
    let image_address = Address::DomainXml(XmlSetting::DiskImage);
    let Some(image) = named(&image_address).map(|s| s.value.as_str()) else {
        return (format != before).then(|| {
            format!("the data disk's image is {before}; domain.disk.format={format} needs a domain.disk.image of it")
        });
    };
    match facts.meaning(&image_address, image) {
        Some(Meaning::Image { format: found }) if found != format => Some(format!(
            "{image} is {found} and the disk would be {format}; set domain.disk.format={found} with it, or convert it \
             with qemu-img"
        )),
        _ => None,
    }
}

/// Where a part of the domain XML stands, by the tunable's name.
pub(super) fn place_of(name: &str) -> Option<Address> {
    let tunable = catalogue().iter().find(|t| t.name == name)?;
    match &tunable.home {
        Home::DomainXml(setting) => Some(Address::DomainXml(setting.clone())),
        _ => None,
    }
}

/// The value of a part of the domain XML: as set, or as it was found.
fn value_of<'s>(name: &str, settings: &'s [Setting], facts: &'s Facts) -> Option<&'s str> {
    let address = place_of(name)?;
    let set = settings.iter().rev().find(|s| s.address == address);
    set.map(|s| s.value.as_str()).or_else(|| facts.reading(&address))
}

/// Source: libvirt's `virDomainDiskGetDetectZeroesMode`: without discard it looks for zeroes and writes them.
fn kept_zeroes(settings: &[Setting], facts: &Facts) -> Option<String> {
    let unmaps = value_of("domain.disk.detect-zeroes", settings, facts) == Some("unmap");
    let kept = value_of("domain.disk.discard", settings, facts) != Some("unmap");
    (unmaps && kept).then(|| "domain.disk.detect-zeroes=unmap needs domain.disk.discard=unmap".into())
}

/// Source: QEMU's hw/block/dataplane/virtio-blk.c, "ioeventfd is required for iothread".
fn thread_without_events(settings: &[Setting], facts: &Facts) -> Option<String> {
    let threaded = value_of("domain.disk.iothread", settings, facts)
        .is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n > 0));
    let silent = value_of("domain.disk.ioeventfd", settings, facts) == Some("off");
    (threaded && silent).then(|| "domain.disk.iothread needs domain.disk.ioeventfd=on".into())
}

fn modeless_nodes(settings: &[Setting]) -> Option<String> {
    let set = |place: XmlSetting| {
        let address = Address::DomainXml(place);
        settings.iter().find(|s| s.address == address)
    };
    let none = set(XmlSetting::NumaMode).filter(|mode| mode.value.as_str() == "none")?;
    let nodes = set(XmlSetting::NumaNodes).filter(|nodes| nodes.value.as_str() != ABSENT)?;
    let own = [none, nodes].iter().all(|s| s.role == SettingRole::Own);
    own.then(|| "domain.numa.nodeset means nothing with domain.numa.mode=none".into())
}
