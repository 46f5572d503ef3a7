//! The runs that follow from one question: what found a winner, what confirmed it, what took it apart. Knows what each
//! is for, not where it is kept.

use crate::event::{Purpose, RunHeader, RunId, TrialRecord};
use crate::experiment::Weighed;

/// One run of a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// What it is of.
    pub header: RunHeader,
    /// Its trials.
    pub records: Vec<TrialRecord>,
    /// Whether nothing more is to come without being asked for.
    pub is_over: bool,
}

/// What was measured about one question, in the order it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Chain {
    /// The run that was asked about: any of the chain.
    pub asked: RunId,
    /// The run that compared the treatments; the stages of a one-factor design, the first of them first. Never empty.
    pub found: Vec<Link>,
    /// What was found best against the baseline, on fresh guests.
    pub confirmation: Option<Link>,
    /// The confirmed winner without each of its settings.
    pub ablation: Option<Link>,
    /// What the ablation left of it, against the baseline.
    pub minimal: Option<Link>,
}

impl Chain {
    /// Chooses by these weights what is not confirmed yet: the treatments are judged by one response that they are
    /// weighed in.
    pub fn weigh(&mut self, weighed: &[Weighed]) {
        for link in &mut self.found {
            link.header.protocol.weigh(weighed.to_vec());
        }
    }

    /// The run that led to the confirmation: the sweep, or the last stage there is.
    pub fn last_found(&self) -> &Link {
        &self.found[self.found.len() - 1]
    }

    /// Whether the stages that were measured are all there are.
    pub(super) fn has_all_stages(&self) -> bool {
        match self.last_found().header.purpose {
            Purpose::Stage { number, of, .. } => number >= of,
            _ => true,
        }
    }

    /// Whether no trial of the run that led to the confirmation is recorded.
    pub fn has_no_trials(&self) -> bool {
        self.last_found().records.is_empty()
    }
}
