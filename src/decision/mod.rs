//! What to do about a family of comparisons. Knows verdicts and guards, not how they were reached, nor whether they
//! come from a selection or from a confirmation; only a confirmation's gain may be published.

mod ablation;
mod advice;
mod certificate;
mod chain;
mod evaluate;
mod evidence;
mod extend;
mod numbers;
mod pareto;
mod recommend;
mod sides;
#[cfg(test)]
mod tests;

pub use ablation::{Ablated, Ablation, Fate, LevelOf, settings};
pub use advice::{
    Advice, Kept, Minimality, Next, Proven, Selection, Why, advise, against_whole, best, found_best,
};
pub use certificate::{certificate, certifies};
pub use chain::{Chain, Link};
pub use evaluate::{Counts, Effects, Evaluation, Progress, claim_rule, evaluate, progress};
pub use extend::{Refusal, extension};
pub use numbers::{observed, values};
pub use pareto::{Place, Standing, front};
pub use recommend::{Blocked, CONFIRMING_PAIRS, KeepReason, Recommendation, Winner, recommend};
pub use sides::{Sides, sides};
