//! Workload files: TOML text to [`Workload`], with every mistake at once.
//!
//! Pure: gets text, never opens a file.

use super::argv::{HOLES, Hole, pieces, uses};
use super::{Metric, Parser, Requirement, Server, Side, SteadyRule, Workload};
use crate::decode::{Field, Reader, document, is_name, stem};
use crate::diagnostic::{Diagnostic, Diagnostics, Source, one_line};
use crate::experiment::Goal;
use crate::tunable::nearest;
use crate::units::{Bytes, Span};
use std::time::Duration;

/// Beyond what an agent or a parser should be asked to carry.
const MAX_OUTPUT: Bytes = Bytes::mib(16);
const SIDES: [(&str, Side); 2] = [("guest", Side::Guest), ("host", Side::Host)];
/// Where a server may run.
const ENDS: [(&str, Side); 3] = [
    ("guest", Side::Guest),
    ("host", Side::Host),
    ("neighbour", Side::Neighbour),
];
const GOALS: [(&str, Goal); 2] = [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)];
const PARSERS: [(&str, Parser); 4] = [
    ("fio", Parser::Fio),
    ("iperf3", Parser::Iperf3),
    ("stress-ng", Parser::StressNg),
    ("numbers", Parser::Numbers),
];

const RULES: [(&str, SteadyRule); 3] = [
    ("mser5", SteadyRule::Mser5),
    ("snia", SteadyRule::Snia),
    ("off", SteadyRule::Off),
];

/// The workload in `source`; it is named after the file.
pub fn parse(source: &Source) -> Result<Workload, Diagnostics> {
    document(source, |file| workload(file, stem(&source.name)))
}

fn workload(file: &mut Reader<'_>, name: &str) -> Option<Workload> {
    if !is_name(name) {
        let message = format!("`{}` is no workload name", one_line(name, 60));
        file.mistakes().add(
            Diagnostic::whole(message)
                .hint("name the file with letters, digits, `-` and `_`, at most 64, and `.toml`"),
        );
    }
    let summary = file
        .required("summary", "say in one line what the workload does")
        .and_then(|f| f.text_if(is_line, "one line of at most 200 characters"));
    let side = file
        .required("run", "write run = \"guest\" or run = \"host\"")
        .and_then(|f| f.word(&SIDES));
    let argv_field = file.required("argv", "write argv = [\"program\", \"argument\"]");
    let argv = argv_field.as_ref().and_then(|f| argv(f, &[]));
    let server = file.take("server").and_then(|f| f.table()).map(server);
    let time = duration(file, "time", Span::secs(10), 1);
    let warmup = duration(file, "warmup", Span::secs(0), 0);
    let grace = duration(file, "grace", Span::secs(30), 1);
    let max_output = file
        .take("max-output")
        .map_or(Some(Bytes::mib(1)), |f| max_output(&f));
    let parser = file
        .required(
            "parser",
            "write parser = \"fio\", \"iperf3\", \"stress-ng\" or \"numbers\"",
        )
        .and_then(|f| f.word(&PARSERS));
    if let (Some(field), Some(argv)) = (&argv_field, &argv) {
        files_are_read(field, argv, side, parser);
    }
    let steady = steady(file, parser, argv.as_deref());
    let metrics = metrics(file, parser);
    let requirements = requirements(file, parser);
    Some(Workload {
        name: name.to_string(),
        summary: summary?.to_string(),
        side: side?,
        argv: argv?,
        server: match server {
            Some(server) => Some(server?),
            None => None,
        },
        time: time?,
        warmup: warmup?,
        grace: grace?,
        max_output: max_output?,
        parser: parser?,
        metrics: metrics?,
        requirements,
        steady: steady?,
    })
}

