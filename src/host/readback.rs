//! Domain settings read back where they matter: the QEMU process, its threads and its cgroups.
//!
//! libvirt's own answer is asked too; where the two differ, both are given, so that the setting cannot be taken
//! for proven.

use super::HostError;
use super::libvirt::Domain;
use super::xml::{self, DiskXml};
use crate::tunable::{CpuSet, DomainSetting, ParameterGroup, XmlSetting};
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The value of a live setting of a running domain.
pub(super) fn live(domain: &Domain, setting: &DomainSetting) -> Result<String, HostError> {
    let doing = format!("read domain {setting} of {}", domain.name());
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    match setting {
        DomainSetting::VcpuPins => pins(domain).map_err(|e| fail(&e)),
        DomainSetting::Parameter(ParameterGroup::Scheduler, field) if field == "cpu_shares" => {
            let told = parameter(domain, ParameterGroup::Scheduler, "cpu_shares")?;
            let held = cgroup_value(domain, "cpu", &["cpu.shares", "cpu.weight"]).map_err(|e| fail(&e))?;
            Ok(agreed(told, &held))
        }
        DomainSetting::Parameter(ParameterGroup::Scheduler, field) if field == "vcpu_quota" => {
            let told = parameter(domain, ParameterGroup::Scheduler, "vcpu_quota")?;
            let held = vcpu_quota(domain).map_err(|e| fail(&e))?;
            // libvirt answers 0 for a quota it never set; the kernel's word for no limit is -1.
            Ok(agreed(if told == 0 { -1 } else { told }, &held))
        }
        DomainSetting::Parameter(ParameterGroup::Blkio, field) if field == "weight" => {
            let told = parameter(domain, ParameterGroup::Blkio, "weight")?;
            let files = ["blkio.bfq.weight", "blkio.weight", "io.bfq.weight", "io.weight"];
            let held = cgroup_value(domain, "blkio", &files).or_else(|_| cgroup_value(domain, "io", &files));
            Ok(agreed(told, &held.map_err(|e| fail(&e))?))
        }
        DomainSetting::Parameter(group, field) => {
            parameter(domain, *group, field).map(|told| told.to_string())
        }
        DomainSetting::EmulatorPin | DomainSetting::IothreadPins => Err(fail(&"it is not read back yet")),
    }
}

fn agreed(told: i64, held: &str) -> String {
    let held = held.trim().trim_start_matches("default ");
    if told.to_string() == held {
        held.to_string()
    } else {
        format!("{held} (libvirt says {told})")
    }
}

fn parameter(domain: &Domain, group: ParameterGroup, field: &str) -> Result<i64, HostError> {
    let doing = || format!("read {field} of domain {}", domain.name());
    let all = domain.parameters(group).map_err(|e| HostError::new(doing(), e))?;
    all.get(field)
        .and_then(super::libvirt::TypedValue::as_i64)
        .ok_or_else(|| {
            HostError::new(
                doing(),
                "libvirt does not give it; is the cgroup controller mounted?",
            )
        })
}

