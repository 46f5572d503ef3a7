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
/// `±(ln y_ab − ln y_a0 − ln y_0b + ln y_00)`, where all four were measured in that block.
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
            // A zero has no logarithm; its combination is missing from the block.
            if *value == 0.0 {
                continue;
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
    let complete: Vec<f64> = block
        .keys()
        .filter(|levels| changes.iter().all(|change| levels[change.factor] == change.level))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    /// Each combination of a 2 × 3 design once a block, from a log value for the block and the combination.
    fn full(blocks: u32, logarithm: impl Fn(u32, &[usize]) -> f64) -> Vec<Cell> {
        let mut cells = Vec::new();
        for block in 0..blocks {
            for (restart, live) in [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)] {
                let levels = vec![restart, live];
                let value = logarithm(block, &levels).exp();
                cells.push(Cell { block, levels, value });
            }
        }
        cells
    }

    fn main(cells: &[Cell], goal: Goal) -> Vec<FactorEffect> {
        main_effects(cells, &[2, 3], &[0, 0], goal, Level::P95).unwrap()
    }

    fn pairs(cells: &[Cell]) -> Vec<Interaction> {
        interactions(cells, &[2, 3], &[0, 0], Goal::Maximize, Level::P95).unwrap()
    }

    fn gain(contrast: &Contrast) -> f64 {
        contrast.gain_percent.unwrap()
    }

    #[test]
    fn effects_and_interactions_are_what_was_put_in() {
        // Live level 1 gains 10 % alone and 20 % more with restart level 1, which gains 5 %; blocks differ wildly.
        let cells = full(10, |block, levels| {
            let restart = if levels[0] == 1 { 1.05_f64.ln() } else { 0.0 };
            let live = if levels[1] == 1 { 1.1_f64.ln() } else { 0.0 };
            let both = if levels == [1, 1] { 1.2_f64.ln() } else { 0.0 };
            5.0 * f64::from(block % 3) + restart + live + both
        });
        let effects = main(&cells, Goal::Maximize);
        let found: Vec<_> = effects
            .iter()
            .map(|effect| (effect.factor, effect.level, effect.baseline))
            .collect();
        assert_eq!(found, [(0, 1, 0), (1, 1, 0), (1, 2, 0)]);
        // The mean over three live levels, one of them with both.
        assert!((gain(&effects[0].contrast) - 100.0 * (1.05 * 1.2_f64.cbrt() - 1.0)).abs() < 1e-9);
        assert!((gain(&effects[1].contrast) - 100.0 * (1.1 * 1.2_f64.sqrt() - 1.0)).abs() < 1e-9);
        assert!(gain(&effects[2].contrast).abs() < 1e-9);
        assert!(effects.iter().all(|effect| effect.contrast.blocks == 10));
        assert!((effects[0].contrast.p_holm - 3.0 * 2.0 / 1024.0).abs() < 1e-12);
        let together = pairs(&cells);
        assert_eq!(together.len(), 2);
        assert_eq!((together[0].factors, together[0].levels), ([0, 1], [1, 1]));
        assert!((gain(&together[0].contrast) - 20.0).abs() < 1e-9);
        assert!(gain(&together[1].contrast).abs() < 1e-9);
        let slower = main(&cells, Goal::Minimize);
        assert!(gain(&slower[0].contrast) < 0.0);
    }

    #[test]
    fn only_complete_pairs_count() {
        let mut cells = full(6, |block, levels| {
            f64::from(block) + if levels == [1, 2] { 1000.0_f64.ln() } else { 0.0 }
        });
        // Without its counterpart the odd combination says nothing about the restart factor.
        cells.retain(|cell| cell.levels != [0, 2]);
        let effects = main(&cells, Goal::Maximize);
        assert!(gain(&effects[0].contrast).abs() < 1e-9);
        assert_eq!(pairs(&cells)[1].contrast.blocks, 0);
        // A block that lost its baseline boot is left out.
        cells.retain(|cell| cell.block != 3 || cell.levels[0] == 1);
        assert_eq!(main(&cells, Goal::Maximize)[0].contrast.blocks, 5);
        assert_eq!(main(&cells, Goal::Maximize)[1].contrast.blocks, 6);
    }

    #[test]
    fn repeats_are_averaged_and_few_blocks_say_little() {
        let mut cells = full(1, |_, levels| levels[0] as f64);
        cells.extend(full(1, |_, levels| 3.0 * levels[0] as f64));
        let effects = main(&cells, Goal::Maximize);
        assert_eq!(effects[0].contrast.blocks, 1);
        assert!(effects[0].contrast.gain_percent.is_none() && effects[0].contrast.p_holm >= 1.0);
        let two: Vec<Cell> = (0..2)
            .flat_map(|block| {
                cells.iter().map(move |cell| Cell {
                    block,
                    ..cell.clone()
                })
            })
            .collect();
        let effect = &main(&two, Goal::Maximize)[0].contrast;
        assert!((gain(effect) - 100.0 * 2.0_f64.exp_m1()).abs() < 1e-9);
        assert!(effect.interval_percent.is_none());
        assert!(
            main(&[], Goal::Maximize)
                .iter()
                .all(|effect| effect.contrast.blocks == 0)
        );
    }

    #[test]
    fn what_is_not_of_the_design_is_refused() {
        let cell = |levels: &[usize], value| Cell {
            block: 4,
            levels: levels.to_vec(),
            value,
        };
        let refused = |cell, baselines: &[usize]| {
            main_effects(&[cell], &[2, 3], baselines, Goal::Maximize, Level::P95).unwrap_err()
        };
        let levels = AnalysisError::Levels { block: 4 };
        assert_eq!(refused(cell(&[0], 1.0), &[0, 0]), levels);
        assert_eq!(refused(cell(&[0, 3], 1.0), &[0, 0]), levels);
        assert_eq!(refused(cell(&[0, 0], 1.0), &[2, 0]), AnalysisError::Baselines);
        let negative = AnalysisError::Cell {
            block: 4,
            value: -1.0,
        };
        assert_eq!(refused(cell(&[0, 0], -1.0), &[0, 0]), negative);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever the live trials of a boot share moves the restart factor's contrast once a block, and leaves those
        /// of live factors and the interactions alone.
        #[test]
        fn the_luck_of_boots_counts_once_a_block(luck in prop::collection::vec(-1.0_f64..1.0, 16)) {
            let noise = |block: u32, levels: &[usize]| 0.1 * f64::from((block * 7 + 3) % 5) * (levels[1] + levels[0]) as f64;
            let of_boot = |block: u32, levels: &[usize]| luck[2 * block as usize + levels[0]];
            let (calm, lucky) = (full(8, noise), full(8, |block, levels| noise(block, levels) + of_boot(block, levels)));
            let (before, after) = (main(&calm, Goal::Maximize), main(&lucky, Goal::Maximize));
            prop_assert_eq!(after[0].contrast.blocks, 8);
            let swings: Vec<f64> = (0..8).map(|block| luck[2 * block + 1] - luck[2 * block]).collect();
            let of_restart = Sample::new((0..8_u32).map(|block| noise(block, &[1, 0]) + swings[block as usize]).collect()).unwrap();
            prop_assert!((gain(&after[0].contrast) - hodges_lehmann(&of_restart).percent()).abs() < 1e-6);
            for live in 1..3 {
                prop_assert!((gain(&before[live].contrast) - gain(&after[live].contrast)).abs() < 1e-6);
            }
            for (before, after) in pairs(&calm).iter().zip(pairs(&lucky)) {
                prop_assert!((gain(&before.contrast) - gain(&after.contrast)).abs() < 1e-6);
            }
        }
    }
}
