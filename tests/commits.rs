//! Commits on a pretended machine: whatever fails, and wherever kvmtune is killed, all of a commit is made or nothing; and
//! what is taken back leaves nothing behind.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "commits/domain.rs"]
mod domain;
#[path = "common/kill.rs"]
mod kill;
#[path = "commits/mod.rs"]
mod support;
#[path = "commits/vanished.rs"]
mod vanished;

use kill::die_at;
use kvmtune::commit::*;
use proptest::prelude::*;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use support::*;

const ORDER: &str = "KVMTUNE_TEST_COMMIT_KILL";

/// A machine on which a first commit is in force.
fn with_one(folder: &Path) -> Place {
    let place = Place::lay_out(folder);
    place.commit(1, Extent::Both, false, &Watch::default()).unwrap();
    place
}

/// The change that is swept: a further commit, or taking back the first.
fn change(place: &Place, what: &str, watch: &Watch) -> Result<(), CommitError> {
    match what {
        "commit" => place.commit(4, Extent::Both, true, watch),
        _ => place.revert(0, Wanted::Careful, watch),
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing() {
    for what in ["commit", "revert"] {
        let mut failures = 0;
        for point in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let place = with_one(folder.path());
            let (before, ledger) = (place.state(), place.store().load().unwrap());
            let watch = Watch::default();
            watch.observe(Box::new(move |n| {
                if n == point {
                    Err(io::ErrorKind::StorageFull.into())
                } else {
                    Ok(())
                }
            }));
            let done = change(&place, what, &watch);
            let now = place.store().load().unwrap();
            if now.serial != ledger.serial {
                assert!(done.is_ok(), "{what} {point}: {done:?}");
                assert!(
                    place.not_held().is_empty(),
                    "{what} {point}: {:?}",
                    place.not_held()
                );
                // The last steps come after the ledger counts: a failure there undoes nothing.
                if failures > 20 && watch.steps() < point {
                    break;
                }
                continue;
            }
            failures += 1;
            assert!(
                matches!(done, Err(CommitError::File { .. })),
                "{what} {point}: {done:?}"
            );
            assert_eq!(
                difference(&before, &place.state()),
                "",
                "{what} failed at {point}"
            );
            assert_eq!(now, ledger);
            assert_eq!(
                place.recover(&Watch::default()).unwrap(),
                None,
                "{what} {point}: nothing is left half-made"
            );
        }
        println!("fault sweep of {what}: {failures} steps");
        assert!(failures > 20, "the sweep must have failed");
    }
}

#[test]
fn what_cannot_be_put_back_is_tried_again_by_the_next_verb() {
    let folder = tempfile::tempdir().unwrap();
    let place = with_one(folder.path());
    let before = place.state();
    let watch = Watch::default();
    watch.observe(Box::new(|n| {
        if n >= 25 {
            Err(io::ErrorKind::ReadOnlyFilesystem.into())
        } else {
            Ok(())
        }
    }));
    let error = change(&place, "commit", &watch).unwrap_err();
    assert!(matches!(error, CommitError::NotPutBack { .. }), "{error}");
    assert_ne!(difference(&before, &place.state()), "");
    assert!(is_half_made(&folder.path().join("state")));
    assert!(place.recover(&Watch::default()).unwrap().is_some());
    assert_eq!(difference(&before, &place.state()), "");
}

/// The process that is killed. Does nothing when run as a test.
#[test]
fn child() {
    let Ok(order) = std::env::var(ORDER) else { return };
    let words: Vec<&str> = order.splitn(3, ' ').collect();
    let [what, point, folder] = words[..] else {
        panic!("{order}")
    };
    let watch = Watch::default();
    let mut die = die_at(point.parse().unwrap());
    watch.observe(Box::new(move |n| {
        die(n);
        Ok(())
    }));
    let place = Place(folder.into());
    match what {
        "recover" => {
            place.recover(&watch).unwrap();
        }
        _ => change(&place, what, &watch).unwrap(),
    }
}

/// Runs the child; true when it was killed.
fn killed(what: &str, point: u64, folder: &Path) -> bool {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--test-threads=1"])
        .env(ORDER, format!("{what} {point} {}", folder.display()))
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(
        status.success() || status.signal() == Some(9),
        "{what} {point}: {status}"
    );
    !status.success()
}

#[test]
fn killed_anywhere_the_next_verb_puts_everything_back() {
    for what in ["commit", "revert"] {
        let (mut kills, mut again) = (0, 0);
        for point in 1.. {
            let folder = tempfile::tempdir().unwrap();
            let place = with_one(folder.path());
            let (before, ledger) = (place.state(), place.store().load().unwrap());
            if !killed(what, point, folder.path()) {
                break;
            }
            kills += 1;
            // Now and then putting back is killed too, wherever it is.
            if point % 7 == 0 {
                for point in 1.. {
                    if !killed("recover", point, folder.path()) {
                        break;
                    }
                    again += 1;
                }
            }
            place.recover(&Watch::default()).unwrap();
            assert!(!is_half_made(&folder.path().join("state")));
            let now = place.store().load().unwrap();
            if now.serial == ledger.serial {
                assert_eq!(
                    difference(&before, &place.state()),
                    "",
                    "{what} killed at {point}"
                );
            } else {
                assert!(
                    place.not_held().is_empty(),
                    "{what} killed at {point}: {:?}",
                    place.not_held()
                );
            }
        }
        println!("kill sweep of {what}: {kills} kills, {again} of putting back");
        assert!(kills > 20 && again > 20, "the sweep must have killed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any sequence of commits and reverts ends as it began, once all are taken back; and what is in force holds meanwhile.
    #[test]
    fn whatever_is_committed_and_taken_back_ends_as_it_began(
        steps in prop::collection::vec((0..8u32, 0..3u32, any::<bool>(), any::<prop::sample::Index>()), 1..9)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::lay_out(folder.path());
        let before = place.state();
        let watch = Watch::default();
        for (which, extent, waits, at) in steps {
            let count = place.store().load().unwrap().commits.len();
            if which < 6 || count == 0 {
                let extent = [Extent::Live, Extent::Config, Extent::Both][extent as usize];
                place.commit(which, extent, waits, &watch).unwrap();
            } else {
                place.revert(at.index(count), Wanted::Careful, &watch).unwrap();
            }
            prop_assert!(place.tuned_is_up_to_date());
            // What was committed for files only is not in the running kernel yet.
            let missing: Vec<_> = place.not_held().into_iter().filter(|f| !matches!(f.held, Held::NotYet(_))).collect();
            prop_assert!(missing.is_empty(), "{missing:?}");
        }
        while !place.store().load().unwrap().commits.is_empty() {
            let count = place.store().load().unwrap().commits.len();
            place.revert(count / 2, Wanted::Careful, &watch).unwrap();
        }
        prop_assert_eq!(difference(&before, &place.state()), "");
    }
}

#[test]
fn what_somebody_changed_since_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::lay_out(folder.path());
    let before = place.state();
    let watch = Watch::default();
    place.commit(1, Extent::Both, false, &watch).unwrap();
    let conf = folder.path().join("root/etc/sysctl.d/60-kvmtune.conf");
    let ours = fs::read_to_string(&conf).unwrap();
    assert!(
        ours.contains("\nvm.swappiness = 11\n") && !ours.contains("\nvm.swappiness = 99"),
        "{ours}"
    );
    fs::write(&conf, format!("{ours}vm.laptop_mode = 1\n")).unwrap();
    let refused = place.revert(0, Wanted::Careful, &watch).unwrap_err();
    assert!(
        matches!(&refused, CommitError::ChangedSince { changed } if changed.len() == 1),
        "{refused}"
    );
    assert_eq!(place.not_held().len(), 1);
    fs::write(&conf, &ours).unwrap();
    let mut host = place.host();
    kvmtune::host::Host::write(&mut host, &file(SLEEP), "77").unwrap();
    let refused = place.revert(0, Wanted::Careful, &watch).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("sleep_millisecs was changed since: it reads `77`"),
        "{refused}"
    );
    place.revert(0, Wanted::Forced, &watch).unwrap();
    assert_eq!(difference(&before, &place.state()), "");
}

#[test]
fn no_link_leads_out_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let outside = folder.path().join("outside");
    fs::create_dir_all(outside.join("sysctl.d")).unwrap();
    let root = folder.path().join("image");
    fs::create_dir_all(root.join("etc")).unwrap();
    for target in [
        outside.join("sysctl.d"),
        "../../../../../../../../etc/sysctl.d".into(),
    ] {
        let link = root.join("etc/sysctl.d");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let root = Root::open(&root).unwrap();
        let path = Path::new("/etc/sysctl.d/60-kvmtune.conf");
        let placed = root.place(path, &FileState::new("x"), &Watch::default());
        assert!(placed.is_err(), "{}: {placed:?}", target.display());
        assert_eq!(fs::read_dir(outside.join("sysctl.d")).unwrap().count(), 0);
        assert!(!Path::new("/etc/sysctl.d/60-kvmtune.conf").exists());
    }
    // A link that stays below it is followed.
    let link = root.join("etc/sysctl.d");
    fs::remove_file(&link).unwrap();
    fs::create_dir_all(root.join("usr/lib/sysctl.d")).unwrap();
    std::os::unix::fs::symlink("/usr/lib/sysctl.d", &link).unwrap();
    let root_fd = Root::open(&root).unwrap();
    let path = Path::new("/etc/sysctl.d/60-kvmtune.conf");
    root_fd
        .place(path, &FileState::new("x"), &Watch::default())
        .unwrap();
    assert!(root.join("usr/lib/sysctl.d/60-kvmtune.conf").exists());
}

