//! kvmtune's own program in a guest that is not kvmtune's: brought when a job asks for it, checked, taken away again.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]
#![allow(dead_code, reason = "the daemon's tests share what this one has no use for")]

mod libvirtd;

use kvmtune::host::{Host, Job, JobOutput, LocalHost};
use kvmtune::units::Bytes;
use kvmtune::workload::{DropCaches, Side};
use libvirtd::{Agents, Daemon, User};
use std::sync::Arc;
use std::time::Duration;

fn chase(host: &mut LocalHost, more: &str) -> Result<JobOutput, String> {
    let line = format!("kvmtune-guest at 0 -- kvmtune-guest chase --time 1 {more}");
    let job = Job {
        side: Side::Guest,
        argv: line.split(' ').map(String::from).collect(),
        server: None,
        expected: Duration::from_secs(1),
        limit: Duration::from_mins(1),
        max_output: Bytes::mib(1),
        series: None,
        files: Vec::new(),
        drop_caches: DropCaches::Off,
    };
    host.run(&job).map_err(|e| e.to_string())
}

fn shell(user: &User<'_>, script: &str) -> String {
    let argv = ["/bin/sh", "-c", script];
    let done = user.agent().exec(&argv, None, Duration::from_secs(30)).unwrap();
    String::from_utf8(done.stdout).unwrap()
}

#[test]
fn the_program_is_brought_into_a_guest_that_lacks_it() {
    let Some(daemon) = Daemon::start() else { return };
    // What is in the image must not be what runs.
    let spoilt = ("usr/bin/kvmtune-guest", 0o100_755, &b"no program"[..]);
    let initrd = daemon.initrd_with("initrd", &[spoilt]);
    let user = daemon.define_booting("kt-user", Agents::Willing, &initrd);
    user.boot();
    let open = || LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), Arc::default()).unwrap();
    let brought = || shell(&user, "ls -l /run/kvmtune/");

    let mut host = open();
    let found = host.instance();
    let out = chase(&mut host, "--bytes 64KiB,1MiB --page 4k").unwrap();
    let said = String::from_utf8(out.stdout).unwrap();
    assert!(out.exit == 0 && said.contains("\"latency_64kib_ns\": "), "{said}");
    let listed = brought();
    assert!(
        listed.contains("-rwx------") && listed.contains(" guest-"),
        "{listed}"
    );
    host.give_back(found.as_deref()).unwrap();
    assert!(!brought().contains("guest-"), "taken away again");

    // Of a run that was killed half of it may be there.
    shell(
        &user,
        "f=/run/kvmtune/guest-x; mkdir -p /run/kvmtune; cp /usr/bin/kvmtune-guest $f.new",
    );
    chase(&mut open(), "--bytes 64KiB --page 4k").unwrap();
    shell(
        &user,
        "for f in /run/kvmtune/guest-????*; do echo spoilt > $f; done",
    );
    let out = chase(&mut open(), "--bytes 64KiB --page 2m").unwrap();
    let said = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.exit, 3, "{said}");
    assert!(
        said.contains("0 of the 0 in its pool are free") && said.contains("guest.hugepages.2MiB"),
        "{said}"
    );

    shell(&user, "rm /run/kvmtune/guest-*; mount -o remount,noexec /run");
    let refused = chase(&mut open(), "--bytes 64KiB --page 4k").unwrap_err();
    assert!(refused.contains("mount -o remount,exec /run"), "{refused}");
}
