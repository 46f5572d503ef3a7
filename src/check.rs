//! What this host and guest lack for an experiment, all of it at once, each with what mends it.
//!
//! Reads only. Does not know plans; whether a level is offered is the plan's business.

mod unrest;

pub use unrest::unrest;

use crate::experiment::{Experiment, Guest};
use crate::host::agent::Agent;
use crate::host::ssh::{Ssh, SshError};
use crate::host::transport::Transport;
use crate::host::{LocalHost, controllers, program};
use crate::lab::{self, image};
use crate::tunable::{Home, Requirement, Tunable, XmlSetting};
use crate::workload::{self, Places, Side, Workload};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// A guest that runs lets an ssh client in within seconds.
const SSH_LIMIT: Duration = Duration::from_secs(10);

/// One thing that is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lack {
    /// What is missing, and what it is needed for.
    pub what: String,
    /// A command or a step that mends it.
    pub mend: String,
}

impl Lack {
    fn new(what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            mend: mend.into(),
        }
    }
}

/// What can be told without starting anything. Without an experiment: what the lab needs.
pub fn host_lacks(experiment: Option<&Experiment>) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        lacks.push(Lack::new(
            "root: needed to start guests, attach loop devices and write host settings",
            "run it with sudo",
        ));
    }
    if experiment.is_none_or(|e| matches!(e.guest, Guest::Lab { .. })) {
        lab_lacks(&mut lacks);
    }
    if let Some(experiment) = experiment {
        client_lacks(&experiment.guest, &mut lacks);
        tunable_lacks(experiment, &mut lacks);
        lacks.extend(memory_lack(experiment));
        for workload in &experiment.workloads {
            let is_bare = matches!(experiment.guest, Guest::Host { .. });
            let here = commands(workload).filter(|(side, _)| is_bare || *side == Side::Host);
            for (_, program) in here.filter(|(_, program)| image::find(program).is_none()) {
                lacks.push(Lack::new(
                    format!("program {program} on the host, for workload {}", workload.name),
                    format!("apt-get install {}", image::package_of(program)),
                ));
            }
        }
    }
    lacks.dedup();
    lacks
}

fn lab_lacks(lacks: &mut Vec<Lack>) {
    let missing = image::missing();
    let mend = image::install_command(&missing);
    lacks.extend(
        missing
            .iter()
            .map(|m| Lack::new(format!("{m}, for the lab guest"), mend.clone())),
    );
    for (program, package) in [("losetup", "mount"), ("ip", "iproute2")] {
        if image::find(program).is_none() {
            lacks.push(Lack::new(
                format!("program {program}, for the lab"),
                format!("apt-get install {package}"),
            ));
        }
    }
    // The embedded driver looks this user up even when it does not use it.
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    if !users.lines().any(|l| l.starts_with("libvirt-qemu:")) {
        lacks.push(Lack::new(
            "user libvirt-qemu, for libvirt",
            "apt-get install libvirt-daemon-system",
        ));
    }
}

/// What ssh needs on this host: programs, and the files the experiment names.
fn client_lacks(guest: &Guest, lacks: &mut Vec<Lack>) {
    let (programs, files): (&[(&str, &str)], _) = match guest {
        Guest::Lab { ssh: true, .. } => (&lab::ssh::PROGRAMS, Vec::new()),
        Guest::Domain {
            ssh: Some(target), ..
        } => (
            &[("ssh", "openssh-client"), ("setpriv", "util-linux")],
            vec![
                ("identity", &target.identity),
                ("known-hosts", &target.known_hosts),
            ],
        ),
        Guest::Lab { .. } | Guest::Domain { .. } | Guest::Host { .. } => return,
    };
    for (program, package) in programs
        .iter()
        .filter(|(program, _)| image::find(program).is_none())
    {
        lacks.push(Lack::new(
            format!("program {program} (package {package}), to reach the guest by ssh"),
            format!("apt-get install {package}"),
        ));
    }
    for (key, path) in files {
        if let Err(error) = fs::File::open(path) {
            lacks.push(Lack::new(
                format!("the file {path}, to reach the guest by ssh ({error})"),
                format!("make it, or name another as `{key}` in guest = {{ …, ssh = {{ … }} }}"),
            ));
        }
    }
}

