//! Every live tunable of a domain, changed, proven and given back: in the lab, and on a domain of a user's.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[allow(dead_code, reason = "it runs the binary for other tests")]
mod libvirtd;
#[path = "common/own_lab.rs"]
mod own_lab;

use kvmtune::change::{Change, Journal, Outcome, with_treatment};
use kvmtune::experiment::Company;
use kvmtune::facts::Facts;
use kvmtune::host::{Host, LocalHost, Power};
use kvmtune::tunable::{
    Activation, Address, DomainSetting, Home, ParameterGroup, Setting, Tunable, catalogue, level, lookup,
};
use libvirtd::{Agents, Daemon, common};
use own_lab::OwnLab;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What the kernel of the guest under test may lack; anything else must be proven.
const MAY_LACK: [&str; 3] = [
    "domain.blkio.weight",
    "domain.blkio.device-weight",
    "domain.memory.swap-hard-limit",
];

#[test]
fn every_live_value_of_the_lab_is_proven_and_given_back() {
    let Some(mut lab) = OwnLab::open(&Company::default()) else {
        return;
    };
    let mut sweep = Sweep::new(&mut lab.host);
    sweep.every_tunable(&[]);
    sweep.both_memory_limits();
    sweep.a_total_in_place_of_reads();
    sweep.threads_within_the_whole_guest();
    sweep.what_libvirt_does_not_know_is_told();
}

#[test]
fn every_live_value_of_a_users_domain_is_proven_and_its_definition_untouched() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    let open =
        || LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), std::sync::Arc::default()).unwrap();
    let mut host = open();
    // Where the disk of this machine has no device of its own, as below an overlay, it has no limits either.
    let may_lack = [
        "domain.blkio.device-read-iops",
        "domain.blkio.device-write-iops",
        "domain.blkio.device-read-bytes",
        "domain.blkio.device-write-bytes",
    ];
    let mut found = Vec::new();
    for _ in 0..2 {
        host.power(Power::On).unwrap();
        let mut sweep = Sweep::new(&mut host);
        sweep.every_tunable(&may_lack);
        found.push(sweep.readings());
        user.assert_definition_is_untouched();
        host.power(Power::Off).unwrap();
        user.assert_definition_is_untouched();
    }
    assert_eq!(found[0], found[1], "nothing outlives a restart");
}

/// A running guest, and a journal for what is done to it.
struct Sweep<'h> {
    host: &'h mut LocalHost,
    facts: Facts,
    journal: Journal,
    _state: TempDir,
}

fn live_tunables() -> impl Iterator<Item = &'static Tunable> {
    catalogue().iter().filter(|t| matches!(t.home, Home::Domain(_)))
}

fn parameter(group: ParameterGroup, field: &str) -> Address {
    Address::Domain(DomainSetting::Parameter(group, field.into()))
}

/// A level that is not what a guest has that nobody tuned.
fn another(tunable: &Tunable) -> &'static str {
    let Home::Domain(setting) = &tunable.home else {
        panic!("{}", tunable.name)
    };
    match setting {
        DomainSetting::VcpuPins => "compact",
        DomainSetting::EmulatorPin => "1",
        DomainSetting::IothreadPins => "1=1",
        DomainSetting::Parameter(_, field) => match field.as_str() {
            "cpu_shares" => "512",
            "hard_limit" => "2097152",
            "soft_limit" => "1048576",
            "swap_hard_limit" => "3145728",
            "weight" | "device_weight" => "300",
            bytes if bytes.contains("_bytes") => "96MiB",
            requests if requests.contains("_iops") => "4000",
            period if period.ends_with("_period") => "50000",
            _ => "80000",
        },
    }
}

impl<'h> Sweep<'h> {
    fn new(host: &'h mut LocalHost) -> Self {
        let state = tempfile::tempdir().unwrap();
        let mut facts = host.facts().unwrap();
        for address in live_tunables()
            .flat_map(|t| t.addresses_to_read(&facts))
            .collect::<Vec<_>>()
        {
            if let Ok(raw) = host.read(&address) {
                facts.readings.insert(address.to_string(), raw);
            }
        }
        eprintln!(
            "{:?}, {} I/O threads, disk {:?}",
            facts.has, facts.iothreads, facts.host_disk
        );
        Self {
            host,
            facts,
            journal: Journal::open(state.path()).unwrap(),
            _state: state,
        }
    }

    fn readings(&self) -> BTreeMap<String, String> {
        self.facts.readings.clone()
    }

    fn settings(&self, name: &str, text: &str) -> Vec<Setting> {
        level(&lookup(name).unwrap(), text, &self.facts).unwrap().settings
    }

