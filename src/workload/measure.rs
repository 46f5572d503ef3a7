//! From a workload to a job, and from a job's output to observations.
//!
//! Does not run anything: `host` does.

use super::argv::{Hole, fill, uses};
use super::{
    Observation, Parser, Requirement, Side, Workload, cyclictest, extract, fio, iperf3, numbers, stress_ng,
};
use crate::diagnostic::one_line;
use crate::host::{JOB_FOLDER, Job, JobOutput, RESULT_FILE, SERIES_FILE, ServerJob};
use std::fmt::Display;

/// Where a workload finds disk and network of one host and guest.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The device or file that disk workloads may overwrite, in the guest.
    pub scratch: String,
    /// The guest's address as the host reaches it.
    pub guest_address: String,
    /// The host's address as the guest reaches it.
    pub host_address: String,
    /// Those of the neighbours, as the guest reaches them.
    pub neighbours: Vec<String>,
}

impl Places {
    /// The places of a neighbour, by its number: its own part of the disk, its own address.
    #[must_use]
    pub fn of_neighbour(&self, number: usize) -> Self {
        Self {
            guest_address: self.neighbours.get(number).cloned().unwrap_or_default(),
            ..self.clone()
        }
    }
}

/// Output that gives no numbers. The texts are safe to show.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not the format it should be.
    #[error("cannot read {what}: {why}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The reader's words.
        why: String,
    },
    /// The format, but without what is needed.
    #[error("{0}")]
    Content(String),
    /// The tool itself says that it failed.
    #[error("{0}")]
    Tool(String),
}

impl ParseError {
    /// The cause is kept as text only: it may quote the guest, so it is escaped and cut.
    pub(super) fn malformed(what: &'static str, why: &impl Display) -> Self {
        Self::Malformed {
            what,
            why: one_line(why.to_string().lines().next().unwrap_or_default(), 160),
        }
    }
}

/// Why a finished job gives no observations.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// The command failed.
    #[error("{program} exited with {exit}: {said}")]
    Exit {
        /// The program.
        program: String,
        /// Its exit code.
        exit: i32,
        /// The last thing it said, escaped and cut.
        said: String,
    },
    /// Its output could not be read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// A declared metric is not in the output.
    #[error("{workload} gave no `{metric}`; run it longer, or remove the metric")]
    Missing {
        /// The workload.
        workload: String,
        /// The metric.
        metric: String,
    },
    /// A requirement does not hold.
    #[error("{metric} is {value}, {bound}")]
    Requirement {
        /// The metric.
        metric: String,
        /// What was observed.
        value: f64,
        /// What would have counted: `at most 0 allowed`.
        bound: String,
    },
}

impl Parser {
    /// The names this parser gives; `None` when they depend on what is run.
    pub fn metrics(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Fio => Some(fio::METRICS),
            Self::Iperf3 => Some(iperf3::METRICS),
            Self::Cyclictest => Some(cyclictest::METRICS),
            Self::Exec => Some(&[]),
            Self::StressNg | Self::Numbers => None,
        }
    }

    /// All numbers in a tool's output, finite and not negative.
    pub fn parse(self, output: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
        let found = match self {
            Self::Fio => fio::parse(output),
            Self::Iperf3 => iperf3::parse(output),
            Self::StressNg => stress_ng::parse(output),
            Self::Numbers => numbers::parse(output),
            Self::Cyclictest => cyclictest::parse(output),
            Self::Exec => Ok(Vec::new()),
        }?;
        measured(found)
    }
}

/// The numbers, when all of them are finite and not negative.
fn measured(found: Vec<(String, f64)>) -> Result<Vec<(String, f64)>, ParseError> {
    match found.iter().find(|(_, value)| !value.is_finite() || *value < 0.0) {
        Some((name, value)) => Err(ParseError::Content(format!(
            "{} is {value}, which no measurement gives",
            one_line(name, 40)
        ))),
        None => Ok(found),
    }
}

impl Workload {
    /// True when it overwrites the scratch device or file.
    pub fn needs_scratch(&self) -> bool {
        let prepare = self.prepare.as_ref();
        uses(&self.argv, Hole::Scratch) || prepare.is_some_and(|p| uses(&p.argv, Hole::Scratch))
    }

    /// True when host and guest must reach each other over the network.
    pub fn needs_network(&self) -> bool {
        let server = self.server.iter().flat_map(|s| &s.argv);
        let all: Vec<_> = self.argv.iter().chain(server).cloned().collect();
        uses(&all, Hole::GuestAddress) || uses(&all, Hole::HostAddress)
    }

    /// True when its command is told how long the warm-up takes: another one measures all the time.
    pub fn honours_warmup(&self) -> bool {
        uses(&self.argv, Hole::Warmup)
    }

