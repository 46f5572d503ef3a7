//! Every place of the domain XML that the catalogue names: set, proven in the running QEMU or guest, and given back.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
#[path = "common/own_lab.rs"]
mod own_lab;

use kvmtune::change::{Change, Journal, Outcome, with_treatment};
use kvmtune::experiment::Company;
use kvmtune::facts::Facts;
use kvmtune::host::{Host, Power};
use kvmtune::tunable::{Activation, Address, Home, Kind, Setting, Tunable, catalogue, level, lookup};
use own_lab::OwnLab;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Levels of what is no choice, each unlike what the lab's guest has.
const OTHERS: [(&str, &[&str]); 10] = [
    ("domain.machine", &["pc"]),
    ("domain.cpu.topology", &["1x2x1", "1x1x2"]),
    ("domain.disk.queues", &["1"]),
    ("domain.net.queues", &["2"]),
    ("domain.net.mtu", &["1400"]),
    ("guest.boot.mitigations", &["off", "auto,nosmt"]),
    ("guest.boot.hugepages-2MiB", &["8"]),
    ("guest.boot.hugepages-1GiB", &["0"]),
    ("guest.boot.transparent-hugepage", &["never"]),
    ("guest.boot.preempt", &["none"]),
];

/// Started alone: they change what the others are read from.
const ALONE: [&str; 4] = [
    "domain.machine",
    "domain.net.model",
    "domain.cpu.mode",
    "domain.memory.hugepages",
];

/// Proven where it takes other machines: two nodes, KVM, another emulator or kernel (`lab_ab`, `lab_run`).
const ELSEWHERE: [&str; 3] = ["domain.emulator", "domain.kernel", "domain.initrd"];

/// Levels that need one of another tunable.
const TOGETHER: [(&str, &str, &str, &str); 1] = [(
    "domain.disk.detect-zeroes",
    "unmap",
    "domain.disk.discard",
    "unmap",
)];

/// One level of one tunable to be proven, with what goes with it.
struct Case {
    name: String,
    text: String,
    settings: Vec<Setting>,
}

struct Sweep {
    lab: OwnLab,
    journal: Journal,
    facts: Facts,
    said: BTreeSet<String>,
    failed: Vec<String>,
}

fn xml_tunables() -> impl Iterator<Item = &'static Tunable> {
    catalogue()
        .iter()
        .filter(|t| matches!(t.home, Home::DomainXml(_)))
}

impl Sweep {
    fn say(&mut self, name: &str, text: &str) {
        eprintln!("{name}: {text}");
        self.said.insert(name.into());
    }

    /// What is set now, as it is read.
    fn now(&mut self, address: &Address) -> String {
        self.lab.host.read(address).unwrap_or_else(|e| e.to_string())
    }

    /// A level made real, or the reason why not.
    fn case(&mut self, tunable: &Tunable, text: &str) -> Result<Case, String> {
        let case = self.unchecked(tunable, text)?;
        match Setting::conflict(&case.settings, &self.facts) {
            Some(why) => Err(why),
            None => Ok(case),
        }
    }

    fn unchecked(&mut self, tunable: &Tunable, text: &str) -> Result<Case, String> {
        tunable.available(&self.facts).map_err(|e| e.to_string())?;
        let address = tunable.address(&self.facts).map_err(|e| e.to_string())?;
        let Address::DomainXml(setting) = &address else {
            unreachable!()
        };
        let value = tunable.kind.parse(text).map_err(|e| e.to_string())?;
        if let Some(meaning) = self.lab.host.meaning(setting, value.as_str()) {
            let meanings = self.facts.meanings.entry(address.to_string()).or_default();
            meanings.insert(value.to_string(), meaning);
        }
        let level = level(tunable, text, &self.facts).map_err(|e| e.to_string())?;
        let mut settings = level.settings;
        if let Some((_, _, other, with)) = TOGETHER
            .iter()
            .find(|(name, level, ..)| *name == tunable.name && *level == text)
        {
            let other = lookup(other).unwrap();
            settings.splice(0..0, self.case(&other, with)?.settings);
        }
        Ok(Case {
            name: tunable.name.clone(),
            text: text.into(),
            settings,
        })
    }