    /// Each tunable alone, unless another must be set with it.
    fn every_tunable(&mut self, may_lack: &[&str]) {
        let mut count = 0;
        for tunable in live_tunables() {
            let name = tunable.name.as_str();
            if let Err(why) = tunable.available(&self.facts) {
                eprintln!("{name}: unavailable: {why}");
                assert!(
                    MAY_LACK.contains(&name) || may_lack.contains(&name),
                    "{name}: {why}"
                );
                continue;
            }
            let mut settings = self.settings(name, another(tunable));
            if name == "domain.memory.swap-hard-limit" {
                settings.extend(self.settings("domain.memory.hard-limit", "2097152"));
            }
            let (old, new) = self.prove(name, settings);
            eprintln!("{name}: proven {old} -> {new} -> {old}");
            count += 1;
        }
        eprintln!("{count} of {} proven", live_tunables().count());
    }

    /// Sets, proves, restores; what was and what was proven of the setting named first.
    fn prove(&mut self, name: &str, mut settings: Vec<Setting>) -> (String, String) {
        let own = settings[0].address.clone();
        Setting::in_safe_order(&mut settings, &self.facts);
        let at = settings.iter().position(|s| s.address == own).unwrap();
        assert_eq!(Setting::conflict(&settings, &self.facts), None, "{name}");
        let read = |host: &mut dyn Host| -> Vec<String> {
            let raws = settings.iter().map(|s| host.read(&s.address).unwrap());
            raws.collect()
        };
        let old = read(self.host);
        let wanted: Vec<_> = settings.iter().map(|s| s.value.to_string()).collect();
        assert!(
            old.iter().zip(&wanted).all(|(old, new)| old != new),
            "{name}: {old:?}"
        );
        assert!(!old.concat().contains("libvirt says"), "{name}: {old:?}");
        let change = Change {
            settings: &settings,
            activation: Activation::Live,
        };
        let done = with_treatment(self.host, &mut self.journal, &change, |verified| {
            let raws = settings.iter().map(|s| verified.host().read(&s.address).unwrap());
            raws.collect::<Vec<_>>()
        });
        let outcome = done.unwrap().outcome;
        let Outcome::Held(proven) = outcome else {
            panic!("{name}: {outcome:?}")
        };
        assert_eq!(proven, wanted, "{name}");
        assert_eq!(read(self.host), old, "{name}");
        (old[at].clone(), proven[at].clone())
    }

    /// Named in the wrong order, and lowered and raised with both set before.
    fn both_memory_limits(&mut self) {
        let swap = lookup("domain.memory.swap-hard-limit").unwrap();
        if swap.available(&self.facts).is_err() {
            return;
        }
        let both = |sweep: &Self, hard, memory_and_swap| {
            let mut all = sweep.settings("domain.memory.swap-hard-limit", memory_and_swap);
            all.extend(sweep.settings("domain.memory.hard-limit", hard));
            all
        };
        let alone = self.settings("domain.memory.swap-hard-limit", "2097152");
        assert!(Setting::conflict(&alone, &self.facts).is_some());
        self.prove("both limits", both(self, "2097152", "2097152"));

        let places = ["hard_limit", "swap_hard_limit"].map(|f| parameter(ParameterGroup::Memory, f));
        let before = places.clone().map(|place| self.host.read(&place).unwrap());
        let found = self.readings();
        for (place, kib) in places.iter().zip(["2000000", "2500000"]) {
            self.host.write(place, kib).unwrap();
            self.facts.readings.insert(place.to_string(), kib.into());
        }
        self.prove("raised limits", both(self, "3000000", "4000000"));
        self.prove("lowered limits", both(self, "1800000", "1900000"));
        for (place, old) in places.iter().zip(&before).rev() {
            self.host.write(place, old).unwrap();
        }
        assert_eq!(places.map(|place| self.host.read(&place).unwrap()), before);
        self.facts.readings = found;
    }

    /// A limit of one kind is left alone by another of its family, and an excluded one gives way first.
    fn a_total_in_place_of_reads(&mut self) {
        let total = parameter(ParameterGroup::Throttle, "total_iops_sec");
        self.host.write(&total, "900").unwrap();
        let found = self.readings();
        self.facts.readings.insert(total.to_string(), "900".into());
        let mut settings = self.settings("domain.disk.throttle.write-iops", "300");
        settings.extend(self.settings("domain.disk.throttle.read-iops", "200"));
        assert!(Setting::conflict(&settings, &self.facts).is_some());
        settings.extend(self.settings("domain.disk.throttle.total-iops", "0"));
        self.prove("reads in place of a total", settings);
        self.host.write(&total, "0").unwrap();
        self.facts.readings = found;
    }

