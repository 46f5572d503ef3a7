//! Where a setting stands in a domain's definition, so that the next start of the guest has it.
//!
//! Live values of a domain get the places that libvirt reads them from at a start. Knows libvirt's names of them; edits no
//! XML, and does not know what stands there now.
//!
//! Source: formatdomain.html of libvirt, "CPU Tuning", "Memory Tuning", "Block I/O Tuning", "Hard drives", "MTU".

use crate::tunable::{
    ABSENT, Address, CpuSet, DomainSetting, LinkField, ParameterGroup, XmlPlace, XmlSetting,
};
use std::collections::BTreeMap;

/// libvirt's number of KiB for no limit.
const NO_LIMIT: &str = "9007199254740991";

/// Parts of a definition, each with the text that is to stand there.
pub type Places = BTreeMap<XmlSetting, String>;

/// What is known of the domain that gets the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape<'d> {
    /// Number of its vCPUs.
    pub vcpus: u16,
    /// Number of its I/O threads.
    pub iothreads: u16,
    /// The host's block device behind its data disk: `/dev/sda`.
    pub device: Option<&'d str>,
}

/// Why a setting cannot stand in a definition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} cannot be kept in a domain's definition: {why}")]
pub struct NoPlace {
    /// The setting's place now.
    pub address: String,
    /// The reason, and what else can be done.
    pub why: String,
}

/// Whether a setting is one of the domain, to be kept in its definition.
pub fn is_of_domain(address: &Address) -> bool {
    match address {
        Address::Domain(_) | Address::DomainXml(_) | Address::HostLink(_) | Address::Neighbour(_) => true,
        Address::HostFile { .. }
        | Address::HostBoot(_)
        | Address::GuestFile { .. }
        | Address::GuestModule(_)
        | Address::GuestCommand(_) => false,
    }
}

/// The parts of a definition that `value` at `address` comes to.
pub fn places(address: &Address, value: &str, shape: Shape<'_>) -> Result<Places, NoPlace> {
    let none = |why: &str| {
        Err(NoPlace {
            address: address.to_string(),
            why: why.to_string(),
        })
    };
    let one =
        |path: String, default: Option<&str>| place(&path, default).map(|p| [(p, value.to_string())].into());
    let made = match address {
        Address::DomainXml(setting) => Ok([(setting.clone(), value.to_string())].into()),
        Address::Domain(DomainSetting::VcpuPins) => {
            pins(value, 0..shape.vcpus, |n| format!("vcpupin[@vcpu='{n}']"))
        }
        Address::Domain(DomainSetting::IothreadPins) => {
            pins(value, 1..shape.iothreads.saturating_add(1), |n| {
                format!("iothreadpin[@iothread='{n}']")
            })
        }
        Address::Domain(DomainSetting::EmulatorPin) => {
            one("/domain/cputune/emulatorpin/@cpuset".into(), None)
        }
        Address::Domain(DomainSetting::Parameter(group, field)) => match parameter(*group, field, shape) {
            Ok((path, default)) => one(path, default),
            Err(why) => return none(why),
        },
        Address::HostLink(LinkField::Mtu) => one("/domain/devices/interface/mtu/@size".into(), None),
        Address::HostLink(LinkField::TxQueueLen) => {
            return none(
                "libvirt has no place for the queue's length of its end of a link, and that link's name is another at \
                 each start; set it in a hook of libvirt's, /etc/libvirt/hooks/qemu",
            );
        }
        Address::Neighbour(_) => return none("a neighbour is of the lab and ends with it"),
        _ => return none("it is no setting of the domain"),
    };
    made.or_else(|why| none(&why))
}

fn place(path: &str, default: Option<&str>) -> Result<XmlSetting, String> {
    Ok(XmlSetting::Place(XmlPlace {
        path: path
            .parse()
            .map_err(|e: crate::tunable::ValueError| e.to_string())?,
        default: default.map(str::to_string),
        qemu: None,
    }))
}

