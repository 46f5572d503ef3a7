//! A program of this machine's own that is run for what it does, not to be measured.

use super::HostError;
use super::command::{Running, find};
use crate::units::Bytes;
use std::time::Duration;

/// True when the program is installed.
pub fn is_installed(program: &str) -> bool {
    find(program).is_some()
}

/// Runs a program to its end and gives what it printed; one that fails is an error with the end of what it said.
pub fn run_tool(argv: &[String], limit: Duration) -> Result<String, HostError> {
    let done = Running::start(argv, Bytes::mib(1))?.finish(limit, &|| false)?;
    if done.exit == 0 {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said = [done.stdout, done.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_string();
    let tail: String = said
        .chars()
        .skip(said.chars().count().saturating_sub(300))
        .collect();
    Err(HostError::new(
        format!("run `{}`", argv.join(" ")),
        format!("it gave {}: {}", done.exit, tail.escape_debug()),
    ))
}
