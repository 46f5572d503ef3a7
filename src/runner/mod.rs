//! The loop: a plan becomes events, one trial after the other, in exactly the planned order.
//!
//! Synchronous and on one thread, because libvirt's taps, the lab's network and one agent command at a time all
//! belong to it. Does not know the store or any report: it calls a sink.

mod beside;
mod boot;
mod prepare;
mod settle;
mod trial;
mod witness;

use crate::change::{Change, ChangeError, Journal, Outcome as Changed, Verified, with_treatment};
use crate::decision::{Progress, progress};
use crate::design::{Block, Guests, WholePlot, stage_budget};
use crate::event::{End, Event, Outcome, Purpose, RunHeader, Timing, Trial, TrialRecord};
use crate::host::{Cancel, Host};
use crate::tunable::Activation;
use crate::units::Span;
use crate::workload::Places;
use boot::Fit;
pub use boot::{ATTEMPTS, ThisBoot};
use prepare::Prepared;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// After this many trials in a row without a number something is wrong that more trials will not mend.
const MAX_FAILURES: u32 = 6;

/// What a run follows.
pub struct Task<'t> {
    /// What is measured, in which order, and when it may end.
    pub header: &'t RunHeader,
    /// Where workloads find their disk and peers.
    pub places: &'t Places,
    /// Trials that are recorded already and not repeated.
    pub records: Vec<TrialRecord>,
    /// True when all blocks of the plan are wanted, whatever the numbers say.
    pub to_the_end: bool,
    /// What the host was booted for.
    pub boot: ThisBoot,
    /// Time of the budget that was used before this boot.
    pub spent: Duration,
    /// Set when the user asks to stop.
    pub cancel: &'t Cancel,
}

