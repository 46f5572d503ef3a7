//! Exports against golden files.

use super::super::Logged;
use super::*;
use std::io::{self, Write};

fn csv_of(store: &Store, run: RunId) -> String {
    let mut out = Vec::new();
    store.export_csv(run, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn csv_has_one_row_an_observation_and_one_a_lost_trial() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    store.record(&finished(1, measured(48_123.75))).unwrap();
    store.record(&finished(2, failed("fio exited with 1"))).unwrap();
    store.record(&finished(3, invalid())).unwrap();
    insta::assert_snapshot!(csv_of(&store, run_id(1)));
}

/// Each has every column, of a simulated run too, which has one more.
#[test]
fn every_row_is_as_long_as_the_header() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let mut header = header(run_id(1), "cache");
    header
        .facts
        .record
        .insert("simulated".into(), "model.toml".into());
    let header = Box::new(header);
    store.record(&Event::RunStarted { header }).unwrap();
    let unsteady = Outcome::Unsteady {
        observations: vec![observation("fio", "iops", 1.0)],
        message: "fio never settled".into(),
    };
    for (order, outcome) in [
        (0, suspect(1.0)),
        (1, unsteady),
        (2, failed("no")),
        (3, invalid()),
    ] {
        store.record(&finished(order, outcome)).unwrap();
    }
    let text = csv_of(&store, run_id(1));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let at = |name| columns.iter().position(|c| c == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let cells = |name| {
        rows.iter()
            .map(|row| row[at(name)].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(cells("outcome"), ["measured", "unsteady", "failed", "invalid"]);
    assert_eq!(cells("suspect"), ["true", "false", "false", "false"]);
    assert_eq!(cells("role"), ["baseline", "candidate", "baseline", "candidate"]);
    assert_eq!(cells("unit"), ["CPUs", "", "", ""]);
    assert!(cells("simulated").iter().all(|model| model == "model.toml"));
}

/// What was stored comes back out of JSON Lines, whatever it is.
#[test]
fn hostile_texts_return_from_json_lines() {
    let hostile = "\u{0}\u{1b}[2J\"\\\r\n\u{2028}\u{202e}\u{feff}</script>=1+1 é 😀";
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let event = finished(1, failed(hostile));
    store.record(&event).unwrap();
    let mut out = Vec::new();
    store.export_json_lines(run_id(1), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        !text.contains(['\u{0}', '\u{1b}', '\r']),
        "control characters are escaped"
    );
    let last: Logged = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let (Event::TrialFinished { record: found }, Event::TrialFinished { record }) = (last.event, event)
    else {
        panic!("{text}");
    };
    assert_eq!(*found, without_raw(*record));
}

#[test]
fn hostile_texts_stay_whole_as_data() {
    let hostile = "=cmd|' /C calc'!A0,\"q\"\r\n@SUM(1)\t\u{1b}[31m ; é";
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    let odd = Outcome::Measured {
        suspect: vec![hostile.into()],
        observations: vec![observation(hostile, "=1+1", 1e-7)],
    };
    store.record(&finished(1, odd)).unwrap();
    store.record(&finished(2, failed(hostile))).unwrap();
    let text = csv_of(&store, run_id(1));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let columns = reader.headers().unwrap().clone();
    let at = |name| columns.iter().position(|c| c == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 4);
    assert_eq!(&rows[2][at("workload")], hostile);
    assert_eq!(&rows[2][at("metric")], "=1+1");
    assert_eq!(rows[2][at("value")].parse(), Ok(1e-7));
    assert_eq!(&rows[2][at("message")], hostile, "why it is suspect");
    assert_eq!(&rows[3][at("message")], hostile);
    assert_eq!(&rows[3][at("value")], "");
}

#[test]
fn json_lines_hold_every_stored_event_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path()).unwrap();
    let run = run_id(1);
    let notice = Event::Notice {
        text: "one line\nor two".into(),
    };
    let events = [
        started(run, "cache"),
        notice,
        finished(0, measured(0.1)),
        Event::RunResumed {
            run,
            done: 1,
            blocks: 2,
        },
        finished(1, invalid()),
        Event::RunFinished { end: End::Complete },
    ];
    for event in &events {
        store.record(event).unwrap();
    }
    let mut out = Vec::new();
    store.export_json_lines(run, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<Logged> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(lines.iter().all(|l| l.run == run));
    assert!(lines.is_sorted_by_key(|l| l.time));
    let expected = events.map(|event| match event {
        Event::TrialFinished { record } => Event::TrialFinished {
            record: Box::new(without_raw(*record)),
        },
        other => other,
    });
    assert_eq!(lines.into_iter().map(|l| l.event).collect::<Vec<_>>(), expected);
}

#[test]
fn the_queries_of_the_readme_give_rows() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store_with(&dir, &[(1, "cache")]);
    for (order, outcome) in [(1, measured(2.0)), (2, measured(3.0)), (3, failed("no"))] {
        store.record(&finished(order, outcome)).unwrap();
    }
    let readme = include_str!("../../../results/README.md");
    let queries: Vec<_> = readme
        .split("```sql\n")
        .skip(1)
        .map(|q| q.split("```").next().unwrap())
        .collect();
    assert!(queries.len() > 2);
    for query in queries {
        let found = store.db.prepare(query).unwrap().exists([]).unwrap();
        assert!(found, "{query}");
    }
}

/// A reader that went away, like `head`.
struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_closed_pipe_is_told_as_such() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache")]);
    let csv = store.export_csv(run_id(1), Closed);
    for result in [csv, store.export_json_lines(run_id(1), Closed)] {
        let Err(StoreError::Output { source }) = result else {
            panic!("{result:?}");
        };
        assert_eq!(source.kind(), io::ErrorKind::BrokenPipe);
    }
}
