//! How a family fares as its blocks grow: claims at the moments they may be made, candidates dropped on the way, and
//! when to stop. Does not know how to measure, and forgets nothing: the same blocks always give the same course.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

use super::family::{Candidate, Criteria, Rule};
use super::guard::{guard_outcome, lacks_resolution};
use super::price::{Moment, Prices};
use super::ratio::log_ratios_by_block;
use super::{
    AnalysisError, GuardOutcome, Level, Sample, hodges_lehmann, provable_floor, signed_rank_test,
    student_t_interval,
};

/// From this many blocks on a candidate can be dropped for a better one: with ten candidates the first blocks are the
/// dear ones. Where none is better than the baseline, only ranks drop: what is merely no better is worth knowing.
///
/// Dropping claims nothing, so it needs no error rate of its own: the correction stays that for all candidates, and a
/// candidate that is gone can only make fewer claims. Hence a rough bound may drop, after any block; the price is now and
/// then a good candidate (in 3 of 100 replayed nights with one of ten better by 3 %).
///
/// Source: Magirr, Jaki & Whitehead (2012), "A generalized Dunnett test for multi-arm multi-stage clinical studies with
/// treatment selection", Biometrika 99.
const FEWEST_TO_DROP: u32 = 3;
/// The fewest blocks with which the signed-rank test can reach a one-sided 5 %.
const FEWEST_TO_RANK: usize = 5;
/// One end of the 90 % interval against the leader.
const DROP_LEVEL: f64 = 0.05;

/// Why nothing is left to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stop {
    /// The best candidate is better than the baseline, and its guards are held.
    Superiority,
    /// All that is left equals the baseline.
    Equivalence,
    /// Nothing that is left can become better by as much as is of interest.
    Futility,
}

/// A candidate that is measured no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Dropped {
    /// After this many blocks.
    pub after: u32,
    /// The candidate it is worse than, by its place in the family; `None` is the baseline.
    pub leader: Option<usize>,
}

/// One test of one response of one candidate, at the last moment it was tested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tested {
    pub(super) p_raw: f64,
    pub(super) p_holm: f64,
    /// `p_holm` at or below this is a claim.
    pub(super) claim_below: f64,
    /// The blocks it was tested after; 0 before the first moment.
    pub(super) after: u32,
    /// The direction that is claimed: true is better.
    pub(super) claim: Option<bool>,
}

/// What the blocks of a run led to.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// By candidate: whether and when it was dropped.
    pub dropped: Vec<Option<Dropped>>,
    /// Why the run may stop after the last block; `None` while it goes on.
    pub stop: Option<Stop>,
    /// By candidate and response.
    pub(super) tested: Vec<Vec<Tested>>,
}

impl Course {
    /// Whether the candidate is measured in the next block.
    pub fn is_active(&self, candidate: usize) -> bool {
        self.dropped.get(candidate).is_some_and(Option::is_none)
    }
}

/// Follows the family through its first `done` blocks, numbered from 1.
pub fn follow(family: &[Candidate], criteria: &Criteria, done: u32) -> Result<Course, AnalysisError> {
    let mut follower = Follower::new(family, criteria)?;
    follower.blocks(first_block(criteria.rule, done)..=done);
    follower.preview(done);
    Ok(follower.course)
}

/// The courses after all but the `last` block and after all of them: what was to be measured in the last block, and
/// what came of it.
pub fn follow_last_two(
    family: &[Candidate],
    criteria: &Criteria,
    last: u32,
) -> Result<(Course, Course), AnalysisError> {
    let before = last.saturating_sub(1);
    if let Rule::Fixed { .. } = criteria.rule {
        return Ok((follow(family, criteria, before)?, follow(family, criteria, last)?));
    }
    let first = first_block(criteria.rule, last);
    let mut follower = Follower::new(family, criteria)?;
    follower.blocks(first..=before);
    follower.preview(before);
    let course = follower.course.clone();
    follower.blocks(first.max(last)..=last);
    follower.preview(last);
    Ok((course, follower.course))
}

/// The first block after which something can happen.
fn first_block(rule: Rule, done: u32) -> u32 {
    match rule {
        Rule::Fixed { .. } => done,
        Rule::Looks { min, .. } => min.min(FEWEST_TO_DROP),
        Rule::Anytime => 1,
    }
}

