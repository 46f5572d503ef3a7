//! All plots, each with what it shows in words and the numbers behind it. Knows no drawing.

use super::super::{Plot, PlotKind, Report, ReportError, plot, why_not, wording};
use super::table::{Table, code, in_column, number, titled};
use super::trials;
use crate::decision::values;
use crate::experiment::MetricId;
use maud::{Markup, PreEscaped, html};

/// What stands around a plot, in its units.
const FRAME: f64 = 120.0;

pub(super) fn section(report: &Report<'_>) -> Result<Markup, ReportError> {
    let mut drawn = Vec::new();
    let mut missing = Vec::new();
    for kind in PlotKind::ALL {
        match plot(report, kind)? {
            Some(plot) => drawn.push(plot),
            None => missing.extend(why_not(report, kind).map(|why| format!("{}: {why}", kind.word()))),
        }
    }
    Ok(html! {
        section #plots {
            h2 { "Plots" }
            p .small .scripted {
                "Point at a mark to see its trial, or reach it by Tab and the arrow keys; a click or Enter goes to its row."
            }
            div .plots { @for stack in stacks(drawn) {
                div { @for plot in stack { (figure(report, plot)) } }
            } }
            @if !missing.is_empty() {
                details { summary { "Not drawn" } (super::list(&missing)) }
            }
        }
    })
}

/// Two stacks, side by side where there is room, about equally high.
fn stacks(plots: Vec<Plot>) -> [Vec<Plot>; 2] {
    let mut stacks = [Vec::new(), Vec::new()];
    let mut heights = [0.0, 0.0];
    for plot in plots {
        let lower = usize::from(heights[1] < heights[0]);
        heights[lower] += plot.height + FRAME;
        stacks[lower].push(plot);
    }
    stacks
}

fn figure(report: &Report<'_>, plot: Plot) -> Markup {
    html! {
        figure id={ "plot-" (plot.kind.word()) } {
            figcaption { (plot.title) }
            div .plot tabindex="0" role="region" aria-label=(plot.title) { (PreEscaped(plot.svg)) }
            (numbers(report, plot.kind, &plot.description))
        }
    }
}

/// The plot in words, and its numbers or where they stand.
fn numbers(report: &Report<'_>, kind: PlotKind, description: &str) -> Markup {
    let place = |id: &str, title: &str| html! { p { "The numbers: " a href={ "#" (id) } { (title) } "." } };
    html! {
        details {
            summary { "In words and numbers" }
            p { (wording::tame(description, 4000)) }
            @match kind {
                PlotKind::Effects => (place("verdicts", "verdicts")),
                PlotKind::Samples => (place("trials", "trials")),
                PlotKind::Distributions => (spread(report)),
                PlotKind::MainEffects | PlotKind::Interactions => (place("effects-0", "effects of each factor")),
                PlotKind::HeatMap | PlotKind::Pareto => (place("spread", "how each treatment's numbers are spread")),
                PlotKind::Telemetry => (place("facts", "what the host did")),
                PlotKind::Percentiles => (place("all-trials", "every number as text")),
            }
        }
    }
}

/// Five numbers of each treatment and asked metric, over the judged blocks.
fn spread(report: &Report<'_>) -> Markup {
    let metrics = trials::asked(report);
    let content = html! {
        thead { tr {
            th scope="col" { "treatment" } th scope="col" { "metric" } th scope="col" .number { "n" }
            @for name in ["least", "quarter", "median", "three quarters", "most"] {
                th scope="col" .number { (name) }
            }
        } }
        tbody {
            @for treatment in &report.header.plan.treatments {
                @for metric in &metrics {
                    @let values = sorted(report, treatment, metric);
                    @let unit = report.header.protocol.unit(metric);
                    @if !values.is_empty() {
                        tr {
                            th scope="row" { (code(&report.label(&treatment.id))) }
                            td { (titled(&report.header.protocol.name_of(metric), unit)) }
                            (number(&values.len().to_string(), values.len() as f64))
                            @for quarter in 0..=4 {
                                @let value = quantile(&values, quarter);
                                (number(&in_column(value, unit), value))
                            }
                        }
                    }
                }
            }
        }
    };
    let table = Table {
        id: "spread",
        caption: "How each treatment's numbers are spread",
        filtered: true,
    };
    table.around(&content)
}

fn sorted(report: &Report<'_>, treatment: &crate::design::Treatment, metric: &MetricId) -> Vec<f64> {
    let values = values(&report.header.protocol, report.records, treatment, metric);
    let mut values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The value so many quarters up, between the two nearest (Hyndman and Fan's type 7); `values` is sorted, not empty.
fn quantile(values: &[f64], quarters: usize) -> f64 {
    let place = (values.len() - 1) * quarters;
    let (below, over) = (place / 4, place % 4);
    let above = values.get(below + 1).copied().unwrap_or(values[below]);
    values[below] + (above - values[below]) * over as f64 / 4.0
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quarters_lie_between_values() {
        let values = [1.0, 2.0, 4.0, 8.0];
        let found: Vec<_> = (0..=4).map(|q| quantile(&values, q)).collect();
        assert_eq!(found, [1.0, 1.75, 3.0, 5.0, 8.0]);
        assert_eq!(quantile(&[3.0], 3).to_bits(), 3.0_f64.to_bits());
    }
}
