//! libvirt's own test driver and unreachable ones: needs no QEMU and no privileges.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

use kvmtune::host::libvirt::{Connection, DomainState, LibvirtErrorKind};

#[test]
fn the_test_driver_answers() {
    let connection = Connection::open("test:///default").unwrap();
    assert!(connection.is_alive());
    assert_eq!(connection.uri(), "test:///default");
    assert_eq!(connection.domains().unwrap(), ["test"]);
    let domain = connection.lookup("test").unwrap();
    let copy = domain.clone();
    drop(domain);
    assert_eq!(copy.info().unwrap().state, DomainState::Running);
    assert!(copy.is_persistent().unwrap() && copy.id().is_some());
    assert!(copy.xml_live().unwrap().contains(&copy.uuid().to_string()));
    assert!(copy.qemu_pid().is_err(), "it has no QEMU");
    assert!(
        copy.create_modified(&connection, &copy.xml_inactive().unwrap())
            .is_err(),
        "it runs"
    );
    copy.destroy().unwrap();
    assert_eq!((copy.is_active().unwrap(), copy.id()), (false, None));
    copy.create().unwrap();
    assert!(copy.is_active().unwrap());
}

#[test]
fn a_handle_outlives_its_connection() {
    let connection = Connection::open("test:///default").unwrap();
    let domain = connection.lookup("test").unwrap();
    drop(connection);
    assert!(domain.is_active().unwrap());
    assert_eq!(domain.name(), "test");
}

#[test]
fn failures_say_what_to_try() {
    let nowhere = Connection::open("qemu+unix:///system?socket=/nonexistent/sock").unwrap_err();
    assert_eq!(nowhere.kind(), LibvirtErrorKind::CannotConnect, "{nowhere:?}");
    assert!(
        nowhere.to_string().contains("is libvirtd or virtqemud running"),
        "{nowhere}"
    );
    assert!(Connection::open("no-such-driver:///").is_err());
    assert!(Connection::open("test:///\0").is_err());
    let connection = Connection::open("test:///default").unwrap();
    let missing = connection.lookup("web").unwrap_err();
    assert_eq!(missing.kind(), LibvirtErrorKind::NoDomain);
    assert!(
        missing
            .to_string()
            .starts_with("cannot find domain web at test:///default: "),
        "{missing}"
    );
    assert!(connection.lookup("a\0b").is_err());
    assert!(connection.create_xml("<domain/>").is_err());
}
