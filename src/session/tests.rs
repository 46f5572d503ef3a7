//! What recovery reaches by the journal, on libvirt's own test driver.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;

const UUID: &str = "4dea22b3-1d52-d8f3-2516-782e98ab3fa0";

/// A node of the test driver with one domain of two disks, which is off.
fn node() -> String {
    let disk = |dev: &str| {
        format!("<disk type='file'><source file='/{dev}'/><target dev='{dev}' bus='virtio'/></disk>")
    };
    format!(
        "<node><domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'><name>vm</name>\
         <uuid>{UUID}</uuid><memory>65536</memory><vcpu>1</vcpu><os><type>hvm</type></os>\
         <test:runstate>5</test:runstate><devices>{}{}</devices></domain></node>",
        disk("vda"),
        disk("vdb")
    )
}

#[test]
fn recovery_reaches_the_disk_of_the_session() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.xml");
    std::fs::write(&file, node()).unwrap();
    let connection = format!("test://{}", file.display());
    let session = |uuid: &str, disk: &str| -> SessionUndo {
        let text =
            format!(r#"{{"domain":{{"connection":"{connection}","name":"vm","uuid":"{uuid}"{disk}}}}}"#);
        serde_json::from_str(&text).unwrap()
    };
    let reached = |session: &SessionUndo| domain_of(session).unwrap().map(|host| host.disk().to_string());
    assert_eq!(
        reached(&session(UUID, r#","disk":"vdb""#)).as_deref(),
        Some("vdb")
    );
    assert_eq!(
        reached(&session(UUID, "")).as_deref(),
        Some("vda"),
        "a journal of old"
    );
    assert_eq!(reached(&session("another", "")), None);
}

#[test]
fn only_a_recovery_by_hand_forgets_a_run_across_reboots() {
    let folder = tempfile::tempdir().unwrap();
    let dirs = Dirs {
        state: folder.path().join("state"),
        cache: folder.path().join("cache"),
    };
    drop(Journal::open(&dirs.state).unwrap());
    std::fs::write(across::path(&dirs.state), "{}").unwrap();
    recover_as(&dirs, Keeper::Watchman).unwrap();
    assert!(across::is_under_way(&dirs.state));
    recover_as(&dirs, Keeper::Verb).unwrap();
    assert!(!across::is_under_way(&dirs.state));
}
