//! Reading and editing domain XML without losing anything in it.
//!
//! Edits keep namespaces and comments. Does not talk to libvirt.

mod build;
mod compare;
mod numa;
mod place;
mod processor;

pub use build::{Build, build};
pub use compare::{same_besides, tidy};
pub use processor::cpu_model;

pub(in crate::host) use numa::placed;

use crate::tunable::XmlSetting;
use crate::units::Bytes;
use roxmltree::Document;
use std::collections::BTreeMap;
use xot::{Node, Xot};

/// A domain XML that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum XmlError {
    /// Not XML.
    #[error("the domain XML cannot be parsed: {0}")]
    Parse(String),
    /// A part that every domain has, or this setting needs.
    #[error("the domain XML has no {0}")]
    Lacks(&'static str),
    /// The disk that is to be tuned is not there.
    #[error(
        "the domain has no disk `{target}`, only: {}; name one in the experiment: guest = {{ …, disk = \"vda\" }}",
        if known.is_empty() { "(none)".into() } else { known.join(", ") }
    )]
    NoDisk {
        /// The target name looked for.
        target: String,
        /// The target names there are.
        known: Vec<String>,
    },
    /// A place that can neither be read nor made.
    #[error("the domain XML cannot have `{path}`: {why}")]
    Place {
        /// Where.
        path: String,
        /// Why not.
        why: String,
    },
}

impl From<xot::Error> for XmlError {
    fn from(error: xot::Error) -> Self {
        Self::Parse(error.to_string())
    }
}

/// One disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskXml {
    /// `<target dev=>`: `vda`.
    pub target: String,
    /// `<source dev=>` or `<source file=>`.
    pub source: Option<String>,
    /// The value of a setting of its `<driver>`, by attribute.
    pub driver: BTreeMap<String, String>,
    /// libvirt's alias of a running domain's disk.
    pub alias: Option<String>,
}

/// The disks (not CD-ROMs) of a domain.
pub fn disks(xml: &str) -> Result<Vec<DiskXml>, XmlError> {
    let document = Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    let devices = document
        .root_element()
        .children()
        .filter(|n| n.tag_name().namespace().is_none() && n.has_tag_name("devices"));
    let is_disk = |n: &roxmltree::Node| n.has_tag_name("disk") && n.attribute("device") != Some("cdrom");
    let disk = |node: roxmltree::Node| {
        let child = |name| node.children().find(|c| c.has_tag_name(name));
        let source = child("source");
        Some(DiskXml {
            target: child("target")?.attribute("dev")?.to_string(),
            source: source
                .and_then(|s| s.attribute("dev").or_else(|| s.attribute("file")))
                .map(str::to_string),
            driver: child("driver")
                .map(|d| {
                    d.attributes()
                        .map(|a| (a.name().into(), a.value().into()))
                        .collect()
                })
                .unwrap_or_default(),
            alias: child("alias")
                .and_then(|a| a.attribute("name"))
                .map(str::to_string),
        })
    };
    let all = devices.flat_map(|n| n.children());
    Ok(all.filter(is_disk).filter_map(disk).collect())
}

/// The disk with a target name, or the first one.
pub fn disk(xml: &str, target: Option<&str>) -> Result<DiskXml, XmlError> {
    let all = disks(xml)?;
    let known = all.iter().map(|d| d.target.clone()).collect();
    let wanted = |d: &DiskXml| target.is_none_or(|t| d.target == t);
    all.into_iter().find(wanted).ok_or_else(|| XmlError::NoDisk {
        target: target.unwrap_or("(any)").into(),
        known,
    })
}

