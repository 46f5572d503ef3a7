//! Writes events: one transaction each, durable when the call returns.
//!
//! Knows the tables; keeps nothing in memory but the run that is being written.

use super::{Store, StoreError};
use crate::event::{Event, Outcome, RawOutput, RunHeader, RunId, Timing, TrialRecord};
use crate::workload::Observation;
use jiff::Timestamp;
use rusqlite::types::ToSqlOutput;
use rusqlite::{ToSql, Transaction, TransactionBehavior, named_params, params};
use serde::Serialize;
use std::time::Duration;

/// zstd's own default: 100 kB of a tool's JSON takes about a millisecond.
const COMPRESSION: i32 = 3;

impl Store {
    /// Stores `event`, wholly or not at all; what only matters while it happens is not kept.
    ///
    /// A trial, a notice and an end are of the run that was started or resumed last.
    pub fn record(&mut self, event: &Event) -> Result<(), StoreError> {
        match event {
            Event::RunStarted { header } => self.start(header),
            Event::RunResumed { run, .. } => {
                self.require(*run)?;
                self.current = Some(*run);
                self.log("store the resumption", "run-resumed", event)
            }
            Event::TrialFinished { record } => self.finish_trial(record),
            Event::TreatmentDropped { .. } => {
                self.log("store a dropped treatment", "treatment-dropped", event)
            }
            Event::Notice { .. } => self.log("store a notice", "notice", event),
            Event::RunFinished { .. } => self.log("store the end of the run", "run-finished", event),
            Event::GuestStarting { .. } | Event::TrialStarted { .. } => Ok(()),
        }
    }

    fn start(&mut self, header: &RunHeader) -> Result<(), StoreError> {
        const DOING: &str = "store the run";
        let (plan, facts) = (json(DOING, &header.plan)?, json(DOING, &header.facts)?);
        let (protocol, purpose) = (json(DOING, &header.protocol)?, json(DOING, &header.purpose)?);
        let certificate = header.certificate.as_ref().map(|c| json(DOING, c)).transpose()?;
        self.transact(DOING, |change| {
            change.execute(
                "INSERT INTO run VALUES (:run, :started, :version, :experiment, :file, :text, :purpose, :certificate, :protocol, :plan, :facts, :planned)",
                named_params! {
                    ":run": header.run, ":started": header.started.to_string(), ":version": header.version,
                    ":experiment": header.experiment, ":file": header.file, ":text": header.text,
                    ":purpose": purpose, ":certificate": certificate, ":protocol": protocol, ":plan": plan, ":facts": facts, ":planned": header.plan.trials(),
                },
            )?;
            append(change, header.run, "run-started", None)
        })?;
        self.current = Some(header.run);
        Ok(())
    }

    fn log(&mut self, doing: &'static str, kind: &str, event: &Event) -> Result<(), StoreError> {
        let run = self.current.ok_or(StoreError::NoRun)?;
        let body = json(doing, event)?;
        self.transact(doing, |change| append(change, run, kind, Some(&body)))
    }

    fn finish_trial(&mut self, record: &TrialRecord) -> Result<(), StoreError> {
        const DOING: &str = "store a trial";
        let run = self.current.ok_or(StoreError::NoRun)?;
        let (outcome, observations) = match &record.outcome {
            Outcome::Measured { observations, .. } => ("measured", observations.as_slice()),
            Outcome::Unsteady { .. } => ("unsteady", [].as_slice()),
            Outcome::Failed { .. } => ("failed", [].as_slice()),
            Outcome::Invalid { .. } => ("invalid", [].as_slice()),
        };
        let detail = match &record.outcome {
            Outcome::Measured { suspect, .. } if suspect.is_empty() => None,
            // The numbers stand in a table of their own.
            Outcome::Measured { suspect, .. } => Some(json(DOING, suspect)?),
            other => Some(json(DOING, other)?),
        };
        // Compressed before the transaction, so that the lock is held for the writing alone.
        let raw = compress(DOING, &record.raw)?;
        self.transact(DOING, |change| {
            append(change, run, "trial-finished", None)?;
            let id = change.last_insert_rowid();
            insert_trial(change, id, run, record, outcome, detail.as_deref())?;
            insert_observations(change, id, observations)?;
            insert_raw(change, id, &record.raw, &raw)
        })
    }

    fn transact(
        &mut self,
        doing: &'static str,
        body: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<(), StoreError> {
        let failed = self.failed(doing);
        // Immediate: a transaction that turns into a writer later cannot wait for another one.
        let change = self
            .db
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        body(&change).and_then(|()| change.commit()).map_err(failed)
    }
}

fn compress(doing: &'static str, raw: &[RawOutput]) -> Result<Vec<Vec<u8>>, StoreError> {
    raw.iter()
        .map(|output| zstd::bulk::compress(&output.content, COMPRESSION))
        .collect::<Result<_, _>>()
        .map_err(|source| StoreError::Encode { doing, source })
}

fn json(doing: &'static str, value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Encode {
        doing,
        source: e.into(),
    })
}

fn append(change: &Transaction<'_>, run: RunId, kind: &str, body: Option<&str>) -> rusqlite::Result<()> {
    let now = Timestamp::now().to_string();
    change
        .prepare_cached("INSERT INTO event (run, time, kind, body) VALUES (?, ?, ?, ?)")?
        .execute(params![run, now, kind, body])?;
    Ok(())
}

fn insert_trial(
    change: &Transaction<'_>,
    id: i64,
    run: RunId,
    record: &TrialRecord,
    outcome: &str,
    detail: Option<&str>,
) -> rusqlite::Result<()> {
    let trial = &record.trial;
    let Timing {
        total,
        workload,
        apply,
        verify,
        restore,
    } = record.timing;
    let sql = "INSERT INTO trial VALUES (:id, :run, :position, :block, :boot, :treatment, :started, :outcome, :detail,
               :total, :workload, :apply, :verify, :restore)";
    change.prepare_cached(sql)?.execute(named_params! {
        ":id": id, ":run": run, ":position": trial.order, ":block": trial.block, ":boot": trial.boot,
        ":treatment": trial.treatment.as_str(), ":started": record.started.to_string(),
        ":outcome": outcome, ":detail": detail,
        ":total": nanoseconds(total), ":workload": nanoseconds(workload), ":apply": nanoseconds(apply),
        ":verify": nanoseconds(verify), ":restore": nanoseconds(restore),
    })?;
    Ok(())
}

fn insert_observations(change: &Transaction<'_>, id: i64, all: &[Observation]) -> rusqlite::Result<()> {
    let mut insert = change.prepare_cached("INSERT INTO observation VALUES (?, ?, ?, ?, ?)")?;
    for (number, o) in all.iter().enumerate() {
        insert.execute(params![id, number, o.workload, o.metric, o.value])?;
    }
    Ok(())
}

fn insert_raw(
    change: &Transaction<'_>,
    id: i64,
    raw: &[RawOutput],
    frames: &[Vec<u8>],
) -> rusqlite::Result<()> {
    let mut insert = change.prepare_cached("INSERT INTO raw VALUES (?, ?, ?, ?, ?)")?;
    for (number, (output, frame)) in raw.iter().zip(frames).enumerate() {
        insert.execute(params![id, number, output.workload, output.content.len(), frame])?;
    }
    Ok(())
}

/// 292 years fit.
fn nanoseconds(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

impl ToSql for RunId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}
