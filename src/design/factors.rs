//! One factor of a plan: its levels on this host, its baseline, what is left out of them and why.
//!
//! Knows levels; not treatments, blocks or order.

use super::{Part, PlannedFactor};
use crate::diagnostic::Diagnostic;
use crate::experiment::{Experiment, Factor, Levels, Text};
use crate::facts::Facts;
use crate::tunable::{
    Activation, Kind, Level, LevelError, SettingRole, ambient_level, available_levels, hazard, level,
    suggest, told,
};
use std::ops::Range;

/// A factor with one level here would end a one-factor design halfway.
pub(super) fn single_levels(experiment: &Experiment, factors: &[PlannedFactor]) -> Vec<Diagnostic> {
    let single = factors
        .iter()
        .zip(&experiment.factors)
        .filter(|(planned, _)| planned.levels.len() < 2);
    let fault = |(planned, factor): (&PlannedFactor, &Factor)| {
        let message = format!("`{}` has only its baseline here", planned.tunable);
        Diagnostic::at(factor.span.clone(), message)
            .hint("remove the factor, or give it a level that this host offers")
    };
    single.map(fault).collect()
}

/// The factor with its levels made real on the host of `facts`; `None` when its baseline is at fault.
pub(super) fn plan(
    experiment: &Experiment,
    factor: &Factor,
    facts: &Facts,
    part: Part<'_>,
    faults: &mut Vec<Diagnostic>,
    notices: &mut Vec<String>,
) -> Option<PlannedFactor> {
    let before = faults.len();
    let mut levels: Vec<Level> = Vec::new();
    match &factor.levels {
        Levels::Listed(texts) => {
            for text in texts {
                match level(&factor.tunable, &text.text, facts) {
                    Ok(level) => push_new(&mut levels, level, text, faults),
                    Err(error) => faults.push(explain(&error, text.span.clone())),
                }
            }
        }
        Levels::Available(span) => match available_levels(&factor.tunable, facts) {
            Ok(all) => levels = all,
            Err(error) => faults.push(explain(&error, span.clone())),
        },
        Levels::Suggested(span) => match suggest(&factor.tunable, facts) {
            Ok(suggestion) => {
                notices.extend(suggestion.arithmetic);
                let texts = suggestion.levels.iter();
                levels = texts
                    .filter_map(|text| level(&factor.tunable, text, facts).ok())
                    .collect();
                add_proven(&mut levels, factor, facts, part);
            }
            Err(error) => faults.push(explain(&error, span.clone())),
        },
    }
    if matches!(factor.levels, Levels::Listed(_)) {
        notices.extend(
            levels
                .iter()
                .filter_map(|l| told(&factor.tunable, &l.label, facts)),
        );
    } else {
        notices.extend(leave_out_dangers(&mut levels, factor, experiment));
    }
    notices.extend(factor.texts().filter_map(|text| old_name(factor, &text.text)));
    let (baseline, span) = match &factor.baseline {
        Some(text) => (level(&factor.tunable, &text.text, facts), text.span.clone()),
        None => (ambient_level(&factor.tunable, facts), factor.span.clone()),
    };
    let baseline = match baseline {
        Ok(level) => level,
        Err(error) => {
            // A level error of the same cause has been said; one place is enough.
            if faults.len() == before {
                faults.push(explain(&error, span));
            }
            return None;
        }
    };
    let baseline = levels
        .iter()
        .position(|l| l.settings == baseline.settings)
        .unwrap_or_else(|| {
            levels.insert(0, baseline);
            0
        });
    let whole_plot = factor.tunable.activation == Activation::DomainRestart;
    Some(PlannedFactor {
        tunable: factor.tunable.name.clone(),
        whole_plot,
        reboots: factor.tunable.activation == Activation::HostReboot,
        levels,
        baseline,
        original: baseline,
    })
}

/// What nobody wrote down is not done when it is dangerous: such levels go, unless the file allows their danger.
fn leave_out_dangers(levels: &mut Vec<Level>, factor: &Factor, experiment: &Experiment) -> Option<String> {
    let private = experiment.guest.has_private_network();
    let is_refused = |level: &Level| {
        let found = level
            .settings
            .last()
            .and_then(|s| hazard(&factor.tunable, s.value.as_str(), private));
        found.is_some_and(|danger| !experiment.allow.contains(&danger))
    };
    let refused: Vec<_> = levels
        .iter()
        .filter(|l| is_refused(l))
        .map(|l| l.label.clone())
        .collect();
    levels.retain(|l| !is_refused(l));
    (!refused.is_empty()).then(|| {
        format!(
            "left out {} of {}: dangerous, and not in `allow`",
            refused.join(", "),
            factor.tunable.name
        )
    })
}

