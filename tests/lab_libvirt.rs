//! libvirt and the guest agent for real: an embedded driver, QEMU and a booted guest.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod jobs;
mod lab;

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use kvmtune::host::agent::{Agent, AgentError};
use kvmtune::host::libvirt::{Connection, Domain, DomainState, LibvirtErrorKind, ShutdownBy, embed_uri};
use kvmtune::host::transport::{Transport, TransportError};
use kvmtune::lab::net::enter_private_network;
use kvmtune::tunable::{CpuSet, ParameterGroup};
use lab::{Lab, wait_for};
use uuid::Uuid;

const BOOT: Duration = Duration::from_mins(2);

/// Tells [`an_embedder_that_dies`] where to work.
const ROOT: &str = "KVMTUNE_TEST_ROOT";

const BRIDGE: &str = "<interface type='bridge'><source bridge='kt-br0'/><target dev='kt-tap0'/>\
    <model type='virtio'/></interface>";

/// Starts the guest and dies without a chance to clean up.
#[test]
#[ignore = "only for the test below, which runs it in a process of its own"]
fn an_embedder_that_dies() {
    let (Some(image), Some(root)) = (lab::image(), std::env::var_os(ROOT)) else {
        return;
    };
    let root = Path::new(&root);
    let connection = Connection::open(&embed_uri(root).unwrap()).unwrap();
    connection
        .create_xml(&lab::domain_xml(
            &image,
            root,
            ("kt-guest", Uuid::now_v7()),
            BRIDGE,
        ))
        .unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

/// One process can hold one embedded driver, so everything about it is one test. The guest in it was
/// started by a process that is gone, as after a crash.
#[test]
fn a_guest_lives_in_an_embedded_driver() {
    let Some(image) = lab::image() else { return };
    enter_private_network("kt-br0", Ipv4Addr::new(10, 77, 0, 1), 24).unwrap();
    let root = lab::scratch_root();
    let mut starter = Command::new(std::env::current_exe().unwrap());
    starter
        .args(["an_embedder_that_dies", "--exact", "--ignored"])
        .env(ROOT, root.path());
    let died = starter.output().unwrap();
    assert_eq!(
        died.status.signal(),
        Some(9),
        "{}",
        String::from_utf8_lossy(&died.stdout)
    );

    let lab = Lab::open(root);
    the_host_is_described(&lab);
    let domain = lab.connection.lookup("kt-guest").unwrap();
    assert!(domain.is_active().unwrap() && !domain.is_persistent().unwrap());
    assert_eq!(domain.info().unwrap().state, DomainState::Running);
    assert_eq!(
        (domain.info().unwrap().vcpus, domain.info().unwrap().memory_bytes),
        (2, 512 << 20)
    );
    assert!(domain.xml_live().unwrap().contains("kt-tap0"));
    the_tap_is_in_the_private_namespace();
    let pid = domain.qemu_pid().unwrap();
    assert!(lab::runs(pid));
    live_values_change_and_read_back(&domain);

    let agent = Agent::new(domain.clone());
    wait_for("the guest agent", BOOT, || {
        agent.ping(Duration::from_secs(1)).is_ok()
    });
    agent_files(&agent);
    agent_commands(&agent);
    let agent = Transport::Agent(agent);
    jobs::run_and_are_stopped(&agent);
    a_silent_agent_is_told_from_a_paused_guest(&agent, &domain);

    domain.set_agent_timeout(Duration::from_secs(2)).unwrap();
    domain.destroy().unwrap();
    wait_for("the end of QEMU", Duration::from_secs(10), || !lab::runs(pid));
    assert_eq!(
        lab.connection.lookup("kt-guest").unwrap_err().kind(),
        LibvirtErrorKind::NoDomain
    );
    a_changed_start_leaves_the_definition_alone(&lab, &image);
    assert!(lab.connection.domains().unwrap().is_empty());
    let peak = lab::peak_memory();
    eprintln!("peak memory {} MiB", peak >> 20);
    assert!(peak < 100 << 20, "{peak}");
}

fn the_host_is_described(lab: &Lab) {
    assert!(lab.connection.is_alive());
    let versions = lab.connection.version().unwrap();
    eprintln!("libvirt {}, QEMU {}", versions.library, versions.hypervisor);
    assert!(versions.library.major >= 6 && versions.hypervisor.major >= 2);
    let missing = lab.connection.lookup("no-such-guest").unwrap_err();
    assert_eq!(missing.kind(), LibvirtErrorKind::NoDomain);
    assert!(missing.to_string().contains("virsh list"), "{missing}");
    assert!(lab.connection.create_xml("<domain").is_err());
}

fn the_tap_is_in_the_private_namespace() {
    let inside = Command::new("ip")
        .args(["-o", "link", "show", "master", "kt-br0"])
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&inside.stdout).contains("kt-tap0"));
    // The first thread of this process stayed in the machine's namespace.
    let outside = fs::read_to_string(format!("/proc/{}/net/dev", std::process::id())).unwrap();
    assert!(!outside.contains("kt-tap0") && !outside.contains("kt-br0"));
}

