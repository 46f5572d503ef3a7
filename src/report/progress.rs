//! Progress of a run on stderr: a bar on a terminal, a line a trial elsewhere.
//!
//! Hears events and nothing else; the time left comes from the records, so that a resumed run tells it too.

use super::pace::{self, Mark};
use super::wording;
use crate::design::Plan;
use crate::event::{Event, Outcome, Trial, TrialRecord};
use crate::experiment::{MetricId, Protocol};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Screen {
    /// A bar that is redrawn; only for a terminal.
    Bar {
        /// False under `NO_COLOR`.
        colour: bool,
    },
    /// Plain lines, one a trial.
    Lines,
    /// Notices only.
    Quiet,
}

/// Shows the events of one run.
#[derive(Debug)]
pub struct Progress {
    teller: Teller,
    bar: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// For a run of `plan` that should take `expected` in all; nothing is drawn before the first event.
    pub fn new(plan: &Plan, protocol: &Protocol, expected: Option<Duration>, screen: Screen) -> Self {
        let teller = Teller::new(plan, protocol, expected);
        let bar = match screen {
            Screen::Bar { colour } => Some(bar(teller.trials, colour)),
            Screen::Lines | Screen::Quiet => None,
        };
        Self {
            teller,
            bar,
            quiet: screen == Screen::Quiet,
        }
    }

    /// Takes in an event and shows it.
    #[allow(clippy::print_stderr, reason = "progress is what stderr is for")]
    pub fn event(&mut self, event: &Event) {
        let said = self.teller.event(event);
        let Some(bar) = &self.bar else {
            match said {
                Said::Line(line) if !self.quiet => eprintln!("{line}"),
                Said::Notice(line) => eprintln!("{line}"),
                _ => {}
            }
            return;
        };
        bar.set_position(u64::from(self.teller.done));
        match said {
            Said::Nothing => {}
            Said::Now(text) | Said::Line(text) => bar.set_message(text),
            Said::Notice(line) => bar.suspend(|| eprintln!("{line}")),
        }
        if let Event::RunFinished { .. } = event {
            bar.finish_and_clear();
        }
    }
}

fn bar(trials: u32, colour: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(u64::from(trials)), ProgressDrawTarget::stderr());
    let template = if colour {
        "{bar:20.cyan/dim} {pos}/{len} {wide_msg}"
    } else {
        "{bar:20} {pos}/{len} {wide_msg}"
    };
    // The templates are constants that a test parses; the default style is good enough if one ever were not.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style)
}

/// What an event comes to.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    /// What is being done; only worth a bar.
    Now(String),
    /// A trial that ended.
    Line(String),
    /// Shown even when quiet.
    Notice(String),
}

/// From events to texts.
#[derive(Debug)]
struct Teller {
    plan: Plan,
    metric: MetricId,
    unit: String,
    trials: u32,
    last_block: u32,
    done: u32,
    marks: Vec<Mark>,
    expected: Option<Duration>,
    last: String,
}

impl Teller {
    fn new(plan: &Plan, protocol: &Protocol, expected: Option<Duration>) -> Self {
        let metric = protocol.response.metric.clone();
        Self {
            plan: plan.clone(),
            unit: protocol.unit(&metric).to_string(),
            metric,
            trials: u32::try_from(plan.trials()).unwrap_or(u32::MAX),
            last_block: plan.blocks.last().map_or(0, |b| b.number),
            done: 0,
            marks: Vec::new(),
            expected,
            last: String::new(),
        }
    }

    fn event(&mut self, event: &Event) -> Said {
        match event {
            Event::RunStarted { header } => Said::Now(format!(
                "run {} of {}",
                header.run.short(),
                wording::tame(&header.experiment, 60)
            )),
            Event::RunResumed { run, done } => {
                self.done = *done;
                Said::Line(format!("run {} goes on after {done} trials", run.short()))
            }
            Event::GuestStarting { boot } => Said::Now(format!("starting the guest (start {boot})")),
            Event::TrialStarted { trial } => {
                let last = if self.last.is_empty() {
                    String::new()
                } else {
                    format!("  last {}", self.last)
                };
                Said::Now(format!("{}{last}{}", self.place(trial), self.left()))
            }
            Event::TrialFinished { record } => Said::Line(self.finished(record)),
            Event::Notice { text } => {
                Said::Notice(format!("notice: {}", wording::tame(text, wording::SENTENCE)))
            }
            Event::RunFinished { end } => Said::Line(wording::end(*end).into()),
        }
    }

