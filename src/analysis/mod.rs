//! Paired statistics: from one number a trial to estimates, intervals, tests and verdicts.
//!
//! Knows only numbers, blocks and goals. Does not know how trials were ordered, run, stored or printed, and
//! cannot see whether the blocks it is given were randomised, on which all its error rates rest.
//!
//! ```text
//! pairs ─► D_b = ±ln(candidate/baseline) ─► Sample ─► signed rank ─► Holm at each look ─► Course ─► Verdict
//! ```

mod anytime;
mod comparison;
mod course;
mod effect;
mod error;
mod factorial;
mod family;
mod guard;
mod interval;
mod multiplicity;
mod noise;
mod planning;
mod price;
mod proportion;
mod quantile;
mod ratio;
mod sample;
mod sequential;
mod shrink;
mod signed_rank;
#[cfg(test)]
mod simulations;
mod steady;
#[cfg(test)]
mod tests;
mod walsh;

pub use anytime::{EValue, anytime_interval, e_value};
pub use comparison::{Comparison, Judged, Judgement, MORE_BLOCKS_CAP, Verdict, compare, judge};
pub use course::{Course, Dropped, Stop, follow, follow_last_two};
pub use effect::{Effect, effect};
pub use error::{AnalysisError, Arm, RatioError};
pub use factorial::{Cell, Contrast, FactorEffect, Interaction, interactions, main_effects};
pub use family::{Candidate, Criteria, Rule, Series};
pub use guard::{Guard, GuardOutcome, GuardReport, Margin, judge_guard, lacks_resolution};
pub use interval::{Estimate, Interval, Level, hodges_lehmann, signed_rank_interval};
pub use multiplicity::holm;
pub use noise::{AaBlock, Noise, theil_sen};
pub use planning::{
    blocks_needed, fewest_blocks, provable_floor, smallest_attainable_p, smallest_provable_effect,
};
pub use price::registered_looks;
pub use proportion::clopper_pearson;
pub use quantile::{student_t_interval, student_t_quantile};
pub use ratio::{Pair, log_ratio};
pub use sample::{Sample, median};
pub use sequential::{boundary, looks};
pub use shrink::{Observed, shrink};
pub use signed_rank::{EXACT_LIMIT, SignedRankTest, signed_rank_test};
pub use steady::{FEWEST_SAMPLES, Movement, Rounds, Steadiness, Truncation, movement, mser5, steadiness};
