//! Several guests of one lab: they start together, share one disk, and are gone with the lab; and a long path to one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use kvmtune::experiment::{Company, Guest, LongPath};
use kvmtune::host::{BesideJob, Host, Job, LocalHost, Power};
use kvmtune::lab::{LabPlace, LabSize, take_down};
use kvmtune::units::{Bytes, Percent, Span};
use kvmtune::workload::Side;
use std::time::{Duration, Instant};

fn job(argv: &[&str]) -> Job {
    Job {
        side: Side::Guest,
        argv: argv.iter().map(ToString::to_string).collect(),
        server: None,
        expected: Duration::from_millis(500),
        limit: Duration::from_secs(20),
        max_output: Bytes(100_000),
        series: None,
    }
}

#[test]
fn scratch() {
    if !common::lab_is_possible() {
        return;
    }
    let text = r#"
        factor = { tunable = "guest.swappiness", levels = [60, 61] }
        workload = { use = "fio-randread-4k" }
        neighbour = [ { name = "hog", use = "fio-randread-4k" }, { name = "second", use = "fio-randwrite-4k" } ]
        path = { rtt = "50ms", loss = "0.1%", rate = "50Mbit" }
    "#;
    let source = kvmtune::diagnostic::Source { name: "x.toml".into(), text: text.into() };
    let experiment = kvmtune::experiment::parse(&source, &kvmtune::workload::Library::builtin())
        .unwrap_or_else(|e| panic!("{e}"));
    let Guest::Lab { company, .. } = experiment.guest else { panic!() };
    let state = tempfile::tempdir().unwrap();
    let place = LabPlace::new(state.path());
    let size = LabSize { vcpus: 2, memory: Bytes::mib(512), disk: Bytes::mib(64) };
    let mut host = LocalHost::lab_with(&place, size, &company, &common::cache(), std::sync::Arc::default()).unwrap();
    let started = Instant::now();
    let on = host.power(Power::On);
    eprintln!("ready in {:.2?} {on:?}", started.elapsed());
    if on.is_ok() {
        for n in 0..10 {
            let clock = Instant::now();
            let beside = ["hog", "second"].map(|n| BesideJob { neighbour: n.into(), job: job(&["sleep", "0.5"]) });
            let done = host.run_together(&job(&["sleep", "0.5"]), &beside);
            match done {
                Ok(done) => eprintln!("{n}: skew {:?} wall {:?} took {:?}", done.skew, done.output.wall, clock.elapsed()),
                Err(e) => eprintln!("{n}: {e}"),
            }
        }
        for argv in [vec!["tc", "-s", "qdisc"], vec!["busybox", "ping", "-c", "5", "-q", "10.77.0.1"], vec!["blockdev", "--getsize64", "/dev/vdb"], vec!["ip", "route"]] {
            let done = host.run(&job(&argv));
            eprintln!("{argv:?}: {}", done.map(|d| String::from_utf8_lossy(&d.stdout).into_owned() + &String::from_utf8_lossy(&d.stderr)).unwrap_or_else(|e| e.to_string()));
        }
        let clock = Instant::now();
        let mut net = job(&["iperf3", "-c", "10.77.0.2", "-t", "5", "-J"]);
        net.side = Side::Host;
        net.server = Some(kvmtune::host::ServerJob { side: Side::Guest, argv: ["iperf3", "-s", "-1"].map(String::from).to_vec(), port: 5201 });
        let done = host.run(&net);
        match done {
            Ok(d) => { let s = String::from_utf8_lossy(&d.stdout).into_owned(); let i = s.find("\"sum_received\"").unwrap_or(0); eprintln!("{}", &s[i..]) }
            Err(e) => eprintln!("{e}"),
        }
        eprintln!("{:?}", clock.elapsed());
    }
    host.power(Power::Off).unwrap();
    host.dismiss_company();
    drop(host);
    take_down(&place).unwrap();
}
