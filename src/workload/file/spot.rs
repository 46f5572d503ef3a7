//! Where a number stands in the output, as a workload file says it: `pointer`, `column` or `match`, with `scale` and
//! `absent`.

use crate::decode::{Field, Reader};
use crate::diagnostic::{Diagnostic, one_line};
use crate::workload::extract::{compile, tokens};
use crate::workload::{Extract, Spot};

/// More than any output is deep.
const MAX_TOKENS: usize = 32;

/// What `table` says of the place of its number: nothing, a spot for a number called `name`, or a mistake.
pub(super) enum Said {
    Nothing,
    Extract(Extract),
    Mistake,
}

/// Takes the keys of a place. `may_be_absent` for conditions only: a metric that is not there is no zero.
pub(super) fn said(table: &mut Reader<'_>, name: Option<&str>, may_be_absent: bool) -> Said {
    let fields = ["pointer", "column", "match"].map(|key| table.take(key));
    let [pointer, column, pattern] = &fields;
    let given: Vec<_> = fields.iter().flatten().collect();
    if given.is_empty() {
        for key in ["scale", "absent"] {
            table.refuse(key, "it belongs to `pointer`, `column` or `match`");
        }
        return Said::Nothing;
    }
    let scale = table.take("scale").map_or(Some(1.0), |f| factor(&f));
    let absent = absent(table, may_be_absent);
    if let [_, second, ..] = given.as_slice() {
        second.wrong(
            "one place is enough",
            "keep one of `pointer`, `column` and `match`",
        );
        return Said::Mistake;
    }
    let spot = pointer.as_ref().and_then(json_pointer);
    let spot = spot.or_else(|| column.as_ref().and_then(header));
    let spot = spot.or_else(|| pattern.as_ref().and_then(expression));
    match (name, spot, scale, absent) {
        (Some(name), Some(spot), Some(scale), Ok(absent)) => Said::Extract(Extract {
            name: name.to_string(),
            spot,
            scale,
            absent,
        }),
        _ => Said::Mistake,
    }
}

fn factor(field: &Field<'_>) -> Option<f64> {
    let factor = field.number()?;
    if factor <= 0.0 {
        field.wrong("`scale` must be more than 0", "e.g. scale = 1000, from ms to us");
        return None;
    }
    Some(factor)
}

/// The error is a mistake that was reported.
fn absent(table: &mut Reader<'_>, may_be_absent: bool) -> Result<Option<f64>, ()> {
    if !may_be_absent {
        table.refuse("absent", "a metric that is not in the output fails the trial");
        return Ok(None);
    }
    let Some(field) = table.take("absent") else {
        return Ok(None);
    };
    let value = field.number().ok_or(())?;
    if value < 0.0 {
        field.wrong("`absent` must not be negative", "e.g. absent = 0");
        return Err(());
    }
    Ok(Some(value))
}

fn json_pointer(field: &Field<'_>) -> Option<Spot> {
    let text = field.text_if(is_short, "one line of at most 300 characters")?;
    if tokens(text).is_none_or(|tokens| tokens.len() > MAX_TOKENS) {
        field.wrong(
            format!("`{}` is no JSON pointer", one_line(text, 60)),
            format!(
                "e.g. \"/end/streams/0/rtt\": at most {MAX_TOKENS} names, `~0` for `~` and `~1` for `/` in them"
            ),
        );
        return None;
    }
    Some(Spot::Pointer(text.to_string()))
}

fn header(field: &Field<'_>) -> Option<Spot> {
    let text = field.text_if(
        |t| is_short(t) && t.trim() == t,
        "one line of at most 300 characters without space around it",
    )?;
    Some(Spot::Column(text.to_string()))
}

fn expression(field: &Field<'_>) -> Option<Spot> {
    let text = field.text_if(is_short, "one line of at most 300 characters")?;
    match compile(text) {
        // The whole match is a group too.
        Ok(pattern) if pattern.captures_len() == 2 => Some(Spot::Match(text.to_string())),
        Ok(pattern) => {
            field.wrong(
                format!("the pattern has {} groups, not one", pattern.captures_len() - 1),
                "put the number alone in parentheses, e.g. 'tps = ([0-9.]+)'; others are written (?:…)",
            );
            None
        }
        Err(error) => {
            field.mistake(
                Diagnostic::at(field.span(), "the pattern is no regular expression").hint(why(&error)),
            );
            None
        }
    }
}

/// The last line of the error says what is wrong; those before it draw the pattern.
fn why(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().next_back().unwrap_or_default();
    let last = last.strip_prefix("error: ").unwrap_or(last);
    let last = last.replace(
        "Compiled regex exceeds size limit of",
        "it is larger when compiled than",
    );
    format!(
        "{}; its syntax is that of https://docs.rs/regex",
        one_line(&last, 120)
    )
}

fn is_short(text: &str) -> bool {
    !text.is_empty() && text.len() <= 300 && !text.contains(char::is_control)
}
