//! The parts of domain XML that decide what is run: machine type, emulator, kernel, first root, data disk's image.
//!
//! Looks only at libvirt's own places: an element of the same name in `<metadata>` is somebody else's.

use super::{Editor, XmlError, disk};
use roxmltree::Document;
use xot::Node;

/// A guest whose XML names no kernel boots from its disk.
const NONE: &str = "none";

/// What libvirt must be told to judge an emulator or a machine type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// `type=` of the domain: `kvm`, `qemu`.
    pub kind: String,
    /// `arch=` of its `<os><type>`.
    pub arch: String,
    /// Its machine type, as written.
    pub machine: String,
    /// Its emulator.
    pub emulator: String,
}

/// The machine a domain XML asks for. libvirt writes all of it.
pub fn build(xml: &str) -> Result<Build, XmlError> {
    let document = parse(xml)?;
    let kind = at(&document, &["os", "type"]).ok_or(XmlError::Lacks("<os><type>"))?;
    let domain = document.root_element().attribute("type");
    Ok(Build {
        kind: domain.ok_or(XmlError::Lacks("type"))?.to_string(),
        arch: kind.attribute("arch").unwrap_or("x86_64").to_string(),
        machine: kind
            .attribute("machine")
            .ok_or(XmlError::Lacks("machine type"))?
            .to_string(),
        emulator: text(&document, &["devices", "emulator"]).ok_or(XmlError::Lacks("<emulator>"))?,
    })
}

/// A kernel or first root, [`NONE`] when the guest boots from its disk.
pub(super) fn of_os(xml: &str, name: &str) -> Result<String, XmlError> {
    let document = parse(xml)?;
    Ok(text(&document, &["os", name]).unwrap_or_else(|| NONE.into()))
}

/// What is behind the data disk.
pub(super) fn source(xml: &str, target: Option<&str>) -> Result<String, XmlError> {
    disk(xml, target)?
        .source
        .ok_or(XmlError::Lacks("file or device as the source of the data disk"))
}

pub(super) fn parse(xml: &str) -> Result<Document<'_>, XmlError> {
    Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))
}

pub(super) fn at<'d>(document: &'d Document<'_>, path: &[&str]) -> Option<roxmltree::Node<'d, 'd>> {
    let mut node = document.root_element();
    for name in path {
        let is_it = |n: &roxmltree::Node| n.tag_name().namespace().is_none() && n.has_tag_name(*name);
        node = node.children().find(is_it)?;
    }
    Some(node)
}

pub(super) fn text(document: &Document<'_>, path: &[&str]) -> Option<String> {
    let text = at(document, path)?.text()?.trim();
    (!text.is_empty()).then(|| text.to_string())
}

/// `pc-q35` of `pc-q35-7.2` and of its alias: machine types of one family have the same buses.
fn family(machine: &str) -> &str {
    match machine {
        "pc" => "pc-i440fx",
        "q35" => "pc-q35",
        other => other.rsplit_once('-').map_or(other, |(family, _)| family),
    }
}

impl Editor {
    pub(super) fn set_emulator(&mut self, domain: Node, value: &str) -> Result<(), xot::Error> {
        let devices = self.child_or_new(domain, "devices")?;
        self.set_text(devices, "emulator", value)
    }

    /// First root and command line go with their kernel.
    pub(super) fn set_kernel(&mut self, domain: Node, value: &str) -> Result<(), xot::Error> {
        match value {
            NONE => self.remove_from_os(domain, &["kernel", "initrd", "cmdline"]),
            path => self.set_in_os(domain, "kernel", path),
        }
    }

    pub(super) fn set_initrd(&mut self, domain: Node, value: &str) -> Result<(), xot::Error> {
        match value {
            NONE => self.remove_from_os(domain, &["initrd"]),
            path => self.set_in_os(domain, "initrd", path),
        }
    }

