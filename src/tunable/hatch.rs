//! The escape hatches: settings the catalogue does not know, named directly.
//!
//! Each leads to a checked place only; what a level there means is the user's business.

use super::neighbour::of_neighbour;
use super::{
    Activation, Format, GuestCommands, Home, KernelSide, Kind, SysctlName, Tunable, ValueError, XmlPath,
    XmlPlace, XmlSetting, catalogue,
};
use std::collections::BTreeMap;

/// The escape hatches: what stands before the colon, and what follows it.
pub const HATCHES: [(&str, &str); 11] = [
    (
        "sysctl:NAME",
        "any sysctl of the host that can be set back, as `sysctl -a` shows it",
    ),
    ("guest-sysctl:NAME", "any sysctl of the guest"),
    (
        "sysfs:PATH",
        "a file of the host below /sys, /proc/sys or a cgroup",
    ),
    ("guest-sysfs:PATH", "a file of the guest below /sys or /proc/sys"),
    ("module:MODULE.PARAM", "a parameter of a module of the host"),
    (
        "guest-module:MODULE.PARAM",
        "a parameter of a module of the guest",
    ),
    (
        "domain-xpath:PATH",
        "a text or attribute of the domain XML, `absent` for none",
    ),
    ("boot:NAME", "a parameter of the host kernel's command line"),
    (
        "guest-boot:NAME",
        "a parameter of the guest kernel's command line",
    ),
    (
        "guest-exec:NAME",
        "a pair of commands in the guest, `get` and `set` of the factor",
    ),
    (
        "neighbour:NAME/TUNABLE",
        "a live limit, share or weight of a neighbour in the lab: `neighbour:hog/domain.cpu.quota`",
    ),
];

/// The tunable a name leads to past the catalogue; `None` when it begins with no hatch.
pub(super) fn escaped(name: &str) -> Option<Result<Tunable, ValueError>> {
    use KernelSide::{Guest, Host};
    let (hatch, rest) = name.split_once(':')?;
    if hatch == "neighbour" {
        return Some(of_neighbour(rest));
    }
    // A place that has a name of its own is the same place, with the same proof.
    let place = |path: XmlPath| {
        let known = catalogue().iter().find_map(|t| match &t.home {
            Home::DomainXml(XmlSetting::Place(place)) if place.path == path => Some(place.clone()),
            _ => None,
        });
        Home::DomainXml(XmlSetting::Place(known.unwrap_or(XmlPlace {
            path,
            default: None,
            qemu: None,
        })))
    };
    let (home, kind) = match hatch {
        "sysctl" => (two_way(rest).map(|name| Home::Sysctl(Host, name)), Kind::Words),
        "guest-sysctl" => (two_way(rest).map(|name| Home::Sysctl(Guest, name)), Kind::Words),
        "sysfs" => (
            rest.parse().map(|path| Home::File(Host, path, Format::Auto)),
            Kind::Words,
        ),
        "guest-sysfs" => (
            rest.parse().map(|path| Home::File(Guest, path, Format::Auto)),
            Kind::Words,
        ),
        "module" => (rest.parse().map(|name| Home::Module(Host, name)), Kind::Words),
        "guest-module" => (rest.parse().map(|name| Home::Module(Guest, name)), Kind::Words),
        "domain-xpath" => (rest.parse().and_then(settable).map(place), Kind::Words),
        "boot" => (rest.parse().map(Home::HostBoot), Kind::Boot),
        "guest-boot" => {
            let boot = rest
                .parse()
                .map(|name| Home::DomainXml(XmlSetting::GuestBoot(name)));
            (boot, Kind::Boot)
        }
        "guest-exec" => (is_command_name(rest), Kind::Words),
        _ => return None,
    };
    let (_, summary) = HATCHES
        .iter()
        .find(|(name, _)| name.split_once(':').is_some_and(|(h, _)| h == hatch))?;
    Some(home.map(normalised).map(|home| {
        let written = format!("{hatch}:{rest}");
        match known(&home) {
            // Ranges, dangers and couplings are those of the place, whatever it is called.
            Some(known) if !matches!(home, Home::DomainXml(XmlSetting::Place(_))) => Tunable {
                name: written,
                ..known.clone()
            },
            Some(known) => Tunable {
                hazard: known.hazard,
                hazards: known.hazards.clone(),
                ..unknown(written, home, kind, summary)
            },
            None => unknown(written, home, kind, summary),
        }
    }))
}

fn unknown(name: String, home: Home, kind: Kind, summary: &str) -> Tunable {
    Tunable {
        name,
        activation: match &home {
            Home::DomainXml(_) => Activation::DomainRestart,
            Home::HostBoot(_) => Activation::HostReboot,
            _ => Activation::Live,
        },
        home,
        kind,
        unit: String::new(),
        default: None,
        hazard: None,
        hazards: BTreeMap::new(),
        needs: Vec::new(),
        limit: None,
        coupling: None,
        suggest: None,
        since: None,
        gone: None,
        summary: summary.into(),
        source: "named by the experiment".into(),
    }
}

