//! Places of commits that are there no more, or are others' in another boot.
#![allow(clippy::unwrap_used, reason = "tests")]

use crate::support::*;
use kvmtune::commit::*;
use kvmtune::host::Host;
use kvmtune::persist::domain::DomainRef;
use std::fs;
use std::path::Path;

/// Changes the pretended host as it is kept.
fn change_host(place: &Place, change: impl FnOnce(&mut serde_json::Value)) {
    let file = place.0.join("host.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    change(&mut state);
    fs::write(&file, serde_json::to_vec(&state).unwrap()).unwrap();
}

fn pull_the_disk(place: &Place) {
    change_host(place, |state| {
        let values = state["host"].as_object_mut().unwrap();
        values.remove(&file(SCHEDULER).to_string()).unwrap();
    });
}

/// Boots the host; what lasts has then set these.
fn reboot(place: &Place, values: &[(&str, &str)]) {
    let kept = place.0.join("host.json");
    let mut host = place.host();
    host.reboot();
    for (path, value) in values {
        host.write(&file(path), value).unwrap();
    }
    host.keep_in(&kept).unwrap();
}

fn laid_out(folder: &Path) -> Place {
    let place = Place::lay_out(folder);
    let mut host = place.host();
    host.set_command_line("quiet");
    host.keep_in(&folder.join("host.json")).unwrap();
    place
}

fn scheduler(place: &Place) -> String {
    place.host().state().host[&file(SCHEDULER).to_string()].clone()
}

#[test]
fn a_place_that_vanished_does_not_keep_the_rest_from_going_back() {
    let watch = Watch::default();
    for is_rebooted in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let place = laid_out(folder.path());
        let mut before = place.state();
        place.commit(1, Extent::Both, false, &watch).unwrap();
        if is_rebooted {
            reboot(&place, &[(SWAPPINESS, "11"), (SLEEP, "200")]);
        }
        pull_the_disk(&place);
        if is_rebooted {
            place.revert(0, Wanted::Careful, &watch).unwrap();
        } else {
            let refused = place.revert(0, Wanted::Careful, &watch).unwrap_err().to_string();
            assert!(
                refused.contains("queue/scheduler cannot be read any more") && refused.contains("--force"),
                "{refused}"
            );
            place.revert(0, Wanted::Forced, &watch).unwrap();
        }
        before.remove(&file(SCHEDULER).to_string());
        assert_eq!(difference(&before, &place.state()), "", "rebooted: {is_rebooted}");
        assert_eq!(place.store().load().unwrap().origins, Origins::default());
    }
}

#[test]
fn in_another_boot_nothing_is_written_by_the_name_of_a_device() {
    let folder = tempfile::tempdir().unwrap();
    let place = laid_out(folder.path());
    let before = place.state();
    let watch = Watch::default();
    place.commit(1, Extent::Both, false, &watch).unwrap();
    place.commit(5, Extent::Both, false, &watch).unwrap();
    assert_eq!(scheduler(&place), "none");
    // The name is another disk's.
    reboot(
        &place,
        &[(SWAPPINESS, "12"), (SLEEP, "200"), (SCHEDULER, "kyber")],
    );
    place.revert(1, Wanted::Careful, &watch).unwrap();
    assert_eq!(scheduler(&place), "kyber");
    let mut host = place.host();
    assert_eq!(host.read(&file(SWAPPINESS)).unwrap().trim(), "11");
    // What is measured in this boot is of this disk.
    place.commit(5, Extent::Both, false, &watch).unwrap();
    assert_eq!(scheduler(&place), "none");
    place.revert(1, Wanted::Careful, &watch).unwrap();
    place.revert(0, Wanted::Careful, &watch).unwrap();
    let mut now = place.state();
    assert_eq!(
        now.insert(file(SCHEDULER).to_string(), "mq-deadline".into())
            .as_deref(),
        Some("kyber")
    );
    assert_eq!(difference(&before, &now), "");
}

#[test]
fn what_a_kill_left_in_a_guest_that_is_lost_can_be_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::lay_out(folder.path());
    let conf = folder.path().join("root/etc/sysctl.d/60-kvmtune.conf");
    let before = place.state();
    let domain = DomainRef {
        connection: "qemu+unix:///system?socket=/nonexistent/sock".into(),
        name: "lost".into(),
        uuid: "7f7f1f5e-0000-4000-8000-000000000001".into(),
        disk: "vda".into(),
        ssh: None,
    };
    let mut host = place.host();
    let mut machine = place.machine(&mut host, &Watch::default());
    let path = Path::new("/etc/sysctl.d/60-kvmtune.conf");
    let changes = vec![
        Change::File(FileChange {
            path: path.into(),
            before: machine.look(path).unwrap(),
            after: FileState::new("half"),
            then: None,
        }),
        Change::GuestFile(GuestFileChange {
            domain,
            path: "/etc/sysctl.d/60-kvmtune.conf".into(),
            before: FileState::Absent,
            after: FileState::new("half"),
            folders: Vec::new(),
        }),
    ];
    fs::write(&conf, "half").unwrap();
    let note = folder.path().join("state/commits/pending.json");
    fs::create_dir(note.parent().unwrap()).unwrap();
    fs::write(
        &note,
        serde_json::to_vec(&Pending { serial: 1, changes }).unwrap(),
    )
    .unwrap();
    let stuck = put_back_half_made(&place.store(), &mut machine).unwrap_err();
    assert!(matches!(stuck, CommitError::NotPutBack { .. }), "{stuck}");
    let given_up = give_up_half_made(&place.store(), &mut machine).unwrap();
    assert!(
        matches!(&given_up[..], [one] if one.starts_with("/etc/sysctl.d/60-kvmtune.conf in the guest of lost")),
        "{given_up:?}"
    );
    drop(machine);
    assert!(!note.exists());
    assert_eq!(difference(&before, &place.state()), "");
}