    /// Addresses, and the controllers a machine has by itself, are those of one family's buses: libvirt gives new
    /// ones to another family. Within a family they stay, so that devices keep their names in the guest.
    pub(super) fn set_machine(&mut self, domain: Node, value: &str) -> Result<(), xot::Error> {
        let os = self.child_or_new(domain, "os")?;
        let kind = self.child_or_new(os, "type")?;
        let same = self
            .attribute(kind, "machine")
            .is_some_and(|old| family(&old) == family(value));
        self.set(kind, "machine", value);
        let Some(devices) = self.child(domain, "devices").filter(|_| !same) else {
            return Ok(());
        };
        for device in self.elements(devices) {
            let kind = self.attribute(device, "type").unwrap_or_default();
            if self.is(device, "controller") && matches!(kind.as_str(), "pci" | "ide" | "sata") {
                self.xot.remove(device)?;
                continue;
            }
            // Deeper ones, below <source>, are of the host.
            for node in self.elements(device) {
                if self.is(node, "address") && self.attribute(node, "type").as_deref() == Some("pci") {
                    self.xot.remove(node)?;
                }
            }
        }
        Ok(())
    }

    fn set_in_os(&mut self, domain: Node, name: &str, value: &str) -> Result<(), xot::Error> {
        let os = self.child_or_new(domain, "os")?;
        self.set_text(os, name, value)
    }

    fn remove_from_os(&mut self, domain: Node, names: &[&str]) -> Result<(), xot::Error> {
        let Some(os) = self.child(domain, "os") else {
            return Ok(());
        };
        for name in names {
            while let Some(node) = self.child(os, name) {
                self.xot.remove(node)?;
            }
        }
        Ok(())
    }

    /// The whole source goes, with what is only true of it: its chain, its keys, its place on a network.
    pub(super) fn set_image(&mut self, domain: Node, target: &str, value: &str) -> Result<(), xot::Error> {
        for disk in self.disks(domain, target) {
            for name in ["source", "backingStore", "mirror"] {
                while let Some(node) = self.child(disk, name) {
                    self.xot.remove(node)?;
                }
            }
            self.set(disk, "type", "file");
            let source = self.child_or_new(disk, "source")?;
            self.set(source, "file", value);
        }
        Ok(())
    }

    /// The texts between two elements become one when what stands between them goes: only elements are held on to.
    fn elements(&self, parent: Node) -> Vec<Node> {
        let all = self.xot.children(parent);
        all.filter(|n| self.xot.is_element(*n)).collect()
    }

    pub(super) fn set_text(&mut self, parent: Node, name: &str, value: &str) -> Result<(), xot::Error> {
        let node = self.child_or_new(parent, name)?;
        while let Some(part) = self.xot.first_child(node) {
            self.xot.remove(part)?;
        }
        self.xot.append_text(node, value)
    }

