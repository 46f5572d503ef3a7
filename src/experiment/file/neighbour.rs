//! The `[[neighbour]]` and `[path]` tables.

use super::guest::{lab_vcpus, size};
use super::{MAX_NEIGHBOURS, find_workload};
use crate::decode::{Field, Reader, is_name};
use crate::diagnostic::Diagnostic;
use crate::experiment::{BARRIER, BitRate, Company, DERIVED, Factor, Guest, LongPath, Neighbour};
use crate::tunable::Home;
use crate::units::{Bytes, Percent, Span};
use crate::workload::{Library, Side, Workload};
use std::time::Duration;

const DEFAULT_VCPUS: u16 = 1;
const DEFAULT_MEMORY: Bytes = Bytes::mib(256);
const DEFAULT_DISK: Bytes = Bytes::mib(160);
/// The router is called so, and telemetry of the host.
const RESERVED: [&str; 4] = [DERIVED, BARRIER, "host", "router"];
const LONGEST: Duration = Duration::from_secs(2);
/// netem loses every packet or none with what is beyond.
const MOST_LOSS: f64 = 50.0;
const RATES: std::ops::RangeInclusive<BitRate> = BitRate(100_000)..=BitRate(10_000_000_000);
/// What netem has when nothing is said, and enough for 100 ms of 100 Mbit/s in packets of 1500 bytes.
const DEFAULT_QUEUE: u32 = 1000;

/// Puts into the lab who is in it beside the guest.
pub(super) fn company(
    file: &mut Reader<'_>,
    guest: &mut Option<Guest>,
    factors: &[Factor],
    workloads: Option<&[Workload]>,
    library: &Library,
) {
    let neighbours = neighbours(file, workloads, library);
    let path = file
        .take("path")
        .and_then(|f| Some((f.clone(), path(f.table()?)?)));
    for factor in factors {
        let Home::Neighbour(of) = &factor.tunable.home else {
            continue;
        };
        if neighbours.iter().any(|n| n.name == of.neighbour) {
            continue;
        }
        let message = format!("there is no neighbour `{}`", of.neighbour);
        let hint = "name one of the experiment's [[neighbour]]";
        file.mistakes()
            .add(Diagnostic::at(factor.span.clone(), message).hint(hint));
    }
    let between = workloads.into_iter().flatten().find(|w| w.needs_neighbour());
    if let (Some(workload), true, Some(field)) = (between, neighbours.is_empty(), file.take("workload")) {
        field.wrong(
            format!("`{}` runs between two guests, and there is one", workload.name),
            "add a guest for it to talk to: [[neighbour]] with name = \"peer\"",
        );
    }
    match guest {
        Some(Guest::Lab { company, .. }) => {
            *company = Company {
                neighbours,
                path: path.map(|(_, path)| path),
            }
        }
        None => {}
        Some(Guest::Domain { .. } | Guest::Host { .. }) => {
            let fields = [file.take("neighbour"), file.take("path")];
            for field in fields.into_iter().flatten() {
                field.wrong(
                    format!("`{}` is of the lab, and this guest is not in it", field.key()),
                    "remove it, or measure in the lab: guest = { kind = \"lab\" }",
                );
            }
        }
    }
}

fn neighbours(file: &mut Reader<'_>, workloads: Option<&[Workload]>, library: &Library) -> Vec<Neighbour> {
    let Some(field) = file.take("neighbour") else {
        return Vec::new();
    };
    let victim = match workloads {
        Some([one]) => Some(one),
        Some([_, second, ..]) => {
            field.wrong(
                format!(
                    "neighbours run beside one workload, and `{}` is another",
                    second.name
                ),
                "keep one [workload]; one that runs beside it is a [[neighbour]]",
            );
            None
        }
        Some([]) | None => None,
    };
    let mut found: Vec<Neighbour> = Vec::new();
    for table in field.tables(MAX_NEIGHBOURS) {
        if let Some(neighbour) = neighbour(table, victim, &found, library) {
            found.push(neighbour);
        }
    }
    found
}

fn neighbour(
    mut table: Reader<'_>,
    victim: Option<&Workload>,
    others: &[Neighbour],
    library: &Library,
) -> Option<Neighbour> {
    let name_field = table.required(
        "name",
        "name it, such as \"hog\": its metrics are then `hog.iops`",
    );
    let name = name_field.as_ref().and_then(|f| {
        f.text_if(
            |text| is_name(text) && text.len() <= 20,
            "letters, digits, `-` and `_`, at most 20",
        )
    });
    let run_field = table.take("use");
    let workload = run_field.as_ref().map(|f| find_workload(f, library));
    let vcpus = lab_vcpus(&mut table, DEFAULT_VCPUS);
    let memory = size(
        &mut table,
        "memory",
        DEFAULT_MEMORY,
        Bytes::mib(256)..=Bytes::mib(1 << 20),
    );
    let disk = size(
        &mut table,
        "disk",
        DEFAULT_DISK,
        Bytes::mib(160)..=Bytes::mib(1 << 16),
    );
    for key in ["time", "warmup"] {
        table.refuse(key, "a neighbour runs as long as the workload it runs beside");
    }
    table.refuse("domain", "neighbours are guests of the lab's own");
    table.finish();
    let (name_field, name) = (name_field?, name?);
    is_free(&name_field, name, victim, others);
    let mut workload = match workload {
        Some(found) => Some(found?),
        None => None,
    };
    let mut uses = None;
    if let (Some(field), Some(workload)) = (&run_field, &mut workload) {
        can_run_beside(field, workload, victim, others);
        uses = Some(std::mem::replace(&mut workload.name, name.to_string()));
        // It is load: what it does to the disk is not compared between treatments.
        workload.prepare = None;
        if let Some(victim) = victim {
            (workload.time, workload.warmup) = (victim.time, victim.warmup);
        }
    }
    Some(Neighbour {
        name: name.to_string(),
        workload,
        uses,
        vcpus: vcpus?,
        memory: memory?,
        disk: disk?,
    })
}