    /// True when it runs between two guests.
    pub fn needs_neighbour(&self) -> bool {
        let server = self.server.as_ref();
        let words = server.map_or(&[][..], |s| s.argv.as_slice());
        server.is_some_and(|s| s.side == Side::Neighbour)
            || uses(&self.argv, Hole::NeighbourAddress)
            || uses(words, Hole::NeighbourAddress)
    }

    /// True when its command is told how long to measure, also by its job file. What has a fixed amount of work instead
    /// ends when that is done, and `time` is only what that is expected to take.
    pub fn runs_for_its_time(&self) -> bool {
        uses(&self.argv, Hole::Time)
    }

    /// A command line with its holes filled, but for those of the job's files.
    pub(super) fn filled(&self, argv: &[String], places: &Places) -> Vec<String> {
        fill(argv, |hole| match hole {
            Hole::Time => self.time.as_secs_ceil().to_string(),
            Hole::Warmup => self.warmup.as_secs_ceil().to_string(),
            Hole::Scratch => places.scratch.clone(),
            Hole::GuestAddress => places.guest_address.clone(),
            Hole::HostAddress => places.host_address.clone(),
            Hole::NeighbourAddress => places.neighbours.first().cloned().unwrap_or_default(),
            Hole::Result => RESULT_FILE.to_string(),
            Hole::Series => SERIES_FILE.to_string(),
            Hole::Job => JOB_FOLDER.to_string(),
        })
    }

    /// The job that measures it; `{result}`, `{series}` and `{job}` are left for the host to replace.
    pub fn job(&self, places: &Places) -> Job {
        let expected = self.warmup.0.saturating_add(self.time.0);
        Job {
            side: self.side,
            argv: self.filled(&self.argv, places),
            server: self.server.as_ref().map(|server| ServerJob {
                side: server.side,
                argv: self.filled(&server.argv, places),
                port: server.port,
            }),
            expected,
            limit: expected.saturating_add(self.grace.0),
            max_output: self.max_output,
            series: self.series_file(),
            files: self.files.clone(),
            drop_caches: self.drop_caches,
        }
    }

    /// The observations in a finished job's output: every declared metric, nothing else, all requirements met.
    pub fn observations(&self, out: &JobOutput) -> Result<Vec<Observation>, MeasureError> {
        let parsed = self.output(out).map_or_else(
            || Err(ParseError::Content("the result file was not written".into())),
            |bytes| self.numbers(bytes),
        );
        if out.exit != 0 {
            return Err(self.exit_error(out, parsed.err()));
        }
        let found = parsed?;
        let value_of = |metric: &str| {
            let value = found
                .iter()
                .find(|(name, _)| name == metric)
                .map(|(_, value)| *value);
            value.ok_or_else(|| MeasureError::Missing {
                workload: self.name.clone(),
                metric: metric.to_string(),
            })
        };
        for requirement in &self.requirements {
            requirement.check(value_of(&requirement.metric)?)?;
        }
        let observe = |metric: &super::Metric| {
            Ok(Observation {
                workload: self.name.clone(),
                metric: metric.name.clone(),
                value: value_of(&metric.name)?,
            })
        };
        self.metrics.iter().map(observe).collect()
    }

    /// What the workload's own extracts cut out of a tool's output, then what its parser gives; finite and not negative.
    pub fn numbers(&self, output: &[u8]) -> Result<Vec<(String, f64)>, ParseError> {
        let given = self.parser.parse(output)?;
        let mut found = measured(extract::read(&self.extracts, output)?)?;
        found.extend(given);
        Ok(found)
    }

    /// The result file where the command has one, else its standard output.
    pub(super) fn output<'o>(&self, out: &'o JobOutput) -> Option<&'o [u8]> {
        if uses(&self.argv, Hole::Result) {
            out.result.as_deref()
        } else {
            Some(&out.stdout)
        }
    }

    /// What the tool says of its failure in its own format is better than a line of stderr.
    fn exit_error(&self, out: &JobOutput, parsed: Option<ParseError>) -> MeasureError {
        let stderr = String::from_utf8_lossy(&out.stderr);
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
        let said = match (parsed, last) {
            (Some(ParseError::Tool(said)), _) => said,
            (_, Some(line)) => one_line(line, 200),
            (_, None) => "it said nothing".into(),
        };
        MeasureError::Exit {
            program: super::program(&self.argv).to_string(),
            exit: out.exit,
            said,
        }
    }
}

impl Requirement {
    fn check(&self, value: f64) -> Result<(), MeasureError> {
        let bound = match (self.min, self.max) {
            (Some(min), _) if value < min => format!("at least {min} needed"),
            (_, Some(max)) if value > max => format!("at most {max} allowed"),
            _ => return Ok(()),
        };
        Err(MeasureError::Requirement {
            metric: self.metric.clone(),
            value,
            bound,
        })
    }
}