    pub(super) fn attribute(&mut self, node: Node, name: &str) -> Option<String> {
        let name = self.xot.add_name(name);
        self.xot.get_attribute(node, name).map(str::to_string)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{value, with_settings};
    use super::*;
    use crate::tunable::XmlSetting;

    const XML: &str = "<domain type='kvm'><metadata><x:a xmlns:x='urn:x'><x:emulator>/x</x:emulator>\
        <os><kernel>/evil</kernel></os><disk><source file='/meta'/><target dev='vdb'/></disk></x:a></metadata>\
        <os><!-- mine --><type arch='x86_64' machine='pc-q35-7.2'>hvm</type><kernel>/k<!-- c -->\n</kernel>\
        <initrd>/i</initrd><cmdline>root=/dev/vda</cmdline></os><devices>\n <!-- a --><?pi b?> <emulator>/usr/bin/qemu</emulator>\
        <controller type='pci' index='0' model='pcie-root'/><controller type='usb' model='none'/>\
        <controller type='sata' index='0'><address type='pci' slot='0x1f'/></controller>\
        <disk type='file' device='disk'><source file='/x'/><target dev='vda'/><address type='drive' unit='1'/></disk>\
        <disk type='network' device='disk'>\n <address type='pci' bus='7'/>\n <driver name='qemu' type='raw'/>\
        <source protocol='nbd' name='n'><host name='h'/></source><backingStore type='file'><source file='/b'/>\
        </backingStore><target dev='vdb'/><address type='pci' bus='0' slot='5'/></disk>\
        <interface type='hostdev'><source><address type='pci' bus='9' slot='1'/></source>\
        <address type='pci' bus='1' slot='0'/></interface></devices></domain>";

    fn edited(setting: XmlSetting, to: &str) -> String {
        let xml = with_settings(XML, &[(setting.clone(), to.to_string())].into(), Some("vdb")).unwrap();
        assert_eq!(value(&xml, &setting, Some("vdb")).unwrap(), to, "{xml}");
        xml
    }

    #[test]
    fn another_family_gets_new_addresses_and_keeps_those_of_the_host() {
        let xml = edited(XmlSetting::Machine, "pc-i440fx-7.2");
        assert!(
            !xml.contains("pcie-root")
                && !xml.contains("sata")
                && !xml.contains("slot=\"5\"")
                && !xml.contains("bus=\"7\""),
            "{xml}"
        );
        assert!(!xml.contains("bus=\"1\""), "{xml}");
        for kept in [
            "bus=\"9\"",
            "model=\"none\"",
            "type=\"drive\"",
            "<!-- mine -->",
            "/meta",
        ] {
            assert!(xml.contains(kept), "{kept} in {xml}");
        }
    }

    #[test]
    fn another_version_keeps_every_address() {
        let xml = edited(XmlSetting::Machine, "pc-q35-6.2");
        let as_before = XML.replace("pc-q35-7.2", "pc-q35-6.2").replace('\'', "\"");
        assert_eq!(xml, as_before);
        assert_eq!(family("q35"), family("pc-q35-9.1"));
        assert_ne!(family("pc"), family("q35"));
    }

    #[test]
    fn kernel_and_emulator_are_libvirts_own_elements() {
        let xml = edited(XmlSetting::Kernel, "/boot/vmlinuz-2");
        assert!(
            xml.contains("/evil") && xml.contains("<initrd>/i</initrd>"),
            "{xml}"
        );
        let xml = edited(XmlSetting::Emulator, "/opt/qemu");
        assert!(xml.contains("<x:emulator>/x</x:emulator>"), "{xml}");
        let xml = edited(XmlSetting::Kernel, "none");
        assert!(!xml.contains("cmdline") && !xml.contains("<initrd>"), "{xml}");
        assert_eq!(value(&xml, &XmlSetting::Initrd, Some("vdb")).unwrap(), "none");
        let xml = edited(XmlSetting::Initrd, "none");
        assert!(xml.contains("cmdline") && xml.contains("<kernel>/k"), "{xml}");
    }

    #[test]
    fn an_image_takes_the_place_of_any_source() {
        let missing = value(XML, &XmlSetting::DiskImage, Some("vdb"));
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("source of the data disk")
        );
        let xml = edited(XmlSetting::DiskImage, "/var/b.img");
        assert!(!xml.contains("nbd") && !xml.contains("/b\""), "{xml}");
        assert!(
            xml.contains("file=\"/x\"") && xml.contains("file=\"/meta\""),
            "{xml}"
        );
        assert!(!xml.contains("type=\"network\""), "{xml}");
    }

    #[test]
    fn a_domain_without_them_is_no_domain_to_compare() {
        for (xml, lacks) in [
            ("<domain type='kvm'><devices/></domain>", "<os><type>"),
            (
                "<domain type='kvm'><os><type>hvm</type></os></domain>",
                "machine type",
            ),
            ("<domain><os><type machine='pc'/></os></domain>", "type"),
            (
                "<domain type='kvm'><os><type machine='pc'/></os></domain>",
                "<emulator>",
            ),
            ("<domain", "parsed"),
        ] {
            let error = build(xml).unwrap_err().to_string();
            assert!(error.contains(lacks), "{error}");
        }
    }
}
