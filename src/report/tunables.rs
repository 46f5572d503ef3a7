//! What can be tuned: a list, all about one tunable, and the page of the documentation.
//!
//! Knows the catalogue and what a host offers; asks no host.

use super::table::fill;
use super::wording::tame;
use crate::tunable::{
    Activation, Coupling, HATCHES, Home, KernelSide, Kind, Offer, Requirement, Rule, Tunable, hazard,
};
use crate::units::Bytes;
use std::fmt::Write;

/// Longest value shown in a list.
const SHOWN: usize = 22;

/// One tunable, and what the host offers when it was asked.
pub type Row<'t> = (&'t Tunable, Option<Offer>);

/// All tunables, one a line.
pub fn list(rows: &[Row<'_>], width: u16) -> String {
    let (there, absent): (Vec<_>, Vec<_>) = rows
        .iter()
        .partition(|(_, offer)| !matches!(offer, Some(Offer::Unavailable { .. })));
    let mut text = String::new();
    let mut line = |cells: [&str; 4]| {
        let [name, change, now, range] = cells;
        let whole = format!("{name:<36} {change:<8} {now:<24} {range}");
        let _ = writeln!(
            text,
            "{}",
            tame(whole.trim_end(), usize::from(width).saturating_sub(1))
        );
    };
    if !there.is_empty() {
        line(["tunable", "change", "now", "can be"]);
    }
    for (tunable, offer) in there {
        let (now, choices) = match offer {
            Some(Offer::Available {
                now: Some(now),
                choices,
            }) => (tame(now, SHOWN), choices.join(" ")),
            Some(Offer::Available { now: None, choices }) => ("module not loaded".into(), choices.join(" ")),
            _ => (String::new(), String::new()),
        };
        let range = if choices.is_empty() {
            short_range(tunable)
        } else {
            choices
        };
        line([&tunable.name, activation(tunable), &now, &range]);
    }
    if !absent.is_empty() {
        let _ = writeln!(text, "\nnot here:");
        for (tunable, offer) in absent {
            if let Some(Offer::Unavailable { why }) = offer {
                text += &fill(&format!("{}: {}", tunable.name, tame(why, 300)), width, "  ");
            }
        }
    }
    text
}

/// The ways past the catalogue.
pub fn hatches() -> String {
    let lines = HATCHES
        .iter()
        .map(|(name, what)| format!("  {name:<28} {what}\n"));
    format!("\nany other, by its own name:\n{}", lines.collect::<String>())
}

/// All about one tunable.
pub fn detail((tunable, offer): &Row<'_>, width: u16) -> String {
    let mut text = format!("{}\n", tunable.name);
    text += &fill(&tunable.summary, width, "  ");
    let mut line = |name: &str, value: String| {
        let whole = fill(&format!("{name}: {value}"), width, "  ");
        text += &whole;
    };
    match offer {
        Some(Offer::Available { now, choices }) => {
            line(
                "now",
                now.as_deref()
                    .map_or("its module is not loaded".into(), |now| tame(now, 500)),
            );
            if !choices.is_empty() {
                line("can be", choices.join(", "));
            }
        }
        Some(Offer::Unavailable { why }) => line("not here", tame(why, 500)),
        None => {}
    }
    for (name, value) in about(tunable) {
        line(name, value);
    }
    text
}

/// What the catalogue says, as names and values.
fn about(tunable: &Tunable) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("lives in", place(tunable)),
        ("takes", range(tunable)),
        ("takes effect", effect(tunable).into()),
        ("lasts in", tunable.persistence().place().into()),
    ];
    let mut put = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
    put("default", tunable.default.clone());
    put(
        "suggested from",
        tunable.rule().map(|rule| suggested_from(&rule).into()),
    );
    put("needs", (!tunable.needs.is_empty()).then(|| needs(tunable)));
    put("set with it", tunable.coupling.as_ref().map(coupling));
    let dangers = tunable
        .hazards
        .iter()
        .map(|(level, hazard)| format!("{level} can {}", hazard.consequence()));
    let danger = hazard(tunable, "", false).map(|hazard| format!("it can {}", hazard.consequence()));
    let dangers: Vec<_> = danger.into_iter().chain(dangers).collect();
    put("danger", (!dangers.is_empty()).then(|| dangers.join("; ")));
    put("since", tunable.since.map(|version| format!("Linux {version}")));
    put(
        "gone",
        tunable
            .gone
            .as_ref()
            .map(|(version, instead)| format!("since Linux {version}: {instead}")),
    );
    lines.push(("source", tunable.source.clone()));
    lines
}

fn range(tunable: &Tunable) -> String {
    let unit = if tunable.unit.is_empty() {
        String::new()
    } else {
        format!(" ({})", tunable.unit)
    };
    match &tunable.kind {
        Kind::Choice(choices) => choices.join(" "),
        kind => format!("{}{unit}", kind.expected()),
    }
}

