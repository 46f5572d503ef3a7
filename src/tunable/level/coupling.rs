//! What else must be set for a level to be what it says: modules, page pools, twins, hashes, I/O threads.
//!
//! Pure arithmetic on facts; the order of the settings is the order they are written in.

use super::place::file;
use super::{LevelError, Setting, SettingRole};
use crate::facts::Facts;
use crate::tunable::{
    Address, Coupling, Format, KernelSide, Kind, SysctlName, Tunable, Value, XmlPlace, XmlSetting,
};
use crate::units::Bytes;

/// The setting of a level with those it needs; the level's own is last.
pub(super) fn with_coupled(
    tunable: &Tunable,
    own: Setting,
    facts: &Facts,
) -> Result<Vec<Setting>, LevelError> {
    let mut settings: Vec<Setting> = module_setting(tunable, &own.value, facts).into_iter().collect();
    match &tunable.coupling {
        Some(Coupling::Twin { sysctl, fallback }) => return twins(tunable, own, sysctl, fallback, facts),
        Some(Coupling::ConntrackHash) => settings.extend(hash(tunable, &own.value)?),
        Some(Coupling::PagePool) => settings.extend(pool(&own.value, facts)?),
        Some(Coupling::Iothread) => settings.extend(iothread(&own.value, facts)?),
        Some(Coupling::Topology) => whole_topology(tunable, &own.value, facts)?,
        None => settings.extend(other_cpus(tunable, &own, facts)),
    }
    settings.push(own);
    Ok(settings)
}

fn coupled(address: Address, kind: Kind, text: &str) -> Result<Setting, LevelError> {
    let value = kind.parse(text)?;
    Ok(Setting::own(address, value, kind).in_role(SettingRole::Coupled))
}

/// The module of the guest that offers the value, or holds the whole setting.
fn module_setting(tunable: &Tunable, value: &Value, facts: &Facts) -> Option<Setting> {
    let offering = tunable
        .module_for(value)
        .filter(|m| facts.guest_modules.contains(m));
    let module = offering.or_else(|| tunable.module_on_demand(facts))?;
    let kind = Kind::Choice(vec!["loaded".into(), "absent".into()]);
    coupled(Address::GuestModule(module), kind, "loaded").ok()
}

/// The same value for every other CPU.
fn other_cpus(tunable: &Tunable, own: &Setting, facts: &Facts) -> Vec<Setting> {
    let all = tunable.each_cpu(facts).into_iter();
    let others = all.filter(|address| *address != own.address);
    others
        .map(|address| {
            Setting {
                address,
                ..own.clone()
            }
            .in_role(SettingRole::Coupled)
        })
        .collect()
}

/// Writing one twin zeroes the other; zero itself cannot be written, it is reached by writing the other.
///
/// Source: `dirty_bytes_handler` and `dirty_ratio_handler` in mm/page-writeback.c; `dirty_bytes` is at least two pages.
fn twins(
    tunable: &Tunable,
    own: Setting,
    sysctl: &SysctlName,
    fallback: &str,
    facts: &Facts,
) -> Result<Vec<Setting>, LevelError> {
    let side = tunable.side().unwrap_or(KernelSide::Host);
    let address = file(side, sysctl.path(), Format::Plain);
    let kind = Kind::Integer {
        min: 0,
        max: i64::MAX,
    };
    let now = facts
        .reading(&address)
        .map(str::trim)
        .unwrap_or_default()
        .to_string();
    if own.value.as_str() == "0" {
        let other = if matches!(now.as_str(), "" | "0") {
            fallback
        } else {
            &now
        };
        return Ok(vec![
            coupled(address, kind, other)?,
            own.in_role(SettingRole::Follows),
        ]);
    }
    let zero = coupled(address, kind, "0")?.in_role(SettingRole::Follows);
    Ok(vec![zero, own])
}

/// The table has a quarter of the connections for entries, in whole pages of pointers.
///
/// Source: docs of `nf_conntrack_max` and `nf_ct_alloc_hashtable` in `net/netfilter/nf_conntrack_core.c`, which rounds to
/// `PAGE_SIZE / sizeof(struct hlist_nulls_head)`.
fn hash(tunable: &Tunable, value: &Value) -> Result<Option<Setting>, LevelError> {
    const ENTRIES_A_PAGE: u64 = 4096 / 8;
    let max: u64 = value.as_str().parse().unwrap_or_default();
    let entries = max.div_ceil(4).next_multiple_of(ENTRIES_A_PAGE);
    let side = tunable.side().unwrap_or(KernelSide::Host);
    let path = "/sys/module/nf_conntrack/parameters/hashsize";
    let kind = Kind::Integer { min: 0, max: 1 << 30 };
    coupled(file(side, path.into(), Format::Plain), kind, &entries.to_string()).map(Some)
}

/// The page sizes of x86-64 that can back a guest, and their names as levels.
pub(super) const PAGE_SIZES: [(&str, Bytes); 2] = [("2MiB", Bytes::mib(2)), ("1GiB", Bytes::mib(1024))];

pub(super) fn pool_address(size: Bytes) -> Address {
    let path = format!(
        "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
        size.0 >> 10
    );
    file(KernelSide::Host, path, Format::Plain)
}

/// Backing a guest with huge pages needs as many free ones as its memory: the pool grows by that.
fn pool(value: &Value, facts: &Facts) -> Result<Option<Setting>, LevelError> {
    let Some((_, size)) = PAGE_SIZES.iter().find(|(name, _)| *name == value.as_str()) else {
        return Ok(None);
    };
    // QEMU: "memory size must be equal to or larger than page size".
    if facts.guest_memory < *size {
        return Err(LevelError::Unusable {
            level: value.to_string(),
            why: format!("the guest has only {} of memory", facts.guest_memory),
        });
    }
    let address = pool_address(*size);
    let absent = || LevelError::Absent {
        tunable: "domain.memory.hugepages".into(),
        why: format!("the host has no pool of {size} pages ({address} could not be read)"),
    };
    let now: u64 = facts
        .reading(&address)
        .ok_or_else(absent)?
        .trim()
        .parse()
        .map_err(|_| absent())?;
    let pages = now + facts.guest_memory.0.div_ceil(size.0);
    coupled(
        address,
        Kind::Integer { min: 0, max: 1 << 30 },
        &pages.to_string(),
    )
    .map(Some)
}

/// A disk can only be given an I/O thread that the domain has.
fn iothread(value: &Value, facts: &Facts) -> Result<Option<Setting>, LevelError> {
    if value.as_str() == "none" || facts.iothreads > 0 {
        return Ok(None);
    }
    let place = XmlPlace {
        path: "/domain/iothreads".parse()?,
        default: Some("0".into()),
        qemu: None,
    };
    let address = Address::DomainXml(XmlSetting::Place(place));
    coupled(address, Kind::Integer { min: 0, max: 256 }, "1").map(Some)
}

fn whole_topology(tunable: &Tunable, value: &Value, facts: &Facts) -> Result<(), LevelError> {
    // Three numbers of 16 bits each.
    let product: u64 = value
        .as_str()
        .split('x')
        .filter_map(|n| n.parse::<u64>().ok())
        .product();
    if facts.vcpus == 0 || product == u64::from(facts.vcpus) {
        return Ok(());
    }
    Err(LevelError::Unusable {
        level: value.to_string(),
        why: format!(
            "it makes {product} vCPUs, and the guest has {}; {} must multiply to that",
            facts.vcpus, tunable.name
        ),
    })
}
