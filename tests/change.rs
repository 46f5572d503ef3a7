//! What a change does to a host: proven in effect, put back, and every way it can go wrong told apart.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use kvmtune::change::*;
use kvmtune::host::fake::{FakeHost, Fault};
use kvmtune::host::{Host, HostError, Power, Scope};
use kvmtune::tunable::{Address, DomainSetting, NeighbourSetting, ParameterGroup};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::*;
use tempfile::TempDir;

fn bench() -> (TempDir, Journal, FakeHost) {
    let dir = tempfile::tempdir().unwrap();
    let journal = Journal::open(dir.path()).unwrap();
    (dir, journal, fresh_host())
}

#[test]
fn the_body_sees_the_settings_and_afterwards_they_are_gone() {
    let (_dir, mut journal, mut host) = bench();
    let before = host.state().clone();
    let all = settings();
    let (whole, split) = all.split_at(COLD);
    let done = with_treatment(&mut host, &mut journal, &cold(whole), |plot| {
        let inner = plot.nested(&live(split), |trial| {
            let read = |s| trial.host().read(s).unwrap();
            places().iter().map(|(a, ..)| a).map(read).collect::<Vec<_>>()
        });
        match inner.unwrap().outcome {
            Outcome::Held(raw) => raw,
            other => panic!("{other:?}"),
        }
    });
    let Outcome::Held(raw) = done.unwrap().outcome else {
        panic!("the whole plot did not hold")
    };
    for (setting, raw) in all.iter().zip(raw) {
        assert_eq!(
            setting.canonical(&raw).as_ref(),
            Some(&setting.value),
            "{}",
            setting.address
        );
    }
    assert_eq!(difference(&before, host.state()), "");
    assert!(!host.state().on, "a whole plot ends with its guest stopped");
    assert!(journal.is_clean());
}

#[test]
fn no_settings_still_give_a_running_guest() {
    let (_dir, mut journal, mut host) = bench();
    let done = with_treatment(&mut host, &mut journal, &cold(&[]), |plot| {
        plot.run(&job()).unwrap();
    });
    assert!(matches!(done.unwrap().outcome, Outcome::Held(())));
    let done = with_treatment(&mut host, &mut journal, &live(&[]), |plot| {
        plot.run(&job()).unwrap().exit
    });
    assert!(matches!(done.unwrap().outcome, Outcome::Held(0)));
    assert!(host.state().on, "a live change leaves the guest running");
}

#[test]
fn a_silent_clamp_stops_the_body() {
    for clamped in settings() {
        let (_dir, mut journal, mut host) = bench();
        let before = host.state().clone();
        let (_, from, _) = places()
            .into_iter()
            .find(|(a, ..)| *a == clamped.address)
            .unwrap();
        host.clamp(&clamped.address, from);
        let one = [clamped.clone()];
        let change = if clamped.address.needs_guest_off() {
            cold(&one)
        } else {
            live(&one)
        };
        let done = with_treatment(&mut host, &mut journal, &change, |_| panic!("must not run"));
        let Outcome::<()>::NotInEffect(drifts) = done.unwrap().outcome else {
            panic!("{} was taken for set", clamped.address)
        };
        assert_eq!(
            (drifts[0].wanted.as_str(), drifts[0].found.as_str()),
            (clamped.value.as_str(), from)
        );
        assert_eq!(difference(&before, host.state()), "");
        assert!(journal.is_clean());
    }
}

#[test]
fn a_drift_while_the_body_runs_is_found() {
    let (_dir, mut journal, mut host) = bench();
    let before = host.state().clone();
    let all = settings();
    let split = &all[COLD..];
    host.drift(&split[0].address, "none");
    host.set_actors(vec!["tuned (process 7)".into()]);
    let done = with_treatment(&mut host, &mut journal, &live(split), |trial| {
        trial.run(&job()).unwrap().exit
    });
    let Outcome::Drifted { drifts, value: 0 } = done.unwrap().outcome else {
        panic!("the drift was missed")
    };
    assert_eq!(drifts.len(), 1);
    assert_eq!(
        (drifts[0].wanted.as_str(), drifts[0].found.as_str()),
        ("bfq", "none")
    );
    assert_eq!(drifts[0].actors, ["tuned (process 7)"]);
    assert_eq!(difference(&before, host.state()), "");
}

