//! Short TCP connections: connect, one byte there, one byte back, close. A server, and clients that count and time them.
//!
//! Who closes first holds the connection in `TIME_WAIT` for a minute (RFC 9293, 3.6.1): the client, unless the server is
//! told to.

use super::histogram::Histogram;
use super::options::Options;
use super::{Failure, sys};
use std::ffi::c_int;
use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Larger than any `net.core.somaxconn` of use: that setting alone is to decide how many connections may wait.
const BACKLOG: c_int = 65_535;
const MAX_THREADS: u64 = 512;
const MAX_PORTS: u64 = 64;
/// Connections before the clients go on to the next port, all of them, so that they wait in one backlog.
const TURN: usize = 1000;
/// Threads need little: one byte is read and written.
const STACK: usize = 128 << 10;
/// After a failure: a client without ports, or a server without file descriptors, would spin.
const PAUSE: Duration = Duration::from_millis(1);

const KEYS: &[&str] = &[
    "bind", "connect", "port", "ports", "threads", "time", "warmup", "timeout",
];

/// Serves until it is killed, or measures and gives the numbers.
pub(crate) fn run(arguments: &[String]) -> Result<String, Failure> {
    let flags = ["server", "client", "close", "hold"];
    let options = Options::read("connections", arguments, &flags, KEYS)?;
    match (options.has("server"), options.has("client")) {
        (true, false) => {
            allow(&options, &["server", "bind", "port", "ports", "threads", "close"])?;
            serve(&Service::read(&options)?)
        }
        (false, true) => {
            let mine = [
                "client", "connect", "port", "ports", "threads", "time", "warmup", "timeout", "hold",
            ];
            allow(&options, &mine)?;
            measure(&Load::read(&options)?)
        }
        _ => Err(options.wrong("give either --server or --client")),
    }
}

/// An option of the other side would be silently without effect.
fn allow(options: &Options<'_>, mine: &[&str]) -> Result<(), Failure> {
    let all = KEYS.iter().chain(&["close", "hold"]);
    let foreign = all
        .copied()
        .find(|name| options.has(name) && !mine.contains(name));
    foreign.map_or(Ok(()), |name| {
        Err(options.wrong(format_args!("--{name} is an option of the other side")))
    })
}

/// Addresses of one host at ports in a row.
fn addresses(options: &Options<'_>, key: &str) -> Result<Vec<SocketAddr>, Failure> {
    let host: IpAddr = options.parsed(key)?;
    let first = options.number("port", None, 1..=65_535)?;
    let count = options.number("ports", Some(1), 1..=MAX_PORTS)?;
    let ports = first..first + count;
    let address = |port| {
        let port = u16::try_from(port).map_err(|_| options.wrong("--ports ends beyond port 65535"))?;
        Ok(SocketAddr::new(host, port))
    };
    ports.map(address).collect()
}

#[derive(Debug)]
struct Service {
    addresses: Vec<SocketAddr>,
    /// For each port.
    threads: u64,
    /// Close at once after the answer.
    closes: bool,
}

impl Service {
    fn read(options: &Options<'_>) -> Result<Self, Failure> {
        Ok(Self {
            addresses: addresses(options, "bind")?,
            threads: options.number("threads", Some(4), 1..=MAX_THREADS)?,
            closes: options.has("close"),
        })
    }
}

fn serve(service: &Service) -> Result<String, Failure> {
    let listen = |address: &SocketAddr| -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        sys::set_backlog(&listener, BACKLOG)?;
        Ok(listener)
    };
    // The first port is bound last: whoever waits for it finds all of them.
    let mut listeners = Vec::new();
    for address in service.addresses.iter().rev() {
        let made = listen(address);
        listeners.push(made.map_err(|e| Failure::failed(&format!("listen on {address}"), e))?);
    }
    for listener in listeners {
        let listener = Arc::new(listener);
        for _ in 0..service.threads {
            let (listener, closes) = (Arc::clone(&listener), service.closes);
            let started = small_thread().spawn(move || accept(&listener, closes));
            started.map_err(|e| Failure::failed("start a thread; take fewer --threads", e))?;
        }
    }
    loop {
        thread::park();
    }
}

fn small_thread() -> thread::Builder {
    thread::Builder::new().stack_size(STACK)
}

fn accept(listener: &TcpListener, closes: bool) {
    loop {
        let answered = listener
            .accept()
            .and_then(|(mut stream, _)| answer(&mut stream, closes));
        if let Err(error) = answered
            && error.raw_os_error().is_some()
        {
            thread::sleep(PAUSE);
        }
    }
}

/// A client that says nothing must not keep the thread.
const SILENCE: Duration = Duration::from_secs(5);

fn answer(stream: &mut TcpStream, closes: bool) -> io::Result<()> {
    let mut byte = [0];
    stream.set_read_timeout(Some(SILENCE))?;
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)?;
    if !closes {
        // The client's end of file.
        let _ = stream.read(&mut byte)?;
    }
    Ok(())
}

#[derive(Debug)]
struct Load {
    addresses: Vec<SocketAddr>,
    threads: u64,
    time: Duration,
    warmup: Duration,
    timeout: Duration,
    /// Wait for the server to close.
    holds: bool,
}