#[test]
fn a_profile_of_somebodys_is_not_switched_away() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::lay_out(folder.path());
    let before = place.state();
    let watch = Watch::default();
    place.commit(1, Extent::Both, false, &watch).unwrap();
    fs::write(folder.path().join("root/etc/tuned/active_profile"), "balanced\n").unwrap();
    let mine = place.state();
    for done in [
        place.revert(0, Wanted::Careful, &watch),
        place.commit(4, Extent::Both, false, &watch),
    ] {
        let refused = done.unwrap_err().to_string();
        assert!(
            refused.contains("profile was changed since: it is `balanced`"),
            "{refused}"
        );
        assert_eq!(difference(&mine, &place.state()), "");
    }
    place.revert(0, Wanted::Forced, &watch).unwrap();
    assert_eq!(difference(&before, &place.state()), "");
}

#[test]
fn a_stopped_tuned_is_left_no_profile_that_is_gone() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::lay_out(folder.path());
        let mut before = place.state();
        let active = folder.path().join("root/etc/tuned/active_profile");
        let watch = Watch::default();
        if killed {
            // Once tuned is switched nothing can be done or undone any more.
            let active = active.clone();
            watch.observe(Box::new(move |_| {
                if fs::read_to_string(&active)? == "kvmtune\n" {
                    Err(io::ErrorKind::ReadOnlyFilesystem.into())
                } else {
                    Ok(())
                }
            }));
            place.commit(1, Extent::Both, false, &watch).unwrap_err();
        } else {
            place.commit(1, Extent::Both, false, &watch).unwrap();
        }
        assert_eq!(fs::read_to_string(&active).unwrap(), "kvmtune\n");
        fs::remove_file(folder.path().join("tuned.sh")).unwrap();
        if killed {
            place.recover(&Watch::default()).unwrap();
        } else {
            place.revert(0, Wanted::Careful, &watch).unwrap();
        }
        let mut after = place.state();
        // What it read last is in memory only.
        let read = folder.path().join("root/boot/tuned").display().to_string();
        assert!(before.remove(&read).is_some() && after.remove(&read).is_some());
        assert_eq!(difference(&before, &after), "", "killed: {killed}");
    }
}

