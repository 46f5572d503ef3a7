//! The `[[metric]]` and `[[require]]` tables: names of numbers, and where in the output they stand.

use super::is_line;
use super::spot::{Said, said};
use crate::decode::{Field, Reader, is_name};
use crate::diagnostic::Diagnostic;
use crate::experiment::Goal;
use crate::tunable::nearest;
use crate::workload::extract::MAX_EXTRACTS;
use crate::workload::{Extract, Metric, Parser, Requirement};

const GOALS: [(&str, Goal); 2] = [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)];

/// A name of a number: cut out as the table says, or given by the parser or an earlier extract.
fn number_name(
    table: &mut Reader<'_>,
    (key, may_be_absent): (&'static str, bool),
    parser: Option<Parser>,
    extracts: &mut Vec<Extract>,
) -> Option<String> {
    let field = table.required(key, "name a number of the output");
    let name = field
        .as_ref()
        .and_then(|f| f.text_if(is_name, "letters, digits, `-` and `_`"));
    let said = said(table, name, may_be_absent);
    let (field, name) = (field?, name?);
    let is_given = parser
        .and_then(Parser::metrics)
        .is_some_and(|known| known.contains(&name));
    let is_cut = extracts.iter().any(|extract| extract.name == name);
    match said {
        Said::Extract(_) if is_given || is_cut => {
            let whose = if is_given {
                "the parser gives"
            } else {
                "there is already"
            };
            field.wrong(format!("{whose} a `{name}`"), "give it another name");
            None
        }
        Said::Extract(_) if extracts.len() == MAX_EXTRACTS => {
            field.wrong(
                format!("more than {MAX_EXTRACTS} numbers are cut out of the output"),
                "each is looked for in all of it; leave out those that nobody judges",
            );
            None
        }
        Said::Extract(extract) => {
            extracts.push(extract);
            Some(name.to_string())
        }
        Said::Nothing if is_cut => Some(name.to_string()),
        Said::Nothing => metric_name(&field, name, parser),
        Said::Mistake => None,
    }
}

/// A name the parser can give.
fn metric_name(field: &Field<'_>, name: &str, parser: Option<Parser>) -> Option<String> {
    if parser == Some(Parser::Exec) {
        field.wrong(
            format!("nothing says where `{name}` stands in the output"),
            "add pointer = \"/a/b\", column = \"latency\" or match = 'latency: ([0-9.]+)'",
        );
        return None;
    }
    let known = parser.and_then(Parser::metrics).unwrap_or(&[]);
    if !known.is_empty() && !known.contains(&name) {
        let hint = nearest(name, known.iter().copied()).map_or_else(
            || format!("it gives: {}", known.join(", ")),
            |near| format!("did you mean `{near}`?"),
        );
        field.wrong(format!("the parser gives no `{name}`"), hint);
        return None;
    }
    Some(name.to_string())
}

pub(super) fn metrics(
    file: &mut Reader<'_>,
    parser: Option<Parser>,
    extracts: &mut Vec<Extract>,
) -> Option<Vec<Metric>> {
    let list = file.required("metric", "add [[metric]] with name, unit and goal")?;
    let mut metrics: Vec<Metric> = Vec::new();
    let mut complete = true;
    for mut table in list.tables(64) {
        let name_field = table.take("name");
        let name = number_name(&mut table, ("name", false), parser, extracts);
        let unit = table
            .required("unit", "e.g. unit = \"1/s\"")
            .and_then(|f| f.text_if(|t| is_line(t) && t.len() <= 16, "a short unit such as \"us\""));
        let goal = table
            .required("goal", "write goal = \"maximize\" or goal = \"minimize\"")
            .and_then(|f| f.word(&GOALS));
        table.finish();
        let (Some(field), Some(name), Some(unit), Some(goal)) = (name_field, name, unit, goal) else {
            complete = false;
            continue;
        };
        if metrics.iter().any(|m| m.name == name) {
            field.wrong(format!("metric `{name}` is there twice"), "remove one");
        }
        let unit = unit.to_string();
        metrics.push(Metric { name, unit, goal });
    }
    (complete && !metrics.is_empty()).then_some(metrics)
}

pub(super) fn requirements(
    file: &mut Reader<'_>,
    parser: Option<Parser>,
    extracts: &mut Vec<Extract>,
) -> Vec<Requirement> {
    let tables = file.take("require").map_or_else(Vec::new, |f| f.tables(64));
    tables
        .into_iter()
        .filter_map(|table| requirement(table, parser, extracts))
        .collect()
}

fn requirement(
    mut table: Reader<'_>,
    parser: Option<Parser>,
    extracts: &mut Vec<Extract>,
) -> Option<Requirement> {
    let metric = number_name(&mut table, ("metric", true), parser, extracts);
    let min = table.take("min").and_then(|f| f.number());
    let max = table.take("max").and_then(|f| f.number());
    let empty = match (min, max) {
        (None, None) => true,
        (Some(min), Some(max)) => min > max,
        _ => false,
    };
    if empty {
        let mistake = Diagnostic::at(table.span(), "the requirement says nothing or can never hold");
        table
            .mistakes()
            .add(mistake.hint("give `min`, `max` or both, min first"));
    }
    table.finish();
    Some(Requirement {
        metric: metric?,
        min,
        max,
    })
}
