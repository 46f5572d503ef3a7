//! The factors, and the `[[treatment]]` tables that explicit designs are written with.

use super::factor::{factors, level, tunable};
use super::{MAX_FACTORS, MAX_TREATMENTS, command};
use crate::decode::{Field, Reader};
use crate::diagnostic::{Diagnostic, one_line};
use crate::experiment::{DesignKind, Factor, Levels, ListedTreatment, Text};
use std::ops::Range;

/// Treatments that are listed make their factors; otherwise factors make the treatments.
pub(super) fn factors_and_treatments(
    file: &mut Reader<'_>,
    listed: bool,
    kind: Option<DesignKind>,
) -> (Option<Vec<Factor>>, Vec<ListedTreatment>) {
    let field = file.take("treatment");
    if !listed {
        if let Some(field) = field {
            field.wrong(
                "treatments are listed, but the design makes its own",
                "write kind = \"explicit\" or kind = \"a-b\" in [design]",
            );
        }
        return (factors(file), Vec::new());
    }
    let Some(field) = field else {
        if kind == Some(DesignKind::AB) {
            return (two_levels(file), Vec::new());
        }
        let hint = "add [[treatment]] with set = { \"domain.disk.io\" = \"native\" }, the baseline first";
        file.required("treatment", hint);
        file.refuse("factor", "the listed treatments make the factors");
        return (None, Vec::new());
    };
    file.refuse("factor", "the listed treatments make the factors");
    let mut made = Vec::new();
    let mut treatments = Vec::new();
    let mut complete = true;
    for table in field.tables(MAX_TREATMENTS) {
        match treatment(table, &mut made) {
            Some(treatment) => treatments.push(treatment),
            None => complete = false,
        }
    }
    let wrong = match (kind, treatments.len()) {
        _ if !complete => None,
        (Some(DesignKind::AB), n) if n != 2 => Some(format!("an a-b design has two treatments, not {n}")),
        (_, 0 | 1) => Some("one treatment has nothing to be compared with".into()),
        _ => None,
    };
    if let Some(message) = wrong {
        field.wrong(message, "list the baseline first, then what it is compared with");
        complete = false;
    }
    if complete {
        for mistake in repeats(&treatments, &made) {
            field.mistake(mistake);
        }
    }
    ((complete && !made.is_empty()).then_some(made), treatments)
}

/// Treatments that are there twice, by their levels or by their name; those that only this host makes equal are found
/// when it is planned.
fn repeats(treatments: &[ListedTreatment], factors: &[Factor]) -> Vec<Diagnostic> {
    let levels = |treatment: &ListedTreatment| -> Vec<_> {
        let level = |(place, factor): (usize, &Factor)| {
            let mut given = treatment.levels.iter().chain(&treatments[0].levels);
            let (_, text) = given.find(|(of, _)| *of == place)?;
            factor.tunable.canonical_level(&text.text).ok()
        };
        factors.iter().enumerate().map(level).collect()
    };
    let mut found = Vec::new();
    for (place, treatment) in treatments.iter().enumerate() {
        let earlier = &treatments[..place];
        let at = |message: String| Diagnostic::at(treatment.span.clone(), message);
        if let Some(same) = earlier
            .iter()
            .position(|other| levels(other) == levels(treatment))
        {
            let message = format!("this treatment is the same as number {}", same + 1);
            found.push(at(message).hint("a level that is not named is the first treatment's"));
        } else if treatment.name.is_some() && earlier.iter().any(|other| other.name == treatment.name) {
            found.push(at("two treatments have this name".into()).hint("reports tell them apart by it"));
        }
    }
    found
}

/// An a-b design in its short form: one factor, the baseline and one other level.
fn two_levels(file: &mut Reader<'_>) -> Option<Vec<Factor>> {
    let span = file.span();
    let factors = factors(file)?;
    let count = |f: &Factor| match (&f.levels, &f.baseline) {
        (Levels::Listed(texts), None) => texts.len() + 1,
        (Levels::Listed(texts), Some(baseline)) => {
            let canonical = |t: &Text| f.tunable.canonical_level(&t.text).ok();
            let has = texts.iter().any(|t| canonical(t) == canonical(baseline));
            texts.len() + usize::from(!has)
        }
        (Levels::Available(_) | Levels::Suggested(_), _) => usize::MAX,
    };
    if let [factor] = factors.as_slice()
        && count(factor) == 2
    {
        return Some(factors);
    }
    let span = factors.first().map_or(span, |f| f.span.clone());
    file.mistakes().add(
        Diagnostic::at(span, "an a-b design compares two treatments")
            .hint("give one factor a baseline and one other level, or list two [[treatment]] with `set`"),
    );
    None
}

fn treatment(mut table: Reader<'_>, made: &mut Vec<Factor>) -> Option<ListedTreatment> {
    let span = table.span();
    let name = table.take("name").map(|f| {
        f.text_if(is_label, "at most 60 characters of plain text, not `baseline`")
            .map(str::to_string)
    });
    let set = table.required("set", "write set = { \"domain.disk.io\" = \"native\" }");
    table.finish();
    let set = set?;
    let entries = set.table()?.entries();
    if entries.is_empty() || entries.len() > MAX_FACTORS {
        set.wrong(
            format!("a treatment of {} settings", entries.len()),
            format!("set 1 to {MAX_FACTORS} tunables"),
        );
        return None;
    }
    let mut levels = Vec::new();
    for (place, field) in &entries {
        levels.push(setting(place, field, made)?);
    }
    let name = match name {
        Some(name) => Some(name?),
        None => None,
    };
    Some(ListedTreatment { name, levels, span })
}

/// The factor of a tunable, made when it is first named, and the level it is to have.
fn setting(place: &Range<usize>, field: &Field<'_>, made: &mut Vec<Factor>) -> Option<(usize, Text)> {
    if field.is_table() {
        let message = format!("`{}` is no tunable", one_line(field.key(), 60));
        let hint = "put the whole name into quotes: set = { \"domain.disk.io\" = \"native\" }";
        field.mistake(Diagnostic::at(place.clone(), message).hint(hint));
        return None;
    }
    let known = made.iter().position(|f| f.tunable.name == field.key());
    let place = if let Some(place) = known {
        place
    } else {
        let tunable = tunable(field.key(), place, field.mistakes(), made)?;
        if command::is_unwritten(&tunable) {
            let message = format!("`{}` has no commands here", tunable.name);
            let hint = "write it as a [[factor]] with `get`, `set` and `levels`";
            field.mistake(Diagnostic::at(place.clone(), message).hint(hint));
            return None;
        }
        made.push(Factor {
            tunable,
            levels: Levels::Listed(Vec::new()),
            baseline: None,
            span: place.clone(),
        });
        made.len() - 1
    };
    let text = level(field, Some(&made[place].tunable))?;
    let canonical = |t: &Text| made[place].tunable.canonical_level(&t.text).ok();
    let is_new = match &made[place].levels {
        Levels::Listed(texts) => !texts.iter().any(|t| canonical(t) == canonical(&text)),
        Levels::Available(_) | Levels::Suggested(_) => false,
    };
    if let (true, Levels::Listed(texts)) = (is_new, &mut made[place].levels) {
        texts.push(text.clone());
    }
    Some((place, text))
}

fn is_label(text: &str) -> bool {
    text.trim() != "baseline"
        && !text.trim().is_empty()
        && text.len() <= 60
        && !text.chars().any(char::is_control)
}
