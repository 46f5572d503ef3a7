//! Changes of a libvirt domain: its definition, and the live values of its run.
//!
//! This alone redefines a user's domain. Does not know what is inside its guest.

use super::between::Wanted;
use super::change::{Change, Finding, Held, Layer};
use super::value::ValueChange;
use super::{Commit, CommitError, Domains, Extent, Machine, Origins, domains, live};
use crate::change::{WriteUndo, lasting};
use crate::host::xml::{self, XmlError, same_besides};
use crate::host::{Host, HostError, LocalHost};
use crate::persist::definition::{Places, Shape, places};
use crate::persist::domain::{DomainPart, DomainRef};
use crate::tunable::{Setting, SettingRole, XmlSetting};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A domain from one state to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainChange {
    /// Which one.
    pub domain: DomainRef,
    /// Its definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<DefinitionChange>,
    /// Its live values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<ValueChange>,
    /// What comes with its next start only: told and looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<Setting>,
    /// Why it cannot be told what it is to hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
}

/// A definition from one text to another. Both hold the domain's secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionChange {
    /// As it was found.
    pub before: String,
    /// As it is to be.
    pub after: String,
    /// Whether that is libvirt's own text of earlier, not one that was edited.
    pub is_own: bool,
    /// What is to stand in it because of commits, and be read back.
    pub places: Vec<(XmlSetting, String)>,
    /// What stood in it because of commits, or does.
    pub touched: Vec<XmlSetting>,
}

/// What domains were before the first commit, by UUID.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DomainOrigins {
    /// Their definitions, with their secrets.
    #[serde(default)]
    pub definitions: BTreeMap<String, String>,
    /// Their live values.
    #[serde(default)]
    pub values: BTreeMap<String, Vec<WriteUndo>>,
}

impl DomainChange {
    pub(super) fn apply(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        if let Some(definition) = &self.definition {
            machine.step("define domain", Path::new(&self.domain.name))?;
            definition.make(&self.domain, machine.domains.reach(&self.domain)?)?;
        }
        if let Some(live) = &self.live {
            machine.step("set live values of domain", Path::new(&self.domain.name))?;
            let host = machine.domains.reach(&self.domain)?;
            lasting::put_back(host, &live.back)?;
            lasting::set(host, &live.set)?;
        }
        Ok(())
    }

    pub(super) fn undo(&self, machine: &mut Machine<'_>) -> Result<(), CommitError> {
        // With the domain all that was changed of it is gone.
        if Domains::is_gone(&self.domain)? {
            return Ok(());
        }
        if let Some(live) = &self.live {
            machine.step("put back live values of domain", Path::new(&self.domain.name))?;
            lasting::put_back(machine.domains.reach(&self.domain)?, &live.before)?;
        }
        if let Some(definition) = &self.definition {
            machine.step("define domain", Path::new(&self.domain.name))?;
            definition.unmake(&self.domain, machine.domains.reach(&self.domain)?)?;
        }
        Ok(())
    }

    pub(super) fn verify(&self, machine: &mut Machine<'_>) -> Vec<Finding> {
        let name = &self.domain.name;
        let failed = |why: String| Finding {
            layer: Layer::Definition,
            place: format!("domain {name}"),
            wanted: "there".into(),
            held: Held::No(why),
        };
        let host = match machine.domains.reach(&self.domain) {
            Ok(host) => host,
            Err(error) => return vec![failed(error.to_string())],
        };
        let mut findings: Vec<_> = self.untold.clone().map(failed).into_iter().collect();
        if let Some(definition) = &self.definition {
            findings.extend(definition.verify(name, host));
        }
        if let Some(live) = &self.live {
            findings.extend(live.set.iter().map(|setting| running(name, setting, false, host)));
        }
        findings.extend(self.late.iter().map(|setting| running(name, setting, true, host)));
        findings
    }
}

