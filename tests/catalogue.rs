//! Every tunable of the catalogue: bad values are refused while the file is read, and whatever fails or is killed while
//! it is changed, the host comes back.
//!
//! The machine is made up from the tunables themselves, so that all of them are there.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "common/kill.rs"]
mod kill;
mod support;

use kill::die_at;
use kvmtune::change::*;
use kvmtune::design::{Pace, Part, Plan, Treatment};
use kvmtune::diagnostic::Source;
use kvmtune::experiment::{Experiment, parse};
use kvmtune::host::fake::{FakeHost, FakeState, Fault};
use kvmtune::simulation::Machine;
use kvmtune::tunable::{Activation, Address, HATCHES, Kind, Tunable, catalogue};
use kvmtune::workload::Library;
use std::fmt::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use support::*;

/// Tunables that are changed together: few enough for every call to be failed in turn.
const GROUP: usize = 12;
const ORDER: &str = "KVMTUNE_TEST_CATALOGUE";

/// A legal level that is not the one set at first.
fn level_of(tunable: &Tunable) -> String {
    let default = tunable.default.as_deref().unwrap_or("0");
    match &tunable.kind {
        Kind::Integer { .. } if tunable.limit.is_some() => Some("2".into()),
        Kind::Integer { min, max } => [*max, *min, 7]
            .map(|n| n.to_string())
            .into_iter()
            .find(|n| n != default),
        Kind::Bytes { max, .. } => Some(max.to_string()),
        Kind::Sizes { .. } => Some("5000 6000 7000".into()),
        // Its last level takes a disk that discards.
        Kind::Choice(_) if tunable.name == "domain.disk.detect-zeroes" => Some("on".into()),
        Kind::Choice(_) if tunable.name == "domain.memory.hugepages" => Some("2MiB".into()),
        Kind::Choice(choices) => choices.iter().rev().find(|c| *c != default).cloned(),
        Kind::Pins if tunable.name == "domain.cpu.iothread-pin" => Some("1=1".into()),
        Kind::Pins => Some("compact".into()),
        Kind::Set => Some("1".into()),
        Kind::Topology => Some("2x1x1".into()),
        Kind::Placement => Some("node1".into()),
        Kind::Path { .. } => Some("/opt/other".into()),
        Kind::Word { .. } | Kind::Words | Kind::Boot => Some("other".into()),
    }
    .unwrap()
}

fn experiment(factors: &str) -> Result<Experiment, String> {
    let text = format!(
        "allow = [\"data-loss\", \"security\", \"lockout\"]\n{factors}\n[workload]\nuse = \"stress-ng-memory\"\n"
    );
    let source = Source {
        name: "x.toml".into(),
        text,
    };
    parse(&source, &Library::builtin()).map_err(|e| e.to_string())
}

/// Everything that can be changed without a reboot of the host, a group at a time: such as can be set together.
fn groups() -> Vec<Vec<&'static Tunable>> {
    let all = catalogue().iter();
    let here = all.filter(|t| t.activation != Activation::HostReboot && t.gone.is_none());
    let mut groups: Vec<Vec<&Tunable>> = Vec::new();
    // A format alone, without an image of it, is refused.
    for tunable in here.filter(|t| t.name != "domain.disk.format") {
        let fits = |group: &&mut Vec<&'static Tunable>| {
            group.len() < GROUP && plan(&[group.as_slice(), &[tunable]].concat()).is_ok()
        };
        match groups.iter_mut().find(fits) {
            Some(group) => group.push(tunable),
            None => groups.push(vec![tunable]),
        }
    }
    groups
}

/// The machine of a group, and the treatment that changes all of it.
struct Stage {
    state: FakeState,
    twins: Vec<(Address, Address)>,
    treatment: Treatment,
}

impl Stage {
    fn host(&self) -> FakeHost {
        let mut host = FakeHost::with_state(self.state.clone());
        self.prepare(&mut host);
        host
    }

