//! kvmtune on a domain that is not its own: measured, and left as it was found, whatever happens.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod libvirtd;

use kvmtune::host::{Host, LocalHost, Power};
use kvmtune::tunable::{Address, Home, Kind, Tunable, catalogue, level};
use libvirtd::{Agents, Daemon, User, wait_for};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

const LIVE: &str = "scratch = \"/tmp/kvmtune.dat\"
[[factor]]
tunable = \"guest.swappiness\"
levels = [60, 10]
[[factor]]
tunable = \"domain.cpu.shares\"
levels = [1024, 512]
[workload]
use = \"tiny\"";

const RESTART: &str = "scratch = \"/tmp/kvmtune.dat\"
[factor]
tunable = \"domain.disk.cache\"
levels = [\"writeback\", \"none\"]
[workload]
use = \"tiny\"";

/// How many rows of the CSV hold an observation of a workload.
fn observations(daemon: &Daemon) -> usize {
    let csv = daemon.expect(0, &["export", "--csv"]).stdout;
    let csv = String::from_utf8(csv).unwrap();
    csv.lines().skip(1).filter(|row| !row.contains(",host,")).count()
}

/// Fails as it should, saying all of `wanted` and nothing on stdout.
fn assert_refused(daemon: &Daemon, code: i32, args: &[&str], wanted: &[&str]) {
    let said = daemon.expect(code, args);
    assert_eq!(said.stdout, b"");
    let text = String::from_utf8(said.stderr).unwrap();
    for wanted in wanted {
        assert!(text.contains(wanted), "no `{wanted}` in: {text}");
    }
    assert_eq!(daemon.journal(), "");
}

#[test]
fn a_running_domain_is_measured_without_a_restart() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    user.boot();
    let (id, before) = (user.domain.id(), (user.swappiness(), user.shares()));
    let is_as_found = || {
        assert_eq!(user.domain.id(), id);
        assert_eq!((user.swappiness(), user.shares()), before);
        assert_eq!(daemon.journal(), "");
        user.assert_definition_is_untouched();
    };
    let file = daemon.experiment("kt-user", LIVE);
    let mut run = daemon.kvmtune(&["run", "--quiet", file.to_str().unwrap()]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a changed share", Duration::from_mins(1), || user.shares() == 512);
    let pid = Pid::from_raw(i32::try_from(run.id()).unwrap());
    kill(pid, Signal::SIGINT).unwrap();
    assert_eq!(run.wait().unwrap().code(), Some(130));
    is_as_found();

    daemon.expect(0, &["run", "--quiet", "--resume"]);
    // Four treatments in a discarded block and two others.
    assert_eq!(observations(&daemon), 12);
    is_as_found();

    assert_refused(
        &daemon,
        5,
        &["run", "--resume"],
        &["no run is unfinished", "kvmtune runs"],
    );
    let finished = ["cannot be resumed: it is finished", "start a new run"];
    assert_refused(&daemon, 5, &["run", "--resume", "latest"], &finished);
    assert_refused(
        &daemon,
        5,
        &["report", "kt-users"],
        &["no run `kt-users`", "did you mean `kt-user`?"],
    );
    let levels = "[[factor]]\ntunable = \"guest.disk.scheduler\"\nlevels = [\"none\", \"nonesuch\"]
[[factor]]\ntunable = \"domain.cpu.pin\"\nlevels = [\"none\", \"0=999\"]\n[workload]\nuse = \"fio-randread-4k\"";
    let file = daemon.experiment("kt-user", &format!("scratch = \"/tmp/x\"\n{levels}"));
    let marks = [
        "nonesuch",
        "kt-user.toml:8:19",
        "999",
        "kt-user.toml:11:19",
        "available: ",
    ];
    for verb in ["check", "plan", "run"] {
        assert_refused(&daemon, 3, &[verb, file.to_str().unwrap()], &marks);
    }
    is_as_found();
}

#[test]
fn a_changed_start_is_followed_by_the_domains_own() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    user.boot();
    let id = user.domain.id();
    let file = daemon.experiment("kt-user", RESTART);
    daemon.expect(0, &["run", "--quiet", file.to_str().unwrap()]);
    assert_eq!(observations(&daemon), 6);
    assert!(user.is_on() && user.domain.id() > id);
    assert_eq!(user.cache().as_deref(), Some("writeback"));
    assert_eq!(daemon.journal(), "");
    user.assert_definition_is_untouched();
}