/// The first of `files` in the domain's own cgroup: the parent of the one QEMU's main thread is in (libvirt puts
/// emulator and vCPUs into children).
fn cgroup_value(domain: &Domain, controller: &str, files: &[&str]) -> std::io::Result<String> {
    let folder = domain.cgroup(controller)?;
    let own = if folder.ends_with("emulator") {
        folder.parent().unwrap_or(&folder)
    } else {
        &folder
    };
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for file in files {
        match fs::read_to_string(own.join(file)) {
            Ok(text) => return Ok(text.lines().next().unwrap_or_default().to_string()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn vcpu_quota(domain: &Domain) -> std::io::Result<String> {
    let folder = domain.cgroup("cpu")?;
    let own = if folder.ends_with("emulator") {
        folder.parent().unwrap_or(&folder)
    } else {
        &folder
    };
    let text = fs::read_to_string(own.join("vcpu0/cpu.cfs_quota_us"))
        .or_else(|_| fs::read_to_string(own.join("vcpu0/cpu.max")))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    Ok(if first == "max" {
        "-1".into()
    } else {
        first.to_string()
    })
}

/// CPU sets of the vCPU threads, as the kernel holds them.
pub(super) fn pins(domain: &Domain) -> Result<String, HostError> {
    let fail = |cause: String| HostError::new(format!("read vCPU affinities of {}", domain.name()), cause);
    let pid = domain.qemu_pid().map_err(|e| fail(e.to_string()))?;
    let mut threads = vcpu_threads(domain)?;
    threads.sort_unstable();
    let mut maps = Vec::new();
    for (vcpu, thread) in threads {
        let path = format!("/proc/{pid}/task/{thread}/status");
        let status = fs::read_to_string(&path).map_err(|e| fail(format!("{path}: {e}")))?;
        let list = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))
            .unwrap_or_default();
        let cpus: CpuSet = list.parse().map_err(|e| fail(format!("{path}: {e}")))?;
        maps.push(format!("{vcpu}={cpus}"));
    }
    Ok(maps.join(" "))
}

fn vcpu_threads(domain: &Domain) -> Result<Vec<(u64, u64)>, HostError> {
    let reply = query(domain, "query-cpus-fast")?;
    let thread = |cpu: &Value| Some((cpu.get("cpu-index")?.as_u64()?, cpu.get("thread-id")?.as_u64()?));
    let threads: Option<Vec<_>> = reply
        .as_array()
        .map(|cpus| cpus.iter().filter_map(thread).collect());
    threads.filter(|t| !t.is_empty()).ok_or_else(|| {
        HostError::new(
            format!("ask the QEMU of {} for its vCPU threads", domain.name()),
            "the answer has none",
        )
    })
}

/// One QMP query without arguments.
fn query(domain: &Domain, command: &str) -> Result<Value, HostError> {
    ask(domain, command, &format!("{{\"execute\":\"{command}\"}}"))
}

/// One QMP command, whole; `what` names it in an error.
pub(super) fn ask(domain: &Domain, what: &str, json: &str) -> Result<Value, HostError> {
    let fail = |cause: &dyn ToString| HostError::new(format!("ask QEMU {what}"), cause.to_string());
    let text = domain.monitor(json).map_err(|e| fail(&e))?;
    let mut reply: Value = serde_json::from_str(&text).map_err(|e| fail(&e))?;
    Ok(reply.get_mut("return").map(Value::take).unwrap_or_default())
}

/// The value of a part of the XML as the running QEMU has it.
pub(super) fn running(domain: &Domain, setting: &XmlSetting, target: &str) -> Result<String, HostError> {
    let doing = format!("read domain XML {setting} of {}", domain.name());
    let fail = |cause: &dyn ToString| HostError::new(doing.clone(), cause.to_string());
    let xml = domain.xml_live().map_err(|e| fail(&e))?;
    match setting {
        XmlSetting::DiskCache => disk_cache(domain, &xml::disk(&xml, Some(target)).map_err(|e| fail(&e))?),
        XmlSetting::DiskIo => {
            let pid = domain.qemu_pid().map_err(|e| fail(&e))?;
            let disk = xml::disk(&xml, Some(target)).map_err(|e| fail(&e))?;
            disk_io(pid, &disk).ok_or_else(|| fail(&"QEMU's command line has no such disk"))
        }
        XmlSetting::Hugepages => {
            let pid = domain.qemu_pid().map_err(|e| fail(&e))?;
            page_size(&fs::read_to_string(format!("/proc/{pid}/smaps")).map_err(|e| fail(&e))?)
                .ok_or_else(|| fail(&"its memory map has no guest memory"))
        }
        build => super::build::running(domain, build, target),
    }
}

/// The cache mode by QEMU's own flags.
///
/// Source: the table in qemu(1) under `cache`: writeback = write cache, no direct; none = both; writethrough =
/// neither; directsync = direct without write cache; unsafe = write cache without flushes.
fn disk_cache(domain: &Domain, disk: &DiskXml) -> Result<String, HostError> {
    let block = block(domain, disk, "its cache mode")?;
    let fail = || {
        HostError::new(
            "ask QEMU for its cache mode",
            format!("it tells none of disk {}", disk.target),
        )
    };
    let flag = |name: &str| block["inserted"]["cache"][name].as_bool();
    Ok(match (
        flag("writeback").ok_or_else(fail)?,
        flag("direct").ok_or_else(fail)?,
        flag("no-flush").ok_or_else(fail)?,
    ) {
        (true, false, false) => "writeback",
        (true, true, false) => "none",
        (false, false, false) => "writethrough",
        (false, true, false) => "directsync",
        (_, _, true) => "unsafe",
    }
    .to_string())
}

/// What QEMU says of a disk, to learn `what`.
pub(super) fn block(domain: &Domain, disk: &DiskXml, what: &str) -> Result<Value, HostError> {
    let fail = || {
        HostError::new(
            format!("ask QEMU for {what}"),
            format!("it reports no disk {}", disk.target),
        )
    };
    let alias = disk.alias.as_deref().ok_or_else(fail)?;
    let is_disk = |b: &Value| {
        b["qdev"]
            .as_str()
            .is_some_and(|q| q.split('/').any(|part| part == alias))
    };
    let mut blocks = query(domain, "query-block")?;
    let found = blocks
        .as_array_mut()
        .and_then(|all| all.iter_mut().find(|b| is_disk(b)));
    found.map(Value::take).ok_or_else(fail)
}

/// The `aio` word of the disk's `-blockdev`; QEMU's default is threads.
fn disk_io(pid: u32, disk: &DiskXml) -> Option<String> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let source = disk.source.as_deref()?;
    let words = command.split(|b| *b == 0).filter(|w| w.starts_with(b"{"));
    let mut nodes = words.filter_map(|w| serde_json::from_slice::<Value>(w).ok());
    let node = nodes.find(|n| n["filename"].as_str() == Some(source))?;
    Some(node["aio"].as_str().unwrap_or("threads").to_string())
}

/// The kernel page size of the largest mapping, which is the guest's memory.
fn page_size(smaps: &str) -> Option<String> {
    let field = |line: &str, name: &str| -> Option<u64> {
        line.strip_prefix(name)?
            .trim()
            .trim_end_matches(" kB")
            .trim()
            .parse()
            .ok()
    };
    let mut largest = (0, 0);
    let mut size = 0;
    for line in smaps.lines() {
        size = field(line, "Size:").unwrap_or(size);
        if let Some(page) = field(line, "KernelPageSize:")
            && size > largest.0
        {
            largest = (size, page);
        }
    }
    match largest.1 {
        0 => None,
        2048 => Some("2MiB".into()),
        1_048_576 => Some("1GiB".into()),
        _ => Some("off".into()),
    }
}

/// Writes a live setting.
pub(super) fn set_live(domain: &Domain, setting: &DomainSetting, value: &str) -> Result<(), HostError> {
    let doing = || format!("set domain {setting} of {} to {value}", domain.name());
    let number = || value.parse::<i64>().map_err(|e| HostError::new(doing(), e));
    let set = |group, field: &str| {
        let number = number()?;
        domain
            .set_parameter(group, field, number)
            .map_err(|e| HostError::new(doing(), e))
    };
    match setting {
        DomainSetting::Parameter(group, field) => set(*group, field),
        DomainSetting::EmulatorPin | DomainSetting::IothreadPins => {
            Err(HostError::new(doing(), "it is not written yet"))
        }
        DomainSetting::VcpuPins => {
            for pin in value.split_whitespace() {
                let (vcpu, cpus) = pin.split_once('=').unwrap_or((pin, ""));
                let vcpu: u32 = vcpu.parse().map_err(|e| HostError::new(doing(), e))?;
                let cpus: CpuSet = cpus.parse().map_err(|e| HostError::new(doing(), e))?;
                domain
                    .pin_vcpu(vcpu, &cpus)
                    .map_err(|e| HostError::new(doing(), e))?;
            }
            Ok(())
        }
    }
}

/// True while QEMU's process exists.
pub(super) fn process_lives(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_mapping_tells_the_page_size() {
        let map = |size: u32, page: u32| {
            format!(
                "7f-80 rw-p 0 0:0 0\nSize: {size} kB\nKernelPageSize: {page} kB\nMMUPageSize: {page} kB\n"
            )
        };
        let small = map(900, 4);
        assert_eq!(
            page_size(&(small.clone() + &map(524_288, 2048) + &small)).as_deref(),
            Some("2MiB")
        );
        assert_eq!(
            page_size(&(map(524_288, 4) + &map(2048, 2048))).as_deref(),
            Some("off")
        );
        assert_eq!(page_size("nonsense"), None);
    }

    #[test]
    fn two_answers_are_both_given() {
        assert_eq!(agreed(512, "512\n"), "512");
        assert_eq!(agreed(512, "default 512"), "512");
        assert_eq!(agreed(512, "1024"), "1024 (libvirt says 512)");
    }
}
