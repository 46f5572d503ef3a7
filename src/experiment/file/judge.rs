//! What is judged: the `[[derived]]`, `[[response]]` and `[[guard]]` tables.

use super::{MAX_DERIVED, MAX_GUARDS, MAX_RESPONSES};
use crate::decode::{Field, Reader, is_name};
use crate::diagnostic::one_line;
use crate::experiment::{
    DERIVED, Derived, Formula, Goal, Guard, Guest, MetricId, Response, WEIGHTED, Weighed, Weight,
};
use crate::telemetry::{self, HOST};
use crate::tunable::nearest;
use crate::units::Percent;
use crate::workload::Workload;

const DEFAULT_MARGIN: Percent = Percent(5.0);
const GOALS: [(&str, Goal); 2] = [("maximize", Goal::Maximize), ("minimize", Goal::Minimize)];

/// A metric that can be named, with its direction.
pub(crate) type Known = (MetricId, Goal);

/// Every metric of the workloads, and those derived from them.
pub(crate) fn metrics(workloads: &[Workload], derived: &[Derived]) -> Vec<Known> {
    let own = workloads
        .iter()
        .flat_map(|w| w.metrics.iter().map(move |m| (id(&w.name, &m.name), m.goal)));
    let derived = derived.iter().map(|d| (id(DERIVED, &d.name), d.goal));
    own.chain(derived).collect()
}

/// Those, and after them what a host with this guest tells of itself.
pub(super) fn with_host(mut metrics: Vec<Known>, guest: Option<&Guest>) -> Vec<Known> {
    // While the workloads are wrong nothing is said of metrics.
    if !metrics.is_empty() {
        metrics.extend(telemetry::known(guest));
    }
    metrics
}

fn id(workload: &str, metric: &str) -> MetricId {
    MetricId {
        workload: workload.to_string(),
        metric: metric.to_string(),
    }
}

/// The derived metrics that are right; mistakes are reported for the others.
pub(super) fn derived(file: &mut Reader<'_>, workloads: &[Workload], guest: Option<&Guest>) -> Vec<Derived> {
    let tables = file
        .take("derived")
        .map_or_else(Vec::new, |f| f.tables(MAX_DERIVED));
    let known = with_host(metrics(workloads, &[]), guest);
    let mut all: Vec<Derived> = Vec::new();
    for mut table in tables {
        let name_field = table.required("name", "name the metric, such as \"iops_per_cpu\"");
        let name = name_field
            .as_ref()
            .and_then(|f| f.text_if(is_name, "letters, digits, `-` and `_`, at most 64"));
        let unit = table
            .required("unit", "write its unit, such as \"1/s\"")
            .and_then(|f| f.text_if(is_unit, "at most 16 characters"));
        let goal = table
            .required("goal", "write goal = \"maximize\" or goal = \"minimize\"")
            .and_then(|f| f.word(&GOALS));
        let formula = formula(&mut table, &known);
        table.finish();
        let (Some(field), Some(name), Some(unit), Some(goal), Some(formula)) =
            (name_field, name, unit, goal, formula)
        else {
            continue;
        };
        if all.iter().any(|d| d.name == name) {
            field.wrong(format!("`{name}` is derived twice"), "remove one");
        }
        all.push(Derived {
            name: name.to_string(),
            unit: unit.to_string(),
            goal,
            formula,
        });
    }
    all
}

fn is_unit(text: &str) -> bool {
    text.len() <= 16 && !text.chars().any(char::is_control)
}

/// The one formula of a derived metric.
fn formula(table: &mut Reader<'_>, known: &[Known]) -> Option<Formula> {
    let span = table.span();
    let given: Vec<_> = ["ratio", "product", "sum", "fairness"]
        .into_iter()
        .filter_map(|key| Some((key, table.take(key)?)))
        .collect();
    let [(key, field)] = given.as_slice() else {
        let message = format!("a derived metric has one formula, not {}", given.len());
        let mistake = crate::diagnostic::Diagnostic::at(span, message);
        table
            .mistakes()
            .add(mistake.hint("write ratio = [\"iops\", \"clat_mean_us\"], or product, sum or fairness"));
        return None;
    };
    let fields = field.list(8, "[\"iops\", \"clat_mean_us\"]")?;
    let named: Vec<_> = fields.iter().map(|f| metric(f, known)).collect();
    let all: Vec<MetricId> = named
        .into_iter()
        .collect::<Option<Vec<_>>>()?
        .into_iter()
        .map(|k| k.0)
        .collect();
    match (*key, all.as_slice()) {
        ("ratio", [over, under]) => Some(Formula::Ratio(over.clone(), under.clone())),
        ("ratio", _) => {
            field.wrong(
                "a ratio is of two metrics",
                "write ratio = [\"above\", \"below\"]",
            );
            None
        }
        ("fairness", [_]) => {
            field.wrong(
                "fairness is of two metrics or more",
                "name what each guest gets: fairness = [\"iops\", \"hog.iops\"]",
            );
            None
        }
        ("product", _) => Some(Formula::Product(all)),
        ("fairness", _) => Some(Formula::Fairness(all)),
        _ => Some(Formula::Sum(all)),
    }
}

