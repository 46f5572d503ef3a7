//! Runs as files for other tools: tidy CSV and JSON Lines, streamed.
//!
//! Knows the columns; does not know statistics. Values are written as data: a spreadsheet that takes `=1+1` for a
//! formula must be told to import text.

use super::read::{TRIALS, json, timestamp};
use super::{Store, StoreError};
use crate::design::{Role, Treatment, TreatmentId};
use crate::event::{Drift, Event, Outcome, RunHeader, RunId, TrialRecord};
use crate::experiment::MetricId;
use crate::facts::SIMULATED;
use crate::workload::Observation;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

/// One line of the JSON Lines export.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// The run it is of.
    pub run: RunId,
    /// When it was stored.
    pub time: Timestamp,
    /// What happened; raw outputs are left out.
    pub event: Event,
}

impl Store {
    /// Writes `run` as CSV: one row an observation, one row a trial that gave none with the reason and no value.
    /// The warm-up block, number 0, is in it. Units stand in a column of their own: the table is long, so a metric has no
    /// column that could name its unit. A simulated run has one column more, which names its model.
    pub fn export_csv(&self, run: RunId, out: impl Write) -> Result<(), StoreError> {
        let header = self.header(run)?;
        let mut table = Table::new(&header, out)?;
        self.each_trial(run, |record| table.trial(&record))?;
        table.out.flush().map_err(|source| StoreError::Output { source })
    }

    /// Writes everything stored of `run` as JSON Lines of [`Logged`], in the order it was stored.
    pub fn export_json_lines(&self, run: RunId, out: impl Write) -> Result<(), StoreError> {
        const DOING: &str = "read the events";
        let mut out = BufWriter::new(out);
        let failed = self.failed(DOING);
        let header = Box::new(self.header(run)?);
        let sql = "SELECT id, time, kind, body FROM event WHERE run = ? ORDER BY id";
        let mut select = self.db.prepare(sql).map_err(&failed)?;
        let mut rows = select.query([run]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            let kind: String = row.get(2).map_err(&failed)?;
            let event = match kind.as_str() {
                "run-started" => Event::RunStarted {
                    header: header.clone(),
                },
                "trial-finished" => Event::TrialFinished {
                    record: Box::new(self.trial_of(row.get(0).map_err(&failed)?).map_err(&failed)?),
                },
                _ => json(row, 3).map_err(&failed)?,
            };
            let time = timestamp(row, 1).map_err(&failed)?;
            write_line(&mut out, &Logged { run, time, event })?;
        }
        out.flush().map_err(|source| StoreError::Output { source })
    }

    fn each_trial(
        &self,
        run: RunId,
        mut visit: impl FnMut(TrialRecord) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = self.failed("read the trials");
        let sql = format!("{TRIALS} WHERE run = ? ORDER BY id");
        let mut select = self.db.prepare(&sql).map_err(&failed)?;
        let mut rows = select.query([run]).map_err(&failed)?;
        while let Some(row) = rows.next().map_err(&failed)? {
            visit(self.trial(row).map_err(&failed)?)?;
        }
        Ok(())
    }

    fn trial_of(&self, id: i64) -> rusqlite::Result<TrialRecord> {
        let mut select = self.db.prepare_cached(&format!("{TRIALS} WHERE id = ?"))?;
        select.query_row([id], |row| self.trial(row))
    }
}

fn write_line(out: &mut impl Write, line: &Logged) -> Result<(), StoreError> {
    serde_json::to_writer(&mut *out, line)
        .map_err(io::Error::from)
        .and_then(|()| out.write_all(b"\n"))
        .map_err(|source| StoreError::Output { source })
}

/// The CSV of one run.
struct Table<'a, W: Write> {
    run: String,
    header: &'a RunHeader,
    /// Metrics and their units by the place at which an observation of a trial was found, mostly the same in all.
    units: Vec<(MetricId, &'a str)>,
    treatments: HashMap<&'a TreatmentId, (&'static str, &'a Treatment)>,
    out: csv::Writer<W>,
}