/// Why a run stopped without an [`End`].
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The host could not be restored, or the journal not be written.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The sink refused an event: nothing is measured that cannot be kept.
    #[error("{0}")]
    Sink(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Takes events; a trial's is stored when this returns.
pub type Sink<'s> = dyn FnMut(&Event) -> Result<(), Box<dyn std::error::Error + Send + Sync>> + 's;

/// Runs the task to its end. Whatever the end, every setting is restored or the error says otherwise.
pub fn run(
    host: &mut dyn Host,
    journal: &mut Journal,
    task: &Task<'_>,
    sink: &mut Sink<'_>,
) -> Result<End, RunError> {
    let mut runner = Runner {
        task,
        sink,
        boot: task.records.iter().map(|r| r.trial.boot).max().unwrap_or(0),
        needs_guest: true,
        failures: 0,
        progress: Progress::unknown(&task.header.plan),
        records: task.records.clone(),
        noticed: BTreeSet::new(),
        is_judged: true,
        prepared: Prepared::default(),
    };
    runner.follow()?;
    if let (Some(stop), false) = (runner.progress.stop, task.to_the_end) {
        return Ok(End::Answered { stop });
    }
    let started = host.clock();
    let budget = budget(task);
    for block in &task.header.plan.blocks {
        let out_of_time = budget.is_some_and(|budget| host.since(started) + task.spent >= budget.0);
        if out_of_time && block.number > 1 {
            return Ok(End::TimeBudget);
        }
        if let Some(end) = runner.block(host, journal, block)? {
            return Ok(end);
        }
    }
    Ok(End::Complete)
}

/// The time a run has; none for one whose number of blocks is all that counts.
fn budget(task: &Task<'_>) -> Option<Span> {
    let whole = task.header.protocol.time_budget.filter(|_| !task.to_the_end);
    match task.header.purpose {
        Purpose::Sweep => whole,
        Purpose::Stage { of, .. } => stage_budget(whole, of as usize),
        Purpose::Noise | Purpose::Confirm { .. } | Purpose::Ablate { .. } => None,
    }
}

struct Runner<'r, 's> {
    task: &'r Task<'r>,
    sink: &'r mut Sink<'s>,
    /// Guest starts so far.
    boot: u32,
    /// True when the next whole plot finds no guest running.
    needs_guest: bool,
    /// Trials in a row without a number.
    failures: u32,
    /// What the complete blocks have come to.
    progress: Progress,
    /// Every trial so far, without raw outputs.
    records: Vec<TrialRecord>,
    /// Workloads of which a trial had something to say; once is enough.
    noticed: BTreeSet<String>,
    /// False once the numbers could not be judged.
    is_judged: bool,
    /// Disks that are ready.
    prepared: Prepared,
}

/// Why the trials of a whole plot stopped early.
enum Break {
    /// The guest is lost: the rest goes on with a fresh one.
    GuestLost,
    /// The run is over.
    Over(End),
    /// The run cannot go on.
    Error(RunError),
}

impl From<RunError> for Break {
    fn from(error: RunError) -> Self {
        Self::Error(error)
    }
}

impl Runner<'_, '_> {
    fn block(
        &mut self,
        host: &mut dyn Host,
        journal: &mut Journal,
        block: &Block,
    ) -> Result<Option<End>, RunError> {
        for plot in &block.plots {
            let mut left: Vec<usize> = plot
                .treatments
                .iter()
                .copied()
                .filter(|&t| self.progress.active[t] && !self.is_done(block.number, t))
                .collect();
            if left.is_empty() {
                continue;
            }
            match self.fit(host, block, plot)? {
                Fit::Yes => {}
                Fit::Reboot(next) => return Ok(Some(End::AwaitsReboot { next })),
                Fit::No(outcome) => {
                    if let Some(end) = self.plot_failed(host, block, &mut left, &outcome)? {
                        return Ok(Some(end));
                    }
                }
            }
            while !left.is_empty() {
                if let Some(end) = self.whole_plot(host, journal, block, plot, &mut left)? {
                    return Ok(Some(end));
                }
            }
        }
        self.judge()
    }

    fn is_done(&self, block: u32, treatment: usize) -> bool {
        let id = &self.task.header.plan.treatments[treatment].id;
        let mut done = self.records.iter().map(|r| &r.trial);
        done.any(|trial| trial.block == block && trial.treatment == *id)
    }

    /// Brings the progress up to date. A number that cannot be judged, such as a latency of 0, is no reason to lose those
    /// to come: the run goes on to its last block.
    fn follow(&mut self) -> Result<(), RunError> {
        match progress(self.task.header, &self.records) {
            Ok(now) => self.progress = now,
            Err(error) => {
                self.progress.stop = None;
                if std::mem::take(&mut self.is_judged) {
                    let text = format!("{error}: the run cannot end early, and goes on to its last block");
                    self.say(&Event::Notice { text })?;
                }
            }
        }
        Ok(())
    }

    /// After a block: tells which treatments were dropped, and whether the run may end.
    fn judge(&mut self) -> Result<Option<End>, RunError> {
        let before = self.progress.clone();
        self.follow()?;
        let plan = &self.task.header.plan;
        let id = |treatment: usize| plan.treatments[treatment].id.clone();
        let dropped = self.progress.dropped.iter();
        let new: Vec<_> = dropped.filter(|d| before.active[d.0]).copied().collect();
        for (treatment, block, leader) in new {
            self.say(&Event::TreatmentDropped {
                treatment: id(treatment),
                block,
                leader: id(leader),
            })?;
        }
        let is_new = self.progress.done > before.done && !self.task.to_the_end;
        Ok(self
            .progress
            .stop
            .filter(|_| is_new)
            .map(|stop| End::Answered { stop }))
    }

    /// Measures what is `left` of a whole plot under one start of the guest, and takes off what is recorded.
    fn whole_plot(
        &mut self,
        host: &mut dyn Host,
        journal: &mut Journal,
        block: &Block,
        plot: &WholePlot,
        left: &mut Vec<usize>,
    ) -> Result<Option<End>, RunError> {
        let plan = &self.task.header.plan;
        let settings = plan.restart_settings(plot);
        let restarts = plan.guests != Guests::Shared || !settings.is_empty();
        let activation = if restarts {
            Activation::DomainRestart
        } else {
            Activation::Live
        };
        if restarts || self.needs_guest {
            self.boot += 1;
            self.say(&Event::GuestStarting { boot: self.boot })?;
        }
        let change = Change { settings, activation };
        let done = with_treatment(host, journal, &change, |verified| {
            self.trials(verified, block, left)
        })?;
        self.needs_guest = restarts || done.guest_lost;
        match done.outcome {
            Changed::Held(ended)
            | Changed::Drifted { value: ended, .. }
            | Changed::Failed {
                value: Some(ended), ..
            } => match ended {
                Err(Break::Error(error)) => Err(error),
                Err(Break::Over(end)) => Ok(Some(end)),
                Err(Break::GuestLost) | Ok(()) => Ok(None),
            },
            failed => self.plot_failed(host, block, left, &trial::outcome_of(failed)),
        }
    }

    /// The whole plot never came to its trials: each is recorded with the reason.
    fn plot_failed(
        &mut self,
        host: &mut dyn Host,
        block: &Block,
        left: &mut Vec<usize>,
        outcome: &Outcome,
    ) -> Result<Option<End>, RunError> {
        // One failed start is one failure, however many treatments waited for it.
        let before = self.failures;
        for treatment in std::mem::take(left) {
            if self.is_cancelled() {
                return Ok(Some(End::Interrupted));
            }
            self.failures = before;
            let trial = self.trial(block, treatment);
            let record = TrialRecord {
                trial,
                started: host.now(),
                outcome: outcome.clone(),
                timing: Timing::default(),
                raw: Vec::new(),
            };
            if let Some(end) = self.record(record)? {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    fn trials(
        &mut self,
        verified: &mut Verified<'_>,
        block: &Block,
        left: &mut Vec<usize>,
    ) -> Result<(), Break> {
        while let Some(&treatment) = left.first() {
            if self.is_cancelled() {
                return Err(Break::Over(End::Interrupted));
            }
            let trial = self.trial(block, treatment);
            self.say(&Event::TrialStarted { trial: trial.clone() })?;
            let measured = self
                .prepared
                .measure(verified, self.task, (treatment, self.boot))
                .map_err(RunError::from)?;
            if self.is_cancelled() && !measured.is_complete() {
                return Err(Break::Over(End::Interrupted));
            }
            left.remove(0);
            for (workload, text) in measured.notices {
                if self.noticed.insert(workload) {
                    self.say(&Event::Notice { text })?;
                }
            }
            let record = TrialRecord {
                trial,
                started: measured.started,
                outcome: measured.outcome,
                timing: measured.timing,
                raw: measured.raw,
            };
            if let Some(end) = self.record(record)? {
                return Err(Break::Over(end));
            }
            if measured.guest_lost {
                return Err(Break::GuestLost);
            }
        }
        Ok(())
    }

    /// The name of a trial: its position in the run follows from the plan alone.
    fn trial(&self, block: &Block, treatment: usize) -> Trial {
        let plan = &self.task.header.plan;
        let position = block
            .plots
            .iter()
            .flat_map(|p| &p.treatments)
            .position(|&t| t == treatment)
            .unwrap_or(0);
        let before = block.number as usize * plan.treatments.len();
        let order = u32::try_from(before + position).unwrap_or(u32::MAX);
        Trial {
            block: block.number,
            boot: self.boot,
            order,
            treatment: plan.treatments[treatment].id.clone(),
        }
    }

    /// Hands a record to the sink; ends the run when too many in a row gave no number.
    fn record(&mut self, record: TrialRecord) -> Result<Option<End>, RunError> {
        let measured = matches!(record.outcome, Outcome::Measured { .. });
        self.failures = if measured { 0 } else { self.failures + 1 };
        self.records.push(TrialRecord {
            raw: Vec::new(),
            ..record.clone()
        });
        self.say(&Event::TrialFinished {
            record: Box::new(record),
        })?;
        Ok((self.failures >= MAX_FAILURES).then_some(End::Failing))
    }

    fn is_cancelled(&self) -> bool {
        self.task.cancel.load(Ordering::Relaxed)
    }

    fn say(&mut self, event: &Event) -> Result<(), RunError> {
        (self.sink)(event).map_err(RunError::Sink)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests;
