//! Why a report cannot be made. Knows no report in particular.

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot.
    #[error("draw the {plot} plot; the other reports (`--format text`, `json`) do without it")]
    Plot {
        /// Which one.
        plot: &'static str,
        /// What the drawing library says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A document that does not serialise.
    #[error("write the {what} as JSON; the text report does without it")]
    Json {
        /// Which document.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}