/// Whether the running domain has a setting; one that is `late` may still wait for its next start.
fn running(name: &str, setting: &Setting, late: bool, host: &mut LocalHost) -> Finding {
    let held = if host.is_on() {
        match host.read(&setting.address) {
            Ok(raw) if setting.canonical(&raw).as_ref() == Some(&setting.value) => Held::Yes,
            Ok(raw) => {
                let found = setting.address.selected(&raw).escape_default();
                let found = format!("it reads `{found}`");
                if late {
                    Held::NotYet(format!("a restart of the domain: {found}"))
                } else {
                    Held::No(found)
                }
            }
            Err(error) => Held::No(error.to_string()),
        }
    } else {
        Held::NotYet("a start of the domain: it is off".into())
    };
    Finding {
        layer: Layer::Domain,
        place: format!("{name}: {}", setting.address),
        wanted: setting.value.to_string(),
        held,
    }
}

impl DefinitionChange {
    fn make(&self, domain: &DomainRef, host: &mut LocalHost) -> Result<(), CommitError> {
        if host.definition_now()? != self.before {
            let doing = format!("change the definition of domain {}", domain.name);
            return Err(HostError::new(doing, "somebody else changed it meanwhile; try again").into());
        }
        let made = self.define(domain, host);
        if made.is_err() {
            // What libvirt made of it otherwise could be taken for somebody else's.
            let _ = host.define(&self.before, false);
        }
        made
    }

    fn define(&self, domain: &DomainRef, host: &mut LocalHost) -> Result<(), CommitError> {
        let defined = host.define(&self.after, !self.is_own)?;
        for (place, wanted) in &self.places {
            let found = value(domain, &defined, place)?;
            if found != *wanted {
                let doing = format!("set {place} in the definition of domain {}", domain.name);
                let cause = format!("libvirt made `{found}` of `{wanted}`");
                return Err(HostError::new(doing, cause).into());
            }
        }
        if self.is_own && defined != self.after {
            let doing = format!("put the definition of domain {} back", domain.name);
            return Err(HostError::new(doing, "it reads otherwise than it was").into());
        }
        Ok(())
    }

    /// What somebody else has changed since stays; then only what was made here goes back.
    fn unmake(&self, domain: &DomainRef, host: &mut LocalHost) -> Result<(), CommitError> {
        let now = host.definition_now()?;
        if now == self.before {
            return Ok(());
        }
        let disk = Some(domain.disk.as_str());
        let at = |text: &str, place: &XmlSetting| xml::value(text, place, disk).ok();
        let (mut made, mut is_another) = (Places::new(), false);
        for place in &self.touched {
            let (found, old) = (at(&now, place), at(&self.before, place));
            if found == at(&self.after, place) {
                made.extend(old.map(|old| (place.clone(), old)));
            } else {
                is_another |= found != old;
            }
        }
        let same = same_besides(&now, &self.before, self.touched.iter(), disk);
        if !is_another && same.map_err(|e| failed(domain, &e))? {
            let defined = host.define(&self.before, false)?;
            if defined == self.before {
                return Ok(());
            }
            let doing = format!("put the definition of domain {} back", domain.name);
            return Err(HostError::new(doing, "it reads otherwise than it was").into());
        }
        if made
            .iter()
            .all(|(place, old)| at(&now, place).as_ref() == Some(old))
        {
            return Ok(());
        }
        let text = xml::with_settings(&now, &made, disk).map_err(|e| failed(domain, &e))?;
        Ok(host.define(&text, true).map(drop)?)
    }

    fn verify(&self, name: &str, host: &LocalHost) -> Vec<Finding> {
        let now = host.definition_now();
        let one = |(place, wanted): &(XmlSetting, String)| {
            let found = now.as_ref().map_err(ToString::to_string);
            let found =
                found.and_then(|now| xml::value(now, place, Some(host.disk())).map_err(|e| e.to_string()));
            let held = match found {
                Ok(found) if found == *wanted => Held::Yes,
                Ok(found) => Held::No(format!("it says `{}`", found.escape_default())),
                Err(why) => Held::No(why),
            };
            Finding {
                layer: Layer::Definition,
                place: format!("{name}: {place}"),
                wanted: wanted.clone(),
                held,
            }
        };
        self.places.iter().map(one).collect()
    }