fn tunable_lacks(experiment: &Experiment, lacks: &mut Vec<Lack>) {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let has_mount = |kind: &str| mounts.lines().any(|l| l.split(' ').nth(2) == Some(kind));
    // The lab mounts its own.
    let uses_domain = matches!(experiment.guest, Guest::Domain { .. });
    let offered = controllers();
    for factor in &experiment.factors {
        let name = &factor.tunable.name;
        match &factor.tunable.home {
            Home::DomainXml(XmlSetting::Hugepages) if uses_domain && !has_mount("hugetlbfs") => {
                lacks.push(Lack::new(
                    format!("a mounted hugetlbfs, for {name}"),
                    "mkdir -p /dev/hugepages && mount -t hugetlbfs hugetlbfs /dev/hugepages",
                ));
            }
            Home::Domain(_) | Home::Neighbour(_) => controller_lack(&factor.tunable, &offered, lacks),
            _ => {}
        }
    }
}

/// All guests of a lab hold their memory at the same time.
fn memory_lack(experiment: &Experiment) -> Option<Lack> {
    let Guest::Lab { memory, company, .. } = &experiment.guest else {
        return None;
    };
    let router = company.path.is_some().then_some(lab::ROUTER_MEMORY.0);
    let memories = company.neighbours.iter().map(|n| n.memory.0).chain(router);
    let guests = memories.clone().count() + 1;
    let beside: u64 = memories.sum();
    let wanted = memory.0.saturating_add(beside);
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let available: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    (beside > 0 && wanted > available << 10).then(|| {
        Lack::new(
            format!(
                "memory for {guests} guests: they hold {} MiB, and {} MiB are available",
                wanted >> 20,
                available >> 10
            ),
            "give them less `memory`, name fewer [[neighbour]], or leave out [path]",
        )
    })
}

/// A controller that is not mounted; whatever else a tunable needs is asked when the guest runs.
fn controller_lack(tunable: &Tunable, offered: &BTreeSet<String>, lacks: &mut Vec<Lack>) {
    for need in &tunable.needs {
        let Requirement::Has(word) = need else { continue };
        if let Some(controller) = word.strip_prefix("controller ")
            && !offered.contains(word)
        {
            lacks.push(Lack::new(
                format!("the cgroup {word}, for {}", tunable.name),
                format!("mount it: mount -t cgroup -o {controller} cgroup /sys/fs/cgroup/{controller}"),
            ));
        }
    }
}

fn commands(workload: &Workload) -> impl Iterator<Item = (Side, &str)> {
    let prepare = workload.prepare.as_ref().map(|prepare| &prepare.argv);
    let own = std::iter::once(&workload.argv).chain(prepare);
    let own = own.map(|argv| (workload.side, workload::program(argv)));
    let server = workload
        .server
        .as_ref()
        .and_then(|s| Some((s.side, s.argv.first()?.as_str())));
    let besides = workload
        .programs
        .iter()
        .map(|name| (workload.side, name.as_str()));
    // kvmtune brings its own.
    own.chain(besides)
        .chain(server)
        .filter(|(_, name)| *name != program::NAME)
}

/// What brings a program into the guest.
fn program_mend(guest: &Guest, program: &str) -> String {
    let package = image::package_of(program);
    match guest {
        Guest::Lab { .. } if image::is_for_labs(program) => {
            format!("on this machine, from which a lab guest has its programs: apt-get install {package}")
        }
        Guest::Lab { .. } => format!(
            "a lab guest never has it; use a guest of your own with the package {package}: guest = {{ domain = \"…\" }}"
        ),
        Guest::Domain { .. } | Guest::Host { .. } => format!("in the guest: apt-get install {package}"),
    }
}

/// What a guest of the user's lacks, as can be told from its definition, without starting it.
pub fn definition_lacks(experiment: &Experiment, host: &LocalHost, places: &Places) -> Vec<Lack> {
    let mut lacks = Vec::new();
    if !host.has_way_in() {
        lacks.push(Lack::new(
            "a channel for the guest agent in the domain's definition",
            "virsh edit it: <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>, \
             then shut the guest down and start it again; or reach the guest by ssh: guest = { …, transport = \"ssh\" }",
        ));
    }
    for workload in &experiment.workloads {
        if workload.needs_scratch() && places.scratch.is_empty() {
            lacks.push(Lack::new(
                format!("a scratch file, for workload {}", workload.name),
                "name one in the experiment: guest = { …, scratch = \"/var/tmp/kvmtune.dat\" }",
            ));
        }
        if workload.needs_network() && places.guest_address.is_empty() {
            lacks.push(Lack::new(
                format!("a network between host and guest, for workload {}", workload.name),
                "use the lab (guest = { kind = \"lab\" }): kvmtune sends traffic only inside a network of its own",
            ));
        }
    }
    lacks
}