/// Number of vCPUs and memory of the guest.
pub fn size(xml: &str) -> Result<(u16, Bytes), XmlError> {
    let document = Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    let child = |name| document.root_element().children().find(|n| n.has_tag_name(name));
    let incomplete = || XmlError::Parse("it has no legal <vcpu> or <memory>".into());
    let vcpus = child("vcpu")
        .and_then(|n| n.text()?.trim().parse().ok())
        .ok_or_else(incomplete)?;
    let memory = child("memory").ok_or_else(incomplete)?;
    let number = memory.text().unwrap_or_default().trim();
    // libvirt's unit for bytes is `b` or `bytes`.
    let unit = memory.attribute("unit").unwrap_or("KiB").replace("bytes", "b");
    let memory = format!("{number}{unit}").parse().map_err(|_| incomplete())?;
    Ok((vcpus, memory))
}

/// One network interface of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkXml {
    /// The host's name of it, `vnet0`, while the domain runs.
    pub device: Option<String>,
    /// Its address on the wire, which both sides know.
    pub mac: String,
    /// libvirt's alias of a running domain's interface.
    pub alias: Option<String>,
}

/// The first network interface.
pub fn link(xml: &str) -> Option<LinkXml> {
    let document = Document::parse(xml).ok()?;
    let mut all = document.descendants();
    let is_device = |n: &roxmltree::Node| n.parent().is_some_and(|p| p.has_tag_name("devices"));
    let link = all.find(|n| n.has_tag_name("interface") && is_device(n))?;
    let attribute = |child: &str, name: &str| {
        let node = link.children().find(|c| c.has_tag_name(child))?;
        node.attribute(name).map(str::to_string)
    };
    Some(LinkXml {
        device: attribute("target", "dev"),
        mac: attribute("mac", "address")?,
        alias: attribute("alias", "name"),
    })
}

/// Number of I/O threads of the domain.
pub fn iothreads(xml: &str) -> u16 {
    let count = |document: Document| {
        let mut parts = document.root_element().children();
        parts
            .find(|n| n.has_tag_name("iothreads"))?
            .text()?
            .trim()
            .parse()
            .ok()
    };
    Document::parse(xml).ok().and_then(count).unwrap_or(0)
}

/// Whether a guest agent can be reached, when one runs in the guest.
pub fn has_agent_channel(xml: &str) -> bool {
    Document::parse(xml).is_ok_and(|document| {
        document.descendants().any(|n| {
            n.has_tag_name("target")
                && n.attribute("name") == Some("org.qemu.guest_agent.0")
                && n.parent().is_some_and(|p| p.has_tag_name("channel"))
        })
    })
}

/// The guest's UUID.
pub fn uuid(xml: &str) -> Option<String> {
    let document = Document::parse(xml).ok()?;
    let node = document
        .root_element()
        .children()
        .find(|n| n.has_tag_name("uuid"))?;
    Some(node.text()?.trim().to_string())
}

/// The XML with passwords blanked, for the record.
pub fn without_secrets(xml: &str) -> String {
    let mut xot = Xot::new();
    let Ok(root) = xot.parse(xml) else {
        return String::new();
    };
    let secrets = [xot.add_name("passwd"), xot.add_name("password")];
    let nodes: Vec<_> = xot.descendants(root).filter(|&n| xot.is_element(n)).collect();
    for node in nodes {
        for secret in secrets {
            if xot.get_attribute(node, secret).is_some() {
                xot.set_attribute(node, secret, "removed");
            }
        }
    }
    xot.to_string(root).unwrap_or_default()
}

