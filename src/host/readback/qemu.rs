//! What the running QEMU says: its monitor, its command line, its memory map.
//!
//! Does not know live settings or cgroups.

use crate::host::HostError;
use crate::host::libvirt::Domain;
use crate::host::xml::{self, DiskXml};
use crate::tunable::XmlSetting;
use serde_json::Value;
use std::fs;

/// One QMP query without arguments.
pub(super) fn query(domain: &Domain, command: &str) -> Result<Value, HostError> {
    ask(domain, command, &format!("{{\"execute\":\"{command}\"}}"))
}

/// One QMP command, whole; `what` names it in an error.
pub(in crate::host) fn ask(domain: &Domain, what: &str, json: &str) -> Result<Value, HostError> {
    let fail = |cause: &dyn ToString| HostError::new(format!("ask QEMU {what}"), cause.to_string());
    let text = domain.monitor(json).map_err(|e| fail(&e))?;
    let mut reply: Value = serde_json::from_str(&text).map_err(|e| fail(&e))?;
    Ok(reply.get_mut("return").map(Value::take).unwrap_or_default())
}

/// The value of a part of the XML as the running QEMU has it.
pub(in crate::host) fn running(
    domain: &Domain,
    setting: &XmlSetting,
    target: &str,
) -> Result<String, HostError> {
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
        build => crate::host::build::running(domain, build, target),
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
pub(in crate::host) fn block(domain: &Domain, disk: &DiskXml, what: &str) -> Result<Value, HostError> {
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
}
