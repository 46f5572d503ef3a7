//! The `[[constraint]]` tables: bounds that a treatment itself must keep.

use super::MAX_GUARDS;
use super::judge::{Known, metric};
use crate::decode::{Field, Reader};
use crate::diagnostic::Diagnostic;
use crate::experiment::{Constraint, Goal};

/// The constraints that are right; mistakes are reported for the others.
pub(super) fn constraints(file: &mut Reader<'_>, known: &[Known]) -> Vec<Constraint> {
    let tables = file
        .take("constraint")
        .map_or_else(Vec::new, |f| f.tables(MAX_GUARDS));
    let mut all: Vec<Constraint> = Vec::new();
    for mut table in tables {
        let span = table.span();
        let field = table.required("metric", "name the metric that has a limit");
        let found = field.as_ref().and_then(|f| metric(f, known));
        let most = table.take("at-most");
        let least = table.take("at-least");
        let limit = match (&most, &least) {
            (Some(field), None) => limit(field).map(|limit| (Goal::Minimize, limit)),
            (None, Some(field)) => limit(field).map(|limit| (Goal::Maximize, limit)),
            _ => {
                let mistake = Diagnostic::at(span, "a constraint has one limit");
                table
                    .mistakes()
                    .add(mistake.hint("write at-most = 500, or at-least = 500, in the metric's unit"));
                None
            }
        };
        table.finish();
        let (Some(field), Some((metric, _)), Some((side, limit))) = (field, found, limit) else {
            continue;
        };
        if all.iter().any(|c| c.metric == metric && c.side == side) {
            field.wrong(format!("`{metric}` has this limit twice"), "remove one");
        }
        all.push(Constraint { metric, side, limit });
    }
    all
}

fn limit(field: &Field<'_>) -> Option<f64> {
    let limit = field.number()?;
    if limit.is_finite() && limit > 0.0 {
        return Some(limit);
    }
    field.wrong("a limit is above zero", "write a number in the metric's unit");
    None
}
