//! What the host did under each treatment, and which trials it does not bear out. Knows no layout.

use super::{Report, wording};
use crate::analysis;
use crate::design::{Role, Treatment, TreatmentId};
use crate::event::{Outcome, TrialRecord};
use crate::telemetry::{HOST, HostMetric};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// What is shown of the host, with what heads its column.
const SHOWN: [(&str, &str); 9] = [
    ("cpu", "QEMU"),
    ("vcpu_cpu", "vCPUs"),
    ("io_cpu", "I/O threads"),
    ("steal", "steal"),
    ("machine_cpu", "all of the host"),
    ("disk_read_bytes", "disk read"),
    ("disk_write_bytes", "disk written"),
    ("link_from_guest_bytes", "sent by the guest"),
    ("link_to_guest_bytes", "sent to the guest"),
];

/// Medians of one treatment over the judged blocks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct HostRow<'a> {
    #[serde(skip)]
    treatment: &'a Treatment,
    id: &'a str,
    /// By the metric's name.
    medians: BTreeMap<&'static str, f64>,
}

/// One for each treatment of which the host told something.
pub(super) fn rows<'a>(report: &Report<'a>) -> Vec<HostRow<'a>> {
    let mut told = told_by_treatment(report.records);
    let row = |treatment: &'a Treatment| {
        let values = told.remove(&treatment.id).unwrap_or_default().into_iter();
        let medians = values.filter_map(|(name, values)| Some((name, analysis::median(values)?)));
        HostRow {
            treatment,
            id: treatment.id.as_str(),
            medians: medians.collect(),
        }
    };
    let all = report.header.plan.treatments.iter();
    let listed = all.filter(|t| t.role == Role::Listed);
    listed.map(row).filter(|row| !row.medians.is_empty()).collect()
}

/// What is shown of the host in the judged blocks, by treatment and name; each trial is looked at once.
fn told_by_treatment(records: &[TrialRecord]) -> HashMap<&TreatmentId, BTreeMap<&'static str, Vec<f64>>> {
    let mut told: HashMap<_, BTreeMap<&'static str, Vec<f64>>> = HashMap::new();
    for record in records.iter().filter(|r| r.trial.block > 0) {
        let Outcome::Measured { observations, .. } = &record.outcome else {
            continue;
        };
        let own = told.entry(&record.trial.treatment).or_default();
        for observation in observations.iter().filter(|o| o.workload == HOST) {
            if let Some((name, _)) = SHOWN.iter().find(|(name, _)| *name == observation.metric) {
                own.entry(*name).or_default().push(observation.value);
            }
        }
    }
    told
}

/// What some treatment has more than nothing of.
fn shown(rows: &[HostRow<'_>]) -> Vec<&'static (&'static str, &'static str)> {
    let is_told = |name: &str| rows.iter().any(|r| r.medians.get(name).is_some_and(|v| *v > 0.0));
    SHOWN.iter().filter(|(name, _)| is_told(name)).collect()
}

/// The whole numbers of [`table`], without its first column.
pub(super) fn numbers(report: &Report<'_>) -> Vec<Vec<Option<f64>>> {
    let rows = rows(report);
    let shown = shown(&rows);
    let of = |row: &HostRow<'_>| {
        shown
            .iter()
            .map(|(name, _)| row.medians.get(name).copied())
            .collect()
    };
    rows.iter().map(of).collect()
}

/// A table: its header, then the treatment and what was told; what is 0 everywhere is left out.
pub(super) fn table(report: &Report<'_>) -> Option<(Vec<&'static str>, Vec<Vec<String>>)> {
    let rows = rows(report);
    let shown = shown(&rows);
    if rows.is_empty() {
        return None;
    }
    let header = std::iter::once("treatment").chain(shown.iter().map(|(_, title)| *title));
    let cells = |row: &HostRow<'_>| {
        let value = |(name, _): &&(&str, &str)| {
            let unit = HostMetric::named(name).map_or("", |m| m.unit);
            let value = row.medians.get(name);
            value.map_or_else(String::new, |v| told(*v, unit))
        };
        let label = report.label(&row.treatment.id);
        std::iter::once(label).chain(shown.iter().map(value)).collect()
    };
    Some((header.collect(), rows.iter().map(cells).collect()))
}

/// The same as a line for each treatment.
pub(super) fn lines(report: &Report<'_>) -> Vec<String> {
    let Some((header, rows)) = table(report) else {
        return Vec::new();
    };
    let line = |row: Vec<String>| {
        let pairs = header
            .iter()
            .zip(&row)
            .skip(1)
            .filter(|(_, cell)| !cell.is_empty());
        let pairs: Vec<_> = pairs.map(|(title, cell)| format!("{title} {cell}")).collect();
        format!("{}: {}", row[0], pairs.join(", "))
    };
    rows.into_iter().map(line).collect()
}

