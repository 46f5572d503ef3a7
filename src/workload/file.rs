//! Workload files: TOML text to [`Workload`], with every mistake at once.
//!
//! Pure: gets text, never opens a file.

mod metrics;
mod spot;

use super::argv::{HOLES, Hole, pieces, uses};
use super::job_file::{JobFile, JobFiles, Use, command, named};
use super::{CrossCheck, DropCaches, Parser, Server, Side, SteadyRule, Suspect, Workload, prepare};
use crate::decode::{Field, Reader, document, is_name, stem};
use crate::diagnostic::{Diagnostic, Diagnostics, Source, one_line};
use crate::tunable::nearest;
use crate::units::{Bytes, Percent, Span};
use metrics::{metrics, requirements};
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
const PARSERS: [(&str, Parser); 6] = [
    ("fio", Parser::Fio),
    ("iperf3", Parser::Iperf3),
    ("stress-ng", Parser::StressNg),
    ("numbers", Parser::Numbers),
    ("cyclictest", Parser::Cyclictest),
    ("exec", Parser::Exec),
];

const RULES: [(&str, SteadyRule); 3] = [
    ("mser5", SteadyRule::Mser5),
    ("snia", SteadyRule::Snia),
    ("off", SteadyRule::Off),
];

const DROPS: [(&str, DropCaches); 4] = [
    ("off", DropCaches::Off),
    ("guest", DropCaches::Guest),
    ("host", DropCaches::Host),
    ("both", DropCaches::Both),
];
const SUSPECTS: [(&str, Suspect); 2] = [("counts", Suspect::Counts), ("fails", Suspect::Fails)];
/// Of what a tool says it moved, so much may be missing in the host's counters: the last requests of a warm-up, the
/// seconds' edges.
const MARGIN: Percent = Percent(20.0);

/// The workload in `source`, with no job files beside it; it is named after the file.
pub fn parse(source: &Source) -> Result<Workload, Diagnostics> {
    parse_beside(source, &JobFiles::new())
}

/// The workload in `source`, with these job files beside it.
pub fn parse_beside(source: &Source, jobs: &JobFiles) -> Result<Workload, Diagnostics> {
    document(source, |file| workload(file, stem(&source.name), jobs))
}

fn workload(file: &mut Reader<'_>, name: &str, jobs: &JobFiles) -> Option<Workload> {
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
    let Command {
        field,
        argv,
        files,
        parser,
    } = what_runs(file, jobs);
    let server = file.take("server").and_then(|f| f.table()).map(server);
    let time = duration(file, "time", Span::secs(10), 1);
    let warmup = file
        .take("warmup")
        .map_or(Some(Span::secs(0)), |f| warmup(&f, argv.as_deref(), &files));
    let grace = duration(file, "grace", Span::secs(30), 1);
    let max_output = file
        .take("max-output")
        .map_or(Some(Bytes::mib(1)), |f| max_output(&f));
    if let (Some(field), Some(argv)) = (&field, &argv) {
        series_is_read(field, argv, parser);
    }
    let prepare = file.take("prepare").and_then(|f| f.table());
    let prepare = prepare.map(|table| prepare::parse(table, jobs));
    let drop_caches = file
        .take("drop-caches")
        .map_or(Some(DropCaches::Off), |f| f.word(&DROPS));
    let steady = steady(file, parser, argv.as_deref());
    let cross_check = file
        .take("cross-check")
        .map_or(Some(CrossCheck::Within(MARGIN)), |f| cross_check(&f));
    let suspect = file
        .take("suspect")
        .map_or(Some(Suspect::Counts), |f| f.word(&SUSPECTS));
    let programs = file.take("programs").map_or(Some(Vec::new()), |f| programs(&f));
    let mut extracts = Vec::new();
    let metrics = metrics(file, parser, &mut extracts);
    let requirements = requirements(file, parser, &mut extracts);
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
        extracts,
        programs: programs?,
        metrics: metrics?,
        requirements,
        steady: steady?,
        files,
        prepare: match prepare {
            Some(prepare) => Some(prepare?),
            None => None,
        },
        drop_caches: drop_caches?,
        cross_check: cross_check?,
        suspect: suspect?,
    })
}

/// What a workload runs, as far as it could be read.
struct Command<'f> {
    /// Where it is written.
    field: Option<Field<'f>>,
    argv: Option<Vec<String>>,
    files: Vec<JobFile>,
    parser: Option<Parser>,
}