/// The value a setting has in this XML, with QEMU's default where nothing is written.
pub fn value(xml: &str, setting: &XmlSetting, target: Option<&str>) -> Result<String, XmlError> {
    let driver = |attribute: &str, default: &str| {
        let value = disk(xml, target)?.driver.get(attribute).cloned();
        Ok(value
            .filter(|v| v != "default")
            .unwrap_or_else(|| default.to_string()))
    };
    match setting {
        XmlSetting::DiskCache => driver("cache", "writeback"),
        XmlSetting::DiskIo => driver("io", "threads"),
        XmlSetting::Hugepages => hugepages(xml),
        XmlSetting::CpuMode => processor::mode(xml),
        XmlSetting::Topology => processor::topology(xml),
        XmlSetting::NumaMode => numa::mode(xml),
        XmlSetting::NumaNodes => numa::nodes(xml),
        XmlSetting::Placement => numa::placement(xml),
        XmlSetting::GuestBoot(parameter) => place::boot_value(xml, parameter),
        XmlSetting::Place(place) => place::value(xml, place, target),
        XmlSetting::Machine => Ok(build(xml)?.machine),
        XmlSetting::Emulator => Ok(build(xml)?.emulator),
        XmlSetting::Kernel => build::of_os(xml, "kernel"),
        XmlSetting::Initrd => build::of_os(xml, "initrd"),
        XmlSetting::DiskImage => build::source(xml, target),
    }
}

fn hugepages(xml: &str) -> Result<String, XmlError> {
    let document = Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    let Some(backing) = document.descendants().find(|n| n.has_tag_name("hugepages")) else {
        return Ok("off".into());
    };
    let page = backing.children().find(|n| n.has_tag_name("page"));
    let bytes = page.and_then(|p| {
        // libvirt's page size is in KiB unless it names a unit.
        format!("{}{}", p.attribute("size")?, p.attribute("unit").unwrap_or("KiB"))
            .parse::<Bytes>()
            .ok()
    });
    // Without a size libvirt takes the host's default, 2 MiB on x86-64 unless the command line says otherwise.
    Ok(if bytes == Some(Bytes::mib(1024)) {
        "1GiB".into()
    } else {
        "2MiB".into()
    })
}

/// The XML with settings put in.
pub fn with_settings(
    xml: &str,
    settings: &BTreeMap<XmlSetting, String>,
    target: Option<&str>,
) -> Result<String, XmlError> {
    if settings.is_empty() {
        return Ok(xml.to_string());
    }
    let target = disk(xml, target)?.target;
    let mut xot = Xot::new();
    let root = xot.parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    let domain = xot.document_element(root)?;
    let mut editor = Editor { xot };
    for (setting, value) in settings {
        match setting {
            XmlSetting::DiskCache => editor.set_driver(domain, &target, "cache", value)?,
            XmlSetting::DiskIo => editor.set_driver(domain, &target, "io", value)?,
            XmlSetting::Hugepages => editor.set_hugepages(domain, value)?,
            XmlSetting::CpuMode => editor.set_cpu_mode(domain, value)?,
            XmlSetting::Topology => editor.set_topology(domain, value)?,
            XmlSetting::NumaMode => editor.set_numa_mode(domain, value)?,
            XmlSetting::NumaNodes => editor.set_numa_nodes(domain, value)?,
            XmlSetting::Placement => editor.set_placement(domain, value)?,
            XmlSetting::GuestBoot(parameter) => editor.set_boot(domain, parameter, value)?,
            XmlSetting::Place(place) => editor.set_place(domain, place, value, &target)?,
            XmlSetting::DiskImage => editor.set_image(domain, &target, value)?,
            XmlSetting::Machine => editor.set_machine(domain, value)?,
            XmlSetting::Emulator => editor.set_emulator(domain, value)?,
            XmlSetting::Kernel => editor.set_kernel(domain, value)?,
            XmlSetting::Initrd => editor.set_initrd(domain, value)?,
        }
    }
    Ok(editor.xot.to_string(root)?)
}

struct Editor {
    xot: Xot,
}

impl Editor {
    fn is(&self, node: Node, name: &str) -> bool {
        self.xot
            .node_name(node)
            .is_some_and(|id| self.xot.name_ns_str(id) == (name, ""))
    }

    fn child(&self, parent: Node, name: &str) -> Option<Node> {
        self.xot.children(parent).find(|&n| self.is(n, name))
    }

    fn child_or_new(&mut self, parent: Node, name: &str) -> Result<Node, xot::Error> {
        if let Some(node) = self.child(parent, name) {
            return Ok(node);
        }
        self.new_element(parent, name)
    }