    /// What a kernel knows is not part of the state that is kept.
    fn prepare(&self, host: &mut FakeHost) {
        for (one, other) in &self.twins {
            host.twin(one, other);
        }
    }
}

/// The machine of a group, and the plan of changing all of it; or why that is refused.
fn plan(group: &[&Tunable]) -> Result<(Machine, Plan), String> {
    // What the first treatment does not name is as it was found.
    let mut text = "design = { kind = \"explicit\" }\n".to_string();
    text += "[[treatment]]\nset = { \"guest-sysctl:kernel.one\" = \"0\" }\n[[treatment]]\nset = {";
    for tunable in group {
        write!(text, " \"{}\" = \"{}\",", tunable.name, level_of(tunable)).unwrap();
    }
    let text = text.trim_end_matches(',').to_string() + " }\n";
    let experiment = experiment(&text)?;
    let machine = Machine::of(&experiment);
    let pace = Pace {
        boot: Duration::ZERO,
        overhead: Duration::ZERO,
    };
    let plan = Plan::new(&experiment, &machine.facts, Part::Whole, pace, 1).map_err(|e| e.to_string())?;
    Ok((machine, plan))
}

fn stage(group: &[&Tunable]) -> Stage {
    let (machine, plan) = plan(group).unwrap_or_else(|e| panic!("{}: {e}", group[0].name));
    let host = FakeHost::new(
        machine
            .values
            .iter()
            .map(|(a, value)| (a.clone(), value.as_str())),
    );
    Stage {
        state: host.state().clone(),
        twins: machine.twins,
        treatment: plan.treatments[1].clone(),
    }
}

/// The whole plot with a trial in it, as the runner does it.
fn change(host: &mut FakeHost, journal: &mut Journal, treatment: &Treatment) -> Result<(), ChangeError> {
    let done = with_treatment(host, journal, &cold(&treatment.restart), |plot| {
        plot.nested(&live(&treatment.live), |trial| trial.run(&job()).is_ok())
            .map(|_| ())
    })?;
    match done.outcome {
        Outcome::Held(ended) | Outcome::Drifted { value: ended, .. } => ended,
        Outcome::NotInEffect(drifts) => panic!("{drifts:?}"),
        Outcome::Failed { value, .. } => value.unwrap_or(Ok(())),
    }
}

#[test]
fn every_tunable_is_changed_and_given_back() {
    let mut changed = 0;
    for group in groups() {
        let stage = stage(&group);
        let (mut host, treatment) = (stage.host(), &stage.treatment);
        let dir = tempfile::tempdir().unwrap();
        let wanted = treatment.restart.len() + treatment.live.len();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut held = false;
        let done = with_treatment(&mut host, &mut journal, &cold(&treatment.restart), |plot| {
            plot.nested(&live(&treatment.live), |_| held = true)
                .unwrap()
                .outcome
        });
        let outcome = done.unwrap().outcome;
        assert!(held, "{outcome:?}");
        assert_eq!(difference(&stage.state, host.state()), "");
        assert!(wanted >= group.len());
        changed += group.len();
    }
    println!("{changed} tunables changed, verified and given back");
    assert!(changed > 180);
}

