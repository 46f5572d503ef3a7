//! Progress of a run on stderr: a bar on a terminal, a line a trial elsewhere.
//!
//! Hears events and nothing else; the time left comes from the records, so that a resumed run tells it too.

use super::pace::{self, Mark};
use super::wording;
use crate::decision::observed;
use crate::design::{Guests, TreatmentId};
use crate::event::{End, Event, Outcome, RunHeader, Trial, TrialRecord};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write as _;

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
    /// Knows a new run from its first event; a resumed one needs its header. Draws nothing before the first event.
    pub fn new(screen: Screen, resumed: Option<&RunHeader>) -> Self {
        let bar = match screen {
            Screen::Bar { colour } => Some(bar(colour)),
            Screen::Lines | Screen::Quiet => None,
        };
        Self {
            teller: Teller::new(resumed),
            bar,
            quiet: screen == Screen::Quiet,
        }
    }

    /// Takes in an event and shows it.
    pub fn event(&mut self, event: &Event) {
        let said = self.teller.event(event);
        let Some(bar) = &self.bar else {
            match said {
                Said::Line(line) if !self.quiet => say(&line),
                Said::Notice(line) => say(&line),
                _ => {}
            }
            return;
        };
        bar.set_length(u64::from(self.teller.trials()));
        bar.set_position(u64::from(self.teller.done));
        match said {
            // A trial that gave no number must not flit by.
            Said::Line(line) if is_lost(event) => bar.suspend(|| say(&line)),
            Said::Now(text) | Said::Line(text) => bar.set_message(text),
            Said::Notice(line) => bar.suspend(|| say(&line)),
        }
    }

    /// Redraws the bar, a few times a second while nothing happens.
    pub fn tick(&self) {
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }

    /// Takes the bar away, so that what is printed next stands alone.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn is_lost(event: &Event) -> bool {
    let Event::TrialFinished { record } = event else {
        return false;
    };
    !matches!(record.outcome, Outcome::Measured { .. })
}

/// A line on stderr; there is nobody to tell when that fails.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

fn bar(colour: bool) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    // A template that does not parse would be a bug; the default style then still shows a bar.
    let style = ProgressStyle::with_template(template(colour));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn template(colour: bool) -> &'static str {
    if colour {
        "{spinner} {bar:20.cyan/dim} {pos}/{len} {wide_msg}"
    } else {
        "{spinner} {bar:20} {pos}/{len} {wide_msg}"
    }
}

/// What an event comes to.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// What is being done; only worth a bar.
    Now(String),
    /// A trial that ended.
    Line(String),
    /// Shown even when quiet.
    Notice(String),
}

/// From events to texts.
#[derive(Debug, Default)]
struct Teller {
    header: Option<RunHeader>,
    done: u32,
    marks: Vec<Mark>,
    last: String,
}

impl Teller {
    fn new(resumed: Option<&RunHeader>) -> Self {
        Self {
            header: resumed.cloned(),
            ..Self::default()
        }
    }

    fn trials(&self) -> u32 {
        let trials = self.header.as_ref().map_or(0, |h| h.plan.trials());
        u32::try_from(trials).unwrap_or(u32::MAX)
    }

    fn event(&mut self, event: &Event) -> Said {
        match event {
            Event::RunStarted { header } => {
                // In a sitting of several runs each has trials and a pace of its own.
                *self = Self::new(Some(header));
                let experiment = wording::tame(&header.experiment, 60);
                Said::Line(format!("run {} of {experiment}", header.run.short()))
            }
            Event::RunResumed { run, done, blocks } => {
                self.done = *done;
                if let Some(header) = &mut self.header {
                    header.plan.extend(*blocks);
                }
                Said::Line(format!("run {} goes on after {done} trials", run.short()))
            }
            Event::TreatmentDropped {
                treatment,
                block,
                leader,
            } => Said::Line(format!(
                "dropped after block {block}: {} is worse than {}",
                self.name(treatment),
                self.name(leader)
            )),
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
            // Nobody is to do anything: a model is booted at once.
            Event::RunFinished {
                end: End::AwaitsReboot { .. },
            } if self.is_simulated() => Said::Now("booting the simulated host".into()),
            Event::RunFinished { end } => Said::Line(wording::end(*end).into()),
        }
    }

    fn is_simulated(&self) -> bool {
        let header = self.header.as_ref();
        header.is_some_and(|header| header.facts.simulated().is_some())
    }

    fn finished(&mut self, record: &TrialRecord) -> String {
        self.done = self.done.saturating_add(1);
        self.marks.push(record.into());
        self.last = self.result(&record.outcome);
        format!("{}  {}{}", self.place(&record.trial), self.last, self.left())
    }

    fn name(&self, id: &TreatmentId) -> String {
        let plan = self.header.as_ref().map(|h| &h.plan);
        let label = plan.map_or_else(|| id.to_string(), |plan| wording::label(plan, id));
        wording::tame(&label, wording::NAME)
    }

