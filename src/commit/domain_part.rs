//! The settings of a proven treatment that go to a domain and into its guest: as what they last there.
//!
//! Refuses what cannot last, and a domain that is no longer the one that was measured, before anything is changed.

use super::domain::{places_of, wanted_places};
use super::guest::GuestSysfs;
use super::{Commit, CommitError, Domains, Extent};
use crate::facts::Facts;
use crate::host::{Host, LocalHost, xml};
use crate::persist::definition::Places;
use crate::persist::domain::{DomainPart, DomainRef};
use crate::persist::{Lasting, lasting};
use crate::tunable::{Address, Setting, SettingRole, XmlSetting};

/// Where a definition is kept in the facts of a run, without its secrets.
const DEFINITION: &str = "domain.xml";

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Measured<'r> {
    /// The run, as tables show it.
    pub run: &'r str,
    /// What was found then.
    pub facts: &'r Facts,
    /// Whether it was this very domain; else it was the lab's guest.
    pub is_own: bool,
    /// The commits that are in force: what they changed of the domain is no change of somebody else's.
    pub in_force: &'r [Commit],
}

/// What these settings come to in a domain and in its guest.
pub fn domain_part(
    settings: &[Setting],
    of: Measured<'_>,
    domain: DomainRef,
    extent: Extent,
    domains: &mut Domains,
) -> Result<DomainPart, CommitError> {
    let host = domains.reach(&domain)?;
    let name = domain.name.clone();
    if extent == Extent::Live && !host.is_on() {
        return Err(CommitError::Refused(format!(
            "domain {name} is off: it has no live values; start it, or use --config"
        )));
    }
    let recorded = of.facts.record.get(DEFINITION).and_then(|xml| xml::uuid(xml));
    if let Some(then) = recorded.filter(|then| of.is_own && *then != domain.uuid) {
        return Err(CommitError::Refused(format!(
            "domain {name} is another one now: its UUID is {}, that of run {} was {then}; measure it again",
            domain.uuid, of.run
        )));
    }
    let (inside, own): (Vec<_>, Vec<_>) = settings.iter().cloned().partition(|s| s.address.in_guest());
    let places = of_domain(&own, of, &domain, extent, host)?;
    let (lasting, values) = if inside.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        of_guest(inside, of, &name, host)?
    };
    let lasting = if extent.is_config() { lasting } else { Vec::new() };
    Ok(DomainPart {
        domain,
        settings: own,
        places: places.into_iter().collect(),
        lasting,
        values,
    })
}

/// The places of the domain's own settings in its definition; fails when it cannot keep them all.
fn of_domain(
    own: &[Setting],
    of: Measured<'_>,
    domain: &DomainRef,
    extent: Extent,
    host: &LocalHost,
) -> Result<Places, CommitError> {
    let definition = if extent.is_config() {
        host.definition_now()?
    } else {
        String::new()
    };
    let (name, disk) = (&domain.name, Some(domain.disk.as_str()));
    let mut unfit: Vec<_> = own.iter().filter(|_| !of.is_own).filter_map(of_the_lab).collect();
    let needing_restart = own.iter().filter(|s| s.address.needs_guest_off());
    if extent == Extent::Live {
        unfit.extend(
            needing_restart.map(|s| format!("{} takes a restart of the domain; leave --live out", s.address)),
        );
    }
    let places = if extent.is_config() {
        places_of(own, host)
    } else {
        Ok(Places::new())
    };
    let places = places.unwrap_or_else(|why| {
        unfit.extend(why);
        Places::new()
    });
    for (place, value) in &places {
        let changes = [(place.clone(), value.clone())].into();
        if let Err(error) = xml::with_settings(&definition, &changes, disk) {
            unfit.push(error.to_string());
        }
    }
    if !unfit.is_empty() {
        return Err(CommitError::Refused(format!(
            "domain {name} cannot keep all of it: {}",
            unfit.join("; ")
        )));
    }
    if of.is_own && !own.is_empty() && extent.is_config() {
        let changed = changed_since(&places, of, domain, host, &definition)?;
        if !changed.is_empty() {
            return Err(CommitError::Refused(format!(
                "domain {name} was changed since run {}: {}; measure it again as it is now",
                of.run,
                changed.join("; ")
            )));
        }
    }
    Ok(places)
}

/// Why a setting makes sense in the lab only.
fn of_the_lab(setting: &Setting) -> Option<String> {
    let value = setting.value.as_str();
    let why = match &setting.address {
        Address::DomainXml(XmlSetting::DiskImage) => "its disk is the lab's",
        Address::DomainXml(XmlSetting::Kernel | XmlSetting::Initrd) if !value.starts_with('/') => {
            "a kernel by its release is the lab's"
        }
        _ => return None,
    };
    Some(format!("{} = {value}: {why}", setting.address))
}