/// `1.02 CPUs`, `37.2 MB/s`.
fn told(value: f64, unit: &str) -> String {
    match unit {
        "B/s" => format!("{:.1} MB/s", value / 1e6),
        _ => format!("{value:.2} {unit}"),
    }
}

/// How many trials of which treatment are suspect, and why, in words.
pub(super) fn suspects(report: &Report<'_>) -> Vec<String> {
    let of = |treatment: &Treatment| {
        let own = |r: &&TrialRecord| r.trial.block > 0 && r.trial.treatment == treatment.id;
        let measured: Vec<_> = report
            .records
            .iter()
            .filter(own)
            .filter_map(|r| match &r.outcome {
                Outcome::Measured { suspect, .. } => Some(suspect),
                _ => None,
            })
            .collect();
        let why = measured.iter().find_map(|suspect| suspect.first())?;
        let count = measured.iter().filter(|suspect| !suspect.is_empty()).count();
        let (all, are) = (measured.len(), if count == 1 { "is" } else { "are" });
        Some(format!(
            "{count} of {all} trials of {} {are} suspect, and counted all the same: {}",
            report.label(&treatment.id),
            wording::tame(why, wording::SENTENCE)
        ))
    };
    report.header.plan.treatments.iter().filter_map(of).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use crate::event::Outcome;
    use crate::report::fixture::Fixture;
    use crate::report::{html, json, markdown, text};
    use crate::workload::Observation;

    const DOUBT: &str = "fio-randread-4k: fio says it read 1.2 GiB, and in that time the host's disk loop3 gave 0 bytes: a cache <served> it";

    fn observed(metric: &str, value: f64) -> Observation {
        Observation {
            workload: "host".into(),
            metric: metric.into(),
            value,
        }
    }

    #[test]
    fn every_report_tells_what_the_host_did_and_what_is_suspect() {
        let mut fixture = Fixture::quickstart();
        let candidate = fixture.header.plan.treatments[1].id.clone();
        let mut doubted = 0;
        for record in &mut fixture.records {
            let Outcome::Measured {
                observations,
                suspect,
            } = &mut record.outcome
            else {
                continue;
            };
            observations.extend([observed("cpu", 1.25), observed("disk_read_bytes", 37.24e6)]);
            if record.trial.treatment == candidate && record.trial.block > 0 && doubted < 2 {
                suspect.push(DOUBT.into());
                doubted += 1;
            }
        }
        let report = fixture.report();
        let flat = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown = flat(text(&report, 100, false));
        assert!(shown.contains("QEMU 1.25 CPUs, disk read 37.2 MB/s"), "{shown}");
        assert!(
            shown.contains("2 of ") && shown.contains("suspect, and counted"),
            "{shown}"
        );
        assert!(shown.contains("the host's disk loop3 gave 0 bytes"), "{shown}");
        let page = html(&report).unwrap();
        assert!(page.contains("1.25 CPUs") && page.contains("a cache &lt;served&gt; it"));
        let marked = markdown(&report);
        assert!(
            marked.contains("37.2 MB/s") && marked.contains("suspect"),
            "{marked}"
        );
        let document = serde_json::to_value(json(&report)).unwrap();
        assert_eq!(document["host-did"][0]["medians"]["cpu"], 1.25);
        let trials = document["trials"].as_array().unwrap();
        let suspect = trials
            .iter()
            .filter(|t| t["result"]["suspect"].is_array())
            .count();
        assert_eq!(suspect, 2);
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two_middle_ones() {
        let mut fixture = Fixture::quickstart();
        let baseline = fixture.header.plan.treatments[0].id.clone();
        let mut told = [1.0, 4.0].into_iter();
        for record in &mut fixture.records {
            if record.trial.treatment == baseline
                && record.trial.block > 0
                && let Outcome::Measured { observations, .. } = &mut record.outcome
                && let Some(value) = told.next()
            {
                observations.push(observed("cpu", value));
            }
        }
        let report = fixture.report();
        assert_eq!(
            super::rows(&report)[0].medians["cpu"].to_bits(),
            2.5_f64.to_bits()
        );
    }

    #[test]
    fn nothing_is_said_of_a_host_that_was_not_watched() {
        let fixture = Fixture::quickstart();
        let report = fixture.report();
        assert!(!text(&report, 100, false).contains("what the host did"));
        assert!(super::rows(&report).is_empty() && super::suspects(&report).is_empty());
    }
}
