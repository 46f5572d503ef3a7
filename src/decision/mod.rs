//! What to do about a family of comparisons. Knows verdicts and guards, not how they were reached, nor whether they
//! come from a selection or from a confirmation; only a confirmation's gain may be published.

mod evaluate;
mod recommend;
#[cfg(test)]
mod tests;

pub use evaluate::{Counts, Evaluation, evaluate, value};
pub use recommend::{Blocked, KeepReason, Recommendation, Winner, recommend};
