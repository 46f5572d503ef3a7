//! Domain settings read back where they matter: the QEMU process, its threads and its cgroups.
//!
//! libvirt's own answer is asked too; where the two differ, both are given, so that the setting cannot be taken
//! for proven.

mod cgroup;
mod device;
mod qemu;
mod threads;

pub(super) use qemu::{ask, block, running};

use super::HostError;
use super::libvirt::{Domain, TypedValue};
use super::xml;
use crate::tunable::{DomainSetting, ParameterGroup};
use cgroup::Groups;
use std::path::Path;

/// libvirt's word for no quota where cgroup version 2 says `max`.
///
/// Source: `VIR_CGROUP_CPU_QUOTA_MAX` in libvirt's src/util/vircgroup.h.
const QUOTA_MAX: i64 = 17_592_186_044_415;

/// The limits of a disk that libvirt sets as one, and QEMU's names of them: of bytes, and of requests.
const LIMITS: [[(&str, &str); 3]; 2] = [
    [
        ("total_bytes_sec", "bps"),
        ("read_bytes_sec", "bps_rd"),
        ("write_bytes_sec", "bps_wr"),
    ],
    [
        ("total_iops_sec", "iops"),
        ("read_iops_sec", "iops_rd"),
        ("write_iops_sec", "iops_wr"),
    ],
];

/// The value of a live setting of a running domain; `target` is the data disk's target name.
pub(super) fn live(domain: &Domain, setting: &DomainSetting, target: &str) -> Result<String, HostError> {
    let doing = format!("read domain {setting} of {}", domain.name());
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    match setting {
        DomainSetting::VcpuPins => threads::vcpu_pins(domain),
        DomainSetting::EmulatorPin => threads::emulator_pin(domain),
        DomainSetting::IothreadPins => threads::iothread_pins(domain),
        DomainSetting::Parameter(ParameterGroup::Scheduler, field) => {
            let told = parameter(domain, ParameterGroup::Scheduler, field)?;
            let held = groups(domain, "cpu").and_then(|g| g.scheduler(field));
            let told = if field.ends_with("_quota") {
                quota(told)
            } else {
                told
            };
            Ok(agreed(&told.to_string(), &held.map_err(|e| fail(&e))?))
        }
        DomainSetting::Parameter(ParameterGroup::Memory, field) => {
            let told = parameter(domain, ParameterGroup::Memory, field)?;
            let held = groups(domain, "memory").and_then(|g| g.memory(field));
            Ok(agreed(&told.to_string(), &held.map_err(|e| fail(&e))?))
        }
        DomainSetting::Parameter(ParameterGroup::Blkio, field) if field.starts_with("device_") => {
            let device = device::behind(domain, target).map_err(|e| fail(&e))?;
            let held = groups(domain, "blkio").and_then(|g| g.device(field, &device.numbers));
            let held = held.map_err(|e| fail(&e))?;
            let told = device.told(&text_parameter(domain, field)?);
            Ok(agreed(&told.to_string(), &held))
        }
        DomainSetting::Parameter(ParameterGroup::Blkio, field) => {
            let held = groups(domain, "blkio").and_then(|g| g.weight());
            let held = held.map_err(|e| fail(&e))?;
            let told = parameter(domain, ParameterGroup::Blkio, field)?;
            Ok(agreed(&told.to_string(), &held))
        }
        DomainSetting::Parameter(ParameterGroup::Throttle, field) => throttle(domain, field, target),
    }
}

/// Writes a live setting.
pub(super) fn set_live(
    domain: &Domain,
    setting: &DomainSetting,
    value: &str,
    target: &str,
) -> Result<(), HostError> {
    let doing = format!("set domain {setting} of {} to {value}", domain.name());
    let fail = |cause: String| HostError::new(doing.clone(), cause);
    let number = || value.parse::<i64>().map_err(|e| fail(e.to_string()));
    match setting {
        DomainSetting::VcpuPins => threads::pin_vcpus(domain, value).map_err(fail),
        DomainSetting::EmulatorPin => threads::pin_emulator(domain, value).map_err(fail),
        DomainSetting::IothreadPins => threads::pin_iothreads(domain, value).map_err(fail),
        DomainSetting::Parameter(ParameterGroup::Throttle, field) => {
            set_throttle(domain, field, number()?, target).map_err(fail)
        }
        DomainSetting::Parameter(ParameterGroup::Blkio, field) if field.starts_with("device_") => {
            let number = number()?;
            let device = device::behind(domain, target).map_err(fail)?;
            // libvirt's own refusal would name neither the file nor the device.
            groups(domain, "blkio")
                .and_then(|g| g.device(field, &device.numbers))
                .map_err(|e| fail(e.to_string()))?;
            let text = device.entry(&text_parameter(domain, field)?, number);
            domain
                .set_text_parameter(ParameterGroup::Blkio, field, &text)
                .map_err(|e| fail(e.to_string()))
        }
        DomainSetting::Parameter(group, field) => domain
            .set_parameter(*group, field, number()?)
            .map_err(|e| fail(e.to_string())),
    }
}