    /// Named in the wrong order, raised from limits on both; and what the plan leaves out is what the kernel refuses.
    fn threads_within_the_whole_guest(&mut self) {
        let places = ["global_quota", "vcpu_quota"].map(|f| parameter(ParameterGroup::Scheduler, f));
        let found = self.readings();
        for (place, quota) in places.iter().zip(["50000", "40000"]) {
            self.host.write(place, quota).unwrap();
            self.facts.readings.insert(place.to_string(), quota.into());
        }
        let more = self.settings("domain.cpu.quota", "60000");
        assert!(Setting::conflict(&more, &self.facts).is_some());
        if self.groups_are_of_version_1() {
            assert!(self.host.write(&places[1], "60000").is_err());
            assert_eq!(self.host.read(&places[1]).unwrap(), "40000");
        }
        let mut both = more;
        both.extend(self.settings("domain.cpu.global-quota", "70000"));
        self.prove("raised quotas", both);
        for place in places.iter().rev() {
            self.host.write(place, "-1").unwrap();
        }
        self.facts.readings = found;
    }

    fn groups_are_of_version_1(&self) -> bool {
        Groups::of(&self.host.uuid())
            .file("cpu", "cpu.cfs_quota_us")
            .is_some()
    }

    /// What is changed behind libvirt's back does not read as proven.
    fn what_libvirt_does_not_know_is_told(&mut self) {
        let groups = Groups::of(&self.host.uuid());
        let numbers = fs::read_to_string(format!(
            "/sys/block/{}/dev",
            self.facts.host_disk.as_ref().unwrap()
        ));
        let numbers = numbers.unwrap().trim().to_string();
        let Some(file) = groups.file("blkio", "blkio.throttle.read_iops_device") else {
            eprintln!("no cgroup of version 1: nothing to change behind libvirt's back");
            return;
        };
        let place = parameter(ParameterGroup::Blkio, "device_read_iops_sec");
        fs::write(&file, format!("{numbers} 77\n")).unwrap();
        assert_eq!(self.host.read(&place).unwrap(), "77 (libvirt says 0)");
        fs::write(&file, format!("{numbers} 0\n")).unwrap();
        assert_eq!(self.host.read(&place).unwrap(), "0");

        let file = groups.file("cpu", "vcpu1/cpu.cfs_period_us").unwrap();
        let place = parameter(ParameterGroup::Scheduler, "vcpu_period");
        fs::write(&file, "70000\n").unwrap();
        let found = self.host.read(&place).unwrap();
        assert!(found.starts_with("vcpu0: 100000, vcpu1: 70000"), "{found}");
        fs::write(&file, "100000\n").unwrap();
        assert_eq!(self.host.read(&place).unwrap(), "100000");

        let thread = nix::unistd::Pid::from_raw(groups.pid);
        let (old, mut one) = (
            nix::sched::sched_getaffinity(thread).unwrap(),
            nix::sched::CpuSet::new(),
        );
        one.set(0).unwrap();
        nix::sched::sched_setaffinity(thread, &one).unwrap();
        let place = Address::Domain(DomainSetting::EmulatorPin);
        let found = self.host.read(&place).unwrap();
        assert!(found.contains(&format!("thread {thread}: 0,")), "{found}");
        nix::sched::sched_setaffinity(thread, &old).unwrap();
        assert!(!self.host.read(&place).unwrap().contains("thread"));
    }
}

/// The cgroups of the QEMU that has a UUID on its command line.
struct Groups {
    pid: i32,
    text: String,
}

impl Groups {
    fn of(uuid: &str) -> Self {
        let pids = fs::read_dir("/proc").unwrap().flatten();
        let mut pids = pids.filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
        let is_it = |pid: &i32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = command.split(|b| *b == 0);
            words.any(|w| w == b"-uuid") && words.next() == Some(uuid.as_bytes())
        };
        let pid = pids.find(is_it).unwrap();
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        Self { pid, text }
    }

    /// A file of the machine's group of version 1.
    fn file(&self, controller: &str, name: &str) -> Option<PathBuf> {
        let mut lines = self
            .text
            .lines()
            .map(|line| line.splitn(3, ':').collect::<Vec<_>>());
        let line = lines.find(|fields| fields[1].split(',').any(|c| c == controller))?;
        let path = Path::new("/sys/fs/cgroup")
            .join(controller)
            .join(line[2].trim_start_matches('/'));
        let own = if path.ends_with("emulator") {
            path.parent()?
        } else {
            &path
        };
        Some(own.join(name)).filter(|file| file.exists())
    }
}
