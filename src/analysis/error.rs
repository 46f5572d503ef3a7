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
    /// A value of a factorial design has no logarithm.
    #[error("value {value} in block {block} is not finite and above zero; drop the trial it came from")]
    Cell {
        /// The block's number.
        block: u32,
        /// The value found.
        value: f64,
    },
    /// A combination with too many or too few factors, or a level its factor does not have.
    #[error("block {block} has a combination that is not one of the design; give a level of each factor")]
    Levels {
        /// The block's number.
        block: u32,
    },
    /// The baseline is not a combination of the design.
    #[error("the baseline is not a combination of the design; give a level of each factor")]
    Baselines,
    /// A value of an A/A run has no logarithm.
    #[error("A/A value {value} in block {block} is not finite and above zero; drop the block it came from")]
    AaValue {
        /// Zero-based place of the block in the run.
        block: usize,
        /// The value found.
        value: f64,
    },
    /// An A/A run whose blocks take no time.
    #[error("a block of {seconds} s cannot be; give the seconds from one block's start to the next")]
    BlockTime {
        /// The seconds found.
        seconds: f64,
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
