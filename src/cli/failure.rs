//! Every way a verb can fail, and the exit code each has.

use super::exit::Code;
use crate::across::AcrossError;
use crate::change::ChangeError;
use crate::check::Lack;
use crate::diagnostic::Diagnostics;
use crate::session::SessionError;
use crate::store::StoreError;

/// Why a verb did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Mistakes in the user's files.
    Files(Vec<Diagnostics>),
    /// Things that are missing.
    Lacks(Vec<Lack>),
    /// Arguments that do not fit together, beyond what clap sees.
    Usage(String),
    /// A run has no plot of the kind that was asked for.
    NothingToDraw(String),
    /// Anything else about this machine.
    Environment(String),
    /// The host is not as it was.
    NotRestored(String),
}

impl Failure {
    pub(super) fn environment(text: impl Into<String>) -> Self {
        Self::Environment(text.into())
    }

    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self::Usage(text.into())
    }

    /// The lab could not be taken down, or a domain not be left as it was found.
    #[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
    pub(super) fn not_given_back(error: SessionError) -> Self {
        Self::NotRestored(format!("{error}; run `kvmtune recover`"))
    }

    pub(super) fn code(&self) -> Code {
        match self {
            Self::Files(_) => Code::InvalidFile,
            Self::Usage(_) => Code::Usage,
            Self::NothingToDraw(_) => Code::NothingToDraw,
            Self::Lacks(_) | Self::Environment(_) => Code::Environment,
            Self::NotRestored(_) => Code::NotRestored,
        }
    }

    pub(super) fn render(&self, colour: bool) -> String {
        match self {
            Self::Files(files) => files
                .iter()
                .map(|d| d.render(colour))
                .collect::<Vec<_>>()
                .join("\n\n"),
            Self::Lacks(lacks) => {
                let lines = lacks
                    .iter()
                    .map(|l| format!("  missing: {}\n     mend: {}", l.what, l.mend));
                let lines: Vec<_> = lines.collect();
                format!(
                    "error: this host or guest is not ready; nothing was touched\n{}",
                    lines.join("\n")
                )
            }
            Self::Environment(text) | Self::Usage(text) | Self::NothingToDraw(text) => {
                format!("error: {text}")
            }
            Self::NotRestored(text) => format!("error: HOST NOT RESTORED: {text}"),
        }
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Files(vec![diagnostics])
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Environment(error.to_string())
    }
}

impl From<ChangeError> for Failure {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotRestored { .. } => Self::NotRestored(error.to_string()),
            other => Self::Environment(other.to_string()),
        }
    }
}

impl From<AcrossError> for Failure {
    fn from(error: AcrossError) -> Self {
        match error {
            AcrossError::Change(change) => change.into(),
            other => Self::Environment(other.to_string()),
        }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Change(change) => change.into(),
            SessionError::Across(across) => across.into(),
            other => Self::Environment(other.to_string()),
        }
    }
}