    /// Both texts as they are shown: without secrets, a line an element.
    pub fn shown(&self) -> Result<(String, String), XmlError> {
        Ok((xml::tidy(&self.before)?, xml::tidy(&self.after)?))
    }
}

fn failed(domain: &DomainRef, error: &XmlError) -> CommitError {
    HostError::new(format!("change the definition of domain {}", domain.name), error).into()
}

fn value(domain: &DomainRef, text: &str, place: &XmlSetting) -> Result<String, CommitError> {
    xml::value(text, place, Some(&domain.disk)).map_err(|e| failed(domain, &e))
}

/// The places that settings come to in the definition of this domain.
pub(super) fn places_of(settings: &[Setting], host: &LocalHost) -> Result<Places, Vec<String>> {
    let (vcpus, iothreads) = host.threads().map_err(|e| vec![e.to_string()])?;
    let device = host.device_behind();
    let shape = Shape {
        vcpus,
        iothreads,
        device: device.as_deref(),
    };
    let (mut found, mut unfit) = (Places::new(), Vec::new());
    for setting in settings.iter().filter(|s| s.role != SettingRole::Follows) {
        match places(&setting.address, setting.value.as_str(), shape) {
            Ok(places) => found.extend(places),
            Err(none) => unfit.push(none.to_string()),
        }
    }
    if unfit.is_empty() {
        host.completed(found).map_err(|e| vec![e.to_string()])
    } else {
        Err(unfit)
    }
}

/// What these commits want of one domain's definition; of two values at one place the newer counts.
pub(super) fn wanted_places(
    commits: &[Commit],
    domain: &DomainRef,
    host: &LocalHost,
) -> Result<Places, CommitError> {
    let mut all = Places::new();
    for (_, part) in domains::parts(commits, &domain.uuid).filter(|(c, _)| c.extent.is_config()) {
        // The domain's shape may be another one since.
        if part.places.is_empty() {
            let places = places_of(&part.settings, host);
            all.extend(places.map_err(|why| CommitError::Refused(why.join("; ")))?);
        } else {
            all.extend(part.places.iter().cloned());
        }
    }
    Ok(all)
}

/// The changes of domains that lead from the old commits to the new ones; what was found before any is put into `origins`.
pub(super) fn between(
    old: &[Commit],
    new: &[Commit],
    origins: &mut Origins,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let mut changes = Vec::new();
    for domain in domains::concerned(old, new) {
        if wanted == Wanted::Forced && Domains::is_gone(&domain)? {
            origins.domains.definitions.remove(&domain.uuid);
            origins.domains.values.remove(&domain.uuid);
            continue;
        }
        let one = of_domain(&domain, (old, new), origins, wanted, machine, since);
        match one {
            Ok(change) => changes.extend(change),
            // That it is gone is a finding, not a failure to look.
            Err(error) if wanted == Wanted::Verified => changes.push(Change::Domain(DomainChange {
                domain,
                definition: None,
                live: None,
                late: Vec::new(),
                untold: Some(error.to_string()),
            })),
            Err(error) => return Err(error),
        }
    }
    Ok(changes)
}