/// A neighbour's metrics are named after it: nobody else gives metrics under that name.
fn is_free(field: &Field<'_>, name: &str, victim: Option<&Workload>, others: &[Neighbour]) {
    if RESERVED.contains(&name) {
        field.wrong(
            format!("`{name}` stands for something else"),
            "name the neighbour otherwise, such as \"hog\"",
        );
    } else if victim.is_some_and(|v| v.name == name) {
        field.wrong(
            format!("`{name}` is the workload's name"),
            "name the neighbour otherwise: metrics are told apart by these names",
        );
    } else if others.iter().any(|n| n.name == name) {
        field.wrong(
            format!("neighbour `{name}` is there twice"),
            "give each its own name",
        );
    }
}

/// It starts in the neighbour at an instant, and has nobody else's port.
fn can_run_beside(field: &Field<'_>, workload: &Workload, victim: Option<&Workload>, others: &[Neighbour]) {
    if workload.side == Side::Host {
        field.wrong(
            format!("`{}` runs on the host, not in a neighbour", workload.name),
            "take a workload with run = \"guest\"",
        );
    }
    if workload.needs_neighbour() {
        field.wrong(
            format!("`{}` runs between the guest and a neighbour", workload.name),
            "make it the experiment's [workload]",
        );
    }
    if !workload.runs_for_its_time() {
        field.wrong(
            format!("`{}` does a fixed amount of work, and ends when it is done", workload.name),
            "take a workload that runs for its `{time}`: a neighbour must last as long as the workload beside it",
        );
    }
    let port = |w: &Workload| w.server.as_ref().filter(|s| s.side == Side::Host).map(|s| s.port);
    let taken = victim
        .into_iter()
        .chain(others.iter().filter_map(|n| n.workload.as_ref()));
    if let Some(own) = port(workload)
        && let Some(other) = taken.into_iter().find(|w| port(w) == Some(own))
    {
        field.wrong(
            format!(
                "its server and that of `{}` both listen on port {own} of the host",
                other.name
            ),
            "make a workload file with another port",
        );
    }
}

/// What is added to the way between host and guest.
fn path(mut table: Reader<'_>) -> Option<LongPath> {
    let span = table.span();
    let rtt = table.take("rtt").map(|f| rtt(&f));
    let loss = table.take("loss").map(|f| loss(&f));
    let rate = table.take("rate").map(|f| rate(&f));
    let queue = table.take("queue").map(|f| f.integer(1..=1_000_000));
    if rtt.is_none() && loss.is_none() && rate.is_none() {
        let mistake = Diagnostic::at(span, "this path is the lab's own");
        table
            .mistakes()
            .add(mistake.hint("add rtt = \"50ms\", loss = \"0.1%\" or rate = \"50Mbit\", or remove [path]"));
    }
    table.finish();
    Some(LongPath {
        rtt: rtt.unwrap_or(Some(Span(Duration::ZERO)))?,
        loss: loss.unwrap_or(Some(Percent(0.0)))?,
        rate: match rate {
            Some(rate) => Some(rate?),
            None => None,
        },
        queue: queue.map_or(Some(DEFAULT_QUEUE), |q| q.and_then(|n| u32::try_from(n).ok()))?,
    })
}

fn rtt(field: &Field<'_>) -> Option<Span> {
    let span: Span = field.parse("50ms")?;
    if span.0 > LONGEST
        || !span.0.subsec_millis().is_multiple_of(2)
        || !span.0.subsec_nanos().is_multiple_of(1_000_000)
    {
        field.wrong(
            format!("`{span}` is not an even number of milliseconds up to 2s"),
            "half of it is added each way",
        );
    }
    Some(span)
}

fn loss(field: &Field<'_>) -> Option<Percent> {
    let loss: Percent = field.parse("0.1%")?;
    if loss.0 > MOST_LOSS {
        field.wrong(format!("a loss of {loss} leaves no path"), "use at most 50%");
    }
    Some(loss)
}

fn rate(field: &Field<'_>) -> Option<BitRate> {
    let rate: BitRate = field.parse("50Mbit")?;
    if !RATES.contains(&rate) {
        let hint = format!("use a rate from {} to {}", RATES.start(), RATES.end());
        field.wrong(format!("`rate` of {rate} is out of range"), hint);
    }
    Some(rate)
}
