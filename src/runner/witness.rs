//! What the host did beside the workloads of a trial, as numbers of that trial, and what it does not bear out.
//!
//! Knows what is judged; does not run anything.

use super::Task;
use crate::event::RawOutput;
use crate::experiment::{MetricId, Protocol};
use crate::host::JobOutput;
use crate::telemetry::{HOST, HostMetric, Series, Window, doubts};
use crate::workload::{Observation, Suspect, Workload};

/// What was seen beside the workloads that count.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// The measured windows of all of them together; `None` before the first.
    window: Option<Window>,
    /// Whether one of them was not seen.
    is_blind: bool,
    /// What the host did not see of what a workload says.
    pub(super) suspect: Vec<String>,
}

/// What was seen beside one workload.
#[derive(Debug)]
pub(super) struct Seen {
    window: Option<Window>,
    suspect: Vec<String>,
    /// The seconds as a table, to be kept.
    pub(super) raw: Option<RawOutput>,
}

impl Seen {
    /// Folds the readings of a job of `workload`; its warm-up is left out.
    pub(super) fn of(workload: &Workload, output: &JobOutput, series: Option<&Series>) -> Self {
        let Some(series) = series else {
            return Self {
                window: None,
                suspect: Vec::new(),
                raw: None,
            };
        };
        let window = series.measured(workload, output.wall);
        Self {
            suspect: doubts(workload, workload.moved(output), series, window.as_ref()),
            window,
            raw: Some(RawOutput {
                workload: HOST.into(),
                content: series.csv(),
            }),
        }
    }

    /// Why the trial failed, where what the host did not see fails it.
    pub(super) fn fails(&self, workload: &Workload) -> Option<String> {
        let fails = workload.suspect == Suspect::Fails;
        self.suspect.first().filter(|_| fails).cloned()
    }
}

impl Witness {
    /// Takes what was seen beside a workload whose numbers count.
    pub(super) fn take(&mut self, seen: Seen) {
        self.suspect.extend(seen.suspect);
        self.is_blind |= seen.window.is_none();
        self.window = match (self.window.take(), seen.window) {
            (Some(own), Some(other)) => Some(own.and(&other)),
            (own, other) => own.or(other),
        };
    }

    /// The host's numbers of the trial. `given` are those of the workloads, among which they may be already.
    pub(super) fn observations(
        &self,
        task: &Task<'_>,
        given: &[Observation],
    ) -> Result<Vec<Observation>, String> {
        let window = self.window.as_ref().filter(|_| !self.is_blind);
        let told = window.map_or_else(Vec::new, Window::observations);
        let is_of = |id: &MetricId, o: &Observation| o.workload == id.workload && o.metric == id.metric;
        for wanted in judged(&task.header.protocol) {
            if !told.iter().chain(given).any(|o| is_of(wanted, o)) {
                let source = HostMetric::named(&wanted.metric).map_or("nowhere", |m| m.source);
                return Err(format!(
                    "{wanted} is judged, and this host does not tell it: it is read from {source}"
                ));
            }
        }
        Ok(told)
    }
}

/// Every metric of the host that the experiment judges, also by a derived metric.
fn judged(protocol: &Protocol) -> impl Iterator<Item = &MetricId> {
    protocol.named_metrics().filter(|id| id.workload == HOST)
}
