//! What to do after everything that was measured about a question: the only way to something that may be made
//! permanent. Knows a chain of runs, not where it is kept, nor how its next run is measured.

use super::ablation::{Ablation, LevelOf, settings};
use super::chain::{Chain, Link};
use super::evidence;
use super::{Evaluation, KeepReason, Recommendation, evaluate, extension};
use crate::analysis::{AnalysisError, Comparison, MORE_BLOCKS_CAP, Verdict};
use crate::design::{Role, Treatment};
use crate::event::{Purpose, RunHeader, RunId, TrialRecord};
use serde::Serialize;

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "advice")]
pub enum Advice {
    /// Adopt what fresh blocks on fresh guests proved.
    Adopt(Box<Proven>),
    /// Keep the baseline: nothing is proven better, or it was not confirmed.
    Keep(Box<Kept>),
    /// Nothing can be said before this is measured.
    Unfinished {
        /// What is measured next.
        next: Next,
    },
}

/// The run that carries a chain on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Next {
    /// A run that was begun and is not over.
    Resume {
        /// Which one.
        run: RunId,
    },
    /// The next factor of a one-factor design.
    Stage {
        /// The stage it follows.
        after: RunId,
    },
    /// A treatment against the baseline, on fresh guests.
    Confirm {
        /// The run that found the treatment.
        of: RunId,
        /// One level for each factor.
        levels: Vec<LevelOf>,
    },
    /// What an ablation left of a winner, against the baseline, with the whole winner beside it.
    Minimal {
        /// The ablation.
        of: RunId,
        /// The levels of what is left, one for each factor.
        levels: Vec<LevelOf>,
        /// The winner's levels.
        whole: Vec<LevelOf>,
    },
    /// A confirmed winner without each of its settings.
    Ablate {
        /// The confirmation.
        of: RunId,
        /// The winner's levels, one for each factor.
        levels: Vec<LevelOf>,
    },
}

impl Next {
    /// The recorded run that it goes on with, or follows.
    pub fn builds_on(&self) -> RunId {
        match self {
            Self::Resume { run } => *run,
            Self::Stage { after } => *after,
            Self::Confirm { of, .. } | Self::Minimal { of, .. } | Self::Ablate { of, .. } => *of,
        }
    }
}

/// What became of the minimal set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Minimality {
    /// The winner has one setting.
    Single,
    /// It has several, which were not taken apart yet, or not to the end.
    NotAblated,
    /// Every setting of it is needed.
    AllNeeded,
    /// No single setting is proven to be needed, so none is left out.
    NoneProven,
    /// Settings whose use is not proven were left out, and what is left was confirmed.
    Minimal,
    /// What the ablation left was not confirmed, or is proven worse than the whole: either the other settings stand in
    /// for each other, or each is too small to be proven by itself. None is left out, and some may be of no use.
    WholeStays,
}

/// The gain that a winner had where it was chosen: not the one to publish.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Selection {
    /// As it was estimated there, in percent.
    pub gain_percent: f64,
    /// The same, shrunk for having been picked.
    pub shrunk_percent: f64,
}

/// A treatment that fresh blocks on fresh guests proved better than the baseline, with every guard held. Made only by
/// [`advise`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Proven {
    asked: RunId,
    baseline: Treatment,
    treatment: Treatment,
    #[serde(skip)]
    header: RunHeader,
    comparison: Comparison,
    minimality: Minimality,
    selection: Option<Selection>,
    ablation: Option<Ablation>,
    against_whole: Option<Comparison>,
    next: Option<Next>,
    evidence: Vec<String>,
}

impl Proven {
    /// What to make permanent.
    pub fn treatment(&self) -> &Treatment {
        &self.treatment
    }

    /// What it was proven better than.
    pub fn baseline(&self) -> &Treatment {
        &self.baseline
    }

    /// Of the run whose fresh blocks prove it.
    pub fn header(&self) -> &RunHeader {
        &self.header
    }

    /// The run that was asked about.
    pub fn asked(&self) -> RunId {
        self.asked
    }

