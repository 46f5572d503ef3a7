//! A family of candidates, each compared with the same baseline. Knows treatments only by name, and picks no winner.

use serde::Serialize;

use super::course::{Course, Dropped, Tested, Track, Tracks, follow};
use super::effect::Effect;
use super::family::{Candidate, Criteria, Rule, Series};
use super::guard::{GuardOutcome, GuardReport, guard_report, is_at_cap, lacks_resolution};
use super::price::{Moment, Prices};
use super::{AnalysisError, Interval, Level, Sample, blocks_needed, e_value, fewest_blocks, hodges_lehmann};

/// No larger number of further blocks is ever named: beyond it the estimate says only "far too many".
pub const MORE_BLOCKS_CAP: u32 = 1000;

/// What may be said of a candidate's response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Verdict {
    /// Better than the baseline, corrected for the family.
    Better,
    /// Worse than the baseline, corrected for the family.
    Worse,
    /// No difference shown, and any there is lies inside the equivalence margin. Not corrected for the family.
    Equivalent,
    /// Shown not to be better by as much as the equivalence margin. Not corrected for the family.
    NoGain,
    /// Dropped from the run: worse than its leader, one-sided at 95 % and not corrected.
    Dropped,
    /// Nothing is shown.
    Inconclusive {
        /// About how many further blocks would show the observed effect, or the smallest of interest if that is
        /// larger, with power .8; at most [`MORE_BLOCKS_CAP`].
        #[serde(rename = "more-blocks")]
        more_blocks: u32,
    },
    /// Half or more of the differences are zero.
    NoResolution,
    /// The same, and the values that are equal are the best there are: something else limits the metric.
    AtCap,
}

impl Verdict {
    /// It in one or two words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Equivalent => "equivalent",
            Self::Inconclusive { .. } => "inconclusive",
            Self::NoResolution => "no resolution",
            Self::AtCap => "at cap",
            Self::NoGain => "no gain",
            Self::Dropped => "dropped",
        }
    }
}

/// What the data say about one response of a candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Judgement {
    /// The difference; its interval holds simultaneously with those of the whole family, over all looks.
    pub effect: Effect,
    /// Two-sided p-value at the last moment it was tested: of the exact signed-rank test, or the inverse of the
    /// greatest e-value; 1 before the first.
    pub p_raw: f64,
    /// The same after Holm's correction over the family.
    pub p_holm: f64,
    /// The largest `p_holm` that is a claim, which is less at an early look; 0 before the first.
    pub claim_below: f64,
    /// The blocks after which it was tested; 0 before the first moment.
    pub tested_after: u32,
    /// How many hypotheses the correction is for: candidates times responses.
    pub family: usize,
    /// What may be said.
    pub verdict: Verdict,
    /// Whether the 90 % interval lies inside the equivalence margin, so that even a proven difference is negligible.
    pub negligible: bool,
}

/// What the data say about one candidate.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Comparison {
    /// The treatment's name.
    pub treatment: String,
    /// Never empty; the first is the one a winner is ranked by.
    pub responses: Vec<Judgement>,
    /// What happened to the other metrics.
    pub guards: Vec<GuardReport>,
    /// Whether it was dropped on the way.
    pub dropped: Option<Dropped>,
}

impl Comparison {
    /// The response a winner is ranked by.
    pub fn primary(&self) -> &Judgement {
        &self.responses[0]
    }

    /// The fewest blocks with both values, in any response or guard.
    pub fn fewest_pairs(&self) -> usize {
        let responses = self.responses.iter().map(|r| r.effect.blocks);
        let guards = self.guards.iter().map(|g| g.effect.blocks);
        responses.chain(guards).min().unwrap_or(0)
    }

    /// The response of which nothing is shown and that fewest further blocks would settle, and how many; `None` where
    /// there is none, or where a response or a guard is lost already.
    pub fn open(&self) -> Option<(&Judgement, u32)> {
        let failed = self.guards.iter().any(|g| g.outcome == GuardOutcome::Failed);
        let worse = self.responses.iter().any(|r| r.verdict == Verdict::Worse);
        let open = self
            .responses
            .iter()
            .filter_map(|judgement| match judgement.verdict {
                Verdict::Inconclusive { more_blocks } => Some((judgement, more_blocks)),
                _ => None,
            });
        open.min_by_key(|(_, more)| *more).filter(|_| !failed && !worse)
    }

    /// Better in a response and worse in none.
    pub fn is_better(&self) -> bool {
        let has = |verdict| self.responses.iter().any(|r| r.verdict == verdict);
        has(Verdict::Better) && !has(Verdict::Worse)
    }
}

/// A family judged after some blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// One for each candidate, in the family's order.
    pub comparisons: Vec<Comparison>,
    /// What happened on the way.
    pub course: Course,
}

/// Compares every candidate with the baseline after `done` blocks. Pass the whole family at once, with candidates
/// that failed or were dropped: each that is left out makes the correction too weak.
pub fn compare(family: &[Candidate], criteria: &Criteria, done: u32) -> Result<Judged, AnalysisError> {
    let course = follow(family, criteria, done)?;
    let comparisons = judge(family, criteria, done, &course)?;
    Ok(Judged { comparisons, course })
}

/// The same with the course of these `done` blocks already followed: one comparison for each candidate, in the
/// family's order.
pub fn judge(
    family: &[Candidate],
    criteria: &Criteria,
    done: u32,
    course: &Course,
) -> Result<Vec<Comparison>, AnalysisError> {
    // Blocks after these are of no account, not even to tell how many there are.
    let family: Vec<Candidate> = family.iter().map(|candidate| candidate.upto(done)).collect();
    let mut judge = Judge {
        criteria,
        prices: Prices::new(criteria.rule),
        done,
        hypotheses: family.iter().map(|c| c.responses.len()).sum(),
    };
    let places = family.iter().zip(&course.tested).zip(&course.dropped);
    places
        .map(|((candidate, tested), dropped)| judge.comparison(candidate, tested, *dropped))
        .collect()
}

