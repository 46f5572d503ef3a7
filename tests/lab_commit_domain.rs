//! What a commit makes last in a user's domain and in its guest, with a libvirtd and a `virsh` that are real.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[path = "lab_commit_domain/bench.rs"]
mod bench;
#[allow(dead_code, reason = "only a part is of use here")]
mod libvirtd;
#[path = "common/proven.rs"]
mod proven;

use bench::{Bench, owned};
use kvmtune::commit::{CommitError, Extent, Finding, Held, Layer, Opened, Wanted};
use kvmtune::event::RunHeader;
use kvmtune::experiment::Guest;
use kvmtune::host::libvirt::Connection;
use kvmtune::host::{LocalHost, xml};
use kvmtune::persist::definition::{Shape, places};
use kvmtune::tunable::{Address, Home, Kind, Tunable, catalogue};
use libvirtd::{Agents, Daemon, User, WITHOUT_EXEC, wait_for};
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

const SYSCTL: &str = "/etc/sysctl.d/60-kvmtune.conf";

/// A value that this host's libvirt must take.
fn legal(tunable: &Tunable) -> Option<String> {
    Some(match &tunable.kind {
        Kind::Integer { min, max } => (*max).min((*min).max(2000)).to_string(),
        Kind::Bytes { .. } => "1048576".into(),
        Kind::Pins if tunable.name.ends_with("iothread-pin") => "1=0".into(),
        Kind::Pins => "0=0-1".into(),
        Kind::Set => "0-1".into(),
        Kind::Choice(choices) => choices.last()?.clone(),
        _ => return None,
    })
}

#[test]
fn libvirts_schema_takes_every_place_of_a_live_setting() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::None);
    let mut host = LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), Arc::default()).unwrap();
    let before = host.definition_now().unwrap();
    let device = host.device_behind();
    let shape = Shape {
        vcpus: 1,
        iothreads: 1,
        device: device.as_deref().or(Some("/dev/loop0")),
    };
    let mut checked = 0;
    for tunable in catalogue() {
        let address = match &tunable.home {
            Home::Domain(setting) => Address::Domain(setting.clone()),
            Home::DomainXml(setting) => Address::DomainXml(setting.clone()),
            _ => continue,
        };
        let Some(value) = legal(tunable) else { continue };
        let places = places(&address, &value, shape).unwrap();
        // A mode that needs a model, or a disk of another kind, is refused before libvirt is asked.
        let Ok(edited) = xml::with_settings(&before, &host.completed(places.clone()).unwrap(), Some("vdb"))
        else {
            assert!(matches!(address, Address::DomainXml(_)), "{}", tunable.name);
            continue;
        };
        let defined = host
            .define(&edited, true)
            .unwrap_or_else(|e| panic!("{} = {value}: {e}", tunable.name));
        for (place, wanted) in &places {
            let found = xml::value(&defined, place, Some("vdb")).unwrap();
            assert_eq!(found, *wanted, "{}: {defined}", tunable.name);
        }
        assert_eq!(host.define(&before, false).unwrap(), before, "{}", tunable.name);
        checked += 1;
    }
    assert!(checked > 45, "{checked}");
    user.assert_definition_is_untouched();
}

fn in_guest(user: &User<'_>, path: &str) -> String {
    String::from_utf8(user.agent().read_file(path, 10_000).unwrap()).unwrap()
}

fn layers(status: &[Finding], layer: Layer) -> Vec<&Held> {
    status
        .iter()
        .filter(|f| f.layer == layer)
        .map(|f| &f.held)
        .collect()
}