/// Whether the one-sided 95 % bound of the ranks lies below 0.
fn ranks_below_zero(sample: &Sample) -> bool {
    sample.len() >= FEWEST_TO_RANK && signed_rank_test(sample).less <= DROP_LEVEL
}

/// Whether that bound or Student's lies below 0: ranks cannot say so below [`FEWEST_TO_RANK`] blocks, and are slow to
/// with few more.
fn is_below_zero(sample: &Sample) -> bool {
    let level = Level::P95.both_one_sided();
    ranks_below_zero(sample) || student_t_interval(sample, level).is_some_and(|interval| interval.high < 0.0)
}

/// The differences of one response or guard, by block.
pub(super) struct Track(Vec<(u32, f64)>);

impl Track {
    fn upto(&self, done: u32) -> &[(u32, f64)] {
        &self.0[..self.0.partition_point(|(block, _)| *block <= done)]
    }

    /// The sample of the first blocks; `None` where there are fewer than two.
    pub(super) fn sample(&self, done: u32) -> Option<Sample> {
        Sample::new(self.upto(done).iter().map(|(_, d)| *d).collect()).ok()
    }

    /// This response minus another candidate's, in the blocks both have.
    fn minus(&self, other: &Self, done: u32) -> Option<Sample> {
        let theirs = other.upto(done);
        let both = self.upto(done).iter().filter_map(|(block, d)| {
            let at = theirs.binary_search_by_key(block, |(block, _)| *block).ok()?;
            Some(d - theirs[at].1)
        });
        Sample::new(both.collect()).ok()
    }
}

/// The tracks of one candidate.
pub(super) struct Tracks {
    pub(super) responses: Vec<Track>,
    pub(super) guards: Vec<Track>,
}

impl Tracks {
    pub(super) fn of(candidate: &Candidate) -> Result<Self, AnalysisError> {
        let responses = candidate
            .responses
            .iter()
            .map(|s| log_ratios_by_block(s).map(Track));
        let guards = candidate
            .guards
            .iter()
            .map(|g| log_ratios_by_block(&g.series).map(Track));
        Ok(Self {
            responses: responses.collect::<Result<_, _>>()?,
            guards: guards.collect::<Result<_, _>>()?,
        })
    }
}

/// A hypothesis that may be claimed now.
struct Open {
    candidate: usize,
    response: usize,
    /// The last moment it was measured at; `None` if it was dropped before the first.
    moment: Option<Moment>,
    /// The blocks it is tested on.
    after: u32,
    sample: Option<Sample>,
    p: f64,
    better: bool,
    /// p over price.
    order: f64,
}

struct Follower<'f> {
    family: &'f [Candidate],
    criteria: &'f Criteria,
    prices: Prices,
    tracks: Vec<Tracks>,
    course: Course,
}

impl<'f> Follower<'f> {
    fn new(family: &'f [Candidate], criteria: &'f Criteria) -> Result<Self, AnalysisError> {
        let untested = Tested {
            p_raw: 1.0,
            p_holm: 1.0,
            claim_below: 0.0,
            after: 0,
            claim: None,
        };
        Ok(Self {
            family,
            criteria,
            prices: Prices::new(criteria.rule),
            tracks: family.iter().map(Tracks::of).collect::<Result<_, _>>()?,
            course: Course {
                dropped: vec![None; family.len()],
                stop: None,
                tested: family.iter().map(|c| vec![untested; c.responses.len()]).collect(),
            },
        })
    }

    fn blocks(&mut self, numbers: RangeInclusive<u32>) {
        for done in numbers {
            self.block(done);
        }
    }

    fn block(&mut self, done: u32) {
        let moment = self.prices.moment(done);
        if let Some(moment) = moment {
            self.claim(moment, done);
        }
        let fixed = matches!(self.criteria.rule, Rule::Fixed { .. });
        let leader = if fixed { None } else { self.leader(done) };
        if !fixed && done >= FEWEST_TO_DROP {
            self.drop_dominated(leader, done);
        }
        let none_left = !fixed && !self.family.is_empty() && self.course.dropped.iter().all(Option::is_some);
        self.course.stop = match moment {
            _ if none_left => Some(Stop::Futility),
            Some(moment) if !fixed => self.stop(leader, moment, done),
            _ => None,
        };
    }