    /// The levels of a tunable that are not set now.
    fn cases(&mut self, tunable: &Tunable) -> Vec<Case> {
        let Ok(address) = tunable.address(&self.facts) else {
            return Vec::new();
        };
        let now = self.now(&address);
        let named = OTHERS.iter().find(|(name, _)| *name == tunable.name);
        let texts: Vec<String> = match (&tunable.kind, named) {
            (_, Some((_, texts))) => texts.iter().map(ToString::to_string).collect(),
            (Kind::Choice(choices), None) => choices.iter().filter(|c| **c != now).cloned().collect(),
            _ => vec!["1".into()],
        };
        let mut cases = Vec::new();
        for text in texts {
            match self.case(tunable, &text) {
                Ok(case) => cases.push(case),
                Err(why) => self.say(&tunable.name, &format!("unavailable: {why}")),
            }
        }
        cases
    }

    /// Proves cases in one start of the guest; what fails together is tried alone.
    fn prove(&mut self, cases: &[Case]) {
        if cases.is_empty() {
            return;
        }
        let mut settings: Vec<Setting> = Vec::new();
        for setting in cases.iter().flat_map(|c| &c.settings) {
            if !settings.iter().any(|s| s.address == setting.address) {
                settings.push(setting.clone());
            }
        }
        let before: Vec<_> = settings.iter().map(|s| self.now(&s.address)).collect();
        let change = Change {
            settings: &settings,
            activation: Activation::DomainRestart,
        };
        let done = with_treatment(&mut self.lab.host, &mut self.journal, &change, |_| ()).unwrap();
        let fault = match done.outcome {
            Outcome::Held(()) => None,
            other => Some(format!("{other:?}")),
        };
        if let (Some(fault), true) = (&fault, cases.len() > 1) {
            let names: Vec<_> = cases.iter().map(|c| format!("{}={}", c.name, c.text)).collect();
            eprintln!("together: {}: {fault}", names.join(" "));
        }
        self.lab.host.power(Power::On).unwrap();
        let after: Vec<_> = settings.iter().map(|s| self.now(&s.address)).collect();
        assert_eq!(before, after, "not as before");
        match fault {
            // Half of them may hold together.
            Some(_) if cases.len() > 1 => {
                let (some, others) = cases.split_at(cases.len() / 2);
                self.prove(some);
                self.prove(others);
            }
            Some(fault) => {
                let fault = format!("{} = {}: {fault}", cases[0].name, cases[0].text);
                eprintln!("failed: {fault}");
                self.failed.push(fault);
            }
            None => {
                for case in cases {
                    let own = &case.settings.last().unwrap();
                    let at = settings.iter().position(|s| s.address == own.address).unwrap();
                    let (was, is) = (&before[at], &own.value);
                    self.say(&case.name, &format!("proven {was} -> {is} -> {}", after[at]));
                }
            }
        }
    }

    /// Whether two cases can share a start.
    fn fits(&self, batch: &[Case], case: &Case) -> bool {
        let all: Vec<_> = batch
            .iter()
            .chain([case])
            .flat_map(|c| c.settings.clone())
            .collect();
        let places: BTreeSet<_> = all.iter().map(|s| s.address.to_string()).collect();
        let own: Vec<_> = batch.iter().chain([case]).map(|c| c.name.clone()).collect();
        let once = own.iter().collect::<BTreeSet<_>>().len() == own.len();
        let alone = own.len() > 1 && own.iter().any(|name| ALONE.contains(&name.as_str()));
        once && !alone && places.len() == all.len() && Setting::conflict(&all, &self.facts).is_none()
    }

