//! The lab for real: every kind of address is read, written, read back and restored; workloads run.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/own_lab.rs"]
mod own_lab;

use kvmtune::experiment::Company;
use kvmtune::host::{Host, Job, LocalHost};
use kvmtune::tunable::{Address, Format, level, lookup};
use kvmtune::units::Bytes;
use kvmtune::workload::Side;
use own_lab::OwnLab;
use std::time::{Duration, Instant};

fn job(argv: &[&str]) -> Job {
    Job {
        side: Side::Guest,
        argv: argv.iter().map(ToString::to_string).collect(),
        server: None,
        expected: Duration::from_millis(100),
        limit: Duration::from_secs(20),
        max_output: Bytes(100_000),
        series: None,
        files: Vec::new(),
        drop_caches: kvmtune::workload::DropCaches::Off,
    }
}

#[test]
fn every_kind_of_address_is_proven_and_given_back() {
    let Some(mut lab) = OwnLab::open(&Company::default()) else {
        return;
    };
    sweep_addresses(&mut lab.host);
    flood_and_hang(&mut lab.host);
    let place = lab.place.clone();
    drop(lab);
    assert!(!place.data.exists() && !place.root.exists());
}

fn sweep_addresses(host: &mut LocalHost) {
    let mut facts = host.facts().unwrap();
    eprintln!("{:#?}", facts.record.keys());
    eprintln!(
        "{:?} {:?} {:?}",
        facts.host_disk, facts.guest_disk, facts.guest_modules
    );
    let cases = [
        ("guest.disk.scheduler", "bfq"),
        ("host.disk.scheduler", "mq-deadline"),
        ("domain.cpu.pin", "compact"),
        ("domain.cpu.shares", "512"),
        ("domain.cpu.quota", "50000"),
        ("domain.blkio.weight", "200"),
        ("sysctl:vm.swappiness", "61"),
        ("guest-sysctl:vm.swappiness", "61"),
        ("guest.net.congestion-control", "htcp"),
        ("host.net.tcp-rmem", "4096 131072 33554432"),
        ("guest.thp", "never"),
    ];
    for (name, text) in cases {
        let tunable = lookup(name).unwrap();
        let address = tunable.address(&facts).unwrap();
        let mut wanted = vec![address.clone()];
        wanted.extend(tunable.choices_address(&facts));
        for address in wanted {
            facts
                .readings
                .insert(address.to_string(), host.read(&address).unwrap());
        }
        let level = level(&tunable, text, &facts).unwrap();
        let old: Vec<_> = level
            .settings
            .iter()
            .map(|s| host.read(&s.address).unwrap())
            .collect();
        let started = Instant::now();
        for setting in &level.settings {
            host.write(&setting.address, setting.value.as_str()).unwrap();
        }
        for setting in &level.settings {
            let raw = host.read(&setting.address).unwrap();
            assert_eq!(
                setting.canonical(&raw).as_ref(),
                Some(&setting.value),
                "{name}: {raw}"
            );
        }
        for (setting, old) in level.settings.iter().zip(&old).rev() {
            let before = setting.address.selected(old);
            host.write(&setting.address, before).unwrap();
            let raw = host.read(&setting.address).unwrap();
            assert_eq!(setting.address.selected(&raw), before, "{name}");
        }
        eprintln!("{name} = {text} took {:.1?}", started.elapsed());
    }
}

fn flood_and_hang(host: &mut LocalHost) {
    let done = host.run(&job(&["/bin/echo", "hello"])).unwrap();
    assert_eq!(done.stdout, b"hello\n");
    let flood = host
        .run(&job(&["/bin/dd", "if=/dev/zero", "bs=1M", "count=30"]))
        .unwrap_err();
    assert!(flood.to_string().contains("larger than"), "{flood}");
    let mut hang = job(&["/bin/sleep", "600"]);
    hang.limit = Duration::from_secs(1);
    let hang = host.run(&hang).unwrap_err();
    assert!(hang.guest_lost, "{hang}");
    let escape = Address::GuestFile {
        path: "/sys/../etc/passwd".into(),
        format: Format::Plain,
    };
    assert!(host.read(&escape).is_err());
}
