//! Several guests of one lab: they start together, compete for one disk, and are gone with the lab, also after a kill;
//! and a long path to one of them.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/own_lab.rs"]
mod own_lab;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "lab_run/place.rs"]
mod place;

use kvmtune::diagnostic::Source;
use kvmtune::event::Outcome;
use kvmtune::experiment::{BARRIER, Company, Guest};
use kvmtune::host::{BesideJob, Host, Job, LocalHost, Power, ServerJob};
use kvmtune::lab::HOST_ADDRESS;
use kvmtune::telemetry::HOST;
use kvmtune::tunable::{Address, Format, lookup};
use kvmtune::units::Bytes;
use kvmtune::workload::{DropCaches, Library, Parser, Side};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use own_lab::OwnLab;
use place::{Place, script, wait_until};
use std::fs;
use std::time::Duration;

/// What starts apart by more did not start together.
const TOGETHER: Duration = Duration::from_millis(50);
/// Round trip of the path, and bits a second it carries.
const RTT: f64 = 0.05;
const RATE: f64 = 50e6;

const COMPANY: &str = r#"
factor = { tunable = "guest.swappiness", levels = [60, 61] }
workload = { use = "fio-randread-4k" }
neighbour = [
    { name = "hog", use = "fio-randread-4k" },
    { name = "second", use = "fio-randwrite-4k" },
]
path = { rtt = "50ms", rate = "50Mbit" }
"#;

fn company() -> Company {
    let source = Source {
        name: "company.toml".into(),
        text: COMPANY.into(),
    };
    let experiment =
        kvmtune::experiment::parse(&source, &Library::builtin()).unwrap_or_else(|e| panic!("{e}"));
    match experiment.guest {
        Guest::Lab { company, .. } => company,
        other => panic!("{other:?}"),
    }
}

fn job(side: Side, argv: &[&str]) -> Job {
    Job {
        side,
        argv: argv.iter().map(ToString::to_string).collect(),
        server: None,
        expected: Duration::from_millis(300),
        limit: Duration::from_secs(30),
        max_output: Bytes(1_000_000),
        series: None,
        files: Vec::new(),
        drop_caches: DropCaches::Off,
    }
}

