//! Reads runs back: what they were of, their trials, what the tools printed.
//!
//! Derives every summary from the rows; judges nothing.

use super::error::corrupt;
use super::{Store, StoreError};
use crate::design::TreatmentId;
use crate::event::{End, Event, Outcome, Purpose, RawOutput, RunHeader, RunId, Timing, Trial, TrialRecord};
use crate::workload::Observation;
use jiff::Timestamp;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ValueRef};
use rusqlite::{OptionalExtension, Row, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::HashSet;
use std::io::{self, Read};
use std::str::FromStr;
use std::time::Duration;
use zstd::bulk::Decompressor;

/// One run in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// Name of its experiment.
    pub experiment: String,
    /// When it was started.
    pub started: Timestamp,
    /// What it is for.
    pub purpose: Purpose,
    /// Trials that were recorded.
    pub done: u32,
    /// Trials of its plan; both counts have the discarded ones in them.
    pub planned: u32,
    /// True when its numbers are of a model.
    pub simulated: bool,
    /// How it ended; nothing while it runs and after it was killed.
    pub end: Option<End>,
}

impl RunSummary {
    /// True when `--resume` has nothing to do.
    pub fn is_over(&self) -> bool {
        matches!(
            self.end,
            Some(End::Complete | End::Answered { .. } | End::TimeBudget)
        )
    }

    /// The end in words for a table.
    pub fn state(&self) -> &'static str {
        match self.end {
            Some(End::Complete) => "complete",
            Some(End::Answered { .. }) => "complete, answered early",
            Some(End::TimeBudget) => "complete, time budget used up",
            Some(End::Interrupted) => "interrupted",
            Some(End::AwaitsReboot { .. }) => "waits for a reboot",
            Some(End::NotRestored) => "stopped, host not restored",
            Some(End::Failing) => "stopped, trials kept failing",
            None => "unfinished",
        }
    }
}

/// The body of the last event that began or ended the run tells whether it is over. A later sitting can have made the
/// plan longer, by blocks of all treatments.
const SUMMARIES: &str = "
    SELECT id, experiment, started,
           max(planned, (SELECT coalesce(max(body ->> 'blocks') + 1, 0) FROM event
                         WHERE event.run = run.id AND kind = 'run-resumed')
                        * json_array_length(plan, '$.treatments')),
           purpose, (SELECT count(*) FROM trial WHERE trial.run = run.id),
           (SELECT body FROM event WHERE event.run = run.id
            AND kind IN ('run-started', 'run-resumed', 'run-finished') ORDER BY event.id DESC LIMIT 1),
           json_valid(facts) AND json_extract(facts, '$.record.simulated') IS NOT NULL
    FROM run ORDER BY id";

pub(super) const TRIALS: &str = "
    SELECT id, block, boot, position, treatment, started, outcome, detail,
           total_ns, workload_ns, apply_ns, verify_ns, restore_ns
    FROM trial";

impl Store {
    /// All runs, the oldest first.
    pub fn runs(&self) -> Result<Vec<RunSummary>, StoreError> {
        const DOING: &str = "list the runs";
        self.rows(DOING, SUMMARIES, [], |row| {
            let last: Option<String> = row.get(6)?;
            let end = match last.map(|body| parse(6, &body)).transpose()? {
                Some(Event::RunFinished { end }) => Some(end),
                _ => None,
            };
            Ok(RunSummary {
                run: row.get(0)?,
                experiment: row.get(1)?,
                started: timestamp(row, 2)?,
                planned: row.get(3)?,
                purpose: json(row, 4)?,
                done: row.get(5)?,
                simulated: row.get(7)?,
                end,
            })
        })
    }

    /// What `run` is of.
    pub fn header(&self, run: RunId) -> Result<RunHeader, StoreError> {
        let sql = "SELECT id, started, version, experiment, file, text, protocol, plan, facts, purpose, certificate FROM run WHERE id = ?";
        let header = self.db.query_row(sql, [run], |row| {
            Ok(RunHeader {
                run: row.get(0)?,
                started: timestamp(row, 1)?,
                version: row.get(2)?,
                experiment: row.get(3)?,
                file: row.get(4)?,
                text: row.get(5)?,
                protocol: json(row, 6)?,
                plan: json(row, 7)?,
                facts: json(row, 8)?,
                purpose: json(row, 9)?,
                certificate: optional_json(row, 10)?,
            })
        });
        let header = header.optional().map_err(self.failed("read the run"))?;
        let mut header: RunHeader = header.ok_or_else(|| StoreError::Unknown {
            wanted: run.to_string(),
            nearest: None,
        })?;
        header.plan.extend(self.blocks_added(run)?);
        Ok(header)
    }