#[test]
fn every_call_fails_in_turn() {
    let (mut cases, mut recovered) = (0, 0);
    for group in groups() {
        let stage = stage(&group);
        let (mut host, treatment, before) = (stage.host(), &stage.treatment, &stage.state);
        let dir = tempfile::tempdir().unwrap();
        change(&mut host, &mut Journal::open(dir.path()).unwrap(), treatment).unwrap();
        for call in 1..=host.calls().len() as u64 {
            // Once, lastingly, and with the guest hanging from then on.
            for (lasting, hangs_guest) in [(call % 3 == 0, false), (false, true)] {
                let mut host = stage.host();
                host.fail(Some(Fault {
                    call,
                    lasting,
                    done: call % 2 == 0,
                    hangs_guest,
                }));
                let mut journal = Journal::open(dir.path()).unwrap();
                let ended = change(&mut host, &mut journal, treatment);
                drop(journal);
                host.fail(None);
                let case = format!(
                    "{} and others, call {call} {lasting} {hangs_guest}",
                    group[0].name
                );
                cases += 1;
                match ended {
                    Ok(()) => assert_eq!(difference(before, host.state()), "", "{case}"),
                    Err(ChangeError::NotRestored { .. }) => {
                        recovered += 1;
                        recover_all(dir.path(), &mut host, before, &case);
                    }
                    Err(other) => panic!("{case}: {other}"),
                }
            }
        }
    }
    println!(
        "fault sweep of the catalogue: {cases} cases, {recovered} of them reported and restored by recovery"
    );
    assert!(cases > 2000 && recovered > 200, "{cases} {recovered}");
}

/// The process that is killed: `append|call N NAMES DIR`. Does nothing when run as a test.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let words: Vec<&str> = order.splitn(4, ' ').collect();
    let [at, point, group, dir] = words[..] else {
        panic!("{order}")
    };
    let dir = Path::new(dir);
    let all = catalogue();
    let named = |name: &str| all.iter().find(|t| t.name == name).unwrap();
    let stage = stage(&group.split(',').map(named).collect::<Vec<_>>());
    let mut host = FakeHost::load(&dir.join("host.json")).unwrap();
    stage.prepare(&mut host);
    let mut journal = Journal::open(dir).unwrap();
    match at {
        "append" => journal.observe(die_at(point.parse().unwrap())),
        _ => host.observe(die_at(point.parse().unwrap())),
    }
    change(&mut host, &mut journal, &stage.treatment).unwrap();
}

#[test]
fn killed_at_every_change_the_host_comes_back() {
    let mut kills = 0;
    for (number, group) in groups().iter().enumerate() {
        let stage = stage(group);
        let names = group
            .iter()
            .map(|t| t.name.as_str())
            .collect::<Vec<_>>()
            .join(",");
        for at in ["append", "call"] {
            // Of the calls between two writes one is like another: every fifth of them, others in each group.
            let step = if at == "call" { 5 } else { 1 };
            for point in (1 + number as u64 % step..).step_by(usize::try_from(step).unwrap()) {
                let dir = tempfile::tempdir().unwrap();
                stage.host().keep_in(&dir.path().join("host.json")).unwrap();
                let status = Command::new(std::env::current_exe().unwrap())
                    .args(["--exact", "child", "--test-threads=1"])
                    .env(ORDER, format!("{at} {point} {names} {}", dir.path().display()))
                    .stdout(Stdio::null())
                    .status()
                    .unwrap();
                let case = format!("{} and others, killed at {at} {point}", group[0].name);
                let mut host = FakeHost::load(&dir.path().join("host.json")).unwrap();
                stage.prepare(&mut host);
                if status.success() {
                    assert_eq!(difference(&stage.state, host.state()), "", "{case}");
                    break;
                }
                assert_eq!(status.signal(), Some(9), "{case}: {status}");
                kills += 1;
                recover_all(dir.path(), &mut host, &stage.state, &case);
            }
        }
    }
    println!("kill sweep of the catalogue: {kills} kills, all of them restored");
    assert!(kills > 500, "{kills}");
}

/// Texts that are no value of anything.
fn hostile() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "../x",
        "a/../../etc/passwd",
        "$(reboot)",
        "`reboot`",
        "1;reboot",
        "1|x",
        "1&x",
        "1>x",
        "a\0b",
        "'",
        "\"",
        "<a/>",
        "*",
        "\u{202e}1",
        "\u{1b}[2J",
    ]
    .map(String::from)
    .into();
    texts.push("9".repeat(10 << 20));
    texts
}

