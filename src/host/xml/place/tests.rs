//! What is put in is read, and what is taken out leaves nothing.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::super::{value, with_settings};
use crate::tunable::{Home, XmlPlace, XmlSetting, catalogue};
use proptest::prelude::*;
use xot::Xot;

const XML: &str = "<domain type='kvm'>\n  <metadata><x:a xmlns:x='urn:x'><x:iothreads>9</x:iothreads></x:a></metadata>\n\
    <name>a</name><uuid>u</uuid><vcpu>2</vcpu>\n  <os><type>hvm</type><kernel>/k</kernel><cmdline>a b=1</cmdline></os>\n\
    <features><acpi/></features><!-- mine -->\n<devices>\n    <emulator>/q</emulator>\n\
    <disk type='file'>\n <driver name='qemu' type='raw'/><target dev='vda'/></disk>\n\
    <disk type='file'><source file='/x'/><target dev='vdb'/>\n</disk>\n\
    <interface type='bridge'>\n <source bridge='b'/>\n <model type='virtio'/></interface><interface type='user'/>\n\
    </devices></domain>";

fn place(path: &str, default: Option<&str>) -> XmlSetting {
    XmlSetting::Place(XmlPlace {
        path: path.parse().unwrap(),
        default: default.map(str::to_string),
        qemu: None,
    })
}

fn put(xml: &str, setting: &XmlSetting, text: &str) -> String {
    with_settings(xml, &[(setting.clone(), text.to_string())].into(), Some("vdb")).unwrap()
}

fn read(xml: &str, setting: &XmlSetting) -> String {
    value(xml, setting, Some("vdb")).unwrap()
}

fn assert_same_tree(left: &str, right: &str) {
    let mut xot = Xot::new();
    let (a, b) = (xot.parse(left).unwrap(), xot.parse(right).unwrap());
    assert!(xot.deep_equal(a, b), "{left}\n{right}");
}

#[test]
fn texts_and_attributes_are_made_where_they_were_not() {
    let discard = place("/domain/devices/disk[$disk]/driver/@discard", Some("ignore"));
    assert_eq!(read(XML, &discard), "ignore");
    let xml = put(XML, &discard, "unmap");
    assert_eq!(read(&xml, &discard), "unmap");
    assert_eq!(value(&xml, &discard, Some("vda")).unwrap(), "ignore");
    assert_same_tree(&put(&xml, &discard, "ignore"), XML);

    let threads = place("/domain/iothreads", Some("0"));
    assert_eq!(read(XML, &threads), "0");
    assert_eq!(read(&put(XML, &threads, "3"), &threads), "3");
    let shared = place("/domain/memoryBacking/nosharepages", Some("absent"));
    let xml = put(XML, &shared, "present");
    assert_eq!(read(&xml, &shared), "present");
    assert_same_tree(&put(&xml, &shared, "absent"), XML);

    let feature = place("/domain/cpu/feature[@name='rtm']/@policy", None);
    let xml = put(XML, &feature, "disable");
    assert!(
        xml.contains("<cpu><feature name=\"rtm\" policy=\"disable\"/></cpu>"),
        "{xml}"
    );
    assert_same_tree(&put(&xml, &feature, "absent"), XML);
}

#[test]
fn choices_lead_to_one_element() {
    let of = |path: &str| place(path, None);
    assert_eq!(read(XML, &of("/domain/devices/interface/@type")), "bridge");
    assert_eq!(read(XML, &of("/domain/devices/interface[2]/@type")), "user");
    let second = of("/domain/devices/interface[2]/model/@type");
    let xml = put(XML, &second, "e1000");
    assert_eq!(read(&xml, &of("/domain/devices/interface/model/@type")), "virtio");
    assert_same_tree(&put(&xml, &second, "absent"), XML);
    let weight = of("/domain/blkiotune/device[path='/dev/sda']/weight");
    let xml = put(XML, &weight, "300");
    assert!(
        xml.contains("<device><path>/dev/sda</path><weight>300</weight></device>"),
        "{xml}"
    );
    assert_eq!(read(&xml, &weight), "300");
    let other = of("/domain/blkiotune/device[path='/dev/sdb']/weight");
    assert_eq!(read(&xml, &other), "absent");
    assert_same_tree(
        &put(
            &put(&put(&xml, &other, "20"), &weight, "absent"),
            &other,
            "absent",
        ),
        XML,
    );
    let by_target = of("/domain/devices/disk[target/@dev='vda']/driver/@type");
    assert_eq!(read(XML, &by_target), "raw");
    assert_eq!(read(XML, &of("/domain/features/acpi")), "present");
}