    /// `block 3/8 domain.disk.cache=none`.
    fn place(&self, trial: &Trial) -> String {
        let Some(RunHeader { plan, .. }) = &self.header else {
            return format!("block {}", trial.block);
        };
        let treatment = wording::tame(&wording::label(plan, &trial.treatment), wording::NAME);
        match trial.block {
            0 => format!("block 0 (discarded) {treatment}"),
            block => {
                let last = plan.blocks.last().map_or(0, |b| b.number);
                format!("block {block}/{last} {treatment}")
            }
        }
    }

    fn result(&self, outcome: &Outcome) -> String {
        if let Some(reason) = wording::reason(outcome) {
            return format!("{}: {reason}", wording::outcome(outcome));
        }
        let (Outcome::Measured { observations, .. }, Some(header)) = (outcome, &self.header) else {
            return wording::outcome(outcome).into();
        };
        let metric = &header.protocol.response().metric;
        observed(&header.protocol, observations, metric).map_or_else(
            || "measured".into(),
            |value| {
                let quantity = wording::quantity(value, header.protocol.unit(metric));
                format!("{} {quantity}", wording::tame(&metric.metric, 40))
            },
        )
    }

    /// `  (eta 1m20s)`, by the pace of the trials heard of.
    fn left(&self) -> String {
        let left = self.trials().saturating_sub(self.done);
        let treatments = self.header.iter().flat_map(|h| &h.plan.treatments);
        let fresh = self
            .header
            .as_ref()
            .is_some_and(|h| h.plan.guests != Guests::Shared);
        let restarts = fresh || treatments.into_iter().any(|t| !t.restart.is_empty());
        match pace::step(&self.marks, restarts) {
            Some(step) if left > 0 => format!("  (eta {})", wording::duration(step.saturating_mul(left))),
            _ => String::new(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::design::BootAt;
    use crate::facts::SIMULATED;
    use crate::report::fixture::Fixture;

    #[test]
    fn a_line_a_trial_with_the_time_left() {
        let fixture = Fixture::quickstart();
        let mut teller = Teller::new(Some(&fixture.header));
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
    fn a_model_is_booted_without_a_word_to_the_operator() {
        let mut header = Fixture::quickstart().header;
        let end = End::AwaitsReboot {
            next: BootAt { block: 1, boot: 0 },
        };
        let said = |header: &RunHeader| Teller::new(Some(header)).event(&Event::RunFinished { end });
        header.facts.record.remove(SIMULATED);
        assert!(matches!(said(&header), Said::Line(line) if line.contains("--resume")));
        header.facts.record.insert(SIMULATED.into(), "model.toml".into());
        assert!(matches!(said(&header), Said::Now(_)));
    }

    #[test]
    fn a_resumed_run_counts_what_is_done() {
        let fixture = Fixture::quickstart();
        let mut teller = Teller::new(Some(&fixture.header));
        let run = fixture.header.run;
        teller.event(&Event::RunResumed {
            run,
            done: 30,
            blocks: 10,
        });
        let record = Box::new(fixture.records[30].clone());
        let Said::Line(line) = teller.event(&Event::TrialFinished { record }) else {
            panic!("no line")
        };
        assert!(!line.contains('\n') && line.contains("eta"), "{line}");
        assert_eq!(teller.done, 31);
        // The next run of the sitting begins anew.
        let header = Box::new(fixture.header.clone());
        teller.event(&Event::RunStarted { header });
        assert_eq!((teller.done, teller.marks.len()), (0, 0));
    }

    #[test]
    fn nothing_from_a_guest_reaches_the_terminal_raw() {
        let fixture = Fixture::hostile();
        let mut teller = Teller::new(Some(&fixture.header));
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
            let (Said::Line(text) | Said::Notice(text) | Said::Now(text)) = teller.event(event);
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(text.chars().count() < 700);
        }
    }

    #[test]
    fn the_templates_parse() {
        for colour in [true, false] {
            assert!(ProgressStyle::with_template(template(colour)).is_ok());
        }
    }

    #[test]
    fn a_new_run_is_known_from_its_first_event() {
        let fixture = Fixture::quickstart();
        let mut teller = Teller::new(None);
        let record = Box::new(fixture.records[4].clone());
        let finished = Event::TrialFinished { record };
        assert_eq!(teller.event(&finished), Said::Line("block 1  measured".into()));
        let header = Box::new(fixture.header.clone());
        teller.event(&Event::RunStarted { header });
        let Said::Line(line) = teller.event(&finished) else {
            panic!("no line")
        };
        assert!(line.starts_with("block 1/10 ") && line.contains("iops"), "{line}");
    }

    #[test]
    fn every_screen_takes_every_event() {
        let fixture = Fixture::hostile();
        let record = Box::new(fixture.records[4].clone());
        let events = [
            Event::GuestStarting { boot: 1 },
            Event::TrialStarted {
                trial: record.trial.clone(),
            },
            Event::TrialFinished { record },
            Event::Notice { text: "x".into() },
            Event::RunFinished {
                end: crate::event::End::Interrupted,
            },
        ];
        for screen in [Screen::Bar { colour: true }, Screen::Lines, Screen::Quiet] {
            let mut progress = Progress::new(screen, Some(&fixture.header));
            for event in &events {
                progress.event(event);
                progress.tick();
            }
            progress.finish();
            assert_eq!(progress.teller.done, 1);
        }
    }
}