/// The definition is one that `virsh define --validate` takes.
fn assert_virsh_takes_it(daemon: &Daemon, definition: &str) {
    let file = daemon.folder().join("written.xml");
    fs::write(&file, definition).unwrap();
    let virsh = Command::new("virsh")
        .args(["-c", &daemon.uri(), "define", "--validate"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(virsh.status.success(), "{virsh:?}");
}

const FIRST: [(&str, &str); 3] = [
    ("domain.disk.cache", "none"),
    ("domain.cpu.shares", "512"),
    ("guest.swappiness", "10"),
];

#[test]
fn a_commit_lasts_over_a_start_and_is_taken_back_to_the_byte() {
    let Some(daemon) = Daemon::start() else { return };
    let user = owned(&daemon);
    user.boot();
    let original = user.domain.xml_inactive().unwrap();
    let (shares, swappiness) = (user.shares(), user.swappiness());
    let mut bench = Bench::new(&daemon);

    let shown = bench.make(&FIRST).unwrap();
    for wanted in [
        "--- a/domain kt-user.xml\n",
        "+    <shares>512</shares>",
        "cache=\"none\"",
        "disk cache = none NEEDS A RESTART OF THE DOMAIN",
        &format!("domain kt-user: live domain cpu_shares: {shares} -> 512"),
        "--- /dev/null\n+++ b/kt-user guest:/etc/sysctl.d/60-kvmtune.conf",
        "+vm.swappiness = 10",
    ] {
        assert!(shown.contains(wanted), "no `{wanted}` in:\n{shown}");
    }
    assert!(!shown.contains("s3cret"), "{shown}");
    let written = user.domain.xml_inactive().unwrap();
    for kept in [
        "<!-- do not touch -->",
        "<mine:owner>ops",
        "billing",
        "s3cret",
        "<shares>512</shares>",
        "cache='none'",
    ] {
        assert!(written.contains(kept), "no `{kept}` in:\n{written}");
    }
    assert_virsh_takes_it(&daemon, &written);
    assert_eq!((user.shares(), user.swappiness().as_str()), (512, "10"));
    assert!(in_guest(&user, SYSCTL).contains("kvmtune revert 1"));
    let status = bench.status();
    assert_eq!(layers(&status, Layer::Definition), [&Held::Yes; 2], "{status:#?}");
    assert_eq!(layers(&status, Layer::GuestFile), [&Held::Yes], "{status:#?}");
    assert_eq!(layers(&status, Layer::GuestValue), [&Held::Yes], "{status:#?}");
    let waits = |held: &&&Held| matches!(held, Held::NotYet(_));
    assert_eq!(
        layers(&status, Layer::Domain).iter().filter(waits).count(),
        1,
        "{status:#?}"
    );

    bench
        .make(&[("domain.cpu.shares", "256"), ("guest.swappiness", "20")])
        .unwrap();
    assert_eq!((user.shares(), user.swappiness().as_str()), (256, "20"));

    user.shut_down();
    let status = bench.status();
    assert!(
        status.iter().all(|f| !matches!(f.held, Held::No(_))),
        "{status:#?}"
    );
    let off = bench.revert(2, Wanted::Careful).unwrap_err().to_string();
    assert!(off.contains("it is off") && off.contains("start it"), "{off}");
    user.boot();
    assert_eq!(
        (user.shares(), user.swappiness().as_str()),
        (256, "20"),
        "by itself"
    );
    assert_eq!(user.cache().as_deref(), Some("none"));
    bench.assert_all_held();

    bench.revert(1, Wanted::Careful).unwrap();
    let text = in_guest(&user, SYSCTL);
    assert!(
        text.contains("vm.swappiness = 20") && !text.contains("revert 1"),
        "{text}"
    );
    let now = user.domain.xml_inactive().unwrap();
    assert!(
        now.contains("<shares>256</shares>") && now.contains("cache='writeback'"),
        "{now}"
    );
    bench.assert_all_held();

    bench.revert(2, Wanted::Careful).unwrap();
    assert_eq!(user.domain.xml_inactive().unwrap(), original);
    assert_eq!((user.shares(), user.swappiness()), (shares, swappiness));
    assert!(user.agent().read_file(SYSCTL, 10).is_err());
    assert!(bench.status().is_empty());
    by_the_verbs(&daemon, &user, &mut bench);
}

#[test]
fn whatever_fails_half_way_is_put_back_and_nothing_of_others_is_overwritten() {
    let Some(daemon) = Daemon::start() else { return };
    let user = owned(&daemon);
    user.boot();
    let original = user.domain.xml_inactive().unwrap();
    let before = (user.shares(), user.swappiness());
    let mut bench = Bench::new(&daemon);
    let is_as_before = |when: &str| {
        assert_eq!(user.domain.xml_inactive().unwrap(), original, "{when}");
        assert_eq!((user.shares(), user.swappiness()), before, "{when}");
        assert!(user.agent().read_file(SYSCTL, 10).is_err(), "{when}");
    };

    // Every step fails once.
    let (mut failed, mut in_guest) = (0, None);
    for at in 1.. {
        let mut opened = bench.opened();
        let commit = bench.commit(&FIRST, Extent::Both, &mut opened).unwrap();
        let (next, changes) = opened.adding(commit, Wanted::Careful).unwrap();
        opened.machine.watch.observe(Box::new(move |step| {
            if step == at {
                Err(io::Error::other("planned"))
            } else {
                Ok(())
            }
        }));
        let Err(error) = opened.carry_out(next, changes) else {
            break;
        };
        if error.to_string().contains("write guest file") {
            in_guest = in_guest.or(Some(at));
        }
        failed += 1;
        is_as_before(&format!("step {at} failed"));
        assert!(
            !Path::new(bench.ledger.path())
                .join("var/lib/kvmtune/commits/pending.json")
                .exists()
        );
    }
    assert!(failed > 5, "{failed}");
    bench.commits = 1;
    bench.revert(1, Wanted::Careful).unwrap();
    is_as_before("taken back");

    // The guest stops answering half-way: what cannot be put back is told, and put back by the next verb.
    let mut opened = bench.opened();
    let commit = bench.commit(&FIRST, Extent::Both, &mut opened).unwrap();
    let (next, changes) = opened.adding(commit, Wanted::Careful).unwrap();
    let virsh = |verb: &str| {
        let mut command = Command::new("virsh");
        command.args(["-c", &daemon.uri(), verb, "kt-user"]);
        command
    };
    let (mut suspend, in_guest) = (virsh("suspend"), in_guest.unwrap());
    opened.machine.watch.observe(Box::new(move |step| {
        assert!(step != in_guest || suspend.output()?.status.success());
        Ok(())
    }));
    let error = opened.carry_out(next, changes).unwrap_err();
    assert!(matches!(error, CommitError::NotPutBack { .. }), "{error}");
    assert!(virsh("resume").output().unwrap().status.success());
    user.wait_for_agent();
    drop(opened);
    let (_, half) = Opened::image(bench.ledger.path()).unwrap();
    assert!(half.is_some_and(|changes| changes > 0));
    is_as_before("put back by the next verb");

    // libvirt refuses the definition after the first change was made.
    bench.commits = 1;
    let refused = bench.make(&[
        ("guest.swappiness", "10"),
        ("domain-xpath:/domain/cputune/nonesuch", "1"),
    ]);
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("define a domain"), "{refused}");
    is_as_before("refused by libvirt");
    of_others(&daemon, &user, &mut bench, &original);
    bad_inputs(&daemon, &user, &mut bench, &original);
}

/// A place of a commit that somebody changed is named; another's place stays; what was measured must still be so.
fn of_others(daemon: &Daemon, user: &User<'_>, bench: &mut Bench<'_>, original: &str) {
    // A place of ours that somebody changed is named; another's place stays.
    bench.make(&FIRST).unwrap();
    let connection = Connection::open(&daemon.uri()).unwrap();
    let theirs = user
        .domain
        .xml_inactive()
        .unwrap()
        .replace("billing", "payroll")
        .replace("<shares>512", "<shares>777");
    connection.define_xml(&theirs).unwrap();
    let said = bench.revert(2, Wanted::Careful).unwrap_err().to_string();
    assert!(
        said.contains("/domain/cputune/shares") && said.contains("`777`") && said.contains("--force"),
        "{said}"
    );
    assert_eq!(
        layers(&bench.status(), Layer::Definition)
            .iter()
            .filter(|h| ***h != Held::Yes)
            .count(),
        1
    );
    bench.revert(2, Wanted::Forced).unwrap();
    let now = user.domain.xml_inactive().unwrap();
    assert!(
        now.contains("payroll") && !now.contains("<shares>") && now.contains("cache='writeback'"),
        "{now}"
    );

    // What was measured is no longer so.
    connection
        .define_xml(&original.replace("cache='writeback'", "cache='directsync'"))
        .unwrap();
    let said = bench.make(&FIRST).unwrap_err().to_string();
    assert!(
        said.contains("was changed since run 0198a") && said.contains("directsync"),
        "{said}"
    );
    connection.define_xml(original).unwrap();
}

/// An agent that blocks what it takes, a guest that is off, a domain that is gone or transient.
fn bad_inputs(daemon: &Daemon, user: &User<'_>, bench: &mut Bench<'_>, original: &str) {
    let connection = Connection::open(&daemon.uri()).unwrap();
    let hang_up = "kill -HUP 1; sleep 0.5; killall qemu-ga";
    user.agent()
        .write_file("/etc/inittab", WITHOUT_EXEC.as_bytes())
        .unwrap();
    drop(
        user.agent()
            .exec(&["/bin/sh", "-c", hang_up], None, Duration::from_secs(5)),
    );
    wait_for("another agent", Duration::from_mins(1), || {
        user.agent().info().is_ok_and(|info| !info.lacking().is_empty())
    });
    let said = bench.make(&FIRST).unwrap_err().to_string();
    assert!(
        said.contains("guest-exec") && said.contains("block-rpcs"),
        "{said}"
    );
    user.shut_down();
    let said = bench.make(&FIRST).unwrap_err().to_string();
    assert!(said.contains("it is off"), "{said}");
    bench.make(&FIRST[..2]).unwrap();
    assert!(
        bench.status().iter().all(|f| !matches!(f.held, Held::No(_))),
        "{:#?}",
        bench.status()
    );
    user.domain.undefine().unwrap();
    assert!(
        matches!(bench.status()[0].held, Held::No(_)),
        "{:#?}",
        bench.status()
    );
    let gone = bench.revert(3, Wanted::Careful).unwrap_err().to_string();
    assert!(gone.contains("kt-user"), "{gone}");
    bench.revert(3, Wanted::Forced).unwrap();
    assert!(bench.status().is_empty());

    let transient = connection.create_xml(original).unwrap();
    let said = bench.make(&FIRST).unwrap_err().to_string();
    assert!(
        said.contains("transient") && said.contains("virsh define"),
        "{said}"
    );
    transient.destroy().unwrap();
}

/// What a run on a domain proves is shown, committed and taken back; the same of the lab's guest, for a domain that is named.
fn by_the_verbs(daemon: &Daemon, user: &User<'_>, bench: &mut Bench<'_>) {
    let original = user.domain.xml_inactive().unwrap();
    // The running one has the cache of the commit it was started with.
    let settings = bench.settings(&[("domain.disk.cache", "directsync"), FIRST[1], FIRST[2]]);
    let results = daemon.folder().join("results");
    let own = |header: &mut RunHeader| {
        header.facts = bench.facts.clone();
        header.protocol.guest = Guest::Domain {
            name: "kt-user".into(),
            connect: daemon.uri(),
            disk: Some("vdb".into()),
            scratch: None,
            ssh: None,
        };
    };
    proven::prove(&results, &settings, &own);
    let lab = |header: &mut RunHeader| {
        header.experiment = "in-the-lab".into();
        header.facts.record = bench.facts.record.clone();
    };
    let text = |code: i32, args: &[&str]| {
        let said = daemon.expect(code, args);
        String::from_utf8([said.stdout, said.stderr].concat()).unwrap()
    };
    let shown = text(0, &["commit", "latest", "--dry-run"]);
    for wanted in [
        "+    <shares>512</shares>",
        "guest:/etc/sysctl.d/60-kvmtune.conf",
        "--dry-run",
    ] {
        assert!(shown.contains(wanted), "no `{wanted}` in:\n{shown}");
    }
    assert_eq!(user.domain.xml_inactive().unwrap(), original);
    let done = text(0, &["commit", "latest"]);
    assert!(
        done.contains(
            "NEEDS A RESTART OF THE DOMAIN to be in force: kt-user: domain XML disk cache = directsync"
        ),
        "{done}"
    );
    let status = text(0, &["status"]);
    for wanted in ["definition ", "guest file ", "waits for a restart of the domain"] {
        assert!(status.contains(wanted), "no `{wanted}` in:\n{status}");
    }
    assert_eq!((user.shares(), user.swappiness().as_str()), (512, "10"));
    let again = text(5, &["commit", "latest"]);
    assert!(again.contains("in force already"), "{again}");
    text(0, &["revert"]);
    assert_eq!(user.domain.xml_inactive().unwrap(), original);
    assert!(user.agent().read_file(SYSCTL, 10).is_err());

    // The same from the lab's guest, which does not last.
    fs::remove_dir_all(&results).unwrap();
    proven::prove(&results, &settings, &lab);
    let lost = text(5, &["commit", "latest"]);
    assert!(
        lost.contains("--domain NAME") && lost.contains("--host-only") && lost.contains("disk cache"),
        "{lost}"
    );
    let nothing = text(0, &["commit", "latest", "--host-only", "--dry-run"]);
    assert!(nothing.contains("left out, as --host-only asks"), "{nothing}");
    let (uri, domain) = (
        daemon.uri(),
        ["--domain", "kt-user", "--disk", "vdb", "--connect"],
    );
    let named = [&["commit", "latest"], &domain[..], &[uri.as_str()]].concat();
    let done = text(0, &named);
    assert!(done.contains("it was not measured on domain kt-user"), "{done}");
    text(0, &["revert"]);
    let wrong = text(
        5,
        &["commit", "latest", "--domain", "kt-nobody", "--connect", &uri],
    );
    assert!(
        wrong.contains("kt-nobody") && wrong.contains("virsh list"),
        "{wrong}"
    );
    assert_eq!(user.domain.xml_inactive().unwrap(), original);
}