/// That a level has another name today.
fn old_name(factor: &Factor, text: &str) -> Option<String> {
    let today = factor.tunable.canonical_level(text).ok()?;
    let is_old =
        matches!(&factor.tunable.kind, Kind::Word { aliases } if aliases.iter().any(|(old, _)| old == text));
    is_old.then(|| {
        format!(
            "`{text}` of {} has been called `{today}` since Linux 5.0",
            factor.tunable.name
        )
    })
}

/// A level that an earlier run suggested and that this one is about, when the facts have come to another since.
fn add_proven(levels: &mut Vec<Level>, factor: &Factor, facts: &Facts, part: Part<'_>) {
    let (Part::Confirm { levels: wanted, .. }
    | Part::Minimal { whole: wanted, .. }
    | Part::Ablate { levels: wanted, .. }
    | Part::Stage { kept: wanted, .. }) = part
    else {
        return;
    };
    let own = wanted
        .iter()
        .filter(|(tunable, _)| *tunable == factor.tunable.name);
    for (_, label) in own {
        if levels.iter().all(|l| l.label != *label) {
            levels.extend(level(&factor.tunable, label, facts));
        }
    }
}

fn push_new(levels: &mut Vec<Level>, level: Level, text: &Text, faults: &mut Vec<Diagnostic>) {
    match levels.iter().find(|known| known.settings == level.settings) {
        Some(known) => faults.push(
            Diagnostic::at(
                text.span.clone(),
                format!("level `{}` is the same as `{}` here", text.text, known.label),
            )
            .hint("remove one of them"),
        ),
        None => levels.push(level),
    }
}

fn explain(error: &LevelError, span: Range<usize>) -> Diagnostic {
    let diagnostic = Diagnostic::at(span, error.to_string());
    match error {
        LevelError::Unavailable { choices, .. } => {
            diagnostic.label(format!("available: {}", choices.join(", ")))
        }
        LevelError::Absent { .. } => {
            diagnostic.hint("`kvmtune check FILE` tells what this host and guest offer")
        }
        LevelError::NoList { .. } | LevelError::NoSuggestion { .. } => {
            diagnostic.hint("write the levels as a list; `kvmtune tunables NAME` tells what is legal")
        }
        LevelError::Illegal(_) | LevelError::Unusable { .. } | LevelError::TooMuch { .. } => diagnostic,
    }
}

/// Two factors that turn out to be one place on this host: only one of their levels could hold.
pub(super) fn shared_places(experiment: &Experiment, factors: &[PlannedFactor]) -> Vec<Diagnostic> {
    let place = |factor: &PlannedFactor| Some(factor.levels.first()?.settings.last()?.address.to_string());
    let fault = |(at, factor): (usize, &PlannedFactor)| {
        let own = place(factor)?;
        let other = factors[..at]
            .iter()
            .find(|earlier| place(earlier).as_ref() == Some(&own))?;
        let span = experiment
            .factors
            .iter()
            .find(|f| f.tunable.name == factor.tunable)?
            .span
            .clone();
        let message = format!(
            "`{}` is the same place as `{}` here: {own}",
            factor.tunable, other.tunable
        );
        Some(Diagnostic::at(span, message).hint("put all its levels into one factor"))
    };
    factors.iter().enumerate().filter_map(fault).collect()
}

/// A live factor whose place a restart factor is coupled to (a page pool and the guest backed by it) must be
/// set before the guest starts: it becomes a whole-plot factor too.
pub(super) fn bind_coupled(factors: &mut [PlannedFactor]) {
    let coupled: Vec<_> = factors
        .iter()
        .filter(|f| f.whole_plot)
        .flat_map(|f| f.levels.iter().flat_map(|l| &l.settings))
        .filter(|s| s.role != SettingRole::Own)
        .map(|s| s.address.clone())
        .collect();
    for factor in factors.iter_mut() {
        let touches = |l: &Level| l.settings.iter().any(|s| coupled.contains(&s.address));
        factor.whole_plot |= factor.levels.iter().any(touches);
    }
}