/// What the running guest lacks.
pub fn guest_lacks(experiment: &Experiment, host: &LocalHost, places: &Places) -> Vec<Lack> {
    let guest = match host.transport() {
        Ok(guest) => guest,
        Err(error) => return vec![Lack::new(error.to_string(), "start the guest")],
    };
    let lacks = match guest {
        Transport::Agent(agent) => agent_lacks(agent),
        Transport::Ssh(ssh) => ssh_lacks(ssh),
    };
    if lacks.is_empty() {
        lacks_inside(experiment, guest, places)
    } else {
        lacks
    }
}

fn agent_lacks(agent: &Agent) -> Vec<Lack> {
    let info = match agent.info() {
        Ok(info) => info,
        Err(error) => {
            let mend = "install qemu-guest-agent in the guest and start it";
            return vec![Lack::new(format!("an answering guest agent ({error})"), mend)];
        }
    };
    let lacking = info.lacking().into_iter().map(|command| {
        Lack::new(
            format!("agent command {command}, which the guest blocks or lacks"),
            "allow it in the guest's /etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf and restart the agent; or reach \
             the guest by ssh: guest = { …, transport = \"ssh\" }",
        )
    });
    lacking.collect()
}

fn ssh_lacks(ssh: &Ssh) -> Vec<Lack> {
    let lack =
        |what: String, mend: String| vec![Lack::new(format!("a guest that answers over ssh: {what}"), mend)];
    match ssh.ping(SSH_LIMIT) {
        Ok(()) => Vec::new(),
        Err(SshError::Connect(error)) => lack(format!("{}: {}", error.target, error.why()), error.mend()),
        Err(error) => lack(error.to_string(), format!("try `ssh {}` by hand", ssh.target())),
    }
}

fn lacks_inside(experiment: &Experiment, guest: &Transport, places: &Places) -> Vec<Lack> {
    let mut lacks = Vec::new();
    let succeeds = |script: &str, word: &str| {
        let argv = ["/bin/sh", "-c", script, "kvmtune", word];
        let done = guest.exec(&argv, None, Duration::from_secs(10));
        done.is_ok_and(|done| done.exit_code == 0)
    };
    if !succeeds("test \"$(id -u)\" = 0", "") {
        lacks.push(Lack::new(
            "root in the guest: needed to write its settings",
            "let kvmtune in as root: guest = { …, ssh = { …, user = \"root\" } }",
        ));
    }
    // Neighbours boot the same image.
    let workloads = experiment.every_workload();
    let uses_scratch = workloads.iter().any(Workload::needs_scratch);
    if uses_scratch && !succeeds("test -w \"$1\" || test -w \"${1%/*}/\"", &places.scratch) {
        lacks.push(Lack::new(
            format!("a folder in the guest for the scratch file {}", places.scratch),
            "make it in the guest, or name another file: guest = { …, scratch = \"/var/tmp/kvmtune.dat\" }",
        ));
    }
    for workload in &workloads {
        for (_, program) in commands(workload).filter(|(side, _)| *side == Side::Guest) {
            if !succeeds("command -v -- \"$1\"", program) {
                lacks.push(Lack::new(
                    format!("program {program} in the guest, for workload {}", workload.name),
                    program_mend(&experiment.guest, program),
                ));
            }
        }
    }
    lacks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brings_a_program_depends_on_the_guest() {
        let lab = Guest::Lab {
            vcpus: 2,
            memory: crate::units::Bytes::mib(512),
            disk: crate::units::Bytes::mib(256),
            ssh: false,
            company: crate::experiment::Company::default(),
        };
        let here = program_mend(&lab, "hackbench");
        assert!(
            here.starts_with("on this machine") && here.ends_with("install rt-tests"),
            "{here}"
        );
        let never = program_mend(&lab, "pgbench");
        assert!(
            never.contains("never") && never.contains("postgresql-contrib"),
            "{never}"
        );
        let own = program_mend(&Guest::Host { scratch: None }, "mytool");
        assert_eq!(own, "in the guest: apt-get install mytool");
    }

    #[test]
    fn every_program_of_a_workload_is_looked_for() {
        let library = crate::workload::Library::builtin();
        let of = |name: &str| -> Vec<_> { library.get(name).into_iter().flat_map(commands).collect() };
        assert_eq!(
            of("pgbench"),
            [(Side::Guest, "runuser"), (Side::Guest, "pgbench")]
        );
        let redis = [(Side::Guest, "redis-benchmark"), (Side::Guest, "redis-server")];
        assert_eq!(of("redis-get"), redis);
    }
}
