//! The command line: verbs, options, exit codes. Each verb is a file; nothing here measures or decides.

mod across;
mod check;
mod commit;
mod compare;
mod exit;
mod failure;
mod files;
mod lab;
mod leg;
mod noise;
mod plan;
mod plot;
mod recommend;
mod recover;
mod results;
mod run;
mod simulate;
mod sitting;
mod tunables;
mod watchman;

use crate::report::Screen;
use crate::session::Dirs;
use clap::{Parser, Subcommand};
use failure::Failure;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// A benchmark-driven auto-tuner for KVM guests: change one planned thing, prove that it took effect, measure,
/// compare honestly, restore.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = exit::HELP)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// Options of every verb.
#[derive(Debug, clap::Args)]
struct Common {
    /// Print JSON on stdout instead of text
    #[arg(long, global = true)]
    json: bool,
    /// Print no progress on stderr
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Folder of the results database
    #[arg(long, global = true, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Folder of the undo journal and the lab's disks
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KVMTUNE_STATE_DIR",
        default_value = "/var/lib/kvmtune"
    )]
    state: PathBuf,
    /// Folder of the lab's guest images
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "KVMTUNE_CACHE_DIR",
        default_value = "/var/cache/kvmtune"
    )]
    cache: PathBuf,
}

impl Common {
    fn dirs(&self) -> Dirs {
        Dirs {
            state: self.state.clone(),
            cache: self.cache.clone(),
        }
    }

    /// Whether stderr may be coloured: a terminal, and the user does not object (<https://no-color.org>).
    fn colour() -> bool {
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
    }

    /// How progress is shown on stderr.
    fn screen(&self) -> Screen {
        match (self.quiet, std::io::stderr().is_terminal()) {
            (true, _) => Screen::Quiet,
            (false, true) => Screen::Bar {
                colour: Self::colour(),
            },
            (false, false) => Screen::Lines,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Tell what this host and guest lack for an experiment, with what mends it
    Check(check::Args),
    /// Print what a run would do: treatments, order, restarts, what is touched, how long it takes
    Plan(plan::Args),
    /// Run an experiment
    Run(run::Args),
    /// Measure the baseline against itself: how noisy this host is, and what it can prove
    Noise(noise::NoiseArgs),
    /// Measure a run's winner again, with the baseline, on fresh guests
    Confirm(noise::ConfirmArgs),
    /// Tell what to adopt after all that was measured, or that the baseline stays, and why
    Recommend(recommend::Args),
    /// Make permanent what a run has proven: files, live values
    Commit(commit::CommitArgs),
    /// Take a commit back
    Revert(commit::RevertArgs),
    /// Keep a commit that would be taken back by itself
    Keep(commit::KeepArgs),
    /// Tell what is committed, and whether it is in force
    Status(commit::StatusArgs),
    /// List the runs
    Runs,
    /// Print what a run shows
    Report(results::ReportArgs),
    /// Set two runs side by side, and tell whether they are comparable
    Compare(compare::Args),
    /// Write a run's plots as SVG or PNG files
    Plot(plot::PlotArgs),
    /// Write a run's raw numbers
    Export(results::ExportArgs),
    /// Put the host back after a run that was killed
    Recover(recover::Args),
    /// Build, try and clean the lab's guest
    #[command(subcommand)]
    Lab(lab::Verb),
    /// List what can be tuned
    Tunables(tunables::Args),
    /// Started by kvmtune itself: wait for its end, and restore the host if it was killed
    #[command(name = crate::session::VERB, hide = true)]
    Watchman(watchman::Args),
}

/// Parses the command line, does the verb, and gives the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let common = &cli.common;
    let done = match &cli.verb {
        Verb::Check(args) => check::check(common, args),
        Verb::Plan(args) => plan::plan(common, args),
        Verb::Run(args) => run::run(common, args),
        Verb::Noise(args) => noise::noise(common, args),
        Verb::Confirm(args) => noise::confirm(common, args),
        Verb::Recommend(args) => recommend::recommend(common, args),
        Verb::Commit(args) => commit::commit(common, args),
        Verb::Revert(args) => commit::revert(common, args),
        Verb::Keep(args) => commit::keep(common, args),
        Verb::Status(args) => commit::status(common, args),
        Verb::Runs => results::runs(common),
        Verb::Report(args) => results::report(common, args),
        Verb::Compare(args) => compare::compare(common, args),
        Verb::Plot(args) => plot::plot(common, args),
        Verb::Export(args) => results::export(common, args),
        Verb::Recover(args) => recover::recover(common, args),
        Verb::Lab(verb) => lab::lab(common, verb),
        Verb::Tunables(args) => tunables::tunables(common, args),
        Verb::Watchman(args) => watchman::watchman(common, args),
    };
    match done {
        Ok(code) => code.into(),
        Err(failure) => {
            say(&failure.render(Common::colour()));
            failure.code().into()
        }
    }
}

/// Writes to stdout; a reader that went away is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Writes JSON to stdout.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Failure::environment(format!("cannot write JSON: {e}")))?;
    print(&text);
    Ok(())
}

/// Writes a line of advice or an error to stderr.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// Six digits are easy to type again.
fn draw_seed() -> u64 {
    // The tail of a version 7 id is random.
    uuid::Uuid::now_v7().as_u64_pair().1 % 1_000_000
}