#[test]
fn what_cannot_be_made_is_refused() {
    let refused = |path: &str, text: &str| {
        let changes = [(place(path, None), text.to_string())].into();
        with_settings(XML, &changes, Some("vdb")).unwrap_err().to_string()
    };
    for (path, text, why) in [
        ("/domain/devices/sound/@model", "ich6", "no such <sound>"),
        (
            "/domain/devices/interface[3]/@type",
            "user",
            "no such <interface>",
        ),
        ("/domain/devices/interface/mtu[2]/@size", "9000", "no such <mtu>"),
        ("/domain/devices/interface", "absent", "whole device"),
        ("/domain/os", "text", "has elements"),
        ("/domain/cpu/feature[@name='a']/@name", "b", "chosen by"),
        ("/domain/name", "b", "finds the guest"),
        ("/domain/uuid", "absent", "finds the guest"),
        ("/domain/name[1]", "b", "finds the guest"),
        ("/domain/uuid[1]", "b", "finds the guest"),
    ] {
        let said = refused(path, text);
        assert!(said.contains(why), "{path}: {said}");
    }
    let missing = value(
        XML,
        &place("/domain/devices/disk[$disk]/@type", None),
        Some("vdz"),
    );
    assert!(missing.unwrap_err().to_string().contains("vda, vdb"));
}

#[test]
fn words_of_a_command_line() {
    let of = |name: &str| XmlSetting::GuestBoot(name.parse().unwrap());
    assert_eq!(
        (read(XML, &of("a")), read(XML, &of("b"))),
        ("present".into(), "1".into())
    );
    let xml = put(XML, &of("b"), "absent");
    assert!(xml.contains("<cmdline>a</cmdline>"), "{xml}");
    assert!(!put(&xml, &of("a"), "absent").contains("cmdline"));
    assert_eq!(
        read(&put(XML, &of("mitigations"), "off"), &of("mitigations")),
        "off"
    );
    let disk = XML.replace("<kernel>/k</kernel>", "");
    let said = value(&disk, &of("b"), None).unwrap_err().to_string();
    assert!(said.contains("its own disk"), "{said}");
    let changes = [(of("b"), "2".to_string())].into();
    assert!(with_settings(&disk, &changes, None).is_err());
}

/// Every place of the catalogue.
fn known() -> Vec<(XmlSetting, Option<String>)> {
    let all = catalogue().iter().filter_map(|t| match &t.home {
        Home::DomainXml(setting @ XmlSetting::Place(_)) => Some((setting.clone(), t.default.clone())),
        _ => None,
    });
    all.collect()
}

proptest! {
    #[test]
    fn put_is_read_and_the_default_leaves_nothing(
        picks in proptest::collection::vec((any::<prop::sample::Index>(), "[a-z0-9]{1,8}"), 1..6)
    ) {
        let known = known();
        let mut xml = XML.to_string();
        for (pick, text) in &picks {
            let (setting, _) = &known[pick.index(known.len())];
            xml = put(&xml, setting, text);
            prop_assert_eq!(&read(&xml, setting), text);
        }
        for (pick, _) in picks.iter().rev() {
            let (setting, default) = &known[pick.index(known.len())];
            let before = read(XML, setting);
            let back = if default.is_none() && before == "absent" { "absent".into() } else { before.clone() };
            xml = put(&xml, setting, &back);
            prop_assert_eq!(read(&xml, setting), before);
        }
        assert_same_tree(&xml, XML);
    }

    #[test]
    fn any_path_is_read_or_refused(path in "/domain(/[a-z]{1,6}(\\[[12]\\]|\\[@a='b'\\]|\\[c/@d='e'\\])?){0,4}(/@[a-z]{1,4})?", text in "[a-z]{1,5}") {
        let Ok(path) = path.parse() else { return Ok(()) };
        let setting = XmlSetting::Place(XmlPlace { path, default: None, qemu: None });
        let changes = [(setting.clone(), text.clone())].into();
        if let Ok(xml) = with_settings(XML, &changes, Some("vdb")) {
            prop_assert_eq!(read(&xml, &setting), text);
            let back = read(XML, &setting);
            // What was made for a choice keeps the attribute it is chosen by.
            if back != "present" && !setting.to_string().contains("[c/@d='e']/c") {
                assert_same_tree(&put(&xml, &setting, &back), XML);
            }
        }
    }
}
