//! Runs the built-in workloads with the real tool, on loopback and a scratch file, where the tool is installed; says of
//! the others why not.

use kvmtune::host::{JOB_FOLDER, JobOutput, RESULT_FILE, SERIES_FILE};
use kvmtune::units::Span;
use kvmtune::workload::{Library, Moved, Parser, Places, SteadyRule};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

fn installed(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if found.is_err() {
        let must = std::env::var_os("KVMTUNE_REQUIRE_LAB").is_some();
        assert!(!must || OPT_IN.contains(&program), "{program} is not installed");
        eprintln!("skipped: {program} is not installed");
    }
    found.is_ok()
}

/// Programs of applications, which nobody needs for the others.
const OPT_IN: [&str; 2] = ["redis-benchmark", "redis-server"];

/// What the tests here run.
const TRIED: [&str; 22] = [
    "cyclictest",
    "fio-fsync-4k",
    "fio-randread-4k",
    "fio-randread-4k-qd1",
    "fio-randrw-4k",
    "fio-randwrite-4k",
    "fio-randwrite-4k-qd1",
    "fio-seqread-1m",
    "fio-seqwrite-1m",
    "hackbench",
    "iperf3-guest-to-host",
    "iperf3-guest-to-host-4",
    "iperf3-host-to-guest",
    "iperf3-loaded-rtt",
    "iperf3-udp-host-to-guest",
    "mbw",
    "redis-get",
    "sockperf-ping-pong",
    "stress-ng-memory",
    "stress-ng-memrate",
    "sysbench-cpu",
    "sysbench-memory",
];

/// What they do not, and why.
const EXCEPTED: [(&str, &str); 11] = [
    ("connection-rate", "kvmtune's own program: lab_run"),
    ("connection-rate-guest-to-host", "the same"),
    ("iperf3-guest-to-guest", "takes two guests"),
    (
        "iperf3-host-to-guest-4",
        "the other way of -guest-to-host-4; lab_tools",
    ),
    (
        "iperf3-udp-guest-to-host",
        "the other way of -host-to-guest; lab_tools",
    ),
    ("memory-latency", "kvmtune's own program: guest_program"),
    ("memory-latency-1g", "takes a pool of 1 GiB pages"),
    ("memory-latency-2m", "takes a pool of 2 MiB pages: lab_run"),
    ("memory-latency-any", "the same"),
    ("nginx-wrk", "takes a web server of the user's"),
    ("pgbench", "takes a database of the user's"),
];

#[test]
fn every_built_in_workload_is_tried_or_has_a_reason_not_to_be() {
    let excepted = EXCEPTED.iter().map(|(name, reason)| {
        assert!(!reason.is_empty(), "{name}");
        *name
    });
    let mut all: Vec<_> = TRIED.into_iter().chain(excepted).collect();
    all.sort_unstable();
    let names: Vec<_> = Library::builtin().names().map(str::to_string).collect();
    assert_eq!(all, names);
}

