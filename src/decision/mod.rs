//! What to do about a family of comparisons. Knows verdicts and guards, not how they were reached, nor whether they
//! come from a selection or from a confirmation; only a confirmation's gain may be published.

mod certificate;
mod evaluate;
mod extend;
mod numbers;
mod recommend;
mod sides;
#[cfg(test)]
mod tests;

pub use certificate::{certificate, certifies};
pub use evaluate::{Counts, Effects, Evaluation, Progress, claim_rule, evaluate, progress};
pub use extend::{Refusal, extension};
pub use numbers::{observed, values};
pub use recommend::{Blocked, KeepReason, Recommendation, Winner, recommend};
pub use sides::{Sides, sides};
