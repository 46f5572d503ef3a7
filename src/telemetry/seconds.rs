//! The table of seconds that a trial kept, read back. Knows the text that [`super::Series::csv`] writes.

/// What the host did beside one trial, by the second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seconds {
    /// Position of the trial in the run, from 0.
    pub order: u32,
    /// Names of the metrics.
    pub metrics: Vec<String>,
    /// Seconds since the command began, and the metrics' values then; `None` where one was not told.
    pub rows: Vec<(f64, Vec<Option<f64>>)>,
}