/// A level that the domain is started with, for what takes another machine or is no choice.
fn another_level(tunable: &Tunable, now: &str) -> Option<String> {
    let named = match tunable.name.as_str() {
        "domain.machine" => "pc-q35-7.1",
        "domain.disk.queues" => "1",
        "guest.boot.hugepages-2MiB" => "8",
        "guest.boot.transparent-hugepage" => "never",
        "guest.boot.preempt" => "none",
        "guest.boot.mitigations" => "off",
        _ => "",
    };
    if !named.is_empty() {
        return Some(named.into());
    }
    let Kind::Choice(choices) = &tunable.kind else {
        return None;
    };
    choices.iter().find(|choice| *choice != now).cloned()
}

#[test]
fn no_setting_of_the_xml_changes_a_definition() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    let mut host = LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), Arc::default()).unwrap();
    host.power(Power::On).unwrap();
    let mut facts = host.facts().unwrap();
    let mut all: Vec<(Address, String)> = Vec::new();
    let tunables = catalogue()
        .iter()
        .filter(|t| matches!(t.home, Home::DomainXml(_)));
    for tunable in tunables {
        let address = tunable.address(&facts).unwrap();
        let now = host.read(&address).unwrap_or_default();
        facts.readings.insert(address.to_string(), now.clone());
        let Some(text) = another_level(tunable, &now) else {
            continue;
        };
        let Ok(level) = level(tunable, &text, &facts) else {
            continue;
        };
        let settings = level.settings.iter().filter(|s| s.address.needs_guest_off());
        all.extend(settings.map(|s| (s.address.clone(), s.value.to_string())));
    }
    host.power(Power::Off).unwrap();
    user.assert_definition_is_untouched();
    assert!(all.len() > 15, "{all:?}");
    // Written and, but for those that QEMU would not start together, left so for one start.
    let alone = [
        "disk io",
        "hugepages",
        "/@type",
        "numa",
        "cpu mode",
        "@iothread",
        "@detect_zeroes",
    ];
    let mut together = 0;
    for (address, value) in &all {
        let before = host.read(address).unwrap_or_default();
        if host.write(address, value).is_err() {
            continue;
        }
        assert_eq!(host.read(address).unwrap(), *value, "{address}");
        user.assert_definition_is_untouched();
        if alone.iter().any(|part| address.to_string().contains(part)) {
            host.write(address, &before).unwrap();
            assert_eq!(host.read(address).unwrap(), before, "{address}");
        } else {
            together += 1;
        }
    }
    assert!(together > 12, "only {together}");
    host.power(Power::On).unwrap();
    user.assert_definition_is_untouched();
    let (address, value) = all
        .iter()
        .find(|(a, _)| a.to_string().contains("@discard"))
        .unwrap();
    assert_eq!(host.read(address).unwrap(), *value);
    host.power(Power::Off).unwrap();
    host.give_back(None).unwrap();
    assert!(!user.is_on());
    user.assert_definition_is_untouched();
}

#[test]
fn a_domain_found_off_is_left_off() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    let file = daemon.experiment("kt-user", LIVE);
    let file = file.to_str().unwrap();
    daemon.expect(0, &["plan", file]);
    assert!(!user.is_on());
    daemon.expect(0, &["run", "--quiet", file]);
    assert_eq!(observations(&daemon), 12);
    assert!(!user.is_on());
    assert_eq!(daemon.journal(), "");
    user.assert_definition_is_untouched();
}

/// Runs an experiment that restarts the guest, kills it while the guest has a changed start, and gives its file.
fn killed_in_a_changed_start(daemon: &Daemon, user: &User<'_>, options: &[&str]) -> PathBuf {
    let file = daemon.experiment("kt-user", RESTART);
    let mut run = daemon.kvmtune(&[&["run", "--quiet"], options, &[file.to_str().unwrap()]].concat());
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a changed start", Duration::from_mins(2), || {
        assert!(run.try_wait().unwrap().is_none(), "the run ended early");
        user.cache().as_deref() == Some("none")
    });
    run.kill().unwrap();
    run.wait().unwrap();
    file
}

