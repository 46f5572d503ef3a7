//! kvmtune's own program for guests: measurements that no trusted tool makes, and starting at a given instant.
//!
//! Static, of std alone, embedded into kvmtune by build.rs. What it prints is one flat JSON object of numbers; what
//! goes wrong goes to standard error, in words, and into the exit code.

mod at;

use std::fmt::Display;
use std::process::ExitCode;

const HELP: &str = "\
usage: kvmtune-guest at NANOSECONDS [--started FILE] -- PROGRAM [ARGUMENT]...

at      waits until the clock (CLOCK_REALTIME) is at so many nanoseconds since 1970, writes the instant at which it
        then is to FILE, in nanoseconds, and becomes the program. An instant that has passed starts it at once.

exit codes: 1 it failed, 2 wrong arguments; of `at` the program's own, 125 `at` failed, 126 the program cannot be
started, 127 there is no such program";

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