fn in_guest(host: &mut LocalHost, argv: &[&str]) -> String {
    let done = host.run(&job(Side::Guest, argv)).unwrap();
    assert_eq!(
        done.exit,
        0,
        "{argv:?}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8_lossy(&done.stdout).into_owned()
}

#[test]
fn guests_start_together_and_a_long_path_is_one() {
    let Some(mut lab) = OwnLab::open(&company()) else {
        return;
    };
    let id = lab.place.id.clone();
    let host = &mut lab.host;
    let disks = in_guest(host, &["blockdev", "--getsize64", "/dev/kvmtune-data"]);
    assert_eq!(disks.trim(), (64 << 20).to_string(), "its part of the one disk");
    they_start_together(host);
    a_setting_of_a_neighbour_is_its_own(host);
    the_path_is_as_long_and_narrow_as_asked(host);
    the_buffer_limits_what_is_in_flight(host);
    guests_reach_each_other_by_the_bridge(host);
    a_neighbour_that_dies_fails_the_job_and_comes_back(host, &id);
    drop(lab);
    assert_eq!(processes_of(&id), Vec::<i32>::new());
}

fn beside(argv: &[&str]) -> [BesideJob; 2] {
    ["hog", "second"].map(|name| BesideJob {
        neighbour: name.into(),
        job: job(Side::Guest, argv),
    })
}

fn they_start_together(host: &mut LocalHost) {
    let mut skews: Vec<Duration> = (0..7)
        .map(|_| {
            let own = job(Side::Guest, &["sh", "-c", "sleep 0.3; hostname"]);
            let done = host.run_together(&own, &beside(&["sh", "-c", "sleep 0.3; cat /proc/cmdline"]));
            let done = done.unwrap();
            // Each ran in its own guest, and each output is at its place.
            for (output, address) in done.beside.iter().zip(["10.77.0.3/", "10.77.0.4/"]) {
                let said = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(said.contains(address), "{said}");
            }
            assert!(
                done.output.wall >= Duration::from_millis(250),
                "{:?}",
                done.output.wall
            );
            done.skew
        })
        .collect();
    skews.sort();
    eprintln!("starts of three guests were apart by {skews:.1?}");
    assert!(skews[3] < TOGETHER, "{skews:?}");
    assert!(
        skews[6] > Duration::ZERO,
        "clocks of three guests are never equal"
    );
}

fn a_setting_of_a_neighbour_is_its_own(host: &mut LocalHost) {
    let facts = host.facts().unwrap();
    let address = |name: &str| lookup(name).unwrap().address(&facts).unwrap();
    let (own, other) = (
        address("domain.cpu.quota"),
        address("neighbour:hog/domain.cpu.quota"),
    );
    let before = host.read(&own).unwrap();
    host.write(&other, "30000").unwrap();
    assert_eq!(host.read(&other).unwrap(), "30000");
    assert_eq!(host.read(&own).unwrap(), before);
    assert_ne!(host.scope(&other).unwrap(), host.scope(&own).unwrap());
    host.write(&other, "-1").unwrap();
    assert!(host.read(&address("neighbour:nobody/domain.cpu.quota")).is_err());
}

fn the_path_is_as_long_and_narrow_as_asked(host: &mut LocalHost) {
    let address = HOST_ADDRESS.to_string();
    let said = in_guest(host, &["busybox", "ping", "-c", "5", "-q", &address]);
    let shortest: f64 = said
        .split_once("min/avg/max = ")
        .and_then(|(_, rest)| rest.split('/').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert!((49.0..100.0).contains(&shortest), "{said}");
    let carried = stream(host);
    eprintln!(
        "round trip {shortest} ms, {:.1} Mbit/s of {:.0}",
        carried / 1e6,
        RATE / 1e6
    );
    assert!((RATE / 2.0..RATE * 1.05).contains(&carried), "{carried}");
}

/// Bits a second of one stream from the host into the guest.
fn stream(host: &mut LocalHost) -> f64 {
    let mut stream = job(
        Side::Host,
        &["iperf3", "-c", "10.77.0.2", "-t", "4", "-O", "2", "--json"],
    );
    stream.server = Some(ServerJob {
        side: Side::Guest,
        argv: ["iperf3", "-s", "-B", "10.77.0.2"].map(String::from).to_vec(),
        port: 5201,
    });
    let done = host.run(&stream).unwrap();
    let numbers = Parser::Iperf3.parse(&done.stdout).unwrap();
    let found = numbers.iter().find(|(name, _)| name == "bits_per_second");
    found.unwrap().1
}

/// Of a receive buffer the kernel announces half as the window (`tcp_adv_win_scale` 1): a stream carries a window a
/// round trip.
fn the_buffer_limits_what_is_in_flight(host: &mut LocalHost) {
    let buffer = Address::GuestFile {
        path: "/proc/sys/net/ipv4/tcp_rmem".into(),
        format: Format::Plain,
    };
    let before = host.read(&buffer).unwrap();
    host.write(&buffer, "4096 131072 131072").unwrap();
    let carried = stream(host);
    let predicted = 131_072.0 / 2.0 * 8.0 / RTT;
    eprintln!(
        "a buffer of 128 KiB carries {:.1} Mbit/s, {:.1} predicted",
        carried / 1e6,
        predicted / 1e6
    );
    assert!((predicted / 2.0..predicted * 2.0).contains(&carried), "{carried}");
    host.write(&buffer, before.trim()).unwrap();
}

/// Not by the router, whose path would carry 50 Mbit/s.
fn guests_reach_each_other_by_the_bridge(host: &mut LocalHost) {
    let mut between = job(Side::Guest, &["iperf3", "-c", "10.77.0.3", "-t", "2", "--json"]);
    between.server = Some(ServerJob {
        side: Side::Neighbour,
        argv: ["iperf3", "-s", "-B", "10.77.0.3"].map(String::from).to_vec(),
        port: 5201,
    });
    let done = host.run(&between).unwrap();
    let numbers = Parser::Iperf3.parse(&done.stdout).unwrap();
    let carried = numbers
        .iter()
        .find(|(name, _)| name == "bits_per_second")
        .unwrap()
        .1;
    eprintln!("{:.0} Mbit/s between guests", carried / 1e6);
    assert!(carried > RATE * 1.5, "{carried}");
}

fn a_neighbour_that_dies_fails_the_job_and_comes_back(host: &mut LocalHost, id: &str) {
    let hog = processes_of(&format!("guest=kvmtune-{id}-hog,"));
    assert_eq!(hog.len(), 1, "{hog:?}");
    kill(Pid::from_raw(hog[0]), Signal::SIGKILL).unwrap();
    let own = job(Side::Guest, &["sleep", "0.1"]);
    let error = host.run_together(&own, &beside(&["sleep", "0.1"])).unwrap_err();
    assert!(error.guest_lost && error.to_string().contains("hog"), "{error}");
    host.power(Power::Off).unwrap();
    host.power(Power::On).unwrap();
    host.run_together(&own, &beside(&["sleep", "0.1"])).unwrap();
}

/// Processes with `text` in their arguments.
fn processes_of(text: &str) -> Vec<i32> {
    let pids = place::entries("/proc").filter_map(|p| p.file_name()?.to_str()?.parse().ok());
    pids.filter(|pid| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains(text)
    })
    .collect()
}

/// A run with neighbours stores what each gave; killed, it leaves nothing of any of its guests.
#[test]
fn numbers_of_neighbours_are_stored_and_a_kill_leaves_none_of_them() {
    let experiment = r#"
        seed = 1
        factor = { tunable = "neighbour:hog/domain.cpu.shares", levels = [512], baseline = 1024 }
        workload = { use = "load" }
        neighbour = [{ name = "hog", use = "load" }, { name = "second", use = "load" }]
        design = { blocks = 100, confirm = false }
        derived = { name = "fairness", fairness = ["load.iops", "hog.iops", "second.iops"], unit = "1", goal = "maximize" }
        response = { metric = "fairness" }
        guard = { metric = "hog.iops", margin = "50%" }
    "#;
    let Some(place) = Place::new(experiment, &script("sleep {time}; n=1000;")) else {
        return;
    };
    let run = place.start(&["run", "experiment.toml"]);
    wait_until("four trials", || {
        place.has_a_run() && place.all_records().len() >= 4
    });
    let id = place.lab().unwrap();
    run.signal(Signal::SIGKILL);
    drop(run);
    for record in place.all_records() {
        let Outcome::Measured { observations, .. } = &record.outcome else {
            panic!("{record:#?}")
        };
        let by = observations.iter().map(|o| o.workload.as_str());
        let by: Vec<_> = by.filter(|name| *name != HOST).collect();
        assert_eq!(by, ["load", BARRIER, "hog", "second"]);
        let skew = observations[1].value;
        assert!((0.0..=250.0).contains(&skew), "{skew}");
    }
    wait_until("the watchman's work", || {
        fs::read(place.path().join("state/journal.jsonl")).map_or(true, |journal| journal.is_empty())
    });
    let mut left = place.remains(&id);
    for _ in 0..100 {
        if left.is_empty() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        left = place.remains(&id);
    }
    assert_eq!(left, Vec::<String>::new());
}