#[test]
fn after_a_kill_recover_brings_back_the_domains_own_start() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    user.boot();
    let file = killed_in_a_changed_start(&daemon, &user, &["--dead-man", "off"]);
    assert!(user.is_on());

    let refused = daemon.expect(5, &["run", "--quiet", file.to_str().unwrap()]);
    let text = String::from_utf8(refused.stderr).unwrap();
    let tells = |wanted| assert!(text.contains(wanted), "{text}");
    tells("session of domain kt-user");
    tells("kvmtune recover");
    daemon.expect(0, &["recover"]);
    assert!(user.is_on());
    assert_eq!(user.cache().as_deref(), Some("writeback"));
    assert_eq!(daemon.journal(), "");
    user.assert_definition_is_untouched();
    user.wait_for_agent();

    let id = user.domain.id();
    let again = daemon.expect(0, &["recover"]);
    assert!(
        String::from_utf8(again.stdout)
            .unwrap()
            .contains("nothing to recover")
    );
    assert_eq!(user.domain.id(), id);

    let file = daemon.experiment("kt-user", LIVE);
    let other = [
        "cannot go on: the experiment file is another one now",
        "start a new run",
    ];
    assert_refused(
        &daemon,
        5,
        &["run", "--resume", "latest", file.to_str().unwrap()],
        &other,
    );
}

#[test]
fn after_a_kill_the_watchman_brings_back_the_domains_own_start() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    user.boot();
    killed_in_a_changed_start(&daemon, &user, &[]);
    wait_for("the domain's own start", Duration::from_mins(2), || {
        user.cache().as_deref() == Some("writeback") && daemon.journal().is_empty()
    });
    user.assert_definition_is_untouched();
    user.wait_for_agent();
    let told = daemon.expect(0, &["recover"]);
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(told.contains("its watchman restored the host"), "{told}");
}

#[test]
fn a_domain_that_is_gone_leaves_nothing_to_recover() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    let file = daemon.experiment("kt-user", LIVE);
    let mut run = daemon.kvmtune(&["run", "--quiet", "--dead-man", "off", file.to_str().unwrap()]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait_for("a start", Duration::from_mins(2), || user.is_on());
    run.kill().unwrap();
    run.wait().unwrap();
    user.domain.destroy().unwrap();
    user.domain.undefine().unwrap();
    assert_ne!(daemon.journal(), "");
    daemon.expect(0, &["recover"]);
    assert_eq!(daemon.journal(), "");
}

/// What `check` and `run` say is missing; neither leaves anything changed.
fn assert_lacks(daemon: &Daemon, file: &std::path::Path, wanted: &[&str]) {
    for verb in ["check", "run"] {
        assert_refused(daemon, 5, &[verb, file.to_str().unwrap()], wanted);
        let said = daemon.expect(5, &[verb, "--json", file.to_str().unwrap()]);
        let text = String::from_utf8([said.stdout, said.stderr].concat()).unwrap();
        // What may disturb a run is no lack.
        let text = text.split("\"warnings\"").next().unwrap();
        let lacks = text
            .matches("missing: ")
            .count()
            .max(text.matches("\"mend\"").count());
        assert_eq!(lacks, wanted.len(), "{text}");
    }
}

#[test]
fn check_names_everything_that_is_missing() {
    let Some(daemon) = Daemon::start() else { return };
    let iperf3 = "[[workload]]\nuse = \"iperf3-host-to-guest\"";
    let network = "a network between host and guest, for workload iperf3-host-to-guest";
    let factor = "[factor]\ntunable = \"guest.swappiness\"\nlevels = [60, 10]";

    let mute = daemon.define("kt-mute", Agents::None);
    let file = daemon.experiment("kt-mute", &format!("{factor}\n{iperf3}"));
    assert_lacks(&daemon, &file, &["a channel for the guest agent", network]);
    assert!(!mute.is_on());

    let poor = daemon.define("kt-poor", Agents::Willing);
    poor.boot();
    let scratch = "scratch = \"/no/such/folder/data\"";
    let odd = "[[workload]]\nuse = \"odd\"";
    let file = daemon.experiment("kt-poor", &format!("{scratch}\n{factor}\n{odd}\n{iperf3}"));
    let wanted = [
        "program kt-odd in the guest, for workload odd",
        "a folder in the guest for the scratch file /no/such/folder/data",
        network,
    ];
    assert_lacks(&daemon, &file, &wanted);
    assert!(poor.is_on());
    poor.shut_down();

    let strict = daemon.define("kt-strict", Agents::WithoutExec);
    strict.boot();
    let file = daemon.experiment("kt-strict", LIVE);
    assert_lacks(
        &daemon,
        &file,
        &["agent command guest-exec, which the guest blocks"],
    );
    strict.assert_definition_is_untouched();
}
