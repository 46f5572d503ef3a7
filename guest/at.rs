//! Starts a program at an instant of the clock, so that programs of several guests start together.

use super::Failure;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A sleep may end late by about this much, more on a busy machine; from here on sleeps are short.
const NEAR: Duration = Duration::from_millis(3);
const SHORT: Duration = Duration::from_micros(50);
/// The clock may be set while it is waited for.
const LONG: Duration = Duration::from_millis(100);
/// Whoever asks for more has another clock, or another unit.
const FARTHEST: Duration = Duration::from_hours(1);

/// `at` itself failed, as of `env`, `nice` and `timeout`.
const FAILED: u8 = 125;
const NOT_STARTED: u8 = 126;
const NOT_FOUND: u8 = 127;

#[derive(Debug, PartialEq, Eq)]
struct Order<'a> {
    /// Since 1970.
    instant: Duration,
    started: Option<&'a str>,
    program: &'a str,
    arguments: &'a [String],
}

/// Becomes the program; returns only when it could not.
pub(crate) fn run(arguments: &[String]) -> Result<String, Failure> {
    let order = order(arguments)?;
    let failed = |doing: &str, why: &dyn std::fmt::Display| Failure {
        exit: FAILED,
        ..Failure::failed(doing, why)
    };
    // Made beforehand: it takes its time.
    let mut started = match order.started {
        Some(path) => {
            Some(File::create(path).map_err(|e| failed(&format!("write the start to {path}"), &e))?)
        }
        None => None,
    };
    wait(order.instant)?;
    if let Some(file) = &mut started {
        let now = since_1970()?.as_nanos();
        writeln!(file, "{now}").map_err(|e| failed("write the start", &e))?;
    }
    let error = Command::new(order.program).args(order.arguments).exec();
    Err(Failure {
        exit: if error.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_STARTED
        },
        ..Failure::failed(&format!("start {}", order.program), error)
    })
}

fn order(arguments: &[String]) -> Result<Order<'_>, Failure> {
    let usage = |message: String| Failure {
        exit: FAILED,
        message,
    };
    let (instant, mut rest) = arguments
        .split_first()
        .ok_or_else(|| usage("at: give the instant in nanoseconds since 1970".into()))?;
    let instant = instant
        .parse()
        .map(Duration::from_nanos)
        .map_err(|e| usage(format!("at: {instant:?} is no number of nanoseconds: {e}")))?;
    let mut started = None;
    loop {
        match rest {
            [option, path, more @ ..] if option == "--started" && started.is_none() => {
                started = Some(path.as_str());
                rest = more;
            }
            [dashes, program, arguments @ ..] if dashes == "--" => {
                return Ok(Order {
                    instant,
                    started,
                    program,
                    arguments,
                });
            }
            _ => {
                return Err(usage(
                    "at: after the instant come [--started FILE] -- PROGRAM [ARGUMENT]...".into(),
                ));
            }
        }
    }
}

fn since_1970() -> Result<Duration, Failure> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(|e| Failure {
        exit: FAILED,
        ..Failure::failed("read the clock", e)
    })
}

fn wait(instant: Duration) -> Result<(), Failure> {
    loop {
        let left = instant.saturating_sub(since_1970()?);
        if left.is_zero() {
            return Ok(());
        }
        if left > FARTHEST {
            return Err(Failure {
                exit: FAILED,
                message: format!(
                    "at: the instant is {:.0} s ahead, more than {} s; is the clock right?",
                    left.as_secs_f64(),
                    FARTHEST.as_secs()
                ),
            });
        }
        thread::sleep(match left.saturating_sub(NEAR) {
            Duration::ZERO => SHORT.min(left),
            far => far.min(LONG),
        });
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn an_order_is_read() {
        let line = words("17 --started /run/x -- prog --started y -- z");
        let order = order(&line).unwrap();
        assert_eq!(order.instant, Duration::from_nanos(17));
        assert_eq!((order.started, order.program), (Some("/run/x"), "prog"));
        assert_eq!(order.arguments, words("--started y -- z"));
        assert_eq!(super::order(&words("17 -- prog")).unwrap().arguments.len(), 0);
    }

    #[test]
    fn a_wrong_order_is_refused_with_a_code_of_its_own() {
        for line in [
            "",
            "17",
            "17 prog",
            "17 --",
            "soon -- prog",
            "-1 -- prog",
            "18446744073709551616 -- prog",
            "17 --started -- prog",
            "17 --started a --started b -- prog",
            "17 --begun a -- prog",
        ] {
            assert_eq!(order(&words(line)).unwrap_err().exit, FAILED, "{line}");
        }
        assert_eq!(order(&[]).unwrap_err().exit, FAILED);
    }

    #[test]
    fn it_does_not_start_before_the_instant_and_not_years_after() {
        let until = since_1970().unwrap() + Duration::from_millis(20);
        wait(until).unwrap();
        assert!(since_1970().unwrap() >= until);
        wait(Duration::from_nanos(1)).unwrap();
        let error = wait(until + Duration::from_hours(10_000)).unwrap_err();
        assert!(error.message.contains("clock"), "{}", error.message);
    }

    #[test]
    fn what_cannot_be_started_has_the_codes_of_a_shell() {
        let exit = |line: &str| run(&words(line)).unwrap_err().exit;
        assert_eq!(exit("0 -- /nonexistent/program"), NOT_FOUND);
        assert_eq!(exit("0 -- /"), NOT_STARTED);
        assert_eq!(exit("0 --started /nonexistent/file -- /bin/true"), FAILED);
    }
}