/// The element of a typed parameter, and what libvirt takes without it.
fn parameter(
    group: ParameterGroup,
    field: &str,
    shape: Shape<'_>,
) -> Result<(String, Option<&'static str>), &'static str> {
    const UNKNOWN: &str = "libvirt's definitions have no place of this name";
    Ok(match (group, field) {
        (ParameterGroup::Scheduler, "cpu_shares") => ("/domain/cputune/shares".into(), None),
        (ParameterGroup::Scheduler, _) => {
            let (whose, what) = field.split_once('_').ok_or(UNKNOWN)?;
            let prefix = match whose {
                "vcpu" => "",
                "emulator" => "emulator_",
                "global" => "global_",
                "iothread" => "iothread_",
                _ => return Err(UNKNOWN),
            };
            let default = match what {
                "period" => "100000",
                "quota" => "-1",
                _ => return Err(UNKNOWN),
            };
            (format!("/domain/cputune/{prefix}{what}"), Some(default))
        }
        (ParameterGroup::Memory, "hard_limit" | "soft_limit" | "swap_hard_limit") => {
            (format!("/domain/memtune/{field}"), Some(NO_LIMIT))
        }
        (ParameterGroup::Blkio, "weight") => ("/domain/blkiotune/weight".into(), None),
        (ParameterGroup::Blkio, _) => {
            let what = field.strip_prefix("device_").ok_or(UNKNOWN)?;
            let device = shape
                .device
                .ok_or("no block device of the host is behind the data disk")?;
            let default = (what != "weight").then_some("0");
            (
                format!("/domain/blkiotune/device[path='{device}']/{what}"),
                default,
            )
        }
        (ParameterGroup::Throttle, _) => (format!("/domain/devices/disk[$disk]/iotune/{field}"), Some("0")),
        (ParameterGroup::Memory, _) => return Err(UNKNOWN),
    })
}

/// One place a thread; all of them, since a map is of all threads.
fn pins(
    value: &str,
    threads: std::ops::Range<u16>,
    element: impl Fn(u16) -> String,
) -> Result<Places, String> {
    let path = |n: u16| place(&format!("/domain/cputune/{}/@cpuset", element(n)), None);
    if value == "none" {
        return threads.map(|n| Ok((path(n)?, ABSENT.to_string()))).collect();
    }
    let pin = |pin: &str| {
        let (thread, cpus) = pin.split_once('=').ok_or_else(|| format!("`{pin}` is no pin"))?;
        let number: u16 = thread.parse().map_err(|_| format!("`{thread}` is no thread"))?;
        let cpus: CpuSet = cpus
            .parse()
            .map_err(|e: crate::tunable::ValueError| e.to_string())?;
        if !threads.contains(&number) {
            return Err(format!(
                "thread {number} is not one of the domain, which has {} of the kind",
                threads.len()
            ));
        }
        Ok((path(number)?, cpus.to_string()))
    };
    value.split_whitespace().map(pin).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::host::xml;
    use crate::tunable::{Home, Kind, Tunable, catalogue};
    use proptest::prelude::*;

    const XML: &str = "<domain type='kvm' xmlns:q='urn:q'><metadata><x:a xmlns:x='urn:x'><!-- mine --><x:shares>9</x:shares>\
        </x:a></metadata>\n <name>a</name><memory unit='KiB'>8</memory><vcpu>2</vcpu><iothreads>2</iothreads>\n\
        <cputune><shares>7</shares><!-- kept --></cputune><os><type machine='pc-q35-7.2'>hvm</type><kernel>/k</kernel></os>\n\
        <devices><emulator>/q</emulator><disk type='file'><source file='/y'/><target dev='vda'/></disk>\
        <disk type='file'><source file='/x'/><target dev='vdb'/></disk><interface type='bridge'><mac address='a'/>\
        </interface></devices><q:commandline/></domain>";
    const SHAPE: Shape<'static> = Shape {
        vcpus: 2,
        iothreads: 2,
        device: Some("/dev/sda"),
    };

    fn settings() -> Vec<&'static Tunable> {
        let is_one =
            |t: &&Tunable| matches!(t.home, Home::Domain(_) | Home::DomainXml(_) | Home::HostLink(_));
        catalogue().iter().filter(is_one).collect()
    }

    fn address(tunable: &Tunable) -> Address {
        match &tunable.home {
            Home::Domain(setting) => Address::Domain(setting.clone()),
            Home::DomainXml(setting) => Address::DomainXml(setting.clone()),
            Home::HostLink(field) => Address::HostLink(*field),
            _ => panic!("{} is no setting of a domain", tunable.name),
        }
    }

    /// A legal value that a number picks.
    fn pick(tunable: &Tunable, number: u64) -> String {
        let between = |min: u64, max: u64| (min + number % (max - min + 1)).to_string();
        match &tunable.kind {
            Kind::Integer { min, max } => {
                let width = u64::try_from(max - min).unwrap().saturating_add(1);
                (min + i64::try_from(number % width).unwrap()).to_string()
            }
            Kind::Bytes { min, max } => between(*min, *max),
            Kind::Choice(choices) => choices[usize::try_from(number).unwrap_or(0) % choices.len()].clone(),
            Kind::Pins if tunable.name.ends_with("iothread-pin") => format!("1={} 2=0-1", number % 4),
            Kind::Pins => format!("0={} 1=0-1", number % 4),
            Kind::Set => format!("0-{}", 1 + number % 7),
            Kind::Topology => "1x2x1".into(),
            Kind::Placement => "cpus=0-1 nodes=0 mode=strict".into(),
            Kind::Boot => format!("w{number}"),
            Kind::Path { .. } => format!("/p{number}"),
            Kind::Word { .. } => "pc-q35-7.1".into(),
            other => panic!("{}: {other:?}", tunable.name),
        }
    }

    #[test]
    fn every_setting_of_a_domain_has_a_place_or_says_why_not() {
        for tunable in settings() {
            let value = pick(tunable, 1);
            match places(&address(tunable), &value, SHAPE) {
                Ok(places) => assert!(!places.is_empty(), "{}", tunable.name),
                Err(none) => {
                    assert!(tunable.name.ends_with("txqueuelen"), "{}: {none}", tunable.name);
                    assert!(none.to_string().contains("/etc/libvirt/hooks/qemu"), "{none}");
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_placed_is_refused() {
        let pins = Address::Domain(DomainSetting::VcpuPins);
        let said = places(&pins, "0=0 5=1", SHAPE).unwrap_err().to_string();
        assert!(said.contains("thread 5") && said.contains("has 2"), "{said}");
        let device = DomainSetting::Parameter(ParameterGroup::Blkio, "device_weight".into());
        let bare = Shape {
            device: None,
            ..SHAPE
        };
        assert!(places(&Address::Domain(device), "9", bare).is_err());
        let hostile = Shape {
            device: Some("/dev/a']"),
            ..SHAPE
        };
        let device = DomainSetting::Parameter(ParameterGroup::Blkio, "device_read_iops_sec".into());
        assert!(places(&Address::Domain(device), "9", hostile).is_err());
        for field in ["vcpu_other", "nonesuch", "a_quota"] {
            let field = DomainSetting::Parameter(ParameterGroup::Scheduler, field.into());
            assert!(places(&Address::Domain(field), "9", SHAPE).is_err());
        }
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(picks in proptest::collection::vec((any::<prop::sample::Index>(), any::<u64>()), 1..8)) {
            let all = settings();
            let mut xml = XML.to_string();
            for (which, number) in picks {
                let tunable = all[which.index(all.len())];
                // A mode that has no model is refused by design.
                let value = pick(tunable, number >> 1);
                let Ok(places) = places(&address(tunable), &value, SHAPE) else { continue };
                let Ok(edited) = xml::with_settings(&xml, &places, Some("vdb")) else {
                    prop_assert!(value == "custom" || value == "none" || tunable.name.contains("boot"), "{}={}", tunable.name, value);
                    continue;
                };
                xml = edited;
                for (setting, wanted) in &places {
                    prop_assert_eq!(&xml::value(&xml, setting, Some("vdb")).unwrap(), wanted, "{}", tunable.name);
                }
            }
            for kept in ["<!-- mine -->", "<x:shares>9</x:shares>", "<!-- kept -->", "q:commandline", "/y"] {
                prop_assert!(xml.contains(kept), "{} in {}", kept, xml);
            }
        }
    }
}