/// Says where a file that the command writes would be read by nobody.
fn files_are_read(field: &Field<'_>, argv: &[String], side: Option<Side>, parser: Option<Parser>) {
    let series = uses(argv, Hole::Series);
    if side == Some(Side::Host) && (series || uses(argv, Hole::Result)) {
        field.wrong(
            "files of a command on the host are not read",
            "write to standard output, or run it in the guest",
        );
    }
    if series && parser.is_some_and(|parser| parser != Parser::Fio) {
        field.wrong(
            "this parser reads no `{series}`",
            "remove it; only the parser `fio` reads one",
        );
    }
}

/// How it is told whether the workload settled: by default MSER-5 where there are samples.
fn steady(file: &mut Reader<'_>, parser: Option<Parser>, argv: Option<&[String]>) -> Option<SteadyRule> {
    let sampled = match (parser, argv) {
        (Some(parser), Some(argv)) => parser.gives_samples(argv),
        // Another mistake; what it means for this key cannot be told.
        _ => true,
    };
    let Some(field) = file.take("steady") else {
        return Some(if sampled {
            SteadyRule::Mser5
        } else {
            SteadyRule::Off
        });
    };
    let rule = field.word(&RULES)?;
    if rule != SteadyRule::Off && !sampled {
        let hint = match parser {
            Some(Parser::Fio) => {
                "add \"--write_iops_log={series}\", \"--log_avg_msec=1000\" and \"--per_job_logs=0\" to argv"
            }
            _ => "remove the key; only the parsers `fio` and `iperf3` read samples",
        };
        field.wrong("there are no samples to tell it by", hint);
    }
    Some(rule)
}

/// The time at `key`, or `default`: whole seconds, since that is what tools take.
fn duration(table: &mut Reader<'_>, key: &'static str, default: Span, min: u64) -> Option<Span> {
    table.take(key).map_or(Some(default), |f| whole_seconds(&f, min))
}

/// A time of whole seconds from `min` seconds to one day.
pub(crate) fn whole_seconds(field: &Field<'_>, min: u64) -> Option<Span> {
    let span: Span = field.parse("5s")?;
    let limits = Duration::from_secs(min)..=Duration::from_hours(24);
    if span.0.subsec_nanos() != 0 || !limits.contains(&span.0) {
        field.wrong(
            format!("`{span}` is not whole seconds from {min}s to 24h"),
            "tools take whole seconds only",
        );
        return None;
    }
    Some(span)
}

fn max_output(field: &Field<'_>) -> Option<Bytes> {
    let size: Bytes = field.parse("1MiB")?;
    if size.0 == 0 || size > MAX_OUTPUT {
        field.wrong(
            format!("`{size}` is not from 1 byte to {MAX_OUTPUT}"),
            "let the tool write less",
        );
        return None;
    }
    Some(size)
}

fn is_line(text: &str) -> bool {
    !text.trim().is_empty() && text.len() <= 200 && !text.contains(char::is_control)
}

/// Program and arguments with known placeholders, none of them in `barred`.
fn argv(field: &Field<'_>, barred: &[Hole]) -> Option<Vec<String>> {
    let elements = field.list(256, "[\"program\", \"argument\"]")?;
    let checked: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(at, element)| argument(element, at == 0, barred))
        .collect();
    checked.into_iter().collect()
}

fn argument(field: &Field<'_>, program: bool, barred: &[Hole]) -> Option<String> {
    let text = field.text()?;
    if text.contains(char::is_control) || text.len() > 4096 {
        field.wrong(
            "an argument with control characters, or too long",
            "use plain text",
        );
        return None;
    }
    if program && (text.is_empty() || text.starts_with('-') || text.contains(['{', ' '])) {
        field.wrong(
            "the first argument is not a program",
            "name a program, e.g. \"fio\"",
        );
        return None;
    }
    let known = HOLES.iter().map(|(name, _)| *name);
    match pieces(text) {
        Ok(_) if barred.iter().any(|hole| uses(&[text.to_string()], *hole)) => {
            field.wrong(
                "a server has no time, files or scratch of its own",
                "use {guest-address}, {host-address} and {neighbour-address} only",
            );
            None
        }
        Ok(_) => Some(text.to_string()),
        Err(name) => {
            let hint = nearest(name, known.clone()).map_or_else(
                || format!("known: {{{}}}", known.collect::<Vec<_>>().join("}, {")),
                |near| format!("did you mean `{{{near}}}`?"),
            );
            field.wrong(format!("unknown placeholder `{{{}}}`", one_line(name, 40)), hint);
            None
        }
    }
}

