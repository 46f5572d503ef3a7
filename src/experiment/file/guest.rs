//! The `[guest]` table.

mod transport;

use crate::decode::{Field, Reader};
use crate::design::Guests;
use crate::diagnostic::Diagnostic;
use crate::experiment::{Company, Factor, Guest};
use crate::tunable::{Home, KernelSide};
use crate::units::Bytes;
use crate::workload::Workload;

const DEFAULT_VCPUS: u16 = 2;
const DEFAULT_MEMORY: Bytes = Bytes::mib(512);
const DEFAULT_DISK: Bytes = Bytes::mib(256);
const DEFAULT_CONNECT: &str = "qemu:///system";
/// What a scratch file is to be.
const SCRATCH: &str =
    "the absolute path of a plain file, such as \"/var/tmp/kvmtune.dat\", not in /dev, /proc or /sys";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lab,
    Domain,
    Host,
}

const FRESH: [(&str, Guests); 3] = [
    ("trial", Guests::Fresh),
    ("block", Guests::Block),
    ("run", Guests::Shared),
];

/// The guest, and which trials share a start of it; the default lab guest when there is no such table.
pub(super) fn guest(file: &mut Reader<'_>) -> Option<(Guest, Guests)> {
    let Some(field) = file.take("guest") else {
        return Some((Guest::default(), Guests::default()));
    };
    let mut table = field.table()?;
    let kinds = [("lab", Kind::Lab), ("domain", Kind::Domain), ("host", Kind::Host)];
    let stated = table.take("kind").map(|f| f.word(&kinds));
    let domain = table.take("domain");
    let implied = if domain.is_some() { Kind::Domain } else { Kind::Lab };
    let kind = stated.unwrap_or(Some(implied));
    let guest = match kind {
        Some(Kind::Lab) => lab(&mut table, domain.as_ref()),
        Some(Kind::Domain) => own_domain(&mut table, domain.as_ref()),
        Some(Kind::Host) => Some(no_guest(&mut table, domain.as_ref())),
        // Which keys belong is unknown: all are asked for, none is judged.
        None => {
            for key in [
                "vcpus",
                "memory",
                "disk",
                "connect",
                "scratch",
                "transport",
                "ssh",
            ] {
                table.take(key);
            }
            None
        }
    };
    let fresh = fresh(&mut table, kind);
    table.finish();
    Some((guest?, fresh?))
}

/// Which trials have a start of the guest of their own.
fn fresh(table: &mut Reader<'_>, kind: Option<Kind>) -> Option<Guests> {
    if kind == Some(Kind::Host) {
        table.refuse("fresh", "it is of a guest, and there is none");
    }
    let field = table.take("fresh");
    field.map_or(Some(Guests::default()), |f| f.word(&FRESH))
}

fn lab(table: &mut Reader<'_>, domain: Option<&Field<'_>>) -> Option<Guest> {
    if let Some(field) = domain {
        field.wrong(
            "`domain` has no meaning here",
            "remove it, or write kind = \"domain\"",
        );
    }
    for key in ["connect", "scratch"] {
        table.refuse(key, "it is for a domain of yours; the lab guest has its own");
    }
    let vcpus = lab_vcpus(table, DEFAULT_VCPUS);
    let memory = size(
        table,
        "memory",
        DEFAULT_MEMORY,
        Bytes::mib(256)..=Bytes::mib(1 << 20),
    );
    let disk = size(table, "disk", DEFAULT_DISK, Bytes::mib(160)..=Bytes::mib(1 << 16));
    let ssh = transport::lab(table);
    Some(Guest::Lab {
        vcpus: vcpus?,
        memory: memory?,
        disk: disk?,
        ssh: ssh?,
        company: Company::default(),
    })
}

/// The vCPUs of a guest of the lab.
pub(super) fn lab_vcpus(table: &mut Reader<'_>, default: u16) -> Option<u16> {
    table.take("vcpus").map_or(Some(default), |f| {
        f.integer(1..=64).and_then(|n| u16::try_from(n).ok())
    })
}

/// A size of whole mebibytes within `range`.
pub(super) fn size(
    table: &mut Reader<'_>,
    key: &'static str,
    default: Bytes,
    range: std::ops::RangeInclusive<Bytes>,
) -> Option<Bytes> {
    let Some(field) = table.take(key) else {
        return Some(default);
    };
    let size: Bytes = field.parse(&default.to_string())?;
    if range.contains(&size) && size.0.is_multiple_of(1 << 20) {
        return Some(size);
    }
    let hint = format!("use whole MiB from {} to {}", range.start(), range.end());
    field.wrong(format!("`{key}` of {size} is out of range"), hint);
    None
}

fn own_domain(table: &mut Reader<'_>, domain: Option<&Field<'_>>) -> Option<Guest> {
    for key in ["vcpus", "memory"] {
        table.refuse(
            key,
            "it is for the lab guest; a domain of yours keeps what it has",
        );
    }
    if domain.is_none() {
        table.required("domain", "name it as `virsh list --all` does");
    }
    let name = domain.and_then(|f| f.text_if(is_domain_name, "the name that `virsh list --all` shows"));
    let connect = table.take("connect").map_or(Some(DEFAULT_CONNECT), |f| {
        f.text_if(
            is_local_uri,
            "a local connection such as \"qemu:///system\": kvmtune sets things on this host",
        )
    });
    let disk = table
        .take("disk")
        .map(|f| f.text_if(is_disk_target, "a target name such as \"vdb\""));
    let scratch = table.take("scratch").map(|f| f.text_if(is_scratch, SCRATCH));
    let ssh = transport::domain(table);
    Some(Guest::Domain {
        name: name?.to_string(),
        connect: connect?.to_string(),
        disk: disk.flatten().map(str::to_string),
        scratch: scratch.flatten().map(str::to_string),
        ssh: ssh.ok()?,
    })
}

