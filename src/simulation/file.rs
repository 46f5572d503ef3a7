//! Model files: TOML text to [`Model`], with every mistake at once.
//!
//! Pure: gets text and the experiment the model is for. A model that names what the experiment does not have would be
//! silently without effect, so it is refused.

use super::machine::has_level;
use super::{Effect, Metric, Model, Noise, Tail};
use crate::decode::{Field, Reader, document};
use crate::diagnostic::{Diagnostic, Diagnostics, Source, one_line};
use crate::experiment::{Experiment, Factor, MetricId, metric, metrics as named_metrics};
use crate::facts::{Facts, NetworkFacts};
use crate::tunable::{Setting, level, lookup, nearest};
use crate::units::{Percent, Span};
use crate::workload::Workload;
use std::fmt;
use std::str::FromStr;

const MAX_TABLES: usize = 256;
/// What agents and the undo journal take in the lab.
const DEFAULT_TRIAL: Span = Span(std::time::Duration::from_millis(300));
const DEFAULT_BOOT: Span = Span::secs(10);
const DEFAULT_LAG1: f64 = 0.9;
/// What metrics are about, by their unit; others are 1000.
const VALUES: [(&str, f64); 5] = [
    ("1/s", 10_000.0),
    ("us", 3000.0),
    ("B/s", 40e6),
    ("bit/s", 1e9),
    ("MiB/s", 8000.0),
];
const DEFAULT_VALUE: f64 = 1000.0;

/// The model in `source` for `experiment` on the made-up machine of `facts`.
pub fn parse(source: &Source, experiment: &Experiment, facts: &Facts) -> Result<Model, Diagnostics> {
    document(source, |file| model(file, source, experiment, facts))
}

fn model(file: &mut Reader<'_>, source: &Source, experiment: &Experiment, facts: &Facts) -> Option<Model> {
    let trial = span(file, "trial", DEFAULT_TRIAL);
    let boot = span(file, "boot", DEFAULT_BOOT);
    let failures = file
        .take("failures")
        .map_or(Some(0.0), |f| Some(f.parse::<Percent>("2%")?.fraction()));
    let seed = file
        .take("seed")
        .map(|f| f.integer(0..=i64::MAX).and_then(|n| u64::try_from(n).ok()));
    let workloads = experiment.every_workload();
    let mut metrics = all_metrics(&workloads);
    values(file, &workloads, &mut metrics);
    noises(file, &workloads, &mut metrics);
    let network = match file.take("network") {
        Some(field) => Some(network(&field)?),
        None => None,
    };
    let facts = Facts {
        network,
        ..facts.clone()
    };
    let effects = effects(file, experiment, &facts);
    Some(Model {
        metrics,
        effects,
        failures: failures?,
        trial: trial?,
        boot: boot?,
        seed: seed.flatten(),
        network,
        source: source.clone(),
    })
}

fn span(file: &mut Reader<'_>, key: &'static str, default: Span) -> Option<Span> {
    file.take(key).map_or(Some(default), |f| f.parse("10s"))
}

/// What would be measured between host and guest.
fn network(field: &Field<'_>) -> Option<NetworkFacts> {
    let mut table = field.table()?;
    let mut number = |key, hint: &str| {
        let field = table.required(key, hint)?;
        u64::try_from(field.integer(1..=10_000_000_000_000)?).ok()
    };
    let bandwidth = number("bandwidth", "in bit/s, e.g. bandwidth = 1_000_000_000");
    let rtt = number("rtt-us", "the round trip in microseconds, e.g. rtt-us = 900");
    table.finish();
    Some(NetworkFacts {
        bandwidth: bandwidth?,
        rtt: rtt?,
        link_speed: None,
    })
}

/// Every metric without noise, at a value its unit suggests.
fn all_metrics(workloads: &[Workload]) -> Vec<Metric> {
    let of = |w: &Workload| {
        let metric = |m: &crate::workload::Metric| Metric {
            id: MetricId {
                workload: w.name.clone(),
                metric: m.name.clone(),
            },
            value: VALUES
                .iter()
                .find(|(unit, _)| *unit == m.unit)
                .map_or(DEFAULT_VALUE, |(_, value)| *value),
            noise: Noise::default(),
        };
        w.metrics.iter().map(metric).collect::<Vec<_>>()
    };
    workloads.iter().flat_map(of).collect()
}

/// The `[[metric]]` tables.
fn values(file: &mut Reader<'_>, workloads: &[Workload], metrics: &mut [Metric]) {
    let tables = file
        .take("metric")
        .map_or_else(Vec::new, |f| f.tables(MAX_TABLES));
    let mut seen: Vec<MetricId> = Vec::new();
    for mut table in tables {
        let known = one_workload(&mut table, workloads);
        let name = table.required("name", "name a metric, e.g. name = \"iops\"");
        let id = name
            .as_ref()
            .and_then(|f| Some(metric(f, &named_metrics(&known?, &[]))?.0));
        let value = table
            .required("value", "give the number the baseline has, e.g. value = 12000")
            .and_then(|f| positive(&f));
        table.finish();
        let (Some(name), Some(id), Some(value)) = (name, id, value) else {
            continue;
        };
        if seen.contains(&id) {
            name.wrong(format!("`{id}` is there twice"), "remove one");
        }
        for metric in metrics.iter_mut().filter(|m| m.id == id) {
            metric.value = value;
        }
        seen.push(id);
    }
}