fn live_values_change_and_read_back(domain: &Domain) {
    let read = |group, name: &str| domain.parameters(group).unwrap()[name].as_i64().unwrap();
    let changes = [
        (ParameterGroup::Scheduler, "cpu_shares", 512),
        (ParameterGroup::Scheduler, "vcpu_period", 50_000),
        (ParameterGroup::Scheduler, "vcpu_quota", 40_000),
        (ParameterGroup::Scheduler, "emulator_period", 50_000),
        (ParameterGroup::Scheduler, "emulator_quota", 45_000),
        (ParameterGroup::Memory, "hard_limit", 2 << 20),
        (ParameterGroup::Memory, "soft_limit", 1 << 20),
        (ParameterGroup::Blkio, "weight", 300),
    ];
    for (group, name, number) in changes {
        let before = read(group, name);
        domain.set_parameter(group, name, number).unwrap();
        assert_eq!(read(group, name), number, "{name}");
        domain.set_parameter(group, name, before).unwrap();
        assert_eq!(read(group, name), before, "{name}");
    }
    let unknown = domain
        .set_parameter(ParameterGroup::Scheduler, "nonsense", 1)
        .unwrap_err();
    assert!(unknown.to_string().contains("cpu_shares"), "{unknown}");
    assert!(
        domain
            .set_parameter(ParameterGroup::Scheduler, "cpu_shares", -1)
            .is_err()
    );

    domain
        .set_parameter(ParameterGroup::Scheduler, "cpu_shares", 600)
        .unwrap();
    let directory = domain.cgroup("cpu").unwrap();
    let machine = directory
        .ancestors()
        .find(|d| fs::read_to_string(d.join("cpu.shares")).is_ok_and(|t| t == "600\n"));
    assert!(
        machine.is_some() || directory.join("cgroup.controllers").exists(),
        "{}",
        directory.display()
    );

    let before = domain.vcpu_pins().unwrap();
    assert_eq!(before.len(), 2);
    let first: CpuSet = "0".parse().unwrap();
    domain.pin_vcpu(1, &first).unwrap();
    domain.pin_emulator(&first).unwrap();
    assert_eq!(domain.vcpu_pins().unwrap(), [before[0].clone(), first.clone()]);
    assert_eq!(domain.emulator_pin().unwrap(), first);
    domain.pin_vcpu(1, &before[1]).unwrap();
    domain.pin_emulator(&before[0]).unwrap();
    assert_eq!(domain.vcpu_pins().unwrap(), before);
    assert!(domain.pin_vcpu(7, &first).is_err());
    assert!(
        domain
            .monitor("{\"execute\":\"query-status\"}")
            .unwrap()
            .contains("running")
    );
}

fn agent_files(agent: &Agent) {
    let info = agent.info().unwrap();
    assert_eq!(info.lacking(), Vec::<&str>::new(), "{info:?}");
    let uptime = agent.read_file("/proc/uptime", 100).unwrap();
    assert!(String::from_utf8(uptime).unwrap().contains('.'));
    let missing = agent.read_file("/no/such/file", 100).unwrap_err();
    assert!(matches!(missing, AgentError::Refused { .. }), "{missing:?}");
    let long = agent.read_file("/proc/cpuinfo", 10).unwrap_err();
    assert!(matches!(long, AgentError::TooLarge { limit: 10, .. }), "{long:?}");

    let big: Vec<u8> = (0..2_500_000u32).map(|i| (i % 251) as u8).collect();
    agent.write_file("/run/big", &big).unwrap();
    assert!(agent.read_file("/run/big", big.len()).unwrap() == big);
    assert!(agent.read_file("/run/big", big.len() - 1).is_err());
    agent.write_file("/run/big", b"").unwrap();
    assert_eq!(agent.read_file("/run/big", 0).unwrap(), b"");

    let sysctl = "/proc/sys/vm/swappiness";
    agent.write_file(sysctl, b"17\n").unwrap();
    assert_eq!(agent.read_file(sysctl, 100).unwrap(), b"17\n");
    let refused = agent.write_file(sysctl, b"nonsense\n").unwrap_err();
    let AgentError::Refused {
        command: "guest-file-flush",
        source,
        ..
    } = &refused
    else {
        panic!("{refused:?}")
    };
    assert!(source.to_string().contains("Invalid argument"), "{source}");
    assert_eq!(agent.read_file(sysctl, 100).unwrap(), b"17\n");
}