    fn finished(&mut self, record: &TrialRecord) -> String {
        self.done = self.done.saturating_add(1);
        self.marks.push(record.into());
        self.last = self.result(&record.outcome);
        format!("{}  {}{}", self.place(&record.trial), self.last, self.left())
    }

    /// `block 3/8 domain.disk.cache=none`.
    fn place(&self, trial: &Trial) -> String {
        let treatment = wording::tame(&wording::label(&self.plan, &trial.treatment), wording::NAME);
        match trial.block {
            0 => format!("block 0 (discarded) {treatment}"),
            block => format!("block {block}/{} {treatment}", self.last_block),
        }
    }

    fn result(&self, outcome: &Outcome) -> String {
        if let Some(reason) = wording::reason(outcome) {
            return format!("{}: {reason}", wording::outcome(outcome));
        }
        let Outcome::Measured { observations } = outcome else {
            return String::new();
        };
        let value = observations
            .iter()
            .find(|o| o.workload == self.metric.workload && o.metric == self.metric.metric);
        value.map_or_else(
            || "measured".into(),
            |o| {
                let metric = wording::tame(&o.metric, 40);
                format!("{metric} {}", wording::quantity(o.value, &self.unit))
            },
        )
    }

    /// `  (eta 1m20s)`, by the pace of the trials seen, at first by what was expected.
    fn left(&self) -> String {
        let left = self.trials.saturating_sub(self.done);
        if left == 0 {
            return String::new();
        }
        let restarts = self.plan.treatments.iter().any(|t| !t.restart.is_empty());
        let expected = || self.expected.map(|e| e / self.trials.max(1));
        let step = match self.marks.len() {
            0 => expected(),
            1 => expected().or_else(|| pace::step(&self.marks, restarts)),
            _ => pace::step(&self.marks, restarts),
        };
        step.map_or_else(String::new, |step| {
            format!("  (eta {})", wording::duration(step.saturating_mul(left)))
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;

    #[test]
    fn a_line_a_trial_with_the_time_left() {
        let fixture = Fixture::quickstart();
        let mut teller = Teller::new(&fixture.header.plan, &fixture.header.protocol, None);
        let mut lines = Vec::new();
        for record in fixture.records.iter().take(5) {
            let record = Box::new(record.clone());
            let Said::Line(line) = teller.event(&Event::TrialFinished { record }) else {
                panic!("no line")
            };
            lines.push(line);
        }
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_resumed_run_counts_what_is_done() {
        let fixture = Fixture::quickstart();
        let mut teller = Teller::new(&fixture.header.plan, &fixture.header.protocol, None);
        let run = fixture.header.run;
        teller.event(&Event::RunResumed { run, done: 30 });
        let record = Box::new(fixture.records[30].clone());
        let Said::Line(line) = teller.event(&Event::TrialFinished { record }) else {
            panic!("no line")
        };
        assert!(!line.contains('\n') && line.contains("eta"), "{line}");
        assert_eq!(teller.done, 31);
    }

    #[test]
    fn nothing_from_a_guest_reaches_the_terminal_raw() {
        let fixture = Fixture::hostile();
        let mut teller = Teller::new(&fixture.header.plan, &fixture.header.protocol, None);
        let mut events: Vec<_> = fixture
            .records
            .iter()
            .map(|r| Event::TrialFinished {
                record: Box::new(r.clone()),
            })
            .collect();
        events.push(Event::Notice {
            text: "\u{1b}]0;owned\u{7}".into(),
        });
        events.push(Event::RunStarted {
            header: Box::new(fixture.header.clone()),
        });
        for event in &events {
            let (Said::Line(text) | Said::Notice(text) | Said::Now(text)) = teller.event(event) else {
                panic!("nothing said")
            };
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.chars().count() < 700);
        }
    }

    #[test]
    fn the_templates_parse() {
        for colour in [true, false] {
            let bar = bar(10, colour);
            bar.set_draw_target(ProgressDrawTarget::hidden());
            bar.set_message("x");
        }
        assert!(ProgressStyle::with_template("{bar:20.cyan/dim} {pos}/{len} {wide_msg}").is_ok());
    }
}