/// Runs the workload for `secs`, all of it on this machine, and gives the names it observed.
fn measure(name: &str, secs: u64) -> Result<(), Failure> {
    assert!(TRIED.contains(&name), "{name} is not among the tried");
    let mut workload = Library::builtin().get(name).ok_or("no such workload")?.clone();
    let own = workload
        .argv
        .iter()
        .find(|word| !word.contains('=') && *word != "env")
        .ok_or("no program")?;
    let server = workload.server.iter().map(|server| &server.argv[0]);
    if !server.chain([own]).all(|program| installed(program)) {
        return Ok(());
    }
    workload.time = Span::secs(secs);
    workload.warmup = Span::secs(0);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let file = |name| folder.path().join(name).to_string_lossy().into_owned();
    let loopback = "127.0.0.1".to_string();
    let places = Places {
        scratch: file("scratch.dat"),
        guest_address: loopback.clone(),
        host_address: loopback,
        ..Places::default()
    };
    let job = workload.job(&places);
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let own = workload.server.as_ref().map(|server| server.port.to_string());
    let local = |argv: &[String]| -> Vec<String> {
        let place = |a: &String| {
            if own.as_ref() == Some(a) {
                port.to_string()
            } else {
                a.replace(RESULT_FILE, &file("result"))
                    .replace(SERIES_FILE, &file("series"))
                    .replace(JOB_FOLDER, &folder.path().to_string_lossy())
            }
        };
        argv.iter().map(place).collect()
    };
    let prepare = workload.prepare_job(&places);
    for job in [&job].into_iter().chain(&prepare) {
        for placed in &job.files {
            std::fs::write(file(&placed.name), &placed.text)?;
        }
    }
    if let Some(prepare) = &prepare {
        let argv = local(&prepare.argv);
        let done = Command::new(&argv[0]).args(&argv[1..]).output()?;
        assert!(done.status.success(), "{done:?}");
    }
    let mut server = match &job.server {
        Some(server) => Some(serve(&local(&server.argv), port)?),
        None => None,
    };
    let argv = local(&job.argv);
    let done = Command::new(&argv[0]).args(&argv[1..]).output()?;
    if let Some(server) = &mut server {
        server.kill()?;
        server.wait()?;
    }
    let out = JobOutput {
        exit: done.status.code().unwrap_or(-1),
        stdout: done.stdout,
        stderr: done.stderr,
        result: std::fs::read(file("result")).ok(),
        series: job.series.as_ref().map(|path| {
            let read = std::fs::read(path.replace(SERIES_FILE, &file("series")));
            read.map_err(|e| e.to_string())
        }),
        ..JobOutput::default()
    };
    let found = workload.observations(&out)?;
    assert_eq!(found.len(), workload.metrics.len(), "{found:?}");
    assert!(found[0].value > 0.0, "{found:?}");
    if workload.parser == Parser::Fio {
        let moved = workload.moved(&out);
        assert!(
            matches!(moved, Some(Moved::Disk { read, written, .. }) if read + written > 4096.0),
            "{moved:?}"
        );
    }
    if workload.steady != SteadyRule::Off {
        let samples = workload.samples(&out)?.unwrap_or_default();
        // fio may leave out the last.
        assert!(samples.len() as u64 + 1 >= secs, "{samples:?}");
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        let metric = workload.parser.sampled_metric();
        let metric = found.iter().find(|o| Some(o.metric.as_str()) == metric);
        let metric = metric.ok_or("the sampled metric is not declared")?.value;
        assert!((0.5..2.0).contains(&(mean / metric)), "{mean}: {found:?}");
    }
    Ok(())
}

fn serve(argv: &[String], port: u16) -> Result<Child, Failure> {
    let mut child = Command::new(&argv[0])
        .args(&argv[1..])
        .stdout(Stdio::null())
        .spawn()?;
    for _ in 0..200 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            // iperf3 drops this connection and needs a moment to listen for the next test.
            std::thread::sleep(Duration::from_millis(300));
            return Ok(child);
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    child.kill()?;
    child.wait()?;
    Err("the server never listened".into())
}

#[test]
fn fio_random_reads() -> Result<(), Failure> {
    measure("fio-randread-4k", 3)
}

#[test]
fn fio_random_writes() -> Result<(), Failure> {
    measure("fio-randwrite-4k", 3)
}

#[test]
fn fio_job_files() -> Result<(), Failure> {
    measure("fio-randread-4k-qd1", 2)?;
    measure("fio-randwrite-4k-qd1", 2)?;
    measure("fio-randrw-4k", 3)?;
    measure("fio-seqread-1m", 2)?;
    measure("fio-seqwrite-1m", 2)?;
    measure("fio-fsync-4k", 2)
}

#[test]
fn iperf3_both_ways() -> Result<(), Failure> {
    measure("iperf3-host-to-guest", 2)?;
    measure("iperf3-guest-to-host", 2)
}

#[test]
fn stress_ng_stream() -> Result<(), Failure> {
    measure("stress-ng-memory", 7)
}

#[test]
fn stress_ng_memrate() -> Result<(), Failure> {
    measure("stress-ng-memrate", 2)
}

#[test]
fn iperf3_of_several_streams_and_of_datagrams() -> Result<(), Failure> {
    measure("iperf3-guest-to-host-4", 2)?;
    measure("iperf3-loaded-rtt", 2)?;
    measure("iperf3-udp-host-to-guest", 2)
}

#[test]
fn sockperf_ping_pong() -> Result<(), Failure> {
    measure("sockperf-ping-pong", 2)
}

/// Real-time priority takes root.
#[test]
fn cyclictest_and_hackbench() -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() {
        measure("cyclictest", 2)?;
    }
    measure("hackbench", 1)
}

#[test]
fn sysbench_and_mbw() -> Result<(), Failure> {
    measure("sysbench-cpu", 1)?;
    measure("sysbench-memory", 1)?;
    measure("mbw", 1)
}

#[test]
fn redis_get() -> Result<(), Failure> {
    measure("redis-get", 1)
}