impl<'a, W: Write> Table<'a, W> {
    fn new(header: &'a RunHeader, out: W) -> Result<Self, StoreError> {
        let treatments = header.plan.treatments.iter().enumerate();
        let mut table = Self {
            run: header.run.to_string(),
            header,
            units: Vec::new(),
            treatments: treatments.map(|(i, t)| (&t.id, (role(i, t.role), t))).collect(),
            out: csv::Writer::from_writer(out),
        };
        let factors = header.plan.factors.iter().map(|f| f.tunable.as_str());
        let names = ["run", "experiment", "block", "order", "boot", "treatment", "role"];
        let rest = [
            "workload", "metric", "unit", "value", "outcome", "suspect", "message", "started",
        ];
        let mark = header.facts.simulated().map(|_| SIMULATED);
        table.row(names.into_iter().chain(factors).chain(rest).chain(mark))?;
        Ok(table)
    }

    fn trial(&mut self, record: &TrialRecord) -> Result<(), StoreError> {
        let header = self.header;
        let trial = &record.trial;
        let numbers = [trial.block, trial.order, trial.boot].map(|n| n.to_string());
        let [block, order, boot] = numbers.each_ref().map(String::as_str);
        let run = self.run.clone();
        let treatment = self.treatments.get(&trial.treatment).copied();
        let role = treatment.map_or("", |(role, _)| role);
        let mut fixed = vec![&*run, &header.experiment, block, order, boot];
        fixed.extend([trial.treatment.as_str(), role]);
        let factors = header.plan.factors.iter();
        fixed.extend(factors.map(|f| level_of(treatment.map(|(_, t)| t), &f.tunable)));
        let started = record.started.to_string();
        let mark = header.facts.simulated();
        let lost = |outcome, why| ["", "", "", "", outcome, "false", why, &started];
        let rest = match &record.outcome {
            Outcome::Measured {
                observations,
                suspect,
            } => {
                let why = suspect.join("; ");
                let is_suspect = if suspect.is_empty() { "false" } else { "true" };
                for (place, o) in observations.iter().enumerate() {
                    let unit = self.unit(place, o);
                    let value = o.value.to_string();
                    let own = [&o.workload, &o.metric, unit, &value];
                    let rest = ["measured", is_suspect, &why, &started];
                    self.row(fixed.iter().copied().chain(own).chain(rest).chain(mark))?;
                }
                return Ok(());
            }
            Outcome::Unsteady { message, .. } => lost("unsteady", message),
            Outcome::Failed { message, .. } => lost("failed", message),
            Outcome::Invalid { drift } => {
                let why = drifts(drift);
                return self.row(fixed.into_iter().chain(lost("invalid", &why)).chain(mark));
            }
        };
        self.row(fixed.into_iter().chain(rest).chain(mark))
    }

    fn unit(&mut self, place: usize, of: &Observation) -> &'a str {
        match self.units.get(place) {
            Some((id, unit)) if id.metric == of.metric && id.workload == of.workload => unit,
            _ => {
                let (workload, metric) = (of.workload.clone(), of.metric.clone());
                let id = MetricId { workload, metric };
                let unit = self.header.protocol.unit(&id);
                self.units.truncate(place);
                self.units.push((id, unit));
                unit
            }
        }
    }

    fn row<'f>(&mut self, fields: impl Iterator<Item = &'f str>) -> Result<(), StoreError> {
        self.out.write_record(fields).map_err(|e| {
            // The conversion of csv's own error would lose the kind, by which a closed pipe is known.
            let source = match e.into_kind() {
                csv::ErrorKind::Io(source) => source,
                other => io::Error::other(format!("{other:?}")),
            };
            StoreError::Output { source }
        })
    }
}

/// What a treatment is in its plan: the first one is the baseline.
fn role(place: usize, role: Role) -> &'static str {
    match role {
        _ if place == 0 => "baseline",
        Role::Middle | Role::Again => "baseline-again",
        Role::Listed => "candidate",
        Role::Whole => "whole-winner",
    }
}

/// Empty when the plan does not know the treatment.
fn level_of<'t>(treatment: Option<&'t Treatment>, tunable: &str) -> &'t str {
    let mut levels = treatment.iter().flat_map(|t| &t.levels);
    levels
        .find(|(name, _)| name == tunable)
        .map_or("", |(_, level)| level)
}

fn drifts(drift: &[Drift]) -> String {
    let texts: Vec<_> = drift
        .iter()
        .map(|d| format!("{}: wanted {}, found {}", d.address, d.wanted, d.found))
        .collect();
    texts.join("; ")
}
