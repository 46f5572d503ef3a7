//! Every host call of a split plot fails in turn: the host is restored, or the error says it is not and recovery
//! restores it.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use kvmtune::change::*;
use kvmtune::host::fake::{FakeHost, Fault};
use proptest::prelude::*;
use support::*;

/// Checks what every ending must give. True when the host had to be recovered.
fn check(dir: &std::path::Path, host: &mut FakeHost, ended: Result<(), ChangeError>, case: &str) -> bool {
    let before = fresh_host().state().clone();
    let open = Journal::open(dir).unwrap().open_entries().count();
    host.fail(None);
    match ended {
        Ok(()) => {
            assert_eq!(open, 0, "{case}: restored, but the journal is open");
            assert_eq!(difference(&before, host.state()), "", "{case}");
            false
        }
        Err(ChangeError::NotRestored { entries }) => {
            assert_eq!(open, entries.len(), "{case}: {entries:?}");
            let mut journal = Journal::open(dir).unwrap();
            let refused = split_plot(host, &mut journal);
            assert!(matches!(refused, Err(ChangeError::Unclean { .. })), "{case}");
            drop(journal);
            recover_all(dir, host, &before, case);
            true
        }
        Err(other) => panic!("{case}: {other}"),
    }
}

#[test]
fn every_call_fails_in_turn() {
    let dir = tempfile::tempdir().unwrap();
    let mut host = fresh_host();
    split_plot(&mut host, &mut Journal::open(dir.path()).unwrap()).unwrap();
    let calls = host.calls().len() as u64;
    let (mut cases, mut recovered) = (0, 0);
    for call in 1..=calls {
        for bits in 0..8_u8 {
            let fault = Fault {
                call,
                lasting: bits & 1 != 0,
                done: bits & 2 != 0,
                hangs_guest: bits & 4 != 0,
            };
            let mut host = fresh_host();
            host.fail(Some(fault));
            let ended = split_plot(&mut host, &mut Journal::open(dir.path()).unwrap());
            cases += 1;
            recovered += u32::from(check(dir.path(), &mut host, ended, &format!("{fault:?}")));
        }
    }
    println!("fault sweep: {calls} calls, {cases} cases, {recovered} of them restored by recovery");
    assert!(
        calls > 100 && recovered > 100,
        "the sweep must reach both endings"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any part of the settings, clamped, drifting and failing anywhere.
    #[test]
    fn any_change_is_undone(
        chosen in proptest::collection::vec((0..9_usize, "[a-z0-9]{1,6}"), 0..8),
        clamp in proptest::option::of((0..9_usize, "[a-z]{1,4}")),
        drift in proptest::option::of((COLD..9_usize, "[a-z]{1,4}")),
        fault in proptest::option::of((1..200_u64, any::<bool>(), any::<bool>(), any::<bool>())),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let places = places();
        let mut host = FakeHost::new(places.iter().map(|(address, from, _)| (address.clone(), *from)));
        let (whole, split): (Vec<_>, Vec<_>) = chosen.iter().partition(|(place, _)| *place < COLD);
        let settings = |part: Vec<&(usize, String)>| -> Vec<_> {
            part.iter().map(|(place, value)| setting(places[*place].0.clone(), value)).collect()
        };
        let (whole, split) = (settings(whole), settings(split));
        let held = |place: &usize| chosen.iter().any(|(p, _)| p == place);
        prop_assume!(drift.as_ref().is_none_or(|(place, _)| held(place)), "others' drifts are not ours to undo");
        // A clamp also holds the old value off; what clamps is released before the state is compared.
        if let Some((place, held)) = &clamp {
            host.clamp(&places[*place].0, held);
        }
        if let Some((place, to)) = &drift {
            host.drift(&places[*place].0, to);
        }
        host.fail(fault.map(|(call, lasting, done, hangs_guest)| Fault { call, lasting, done, hangs_guest }));
        let ended = with_treatment(&mut host, &mut Journal::open(dir.path()).unwrap(), &cold(&whole), |plot| {
            plot.nested(&live(&split), |trial| trial.run(&job()).is_ok()).map(|_| ())
        });
        host.release();
        check(dir.path(), &mut host, ended.map(|_| ()), &format!("{chosen:?} {clamp:?} {drift:?} {fault:?}"));
    }
}