    /// The levels in which it differs from the baseline.
    pub fn settings(&self) -> Vec<LevelOf> {
        settings(&self.treatment, &self.baseline)
    }

    /// What the fresh blocks show: the gain to publish is in here.
    pub fn comparison(&self) -> &Comparison {
        &self.comparison
    }

    /// Whether only what is proven to be needed is left: one setting, or several of which each is, or what is left of them
    /// once the others are out.
    pub fn is_minimal(&self) -> bool {
        use Minimality::{AllNeeded, Minimal, Single};
        matches!(self.minimality, Single | AllNeeded | Minimal)
    }

    /// How it came to be no larger than it is.
    pub fn minimality(&self) -> Minimality {
        self.minimality
    }

    /// The gain where it was chosen, as estimated and as shrunk; `None` where it was not measured as a whole there.
    pub fn selection(&self) -> Option<Selection> {
        self.selection
    }

    /// What the ablation showed, once it is over.
    pub fn ablation(&self) -> Option<&Ablation> {
        self.ablation.as_ref()
    }

    /// What the ablation left, against the whole winner, in the blocks of its confirmation.
    pub fn against_whole(&self) -> Option<&Comparison> {
        self.against_whole.as_ref()
    }

    /// What the protocol measures next; `None` at its end.
    pub fn next(&self) -> Option<&Next> {
        self.next.as_ref()
    }

    /// What it rests on, in lines of plain text that cannot harm a terminal or a file.
    pub fn evidence(&self) -> Vec<String> {
        self.evidence.clone()
    }
}

/// Why the baseline stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Why {
    /// No treatment was proven better where they were compared.
    NothingProven {
        /// That run.
        run: RunId,
        /// Its reason.
        reason: KeepReason,
    },
    /// What looked best was not proven better by fresh blocks. It is not confirmed twice.
    NotConfirmed {
        /// The confirmation.
        run: RunId,
        /// Its reason.
        reason: KeepReason,
        /// What it showed.
        comparison: Comparison,
    },
}

/// That the baseline stays, and what a longer run could still show.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Kept {
    /// The run that was asked about.
    pub asked: RunId,
    /// Why.
    pub why: Why,
    /// What stays.
    pub baseline: Treatment,
    /// The run that compared the treatments.
    pub run: RunId,
    /// Its candidates of which nothing is shown and that could still be adopted, the nearest to a claim first.
    pub open: Vec<Comparison>,
    /// How many blocks that run may be given, to settle the nearest of them; `None` where its error rate is spent or more
    /// are needed than are sensible.
    pub addable: Option<u32>,
    /// Its candidates without enough blocks for any claim.
    pub hardly_measured: Vec<String>,
    /// The smallest gain, in percent, that run could have proven for one of its candidates with power .8.
    pub provable_percent: Option<f64>,
}

/// What the runs of a chain come to.
pub fn advise(chain: &Chain) -> Result<Advice, AnalysisError> {
    let found = chain.last_found();
    if let Some(link) = chain.found.iter().find(|link| !link.is_over) {
        let run = link.header.run;
        return Ok(unfinished(Next::Resume { run }));
    }
    if !chain.has_all_stages() {
        let after = found.header.run;
        return Ok(unfinished(Next::Stage { after }));
    }
    let evaluation = evaluate(&found.header, &found.records)?;
    let Some(levels) = found_best(&found.header, &evaluation) else {
        let reason = match &evaluation.recommendation {
            Recommendation::Keep { reason } => reason.clone(),
            Recommendation::Adopt(_) => KeepReason::NoneBetter,
        };
        let run = found.header.run;
        return keep(chain, &evaluation, Why::NothingProven { run, reason });
    };
    let Some(confirmation) = &chain.confirmation else {
        let of = found.header.run;
        return Ok(unfinished(Next::Confirm { of, levels }));
    };
    if !confirmation.is_over {
        let run = confirmation.header.run;
        return Ok(unfinished(Next::Resume { run }));
    }
    match proven(chain, confirmation)? {
        Ok(whole) => ablate(chain, whole, &evaluation).map(|proven| Advice::Adopt(Box::new(proven))),
        Err(why) => keep(chain, &evaluation, why),
    }
}