/// The entry of the catalogue with this place.
fn known(home: &Home) -> Option<&'static Tunable> {
    catalogue().iter().find(|t| match (&t.home, home) {
        // How the file spells what is selected is the entry's to know.
        (Home::File(side, path, _), Home::File(of, file, _)) => side == of && path == file,
        (known, home) => known == home,
    })
}

/// A sysctl that can be set back: some act when they are written, others never let go again.
fn two_way(name: &str) -> Result<SysctlName, ValueError> {
    const ONE_WAY: [&str; 8] = [
        "vm.drop_caches",
        "vm.compact_memory",
        "kernel.modules_disabled",
        "kernel.kexec_load_disabled",
        "kernel.unprivileged_bpf_disabled",
        "kernel.yama.ptrace_scope",
        "net.ipv4.route.flush",
        "net.ipv6.route.flush",
    ];
    if ONE_WAY.contains(&name) {
        return Err(ValueError::new(
            name,
            "a sysctl that can be set back to what it was",
        ));
    }
    name.parse()
}

/// A sysctl or a module's parameter that is named by its file.
fn normalised(home: Home) -> Home {
    let Home::File(side, path, _) = &home else {
        return home;
    };
    let swap = |c| match c {
        '/' => '.',
        '.' => '/',
        other => other,
    };
    if let Some(name) = path.as_str().strip_prefix("/proc/sys/")
        && let Ok(name) = two_way(&name.chars().map(swap).collect::<String>())
    {
        return Home::Sysctl(*side, name);
    }
    let parameter = path
        .as_str()
        .strip_prefix("/sys/module/")
        .and_then(|rest| rest.split_once("/parameters/"));
    match parameter.map(|(module, name)| format!("{module}.{name}").parse()) {
        Some(Ok(parameter)) => Home::Module(*side, parameter),
        _ => home,
    }
}

/// A guest under another name is another guest.
fn settable(path: XmlPath) -> Result<XmlPath, ValueError> {
    if path.is_identity() {
        let expected = "another place: kvmtune finds the guest by its name and UUID; they are not set";
        return Err(ValueError::new(path.as_str(), expected));
    }
    Ok(path)
}

/// The commands themselves stand in the factor.
fn is_command_name(name: &str) -> Result<Home, ValueError> {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if (1..=60).contains(&name.len()) && name.chars().all(tame) {
        Ok(Home::GuestCommand(GuestCommands {
            get: Vec::new(),
            set: Vec::new(),
        }))
    } else {
        Err(ValueError::new(
            name,
            "a name of letters, digits, `-`, `_` or `.`",
        ))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{LookupError, lookup};

    #[test]
    fn hatches_lead_to_checked_places_only() {
        for good in [
            "sysctl:vm.swappiness",
            "guest-sysctl:net.ipv4.tcp_rmem",
            "sysfs:/sys/kernel/mm/ksm/run",
            "module:kvm.halt_poll_ns",
            "domain-xpath:/domain/devices/disk[$disk]/driver/@discard",
            "boot:mitigations",
            "guest-boot:quiet",
            "guest-exec:tso",
            "neighbour:hog/domain.cpu.quota",
            "neighbour:a_b/domain.blkio.weight",
        ] {
            assert_eq!(lookup(good).unwrap().name, good);
        }
        for bad in [
            "sysctl:../../etc",
            "sysfs:/etc/passwd",
            "sysfs:/sys/../etc/passwd",
            "module:../a.b",
            "domain-xpath://disk",
            "domain-xpath:/domain/name",
            "domain-xpath:/domain/name[1]",
            "domain-xpath:/domain/uuid[1]",
            "domain-xpath:/domain/uuid/@x",
            "boot:a=b",
            "guest-exec:",
            "guest-exec:a b",
            "neighbour:hog",
            "neighbour:/domain.cpu.quota",
            "neighbour:../x/domain.cpu.quota",
            "neighbour:hog/domain.cpu.pin",
            "neighbour:hog/guest.swappiness",
            "neighbour:hog/neighbour:hog/domain.cpu.quota",
        ] {
            assert!(matches!(lookup(bad), Err(LookupError::Name(_))), "{bad}");
        }
        assert!(matches!(lookup("what:ever"), Err(LookupError::Unknown { .. })));
    }

    #[test]
    fn a_known_place_is_the_same_under_both_names() {
        let hatch = lookup("domain-xpath:/domain/devices/disk[$disk]/driver/@discard").unwrap();
        assert_eq!(hatch.home, lookup("domain.disk.discard").unwrap().home);
    }
}
