//! What each factor of a factorial design does, and which two depend on each other: one number a block and contrast.
//! Knows factors and levels by their index, not what they set nor which of them need a restart.
//!
//! Trials of one boot share its luck (memory placement, host page cache, thread placement). Taken as samples of a
//! restart factor they gave false claims in 54–70 % of A/A replays. Here all trials of a block become one contrast, so
//! that n is the number of blocks for every factor, and a restart factor's contrast is one between boots.
//!
//! Sources: Kalibera & Jones (2013), "Rigorous benchmarking in reasonable time" (repeat at the level that varies);
//! Montgomery, *Design and Analysis of Experiments*, chapters 5 and 14 (contrasts, split plots).

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    AnalysisError, Interval, Level, Sample, hodges_lehmann, holm, log_ratio, signed_rank_interval,
    signed_rank_test,
};
use crate::experiment::Goal;

/// One trial of a combination of levels.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The block it was in.
    pub block: u32,
    /// For each factor, the index of its level.
    pub levels: Vec<usize>,
    /// The observation, above zero.
    pub value: f64,
}

/// What the blocks say about one contrast. Gains: positive is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Contrast {
    /// Blocks that have the contrast.
    pub blocks: usize,
    /// The Hodges–Lehmann estimate `100 (e^θ − 1)`; `None` below two blocks.
    pub gain_percent: Option<f64>,
    /// The signed-rank interval, holding simultaneously with those of all effects of its kind; `None` where the blocks
    /// are too few to bound it.
    pub interval_percent: Option<Interval>,
    /// Exact two-sided signed-rank p-value; 1 below two blocks.
    pub p_raw: f64,
    /// The same after Holm's correction over all effects of the kind.
    pub p_holm: f64,
}

/// A level against its factor's baseline level, over the combinations of all other factors.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FactorEffect {
    /// The factor.
    pub factor: usize,
    /// Its level.
    pub level: usize,
    /// The level it is compared with.
    pub baseline: usize,
    /// What the blocks say.
    #[serde(flatten)]
    pub contrast: Contrast,
}

/// How much more two levels gain together than each alone: no gain where the factors act independently.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Interaction {
    /// The two factors.
    pub factors: [usize; 2],
    /// A level of each.
    pub levels: [usize; 2],
    /// The baseline level of each.
    pub baselines: [usize; 2],
    /// What the blocks say.
    #[serde(flatten)]
    pub contrast: Contrast,
}

/// The main effects, in order of factor and level.
///
/// In a block the contrast is the mean, over the combinations of the other factors, of ±ln(level / baseline). Only
/// combinations measured at both levels in that block count, and a block without any is left out. Repeats of a
/// combination in a block are averaged first.
pub fn main_effects(
    cells: &[Cell],
    levels_per_factor: &[usize],
    baselines: &[usize],
    goal: Goal,
    level: Level,
) -> Result<Vec<FactorEffect>, AnalysisError> {
    let blocks = Blocks::new(cells, levels_per_factor, baselines, goal)?;
    let changes = changes(levels_per_factor, baselines);
    let contrasts = blocks.judge(changes.iter().map(std::slice::from_ref), level)?;
    let effect = |(change, contrast): (&Change, Contrast)| FactorEffect {
        factor: change.factor,
        level: change.level,
        baseline: change.baseline,
        contrast,
    };
    Ok(changes.iter().zip(contrasts).map(effect).collect())
}

/// The interactions of two factors, in order of factors and levels.
///
/// In a block the contrast is the mean, over the combinations of the other factors, of
/// ±(ln y_ab − ln y_a0 − ln y_0b + ln y_00), where all four were measured in that block.
pub fn interactions(
    cells: &[Cell],
    levels_per_factor: &[usize],
    baselines: &[usize],
    goal: Goal,
    level: Level,
) -> Result<Vec<Interaction>, AnalysisError> {
    let blocks = Blocks::new(cells, levels_per_factor, baselines, goal)?;
    let changes = changes(levels_per_factor, baselines);
    let mut pairs: Vec<[Change; 2]> = changes
        .iter()
        .flat_map(|&first| changes.iter().map(move |&second| [first, second]))
        .filter(|[first, second]| first.factor < second.factor)
        .collect();
    pairs.sort_by_key(|pair| pair.map(|change| change.factor));
    let contrasts = blocks.judge(pairs.iter().map(<[Change; 2]>::as_slice), level)?;
    let effect = |(pair, contrast): (&[Change; 2], Contrast)| Interaction {
        factors: pair.map(|change| change.factor),
        levels: pair.map(|change| change.level),
        baselines: pair.map(|change| change.baseline),
        contrast,
    };
    Ok(pairs.iter().zip(contrasts).map(effect).collect())
}

