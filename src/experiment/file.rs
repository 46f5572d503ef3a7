//! Experiment files: TOML text to [`Experiment`], with every mistake at once.
//!
//! Pure: gets text, never opens a file; whether this host offers a level is decided later, from facts.

mod command;
mod constraint;
mod design;
mod factor;
mod guest;
mod hazard;
mod judge;
mod neighbour;
mod treatment;

pub(crate) use judge::{metric, metrics};

use super::weigh::weigh;
use super::{DesignKind, Experiment, Guest};
use crate::decode::{Field, Reader, document, is_name, stem};
use crate::diagnostic::{Diagnostic, Diagnostics, Source, one_line};
use crate::telemetry::HOST;
use crate::tunable::nearest;
use crate::units::Span;
use crate::workload::{Library, Workload, whole_seconds};

const MAX_FACTORS: usize = 16;
const MAX_LEVELS: usize = 64;
const MAX_WORKLOADS: usize = 16;
const MAX_NEIGHBOURS: usize = 8;
const MAX_GUARDS: usize = 32;
const MAX_RESPONSES: usize = 8;
const MAX_DERIVED: usize = 16;
const MAX_TREATMENTS: usize = 64;
/// A server with much memory and firmware takes that long.
const REBOOT: Span = Span(std::time::Duration::from_mins(3));

/// The experiment in `source`, with workloads from `library`.
pub fn parse(source: &Source, library: &Library) -> Result<Experiment, Diagnostics> {
    document(source, |file| experiment(file, source, library))
}

fn experiment(file: &mut Reader<'_>, source: &Source, library: &Library) -> Option<Experiment> {
    let name = name(file, &source.name);
    let question = file
        .take("question")
        .map(|f| f.text_if(is_question, "at most 1000 characters of plain text"));
    let (mut guest, fresh) =
        guest::guest(file).map_or((None, None), |(guest, fresh)| (Some(guest), Some(fresh)));
    let design = design::design(file);
    let listed = design.is_some_and(|d| matches!(d.kind, DesignKind::Explicit | DesignKind::AB));
    let (factors, treatments) = treatment::factors_and_treatments(file, listed, design.map(|d| d.kind));
    let allow = hazard::allow(file);
    if let (Some(factors), Some(guest)) = (&factors, &guest) {
        hazard::refuse(factors, guest, &allow, file.mistakes());
    }
    let workloads = workloads(file, library);
    if let (Some(guest), Some(workloads)) = (&guest, &workloads) {
        check_scratch(file, guest, workloads);
    }
    if let Some(Guest::Host { .. }) = guest {
        guest::refuse_without_guest(file, factors.as_deref(), workloads.as_deref());
    }
    neighbour::company(
        file,
        &mut guest,
        factors.as_deref().unwrap_or(&[]),
        workloads.as_deref(),
        library,
    );
    let mut known = workloads.clone().unwrap_or_default();
    known.extend(guest.iter().flat_map(Guest::loads).cloned());
    let mut derived = judge::derived(file, &known, guest.as_ref());
    let metrics = judge::with_host(judge::metrics(&known, &derived), guest.as_ref());
    let (mut responses, weighed) = judge::responses(file, &metrics, &derived);
    let guards = judge::guards(file, &metrics, &responses);
    let constraints = constraint::constraints(file, &metrics);
    if let Some(weighed) = weighed {
        weigh(&mut derived, &mut responses, weighed);
    }
    let (time_budget, reboot) = budget(file);
    let seed = file
        .take("seed")
        .map(|f| f.integer(0..=i64::MAX).and_then(|n| u64::try_from(n).ok()));
    Some(Experiment {
        name: name?,
        question: question.flatten().map(str::to_string),
        guest: guest?,
        fresh: fresh?,
        allow,
        factors: factors?,
        workloads: workloads?,
        derived,
        responses: (!responses.is_empty()).then_some(responses)?,
        guards,
        constraints,
        treatments,
        design: design?,
        time_budget,
        reboot,
        seed: seed.flatten(),
        source: source.clone(),
    })
}

fn is_question(text: &str) -> bool {
    let tame = |c: char| !c.is_control() || c == '\n';
    !text.trim().is_empty() && text.len() <= 1000 && text.chars().all(tame)
}

