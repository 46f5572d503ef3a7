//! Runs one of this machine's own tools with a fixed environment and returns what it printed.
//! It does not know what the tools are for.

use std::process::{Command, Output, Stdio};

use super::ImageError;

/// A command that sees no variable of ours, so that its output depends on its arguments alone.
pub(super) fn tool(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end; a non-zero exit is an error that carries what it said.
pub(super) fn run(command: &mut Command) -> Result<Output, ImageError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| ImageError::Start {
        program: program.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(ImageError::Tool {
        program,
        said: format!("{} ({said})", output.status),
    })
}
