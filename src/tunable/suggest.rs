//! Levels worth trying on one host and guest, computed from facts, with the arithmetic in words.
//!
//! Pure. Which rule a tunable has stands in the catalogue; what a rule comes to depends on [`Facts`] alone.

mod memory;
mod network;
mod places;
#[cfg(test)]
mod tests;
mod words;

pub(super) use memory::pool_reads;

use super::{Hazard, Kind, Level, LevelError, Tunable, ambient_level, catalogue, hazard, level};
use crate::facts::Facts;
use serde::Deserialize;
use words::list;

/// More levels than this make a run long without making it wiser.
const MAX_LEVELS: usize = 6;

/// How levels of a tunable are found; the catalogue names one for each tunable that has one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// All that host and guest offer, without what is dangerous.
    Offered,
    /// Multiples of what is in flight between host and guest: the bandwidth-delay product.
    Buffer,
    /// The packets that are in flight.
    Packets,
    /// Shares of memory, in percent, as the limit of all TCP sockets.
    TcpMemory(Vec<u64>),
    /// Shares of memory, in percent, as tracked connections.
    Connections(Vec<u64>),
    /// Shares of memory, in percent.
    Memory(Vec<u64>),
    /// Percentages that come to a useful amount of memory.
    Percent,
    /// Pages for the guest's memory on the host, or shares of its memory in the guest.
    Pool,
    /// Page sizes whose pool can hold the guest.
    Backing,
    /// The pins that generators make, and that differ here.
    Pins,
    /// Powers of two up to one queue for each vCPU.
    Queues,
    /// Sockets, cores and threads that a machine could have.
    Topology,
    /// Single NUMA nodes that can hold the guest, and all of them.
    Nodes,
    /// The same with the vCPUs.
    Placement,
    /// These levels, beside what is set now.
    Steps(Vec<String>),
    /// These shares, in percent, of what is set now.
    Around(Vec<u64>),
}

impl Rule {
    /// True when the network between host and guest must be measured for it.
    pub fn needs_network(&self) -> bool {
        matches!(self, Self::Buffer | Self::Packets)
    }

    /// What suggested levels are made from.
    pub fn basis(&self) -> &'static str {
        match self {
            Self::Offered => "all that is offered here, without what is dangerous",
            Self::Buffer => "measured bandwidth and round trip",
            Self::Packets => "packets in flight, from measured bandwidth and round trip",
            Self::TcpMemory(_) | Self::Memory(_) | Self::Percent => "size of memory",
            Self::Connections(_) => "size of memory, 316 bytes a connection",
            Self::Pool | Self::Backing => "the guest's memory, page size and what is free",
            Self::Pins => "topology of CPUs and NUMA nodes",
            Self::Queues | Self::Topology => "number of vCPUs",
            Self::Nodes | Self::Placement => "NUMA nodes and the guest's size",
            Self::Steps(_) => "steps that are in use, and what is set now",
            Self::Around(_) => "multiples of what is set now",
        }
    }

    fn draft(&self, on: &Ground<'_>) -> Result<Draft, LevelError> {
        match self {
            Self::Offered => offered(on),
            Self::Buffer => network::buffer(on),
            Self::Packets => network::packets(on),
            Self::TcpMemory(percents) => memory::tcp_memory(on, percents),
            Self::Connections(percents) => memory::connections(on, percents),
            Self::Memory(percents) => memory::shares(on, percents),
            Self::Percent => memory::percent(on),
            Self::Pool => memory::pool(on),
            Self::Backing => memory::backing(on),
            Self::Pins => Ok(places::pins(on)),
            Self::Queues => places::queues(on),
            Self::Topology => places::topology(on),
            Self::Nodes => Ok(places::nodes(on)),
            Self::Placement => Ok(places::placement(on)),
            Self::Steps(steps) => Ok(fixed(on, steps)),
            Self::Around(percents) => around(on, percents),
        }
    }
}

/// Levels that a rule came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// As they would be written in a file. What is set now is among them, where that can be told.
    pub levels: Vec<String>,
    /// How they were found: one line each, beginning with the tunable.
    pub arithmetic: Vec<String>,
}

/// What a rule looks at.
struct Ground<'g> {
    tunable: &'g Tunable,
    facts: &'g Facts,
    /// What is set now.
    now: Option<String>,
}

impl Ground<'_> {
    fn nothing(&self, why: impl Into<String>) -> LevelError {
        LevelError::NoSuggestion {
            tunable: self.tunable.name.clone(),
            why: why.into(),
        }
    }

    /// What is set now, as a number.
    fn number(&self) -> Option<u64> {
        self.now.as_deref()?.parse().ok()
    }

    /// `text` with the tunable's unit.
    fn with_unit(&self, text: &str) -> String {
        match self.tunable.unit.as_str() {
            "" => text.to_string(),
            unit => format!("{text} {unit}"),
        }
    }
}

/// What a rule gives: candidates, and lines that tell how they came about.
#[derive(Debug, Default)]
struct Draft {
    levels: Vec<String>,
    lines: Vec<String>,
}