/// The workload the table names, else all of them.
fn one_workload(table: &mut Reader<'_>, workloads: &[Workload]) -> Option<Vec<Workload>> {
    let Some(field) = table.take("workload") else {
        return Some(workloads.to_vec());
    };
    let name = field.text()?;
    let found: Vec<_> = workloads.iter().filter(|w| w.name == name).cloned().collect();
    if found.is_empty() {
        let names: Vec<_> = workloads.iter().map(|w| w.name.as_str()).collect();
        let message = format!("the experiment has no workload `{}`", one_line(name, 60));
        field.wrong(message, format!("it has: {}", names.join(", ")));
        return None;
    }
    Some(found)
}

fn positive(field: &Field<'_>) -> Option<f64> {
    let value = field.number()?;
    if (1e-9..=1e18).contains(&value) {
        return Some(value);
    }
    let hint = "use a number from 1e-9 to 1e18: changes are shares of it";
    field.wrong(format!("`{}` is out of range", field.key()), hint);
    None
}

/// What one `[[noise]]` table says; what it leaves out is that of the table for all metrics.
#[derive(Debug, Clone, Copy, Default)]
struct Said {
    cv: Option<f64>,
    tail: Option<Tail>,
    boot: Option<f64>,
    drift: Option<f64>,
    wander: Option<f64>,
    lag1: Option<f64>,
}

impl Said {
    fn over(self, base: Self) -> Noise {
        let or = |own: Option<f64>, base: Option<f64>| own.or(base);
        Noise {
            cv: or(self.cv, base.cv).unwrap_or(0.0),
            tail: self.tail.or(base.tail).unwrap_or_default(),
            boot: or(self.boot, base.boot).unwrap_or(0.0),
            drift: or(self.drift, base.drift).unwrap_or(0.0),
            wander: or(self.wander, base.wander).unwrap_or(0.0),
            lag1: or(self.lag1, base.lag1).unwrap_or(DEFAULT_LAG1),
        }
    }
}

/// The `[[noise]]` tables: one for all metrics, and one for each that differs.
fn noises(file: &mut Reader<'_>, workloads: &[Workload], metrics: &mut [Metric]) {
    let tables = file.take("noise").map_or_else(Vec::new, |f| f.tables(MAX_TABLES));
    let mut said: Vec<(Option<MetricId>, Said)> = Vec::new();
    for mut table in tables {
        let span = table.span();
        let field = table.take("metric");
        let whose = field
            .as_ref()
            .map(|f| metric(f, &named_metrics(workloads, &[])).map(|(id, _)| id));
        let mistakes = table.mistakes();
        let noise = noise(table);
        let whose = match whose {
            Some(None) => continue,
            Some(id) => id,
            None => None,
        };
        if said.iter().any(|(known, _)| *known == whose) {
            let of = whose.as_ref().map_or("all metrics".into(), ToString::to_string);
            let mistake = Diagnostic::at(span, format!("the noise of {of} is there twice"));
            mistakes.add(mistake.hint("remove one, or name another metric in it"));
        }
        said.push((whose, noise));
    }
    let of = |id: Option<&MetricId>| {
        let found = said.iter().find(|(whose, _)| whose.as_ref() == id);
        found.map(|(_, noise)| *noise).unwrap_or_default()
    };
    for metric in metrics {
        metric.noise = of(Some(&metric.id)).over(of(None));
    }
}

fn noise(mut table: Reader<'_>) -> Said {
    let mut share = |key| {
        table
            .take(key)
            .and_then(|f| Some(f.parse::<Percent>("3%")?.fraction()))
    };
    let (cv, boot, wander) = (share("cv"), share("boot"), share("wander"));
    let tails = [("normal", Tail::Normal), ("t3", Tail::T3)];
    let said = Said {
        cv,
        tail: table.take("tail").and_then(|f| f.word(&tails)),
        boot,
        drift: table
            .take("drift")
            .and_then(|f| Some(f.parse::<Change>("+1%")?.log())),
        wander,
        lag1: table.take("lag1").and_then(|f| correlation(&f)),
    };
    table.refuse(
        "failures",
        "trials fail, not metrics: write it above the first table",
    );
    table.finish();
    said
}

fn correlation(field: &Field<'_>) -> Option<f64> {
    let value = field.number()?;
    if (0.0..1.0).contains(&value) {
        return Some(value);
    }
    let message = "a correlation of neighbours is at least 0 and below 1";
    field.wrong(
        message,
        "write lag1 = 0.9; the nearer to 1, the slower it wanders",
    );
    None
}