#[test]
fn a_lost_neighbour_takes_its_own_values_along_and_nobody_misses_them() {
    let of = |name: &str| {
        let group = ParameterGroup::Scheduler;
        Address::Neighbour(NeighbourSetting {
            neighbour: name.into(),
            setting: DomainSetting::Parameter(group, "cpu_shares".into()),
        })
    };
    let (hog, other) = (of("hog"), of("other"));
    for lost in ["hog", "nobody"] {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(dir.path()).unwrap();
        let mut host = FakeHost::new([(hog.clone(), "1024"), (other.clone(), "1024")]);
        let settings = [setting(hog.clone(), "2"), setting(other.clone(), "3")];
        let done = with_treatment(&mut host, &mut journal, &live(&settings), |trial| {
            assert_eq!(trial.host().read(&hog).unwrap(), "2");
        });
        assert!(matches!(done.unwrap().outcome, Outcome::Held(())));
        host.lose_neighbour(lost);
        let done = with_treatment(&mut host, &mut journal, &live(&settings), |trial| {
            assert!(trial.run(&job()).unwrap_err().guest_lost);
        });
        assert!(done.unwrap().guest_lost);
        assert!(journal.is_clean());
        // The other runs on while the guest is off, and so must have its value back.
        assert_eq!(host.state().get(&other), Some("1024"));
        assert_eq!(host.state().get(&hog), (lost != "hog").then_some("1024"));
        host.power(Power::On).unwrap();
        assert_eq!(host.state().get(&hog), Some("1024"));
    }
}

#[test]
fn a_lost_guest_takes_its_values_along_but_not_those_of_the_host() {
    let (_dir, mut journal, mut host) = bench();
    let before = host.state().clone();
    host.set_jobs(|_, _| Err(HostError::new("run a job", "it hangs").losing_guest()));
    let all = settings();
    let done = with_treatment(&mut host, &mut journal, &live(&all[COLD..]), |trial| {
        assert!(trial.run(&job()).unwrap_err().guest_lost);
    });
    let done = done.unwrap();
    assert!(done.guest_lost && matches!(done.outcome, Outcome::Held(())));
    assert!(
        !host.state().on,
        "a lost guest is stopped, so that the next trial gets a fresh one"
    );
    assert_eq!(difference(&before, host.state()), "");
    assert!(journal.is_clean());
}

#[test]
fn a_panic_goes_on_when_the_host_is_restored() {
    let (_dir, mut journal, mut host) = bench();
    let before = host.state().clone();
    let all = settings();
    let (whole, split) = all.split_at(COLD);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        with_treatment(&mut host, &mut journal, &cold(whole), |plot| {
            plot.nested(&live(split), |_| -> () {
                std::panic::resume_unwind(Box::new("a bug"))
            })
        })
    }));
    assert_eq!(*ended.unwrap_err().downcast::<&str>().unwrap(), "a bug");
    assert_eq!(difference(&before, host.state()), "");
    assert!(journal.is_clean());
}

#[test]
fn an_old_value_outside_the_tunables_range_is_restored_as_it_was() {
    let (_dir, mut journal, _) = bench();
    let mut one = setting(host_file("/proc/sys/x.y", kvmtune::tunable::Format::Plain), "5");
    one.kind = kvmtune::tunable::Kind::Integer { min: 0, max: 9 };
    let mut host = FakeHost::new([(one.address.clone(), "-1")]);
    let one = [one];
    let done = with_treatment(&mut host, &mut journal, &live(&one), |_| ());
    assert!(matches!(done.unwrap().outcome, Outcome::Held(())));
    assert_eq!(host.state().get(&one[0].address), Some("-1"));
}

/// From the first call after the body's job on, nothing works.
fn dead_after_the_job(
    host: &mut FakeHost,
    run: impl Fn(&mut FakeHost) -> Result<(), ChangeError>,
) -> Vec<Left> {
    let mut probe = fresh_host();
    run(&mut probe).unwrap();
    let job = probe.calls().iter().position(|c| c == "run a job").unwrap();
    host.fail(Some(Fault {
        call: job as u64 + 2,
        lasting: true,
        done: false,
        hangs_guest: false,
    }));
    let ended = run(host);
    host.fail(None);
    match ended {
        Err(ChangeError::NotRestored { entries }) => entries,
        other => panic!("taken for restored: {other:?}"),
    }
}

#[test]
fn what_cannot_be_restored_stops_everything_until_recovery() {
    let (dir, _, mut host) = bench();
    let before = host.state().clone();
    let left = dead_after_the_job(&mut host, |host| {
        split_plot(host, &mut Journal::open(dir.path()).unwrap())
    });
    assert_eq!(
        left.len(),
        settings().len(),
        "inner and outer entries are told: {left:?}"
    );
    let mut journal = Journal::open(dir.path()).unwrap();
    let refused = with_treatment(&mut host, &mut journal, &live(&[]), |_| ());
    assert!(matches!(refused, Err(ChangeError::Unclean { .. })));
    drop(journal);
    recover_all(dir.path(), &mut host, &before, "after the fault");
}

