//! Why a report cannot be made. Knows no report in particular.

/// A report that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A plot.
    #[error("draw the {plot} plot: {source}; if it was to be a PNG file, an SVG file needs less")]
    Plot {
        /// Which one.
        plot: &'static str,
        /// What the drawing library says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Letters cannot be drawn.
    #[error(
        "this machine has no fonts to draw letters with; install the package fonts-dejavu-core, or write an SVG file"
    )]
    NoFont,
    /// A picture that does not fit into memory.
    #[error(
        "the {plot} plot would be {width} x {height} pixels; ask for a smaller `--width`, or write an SVG file"
    )]
    TooLarge {
        /// Which one.
        plot: &'static str,
        /// In pixels.
        width: u32,
        /// In pixels.
        height: f64,
    },
}