    /// Holm's step-down over all hypotheses not claimed yet. A dropped candidate stays in the family: leaving it out
    /// because of its data would make the correction too weak. It also keeps the price of its last look: testing the
    /// same blocks again at the dearer ones to come would be one more look that nobody paid for.
    ///
    /// Hypotheses at different looks are taken in the order of p over price. Each step asks for p within the price of
    /// α over what is left, so that stopping at the first that is not can only claim less than the closed test.
    ///
    /// Source: Ye, Li, Liu & Yao (2013), "A group sequential Holm procedure with multiple primary endpoints",
    /// Statistics in Medicine 32.
    fn claim(&mut self, moment: Moment, done: u32) {
        let alpha = self.criteria.confidence.alpha();
        let open = self.open(moment, done);
        let (mut running, mut rejecting) = (0.0_f64, true);
        for (place, hypothesis) in open.iter().enumerate() {
            let left = (open.len() - place) as f64;
            running = running.max(left * hypothesis.p).min(1.0);
            let price = hypothesis
                .moment
                .map_or(0.0, |moment| self.prices.nominal(moment, alpha / left));
            rejecting &= hypothesis.p <= price;
            // The certificate is of the first response, and is there to keep small gains from being claimed, not losses.
            let is_free = hypothesis.response != 0 || !hypothesis.better;
            let is_provable =
                |sample: &Sample| !lacks_resolution(sample) && (is_free || self.is_certified(sample));
            let is_provable = hypothesis.sample.as_ref().is_some_and(is_provable);
            self.course.tested[hypothesis.candidate][hypothesis.response] = Tested {
                p_raw: hypothesis.p,
                p_holm: running,
                claim_below: (left * price).min(1.0),
                after: hypothesis.after,
                claim: (rejecting && is_provable).then_some(hypothesis.better),
            };
        }
    }

    /// What is not claimed yet, the strongest evidence first.
    fn open(&mut self, moment: Moment, done: u32) -> Vec<Open> {
        let alpha = self.criteria.confidence.alpha();
        let mut open = Vec::new();
        for (candidate, tracks) in self.tracks.iter().enumerate() {
            let (moment, seen) = match self.course.dropped[candidate] {
                None => (Some(moment), done),
                Some(Dropped { after, .. }) => {
                    let last = self.prices.reached(after);
                    (last, last.map_or(after, |last| self.prices.seen(last, after)))
                }
            };
            let price = moment.map_or(0.0, |moment| self.prices.nominal(moment, alpha));
            for (response, track) in tracks.responses.iter().enumerate() {
                if self.course.tested[candidate][response].claim.is_none() {
                    let sample = track.sample(seen);
                    let (p, better) = sample.as_ref().map_or((1.0, true), |s| self.prices.p_value(s));
                    open.push(Open {
                        candidate,
                        response,
                        moment,
                        after: seen,
                        sample,
                        p,
                        better,
                        order: p / price,
                    });
                }
            }
        }
        open.sort_by(|a, b| a.order.total_cmp(&b.order));
        open
    }

    /// Before the first moment there are p-values to show and nothing to claim.
    fn preview(&mut self, done: u32) {
        let is_new = |tested: &Tested| tested.claim_below == 0.0;
        let hypotheses = self.course.tested.iter().flatten();
        let family = hypotheses.clone().count() as f64;
        if !hypotheses.clone().all(is_new) {
            return;
        }
        for (tracks, tested) in self.tracks.iter().zip(&mut self.course.tested) {
            for (track, tested) in tracks.responses.iter().zip(tested) {
                let p = track.sample(done).map_or(1.0, |s| self.prices.p_value(&s).0);
                (tested.p_raw, tested.p_holm) = (p, (family * p).min(1.0));
            }
        }
    }

    /// Whether the certified noise could have shown an effect as small as this one.
    fn is_certified(&self, sample: &Sample) -> bool {
        let Some(cv) = self.criteria.certified_cv else {
            return true;
        };
        hodges_lehmann(sample).log_ratio().abs() >= provable_floor(cv, sample.len(), self.criteria.confidence)
    }

