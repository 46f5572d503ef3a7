//! A host that is really booted again: what a killed run leaves there, and what a changed command line gives.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/proven.rs"]
mod proven;
mod stage;

use kvmtune::experiment::Guest;
use kvmtune::store::Store;
use kvmtune::tunable::{Address, Format, Kind, Setting};
use stage::{Init, LabHost, said};
use std::path::Path;
use std::time::{Duration, Instant};

/// On the lab host's disk.
const FOLDER: &str = "/srv/run";
const PRESSURE: &str = "/proc/sys/vm/vfs_cache_pressure";
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_available_congestion_control";
const CONNTRACK: &str = "/proc/sys/net/netfilter/nf_conntrack_max";
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
const LIMIT: Duration = Duration::from_mins(3);
/// A guest that does not come up is given up by the run, which says so, before this.
const RUN_LIMIT: Duration = Duration::from_mins(8);

const EXPERIMENT: &str = r#"
factor = { tunable = "sysctl:vm.vfs_cache_pressure", levels = [100, 117] }
guest = { memory = "256MiB", disk = "160MiB" }
workload = { use = "load" }
design = { blocks = 2 }
"#;

/// Prints what fio would of one IOPS. Braces are placeholders in a workload file, hence the octal ones.
const WORKLOAD: &str = r#"
summary = "a script"
run = "guest"
argv = ["sh", "-c", '''sleep 3; printf '\173"jobs":[\173"error":0,"read":\173"bw_bytes":1,"iops":1,"total_ios":1,"clat_ns":\173"mean":1\175\175,"write":\173"bw_bytes":0,"iops":0,"total_ios":0,"clat_ns":\173"mean":0\175\175\175]\175\n' ''']
time = "3s"
grace = "20s"
parser = "fio"
[[metric]]
name = "iops"
unit = "1/s"
goal = "maximize"
"#;

/// A command of `kvmtune` in the folder.
fn command<'a>(program: &'a str, cache: &'a str, verb: &[&'a str]) -> Vec<&'a str> {
    let options = ["--state", "state", "--results", "results", "--cache", cache];
    [&["/usr/bin/env", "-C", FOLDER, program], &options[..], verb].concat()
}

/// Starts a run and returns in the middle of a trial of another level; a run that ends before says what it said.
fn run_until_changed(host: &LabHost, run: &[&str]) {
    let script = r#"
file=$1; shift
before=$(cat "$file")
setsid "$@" >/srv/log 2>&1 &
while [ "$(cat "$file")" = "$before" ]; do
    kill -0 $! || { cat /srv/log; exit 1; }
    sleep 1
done"#;
    let clock = Instant::now();
    let watch = [&["/bin/sh", "-c", script, "sh", PRESSURE], run].concat();
    let watched = host.exec(&watch, "", RUN_LIMIT);
    assert_eq!(watched.exit_code, 0, "{}", said(&watched));
    eprintln!("a trial runs after {:.1?}", clock.elapsed());
}