/// The `[[effect]]` tables.
fn effects(file: &mut Reader<'_>, experiment: &Experiment, facts: &Facts) -> Vec<Effect> {
    let tables = file
        .take("effect")
        .map_or_else(Vec::new, |f| f.tables(MAX_TABLES));
    let mut effects: Vec<Effect> = Vec::new();
    for table in tables {
        let (span, mistakes) = (table.span(), table.mistakes());
        let Some(effect) = effect(table, experiment, facts) else {
            continue;
        };
        let same = |e: &Effect| e.metric == effect.metric && e.settings == effect.settings;
        if effects.iter().any(same) {
            let message = format!(
                "the effect of these settings on `{}` is there twice",
                effect.metric
            );
            mistakes.add(Diagnostic::at(span, message).hint("put them into one"));
        }
        effects.push(effect);
    }
    effects
}

fn effect(mut table: Reader<'_>, experiment: &Experiment, facts: &Facts) -> Option<Effect> {
    let settings = table
        .required("set", "write set = { \"domain.disk.io\" = \"native\" }")
        .and_then(|f| settings(&f, experiment, facts));
    let metric = table
        .required("metric", "name the metric that changes, e.g. metric = \"iops\"")
        .and_then(|f| metric(&f, &named_metrics(&experiment.every_workload(), &[])));
    table.refuse(
        "gain",
        "write `change`: a gain is better whatever the goal, this is of the metric itself",
    );
    let change = table
        .required(
            "change",
            "write change = \"+3%\" or change = \"-2%\": of the metric itself",
        )
        .and_then(|f| f.parse::<Change>("+3%"));
    table.finish();
    Some(Effect {
        settings: settings?,
        metric: metric?.0,
        log_change: change?.log(),
    })
}

/// Each pair of tunable and level; several are an interaction.
fn settings(field: &Field<'_>, experiment: &Experiment, facts: &Facts) -> Option<Vec<Setting>> {
    let entries = field.table()?.entries();
    if entries.is_empty() {
        field.wrong(
            "an effect of nothing",
            "write set = { \"domain.disk.io\" = \"native\" }",
        );
        return None;
    }
    let all: Vec<_> = entries
        .iter()
        .map(|(name, level)| setting(name.clone(), level, experiment, facts))
        .collect();
    all.into_iter().collect()
}

fn setting(
    name: std::ops::Range<usize>,
    field: &Field<'_>,
    experiment: &Experiment,
    facts: &Facts,
) -> Option<Setting> {
    let factor = factor(name, field, experiment)?;
    let text = field.scalar()?;
    let tunable = &factor.tunable;
    match level(tunable, &text, facts) {
        Ok(mut found) if has_level(factor, &text, facts) => found.settings.pop(),
        Ok(_) => {
            let message = format!(
                "the experiment has no level `{}` of `{}`",
                one_line(&text, 60),
                tunable.name
            );
            field.wrong(message, "name one of its levels, or add this one to the factor");
            None
        }
        Err(error) => {
            let mistake = Diagnostic::at(field.span(), format!("illegal level of `{}`", tunable.name));
            field.mistake(
                mistake
                    .label(error.to_string())
                    .hint("name one of the factor's levels"),
            );
            None
        }
    }
}

fn factor<'e>(
    name: std::ops::Range<usize>,
    field: &Field<'_>,
    experiment: &'e Experiment,
) -> Option<&'e Factor> {
    let text = field.key();
    let wrong = |message: String, hint: String| {
        field.mistake(Diagnostic::at(name.clone(), message).hint(hint));
        None
    };
    if let Some(found) = experiment.factors.iter().find(|f| f.tunable.name == text) {
        return Some(found);
    }
    let names: Vec<_> = experiment
        .factors
        .iter()
        .map(|f| f.tunable.name.as_str())
        .collect();
    let listed = format!("it changes: {}", names.join(", "));
    if field.is_table() {
        return wrong(
            format!("`{}` is no tunable", one_line(text, 60)),
            "put the whole name into quotes: set = { \"domain.disk.io\" = \"native\" }".into(),
        );
    }
    match lookup(text) {
        Ok(_) => wrong(
            format!("the experiment does not change `{}`", one_line(text, 60)),
            listed,
        ),
        Err(error) => {
            let near = nearest(text, names.iter().copied()).map(|near| format!("did you mean `{near}`?"));
            wrong(error.to_string(), near.unwrap_or(listed))
        }
    }
}

/// A change of a metric in percent, written with or without a sign: `+3%`, `-2%`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Change(f64);

impl Change {
    /// Of the metric's logarithm.
    fn log(self) -> f64 {
        (self.0 / 100.0).ln_1p()
    }
}

/// Not a [`Change`].
#[derive(Debug)]
struct ChangeError(String);

impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not a change such as `+3%` or `-2%`",
            one_line(&self.0, 60)
        )
    }
}

impl FromStr for Change {
    type Err = ChangeError;

    fn from_str(text: &str) -> Result<Self, ChangeError> {
        let number = text
            .trim()
            .strip_suffix('%')
            .and_then(|n| n.trim_end().parse().ok());
        number
            .filter(|percent| (-99.0..=10_000.0).contains(percent))
            .map(Self)
            .ok_or_else(|| ChangeError(text.into()))
    }
}