    /// The active candidate with the largest estimate of the first response that no guard has failed, with that
    /// estimate.
    fn leader(&self, done: u32) -> Option<(usize, f64)> {
        let mut ranked: Vec<(usize, f64)> = (0..self.family.len())
            .filter(|&c| self.course.is_active(c))
            .filter_map(|c| {
                let sample = self.tracks[c].responses.first()?.sample(done)?;
                Some((c, hodges_lehmann(&sample).log_ratio()))
            })
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let failed = |c: usize| {
            let guards = self.family[c].guards.iter().zip(&self.tracks[c].guards);
            guards
                .filter_map(|(guard, track)| Some((guard, track.sample(done)?)))
                .any(|(guard, sample)| {
                    let worst = guard.margin.worst(guard.series.goal);
                    let beyond = sample.values().iter().map(|d| d - worst).collect();
                    Sample::new(beyond).is_ok_and(|s| is_below_zero(&s))
                })
        };
        ranked.into_iter().find(|(c, _)| !failed(*c))
    }

    /// Drops each candidate that is worse than the leader, or the baseline where none leads, in every response: a
    /// one-sided 95 % bound lies below it.
    fn drop_dominated(&mut self, leader: Option<(usize, f64)>, done: u32) {
        let leader = leader.filter(|(_, estimate)| *estimate > 0.0).map(|(c, _)| c);
        for candidate in 0..self.family.len() {
            if Some(candidate) == leader || !self.course.is_active(candidate) {
                continue;
            }
            let tracks = &self.tracks[candidate].responses;
            let is_below = |(response, track): (usize, &Track)| {
                let sample = match leader {
                    Some(leader) => track.minus(&self.tracks[leader].responses[response], done),
                    None => track.sample(done),
                };
                let is_below = if leader.is_some() {
                    is_below_zero
                } else {
                    ranks_below_zero
                };
                sample.is_some_and(|s| is_below(&s))
            };
            if tracks.iter().enumerate().all(is_below) {
                self.course.dropped[candidate] = Some(Dropped { after: done, leader });
            }
        }
    }

    fn stop(&mut self, leader: Option<(usize, f64)>, moment: Moment, done: u32) -> Option<Stop> {
        if let Some((leader, _)) = leader
            && self.is_proven(leader)
            && self.guards_hold(leader, moment, done)
        {
            return Some(Stop::Superiority);
        }
        let mut stop = Stop::Equivalence;
        for candidate in 0..self.family.len() {
            if self.course.is_active(candidate) {
                stop = match (self.settled(candidate, moment, done)?, stop) {
                    (Stop::Equivalence, Stop::Equivalence) => Stop::Equivalence,
                    _ => Stop::Futility,
                };
            } else {
                stop = Stop::Futility;
            }
        }
        Some(stop)
    }

    /// Better in a response and worse in none.
    fn is_proven(&self, candidate: usize) -> bool {
        let tested = &self.course.tested[candidate];
        tested.iter().any(|t| t.claim == Some(true)) && !tested.iter().any(|t| t.claim == Some(false))
    }

    fn guards_hold(&mut self, candidate: usize, moment: Moment, done: u32) -> bool {
        let alpha = 2.0 * self.criteria.confidence.alpha();
        let guards = self.family[candidate]
            .guards
            .iter()
            .zip(&self.tracks[candidate].guards);
        let mut all = true;
        for (guard, track) in guards {
            let interval = track
                .sample(done)
                .and_then(|s| self.prices.interval(&s, moment, alpha));
            all &= guard_outcome(guard, interval) == GuardOutcome::Held;
        }
        all
    }

    /// Why the candidate needs no more blocks; `None` while it may still turn out better.
    fn settled(&mut self, candidate: usize, moment: Moment, done: u32) -> Option<Stop> {
        if self.is_proven(candidate) {
            return None;
        }
        let limit = self.criteria.equivalence.log_ratio();
        let alpha = 2.0 * self.criteria.confidence.alpha();
        let mut reason = Stop::Equivalence;
        for (track, tested) in self.tracks[candidate]
            .responses
            .iter()
            .zip(&self.course.tested[candidate])
        {
            let sample = track.sample(done)?;
            if lacks_resolution(&sample) || tested.claim == Some(false) {
                reason = Stop::Futility;
                continue;
            }
            let interval = self.prices.interval(&sample, moment, alpha)?;
            if interval.high >= limit {
                return None;
            }
            if interval.low <= -limit {
                reason = Stop::Futility;
            }
        }
        Some(reason)
    }
}
