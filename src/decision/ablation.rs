//! Which settings of a confirmed winner are needed: what its ablation shows of each. Knows levels by name, not what
//! they set.

use super::chain::Link;
use super::evaluate;
use crate::analysis::{AnalysisError, Comparison, GuardOutcome, Verdict};
use crate::design::Treatment;
use crate::event::RunId;
use serde::Serialize;

/// One level of a factor: `(tunable, level)`.
pub type LevelOf = (String, String);

/// Why a setting of the winner stays, or that it does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Fate {
    /// Without it the winner is proven worse.
    Needed,
    /// Without it a guard is shown to fail.
    Guards,
    /// A setting that stays is impossible without it.
    NeededBy {
        /// That setting's tunable.
        tunable: String,
    },
    /// It cannot be taken away alone: what is left then is the baseline, and that is worse by the confirmation.
    Inseparable,
    /// The winner is not proven worse without it.
    LeftOut,
}

/// One setting of the winner, and what the winner without it showed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ablated {
    /// The setting.
    pub setting: LevelOf,
    /// Settings that cannot be without it, and were taken away with it.
    pub together_with: Vec<LevelOf>,
    /// The winner without them, against the winner: a loss means that they are of use.
    pub without: Option<Comparison>,
    /// What becomes of it.
    pub fate: Fate,
}

impl Ablated {
    /// Whether it stays in the minimal set.
    pub fn stays(&self) -> bool {
        self.fate != Fate::LeftOut
    }
}

/// A confirmed winner taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ablation {
    /// The run that measured it.
    pub run: RunId,
    /// Each setting in which the winner differs from the baseline.
    pub settings: Vec<Ablated>,
}

impl Ablation {
    /// What the ablation of `winner` shows, `baseline` being what the winner was confirmed against.
    pub(super) fn of(link: &Link, baseline: &Treatment, winner: &Treatment) -> Result<Self, AnalysisError> {
        let evaluation = evaluate(&link.header, &link.records)?;
        let removals: Vec<Removal> = link
            .header
            .plan
            .candidates()
            .zip(evaluation.comparisons)
            .map(|((_, treatment), comparison)| Removal {
                away: settings(winner, treatment),
                comparison,
            })
            .collect();
        let each = settings(winner, baseline).into_iter();
        let mut all: Vec<Ablated> = each.map(|setting| ablated(setting, &removals)).collect();
        keep_what_is_needed(&mut all);
        Ok(Self {
            run: link.header.run,
            settings: all,
        })
    }

    /// Whether a setting is proven to be needed.
    pub fn proves_any(&self) -> bool {
        self.settings.iter().any(Ablated::stays)
    }

    /// Whether some settings may go, and some have to stay.
    pub fn is_smaller(&self) -> bool {
        self.proves_any() && !self.settings.iter().all(Ablated::stays)
    }

    /// One level for each factor: those of `winner`, those of `baseline` where a setting is left out.
    pub(super) fn minimal(&self, baseline: &Treatment, winner: &Treatment) -> Vec<LevelOf> {
        let left_out = |level: &LevelOf| self.settings.iter().any(|s| !s.stays() && s.setting == *level);
        let back = |level: &LevelOf| baseline.levels.iter().find(|(tunable, _)| *tunable == level.0);
        let levels = winner.levels.iter();
        levels
            .map(|level| back(level).filter(|_| left_out(level)).unwrap_or(level).clone())
            .collect()
    }
}

/// The levels of `treatment` that `other` does not have.
pub fn settings(treatment: &Treatment, other: &Treatment) -> Vec<LevelOf> {
    let differs = treatment
        .levels
        .iter()
        .filter(|level| !other.levels.contains(level));
    differs.cloned().collect()
}

struct Removal {
    away: Vec<LevelOf>,
    comparison: Comparison,
}

/// A setting is judged by the smallest removal it is in.
fn ablated(setting: LevelOf, removals: &[Removal]) -> Ablated {
    let with_it = removals.iter().filter(|r| r.away.contains(&setting));
    let smallest = with_it.min_by_key(|r| r.away.len());
    let others = smallest.map_or(Vec::new(), |r| {
        r.away.iter().filter(|s| **s != setting).cloned().collect()
    });
    let fate = smallest.map_or(Fate::Inseparable, |r| fate(&r.comparison));
    Ablated {
        setting,
        together_with: others,
        without: smallest.map(|r| r.comparison.clone()),
        fate,
    }
}

fn fate(without: &Comparison) -> Fate {
    let is_worse = without.responses.iter().any(|r| r.verdict == Verdict::Worse);
    let fails = without.guards.iter().any(|g| g.outcome == GuardOutcome::Failed);
    match (is_worse, fails) {
        (true, _) => Fate::Needed,
        (false, true) => Fate::Guards,
        (false, false) => Fate::LeftOut,
    }
}

/// What a setting that stays is impossible without stays too.
fn keep_what_is_needed(all: &mut [Ablated]) {
    while let Some((place, tunable)) = all.iter().enumerate().find_map(|(place, one)| {
        let needs_it = |other: &&Ablated| other.stays() && one.together_with.contains(&other.setting);
        let user = all.iter().find(needs_it).filter(|_| !one.stays())?;
        Some((place, user.setting.0.clone()))
    }) {
        all[place].fate = Fate::NeededBy { tunable };
    }
}