/// What libvirt and the machine agree on, or what each of them has.
fn agreed(told: &str, held: &str) -> String {
    if told == held {
        held.to_string()
    } else {
        format!("{held} (libvirt says {told})")
    }
}

/// The value that all named ones have; where they differ, each with its name.
fn one_or_all(named: &[(String, String)]) -> String {
    match named {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other == first) => first.clone(),
        all => {
            let all: Vec<_> = all
                .iter()
                .map(|(name, value)| format!("{name}: {value}"))
                .collect();
            all.join(", ")
        }
    }
}

/// libvirt says 0 for a quota it never set, and its largest for none; the kernel's word is -1.
fn quota(told: i64) -> i64 {
    if told == 0 || told == QUOTA_MAX { -1 } else { told }
}

fn groups(domain: &Domain, controller: &str) -> std::io::Result<Groups> {
    domain.cgroup(controller).map(Groups::of)
}

fn parameter(domain: &Domain, group: ParameterGroup, field: &str) -> Result<i64, HostError> {
    let doing = || format!("read {field} of domain {}", domain.name());
    let all = domain.parameters(group).map_err(|e| HostError::new(doing(), e))?;
    all.get(field)
        .and_then(TypedValue::as_i64)
        .ok_or_else(|| not_given(doing()))
}

fn text_parameter(domain: &Domain, field: &str) -> Result<String, HostError> {
    let doing = || format!("read {field} of domain {}", domain.name());
    let all = domain.parameters(ParameterGroup::Blkio);
    let all = all.map_err(|e| HostError::new(doing(), e))?;
    let text = all.get(field).and_then(TypedValue::as_text);
    text.map(str::to_string).ok_or_else(|| not_given(doing()))
}

fn not_given(doing: String) -> HostError {
    HostError::new(
        doing,
        "libvirt does not give it; is the cgroup controller mounted?",
    )
}

/// A limit of the data disk, by libvirt and by QEMU's own report.
fn throttle(domain: &Domain, field: &str, target: &str) -> Result<String, HostError> {
    let fail =
        |cause: &dyn ToString| HostError::new(format!("read {field} of disk {target}"), cause.to_string());
    let name = LIMITS.iter().flatten().find(|(own, _)| *own == field);
    let (_, name) = name.ok_or_else(|| fail(&"QEMU has no such limit"))?;
    let told = domain.throttle(target).map_err(|e| fail(&e))?;
    let told = told.get(field).and_then(TypedValue::as_i64);
    let told = told.ok_or_else(|| fail(&"libvirt does not give it"))?;
    let xml = domain.xml_live().map_err(|e| fail(&e))?;
    let disk = xml::disk(&xml, Some(target)).map_err(|e| fail(&e))?;
    let block = block(domain, &disk, field)?;
    let held = block["inserted"][name].as_i64();
    let held = held.ok_or_else(|| fail(&format!("QEMU reports no {name} of it")))?;
    Ok(agreed(&told.to_string(), &held.to_string()))
}

/// Sets one limit and leaves the two that belong to it as they are: named alone it would zero them.
fn set_throttle(domain: &Domain, field: &str, number: i64, target: &str) -> Result<(), String> {
    let family = LIMITS.iter().find(|f| f.iter().any(|(own, _)| *own == field));
    let family = family.ok_or_else(|| format!("libvirt has no limit {field}"))?;
    let now = domain.throttle(target).map_err(|e| e.to_string())?;
    let limits: Vec<_> = family
        .iter()
        .map(|(own, _)| {
            let now = now.get(*own).and_then(TypedValue::as_i64).unwrap_or(0);
            (*own, if *own == field { number } else { now })
        })
        .collect();
    domain.set_throttle(target, &limits).map_err(|e| e.to_string())
}

/// True while QEMU's process exists.
pub(super) fn process_lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_answers_are_both_given() {
        assert_eq!(agreed("512", "512"), "512");
        assert_eq!(agreed("512", "1024"), "1024 (libvirt says 512)");
    }

    #[test]
    fn no_quota_has_one_word() {
        assert_eq!([0, -1, QUOTA_MAX, 40_000].map(quota), [-1, -1, -1, 40_000]);
    }

    #[test]
    fn names_stand_only_where_values_differ() {
        let named = |values: &[&str]| {
            let pairs = values.iter().enumerate();
            let pairs: Vec<_> = pairs.map(|(i, v)| (format!("t{i}"), (*v).to_string())).collect();
            one_or_all(&pairs)
        };
        assert_eq!(named(&["1", "1"]), "1");
        assert_eq!(named(&["1", "2"]), "t0: 1, t1: 2");
        assert_eq!(named(&[]), "");
    }
}