/// The levels that a finished sweep, or the last of its stages, found best; `None` when those are the baseline's.
pub fn found_best(header: &RunHeader, evaluation: &Evaluation) -> Option<Vec<LevelOf>> {
    let best = best(header, evaluation);
    let Purpose::Stage { .. } = header.purpose else {
        return best;
    };
    let kept = best.or_else(|| Some(header.plan.treatments.first()?.levels.clone()))?;
    let is_original = header.plan.factors.iter().all(|factor| {
        let original = factor.levels.get(factor.original).map(|l| l.label.as_str());
        let mut of_it = kept.iter().filter(|(tunable, _)| *tunable == factor.tunable);
        of_it.any(|(_, level)| Some(level.as_str()) == original)
    });
    (!is_original).then_some(kept)
}

/// The levels of the treatment that a run recommends, if it recommends one.
pub fn best(header: &RunHeader, evaluation: &Evaluation) -> Option<Vec<LevelOf>> {
    let Recommendation::Adopt(winner) = &evaluation.recommendation else {
        return None;
    };
    let baseline = header.plan.treatments.first()?;
    let mut candidates = header.plan.candidates();
    let treatment = candidates.find(|(_, t)| t.label_against(baseline) == winner.treatment());
    treatment.map(|(_, t)| t.levels.clone())
}

fn unfinished(next: Next) -> Advice {
    Advice::Unfinished { next }
}

fn keep(chain: &Chain, found: &Evaluation, why: Why) -> Result<Advice, AnalysisError> {
    let link = chain.last_found();
    let nearest = found.comparisons.iter().filter_map(more).min();
    let nearest = nearest.filter(|blocks| *blocks < MORE_BLOCKS_CAP);
    let mut all: Vec<Comparison> = Vec::new();
    for link in &chain.found {
        all.extend(evaluate(&link.header, &link.records)?.comparisons);
    }
    let hardly = |c: &&Comparison| c.primary().effect.interval_percent.is_none();
    let hardly_measured = all.iter().filter(hardly).map(|c| c.treatment.clone());
    let mut open: Vec<Comparison> = all.iter().filter(|c| more(c).is_some()).cloned().collect();
    open.sort_by_key(more);
    Ok(Advice::Keep(Box::new(Kept {
        asked: chain.asked,
        why,
        baseline: chain.found[0].header.plan.treatments[0].clone(),
        run: link.header.run,
        addable: nearest.filter(|blocks| extension(found.rule, found.done, *blocks).is_ok()),
        hardly_measured: hardly_measured.collect(),
        open,
        provable_percent: evidence::provable_percent(link, found),
    })))
}

fn more(comparison: &Comparison) -> Option<u32> {
    comparison.open().map(|(_, more_blocks)| more_blocks)
}

/// What a confirmation proves, before anything is left out of it; or why it does not.
fn proven(chain: &Chain, confirmation: &Link) -> Result<Result<Proven, Why>, AnalysisError> {
    let Link { header, records, .. } = confirmation;
    let evaluation = evaluate(header, records)?;
    let run = header.run;
    let treatments = header.plan.treatments.first().zip(header.plan.treatments.get(1));
    let comparison = evaluation.comparisons.first();
    let (Some((baseline, treatment)), Some(comparison)) = (treatments, comparison) else {
        let reason = KeepReason::NothingCompared;
        return Ok(Err(Why::NothingProven { run, reason }));
    };
    if let Recommendation::Keep { reason } = evaluation.recommendation {
        let comparison = comparison.clone();
        return Ok(Err(Why::NotConfirmed {
            run,
            reason,
            comparison,
        }));
    }
    Ok(Ok(Proven {
        asked: chain.asked,
        baseline: baseline.clone(),
        treatment: treatment.clone(),
        header: header.clone(),
        comparison: comparison.clone(),
        minimality: Minimality::Single,
        selection: None,
        ablation: None,
        against_whole: None,
        next: None,
        evidence: evidence::lines(header, &evaluation, comparison, None),
    }))
}

