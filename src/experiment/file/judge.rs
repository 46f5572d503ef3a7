//! What is judged: the `[response]` and `[[guard]]` tables.

use super::MAX_GUARDS;
use crate::decode::{Field, Reader};
use crate::diagnostic::one_line;
use crate::experiment::{Goal, Guard, MetricId, Response};
use crate::tunable::nearest;
use crate::units::Percent;
use crate::workload::Workload;

const DEFAULT_MARGIN: Percent = Percent(5.0);

/// The response; by default the first metric of the first workload. Nothing is said of metrics while the
/// workloads themselves are wrong.
pub(super) fn response(file: &mut Reader<'_>, workloads: &[Workload]) -> Option<Response> {
    let Some(field) = file.take("response") else {
        return first_metric(workloads);
    };
    let mut table = field.table()?;
    let named = table.take("metric");
    let found = match &named {
        Some(field) => metric(field, workloads).map(|(metric, goal)| Response { metric, goal }),
        None => first_metric(workloads),
    };
    let goal_field = table.take("goal");
    let goals = [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)];
    if let Some(field) = goal_field
        && let Some(goal) = field.word(&goals)
        && let Some(found) = &found
        && goal != found.goal
    {
        let right = if found.goal == Goal::Maximize {
            "maximize"
        } else {
            "minimize"
        };
        field.wrong(
            format!("the goal of `{}` is to {right}", found.metric),
            format!("write goal = \"{right}\", or leave it out"),
        );
    }
    table.finish();
    found
}

fn first_metric(workloads: &[Workload]) -> Option<Response> {
    let workload = workloads.first()?;
    let metric = workload.metrics.first()?;
    Some(Response {
        metric: id(workload, &metric.name),
        goal: metric.goal,
    })
}

fn id(workload: &Workload, metric: &str) -> MetricId {
    MetricId {
        workload: workload.name.clone(),
        metric: metric.to_string(),
    }
}

/// The guards that are right; mistakes are reported for the others.
pub(super) fn guards(
    file: &mut Reader<'_>,
    workloads: &[Workload],
    response: Option<&Response>,
) -> Vec<Guard> {
    let tables = file.take("guard").map_or_else(Vec::new, |f| f.tables(MAX_GUARDS));
    let mut guards: Vec<Guard> = Vec::new();
    for mut table in tables {
        let field = table.required("metric", "name the metric that must not get worse");
        let found = field.as_ref().and_then(|f| metric(f, workloads));
        let margin = table
            .take("margin")
            .map_or(Some(DEFAULT_MARGIN), |f| f.parse("5%"));
        table.finish();
        let (Some(field), Some((metric, goal)), Some(margin)) = (field, found, margin) else {
            continue;
        };
        if response.is_some_and(|r| r.metric == metric) {
            field.wrong(
                "this is the response itself",
                "guard another metric: a winner is better in this one",
            );
        } else if guards.iter().any(|g| g.metric == metric) {
            field.wrong(format!("`{metric}` is guarded twice"), "remove one");
        }
        guards.push(Guard { metric, goal, margin });
    }
    guards
}

/// The metric written `iops` or `fio-randread-4k.iops`, with its own goal.
pub(crate) fn metric(field: &Field<'_>, workloads: &[Workload]) -> Option<(MetricId, Goal)> {
    let text = field.text()?;
    if workloads.is_empty() {
        return None;
    }
    let all: Vec<_> = workloads
        .iter()
        .flat_map(|w| w.metrics.iter().map(move |m| (id(w, &m.name), m.goal)))
        .collect();
    let fits = |id: &MetricId| id.metric == text || id.to_string() == text;
    let found: Vec<_> = all.iter().filter(|(id, _)| fits(id)).collect();
    match found.as_slice() {
        [one] => return Some((*one).clone()),
        [] => {
            let names: Vec<&str> = all.iter().map(|(id, _)| id.metric.as_str()).collect();
            let near = nearest(text, names.iter().copied()).map(|n| format!("did you mean `{n}`? "));
            let listed: Vec<_> = all.iter().map(|(id, _)| id.to_string()).collect();
            field.wrong(
                format!("no workload gives `{}`", one_line(text, 60)),
                format!("{}there are: {}", near.unwrap_or_default(), listed.join(", ")),
            );
        }
        [(first, _), ..] => field.wrong(
            format!("`{text}` is given by several workloads"),
            format!("write it as \"{first}\""),
        ),
    }
    None
}