/// Texts that are no value of this kind.
fn wrong(kind: &Kind) -> Vec<String> {
    let texts: &[&str] = match kind {
        Kind::Integer { min, max } => {
            let beyond = [i128::from(*min) - 1, i128::from(*max) + 1].map(|n| n.to_string());
            return [
                beyond.to_vec(),
                ["one", "1.5", "1 2", "1e3", "0x1"].map(String::from).to_vec(),
            ]
            .concat();
        }
        Kind::Bytes { max, .. } => {
            let beyond = (u128::from(*max) + 1).to_string();
            return [
                vec![beyond],
                ["-1", "big", "1 2", "1.5", "5 parsecs"]
                    .map(String::from)
                    .to_vec(),
            ]
            .concat();
        }
        Kind::Sizes { .. } => &["1", "1 2", "3 2 1", "1 2 3 4", "a b c", "1 2 99999999999999"],
        Kind::Choice(_) => &["other", "0 1", "-1"],
        Kind::Pins => &["0", "0=", "0=a", "0=1 0=2", "0=3-1", "compactly"],
        Kind::Set => &["a", "3-1", "1-", "-1"],
        Kind::Topology => &["1", "1x2", "0x1x2", "1x2x3x4", "axbxc"],
        Kind::Placement => &[
            "nodeX",
            "cpus=0",
            "cpus=a nodes=0 mode=strict",
            "cpus=0 nodes=0 mode=often",
        ],
        Kind::Path { .. } => &["x/y", "/a b", "/a/../b", "file:/a"],
        Kind::Word { .. } => &["two words", "-rf", ".x", "a/b"],
        Kind::Words => &["/bin/sh"],
        Kind::Boot => &["a b", "a\tb"],
    };
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn bad_values_of_every_tunable_are_refused_by_the_file() {
    let hatches = HATCHES.map(|(hatch, _)| match hatch {
        "sysctl:NAME" | "guest-sysctl:NAME" => hatch.replace("NAME", "vm.swappiness"),
        "sysfs:PATH" | "guest-sysfs:PATH" => hatch.replace("PATH", "/sys/kernel/mm/ksm/run"),
        "domain-xpath:PATH" => hatch.replace("PATH", "/domain/vcpu"),
        "boot:NAME" | "guest-boot:NAME" => hatch.replace("NAME", "quiet"),
        "guest-exec:NAME" => "guest-exec:x\"\nget = [\"a\"]\nset = [\"a\", \"{value}".into(),
        other => other.replace("MODULE.PARAM", "kvm.x"),
    });
    let named = catalogue().iter().map(|t| (t.name.clone(), t.kind.clone()));
    let hatches = hatches.into_iter().map(|name| {
        let kind = if name.contains("boot:") {
            Kind::Boot
        } else {
            Kind::Words
        };
        (name, kind)
    });
    let mut refused = 0;
    for (name, kind) in named.chain(hatches) {
        for text in hostile().into_iter().chain(wrong(&kind)) {
            let shown: String = text.chars().take(40).collect();
            assert!(kind.parse(&text).is_err(), "{name} takes {shown:?}");
            // A file of more than 1 MiB is refused as such.
            if text.len() < 1000 {
                // As TOML has it, whatever it holds.
                let quoted = serde_json::to_string(&text).unwrap();
                let factor = format!("[[factor]]\ntunable = \"{name}\"\nlevels = [{quoted}]\n");
                let error = experiment(&factor).expect_err(&format!("{name} = {shown:?}"));
                assert!(
                    error.contains("illegal level") || error.contains("error:"),
                    "{name}: {error}"
                );
            }
            refused += 1;
        }
        for level in ["true", "[1]", "{ a = 1 }", "1979-05-27"] {
            let factor = format!("[[factor]]\ntunable = \"{name}\"\nlevels = [{level}]\n");
            let refusal = experiment(&factor);
            let is_word = matches!(kind, Kind::Word { .. } | Kind::Words | Kind::Boot);
            assert!(refusal.is_err() || is_word && level == "true", "{name} = {level}");
            refused += 1;
        }
    }
    println!("{refused} bad values refused");
}
