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
}