/// Either a command line and who reads its output, or a job file of fio.
fn what_runs<'f>(file: &mut Reader<'f>, jobs: &JobFiles) -> Command<'f> {
    let Some(field) = file.take("job") else {
        let hint = "write argv = [\"program\", \"argument\"], or job = \"x.fio\"";
        let field = file.required("argv", hint);
        let parser = file.required(
            "parser",
            "write parser = \"fio\", \"iperf3\", \"stress-ng\", \"cyclictest\", \"numbers\" or \"exec\"",
        );
        return Command {
            argv: field.as_ref().and_then(|f| argv(f, &NOTHING)),
            field,
            files: Vec::new(),
            parser: parser.and_then(|f| f.word(&PARSERS)),
        };
    };
    file.refuse(
        "argv",
        "a job file has a command line of its own; remove one of the two",
    );
    if let Some(parser) = file.take("parser")
        && parser.word(&PARSERS).is_some_and(|known| known != Parser::Fio)
    {
        parser.wrong("a job file is fio's", "remove the key");
    }
    let found = named(&field, jobs, Use::Measured);
    Command {
        field: Some(field),
        argv: found.as_ref().map(|found| command(found, Use::Measured)),
        files: found.into_iter().collect(),
        parser: Some(Parser::Fio),
    }
}

/// Says where a series that the command writes would be read by nobody.
fn series_is_read(field: &Field<'_>, argv: &[String], parser: Option<Parser>) {
    let series = uses(argv, Hole::Series);
    if series && parser.is_some_and(|parser| parser != Parser::Fio) {
        field.wrong(
            "this parser reads no `{series}`",
            "remove it; only the parser `fio` reads one",
        );
    }
}

/// How far the host's counters may be from what the tool says: a share, or `off`.
fn cross_check(field: &Field<'_>) -> Option<CrossCheck> {
    if field.as_text() == Some("off") {
        return Some(CrossCheck::Off);
    }
    field.parse("20%").map(CrossCheck::Within)
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

/// A warm-up that the command is told of: one that it is not told of would be measured.
fn warmup(field: &Field<'_>, argv: Option<&[String]>, files: &[JobFile]) -> Option<Span> {
    let span = whole_seconds(field, 0)?;
    if !span.0.is_zero() && argv.is_some_and(|argv| !uses(argv, Hole::Warmup)) {
        let (message, hint) = if files.is_empty() {
            (
                "nothing in `argv` tells the command of its warm-up, and so it would be measured",
                "give it to an option with `{warmup}`, or remove the key if the tool has none",
            )
        } else {
            (
                "nothing in the job file tells fio of its warm-up, and so it would be measured",
                "add ramp_time=${WARMUP} to it, or remove the key",
            )
        };
        field.wrong(message, hint);
        return None;
    }
    Some(span)
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

/// Placeholders that cannot be filled; what is said of them, and what to do instead.
pub(super) struct Barred<'b> {
    pub(super) holes: &'b [Hole],
    pub(super) message: &'static str,
    pub(super) hint: &'static str,
}

/// None at all.
const NOTHING: Barred<'_> = Barred {
    holes: &[],
    message: "",
    hint: "",
};

/// Program and arguments with known placeholders, none of them barred.
pub(super) fn argv(field: &Field<'_>, barred: &Barred<'_>) -> Option<Vec<String>> {
    let elements = field.list(256, "[\"program\", \"argument\"]")?;
    let checked: Vec<_> = elements
        .iter()
        .enumerate()
        .map(|(at, element)| argument(element, at == 0, barred))
        .collect();
    checked.into_iter().collect()
}

fn argument(field: &Field<'_>, program: bool, barred: &Barred<'_>) -> Option<String> {
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
        Ok(_) if barred.holes.iter().any(|hole| uses(&[text.to_string()], *hole)) => {
            field.wrong(barred.message, barred.hint);
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
    let barred = Barred {
        holes: &[
            Hole::Time,
            Hole::Warmup,
            Hole::Result,
            Hole::Series,
            Hole::Scratch,
            Hole::Job,
        ],
        message: "a server has no time, files or scratch of its own",
        hint: "use {guest-address}, {host-address} and {neighbour-address} only",
    };
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

fn programs(field: &Field<'_>) -> Option<Vec<String>> {
    let is_program = |text: &str| is_line(text) && !text.starts_with('-') && !text.contains([' ', '{']);
    let elements = field.list(16, "[\"pgbench\"]")?;
    let programs = elements
        .iter()
        .map(|element| element.text_if(is_program, "the name of a program"));
    programs.map(|name| name.map(str::to_string)).collect()
}
