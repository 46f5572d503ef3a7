//! `kvmtune runs`, `report` and `export`, and the end of `run`: what was recorded, shown.

use super::exit::Code;
use super::failure::Failure;
use super::{Common, print, print_json, say};
use crate::analysis::{AnalysisError, Comparison};
use crate::decision::{Evaluation, Link, Place, Recommendation, against_whole, certificate, evaluate, front};
use crate::design::{Pace, Role};
use crate::event::{Certificate, End, Purpose, RunHeader, RunId, TrialRecord};
use crate::experiment::Experiment;
use crate::report::{self, Confirmation, Report};
use crate::store::{RunSummary, Store};
use crate::telemetry::{self, Seconds};
use crate::units::Span;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Arguments of `report`.
#[derive(Debug, clap::Args)]
pub(super) struct ReportArgs {
    /// `latest`, an id or a piece of one, or the name of an experiment
    #[arg(default_value = "latest")]
    run: String,
    /// Print where the time of the trials went
    #[arg(long, conflicts_with = "markdown")]
    overhead: bool,
    /// Print Markdown
    #[arg(long, conflicts_with = "json")]
    markdown: bool,
    #[command(flatten)]
    raw: Raw,
    /// Write a self-contained HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// What `export` prints too.
#[derive(Debug, clap::Args)]
#[group(multiple = false, conflicts_with_all = ["overhead", "json", "markdown", "html"])]
struct Raw {
    /// Print the raw numbers as tidy CSV, as `export` does
    #[arg(long)]
    csv: bool,
    /// Print everything stored as JSON Lines, as `export` does
    #[arg(long)]
    jsonl: bool,
}

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Format {
    /// Tidy CSV: one row an observation
    #[arg(long)]
    csv: bool,
    /// JSON Lines: everything stored, in the order it was stored
    #[arg(long)]
    jsonl: bool,
}

/// Arguments of `export`.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    /// `latest`, an id or a piece of one, or the name of an experiment
    #[arg(default_value = "latest")]
    run: String,
    #[command(flatten)]
    format: Format,
    /// Write to this file instead of stdout
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A run read back and judged.
pub(super) struct Judged {
    header: RunHeader,
    end: Option<End>,
    records: Vec<TrialRecord>,
    evaluation: Evaluation,
    selection: Option<f64>,
    confirmation: Option<Confirmation>,
    against_whole: Option<Comparison>,
    front: Vec<Place>,
    certified: Option<Certificate>,
    /// Read only for what draws it.
    telemetry: Vec<Seconds>,
}

impl Judged {
    pub(super) fn read(store: &Store, run: RunId) -> Result<Self, Failure> {
        let (header, records) = (store.header(run)?, store.trials(run)?);
        let evaluation = evaluate(&header, &records)
            .map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", run.short())))?;
        let runs = store.runs()?;
        let end = runs.iter().find(|r| r.run == run).and_then(|r| r.end);
        // Numbers that cannot be judged certify nothing.
        let certified = certificate(&header, &records).unwrap_or_default();
        let (against_whole, front) = beside(&header, &records)?;
        Ok(Self {
            selection: selection(store, &header)?,
            confirmation: confirmation(store, &runs, run)?,
            against_whole,
            front,
            header,
            end,
            records,
            evaluation,
            certified,
            telemetry: Vec::new(),
        })
    }

    /// The same with the seconds that the host was watched for beside its trials.
    pub(super) fn with_telemetry(mut self, store: &Store) -> Result<Self, Failure> {
        let keep = |order, table: Vec<u8>| self.telemetry.extend(Seconds::parse(order, &table));
        store.each_raw(self.header.run, telemetry::HOST, keep)?;
        Ok(self)
    }

    pub(super) fn report(&self) -> Report<'_> {
        Report {
            header: &self.header,
            records: &self.records,
            evaluation: &self.evaluation,
            end: self.end,
            selection: self.selection,
            confirmation: self.confirmation.as_ref(),
            against_whole: self.against_whole.as_ref(),
            front: &self.front,
            certified: self.certified.as_ref(),
            telemetry: &self.telemetry,
        }
    }
}

/// What a run shows beside its comparisons with the baseline: what an ablation left against the whole, and where the
/// treatments stand in several responses.
fn beside(header: &RunHeader, records: &[TrialRecord]) -> Result<(Option<Comparison>, Vec<Place>), Failure> {
    let is_question = !matches!(header.purpose, Purpose::Noise | Purpose::Ablate { .. });
    let has_front = is_question && header.protocol.aims().len() > 1;
    let has_whole = header.plan.treatments.iter().any(|t| t.role == Role::Whole);
    if !has_front && !has_whole {
        return Ok((None, Vec::new()));
    }
    let link = Link::new(header.clone(), records.to_vec(), true);
    let both = || -> Result<_, AnalysisError> {
        let front = if has_front { front(&link)? } else { Vec::new() };
        Ok((against_whole(&link)?, front))
    };
    both().map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", header.run.short())))
}

