//! Every plot of a report, as SVG that reads on light and dark pages. Knows the report; not the page they stand in.

mod alone;
mod axis;
mod backend;
mod cells;
mod distributions;
mod effects;
mod element;
mod factors;
mod forest;
mod heat_map;
mod interactions;
mod mark;
mod pairs;
mod paper;
mod pareto;
mod percentiles;
mod samples;
mod telemetry;
#[cfg(test)]
mod tests;
mod trials;

pub use alone::{Fonts, PIXELS};

use super::{Report, ReportError};

/// A kind of plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlotKind {
    /// Every treatment against the baseline, with intervals.
    Effects,
    /// Every trial in the order it was run.
    Samples,
    /// How the numbers of each treatment are spread.
    Distributions,
    /// Percentiles of latency on an axis of nines.
    Percentiles,
    /// What each level of a factor does by itself.
    MainEffects,
    /// What two factors do together.
    Interactions,
    /// The change in each cell of two factors.
    HeatMap,
    /// Two metrics of which more of one can cost the other.
    Pareto,
    /// What the host did beside each trial, by the second.
    Telemetry,
}

impl PlotKind {
    /// All kinds, in the order of a report.
    pub const ALL: [Self; 9] = [
        Self::Effects,
        Self::Samples,
        Self::Distributions,
        Self::Percentiles,
        Self::MainEffects,
        Self::Interactions,
        Self::HeatMap,
        Self::Pareto,
        Self::Telemetry,
    ];

    /// What it shows, in a few words.
    pub fn about(self) -> &'static str {
        match self {
            Self::Effects => "every treatment against the baseline, with intervals and margins",
            Self::Samples => "every trial in the order it was run: drift shows as a slope",
            Self::Distributions => "how the numbers of each treatment are spread",
            Self::Percentiles => "percentiles of latency on an axis of nines",
            Self::MainEffects => "what each level of a factor does by itself",
            Self::Interactions => "what two factors do together",
            Self::HeatMap => "the change in each cell of two factors",
            Self::Pareto => "two metrics of which more of one can cost the other",
            Self::Telemetry => "what the host did beside each trial, by the second",
        }
    }

    /// Its word on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Effects => "effects",
            Self::Samples => "samples",
            Self::Distributions => "distributions",
            Self::Percentiles => "percentiles",
            Self::MainEffects => "main-effects",
            Self::Interactions => "interactions",
            Self::HeatMap => "heat-map",
            Self::Pareto => "pareto",
            Self::Telemetry => "telemetry",
        }
    }
}

/// A plot as text.
#[derive(Debug, Clone, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub kind: PlotKind,
    /// Its name in a few words, tamed.
    pub title: String,
    /// What it shows in words, tamed: the alternative for those who do not see it.
    pub description: String,
    /// An SVG that stands in a page and takes the colour of the text around it.
    pub svg: String,
    /// How high it is, where its width is [`paper::WIDTH`].
    pub(super) height: f64,
}

/// Draws a plot; `None` when the run has nothing to draw of that kind, and [`why_not`] says why.
pub fn plot(report: &Report<'_>, kind: PlotKind) -> Result<Option<Plot>, ReportError> {
    if why_not(report, kind).is_some() {
        return Ok(None);
    }
    let drawn = match kind {
        PlotKind::Effects => effects::draw(report),
        PlotKind::Samples => samples::draw(report),
        PlotKind::Distributions => distributions::draw(report),
        PlotKind::Percentiles => percentiles::draw(report),
        PlotKind::MainEffects => factors::draw(report),
        PlotKind::Interactions => interactions::draw(report),
        PlotKind::HeatMap => heat_map::draw(report),
        PlotKind::Pareto => return pareto::draw(report).map_err(|e| failed(kind, e)),
        PlotKind::Telemetry => telemetry::draw(report),
    };
    drawn.map(Some).map_err(|e| failed(kind, e))
}

fn failed(kind: PlotKind, source: impl std::error::Error + Send + Sync + 'static) -> ReportError {
    ReportError::Plot {
        plot: kind.word(),
        source: Box::new(source),
    }
}

/// Why the run has nothing to draw of that kind; `None` when it has.
pub fn why_not(report: &Report<'_>, kind: PlotKind) -> Option<String> {
    match kind {
        PlotKind::Effects => effects::why_not(report),
        PlotKind::Samples => samples::why_not(report),
        PlotKind::Distributions => distributions::why_not(report),
        PlotKind::Percentiles => percentiles::why_not(report),
        PlotKind::MainEffects => factors::why_not(report),
        PlotKind::Interactions | PlotKind::HeatMap => cells::why_not(report),
        PlotKind::Pareto => pareto::why_not(report),
        PlotKind::Telemetry => telemetry::why_not(report),
    }
}