/// The same for a column.
fn short_range(tunable: &Tunable) -> String {
    let unit = &tunable.unit;
    match &tunable.kind {
        Kind::Integer { min, max: i64::MAX } => format!("from {min} {unit}"),
        Kind::Integer { min, max } => format!("{min} to {max} {unit}"),
        Kind::Bytes { min, max } => format!("{} to {}", Bytes(*min), Bytes(*max)),
        Kind::Sizes { count, .. } => format!("{count} sizes"),
        Kind::Choice(choices) => choices.join(" "),
        Kind::Word { .. } | Kind::Boot => "a word".into(),
        Kind::Words => "words".into(),
        Kind::Pins => "a pin map".into(),
        Kind::Set => "a set of numbers".into(),
        Kind::Topology | Kind::Placement => "see its own page".into(),
        Kind::Path { .. } => "a path".into(),
    }
}

fn activation(tunable: &Tunable) -> &'static str {
    match tunable.activation {
        Activation::Live => "live",
        Activation::DomainRestart => "restart",
        Activation::HostReboot => "reboot",
    }
}

fn effect(tunable: &Tunable) -> &'static str {
    match tunable.activation {
        Activation::Live => "at once",
        Activation::DomainRestart => "when the guest is started again",
        Activation::HostReboot => "when the host is booted again",
    }
}

fn place(tunable: &Tunable) -> String {
    let side = |side: &KernelSide| match side {
        KernelSide::Host => "host",
        KernelSide::Guest => "guest",
    };
    match &tunable.home {
        Home::Sysctl(of, name) => format!("sysctl {name} of the {}", side(of)),
        Home::File(of, path, _) => format!("{path} of the {}", side(of)),
        Home::Module(of, name) => format!("parameter {name} of a module of the {}", side(of)),
        Home::DiskQueue(of, file, _) => format!("/sys/block/DISK/queue/{file} of the {}", side(of)),
        Home::EachCpu(file) => format!("/sys/devices/system/cpu/cpuN/{file} of the host"),
        Home::HostLink(field) => format!("{} of the host's end of the guest's link", field.word()),
        Home::GuestLink(file) => format!("/sys/class/net/LINK/{file} of the guest"),
        Home::GuestCommand(commands) => match commands.set.first() {
            Some(program) => format!("what {program} sets in the guest"),
            None => "commands in the guest".into(),
        },
        Home::Domain(setting) => format!("{setting}, by a live libvirt call"),
        Home::Neighbour(setting) => format!("{setting}, by a live libvirt call"),
        Home::DomainXml(setting) => format!("{setting} of the domain XML"),
        Home::HostBoot(name) => format!("{name} of the host kernel's command line"),
    }
}

fn suggested_from(rule: &Rule) -> &'static str {
    match rule {
        Rule::Offered => "what is offered here",
        Rule::Buffer | Rule::Packets => "measured bandwidth and delay",
        Rule::TcpMemory(_) | Rule::Connections(_) | Rule::Memory(_) | Rule::Percent => "the size of memory",
        Rule::Pool | Rule::Backing => "the guest's memory and the free pages",
        Rule::Pins | Rule::Nodes | Rule::Placement => "the topology of CPUs and nodes",
        Rule::Queues | Rule::Topology => "the number of vCPUs",
        Rule::Steps(_) => "the usual steps",
        Rule::Around(_) => "what is set now",
    }
}

fn needs(tunable: &Tunable) -> String {
    let word = |need: &Requirement| match need {
        Requirement::Module(module) => format!("module {module}"),
        Requirement::Numa => "more than one NUMA node".into(),
        Requirement::Has(what) => what.clone(),
    };
    tunable.needs.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn coupling(coupling: &Coupling) -> String {
    match coupling {
        Coupling::Twin { sysctl, .. } => format!("{sysctl}, which the kernel zeroes"),
        Coupling::ConntrackHash => "the hash size, a quarter of it".into(),
        Coupling::PagePool => "the host's page pool, grown by the guest's memory".into(),
        Coupling::Iothread => "an I/O thread of the domain".into(),
        Coupling::Topology => "nothing; it must multiply to the number of vCPUs".into(),
    }
}

/// The page of the documentation: the catalogue as Markdown.
pub fn page(all: &[Tunable]) -> String {
    let mut text = String::from(
        "# Tunables\n\nMade by `kvmtune tunables --markdown` from `src/tunable/catalogue/*.toml`; a test keeps them equal. \
         `kvmtune tunables NAME` adds what this host offers, what is set now, and how a value is made to last.\n\n\
         | tunable | change | takes | default | what it does | lives in | source |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for tunable in all {
        let cells = [
            format!("`{}`", tunable.name),
            activation(tunable).into(),
            range(tunable),
            tunable.default.clone().unwrap_or_default(),
            described(tunable),
            place(tunable),
            tunable.source.clone(),
        ];
        let _ = writeln!(
            text,
            "| {} |",
            cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
        );
    }
    text += "\n## Any other setting\n\n| name | what it is |\n| --- | --- |\n";
    for (name, what) in HATCHES {
        let _ = writeln!(text, "| `{name}` | {what} |");
    }
    text
}

/// What it does, with all that must be known before.
fn described(tunable: &Tunable) -> String {
    let told = ["needs", "set with it", "danger", "since", "gone"];
    let more = about(tunable).into_iter().filter(|(name, _)| told.contains(name));
    let more: Vec<_> = more.map(|(name, value)| format!("**{name}**: {value}")).collect();
    std::iter::once(tunable.summary.clone())
        .chain(more)
        .collect::<Vec<_>>()
        .join("; ")
}
