//! One value a boot, for factors that need a restart. Does not know which factors those are.
//!
//! Sub-plots of one boot share its luck (memory placement, host page cache, thread placement). Taken as samples of a
//! restart factor they gave false claims in 54–70 % of A/A replays; one value a boot gave 3.8 %.

use std::collections::{BTreeMap, BTreeSet};

use super::{AnalysisError, Pair};

/// One measured trial of a live treatment inside a whole plot.
#[derive(Debug, Clone, PartialEq)]
pub struct SubPlot {
    /// The block the whole plot belongs to.
    pub block: u32,
    /// The whole plot: one boot, numbered uniquely over the experiment.
    pub plot: u32,
    /// The restart factor's level, the same for the whole plot.
    pub level: String,
    /// The live treatment tried inside it.
    pub live: String,
    /// The observation, above zero.
    pub value: f64,
}

/// The one value a whole plot contributes.
#[derive(Debug, Clone, PartialEq)]
pub struct WholePlot {
    /// The block it belongs to.
    pub block: u32,
    /// Its number.
    pub plot: u32,
    /// The restart factor's level.
    pub level: String,
    /// Geometric mean over its sub-plots, in the metric's unit.
    pub value: f64,
}

/// Reduces sub-plots to one geometric mean a whole plot, in order of block and plot.
///
/// A live treatment missing from one whole plot of a block, as after a failed trial, is left out of all of that block:
/// otherwise the means would differ by what they are means of. Repeats of a live treatment in a plot are averaged first.
pub fn whole_plot_values(sub_plots: &[SubPlot]) -> Result<Vec<WholePlot>, AnalysisError> {
    let mut blocks: BTreeMap<u32, BTreeMap<u32, Boot<'_>>> = BTreeMap::new();
    let mut owners: BTreeMap<u32, (u32, &str)> = BTreeMap::new();
    for SubPlot {
        block,
        plot,
        level,
        live,
        value,
    } in sub_plots
    {
        if !(value.is_finite() && *value > 0.0) {
            return Err(AnalysisError::SubPlot {
                plot: *plot,
                value: *value,
            });
        }
        if *owners.entry(*plot).or_insert((*block, level)) != (*block, level.as_str()) {
            return Err(AnalysisError::MixedPlot { plot: *plot });
        }
        let boot = blocks
            .entry(*block)
            .or_default()
            .entry(*plot)
            .or_insert_with(|| Boot::new(level));
        boot.logarithms.entry(live).or_default().push(value.ln());
    }
    let mut values = Vec::new();
    for (block, boots) in blocks {
        let common = common_treatments(&boots);
        if common.is_empty() {
            return Err(AnalysisError::NoCommonTreatment { block });
        }
        values.extend(boots.into_iter().map(|(plot, boot)| WholePlot {
            block,
            plot,
            level: boot.level.to_owned(),
            value: boot.geometric_mean(&common),
        }));
    }
    Ok(values)
}

/// Pairs two levels block by block, leaving out blocks that lack either. Several boots of a level in one block become
/// their geometric mean, so that a block still counts once.
pub fn whole_plot_pairs(plots: &[WholePlot], candidate: &str, baseline: &str) -> Vec<Pair> {
    let blocks: BTreeSet<u32> = plots.iter().map(|plot| plot.block).collect();
    let mean_in = |block: u32, level: &str| {
        let of_level = plots
            .iter()
            .filter(|plot| plot.block == block && plot.level == level);
        let logarithms: Vec<f64> = of_level.map(|plot| plot.value.ln()).collect();
        (!logarithms.is_empty()).then(|| mean(&logarithms).exp())
    };
    blocks
        .into_iter()
        .filter_map(|block| {
            Some(Pair {
                block,
                candidate: mean_in(block, candidate)?,
                baseline: mean_in(block, baseline)?,
            })
        })
        .collect()
}

struct Boot<'a> {
    level: &'a str,
    logarithms: BTreeMap<&'a str, Vec<f64>>,
}

impl<'a> Boot<'a> {
    fn new(level: &'a str) -> Self {
        Self {
            level,
            logarithms: BTreeMap::new(),
        }
    }

    fn geometric_mean(&self, treatments: &BTreeSet<&str>) -> f64 {
        let means: Vec<f64> = self
            .logarithms
            .iter()
            .filter(|(live, _)| treatments.contains(*live))
            .map(|(_, logarithms)| mean(logarithms))
            .collect();
        mean(&means).exp()
    }
}

fn common_treatments<'a>(boots: &BTreeMap<u32, Boot<'a>>) -> BTreeSet<&'a str> {
    boots
        .values()
        .map(|boot| boot.logarithms.keys().copied().collect::<BTreeSet<_>>())
        .reduce(|common, of_boot| &common & &of_boot)
        .unwrap_or_default()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