/// What the confirmation of a run said, once it is over.
fn confirmation(store: &Store, runs: &[RunSummary], run: RunId) -> Result<Option<Confirmation>, Failure> {
    let confirms = |r: &&RunSummary| r.purpose == Purpose::Confirm { of: run } && r.is_over();
    let Some(found) = runs.iter().find(confirms) else {
        return Ok(None);
    };
    let (header, records) = (store.header(found.run)?, store.trials(found.run)?);
    let evaluation = evaluate(&header, &records)
        .map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", found.run.short())))?;
    let (against_whole, _) = beside(&header, &records)?;
    let treatment = header.plan.candidates().next();
    let comparison = evaluation.comparisons.first();
    Ok(treatment
        .zip(comparison)
        .map(|((_, treatment), comparison)| Confirmation {
            run: found.run,
            treatment: comparison.treatment.clone(),
            levels: treatment.levels.clone(),
            against_whole,
            confirmed: matches!(evaluation.recommendation, Recommendation::Adopt(_)),
            effect: comparison.primary().effect.clone(),
        }))
}

/// Of a confirmation: what the run that found the treatment said of it.
fn selection(store: &Store, header: &RunHeader) -> Result<Option<f64>, Failure> {
    let Purpose::Confirm { of } = header.purpose else {
        return Ok(None);
    };
    let (found_in, records) = (store.header(of)?, store.trials(of)?);
    // An ablation compares with the winner that it takes apart.
    if let Purpose::Ablate { .. } = found_in.purpose {
        return Ok(None);
    }
    let evaluation = evaluate(&found_in, &records)
        .map_err(|e| Failure::environment(format!("run {} cannot be judged: {e}", of.short())))?;
    let levels =
        |header: &RunHeader, place: usize| header.plan.treatments.get(place).map(|t| t.levels.clone());
    // The last stage compares with what was kept before it, not with the original baseline.
    if levels(&found_in, 0) != levels(header, 0) {
        return Ok(None);
    }
    let wanted = levels(header, 1);
    let mut candidates = found_in.plan.candidates().zip(&evaluation.comparisons);
    let found = candidates.find(|((_, treatment), _)| Some(&treatment.levels) == wanted.as_ref());
    Ok(found.and_then(|(_, comparison)| comparison.primary().effect.change_percent()))
}

pub(super) fn runs(common: &Common) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let rows: Vec<_> = store
        .runs()?
        .iter()
        .map(|r| report::RunRow {
            id: r.run.short(),
            experiment: r.experiment.clone(),
            started: r.started,
            done: r.done,
            planned: r.planned,
            purpose: r.purpose.clone(),
            simulated: r.simulated,
            state: r.state().into(),
        })
        .collect();
    if common.json {
        print_json(&rows)?;
    } else {
        print(&report::runs(&rows));
    }
    Ok(Code::Done)
}

pub(super) fn report(common: &Common, args: &ReportArgs) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(&args.run)?;
    if args.raw.csv || args.raw.jsonl {
        return write_raw(&store, run, args.raw.csv, io::stdout().lock());
    }
    let mut judged = Judged::read(&store, run)?;
    if args.html.is_some() {
        judged = judged.with_telemetry(&store)?;
    }
    let report = judged.report();
    if let Some(file) = &args.html {
        write_html(&report, file)?;
    }
    match (args.overhead, common.json, args.markdown) {
        (true, true, _) => print_json(&report::overhead(&report))?,
        (true, false, _) => print(&report::overhead(&report).to_string()),
        (false, true, _) => print_json(&report::json(&report))?,
        (false, false, true) => print(&report::markdown(&report)),
        (false, false, false) => print(&report::text(&report, width(), use_colour())),
    }
    Ok(Code::Done)
}

