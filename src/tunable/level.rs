//! From a level as a user writes it to the settings that make it real on one host and guest.
//!
//! Pure: everything it needs to know stands in [`Facts`].

mod coupling;
mod limits;
mod pins;
mod place;
mod placement;

pub(super) use placement::is_placement_word;

pub(super) use place::has_list;

use super::{Address, Kind, Limit, Tunable, Value, XmlSetting};
use crate::facts::{Facts, Meaning};
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
    /// What it is for.
    pub role: SettingRole,
}

/// What a setting is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SettingRole {
    /// It is the level itself.
    Own,
    /// It only serves another setting (a page pool for the guest backed by it).
    Coupled,
    /// The kernel makes it so when another is written: it is read back, never written.
    Follows,
}

impl Setting {
    /// The level itself.
    pub fn own(address: Address, value: Value, kind: Kind) -> Self {
        Self {
            address,
            value,
            kind,
            role: SettingRole::Own,
        }
    }

    /// The same setting in another role.
    #[must_use]
    pub fn in_role(self, role: SettingRole) -> Self {
        Self { role, ..self }
    }

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
    /// More than the guest has.
    #[error("level `{level}` of `{tunable}` is more than {limit}")]
    TooMuch {
        /// The level as canonical text.
        level: String,
        /// The tunable's name.
        tunable: String,
        /// The largest, in words.
        limit: String,
    },
    /// No levels can be suggested.
    #[error("no levels of `{tunable}` can be suggested: {why}")]
    NoSuggestion {
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

/// The level that `text` names for `tunable` on this host and guest.
pub fn level(tunable: &Tunable, text: &str, facts: &Facts) -> Result<Level, LevelError> {
    tunable.available(facts)?;
    let address = tunable.address(facts)?;
    let value = match (&tunable.kind, pins::pins(tunable, text, facts)?) {
        (_, Some(whole)) => tunable.kind.parse(&whole)?,
        (Kind::Placement, None) => tunable.kind.parse(&placement::placement(tunable, text, facts)?)?,
        (_, None) => meaning(tunable.kind.parse(text)?, &address, tunable, facts)?,
    };
    within_limit(tunable, &value, facts)?;
    if let Some(choices) = tunable.choices(facts)?
        && !choices.iter().any(|c| c == value.as_str())
    {
        return Err(LevelError::Unavailable {
            level: value.to_string(),
            choices,
        });
    }
    let named = tunable.generators().contains(&text.trim());
    let label = if matches!(tunable.kind, Kind::Pins | Kind::Placement) || named {
        text.trim().to_string()
    } else {
        value.to_string()
    };
    let own = Setting::own(address, value, tunable.kind.clone());
    let settings = coupling::with_coupled(tunable, own, facts)?;
    Ok(Level { label, settings })
}

fn within_limit(tunable: &Tunable, value: &Value, facts: &Facts) -> Result<(), LevelError> {
    let Some(Limit::Vcpus) = tunable.limit else {
        return Ok(());
    };
    let is_more = value
        .as_str()
        .parse::<u64>()
        .is_ok_and(|n| n > u64::from(facts.vcpus));
    if is_more && facts.vcpus > 0 {
        return Err(LevelError::TooMuch {
            level: value.to_string(),
            tunable: tunable.name.clone(),
            limit: format!("the guest's {} vCPUs", facts.vcpus),
        });
    }
    Ok(())
}

/// What a value stands for on this host.
fn meaning(value: Value, address: &Address, tunable: &Tunable, facts: &Facts) -> Result<Value, LevelError> {
    match facts.meaning(address, value.as_str()) {
        None => Ok(value),
        Some(Meaning::Image { .. }) => Ok(value),
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
    tunable.available(facts)?;
    let raw = facts.reading(&address).ok_or_else(|| LevelError::Absent {
        tunable: tunable.name.clone(),
        why: match tunable.module_on_demand(facts) {
            Some(module) => {
                format!("module {module} is not loaded, so nothing is set now; give the factor a baseline")
            }
            None => format!("{address} could not be read"),
        },
    })?;
    level(tunable, address.selected(raw), facts)
}

/// All available levels of a tunable that is a choice.
pub fn available_levels(tunable: &Tunable, facts: &Facts) -> Result<Vec<Level>, LevelError> {
    if tunable.kind == Kind::Placement {
        let words = placement::words(facts);
        return words.iter().map(|text| level(tunable, text, facts)).collect();
    }
    if !tunable.generators().is_empty() {
        tunable.available(facts)?;
        return Ok(generated_levels(tunable, facts));
    }
    let Some(texts) = tunable.choices(facts)? else {
        return Err(LevelError::NoList {
            tunable: tunable.name.clone(),
        });
    };
    texts.iter().map(|text| level(tunable, text, facts)).collect()
}

/// The pins that generators make here, each once: on a small host several make the same.
fn generated_levels(tunable: &Tunable, facts: &Facts) -> Vec<Level> {
    let mut found: Vec<Level> = Vec::new();
    for word in tunable.generators() {
        if let Ok(level) = level(tunable, word, facts)
            && found.iter().all(|known| known.settings != level.settings)
        {
            found.push(level);
        }
    }
    found
}

/// What a level chose here that its name does not say, in words: which node `same-node` is.
pub fn told(tunable: &Tunable, label: &str, facts: &Facts) -> Option<String> {
    pins::told(tunable, label, facts)
}

impl Setting {
    /// Why these settings cannot hold together; `None` when they can. `ambient` gives the value of a place no
    /// setting names.
    ///
    /// Source: QEMU block/file-posix.c, "aio=native was specified, but it requires cache.direct=on".
    pub fn conflict(settings: &[Self], facts: &Facts) -> Option<String> {
        let early = stray_queue(settings, facts)
            .or_else(|| limits::conflict(settings, facts))
            .or_else(|| other_format(settings, facts))
            .or_else(|| modeless_nodes(settings))
            .or_else(|| kept_zeroes(settings, facts));
        if early.is_some() {
            return early;
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

impl Setting {
    /// Puts settings that bound each other into an order in which no step breaks a bound; undone from the last to the
    /// first they break none either.
    pub fn in_safe_order(settings: &mut [Self], facts: &Facts) {
        limits::order(settings, facts);
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

/// The format of the data disk is said, never guessed: an image of another one would be a disk of garbage, and what is
/// written would destroy it.
fn other_format(settings: &[Setting], facts: &Facts) -> Option<String> {
    let named = |address: &Address| settings.iter().rev().find(|s| s.address == *address);
    let Some(format_address) = place_of("domain.disk.format") else {
        return None;
    };
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
fn place_of(name: &str) -> Option<Address> {
    let tunable = super::catalogue().iter().find(|t| t.name == name)?;
    match &tunable.home {
        super::Home::DomainXml(setting) => Some(Address::DomainXml(setting.clone())),
        _ => None,
    }
}

/// Source: libvirt's `virDomainDiskGetDetectZeroesMode`: without discard it looks for zeroes and writes them.
fn kept_zeroes(settings: &[Setting], facts: &Facts) -> Option<String> {
    let value = |name: &str| {
        let address = place_of(name)?;
        let set = settings.iter().rev().find(|s| s.address == address);
        let set = set.map(|s| s.value.as_str());
        set.or_else(|| facts.reading(&address))
    };
    let unmaps = value("domain.disk.detect-zeroes") == Some("unmap");
    let kept = value("domain.disk.discard").unwrap_or("ignore") != "unmap";
    (unmaps && kept).then(|| "domain.disk.detect-zeroes=unmap needs domain.disk.discard=unmap".into())
}

fn modeless_nodes(settings: &[Setting]) -> Option<String> {
    let set = |place: XmlSetting| {
        let address = Address::DomainXml(place);
        settings.iter().find(|s| s.address == address)
    };
    let none = set(XmlSetting::NumaMode).filter(|mode| mode.value.as_str() == "none")?;
    let nodes = set(XmlSetting::NumaNodes)?;
    let own = [none, nodes].iter().all(|s| s.role == SettingRole::Own);
    own.then(|| "domain.numa.nodeset means nothing with domain.numa.mode=none".into())
}

#[cfg(test)]
mod tests;