impl Draft {
    fn new(levels: impl IntoIterator<Item = String>, line: impl Into<String>) -> Self {
        Self {
            levels: levels.into_iter().collect(),
            lines: vec![line.into()],
        }
    }
}

impl Tunable {
    /// How suggested levels are found; `None` when there is no rule.
    pub fn rule(&self) -> Option<Rule> {
        if let Some(rule) = &self.suggest {
            return Some(rule.clone());
        }
        let is_named = self.name.contains(':');
        let known = catalogue().iter().find(|t| is_named && t.home == self.home);
        let listed = || self.lists_levels().then_some(Rule::Offered);
        known.map_or_else(listed, Self::rule)
    }
}

/// Levels worth trying for `tunable` here.
pub fn suggest(tunable: &Tunable, facts: &Facts) -> Result<Suggestion, LevelError> {
    tunable.available(facts)?;
    let now = ambient_level(tunable, facts).ok();
    let ground = Ground {
        tunable,
        facts,
        now: now.as_ref().map(|level| level.label.clone()),
    };
    let rule = tunable
        .rule()
        .ok_or_else(|| ground.nothing("there is no rule for it"))?;
    let draft = rule.draft(&ground)?;
    let mut lines = draft.lines;
    let mut levels: Vec<Level> = Vec::new();
    for text in &draft.levels {
        match level(tunable, text, facts) {
            Ok(found) if levels.iter().any(|l| l.settings == found.settings) => {}
            Ok(found) => match danger(tunable, &found) {
                Some(danger) => lines.push(format!("{text} is left out: it can {}", danger.consequence())),
                None => levels.push(found),
            },
            Err(error) => lines.push(format!("{text} is left out: {error}")),
        }
    }
    if let Some(now) = now {
        keep(&mut levels, now);
    }
    if levels.len() < 2 {
        return Err(ground.nothing(lines.join("; ")));
    }
    if rule != Rule::Offered {
        levels.truncate(MAX_LEVELS);
    }
    let told = |line: String| format!("{}: {line}", tunable.name);
    Ok(Suggestion {
        levels: levels.into_iter().map(|level| level.label).collect(),
        arithmetic: lines.into_iter().map(told).collect(),
    })
}

/// The same made real.
pub fn suggested_levels(tunable: &Tunable, facts: &Facts) -> Result<Vec<Level>, LevelError> {
    let texts = suggest(tunable, facts)?.levels;
    texts.iter().map(|text| level(tunable, text, facts)).collect()
}

/// Puts what is set now first, where it cannot be cut off; a rule's own name for it stays.
fn keep(levels: &mut Vec<Level>, now: Level) {
    let known = levels.iter().position(|l| l.settings == now.settings);
    let first = known.map_or(now, |at| levels.remove(at));
    levels.insert(0, first);
}

/// The danger of a level where others have none; where all have it, the experiment must allow it anyway.
fn danger(tunable: &Tunable, level: &Level) -> Option<Hazard> {
    let own = &level.settings.last()?.value;
    hazard(tunable, own.as_str(), true).filter(|_| tunable.hazard.is_none())
}

fn offered(on: &Ground<'_>) -> Result<Draft, LevelError> {
    let choices = on.tunable.choices(on.facts)?;
    let choices = choices.ok_or_else(|| on.nothing("it could not be read what is offered here"))?;
    let line = match on.tunable.kind {
        Kind::Choice(_) => format!("it takes {}", list(&choices)),
        _ => format!("offered here: {}", list(&choices)),
    };
    Ok(Draft::new(choices, line))
}

fn fixed(on: &Ground<'_>, steps: &[String]) -> Draft {
    let shown: Vec<_> = steps.iter().map(|s| on.with_unit(s)).collect();
    let now = on.now.as_deref().map_or_else(String::new, |now| {
        format!(", beside the {} set now", on.with_unit(now))
    });
    Draft::new(steps.iter().cloned(), format!("steps of {}{now}", list(&shown)))
}

fn around(on: &Ground<'_>, percents: &[u64]) -> Result<Draft, LevelError> {
    let now = on
        .number()
        .ok_or_else(|| on.nothing("what is set now is no number, and levels would be multiples of it"))?;
    let default = on.tunable.default.as_ref().and_then(|d| d.parse().ok());
    let (base, whose) = match (now, default) {
        (0, None | Some(0)) => return Err(on.nothing("0 is set now, and no multiple of it is another level")),
        (0, Some(default)) => (default, "the default of"),
        (now, _) => (now, "the"),
    };
    let levels = percents.iter().map(|p| base.saturating_mul(*p) / 100);
    let shown: Vec<_> = percents.iter().map(|p| format!("{p} %")).collect();
    let end = if now == 0 { "; 0 is set now" } else { " set now" };
    let base = on.with_unit(&base.to_string());
    Ok(Draft::new(
        levels.map(|n| n.to_string()),
        format!("{} of {whose} {base}{end}", list(&shown)),
    ))
}