    /// The greatest number of judged blocks a later sitting gave the run; 0 without any.
    fn blocks_added(&self, run: RunId) -> Result<u32, StoreError> {
        let sql = "SELECT max(body ->> 'blocks') FROM event WHERE run = ? AND kind = 'run-resumed'";
        let blocks: Option<u32> = self
            .db
            .query_row(sql, [run], |row| row.get(0))
            .map_err(self.failed("read the blocks of the run"))?;
        Ok(blocks.unwrap_or(0))
    }

    /// The recorded trials of `run` in the order they were stored, without raw outputs.
    pub fn trials(&self, run: RunId) -> Result<Vec<TrialRecord>, StoreError> {
        self.require(run)?;
        let sql = format!("{TRIALS} WHERE run = ? ORDER BY id");
        self.rows("read the trials", &sql, [run], |row| self.trial(row))
    }

    /// What the tools printed in the trial at position `order`, byte by byte.
    pub fn raw(&self, run: RunId, order: u32) -> Result<Vec<RawOutput>, StoreError> {
        const DOING: &str = "read raw outputs";
        self.require(run)?;
        let sql = "SELECT id FROM trial WHERE run = ? AND position = ?";
        let id: Option<i64> = self
            .db
            .query_row(sql, params![run, order], |row| row.get(0))
            .optional()
            .map_err(self.failed(DOING))?;
        let run = run.short();
        let id = id.ok_or(StoreError::NoTrial { run, order })?;
        let sql = "SELECT workload, size, content FROM raw WHERE trial = ? ORDER BY number";
        let packed: Vec<(String, u64, Vec<u8>)> = self.rows(DOING, sql, [id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
        let mut small = Decompressor::new().map_err(|e| corrupt(DOING, &self.path, e))?;
        packed
            .into_iter()
            .map(|(workload, size, frame)| {
                let content = unpack(&mut small, &frame, size).map_err(|e| corrupt(DOING, &self.path, e))?;
                Ok(RawOutput { workload, content })
            })
            .collect()
    }

    /// What `workload` printed in each trial of `run`, one output after the other with the trial's position: all of them
    /// together may be more than fits into memory.
    pub fn each_raw(
        &self,
        run: RunId,
        workload: &str,
        mut take: impl FnMut(u32, Vec<u8>),
    ) -> Result<(), StoreError> {
        const DOING: &str = "read raw outputs";
        self.require(run)?;
        let sql = "SELECT trial.position, raw.size, raw.content FROM trial JOIN raw ON raw.trial = trial.id
                   WHERE trial.run = ? AND raw.workload = ? ORDER BY trial.position, raw.number";
        let mut small = Decompressor::new().map_err(|e| corrupt(DOING, &self.path, e))?;
        let one = |row: &Row<'_>| -> rusqlite::Result<(u32, io::Result<Vec<u8>>)> {
            let frame = row.get_ref(2)?.as_blob()?;
            Ok((row.get(0)?, unpack(&mut small, frame, row.get(1)?)))
        };
        let failed = || self.failed(DOING);
        let mut select = self.db.prepare_cached(sql).map_err(failed())?;
        let rows = select.query_map(params![run, workload], one).map_err(failed())?;
        for row in rows {
            let (order, content) = row.map_err(failed())?;
            take(order, content.map_err(|e| corrupt(DOING, &self.path, e))?);
        }
        Ok(())
    }

    /// The `(block, treatment)` of every recorded trial, whatever its outcome: none of them is repeated.
    pub fn done(&self, run: RunId) -> Result<HashSet<(u32, TreatmentId)>, StoreError> {
        let trials = self.trials(run)?.into_iter();
        Ok(trials.map(|t| (t.trial.block, t.trial.treatment)).collect())
    }

    /// The latest run that `--resume` can go on with.
    pub fn resumable(&self) -> Result<Option<RunId>, StoreError> {
        let runs = self.runs()?;
        Ok(runs.iter().rev().find(|r| !r.is_over()).map(|r| r.run))
    }

    /// Fails when there is no such run.
    pub(super) fn require(&self, run: RunId) -> Result<(), StoreError> {
        let sql = "SELECT count(*) FROM run WHERE id = ?";
        let found: u32 = self
            .db
            .query_row(sql, [run], |row| row.get(0))
            .map_err(self.failed("look for the run"))?;
        if found == 0 {
            let wanted = run.to_string();
            return Err(StoreError::Unknown {
                wanted,
                nearest: None,
            });
        }
        Ok(())
    }

    /// The trial of a row of [`TRIALS`], with its observations.
    pub(super) fn trial(&self, row: &Row<'_>) -> rusqlite::Result<TrialRecord> {
        let trial = Trial {
            block: row.get(1)?,
            boot: row.get(2)?,
            order: row.get(3)?,
            treatment: treatment(row, 4)?,
        };
        let detail: Option<String> = row.get(7)?;
        let is_measured = row.get_ref(6)?.as_str()? == "measured";
        let outcome = match detail {
            Some(text) if !is_measured => parse(7, &text)?,
            suspect => Outcome::Measured {
                observations: self.observations(row.get(0)?)?,
                suspect: suspect.map_or(Ok(Vec::new()), |text| parse(7, &text))?,
            },
        };
        let time = |column| row.get(column).map(Duration::from_nanos);
        Ok(TrialRecord {
            trial,
            started: timestamp(row, 5)?,
            outcome,
            timing: Timing {
                total: time(8)?,
                workload: time(9)?,
                apply: time(10)?,
                verify: time(11)?,
                restore: time(12)?,
            },
            raw: Vec::new(),
        })
    }

    fn observations(&self, trial: i64) -> rusqlite::Result<Vec<Observation>> {
        let sql = "SELECT workload, metric, value FROM observation WHERE trial = ? ORDER BY number";
        let mut select = self.db.prepare_cached(sql)?;
        let rows = select.query_map([trial], |row| {
            Ok(Observation {
                workload: row.get(0)?,
                metric: row.get(1)?,
                value: row.get(2)?,
            })
        })?;
        rows.collect()
    }

    fn rows<T>(
        &self,
        doing: &'static str,
        sql: &str,
        values: impl rusqlite::Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let collect = || {
            self.db
                .prepare_cached(sql)?
                .query_map(values, read)?
                .collect::<Result<_, _>>()
        };
        collect().map_err(self.failed(doing))
    }
}

/// Up to this size an output is unpacked in one go, by a decompressor that is used again: making one takes longer than
/// the work.
const SMALL: u64 = 1 << 20;

/// Takes no more memory than the stored size says, whatever the frame claims.
fn unpack(small: &mut Decompressor<'_>, frame: &[u8], size: u64) -> io::Result<Vec<u8>> {
    let content = match usize::try_from(size) {
        Ok(capacity) if size <= SMALL => small.decompress(frame, capacity)?,
        _ => {
            let mut content = Vec::new();
            zstd::Decoder::with_buffer(frame)?
                .take(size.saturating_add(1))
                .read_to_end(&mut content)?;
            content
        }
    };
    if content.len() as u64 == size {
        Ok(content)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a raw output has another size than stored",
        ))
    }
}

fn parse<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|e| unreadable(column, e))
}

pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parse(column, row.get_ref(column)?.as_str()?)
}

fn optional_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| parse(column, &text)).transpose()
}

pub(super) fn timestamp(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|e: jiff::Error| unreadable(column, e))
}

/// Treatment ids are read as JSON text because only a plan makes new ones.
fn treatment(row: &Row<'_>, column: usize) -> rusqlite::Result<TreatmentId> {
    let text: String = row.get(column)?;
    serde_json::from_value(text.into()).map_err(|e| unreadable(column, e))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
}

impl FromSql for RunId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Self::from_str(value.as_str()?).map_err(|e| FromSqlError::Other(Box::new(e)))
    }
}