    /// The data disk as another file, and in another format.
    fn prove_image(&mut self, folder: &Path) {
        let path = |name: &str| folder.join(name).display().to_string();
        std::fs::write(path("raw.img"), vec![0; 64 << 20]).unwrap();
        let made = Command::new("qemu-img")
            .args(["create", "-q", "-f", "qcow2", &path("q.qcow2"), "64M"])
            .status()
            .unwrap();
        assert!(made.success());
        let image = lookup("domain.disk.image").unwrap();
        let format = lookup("domain.disk.format").unwrap();
        let raw = self.unchecked(&image, &path("raw.img")).unwrap();
        let qcow2 = self.unchecked(&image, &path("q.qcow2")).unwrap();
        let as_qcow2 = self.unchecked(&format, "qcow2").unwrap();
        for (settings, mark) in [
            (qcow2.settings.clone(), "is qcow2 and the disk would be raw"),
            (as_qcow2.settings.clone(), "needs a domain.disk.image"),
            (
                [raw.settings.clone(), as_qcow2.settings.clone()].concat(),
                "is raw and the disk would be qcow2",
            ),
        ] {
            let why = Setting::conflict(&settings, &self.facts).unwrap_or_default();
            assert!(why.contains(mark), "{why}");
        }
        // Even past the plan no disk is started as what it is not.
        for settings in [&qcow2.settings, &as_qcow2.settings] {
            let change = Change {
                settings,
                activation: Activation::DomainRestart,
            };
            let done = with_treatment(&mut self.lab.host, &mut self.journal, &change, |_| ()).unwrap();
            let said = format!("{:?}", done.outcome);
            assert!(said.contains("domain.disk.format="), "{said}");
        }
        assert!(self.fits(&[qcow2], &as_qcow2));
        self.lab.host.power(Power::On).unwrap();
        let qcow2 = self.unchecked(&image, &path("q.qcow2")).unwrap();
        self.prove(&[raw]);
        self.prove(&[qcow2, as_qcow2]);
    }
}

#[test]
fn every_place_of_the_xml_is_proven_and_given_back() {
    let Some(mut lab) = OwnLab::open(&Company::default()) else {
        return;
    };
    let facts = lab.host.facts().unwrap();
    let mut sweep = Sweep {
        journal: Journal::open(lab.state.path()).unwrap(),
        lab,
        facts,
        said: BTreeSet::new(),
        failed: Vec::new(),
    };
    for tunable in xml_tunables() {
        for address in tunable.addresses_to_read(&sweep.facts) {
            if let Ok(raw) = sweep.lab.host.read(&address) {
                sweep.facts.readings.insert(address.to_string(), raw);
            }
        }
    }
    let facts = &sweep.facts;
    eprintln!("{:?} {} {:?}", facts.guest_link, facts.guest_nodes, facts.has);
    assert!(facts.guest_link.is_some() && facts.guest_nodes == 1);
    assert!(facts.guest_modules.contains("nf_conntrack") && !facts.host_modules.is_empty());

    let mut batches: Vec<Vec<Case>> = Vec::new();
    let skipped = ["domain.disk.image", "domain.disk.format"];
    for tunable in xml_tunables().filter(|t| !skipped.contains(&t.name.as_str())) {
        if ELSEWHERE.contains(&tunable.name.as_str()) {
            continue;
        }
        for case in sweep.cases(tunable) {
            match batches.iter().position(|batch| sweep.fits(batch, &case)) {
                Some(at) => batches[at].push(case),
                None => batches.push(vec![case]),
            }
        }
    }
    for batch in &batches {
        sweep.prove(batch);
    }
    let images = tempfile::tempdir().unwrap();
    sweep.prove_image(images.path());
    let silent: Vec<_> = xml_tunables()
        .map(|t| t.name.as_str())
        .filter(|name| !ELSEWHERE.contains(name) && !sweep.said.contains(*name))
        .collect();
    let failed = sweep.failed;
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(silent.is_empty(), "nothing was said of {silent:?}");
}