/// When a candidate was judged.
#[derive(Clone, Copy)]
struct At {
    moment: Moment,
    /// Its last block.
    last: u32,
    dropped: bool,
}

struct Judge<'c> {
    criteria: &'c Criteria,
    prices: Prices,
    done: u32,
    hypotheses: usize,
}

impl Judge<'_> {
    fn comparison(
        &mut self,
        candidate: &Candidate,
        tested: &[Tested],
        dropped: Option<Dropped>,
    ) -> Result<Comparison, AnalysisError> {
        let tracks = Tracks::of(candidate)?;
        // A dropped candidate was judged for the last time when it was dropped.
        let last = dropped.map_or(self.done, |d| d.after);
        let at = At {
            moment: self.prices.latest(last),
            last,
            dropped: dropped.is_some(),
        };
        let responses = candidate.responses.iter().zip(&tracks.responses).zip(tested);
        let responses = responses.map(|((series, track), tested)| self.judgement(series, track, at, tested));
        let responses = responses.collect();
        let one_sided = 2.0 * self.criteria.confidence.alpha();
        let guards = candidate.guards.iter().zip(&tracks.guards).map(|(guard, track)| {
            guard_report(
                guard,
                track.sample(last).as_ref(),
                self.interval(track, at, one_sided),
            )
        });
        Ok(Comparison {
            treatment: candidate.treatment.clone(),
            responses,
            guards: guards.collect(),
            dropped,
        })
    }

    fn judgement(&mut self, series: &Series, track: &Track, at: At, tested: &Tested) -> Judgement {
        let sample = track.sample(at.last);
        let sample = sample.as_ref();
        let alpha = self.criteria.confidence.alpha();
        let simultaneous = alpha / self.hypotheses.max(1) as f64;
        let interval = self.interval(track, at, simultaneous);
        let one_sided = self.interval(track, at, 2.0 * alpha);
        let limit = self.criteria.equivalence.log_ratio();
        // Two one-sided tests, never a large p-value. Source: Schuirmann (1987), "A comparison of the two one-sided tests
        // procedure and the power approach", Journal of Pharmacokinetics and Biopharmaceutics 15.
        let negligible = one_sided.is_some_and(|i| i.low > -limit && i.high < limit);
        let verdict = match (sample, tested.claim) {
            (Some(sample), _) if lacks_resolution(sample) && is_at_cap(series) => Verdict::AtCap,
            (Some(sample), _) if lacks_resolution(sample) => Verdict::NoResolution,
            (_, Some(true)) => Verdict::Better,
            (_, Some(false)) => Verdict::Worse,
            _ if negligible => Verdict::Equivalent,
            _ if at.dropped => Verdict::Dropped,
            _ if one_sided.is_some_and(|i| i.high < limit) => Verdict::NoGain,
            _ => Verdict::Inconclusive {
                more_blocks: self.more_blocks(sample),
            },
        };
        Judgement {
            effect: Effect::new(series, sample, interval),
            p_raw: tested.p_raw,
            p_holm: tested.p_holm,
            claim_below: tested.claim_below,
            tested_after: tested.after,
            family: self.hypotheses,
            verdict,
            negligible,
        }
    }

    /// From the blocks of the last look only: between looks the levels do not hold, and before the first there is
    /// nothing that does.
    fn interval(&mut self, track: &Track, at: At, alpha: f64) -> Option<Interval> {
        self.prices.reached(at.last)?;
        let sample = track.sample(self.prices.seen(at.moment, at.last))?;
        self.prices.interval(&sample, at.moment, alpha)
    }

    /// An order of magnitude, not a promise: spread and effect are both estimates from few blocks.
    fn more_blocks(&self, sample: Option<&Sample>) -> u32 {
        let level = self.criteria.confidence.simultaneous(self.hypotheses);
        let Some(sample) = sample else {
            return fewest_blocks(level);
        };
        let within_cv = sample.standard_deviation() / std::f64::consts::SQRT_2;
        let effect = hodges_lehmann(sample)
            .log_ratio()
            .abs()
            .max(self.criteria.equivalence.log_ratio());
        let have = u32::try_from(sample.len()).unwrap_or(u32::MAX);
        if self.criteria.rule == Rule::Anytime {
            return blocks_of_evidence(sample, effect, level);
        }
        blocks_needed(within_cv, effect, level)
            .saturating_sub(have)
            .clamp(1, MORE_BLOCKS_CAP)
    }
}

/// How many further blocks give the evidence an anytime claim needs, if they repeat those there are, moved to the
/// `effect`.
fn blocks_of_evidence(sample: &Sample, effect: f64, level: Level) -> u32 {
    let centre = hodges_lehmann(sample).log_ratio();
    let moved: Vec<f64> = sample
        .values()
        .iter()
        .map(|value| value - centre + effect)
        .collect();
    let enough = |blocks: usize| {
        let differences: Vec<f64> = moved.iter().copied().cycle().take(blocks).collect();
        e_value(&differences).greatest * level.alpha() >= 1.0
    };
    let (mut few, mut many) = (sample.len(), sample.len() + MORE_BLOCKS_CAP as usize);
    if !enough(many) {
        return MORE_BLOCKS_CAP;
    }
    while many - few > 1 {
        let middle = few.midpoint(many);
        if enough(middle) {
            many = middle;
        } else {
            few = middle;
        }
    }
    u32::try_from(many - sample.len()).unwrap_or(MORE_BLOCKS_CAP)
}