/// A factor moved from its baseline to a level.
#[derive(Debug, Clone, Copy)]
struct Change {
    factor: usize,
    level: usize,
    baseline: usize,
}

fn changes(levels_per_factor: &[usize], baselines: &[usize]) -> Vec<Change> {
    let factors = levels_per_factor.iter().zip(baselines).enumerate();
    factors
        .flat_map(|(factor, (&levels, &baseline))| {
            let others = (0..levels).filter(move |&level| level != baseline);
            others.map(move |level| Change {
                factor,
                level,
                baseline,
            })
        })
        .collect()
}

/// The measured combinations of one block, with the logarithm of the value, signed so that more is better.
type Combinations = BTreeMap<Vec<usize>, f64>;

struct Blocks(Vec<Combinations>);

impl Blocks {
    fn new(
        cells: &[Cell],
        levels_per_factor: &[usize],
        baselines: &[usize],
        goal: Goal,
    ) -> Result<Self, AnalysisError> {
        let fits = |levels: &[usize]| {
            levels.len() == levels_per_factor.len()
                && levels
                    .iter()
                    .zip(levels_per_factor)
                    .all(|(level, count)| level < count)
        };
        if !fits(baselines) {
            return Err(AnalysisError::Baselines);
        }
        let mut logarithms: BTreeMap<u32, BTreeMap<Vec<usize>, Vec<f64>>> = BTreeMap::new();
        for Cell { block, levels, value } in cells {
            if !fits(levels) {
                return Err(AnalysisError::Levels { block: *block });
            }
            let logarithm = log_ratio(*value, 1.0, goal).map_err(|_| AnalysisError::Cell {
                block: *block,
                value: *value,
            })?;
            let combinations = logarithms.entry(*block).or_default();
            combinations.entry(levels.clone()).or_default().push(logarithm);
        }
        let averaged = |(levels, repeats): (Vec<usize>, Vec<f64>)| (levels, mean(&repeats));
        let blocks = logarithms.into_values();
        Ok(Self(
            blocks
                .map(|block| block.into_iter().map(averaged).collect())
                .collect(),
        ))
    }

    /// Judges contrasts of one kind together, each given by the factors it changes.
    fn judge<'a>(
        &self,
        kind: impl ExactSizeIterator<Item = &'a [Change]>,
        level: Level,
    ) -> Result<Vec<Contrast>, AnalysisError> {
        let level = level.simultaneous(kind.len());
        let mut contrasts = kind
            .map(|changes| {
                let values: Vec<f64> = self
                    .0
                    .iter()
                    .filter_map(|block| contrast(block, changes))
                    .collect();
                describe(values, level)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let p_raw: Vec<f64> = contrasts.iter().map(|contrast| contrast.p_raw).collect();
        for (contrast, p_holm) in contrasts.iter_mut().zip(holm(&p_raw)) {
            contrast.p_holm = p_holm;
        }
        Ok(contrasts)
    }
}

/// The mean over all combinations that have the changed levels and every counterpart with some of them at baseline.
fn contrast(block: &Combinations, changes: &[Change]) -> Option<f64> {
    let changed = |levels: &[usize]| changes.iter().all(|change| levels[change.factor] == change.level);
    let complete: Vec<f64> = block
        .keys()
        .filter(|levels| changed(levels))
        .filter_map(|levels| difference(block, levels.clone(), changes))
        .collect();
    (!complete.is_empty()).then(|| mean(&complete))
}

/// The value less that of the counterpart at baseline, for each change in turn: of two changes, a difference of
/// differences.
fn difference(block: &Combinations, mut levels: Vec<usize>, changes: &[Change]) -> Option<f64> {
    let Some((change, rest)) = changes.split_first() else {
        return block.get(&levels).copied();
    };
    let at_level = difference(block, levels.clone(), rest)?;
    levels[change.factor] = change.baseline;
    Some(at_level - difference(block, levels, rest)?)
}

fn describe(values: Vec<f64>, level: Level) -> Result<Contrast, AnalysisError> {
    let blocks = values.len();
    let sample = if blocks < 2 {
        None
    } else {
        Some(Sample::new(values)?)
    };
    let p_raw = sample
        .as_ref()
        .map_or(1.0, |sample| signed_rank_test(sample).two_sided);
    Ok(Contrast {
        blocks,
        gain_percent: sample.as_ref().map(|sample| hodges_lehmann(sample).percent()),
        interval_percent: sample
            .as_ref()
            .and_then(|sample| signed_rank_interval(sample, level))
            .map(|interval| interval.percent()),
        p_raw,
        p_holm: p_raw,
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