/// In what the domain differs from the one that was measured, as far as it matters to these settings.
fn changed_since(
    places: &Places,
    of: Measured<'_>,
    domain: &DomainRef,
    host: &LocalHost,
    definition: &str,
) -> Result<Vec<String>, CommitError> {
    let mut changed = Vec::new();
    let now = xml::size(definition).ok();
    let then = (of.facts.vcpus, of.facts.guest_memory);
    if let Some(now) = now.filter(|now| *now != then) {
        let told = |(vcpus, memory)| format!("{vcpus} vCPUs and {memory}");
        changed.push(format!("it has {}, then it had {}", told(now), told(then)));
    }
    let Some(recorded) = of.facts.record.get(DEFINITION) else {
        return Ok(changed);
    };
    let disk = Some(domain.disk.as_str());
    let ours = wanted_places(of.in_force, domain, host)?;
    for place in places.keys() {
        let (then, now) = (
            xml::value(recorded, place, disk),
            xml::value(definition, place, disk),
        );
        if let (Ok(then), Ok(now)) = (then, now)
            && then != now
            && ours.get(place) != Some(&now)
        {
            changed.push(format!(
                "{place} is `{}`, then it was `{then}`",
                now.escape_default()
            ));
        }
    }
    Ok(changed)
}

/// What lasts inside the guest, and its live values.
fn of_guest(
    inside: Vec<Setting>,
    of: Measured<'_>,
    name: &str,
    host: &mut LocalHost,
) -> Result<(Vec<Lasting>, Vec<Setting>), CommitError> {
    host.guest_files()?;
    let now = if of.is_own { None } else { Some(host.facts()?) };
    let files = host.guest_files()?;
    let has_systemd = files.has_systemd()?;
    let mut sysfs = GuestSysfs(files);
    let (mut items, mut values, mut unfit) = (Vec::<Lasting>::new(), Vec::new(), Vec::new());
    for setting in inside {
        let setting = match &now {
            Some(now) => match retargeted(setting, of.facts, now) {
                Ok(setting) => setting,
                Err(why) => {
                    unfit.push(why);
                    continue;
                }
            },
            None => setting,
        };
        if matches!(setting.address, Address::GuestCommand(_)) && !has_systemd {
            unfit.push(format!(
                "{} is set by a command, and the guest has no systemd to run it at boot",
                setting.address
            ));
            continue;
        }
        match lasting(&setting, &mut sysfs) {
            Ok(found) => items.extend(found),
            Err(why) => unfit.push(why.to_string()),
        }
        if setting.role != SettingRole::Follows {
            values.push(setting);
        }
    }
    items.dedup();
    if unfit.is_empty() {
        Ok((items, values))
    } else {
        Err(CommitError::Refused(format!(
            "the guest of domain {name} cannot keep all of it: {}",
            unfit.join("; ")
        )))
    }
}

/// The same setting of another guest: its data disk and its link have names of their own.
fn retargeted(mut setting: Setting, then: &Facts, now: &Facts) -> Result<Setting, String> {
    let place = setting.address.to_string();
    let names = [
        (
            "/sys/block/",
            &then.guest_disk,
            &now.guest_disk,
            "data disk of the name its domain has for it",
        ),
        (
            "/sys/class/net/",
            &then.guest_link,
            &now.guest_link,
            "network link that its domain knows",
        ),
    ];
    for (folder, then, now, what) in names {
        let Some(then) = then else { continue };
        let lacks = || format!("{place}: the guest has no {what}");
        match &mut setting.address {
            Address::GuestFile { path, .. } => {
                if let Some(rest) = path.strip_prefix(&format!("{folder}{then}/")) {
                    *path = format!("{folder}{}/{rest}", now.as_ref().ok_or_else(lacks)?);
                }
            }
            Address::GuestCommand(commands) if folder.ends_with("net/") => {
                for word in commands
                    .get
                    .iter_mut()
                    .chain(&mut commands.set)
                    .filter(|w| *w == then)
                {
                    word.clone_from(now.as_ref().ok_or_else(lacks)?);
                }
            }
            _ => {}
        }
    }
    Ok(setting)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::tunable::{Format, Kind};

    #[test]
    fn disk_and_link_have_the_names_of_the_other_guest() {
        let facts = |disk: Option<&str>, link: Option<&str>| Facts {
            guest_disk: disk.map(Into::into),
            guest_link: link.map(Into::into),
            ..Facts::default()
        };
        let setting = |path: &str| {
            let address = Address::GuestFile {
                path: path.into(),
                format: Format::Plain,
            };
            Setting::own(address, Kind::Words.parse("1").unwrap(), Kind::Words)
        };
        let (lab, user) = (
            facts(Some("vdb"), Some("eth0")),
            facts(Some("vda"), Some("enp1s0")),
        );
        let moved = |path: &str| {
            retargeted(setting(path), &lab, &user)
                .unwrap()
                .address
                .to_string()
        };
        assert_eq!(
            moved("/sys/block/vdb/queue/scheduler"),
            "guest:/sys/block/vda/queue/scheduler"
        );
        assert_eq!(
            moved("/sys/class/net/eth0/mtu"),
            "guest:/sys/class/net/enp1s0/mtu"
        );
        assert_eq!(
            moved("/sys/block/vdbx/queue/scheduler"),
            "guest:/sys/block/vdbx/queue/scheduler"
        );
        assert_eq!(moved("/proc/sys/vm/swappiness"), "guest:/proc/sys/vm/swappiness");
        let bare = retargeted(
            setting("/sys/block/vdb/queue/scheduler"),
            &lab,
            &facts(None, None),
        );
        assert!(bare.unwrap_err().contains("no data disk"));
    }
}