    fn new_element(&mut self, parent: Node, name: &str) -> Result<Node, xot::Error> {
        let id = self.xot.add_name(name);
        let node = self.xot.new_element(id);
        self.xot.append(parent, node)?;
        Ok(node)
    }

    fn set(&mut self, node: Node, attribute: &str, value: &str) {
        let name = self.xot.add_name(attribute);
        self.xot.set_attribute(node, name, value);
    }

    fn set_driver(
        &mut self,
        domain: Node,
        target: &str,
        attribute: &str,
        value: &str,
    ) -> Result<(), xot::Error> {
        for disk in self.disks(domain, target) {
            let driver = self.child_or_new(disk, "driver")?;
            self.set(driver, attribute, value);
        }
        Ok(())
    }

    /// The disks with a target name: one, in what libvirt writes.
    fn disks(&mut self, domain: Node, target: &str) -> Vec<Node> {
        let dev = self.xot.add_name("dev");
        let has_target = |disk: Node| {
            let node = self.child(disk, "target");
            node.and_then(|n| self.xot.get_attribute(n, dev)) == Some(target)
        };
        let devices = self.xot.children(domain).filter(|n| self.is(*n, "devices"));
        let all = devices.flat_map(|n| self.xot.children(n));
        all.filter(|n| self.is(*n, "disk") && has_target(*n)).collect()
    }

    fn set_hugepages(&mut self, domain: Node, value: &str) -> Result<(), xot::Error> {
        let backing = self.child_or_new(domain, "memoryBacking")?;
        if let Some(old) = self.child(backing, "hugepages") {
            self.xot.remove(old)?;
        }
        let (size, unit) = match value {
            "2MiB" => ("2", "M"),
            "1GiB" => ("1", "G"),
            _ => return self.remove_husks(&[backing]),
        };
        let pages = self.child_or_new(backing, "hugepages")?;
        let page = self.child_or_new(pages, "page")?;
        self.set(page, "size", size);
        self.set(page, "unit", unit);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const XML: &str = "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><!-- mine --><name>a</name>\
        <devices><disk device='disk'><driver name='qemu' cache='none'/><source file='/x'/><target dev='vda'/></disk>\
        <disk device='disk'><source dev='/dev/loop3'/><target dev='vdb'/></disk></devices>\
        <qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>";

    #[test]
    fn edits_only_what_is_named() {
        let settings = [
            (XmlSetting::DiskCache, "directsync".to_string()),
            (XmlSetting::DiskIo, "native".into()),
            (XmlSetting::Hugepages, "1GiB".into()),
        ];
        let edited = with_settings(XML, &settings.clone().into(), Some("vdb")).unwrap();
        for (setting, wanted) in settings {
            assert_eq!(value(&edited, &setting, Some("vdb")).unwrap(), wanted);
        }
        assert_eq!(
            value(&edited, &XmlSetting::DiskCache, Some("vda")).unwrap(),
            "none"
        );
        assert!(
            edited.contains("<!-- mine -->") && edited.contains("qemu:arg"),
            "{edited}"
        );
    }

    #[test]
    fn defaults_are_qemus() {
        assert_eq!(
            value(XML, &XmlSetting::DiskCache, Some("vdb")).unwrap(),
            "writeback"
        );
        assert_eq!(value(XML, &XmlSetting::Hugepages, None).unwrap(), "off");
        let off = [(XmlSetting::Hugepages, "off".to_string())].into();
        assert_eq!(
            value(
                &with_settings(XML, &off, None).unwrap(),
                &XmlSetting::Hugepages,
                None
            )
            .unwrap(),
            "off"
        );
    }

    #[test]
    fn a_missing_disk_names_those_there_are() {
        let error = disk(XML, Some("vdz")).unwrap_err().to_string();
        assert!(error.contains("vda, vdb"), "{error}");
        assert!(!has_agent_channel(XML));
        assert!(disk("<domain", None).is_err());
    }
}
