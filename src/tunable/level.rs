//! From a level as a user writes it to the settings that make it real on one host and guest.
//!
//! Pure: everything it needs to know stands in [`Facts`].

use super::{Address, CpuSet, Home, Kind, Tunable, Value, XmlSetting};
use crate::facts::{Facts, Meaning};
use crate::units::Bytes;
use serde::{Deserialize, Serialize};

/// One value at one place, with the kind that tells how to compare what is read back.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Setting {
    /// Where.
    pub address: Address,
    /// What.
    pub value: Value,
    /// How readings are spelled canonically.
    pub kind: Kind,
    /// True when it only serves another setting (a page pool for the guest backed by it).
    pub coupled: bool,
}

impl Setting {
    /// The canonical value of a raw reading of this place; `None` when it is no value of the kind.
    pub fn canonical(&self, raw: &str) -> Option<Value> {
        self.kind.parse(self.address.selected(raw)).ok()
    }
}

/// One level of a factor: its name and the settings that make it so, in the order they are written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Level {
    /// The level's name in tables: the canonical value, or the generator that made it (`compact`).
    pub label: String,
    /// Never empty; the last one is the tunable itself.
    pub settings: Vec<Setting>,
}

/// Why a text is no level of a tunable here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LevelError {
    /// Not a value of the tunable's kind at all.
    #[error(transparent)]
    Illegal(#[from] super::ValueError),
    /// Legal, but not offered here.
    #[error("level `{level}` is not available here")]
    Unavailable {
        /// The level as canonical text.
        level: String,
        /// What is available.
        choices: Vec<String>,
    },
    /// Legal, but the host cannot use it.
    #[error("level `{level}` cannot be used here: {why}")]
    Unusable {
        /// The level as canonical text.
        level: String,
        /// The reason in words.
        why: String,
    },
    /// The tunable does not exist on this host and guest.
    #[error("`{tunable}` cannot be set here: {why}")]
    Absent {
        /// The tunable's name.
        tunable: String,
        /// The reason in words.
        why: String,
    },
    /// The levels cannot be listed.
    #[error("`{tunable}` has no list of available levels")]
    NoList {
        /// The tunable's name.
        tunable: String,
    },
}

impl Tunable {
    /// The concrete place of this tunable on the host and guest of `facts`.
    pub fn address(&self, facts: &Facts) -> Result<Address, LevelError> {
        let absent = |why: &str| LevelError::Absent {
            tunable: self.name.clone(),
            why: why.into(),
        };
        let queue = |disk: &Option<String>, file, side: &str| {
            let disk = disk
                .as_ref()
                .ok_or_else(|| absent(&format!("no {side} block device is behind the data disk")))?;
            Ok::<_, LevelError>(format!("/sys/block/{disk}/queue/{file}"))
        };
        Ok(match &self.home {
            Home::HostSysctl(name) => Address::HostFile {
                path: name.path(),
                format: super::Format::Plain,
            },
            Home::GuestSysctl(name) => Address::GuestFile {
                path: name.path(),
                format: super::Format::Plain,
            },
            Home::HostFile(path, format) => Address::HostFile {
                path: (*path).into(),
                format: *format,
            },
            Home::GuestFile(path, format) => Address::GuestFile {
                path: (*path).into(),
                format: *format,
            },
            Home::HostDiskQueue(file, format) => Address::HostFile {
                path: queue(&facts.host_disk, file, "host")?,
                format: *format,
            },
            Home::GuestDiskQueue(file, format) => Address::GuestFile {
                path: queue(&facts.guest_disk, file, "guest")?,
                format: *format,
            },
            Home::Domain(setting) => Address::Domain(*setting),
            Home::DomainXml(setting) => Address::DomainXml(*setting),
        })
    }

    /// The place that lists what this tunable can be set to, when that is another file.
    pub fn choices_address(&self) -> Option<Address> {
        let swap = |path: String| path.replace("tcp_congestion_control", "tcp_available_congestion_control");
        match &self.home {
            Home::HostSysctl(name) if name.as_str().ends_with("tcp_congestion_control") => {
                Some(Address::HostFile {
                    path: swap(name.path()),
                    format: super::Format::Plain,
                })
            }
            Home::GuestSysctl(name) if name.as_str().ends_with("tcp_congestion_control") => {
                Some(Address::GuestFile {
                    path: swap(name.path()),
                    format: super::Format::Plain,
                })
            }
            _ => None,
        }
    }

    /// Every place whose content decides which levels there are: the tunable itself, its list of choices, and what
    /// it is coupled to.
    pub fn addresses_to_read(&self, facts: &Facts) -> Vec<Address> {
        let mut addresses: Vec<_> = self.address(facts).into_iter().collect();
        addresses.extend(self.choices_address());
        if matches!(self.home, Home::DomainXml(_)) {
            addresses.extend(PAGE_SIZES.map(|(_, size)| pool_address(size)));
            let others = [XmlSetting::DiskCache, XmlSetting::DiskIo, XmlSetting::DiskImage];
            addresses.extend(others.map(Address::DomainXml));
        }
        addresses
    }