/// The responses; by default the first metric of the first workload. Nothing is said of metrics while the
/// workloads themselves are wrong.
///
/// Where they have weights, what they count is given beside them.
pub(super) fn responses(
    file: &mut Reader<'_>,
    known: &[Known],
    derived: &[Derived],
) -> (Vec<Response>, Option<Vec<Weighed>>) {
    let first = known.first().map(|(metric, goal)| Response {
        metric: metric.clone(),
        goal: *goal,
    });
    let Some(field) = file.take("response") else {
        return (first.into_iter().collect(), None);
    };
    let mut responses: Vec<Response> = Vec::new();
    let mut weights: Vec<Option<Weight>> = Vec::new();
    for table in field.tables(MAX_RESPONSES) {
        let span = table.span();
        let Some((response, weight)) = response(table, known, first.as_ref()) else {
            continue;
        };
        if responses.iter().any(|r| r.metric == response.metric) {
            let message = format!("`{}` is a response twice", response.metric);
            field.mistake(crate::diagnostic::Diagnostic::at(span, message).hint("remove one"));
        }
        responses.push(response);
        weights.push(weight);
    }
    let weighed = weighed(&field, &responses, &weights, derived);
    (responses, weighed)
}

/// All responses have weights, or none has.
fn weighed(
    field: &Field<'_>,
    responses: &[Response],
    weights: &[Option<Weight>],
    derived: &[Derived],
) -> Option<Vec<Weighed>> {
    if weights.iter().all(Option::is_none) {
        return None;
    }
    let with_weight = responses.iter().zip(weights).map(|(response, weight)| {
        Some(Weighed {
            metric: response.metric.clone(),
            goal: response.goal,
            weight: (*weight)?,
        })
    });
    let all: Option<Vec<_>> = with_weight.collect();
    match &all {
        None => field.wrong(
            "some responses have a weight and some have none",
            "weigh all, or none",
        ),
        Some(all) if all.len() < 2 => field.wrong("one response needs no weight", "remove the weight"),
        Some(_) if derived.iter().any(|d| d.name == WEIGHTED) => field.wrong(
            format!("weighted responses become the metric `{WEIGHTED}`, and one of that name is derived"),
            "call the derived metric something else",
        ),
        Some(_) => {}
    }
    all
}

fn response(
    mut table: Reader<'_>,
    known: &[Known],
    first: Option<&Response>,
) -> Option<(Response, Option<Weight>)> {
    let named = table.take("metric");
    let found = match &named {
        Some(field) => metric(field, known).map(|(metric, goal)| Response { metric, goal }),
        None => first.cloned(),
    };
    let weight = table.take("weight").and_then(|field| weight(&field));
    let goal_field = table.take("goal");
    if let Some(field) = goal_field
        && let Some(goal) = field.word(&GOALS)
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
    Some((found?, weight))
}

fn weight(field: &Field<'_>) -> Option<Weight> {
    let weight = Weight::new(field.number()?);
    if weight.is_none() {
        field.wrong("a weight is from 0.001 to 1000", "write weight = 2");
    }
    weight
}

/// The guards that are right; mistakes are reported for the others.
pub(super) fn guards(file: &mut Reader<'_>, known: &[Known], responses: &[Response]) -> Vec<Guard> {
    let tables = file.take("guard").map_or_else(Vec::new, |f| f.tables(MAX_GUARDS));
    let mut guards: Vec<Guard> = Vec::new();
    for mut table in tables {
        let field = table.required("metric", "name the metric that must not get worse");
        let found = field.as_ref().and_then(|f| metric(f, known));
        let margin = table
            .take("margin")
            .map_or(Some(DEFAULT_MARGIN), |f| f.parse("5%"));
        table.finish();
        let (Some(field), Some((metric, goal)), Some(margin)) = (field, found, margin) else {
            continue;
        };
        if responses.iter().any(|r| r.metric == metric) {
            field.wrong(
                "this is a response itself",
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
pub(crate) fn metric(field: &Field<'_>, all: &[Known]) -> Option<Known> {
    let text = field.text()?;
    if all.is_empty() {
        return None;
    }
    // Those of the host have their whole name only: else they would take the names of others.
    let fits = |id: &MetricId| id.metric == text && id.workload != HOST || id.to_string() == text;
    let found: Vec<_> = all.iter().filter(|(id, _)| fits(id)).collect();
    match found.as_slice() {
        [one] => return Some((*one).clone()),
        [] => {
            let of_host = text.strip_prefix(HOST).is_some_and(|rest| rest.starts_with('.'));
            let such: Vec<_> = all
                .iter()
                .filter(|(id, _)| (id.workload == HOST) == of_host)
                .collect();
            let listed: Vec<_> = such.iter().map(|(id, _)| id.to_string()).collect();
            let names: Vec<&str> = if of_host {
                listed.iter().map(String::as_str).collect()
            } else {
                such.iter().map(|(id, _)| id.metric.as_str()).collect()
            };
            let near = nearest(text, names.iter().copied()).map(|n| format!("did you mean `{n}`? "));
            let whose = if of_host {
                "the host tells no"
            } else {
                "no workload gives"
            };
            field.wrong(
                format!("{whose} `{}`", one_line(text, 60)),
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
