//! Which run a text names.

use super::*;

fn message(store: &Store, wanted: &str) -> String {
    store.find(wanted).unwrap_err().to_string()
}

#[test]
fn a_run_is_found_by_every_name_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache"), (2, "pins"), (3, "cache")]);
    let full = run_id(2).to_string();
    let short = run_id(2).short();
    let cases = [
        ("latest", 3),
        (full.as_str(), 2),
        (&full.replace('-', ""), 2),
        (&full[..13], 2),
        (&short, 2),
        (&short[..5], 2),
        (&short[..5].to_uppercase(), 2),
        ("cache", 3),
        ("pins", 2),
    ];
    for (wanted, n) in cases {
        assert_eq!(store.find(wanted).unwrap(), run_id(n), "{wanted}");
    }
}

#[test]
fn an_experiment_goes_before_a_piece_of_an_id() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache"), (2, &run_id(1).short())]);
    assert_eq!(store.find(&run_id(1).short()).unwrap(), run_id(2));
}

#[test]
fn an_ambiguous_piece_lists_its_runs_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache"), (2, "pins")]);
    let error = store.find("00").unwrap_err();
    let StoreError::Ambiguous { candidates, .. } = &error else {
        panic!("{error}");
    };
    let expected = [(2, "pins"), (1, "cache")].map(|(n, name)| format!("{} ({name})", run_id(n).short()));
    assert_eq!(*candidates, expected);
    assert!(error.to_string().ends_with("give more of the id"), "{error}");
}

#[test]
fn an_unknown_run_brings_the_nearest_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = store_with(&dir, &[(1, "cache")]);
    insta::assert_snapshot!(message(&store, "cahce"), @"no run `cahce`, did you mean `cache`?; `kvmtune runs` lists them all");
    insta::assert_snapshot!(message(&store, "lastest"), @"no run `lastest`, did you mean `latest`?; `kvmtune runs` lists them all");
    insta::assert_snapshot!(message(&store, "zz\n"), @r"no run `zz\n`; `kvmtune runs` lists them all");
    insta::assert_snapshot!(message(&store, ""), @"no run ``; `kvmtune runs` lists them all");
    assert!(matches!(store.header(run_id(9)), Err(StoreError::Unknown { .. })));
    assert!(matches!(store.trials(run_id(9)), Err(StoreError::Unknown { .. })));
    assert!(matches!(
        store.raw(run_id(1), 9),
        Err(StoreError::NoTrial { order: 9, .. })
    ));
}

#[test]
fn latest_of_no_runs_is_unknown() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(matches!(store.find("latest"), Err(StoreError::Unknown { .. })));
    assert_eq!(store.resumable().unwrap(), None);
}
