//! Whether blocks may be added to a run without more false claims than were allowed. Knows the rule of the run, not
//! its numbers.

use crate::analysis::{Rule, registered_looks};

/// A run of an anytime rule is not made longer than this.
const MOST: u32 = 1000;

/// Why no blocks may be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// One look was planned, and it was taken.
    #[error(
        "its {blocks} blocks were fixed beforehand and are judged: looking again at more would claim falsely more often \
         than 5 %. Start a new run; with blocks = {{ min = 8, max = 20 }} or `--anytime` more can be added to it"
    )]
    Judged {
        /// The number fixed beforehand.
        blocks: u32,
    },
    /// The last registered look was taken.
    #[error(
        "its last registered look, at {blocks} blocks, is taken and its error rate spent. Start a new run, or one with \
         `--anytime`, which has no last look"
    )]
    Spent {
        /// The last look.
        blocks: u32,
    },
    /// The last registered look gives fewer.
    #[error(
        "its last registered look is at {last} blocks, {left} more than it has. Ask for no more than that, or start a \
         new run"
    )]
    Beyond {
        /// The last look.
        last: u32,
        /// The blocks up to it.
        left: u32,
    },
    /// Beyond what is sensible.
    #[error("a run has at most {MOST} blocks")]
    TooMany,
}

/// The number of blocks a run with `done` blocks should go on to when `more` are wanted: the next registered look that
/// gives at least as many, since claims are made nowhere else.
pub fn extension(rule: Rule, done: u32, more: u32) -> Result<u32, Refusal> {
    let wanted = done.saturating_add(more);
    match rule {
        Rule::Fixed { blocks } if done < blocks => Ok(blocks),
        Rule::Fixed { blocks } => Err(Refusal::Judged { blocks }),
        Rule::Looks { .. } => {
            let (planned, beyond) = registered_looks(rule);
            let mut looks = planned.into_iter().chain(beyond);
            let last = looks.clone().last().unwrap_or(done);
            if done >= last {
                return Err(Refusal::Spent { blocks: last });
            }
            looks.find(|look| *look >= wanted).ok_or(Refusal::Beyond {
                last,
                left: last - done,
            })
        }
        Rule::Anytime if wanted > MOST => Err(Refusal::TooMany),
        Rule::Anytime => Ok(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_added_up_to_a_registered_look() {
        let looks = Rule::Looks { min: 8, max: 20 };
        assert_eq!(extension(looks, 9, 1), Ok(10));
        assert_eq!(extension(looks, 20, 1), Ok(30));
        assert_eq!(extension(looks, 20, 12), Ok(40));
        assert_eq!(extension(looks, 20, 60), Ok(80));
        let beyond = Refusal::Beyond { last: 80, left: 60 };
        assert_eq!(extension(looks, 20, 61), Err(beyond));
        assert_eq!(extension(looks, 80, 1), Err(Refusal::Spent { blocks: 80 }));
    }

    #[test]
    fn what_was_fixed_stays_fixed() {
        let fixed = Rule::Fixed { blocks: 9 };
        assert_eq!(extension(fixed, 5, 1), Ok(9));
        assert_eq!(extension(fixed, 9, 1), Err(Refusal::Judged { blocks: 9 }));
        assert_eq!(extension(Rule::Anytime, 9, 7), Ok(16));
        assert_eq!(extension(Rule::Anytime, 9, 7000), Err(Refusal::TooMany));
    }
}