#[test]
fn a_run_cut_off_by_a_power_failure_is_recovered_and_resumed_after_the_boot() {
    if !stage::is_possible() {
        return;
    }
    let (program, cache) = (stage::kvmtune(), common::cache());
    let (program, cache) = (program.to_str().unwrap(), cache.to_str().unwrap());
    let mut host = LabHost::boot();
    let before = (host.read(BOOT_ID), host.read(PRESSURE));
    host.run(&["/bin/mkdir", "-p", &format!("{FOLDER}/workloads")]);
    let write = |path: &str, text: &str| {
        let path = format!("{FOLDER}/{path}");
        host.agent().write_file(&path, text.as_bytes()).unwrap();
    };
    write("experiment.toml", EXPERIMENT);
    write("workloads/load.toml", WORKLOAD);

    host.run(&["/sbin/modprobe", "-a", "tcp_htcp", "nf_conntrack"]);
    assert!(host.read(CONGESTION).contains("htcp"));
    assert_eq!(host.run(&["/bin/ls", "-d", CONNTRACK]).trim(), CONNTRACK);

    run_until_changed(&host, &command(program, cache, &["run", "experiment.toml"]));
    host.cut_power();
    host.start("hugepages=4");

    assert_ne!(host.read(BOOT_ID), before.0);
    assert_eq!(host.read(PRESSURE), before.1, "the kernel's own");
    assert_eq!(host.read("/proc/sys/vm/nr_hugepages").trim(), "4");
    assert!(
        !host.read(CONGESTION).contains("htcp"),
        "a module is gone with its boot"
    );
    let left = || host.run(&["/bin/ls", &format!("{FOLDER}/state")]);
    assert!(
        left().contains(".img"),
        "the lab's disk outlives the boot: {}",
        left()
    );
    let refused = host.exec(&command(program, cache, &["run", "experiment.toml"]), "", LIMIT);
    assert_eq!(refused.exit_code, 5, "{}", said(&refused));
    let recovered = host.exec(&command(program, cache, &["recover"]), "", LIMIT);
    assert_eq!(recovered.exit_code, 0, "{}", said(&recovered));
    assert!(
        said(&recovered).contains("what held it is gone"),
        "{}",
        said(&recovered)
    );
    assert!(!left().contains(".img"), "{}", left());
    assert_eq!(host.read(PRESSURE), before.1);

    let clock = Instant::now();
    let resumed = host.exec(&command(program, cache, &["run", "--resume"]), "", RUN_LIMIT);
    assert_eq!(resumed.exit_code, 0, "{}", said(&resumed));
    eprintln!("resumed in {:.1?}:\n{}", clock.elapsed(), said(&resumed));
    assert_eq!(host.read(PRESSURE), before.1);

    let proof = tempfile::tempdir().unwrap();
    prove(&host, proof.path());
    commit_over_boots(&mut host, program, proof.path());
    assert_eq!(
        host.read("/proc/sys/vm/nr_hugepages").trim(),
        "0",
        "words of the boot before"
    );
    let runs = host.exec(&command(program, cache, &["runs"]), "", LIMIT);
    assert!(
        runs.exit_code == 0 && said(&runs).contains("experiment"),
        "{}",
        said(&runs)
    );
}

const SLEEP: &str = "/sys/kernel/mm/ksm/sleep_millisecs";
const AFFINITY: &str = "/sys/block/vda/queue/rq_affinity";
const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Results in `folder` that prove two sysctls, files of kernel and disk and a word of the command line on the lab host, whose facts are
/// those its own run recorded.
fn prove(host: &LabHost, folder: &Path) {
    let theirs = folder.join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let database = host
        .agent()
        .read_file(&format!("{FOLDER}/results/{}", kvmtune::store::FILE), 16 << 20);
    std::fs::write(theirs.join(kvmtune::store::FILE), database.unwrap()).unwrap();
    let store = Store::open_existing(&theirs).unwrap();
    let facts = store.header(store.find("latest").unwrap()).unwrap().facts;
    let setting =
        |address: Address, kind: Kind, value: &str| Setting::own(address, kind.parse(value).unwrap(), kind);
    let file = |path: &str, value: &str| {
        let format = Format::Plain;
        setting(
            Address::HostFile {
                path: path.into(),
                format,
            },
            Kind::Words,
            value,
        )
    };
    let boot = Address::HostBoot("transparent_hugepage".parse().unwrap());
    let settings = [
        file(PRESSURE, "111"),
        file(CONNTRACK, "54321"),
        file(SLEEP, "35"),
        file(AFFINITY, "2"),
        setting(boot, Kind::Boot, "never"),
    ];
    proven::prove(&folder.join("results"), &settings, &|header| {
        header.protocol.guest = Guest::Host { scratch: None };
        header.facts = facts.clone();
    });
}

