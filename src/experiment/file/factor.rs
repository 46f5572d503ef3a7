//! The `[[factor]]` tables.

use super::{MAX_FACTORS, MAX_LEVELS, command};
use crate::decode::{Field, Mistakes, Reader};
use crate::diagnostic::{Diagnostic, one_line};
use crate::experiment::{Factor, Levels, Text};
use crate::tunable::{LookupError, Tunable, lookup};
use std::ops::Range;

/// All factors; `None` when one of them is wrong.
pub(super) fn factors(file: &mut Reader<'_>) -> Option<Vec<Factor>> {
    let list = file.required("factor", "add [[factor]] with tunable and levels")?;
    let mut factors: Vec<Factor> = Vec::new();
    let mut complete = true;
    for table in list.tables(MAX_FACTORS) {
        match factor(table, &factors) {
            Some(factor) => factors.push(factor),
            None => complete = false,
        }
    }
    (complete && !factors.is_empty()).then_some(factors)
}

fn factor(mut table: Reader<'_>, earlier: &[Factor]) -> Option<Factor> {
    let span = table.span();
    let tunable = table
        .required("tunable", "`kvmtune tunables` lists what can be set")
        .and_then(|f| tunable(f.text()?, &f.span(), f.mistakes(), earlier));
    let tunable = tunable.and_then(|t| command::with_commands(&mut table, t));
    let levels = table
        .required(
            "levels",
            "write levels = [\"one\", \"other\"], levels = \"available\" or levels = \"suggested\"",
        )
        .and_then(|f| levels(&f, tunable.as_ref()));
    let baseline_field = table.take("baseline");
    let baseline = baseline_field.as_ref().map(|f| level(f, tunable.as_ref()));
    table.finish();
    let (tunable, levels) = (tunable?, levels?);
    let baseline = match baseline {
        Some(baseline) => Some(baseline?),
        None => None,
    };
    if let (Some(field), Some(baseline), Levels::Listed(listed)) = (&baseline_field, &baseline, &levels)
        && let [only] = listed.as_slice()
        && tunable.canonical_level(&only.text) == tunable.canonical_level(&baseline.text)
    {
        field.wrong("the baseline is the only level", "add a level to compare it with");
        return None;
    }
    Some(Factor {
        tunable,
        levels,
        baseline,
        span,
    })
}

/// The tunable called `name`, which stands at `span`; one place is one factor only.
pub(super) fn tunable(
    name: &str,
    span: &Range<usize>,
    mistakes: &Mistakes,
    earlier: &[Factor],
) -> Option<Tunable> {
    let wrong = |message: String, hint: String| {
        mistakes.add(Diagnostic::at(span.clone(), message).hint(hint));
    };
    let found = match lookup(name) {
        Ok(found) => found,
        Err(error) => {
            let hint = match &error {
                LookupError::Unknown {
                    nearest: Some(near), ..
                } => format!("did you mean `{near}`?"),
                LookupError::Unknown { nearest: None, .. } => {
                    "`kvmtune tunables` lists all, and the ways to name any other setting".into()
                }
                LookupError::Name(_) => "`kvmtune tunables` shows how such names are written".into(),
            };
            wrong(error.to_string(), hint);
            return None;
        }
    };
    if let Some(other) = earlier.iter().find(|f| f.tunable.home == found.home) {
        wrong(
            format!("`{}` is already a factor as `{}`", found.name, other.tunable.name),
            "put all its levels into one factor".into(),
        );
        return None;
    }
    Some(found)
}

fn levels(field: &Field<'_>, tunable: Option<&Tunable>) -> Option<Levels> {
    if let Some(word) = field.as_text() {
        return named(field, word, tunable);
    }
    let mut seen: Vec<String> = Vec::new();
    let mut texts = Vec::new();
    let mut complete = true;
    for element in field.list(MAX_LEVELS, "[\"one\", \"other\"]")? {
        let Some(text) = level(&element, tunable) else {
            complete = false;
            continue;
        };
        let canonical = tunable.and_then(|t| t.canonical_level(&text.text).ok());
        let canonical = canonical.unwrap_or_else(|| text.text.clone());
        if seen.contains(&canonical) {
            let what = one_line(&text.text, 60);
            element.wrong(
                format!("level `{what}` is there twice"),
                same_as(&canonical, &text.text),
            );
        }
        seen.push(canonical);
        texts.push(text);
    }
    complete.then_some(Levels::Listed(texts))
}

fn same_as(canonical: &str, written: &str) -> String {
    if canonical == written {
        "remove one".into()
    } else {
        format!("it means `{}`; remove one", one_line(canonical, 60))
    }
}

/// Levels that this host and guest tell, or that are computed from what they are.
fn named(field: &Field<'_>, word: &str, tunable: Option<&Tunable>) -> Option<Levels> {
    let (levels, lack, hint) = match word {
        "available" => (
            Levels::Available(field.span()),
            tunable.filter(|t| !t.lists_levels()),
            "has no list of available levels",
        ),
        "suggested" => (
            Levels::Suggested(field.span()),
            tunable.filter(|t| t.rule().is_none()),
            "has no rule for suggested levels",
        ),
        other => {
            let word = one_line(other, 60);
            field.wrong(
                "`levels` must be a list, \"available\" or \"suggested\"",
                format!("write levels = [\"{word}\", …]"),
            );
            return None;
        }
    };
    let Some(tunable) = lack else {
        return Some(levels);
    };
    let mend = match &levels {
        Levels::Suggested(_) => {
            "write the levels as a list; `kvmtune tunables NAME` tells which tunables have suggested ones"
        }
        _ => "write the levels as a list",
    };
    field.wrong(format!("`{}` {hint}", tunable.name), mend);
    None
}

/// One level, legal for the tunable; with an unknown tunable only its type is judged.
pub(super) fn level(field: &Field<'_>, tunable: Option<&Tunable>) -> Option<Text> {
    let text = field.scalar()?;
    if let Some(tunable) = tunable
        && let Err(error) = tunable.canonical_level(&text)
    {
        let message = format!("illegal level of `{}`", tunable.name);
        let mistake = Diagnostic::at(field.span(), message).label(error.to_string());
        field.mistake(mistake.hint(format!("{}: {}", tunable.name, tunable.summary)));
        return None;
    }
    Some(Text {
        text: text.trim().to_string(),
        span: field.span(),
    })
}