impl Load {
    fn read(options: &Options<'_>) -> Result<Self, Failure> {
        Ok(Self {
            addresses: addresses(options, "connect")?,
            threads: options.number("threads", Some(16), 1..=MAX_THREADS)?,
            time: Duration::from_secs(options.number("time", None, 1..=86_400)?),
            warmup: Duration::from_secs(options.number("warmup", Some(0), 0..=86_400)?),
            timeout: Duration::from_millis(options.number("timeout", Some(10_000), 1..=600_000)?),
            holds: options.has("hold"),
        })
    }
}

/// What one client, or all of them, saw of the connections that were begun in the measured time.
#[derive(Debug)]
struct Tally {
    latency: Histogram,
    refused: u64,
    reset: u64,
    timed_out: u64,
    no_port: u64,
    other: u64,
    /// The first of the others, in words.
    sample: Option<String>,
}

impl Tally {
    fn new() -> Self {
        Self {
            latency: Histogram::new(),
            refused: 0,
            reset: 0,
            timed_out: 0,
            no_port: 0,
            other: 0,
            sample: None,
        }
    }

    fn fail(&mut self, error: &io::Error) {
        *match error.kind() {
            ErrorKind::ConnectionRefused => &mut self.refused,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof => &mut self.reset,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => &mut self.timed_out,
            ErrorKind::AddrNotAvailable => &mut self.no_port,
            _ => {
                self.sample.get_or_insert_with(|| error.to_string());
                &mut self.other
            }
        } += 1;
    }

    fn merge(&mut self, other: Self) {
        self.latency.merge(&other.latency);
        self.refused += other.refused;
        self.reset += other.reset;
        self.timed_out += other.timed_out;
        self.no_port += other.no_port;
        self.other += other.other;
        self.sample = self.sample.take().or(other.sample);
    }

    fn failures(&self) -> u64 {
        self.refused + self.reset + self.timed_out + self.no_port + self.other
    }

    fn numbers(&self, time: Duration) -> Result<String, Failure> {
        let counts = format!(
            "\"refused\": {}, \"reset\": {}, \"timed_out\": {}, \"no_port\": {}, \"other_failures\": {}",
            self.refused, self.reset, self.timed_out, self.no_port, self.other
        );
        let made = self.latency.count();
        if made == 0 {
            let other = self.sample.as_deref().unwrap_or("none");
            return Err(Failure {
                exit: 1,
                message: format!("not one connection was made: {counts} ({other})").replace('"', ""),
            });
        }
        let mut text = format!(
            "{{\"connections_per_second\": {:.3}, ",
            made as f64 / time.as_secs_f64()
        );
        for (name, nanoseconds) in [
            ("p50_us", self.latency.per_mille(500)),
            ("p99_us", self.latency.per_mille(990)),
            ("p999_us", self.latency.per_mille(999)),
            ("max_us", self.latency.max()),
        ] {
            let _ = write!(text, "\"{name}\": {:.3}, ", nanoseconds as f64 / 1e3);
        }
        let failures = self.failures();
        let _ = write!(
            text,
            "\"served_percent\": {:.4}, \"connections\": {made}, \"failures\": {failures}, {counts}}}",
            made as f64 / (made + failures) as f64 * 100.0
        );
        Ok(text)
    }
}

fn measure(load: &Load) -> Result<String, Failure> {
    let turns = AtomicUsize::new(0);
    let turns = &turns;
    let begin = Instant::now() + load.warmup;
    let end = begin + load.time;
    let tally = thread::scope(|scope| {
        let mut clients = Vec::new();
        for _ in 0..load.threads {
            let started = small_thread().spawn_scoped(scope, move || client(load, turns, begin, end));
            clients.push(started.map_err(|e| Failure::failed("start a thread; take fewer --threads", e))?);
        }
        let mut all = Tally::new();
        for client in clients {
            all.merge(client.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        Ok(all)
    })?;
    tally.numbers(load.time)
}

/// One connection after the other. What was begun in time may end after it, or those that wait longest would be left
/// out.
fn client(load: &Load, turns: &AtomicUsize, begin: Instant, end: Instant) -> Tally {
    let mut tally = Tally::new();
    loop {
        let turn = turns.fetch_add(1, Ordering::Relaxed) / TURN;
        let address = &load.addresses[turn % load.addresses.len()];
        let started = Instant::now();
        if started >= end {
            break;
        }
        match connect(*address, load.timeout, load.holds) {
            Ok(took) if started >= begin => {
                tally
                    .latency
                    .add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
            }
            Ok(_) => {}
            Err(error) => {
                // Also of one begun in the warm-up: where all of them hang, there is no other.
                if Instant::now() >= begin {
                    tally.fail(&error);
                }
                thread::sleep(PAUSE);
            }
        }
    }
    tally
}

/// The time from asking for a connection to the answer on it.
fn connect(address: SocketAddr, timeout: Duration, holds: bool) -> io::Result<Duration> {
    let started = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    let mut byte = [7];
    stream.write_all(&byte)?;
    stream.read_exact(&mut byte)?;
    let took = started.elapsed();
    if holds {
        let _ = stream.read(&mut byte)?;
    }
    Ok(took)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
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
            assert_eq!(found.len(), 13, "{text}");
            assert!((found["served_percent"] - 100.0).abs() < 1e-9, "{text}");
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
            ("served_percent", 12.5),
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
}
