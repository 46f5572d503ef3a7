//! Exit codes: part of the interface, also printed by `--help`.

use std::process::ExitCode;

/// A documented exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Code {
    /// Done.
    Done = 0,
    /// Wrong words on the command line; clap's own code for it.
    Usage = 2,
    /// A file is invalid.
    InvalidFile = 3,
    /// This host or guest lacks something.
    Environment = 5,
    /// Trials failed: there is nothing to judge.
    TrialsFailed = 6,
    /// The host could not be restored.
    NotRestored = 7,
    /// The host is to be rebooted, and the run goes on after that.
    AwaitsReboot = 8,
    /// A run has nothing to draw of the kind of plot that was asked for.
    NothingToDraw = 10,
    /// Interrupted; the host was restored.
    Interrupted = 130,
}

impl From<Code> for ExitCode {
    fn from(code: Code) -> Self {
        Self::from(code as u8)
    }
}

/// For `--help`. Codes 1 and 4 are kept for gates: regression and inconclusive.
pub(super) const HELP: &str = "Exit codes: 0 done, 2 usage, 3 invalid file, 5 environment unusable, 6 trials failed, \
                               7 HOST NOT RESTORED (run `kvmtune recover`), 8 waiting for a reboot of the host, \
                               10 nothing to draw, \
                               130 interrupted with the host restored";