/// The table goes to stdout, so stdout decides.
fn use_colour() -> bool {
    use std::io::IsTerminal;
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

/// Columns of the terminal on stdout; 100 where there is none.
pub(super) fn width() -> u16 {
    terminal_size::terminal_size().map_or(100, |(width, _)| width.0)
}

/// The end of a sitting: the verdicts of its runs on stdout where it `prints` them, their pages beside the results.
pub(super) fn conclude(
    common: &Common,
    store: &Store,
    runs: &[RunId],
    html: Option<&Path>,
    prints: bool,
) -> Result<(), Failure> {
    let judged = runs
        .iter()
        .map(|run| Judged::read(store, *run)?.with_telemetry(store));
    let judged = judged.collect::<Result<Vec<_>, _>>()?;
    let mut pages = Vec::new();
    for (place, judged) in judged.iter().enumerate() {
        let name = format!("{}-{}.html", judged.header.experiment, judged.header.run.short());
        let is_last = place + 1 == runs.len();
        let file = match html {
            Some(file) if is_last => file.to_path_buf(),
            _ => common.results.join(name),
        };
        let written = write_html(&judged.report(), &file);
        if prints && !common.json {
            if place > 0 {
                print("");
            }
            print(&report::text(&judged.report(), width(), use_colour()));
        }
        pages.push((file, written));
    }
    if prints && common.json {
        let reports: Vec<_> = judged.iter().map(Judged::report).collect();
        let documents: Vec<_> = reports.iter().map(report::json).collect();
        print_json(&serde_json::json!({ "runs": documents }))?;
    }
    for (file, written) in pages {
        written?;
        say(&format!("HTML report: {}", file.display()));
    }
    let told: Vec<_> = judged.iter().map(|j| &j.header).collect();
    bring_up_to_date(common, store, &told)
}

/// Writes the pages of the runs that these have measured again anew, where they lie beside the results: what they say of
/// the best treatment holds no longer.
fn bring_up_to_date(common: &Common, store: &Store, runs: &[&RunHeader]) -> Result<(), Failure> {
    for header in runs {
        let Purpose::Confirm { of } = header.purpose else {
            continue;
        };
        let file = common
            .results
            .join(format!("{}-{}.html", header.experiment, of.short()));
        if file.is_file() && !runs.iter().any(|run| run.run == of) {
            let judged = Judged::read(store, of)?.with_telemetry(store)?;
            write_html(&judged.report(), &file)?;
        }
    }
    Ok(())
}

fn write_html(report: &Report<'_>, file: &Path) -> Result<(), Failure> {
    let failed =
        |e: &dyn std::fmt::Display| Failure::environment(format!("cannot write {}: {e}", file.display()));
    let page = report::html(report).map_err(|e| failed(&e))?;
    fs::write(file, page).map_err(|e| failed(&e))
}

pub(super) fn export(common: &Common, args: &ExportArgs) -> Result<Code, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(&args.run)?;
    let failed =
        |e: io::Error, file: &Path| Failure::environment(format!("cannot write {}: {e}", file.display()));
    let out: Box<dyn Write> = match &args.output {
        Some(file) => Box::new(File::create(file).map_err(|e| failed(e, file))?),
        None => Box::new(io::stdout().lock()),
    };
    write_raw(&store, run, args.format.csv, out)
}

/// The raw numbers of a run as CSV, or everything as JSON Lines.
fn write_raw(store: &Store, run: RunId, csv: bool, out: impl Write) -> Result<Code, Failure> {
    let done = if csv {
        store.export_csv(run, out)
    } else {
        store.export_json_lines(run, out)
    };
    match done {
        // A reader such as `head` has seen enough.
        Err(crate::store::StoreError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Code::Done)
        }
        other => other.map(|()| Code::Done).map_err(Failure::from),
    }
}

pub(super) fn show_plan(
    common: &Common,
    experiment: &Experiment,
    header: &RunHeader,
    pace: Pace,
) -> Result<(), Failure> {
    let expected = header.plan.expected(experiment, pace);
    let then = then(experiment, header, pace);
    if common.json {
        return print_json(&report::plan_json(header, expected, &then));
    }
    print(&report::plan_text(header, expected, &then, width()));
    Ok(())
}

/// What follows the planned run in the same sitting.
fn then(experiment: &Experiment, header: &RunHeader, pace: Pace) -> Vec<String> {
    let mut then = Vec::new();
    if let Purpose::Stage { number, of, .. } = header.purpose
        && of > number
    {
        let rest: Vec<_> = header.plan.factors[number as usize..]
            .iter()
            .map(|f| f.tunable.as_str())
            .collect();
        then.push(format!(
            "then the other factors, each from the best so far: {}",
            rest.join(", ")
        ));
    }
    if let Some(blocks) = experiment.design.confirm {
        let trials = 2 * (blocks + 1);
        let work: Duration = experiment.workloads.iter().map(|w| w.warmup.0 + w.time.0).sum();
        let time = Span((work + pace.overhead + pace.boot).saturating_mul(trials));
        then.push(format!(
            "then, if something is better, its confirmation: {blocks} blocks + 1 discarded, {trials} trials, each with a \
             fresh guest, about {time}"
        ));
    }
    then
}