/// No guest at all.
fn no_guest(table: &mut Reader<'_>, domain: Option<&Field<'_>>) -> Guest {
    if let Some(field) = domain {
        field.wrong(
            "`domain` has no meaning here",
            "remove it, or write kind = \"domain\"",
        );
    }
    for key in ["vcpus", "memory", "disk", "connect"] {
        table.refuse(
            key,
            "it is of a guest, and there is none; the host keeps what it has",
        );
    }
    let scratch = table.take("scratch");
    Guest::Host {
        scratch: scratch
            .and_then(|f| f.text_if(is_scratch, SCRATCH))
            .map(str::to_string),
    }
}

/// Refuses what takes a guest, in an experiment without one.
pub(super) fn refuse_without_guest(
    file: &mut Reader<'_>,
    factors: Option<&[Factor]>,
    workloads: Option<&[Workload]>,
) {
    let is_of_host = |home: &Home| match home {
        Home::Sysctl(side, _) | Home::File(side, ..) | Home::Module(side, _) | Home::DiskQueue(side, ..) => {
            *side == KernelSide::Host
        }
        Home::EachCpu(_) | Home::HostBoot(_) => true,
        Home::HostLink(_)
        | Home::GuestLink(_)
        | Home::GuestCommand(_)
        | Home::Domain(_)
        | Home::Neighbour(_)
        | Home::DomainXml(_) => false,
    };
    for factor in factors
        .into_iter()
        .flatten()
        .filter(|f| !is_of_host(&f.tunable.home))
    {
        let message = format!("`{}` takes a guest, and there is none", factor.tunable.name);
        let mistake = Diagnostic::at(factor.span.clone(), message);
        file.mistakes()
            .add(mistake.hint("take a tunable of the host, or another guest than kind = \"host\""));
    }
    let needs = workloads.into_iter().flatten().find(|w| w.needs_network());
    if let (Some(workload), Some(field)) = (needs, file.take("workload")) {
        field.wrong(
            format!(
                "`{}` runs between a host and its guest, and there is none",
                workload.name
            ),
            "take another workload, or another guest than kind = \"host\"",
        );
    }
}

fn is_domain_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 200
        && text.trim() == text
        && !text.starts_with('-')
        && !text.contains(|c: char| c.is_control() || c == '/')
}

/// Remote URIs are refused: the host's settings would be changed here and the guest would run there. Their
/// `command=` would also let a file start any program.
fn is_local_uri(text: &str) -> bool {
    let local = ["qemu:///", "test:///"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let usual = local && text.chars().all(|c| c.is_ascii_graphic());
    text.len() <= 300 && (usual || is_socket_uri(text))
}

/// A libvirtd of this host that listens at a socket of its own: `qemu+unix:///system?socket=/run/mine/sock`. Of all
/// that libvirt takes after the `?`, only this is allowed.
fn is_socket_uri(text: &str) -> bool {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let socket = text.strip_prefix("qemu+unix:///").and_then(|rest| {
        ["system?socket=", "session?socket="]
            .iter()
            .find_map(|path| rest.strip_prefix(path))
    });
    socket.is_some_and(|path| path.starts_with('/') && path.chars().all(tame))
}

fn is_disk_target(text: &str) -> bool {
    (1..=16).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// An ordinary file, since it is overwritten. fio takes `:` for a separator of several files: not allowed.
fn is_scratch(text: &str) -> bool {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    let parts: Vec<_> = text.split('/').skip(1).collect();
    let plain = parts.iter().all(|p| !p.is_empty() && *p != "." && *p != "..");
    text.starts_with('/')
        && text.len() <= 200
        && text.chars().all(tame)
        && plain
        && !matches!(parts.first(), Some(&("dev" | "proc" | "sys")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_is_never_a_device() {
        assert!(is_scratch("/var/tmp/kvmtune.dat"));
        for bad in [
            "/dev/vda",
            "//dev/vda",
            "/./dev/vda",
            "/tmp/../dev/vda",
            "/tmp/a:/dev/vda",
            "dev/vda",
            "/tmp/",
            "/",
            "",
            "/tmp/{result}",
        ] {
            assert!(!is_scratch(bad), "{bad}");
        }
    }

    #[test]
    fn only_local_connections() {
        assert!(is_local_uri("qemu:///session"));
        assert!(is_local_uri("qemu+unix:///system?socket=/run/mine/libvirt-sock"));
        for bad in [
            "qemu+unix:///system",
            "qemu+unix:///system?socket=relative",
            "qemu+unix:///system?socket=/run/sock&command=/tmp/x",
            "qemu+unix:///system?command=/tmp/x",
            "qemu+unix:///embed?socket=/run/sock",
            "qemu+unix://host/system?socket=/run/sock",
        ] {
            assert!(!is_local_uri(bad), "{bad}");
        }
        assert!(!is_local_uri("qemu+ssh://host/system?command=/tmp/x"));
        assert!(!is_local_uri("qemu+ext:///system?command=/tmp/x"));
    }
}