/// What systemd brings up holds a commit, has none after it was taken back, and takes back by itself what nobody kept.
fn commit_over_boots(host: &mut LabHost, program: &str, folder: &Path) {
    let proof = folder.join("results");
    host.run(&["/bin/cp", "-r", proof.to_str().unwrap(), "/srv/proof"]);
    host.reboot_with(Init::Systemd, "");
    is_up(host);
    host.run(&["/bin/systemctl", "enable", "--now", "tuned"]);
    let before = in_force(host);
    host.run(&["/sbin/modprobe", "nf_conntrack"]);
    let conntrack = host.read(CONNTRACK).trim().to_owned();
    let verb = |host: &LabHost, code: i32, verb: &[&str]| {
        let folders = ["--state", "/srv/run/state", "--results", "/srv/proof"];
        let clock = Instant::now();
        let done = host.exec(&[&[program], &folders[..], verb].concat(), "", LIMIT);
        eprintln!("kvmtune {} took {:.1?}", verb[0], clock.elapsed());
        assert_eq!(done.exit_code, code, "{verb:?}: {}", said(&done));
        said(&done)
    };
    verb(host, 0, &["commit", "latest"]);
    let status = verb(host, 0, &["status"]);
    assert!(status.contains("waits for a reboot of the host"), "{status}");
    let committed = ["111", "54321", "35", "2"];
    assert_eq!(in_force(host)[..4], committed, "live");

    // What GRUB makes of its configuration.
    let line =
        "for file in /etc/default/grub.d/*.cfg; do . \"$file\"; done; echo $GRUB_CMDLINE_LINUX_DEFAULT";
    let words = host.run(&["/bin/sh", "-c", line]);
    host.reboot(words.trim());
    let after = in_force(host);
    assert_eq!(after[..4], committed, "after a boot");
    assert!(
        after[4].contains("[never]") && after[5].contains("kvmtune"),
        "{after:?}"
    );
    let status = verb(host, 0, &["status"]);
    assert!(!status.contains("waits") && status.contains("held"), "{status}");
    eprintln!("after the boot:\n{status}");

    verb(host, 0, &["revert"]);
    host.reboot("");
    assert_eq!(in_force(host), before);
    assert!(verb(host, 0, &["status"]).contains("nothing is committed"));
    assert_eq!(files_of_commits(host), "");

    host.run(&["/sbin/modprobe", "nf_conntrack"]);
    verb(host, 0, &["commit", "latest", "--confirm", "40s"]);
    assert!(files_of_commits(host).contains("kvmtune-overdue.service"));
    assert_eq!(host.read(PRESSURE).trim(), "111", "not yet taken back");
    host.cut_power();
    host.start("");
    let clock = Instant::now();
    while !files_of_commits(host).is_empty() {
        assert!(clock.elapsed() < LIMIT, "{}", files_of_commits(host));
        std::thread::sleep(Duration::from_secs(1));
    }
    eprintln!("taken back {:.1?} after the boot", clock.elapsed());
    let mut with_module = before.clone();
    with_module[1].clone_from(&conntrack);
    assert_eq!(in_force(host), with_module, "a module stays for this boot");
    assert!(verb(host, 0, &["status"]).contains("nothing is committed"));
}

/// Waits until systemd has done all that a boot brings.
fn is_up(host: &LabHost) {
    let up = host.exec(&["/bin/systemctl", "is-system-running", "--wait"], "", LIMIT);
    if up.stdout != b"running\n" {
        // A unit of the machine that cannot run here is none of the commit's.
        eprintln!(
            "{}{}",
            said(&up),
            host.run(&["/bin/systemctl", "--failed", "--no-pager"])
        );
    }
}

/// What the committed places hold once the host is up (`none` where there is no such place), and tuned's active profile.
fn in_force(host: &LabHost) -> Vec<String> {
    is_up(host);
    let script = "for file; do cat $file 2>/dev/null || echo none; done; tuned-adm active";
    let places = [PRESSURE, CONNTRACK, SLEEP, AFFINITY, THP];
    let told = host.run(&[&["/bin/sh", "-c", script, "sh"], &places[..]].concat());
    told.lines().map(str::to_owned).collect()
}

/// The names of what a commit writes, as far as it is there.
fn files_of_commits(host: &LabHost) -> String {
    let found = host.run(&["/usr/bin/find", "/etc", "-name", "*kvmtune*"]);
    found.trim().to_owned()
}
