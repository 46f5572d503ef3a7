//! What can be wrong with numbers handed to the analysis. Does not know where they came from.

use std::fmt;

use thiserror::Error;

/// Why an analysis was refused. Nothing is computed from part of such data.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AnalysisError {
    /// A spread cannot be known from fewer than two values.
    #[error("sample has {values} value(s), needs at least 2; run more blocks")]
    TooFewValues {
        /// How many there were.
        values: usize,
    },
    /// A sample held an infinity or a NaN.
    #[error(
        "sample value {value} at position {position} is not a finite number; drop the trial it came from"
    )]
    NotFinite {
        /// Zero-based place in the sample.
        position: usize,
        /// The value found.
        value: f64,
    },
    /// A share or margin outside its range.
    #[error("{what} {value} is outside (0, 1); write 5 % as 0.05")]
    OutsideUnit {
        /// Which quantity.
        what: &'static str,
        /// The value found.
        value: f64,
    },
    /// The same block appears twice, so that repeats inside a block would pass for more blocks.
    #[error("metric {metric} has block {block} twice; reduce each block to one value a treatment first")]
    RepeatedBlock {
        /// The metric's name.
        metric: String,
        /// The block's number.
        block: u32,
    },
    /// A pair has no log-ratio.
    #[error("metric {metric} has no ratio in block {block}; choose a metric that is always above zero")]
    Ratio {
        /// The metric's name.
        metric: String,
        /// The block's number.
        block: u32,
        /// Which value is at fault.
        source: RatioError,
    },
    /// A sub-plot value has no logarithm.
    #[error(
        "sub-plot value {value} in whole plot {plot} is not finite and above zero; drop the trial it came from"
    )]
    SubPlot {
        /// The whole plot's number.
        plot: u32,
        /// The value found.
        value: f64,
    },
    /// One whole plot was given two blocks or two levels.
    #[error("whole plot {plot} appears in two blocks or with two levels; give every boot its own number")]
    MixedPlot {
        /// The whole plot's number.
        plot: u32,
    },
    /// The whole plots of a block share no live treatment, so they cannot be compared.
    #[error("no live treatment was measured in every whole plot of block {block}; repeat the block")]
    NoCommonTreatment {
        /// The block's number.
        block: u32,
    },
}

/// Why two values have no log-ratio.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("{arm} value {value} is not a finite number above zero")]
pub struct RatioError {
    /// Whose value it is.
    pub arm: Arm,
    /// The value found.
    pub value: f64,
}

/// One side of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arm {
    /// The treatment that is compared.
    Candidate,
    /// The treatment it is compared with.
    Baseline,
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Candidate => "candidate",
            Self::Baseline => "baseline",
        })
    }
}
