//! Paired statistics: from one number a trial to estimates, intervals, tests and verdicts.
//!
//! Knows only numbers, blocks and goals. Does not know how trials were ordered, run, stored or printed, and
//! cannot see whether the blocks it is given were randomised, on which all its error rates rest.
//!
//! ```text
//! pairs ─► D_b = ±ln(candidate/baseline) ─► Sample ─► Hodges–Lehmann, signed rank, interval ─► Holm ─► Verdict
//! ```

mod anytime;
mod comparison;
mod error;
mod factorial;
mod guard;
mod interval;
mod multiplicity;
mod noise;
mod planning;
mod proportion;
mod quantile;
mod ratio;
mod sample;
mod sequential;
mod signed_rank;
#[cfg(test)]
mod simulations;
mod steady;
#[cfg(test)]
mod tests;

pub use anytime::{EValue, e_holm, e_value};
pub use comparison::{Candidate, Comparison, Criteria, Effect, MORE_BLOCKS_CAP, Series, Verdict, compare};
pub use error::{AnalysisError, Arm, RatioError};
pub use factorial::{Cell, Contrast, FactorEffect, Interaction, interactions, main_effects};
pub use guard::{Guard, GuardOutcome, GuardReport, Margin, is_equivalent, judge_guard, lacks_resolution};
pub use interval::{Estimate, Interval, Level, hodges_lehmann, signed_rank_interval};
pub use multiplicity::holm;
pub use noise::{AaBlock, Noise, theil_sen};
pub use planning::{blocks_needed, fewest_blocks, smallest_attainable_p, smallest_provable_effect};
pub use proportion::clopper_pearson;
pub use quantile::{student_t_interval, student_t_quantile};
pub use ratio::{Pair, log_ratio};
pub use sample::Sample;
pub use sequential::{boundary, looks};
pub use signed_rank::{EXACT_LIMIT, SignedRankTest, signed_rank_test};
pub use steady::{Steadiness, Truncation, mser5, snia_steady, steadiness};
