//! kvmtune's own program for guests: measurements that no trusted tool makes, and starting at a given instant.
//!
//! Static, of std alone, embedded into kvmtune by build.rs. What it prints is one flat JSON object of numbers; what
//! goes wrong goes to standard error, in words, and into the exit code.

mod at;
mod chase;
mod connections;
mod histogram;
mod options;
mod pages;
mod sys;

use std::fmt::Display;
use std::process::ExitCode;

const HELP: &str = "\
usage: kvmtune-guest chase --bytes SIZE[,SIZE]... --page any|4k|thp|2m|1g --time SECONDS [--seed N]
       kvmtune-guest connections --server --bind ADDRESS --port N [--ports N] [--threads N] [--close]
       kvmtune-guest connections --client --connect ADDRESS --port N --time SECONDS [--warmup SECONDS]
                                 [--ports N] [--threads N] [--timeout MILLISECONDS] [--hold]
       kvmtune-guest at NANOSECONDS [--started FILE] -- PROGRAM [ARGUMENT]...

chase        follows a random cycle through the cache lines of each SIZE (16KiB, 4MiB, 1GiB), one load after the
             other, for its share of the time; ns for each load. Memory is taken in whole pages of the kind asked
             for, and it is checked that it is made of them: 2m and 1g come from the guest's pool; any: whatever the
             guest's settings make of it
connections  connect, one byte there, one byte back, close. --threads clients at a time; --threads of the server for
             each port, the others wait in the backlog, as many as net.core.somaxconn allows. Of --ports in a row
             from --port on, the clients use one at a time and the next after 1000 connections: each has some
             28000 that may be in TIME_WAIT. The client closes first, unless the server has --close and the client --hold
at           waits until the clock (CLOCK_REALTIME) is at so many nanoseconds since 1970, writes the instant at which
             it then is to FILE, in nanoseconds, and becomes the program; at once when the instant has passed

chase and connections --client print one JSON object of numbers.
exit codes: 1 it failed, 2 wrong arguments, 3 no such pages; of `at` the program's own, 125 `at` failed, 126 the
program cannot be started, 127 there is no such program";

/// Why there is no result.
#[derive(Debug, PartialEq, Eq)]
struct Failure {
    exit: u8,
    message: String,
}

impl Failure {
    /// Something could not be done.
    fn failed(doing: &str, why: impl Display) -> Self {
        Self {
            exit: 1,
            message: format!("cannot {doing}: {why}"),
        }
    }

    /// Wrong arguments.
    fn usage(message: impl Into<String>) -> Self {
        Self {
            exit: 2,
            message: message.into(),
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(text) => arguments.push(text),
            Err(other) => {
                return report(&Failure::usage(format!("{} is not UTF-8", other.display())));
            }
        }
    }
    let done = match arguments.split_first() {
        Some((verb, rest)) if verb == "at" => at::run(rest),
        Some((verb, rest)) if verb == "chase" => chase::run(rest),
        Some((verb, rest)) if verb == "connections" => connections::run(rest),
        Some((verb, _)) if verb == "--help" => Ok(HELP.to_string()),
        Some((verb, _)) => Err(Failure::usage(format!("no such verb: {verb:?}\n{HELP}"))),
        None => Err(Failure::usage(HELP)),
    };
    match done {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(failure) => report(&failure),
    }
}

fn report(failure: &Failure) -> ExitCode {
    eprintln!("kvmtune-guest: {}", failure.message);
    ExitCode::from(failure.exit)
}