fn agent_commands(agent: &Agent) {
    let limit = Duration::from_secs(20);
    let output = agent
        .exec(
            &["/bin/sh", "-c", "cat; echo err >&2; exit 3"],
            Some(b"in\0put"),
            limit,
        )
        .unwrap();
    assert_eq!(
        (output.exit_code, &output.stdout[..], &output.stderr[..]),
        (3, &b"in\0put"[..], &b"err\n"[..])
    );
    let killed = agent.exec(&["/bin/sh", "-c", "kill -9 $$"], None, limit).unwrap();
    assert_eq!(killed.exit_code, 137);
    assert!(matches!(
        agent.exec(&["/no/such"], None, limit),
        Err(AgentError::Refused { .. })
    ));
    let slow = agent
        .exec(&["/bin/sh", "-c", "exec sleep 100"], None, Duration::from_secs(1))
        .unwrap_err();
    assert!(matches!(slow, AgentError::TooSlow { .. }), "{slow:?}");
    let odd = ["/bin/echo", "$(reboot)", "; exit", "a'b\"c"];
    assert_eq!(
        agent.exec(&odd, None, limit).unwrap().stdout,
        b"$(reboot) ; exit a'b\"c\n"
    );
}

fn a_silent_agent_is_told_from_a_paused_guest(agent: &Transport, domain: &Domain) {
    domain.monitor("{\"execute\":\"stop\"}").unwrap();
    assert_eq!(domain.info().unwrap().state, DomainState::Paused);
    let paused = agent.ping(Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(paused, TransportError::Agent(AgentError::Transport { .. })),
        "{paused:?}"
    );
    domain.monitor("{\"execute\":\"cont\"}").unwrap();

    let script = "p=$(pidof qemu-ga) && sleep 1 && kill -STOP $p && sleep 8; kill -CONT $p";
    let job = agent
        .start_job(Uuid::now_v7(), &["/bin/sh", "-c", script], 1000)
        .unwrap();
    let mut answer = Ok(());
    wait_for("silence", Duration::from_secs(20), || {
        answer = agent.ping(Duration::from_secs(1));
        answer.is_err()
    });
    let silent = answer.unwrap_err();
    assert!(silent.is_late() && silent.is_silent(), "{silent:?}");
    wait_for("the guest agent's return", BOOT, || {
        agent.ping(Duration::from_secs(2)).is_ok()
    });
    let again = agent.exec(&["/bin/echo", "back"], None, BOOT).unwrap();
    assert_eq!(
        again.stdout, b"back\n",
        "late replies are not mistaken for newer ones"
    );
    agent.wait_job(&job, Duration::ZERO, BOOT, &|| false).unwrap();
    assert_eq!(agent.collect_job(&job).unwrap().exit_code, 0);
}

fn a_changed_start_leaves_the_definition_alone(lab: &Lab, image: &Path) {
    let xml = lab::domain_xml(image, lab.root.path(), ("kt-defined", Uuid::now_v7()), "");
    let domain = lab.connection.define_xml(&xml).unwrap();
    let files = || {
        let directory = fs::read_dir(lab.root.path().join("etc/qemu"))
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let files = directory.filter(|path| path.is_file());
        files
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let (definition, stored) = (domain.xml_inactive().unwrap(), files());
    assert!(!stored.is_empty());
    let unchanged = |after: &str| {
        assert_eq!(domain.xml_inactive().unwrap(), definition, "after {after}");
        assert!(files() == stored, "the stored definition changed after {after}");
    };

    let changed = definition.replace(
        "<vcpu placement='static'>2</vcpu>",
        "<vcpu placement='static'>1</vcpu>",
    );
    assert_ne!(changed, definition);
    domain.create_modified(&lab.connection, &changed).unwrap();
    assert!(domain.is_active().unwrap() && domain.is_persistent().unwrap());
    assert_eq!(domain.info().unwrap().vcpus, 1);
    unchanged("a changed start");
    assert!(
        domain.create_modified(&lab.connection, &changed).is_err(),
        "it runs"
    );
    domain.shutdown(ShutdownBy::Acpi).unwrap();
    domain.destroy().unwrap();
    assert!(domain.is_persistent().unwrap());
    unchanged("its end");

    let broken = definition.replace("/vmlinuz", "/no-such-kernel");
    assert!(domain.create_modified(&lab.connection, &broken).is_err());
    assert!(!domain.is_active().unwrap());
    unchanged("a failed start");
    let other = definition.replace(&domain.uuid().to_string(), &Uuid::now_v7().to_string());
    assert!(domain.create_modified(&lab.connection, &other).is_err());

    domain.create().unwrap();
    assert_eq!(domain.info().unwrap().vcpus, 2);
    domain.destroy().unwrap();
    // The first ordinary run lets libvirt put the controllers into its own order, in memory only.
    assert!(files() == stored);
    domain.undefine().unwrap();
}