/// Takes the whole winner as far apart as the chain has come.
fn ablate(chain: &Chain, mut whole: Proven, found: &Evaluation) -> Result<Proven, AnalysisError> {
    whole.select(chain, found);
    if whole.settings().len() < 2 {
        return Ok(whole);
    }
    whole.minimality = Minimality::NotAblated;
    let Some(link) = &chain.ablation else {
        whole.next = Some(Next::Ablate {
            of: whole.header.run,
            levels: whole.treatment.levels.clone(),
        });
        return Ok(whole);
    };
    if !link.is_over {
        let run = link.header.run;
        whole.next = Some(Next::Resume { run });
        return Ok(whole);
    }
    let ablation = Ablation::of(link, &whole.baseline, &whole.treatment)?;
    if !ablation.is_smaller() {
        whole.minimality = if ablation.proves_any() {
            Minimality::AllNeeded
        } else {
            Minimality::NoneProven
        };
        whole.ablation = Some(ablation);
        return Ok(whole);
    }
    let levels = ablation.minimal(&whole.baseline, &whole.treatment);
    whole.ablation = Some(ablation);
    let of = link.header.run;
    whole.next = match &chain.minimal {
        None => Some(Next::Minimal {
            of,
            levels,
            whole: whole.treatment.levels.clone(),
        }),
        Some(minimal) if !minimal.is_over => Some(Next::Resume {
            run: minimal.header.run,
        }),
        Some(minimal) => return smallest(chain, whole, found, minimal),
    };
    Ok(whole)
}

/// The minimal set where its own confirmation proves it and does not prove it worse than the whole, else the whole.
fn smallest(
    chain: &Chain,
    mut whole: Proven,
    found: &Evaluation,
    minimal: &Link,
) -> Result<Proven, AnalysisError> {
    let against_whole = against_whole(minimal)?;
    let is_worse = |c: &Comparison| c.responses.iter().any(|r| r.verdict == Verdict::Worse);
    let confirmed = proven(chain, minimal)?;
    let (Ok(mut small), false) = (confirmed, against_whole.as_ref().is_some_and(is_worse)) else {
        whole.minimality = Minimality::WholeStays;
        whole.against_whole = against_whole;
        return Ok(whole);
    };
    small.minimality = Minimality::Minimal;
    small.ablation = whole.ablation;
    small.select(chain, found);
    small.against_whole = against_whole;
    Ok(small)
}

/// The treatment of a confirmation against the whole that was measured beside it, in the same blocks.
pub fn against_whole(minimal: &Link) -> Result<Option<Comparison>, AnalysisError> {
    let mut header = minimal.header.clone();
    let treatments = &mut header.plan.treatments;
    let Some(whole) = treatments.iter().position(|t| t.role == Role::Whole) else {
        return Ok(None);
    };
    let mut whole = treatments.swap_remove(whole);
    whole.role = Role::Listed;
    treatments[0] = whole;
    treatments.truncate(2);
    let evaluation = evaluate(&header, &minimal.records)?;
    Ok(evaluation.comparisons.into_iter().next())
}

impl Proven {
    /// The gain where it was chosen, when it was measured as a whole there.
    fn select(&mut self, chain: &Chain, found: &Evaluation) {
        let link = chain.last_found();
        self.selection = evidence::selection(link, found, &self.baseline, &self.treatment);
        if let Some(selection) = self.selection {
            self.evidence.push(evidence::selection_line(selection));
        }
    }
}

/// The record of a run as a link of a chain.
impl Link {
    /// A run that is over or not.
    pub fn new(header: RunHeader, records: Vec<TrialRecord>, is_over: bool) -> Self {
        Self {
            header,
            records,
            is_over,
        }
    }
}