    /// Every word this tunable can be set to here: offered now, or by a module that can be loaded. `None` when
    /// it is not a choice.
    pub fn choices(&self, facts: &Facts) -> Result<Option<Vec<String>>, LevelError> {
        if let Kind::Choice(choices) = &self.kind {
            return Ok(Some(choices.clone()));
        }
        let address = self.address(facts)?;
        let mut words = match (&address, self.choices_address()) {
            (_, Some(list)) => facts
                .reading(&list)
                .unwrap_or_default()
                .split_whitespace()
                .map(str::to_string)
                .collect(),
            (Address::HostFile { format, .. } | Address::GuestFile { format, .. }, None) => {
                format.choices(facts.reading(&address).unwrap_or_default())
            }
            _ => Vec::new(),
        };
        if words.is_empty() {
            return Ok(None);
        }
        words.extend(self.loadable(facts));
        words.sort();
        words.dedup();
        Ok(Some(words))
    }

    fn loadable(&self, facts: &Facts) -> Vec<String> {
        let value_of = |module: &str| match &self.home {
            Home::GuestDiskQueue("scheduler", _) => match module {
                "bfq" => Some("bfq"),
                "kyber-iosched" => Some("kyber"),
                _ => None,
            }
            .map(str::to_string),
            // tcp_diag is a socket monitor, not an algorithm.
            Home::GuestSysctl(n)
                if n.as_str().ends_with("tcp_congestion_control") && module != "tcp_diag" =>
            {
                module.strip_prefix("tcp_").map(str::to_string)
            }
            _ => None,
        };
        facts
            .guest_modules
            .iter()
            .filter_map(|module| value_of(module))
            .collect()
    }
}

/// The level that `text` names for `tunable` on this host and guest.
pub fn level(tunable: &Tunable, text: &str, facts: &Facts) -> Result<Level, LevelError> {
    let address = tunable.address(facts)?;
    let value = match tunable.kind {
        Kind::Pins => tunable.kind.parse(&pins(tunable, text, facts)?)?,
        _ => meaning(tunable.kind.parse(text)?, &address, tunable, facts)?,
    };
    let mut settings = Vec::new();
    if let Some(choices) = tunable.choices(facts)? {
        if !choices.iter().any(|c| c == value.as_str()) {
            return Err(LevelError::Unavailable {
                level: value.to_string(),
                choices,
            });
        }
        settings.extend(module_setting(tunable, &value, facts));
    }
    settings.extend(pool_setting(&address, &value, facts)?);
    let label = if tunable.kind == Kind::Pins {
        text.trim().to_string()
    } else {
        value.to_string()
    };
    settings.push(Setting {
        address,
        value,
        kind: tunable.kind.clone(),
        coupled: false,
    });
    Ok(Level { label, settings })
}

/// What a value stands for on this host.
fn meaning(value: Value, address: &Address, tunable: &Tunable, facts: &Facts) -> Result<Value, LevelError> {
    match facts.meaning(address, value.as_str()) {
        None => Ok(value),
        Some(Meaning::Is(text)) => Ok(tunable.kind.parse(text)?),
        Some(Meaning::Unusable(why)) => Err(LevelError::Unusable {
            level: value.to_string(),
            why: why.clone(),
        }),
    }
}

/// The level that is set now, from the readings.
pub fn ambient_level(tunable: &Tunable, facts: &Facts) -> Result<Level, LevelError> {
    let address = tunable.address(facts)?;
    let raw = facts.reading(&address).ok_or_else(|| LevelError::Absent {
        tunable: tunable.name.clone(),
        why: format!("{address} could not be read"),
    })?;
    level(tunable, address.selected(raw), facts)
}

/// All available levels of a tunable that is a choice.
pub fn available_levels(tunable: &Tunable, facts: &Facts) -> Result<Vec<Level>, LevelError> {
    let texts = match (&tunable.kind, tunable.choices(facts)?) {
        (Kind::Pins, _) => vec!["none".to_string(), "compact".into(), "spread".into()],
        (_, Some(choices)) => choices,
        (_, None) => {
            return Err(LevelError::NoList {
                tunable: tunable.name.clone(),
            });
        }
    };
    texts.iter().map(|text| level(tunable, text, facts)).collect()
}

fn module_setting(tunable: &Tunable, value: &Value, facts: &Facts) -> Option<Setting> {
    let module = tunable
        .module_for(value)
        .filter(|m| facts.guest_modules.contains(m))?;
    let kind = Kind::Choice(vec!["loaded".into(), "absent".into()]);
    let value = kind.parse("loaded").ok()?;
    Some(Setting {
        address: Address::GuestModule(module),
        value,
        kind,
        coupled: true,
    })
}