/// The experiment's name, by default that of its file.
fn name(file: &mut Reader<'_>, file_name: &str) -> Option<String> {
    if let Some(field) = file.take("name") {
        let good = field.text_if(is_name, "letters, digits, `-` and `_`, at most 64");
        return good.map(str::to_string);
    }
    let name = stem(file_name);
    if is_name(name) {
        return Some(name.to_string());
    }
    let message = format!(
        "the file's name `{}` gives no experiment name",
        one_line(name, 60)
    );
    file.mistakes()
        .add(Diagnostic::whole(message).hint("add name = \"…\" of letters, digits, `-` and `_`"));
    None
}

fn workloads(file: &mut Reader<'_>, library: &Library) -> Option<Vec<Workload>> {
    let list = file.required("workload", "add [workload] with use = \"fio-randread-4k\"")?;
    let mut found: Vec<Workload> = Vec::new();
    let mut complete = true;
    for table in list.tables(MAX_WORKLOADS) {
        let span = table.span();
        match workload(table, library) {
            Some(workload) if found.iter().any(|w| w.name == workload.name) => {
                let message = format!("workload `{}` is there twice", workload.name);
                let hint = "each workload runs once in a trial; remove one";
                list.mistake(Diagnostic::at(span, message).hint(hint));
            }
            Some(workload) => found.push(workload),
            None => complete = false,
        }
    }
    (complete && !found.is_empty()).then_some(found)
}

/// The workload a table names, with the times of the experiment put in.
fn workload(mut table: Reader<'_>, library: &Library) -> Option<Workload> {
    let known = library.names().collect::<Vec<_>>().join(", ");
    let field = table.required("use", &format!("name a workload: {known}"));
    let time = table.take("time").map(|f| whole_seconds(&f, 1));
    let warmup_field = table.take("warmup");
    let warmup = warmup_field.as_ref().map(|f| whole_seconds(f, 0));
    table.finish();
    let field = field?;
    if field.text()? == HOST {
        field.wrong(
            "`host` names what the host tells of itself",
            "call the workload's file something else",
        );
        return None;
    }
    let mut workload = find_workload(&field, library)?;
    workload.time = time.flatten().unwrap_or(workload.time);
    workload.warmup = warmup.flatten().unwrap_or(workload.warmup);
    if let Some(field) = warmup_field
        && !workload.warmup.0.is_zero()
        && !workload.honours_warmup()
    {
        field.wrong(
            format!("`{}` has no warm-up: it would be measured", workload.name),
            "remove the key: nothing tells the command how long not to measure",
        );
        return None;
    }
    Some(workload)
}

/// The workload a field names.
fn find_workload(field: &Field<'_>, library: &Library) -> Option<Workload> {
    let name = field.text()?;
    let found = library.get(name).cloned();
    if found.is_none() {
        let known = library.names().collect::<Vec<_>>().join(", ");
        let near = nearest(name, library.names()).map(|n| format!("did you mean `{n}`? "));
        let hint = format!("{}known workloads: {known}", near.unwrap_or_default());
        field.wrong(format!("unknown workload `{}`", one_line(name, 60)), hint);
    }
    found
}

/// A machine of the user's own has no disk that may be overwritten unless the user names a file for it.
fn check_scratch(file: &mut Reader<'_>, guest: &Guest, workloads: &[Workload]) {
    let place = match guest {
        Guest::Domain { scratch: None, .. } => "in the guest",
        Guest::Host { scratch: None } => "on the host",
        _ => return,
    };
    let Some(workload) = workloads.iter().find(|w| w.needs_scratch()) else {
        return;
    };
    if let Some(field) = file.take("guest") {
        field.wrong(
            format!("`{}` overwrites a file {place}, and none is named", workload.name),
            "add scratch = \"/var/tmp/kvmtune.dat\": a file that may be overwritten",
        );
    }
}

/// When to stop at the latest, and what a reboot of the host takes.
fn budget(file: &mut Reader<'_>) -> (Option<Span>, Span) {
    let Some(mut table) = file.take("budget").and_then(|f| f.table()) else {
        return (None, REBOOT);
    };
    let reboot = table.take("reboot");
    let time = match &reboot {
        Some(_) => table.take("time"),
        None => table.required("time", "write time = \"30m\", or remove [budget]"),
    };
    table.finish();
    let span = |field: &Field<'_>, example: &str| {
        let span: Span = field.parse(example)?;
        if span.0.is_zero() {
            let hint = format!("write {} = \"{example}\", or remove [budget]", field.key());
            field.wrong("a budget of no time", hint);
        }
        Some(span)
    };
    let time = time.and_then(|field| span(&field, "30m"));
    (
        time,
        reboot.and_then(|field| span(&field, "3m")).unwrap_or(REBOOT),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
