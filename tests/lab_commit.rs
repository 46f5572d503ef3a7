//! What a commit makes last in a user's domain and in its guest, with a libvirtd and a `virsh` that are real.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

mod libvirtd;

use kvmtune::host::{LocalHost, xml};
use kvmtune::persist::definition::{Shape, places};
use kvmtune::tunable::{Address, Home, Kind, Tunable, catalogue};
use libvirtd::{Agents, Daemon};
use std::sync::Arc;

/// A value that this host's libvirt must take.
fn legal(tunable: &Tunable) -> Option<String> {
    Some(match &tunable.kind {
        Kind::Integer { min, max } => (*max).min((*min).max(2000)).to_string(),
        Kind::Bytes { .. } => "1048576".into(),
        Kind::Pins if tunable.name.ends_with("iothread-pin") => "1=0".into(),
        Kind::Pins => "0=0-1".into(),
        Kind::Set => "0-1".into(),
        Kind::Choice(choices) => choices.last()?.clone(),
        _ => return None,
    })
}

#[test]
fn libvirts_schema_takes_every_place_of_a_live_setting() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::None);
    let mut host = LocalHost::domain(&daemon.uri(), "kt-user", Some("vdb"), Arc::default()).unwrap();
    let before = host.definition_now().unwrap();
    let device = host.device_behind();
    let shape = Shape {
        vcpus: 1,
        iothreads: 1,
        device: device.as_deref().or(Some("/dev/loop0")),
    };
    let mut checked = 0;
    for tunable in catalogue() {
        let Home::Domain(setting) = &tunable.home else {
            continue;
        };
        let value = legal(tunable).unwrap();
        let places = places(&Address::Domain(setting.clone()), &value, shape).unwrap();
        let edited = xml::with_settings(&before, &places, Some("vdb")).unwrap();
        let defined = host
            .define(&edited, true)
            .unwrap_or_else(|e| panic!("{}: {e}", tunable.name));
        for (place, wanted) in &places {
            assert_eq!(
                xml::value(&defined, place, Some("vdb")).unwrap(),
                *wanted,
                "{}: {defined}",
                tunable.name
            );
        }
        assert_eq!(host.define(&before, false).unwrap(), before, "{}", tunable.name);
        checked += 1;
    }
    assert!(checked > 25, "{checked}");
    user.assert_definition_is_untouched();
}