#[test]
fn a_boot_menu_is_made_anew_where_one_came_between() {
    for (tool, expected) in [
        ("printf 'kernel 2' > boot/grub.cfg", "kernel 2"),
        ("exit 1", "none"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = with_one(folder.path());
        let watch = Watch::default();
        watch.observe(Box::new(|n| {
            if n >= 25 {
                Err(io::ErrorKind::ReadOnlyFilesystem.into())
            } else {
                Ok(())
            }
        }));
        place.commit(4, Extent::Both, false, &watch).unwrap_err();
        // Another kernel is installed, and the old one removed.
        let menu = folder.path().join("root/boot/grub.cfg");
        fs::write(&menu, "kernel 2 off").unwrap();
        let script = format!("cd '{}/root'; {tool}\n", folder.path().display());
        fs::write(folder.path().join("menu.sh"), script).unwrap();
        assert!(place.recover(&Watch::default()).unwrap().is_some());
        assert_eq!(fs::read_to_string(&menu).unwrap(), expected);
    }
}

#[test]
fn a_long_ledger_is_read_and_one_too_long_is_refused_before_anything_changes() {
    let folder = tempfile::tempdir().unwrap();
    let place = with_one(folder.path());
    let path = folder.path().join("state/commits/ledger.json");
    let lengthen = |to: usize| {
        let mut ledger = place.store().load().unwrap();
        let evidence = &mut ledger.commits[0].stamp.evidence;
        evidence.truncate(1);
        let length = serde_json::to_vec_pretty(&ledger).unwrap().len();
        ledger.commits[0]
            .stamp
            .evidence
            .push("x".repeat(to - length - 20));
        fs::write(&path, serde_json::to_vec_pretty(&ledger).unwrap()).unwrap();
    };
    lengthen((16 << 20) - 100);
    let before = place.state();
    let refused = place
        .commit(4, Extent::Live, false, &Watch::default())
        .unwrap_err();
    assert!(
        refused.to_string().contains("take older commits back first"),
        "{refused}"
    );
    assert!(!is_half_made(&folder.path().join("state")));
    assert_eq!(difference(&before, &place.state()), "");
    lengthen(3 << 20);
    place.commit(4, Extent::Live, false, &Watch::default()).unwrap();
    place.revert(0, Wanted::Forced, &Watch::default()).unwrap();
}

#[test]
fn a_folder_that_became_somebodys_link_stays() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::lay_out(folder.path());
    let watch = Watch::default();
    place.commit(0, Extent::Config, false, &watch).unwrap();
    let made = folder.path().join("root/etc/default/grub.d");
    fs::remove_dir_all(&made).unwrap();
    std::os::unix::fs::symlink("../../usr/lib", &made).unwrap();
    place.revert(0, Wanted::Forced, &watch).unwrap();
    assert!(made.is_symlink());
}

#[test]
fn the_running_system_is_no_image() {
    for root in ["/", "/proc/self/root", "/etc/.."] {
        let refused = Opened::image(Path::new(root)).map(drop).unwrap_err();
        assert!(
            refused.to_string().contains("is the running system"),
            "{root}: {refused}"
        );
    }
}