#[test]
fn a_guest_that_is_gone_needs_no_restoring() {
    let (dir, _, mut host) = bench();
    let before = host.state().clone();
    let all = settings();
    dead_after_the_job(&mut host, |host| {
        let mut journal = Journal::open(dir.path()).unwrap();
        with_treatment(host, &mut journal, &live(&all[COLD..]), |trial| {
            trial.run(&job()).unwrap();
        })
        .map(|_| ())
    });
    host.power(Power::Off).unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let report = recover(&mut journal, &mut FakeRestorer(&mut host)).unwrap();
    let fates = |fate| report.entries.iter().filter(|e| e.fate == fate).count();
    assert_eq!((fates(Fate::Gone), fates(Fate::Restored)), (4, 2), "{report:?}");
    assert_eq!(difference(&before, host.state()), "");
    assert!(journal.is_clean());
}

/// Of a domain that was found off.
fn a_session() -> SessionUndo {
    SessionUndo::Domain {
        connection: "qemu:///system".into(),
        name: "vm".into(),
        uuid: "u".into(),
        disk: None,
        ssh: None,
        instance: None,
    }
}

#[test]
fn what_recovery_cannot_restore_stays_open_and_the_rest_is_closed() {
    let (dir, mut journal, mut host) = bench();
    let session = a_session();
    journal.append(vec![Undo::Session(session)]).unwrap();
    let all = settings();
    let missing = host_file("/sys/gone", kvmtune::tunable::Format::Plain);
    let scope = host.scope(&all[0].address).unwrap();
    let undo = |address, old: &str| {
        Undo::Write(WriteUndo {
            address,
            kind: kvmtune::tunable::Kind::Words,
            old: old.into(),
            scope: scope.clone(),
        })
    };
    let undos = vec![undo(missing, "1"), undo(all[0].address.clone(), "7")];
    journal.append(undos).unwrap();
    let report = recover(&mut journal, &mut FakeRestorer(&mut host)).unwrap();
    assert!(!report.is_complete());
    let told: Vec<_> = report.entries.iter().map(ToString::to_string).collect();
    assert_eq!(told[0], "host:/sys/pool = 7: restored");
    assert!(
        told[1].contains("host:/sys/gone = 1: not restored: failed to write"),
        "{told:?}"
    );
    assert_eq!(told[2], "session of domain vm: restored");
    assert_eq!(host.state().get(&all[0].address), Some("7"));
    drop(journal);
    assert_eq!(Journal::open(dir.path()).unwrap().left().len(), 1);
}

/// A pool whose pages a guest has until its session ends.
struct Held<'h>(FakeRestorer<'h>, bool);

impl Restorer for Held<'_> {
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError> {
        if self.1 {
            return Err(HostError::new("write the pool", "its pages are in use"));
        }
        self.0.reach(scope)
    }

    fn end(&mut self, session: &SessionUndo) -> Result<(), HostError> {
        self.1 = false;
        self.0.end(session)
    }
}

#[test]
fn what_the_guest_held_comes_back_when_its_session_ended() {
    let (_dir, mut journal, mut host) = bench();
    let session = a_session();
    let pool = settings()[0].address.clone();
    let undo = Undo::Write(WriteUndo {
        address: pool.clone(),
        kind: kvmtune::tunable::Kind::Words,
        old: "7".into(),
        scope: Scope::Boot {
            id: "simulated 0".into(),
        },
    });
    journal.append(vec![Undo::Session(session), undo]).unwrap();
    let report = recover(&mut journal, &mut Held(FakeRestorer(&mut host), true)).unwrap();
    let told: Vec<_> = report.entries.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        ["host:/sys/pool = 7: restored", "session of domain vm: restored"]
    );
    assert!(journal.is_clean());
    assert_eq!(host.state().get(&pool), Some("7"));
}

#[test]
fn writes_go_forth_in_order_and_back_in_reverse() {
    let (_dir, mut journal, mut host) = bench();
    let all = settings();
    with_treatment(&mut host, &mut journal, &cold(&all[..COLD]), |_| ()).unwrap();
    let steps = host
        .calls()
        .iter()
        .filter(|c| c.starts_with("write") || c.starts_with("turn"));
    let steps: Vec<_> = steps.map(String::as_str).collect();
    assert_eq!(
        steps,
        [
            "turn the guest Off",
            "write host:/sys/pool = 512",
            "write domain XML disk io = native",
            "write domain XML disk cache = none",
            "turn the guest On",
            "turn the guest Off",
            "write domain XML disk cache = writeback",
            "write domain XML disk io = threads",
            "write host:/sys/pool = 0",
        ]
    );
}

#[test]
fn a_module_that_stays_in_use_is_told() {
    let (_dir, mut journal, mut host) = bench();
    let module = [setting(
        kvmtune::tunable::Address::GuestModule("bfq".into()),
        "loaded",
    )];
    let user = guest_file("/sys/queue/scheduler", kvmtune::tunable::Format::Bracketed);
    host.drift(&user, "bfq");
    let ended = with_treatment(&mut host, &mut journal, &live(&module), |trial| {
        trial.run(&job()).unwrap()
    });
    let error = ended.unwrap_err().to_string();
    assert!(
        error.contains("guest module bfq = absent") && error.contains("in use"),
        "{error}"
    );
}