/// The page sizes of x86-64 that can back a guest, and their names as levels.
const PAGE_SIZES: [(&str, Bytes); 2] = [("2MiB", Bytes::mib(2)), ("1GiB", Bytes::mib(1024))];

fn pool_address(size: Bytes) -> Address {
    let path = format!(
        "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages",
        size.0 >> 10
    );
    Address::HostFile {
        path,
        format: super::Format::Plain,
    }
}

/// Backing a guest with huge pages needs as many free ones as its memory: the pool grows by that.
fn pool_setting(address: &Address, value: &Value, facts: &Facts) -> Result<Option<Setting>, LevelError> {
    let named = PAGE_SIZES.iter().find(|(name, _)| *name == value.as_str());
    let (Address::DomainXml(XmlSetting::Hugepages), Some((_, size))) = (address, named) else {
        return Ok(None);
    };
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
    let kind = Kind::Integer { min: 0, max: 1 << 30 };
    let value = kind.parse(&(now + facts.guest_memory.0.div_ceil(size.0)).to_string())?;
    Ok(Some(Setting {
        address,
        value,
        kind,
        coupled: true,
    }))
}

/// Pin maps by generator name; every vCPU is named, so that reading back compares whole maps.
fn pins(tunable: &Tunable, text: &str, facts: &Facts) -> Result<String, LevelError> {
    let all = &facts.host_cpus;
    let cpus: Vec<u16> = all.iter().collect();
    let one_each = |order: Vec<u16>| {
        let pick = |vcpu: u16| CpuSet::from_iter(order.get(usize::from(vcpu) % order.len().max(1)).copied());
        (0..facts.vcpus).map(|v| (v, pick(v))).collect::<Vec<_>>()
    };
    let map = match text.trim() {
        "none" => (0..facts.vcpus).map(|v| (v, all.clone())).collect(),
        "compact" => one_each(cpus),
        "spread" => one_each(spread_order(facts)),
        "same-node" => {
            let node = facts
                .nodes
                .iter()
                .max_by_key(|n| n.memory)
                .map_or(all, |n| &n.cpus);
            (0..facts.vcpus).map(|v| (v, node.clone())).collect()
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
    let mut map: Vec<_> = (0..facts.vcpus).map(|v| (v, facts.host_cpus.clone())).collect();
    for pin in value.as_str().split_whitespace() {
        let (vcpu, cpus) = pin.split_once('=').unwrap_or((pin, ""));
        let cpus: CpuSet = cpus.parse()?;
        if !cpus.0.is_subset(&facts.host_cpus.0) {
            return Err(unavailable(pin, vec![format!("host CPUs {}", facts.host_cpus)]));
        }
        match map.iter_mut().find(|(v, _)| v.to_string() == vcpu) {
            Some(slot) => slot.1 = cpus,
            None => {
                return Err(unavailable(
                    pin,
                    vec![format!("vCPUs 0-{}", facts.vcpus.saturating_sub(1))],
                ));
            }
        }
    }
    Ok(map)
}

impl Setting {
    /// Why these settings cannot hold together; `None` when they can. `ambient` gives the value of a place no
    /// setting names.
    ///
    /// Source: QEMU block/file-posix.c, "aio=native was specified, but it requires cache.direct=on".
    pub fn conflict(settings: &[Self], facts: &Facts) -> Option<String> {
        if let Some(why) = stray_queue(settings, facts) {
            return Some(why);
        }
        let value = |place: XmlSetting| {
            let address = Address::DomainXml(place);
            let set = settings
                .iter()
                .rev()
                .find(|s| s.address == address)
                .map(|s| s.value.to_string());
            set.or_else(|| facts.reading(&address).map(str::to_string))
        };
        let (io, cache) = (value(XmlSetting::DiskIo)?, value(XmlSetting::DiskCache)?);
        let direct = cache == "none" || cache == "directsync";
        (io == "native" && !direct).then(|| format!("io=native needs cache none or directsync, not {cache}"))
    }
}

/// A host queue is that of the device behind the image the disk was found with.
fn stray_queue(settings: &[Setting], facts: &Facts) -> Option<String> {
    let image = Address::DomainXml(XmlSetting::DiskImage);
    let other = settings.iter().find(|s| s.address == image)?;
    let folder = format!("/sys/block/{}/queue/", facts.host_disk.as_ref()?);
    let queue = settings
        .iter()
        .any(|s| matches!(&s.address, Address::HostFile { path, .. } if path.starts_with(&folder)));
    (queue && facts.reading(&image) != Some(other.value.as_str())).then(|| {
        format!(
            "the host disk settings are of {}, which is not behind {}",
            facts.host_disk.as_deref().unwrap_or_default(),
            other.value
        )
    })
}

#[cfg(test)]
mod tests;