fn of_domain(
    domain: &DomainRef,
    (old, new): (&[Commit], &[Commit]),
    origins: &mut Origins,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Option<Change>, CommitError> {
    let host = machine.domains.reach(domain)?;
    let definition = definition(domain, (old, new), origins, wanted, host, since)?;
    let layers = |commits| domains::parts(commits, &domain.uuid).map(|(c, part)| (c.extent, live_of(part)));
    let tops = |commits| {
        let layers: Vec<_> = layers(commits).collect();
        live::tops(
            layers
                .iter()
                .map(|(extent, settings)| (*extent, settings.as_slice())),
        )
    };
    let tops = live::Tops {
        before: tops(old),
        after: tops(new),
        is_adding: new.len() > old.len(),
        same_devices: Vec::new(),
    };
    let values = origins.domains.values.entry(domain.uuid.clone()).or_default();
    let known = later(old, domain, &tops.before);
    let mut late = later(new, domain, &tops.after);
    late.retain(|setting| wanted == Wanted::Verified || !known.contains(setting));
    let live = if wanted == Wanted::Verified || host.is_on() {
        live::between(&tops, values, wanted, host, since)?
    } else {
        // What a run held went with it.
        values.clear();
        None
    };
    if values.is_empty() {
        origins.domains.values.remove(&domain.uuid);
    }
    let is_any = definition.is_some() || live.is_some() || wanted == Wanted::Verified && !late.is_empty();
    Ok(is_any.then(|| {
        Change::Domain(DomainChange {
            domain: domain.clone(),
            definition,
            live,
            late,
            untold: None,
        })
    }))
}

/// Those that a running domain can be given.
fn live_of(part: &DomainPart) -> Vec<Setting> {
    let is_live = |s: &&Setting| !s.address.needs_guest_off();
    part.settings.iter().filter(is_live).cloned().collect()
}

/// What the domain has from its next start on, besides what it was given live.
fn later(commits: &[Commit], domain: &DomainRef, live: &[live::Top]) -> Vec<Setting> {
    let layers = domains::parts(commits, &domain.uuid).map(|(_, part)| (Extent::Both, &part.settings[..]));
    let all = live::tops(layers).into_iter().map(|(setting, _)| setting);
    all.filter(|s| {
        s.role != SettingRole::Follows && !live.iter().any(|(given, _)| given.address == s.address)
    })
    .collect()
}

fn definition(
    domain: &DomainRef,
    (old, new): (&[Commit], &[Commit]),
    origins: &mut Origins,
    wanted: Wanted,
    host: &LocalHost,
    since: &mut Vec<String>,
) -> Result<Option<DefinitionChange>, CommitError> {
    let (before, after) = (
        wanted_places(old, domain, host)?,
        wanted_places(new, domain, host)?,
    );
    let touched: Vec<_> = before.keys().chain(after.keys()).cloned().collect();
    let is_new = |(place, value): &(XmlSetting, String)| before.get(place) != Some(value);
    if wanted == Wanted::Verified {
        return Ok((!after.is_empty()).then(|| DefinitionChange {
            before: String::new(),
            after: String::new(),
            is_own: false,
            places: after.into_iter().collect(),
            touched,
        }));
    }
    if before == after {
        return Ok(None);
    }
    let now = host.definition_now()?;
    for (place, value_then) in &before {
        let found = value(domain, &now, place)?;
        if found != *value_then {
            since.push(format!(
                "{place} in the definition of domain {} was changed since: it says `{}`, committed was `{value_then}`",
                domain.name,
                found.escape_default()
            ));
        }
    }
    let known = origins.domains.definitions.get(&domain.uuid);
    let origin = known.cloned().unwrap_or_else(|| now.clone());
    let disk = Some(domain.disk.as_str());
    let edited =
        |xml: &str, places: &Places| xml::with_settings(xml, places, disk).map_err(|e| failed(domain, &e));
    let same = same_besides(&now, &origin, before.keys(), disk).map_err(|e| failed(domain, &e))?;
    let is_own = same && after.is_empty();
    let text = match (same, is_own) {
        (_, true) => origin.clone(),
        (true, false) => edited(&origin, &after)?,
        // Other parts that somebody has changed stay.
        (false, _) => {
            let mut all = after.clone();
            for place in before.keys().filter(|place| !after.contains_key(*place)) {
                all.insert(place.clone(), value(domain, &origin, place)?);
            }
            edited(&now, &all)?
        }
    };
    if after.is_empty() {
        origins.domains.definitions.remove(&domain.uuid);
    } else {
        origins.domains.definitions.insert(domain.uuid.clone(), origin);
    }
    Ok(Some(DefinitionChange {
        before: now,
        after: text,
        is_own,
        // libvirt leaves out what its domain has no use for any more.
        places: after.clone().into_iter().filter(is_new).collect(),
        touched,
    }))
}