fn server(mut table: Reader<'_>) -> Option<Server> {
    let barred = [
        Hole::Time,
        Hole::Warmup,
        Hole::Result,
        Hole::Series,
        Hole::Scratch,
    ];
    let side = table
        .required(
            "run",
            "write run = \"guest\", run = \"host\" or run = \"neighbour\"",
        )
        .and_then(|f| f.word(&ENDS));
    let argv = table
        .required("argv", "write argv = [\"program\", \"argument\"]")
        .and_then(|f| argv(&f, &barred));
    let port = table
        .required("port", "give the TCP port the server listens on")
        .and_then(|f| f.integer(1..=65_535))
        .and_then(|port| u16::try_from(port).ok());
    table.finish();
    Some(Server {
        side: side?,
        argv: argv?,
        port: port?,
    })
}

/// A name the parser can give.
fn metric_name(field: &Field<'_>, parser: Option<Parser>) -> Option<String> {
    let name = field.text_if(is_name, "letters, digits, `-` and `_`")?;
    let known = parser.and_then(Parser::metrics).unwrap_or(&[]);
    if !known.is_empty() && !known.contains(&name) {
        field.wrong(
            format!("the parser gives no `{name}`"),
            format!("it gives: {}", known.join(", ")),
        );
        return None;
    }
    Some(name.to_string())
}

fn metrics(file: &mut Reader<'_>, parser: Option<Parser>) -> Option<Vec<Metric>> {
    let list = file.required("metric", "add [[metric]] with name, unit and goal")?;
    let mut metrics: Vec<Metric> = Vec::new();
    let mut complete = true;
    for mut table in list.tables(64) {
        let name_field = table.required("name", "name a number that the parser gives");
        let name = name_field.as_ref().and_then(|f| metric_name(f, parser));
        let unit = table
            .required("unit", "e.g. unit = \"1/s\"")
            .and_then(|f| f.text_if(|t| is_line(t) && t.len() <= 16, "a short unit such as \"us\""));
        let goal = table
            .required("goal", "write goal = \"maximize\" or goal = \"minimize\"")
            .and_then(|f| f.word(&GOALS));
        table.finish();
        let (Some(field), Some(name), Some(unit), Some(goal)) = (name_field, name, unit, goal) else {
            complete = false;
            continue;
        };
        if metrics.iter().any(|m| m.name == name) {
            field.wrong(format!("metric `{name}` is there twice"), "remove one");
        }
        let unit = unit.to_string();
        metrics.push(Metric { name, unit, goal });
    }
    (complete && !metrics.is_empty()).then_some(metrics)
}

fn requirements(file: &mut Reader<'_>, parser: Option<Parser>) -> Vec<Requirement> {
    let tables = file.take("require").map_or_else(Vec::new, |f| f.tables(64));
    tables
        .into_iter()
        .filter_map(|table| requirement(table, parser))
        .collect()
}

fn requirement(mut table: Reader<'_>, parser: Option<Parser>) -> Option<Requirement> {
    let metric = table
        .required("metric", "name a number that the parser gives")
        .and_then(|f| metric_name(&f, parser));
    let min = table.take("min").and_then(|f| f.number());
    let max = table.take("max").and_then(|f| f.number());
    let empty = match (min, max) {
        (None, None) => true,
        (Some(min), Some(max)) => min > max,
        _ => false,
    };
    if empty {
        let mistake = Diagnostic::at(table.span(), "the requirement says nothing or can never hold");
        table
            .mistakes()
            .add(mistake.hint("give `min`, `max` or both, min first"));
    }
    table.finish();
    Some(Requirement {
        metric: metric?,
        min,
        max,
    })
}
