//! Connections over loopback, and options that make no sense.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use std::collections::BTreeMap;

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(String::from).collect()
}

/// A server on a port of its own that ends with the test's process.
fn server(closes: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    sys::set_backlog(&listener, BACKLOG).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || accept(&listener, closes));
    address
}

fn load(address: SocketAddr, holds: bool) -> Load {
    Load {
        addresses: vec![address],
        threads: 3,
        time: Duration::from_millis(200),
        warmup: Duration::from_millis(50),
        timeout: Duration::from_millis(500),
        holds,
    }
}

fn numbers(text: &str) -> BTreeMap<String, f64> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn connections_are_made_and_timed_whoever_closes_first() {
    for closes in [false, true] {
        let text = measure(&load(server(closes), closes)).unwrap();
        let found = numbers(&text);
        assert!(found["connections"] >= 1.0 && found["failures"] == 0.0, "{text}");
        assert!(
            (found["connections_per_second"] - found["connections"] / 0.2).abs() < 0.01,
            "{text}"
        );
        let order = ["p50_us", "p99_us", "p999_us", "max_us"].map(|name| found[name]);
        assert!(order[0] > 0.0 && order.is_sorted(), "{text}");
        assert_eq!(found.len(), 12, "{text}");
    }
}

#[test]
fn a_server_that_does_not_close_is_told_from_one_that_does() {
    let text = measure(&load(server(false), true)).unwrap_err().message;
    assert!(
        text.contains("timed_out: ") && !text.contains("timed_out: 0"),
        "{text}"
    );
}

#[test]
fn where_nobody_listens_all_are_refused_and_there_are_no_numbers() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failure = measure(&load(gone, false)).unwrap_err();
    assert_eq!(failure.exit, 1);
    assert!(
        failure.message.contains("not one connection was made: refused: ")
            && !failure.message.contains("refused: 0"),
        "{failure:?}"
    );
}

#[test]
fn failures_are_counted_by_what_they_are() {
    let mut tally = Tally::new();
    for kind in [
        ErrorKind::ConnectionRefused,
        ErrorKind::ConnectionReset,
        ErrorKind::UnexpectedEof,
        ErrorKind::TimedOut,
        ErrorKind::WouldBlock,
        ErrorKind::AddrNotAvailable,
        ErrorKind::PermissionDenied,
    ] {
        tally.fail(&kind.into());
    }
    let mut all = Tally::new();
    all.latency.add(1_000_000);
    all.merge(tally);
    let found = numbers(&all.numbers(Duration::from_secs(2)).unwrap());
    for (name, count) in [
        ("refused", 1.0),
        ("reset", 2.0),
        ("timed_out", 2.0),
        ("no_port", 1.0),
        ("other_failures", 1.0),
        ("failures", 7.0),
        ("connections_per_second", 0.5),
        ("max_us", 1000.0),
    ] {
        assert!((found[name] - count).abs() < 1e-9, "{name}: {found:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let service = Service {
        addresses: vec![address],
        threads: 1,
        closes: false,
    };
    let failure = serve(&service).unwrap_err();
    assert!(
        failure.message.contains(&format!("listen on {address}")),
        "{failure:?}"
    );
}

#[test]
fn wrong_arguments_are_named() {
    for (line, says) in [
        ("--port 1", "either --server or --client"),
        ("--server --client --port 1", "either --server or --client"),
        ("--server --port 1", "--bind is missing"),
        ("--server --bind localhost --port 1", "--bind \"localhost\""),
        ("--server --bind 127.0.0.1 --port 0", "not from 1 to 65535"),
        ("--server --bind 127.0.0.1 --port 65536", "not from 1 to 65535"),
        (
            "--server --bind 127.0.0.1 --port 65535 --ports 2",
            "beyond port 65535",
        ),
        (
            "--server --bind 127.0.0.1 --port 1 --hold",
            "--hold is an option of the other side",
        ),
        (
            "--client --connect 127.0.0.1 --port 1 --time 1 --close",
            "--close is an option of the other side",
        ),
        ("--client --connect 127.0.0.1 --port 1", "--time is missing"),
        (
            "--client --connect 127.0.0.1 --port 1 --time 0",
            "not from 1 to 86400",
        ),
        (
            "--client --connect 127.0.0.1 --port 1 --time 1 --threads 0",
            "not from 1 to 512",
        ),
        (
            "--client --connect 127.0.0.1 --port 1 --time 1 --threads 513",
            "not from 1 to 512",
        ),
    ] {
        let failure = run(&words(line)).unwrap_err();
        assert!(
            failure.exit == 2 && failure.message.contains(says),
            "{line}: {failure:?}"
        );
    }
}
