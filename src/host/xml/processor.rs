//! The guest's CPU in domain XML: which one it is shown, and its topology.
//!
//! Does not know which of them a host has.

use super::{Editor, XmlError, build};
use roxmltree::Document;
use xot::Node;

/// libvirt's mode where the XML names none.
const NONE: &str = "none";

/// `mode=` of `<cpu>`; a named model without a mode is a custom one.
pub(super) fn mode(xml: &str) -> Result<String, XmlError> {
    let document = build::parse(xml)?;
    let Some(cpu) = build::at(&document, &["cpu"]) else {
        return Ok(NONE.into());
    };
    let named = build::text(&document, &["cpu", "model"]).map(|_| "custom");
    Ok(cpu.attribute("mode").or(named).unwrap_or(NONE).to_string())
}

/// The model's name, when one is named.
pub fn cpu_model(xml: &str) -> Option<String> {
    let document = build::parse(xml).ok()?;
    build::text(&document, &["cpu", "model"])
}

/// Sockets, cores and threads; libvirt makes each vCPU a socket of its own where nothing is said.
pub(super) fn topology(xml: &str) -> Result<String, XmlError> {
    let document = build::parse(xml)?;
    let Some(topology) = build::at(&document, &["cpu", "topology"]) else {
        return Ok(format!("{}x1x1", vcpus(&document)?));
    };
    let number = |name: &str| topology.attribute(name).and_then(|n| n.parse::<u32>().ok());
    let (sockets, dies) = (number("sockets").unwrap_or(1), number("dies").unwrap_or(1));
    let (cores, threads) = (number("cores").unwrap_or(1), number("threads").unwrap_or(1));
    Ok(format!("{sockets}x{}x{threads}", dies.saturating_mul(cores)))
}

fn vcpus(document: &Document) -> Result<u32, XmlError> {
    let text = build::text(document, &["vcpu"]);
    text.and_then(|t| t.parse().ok())
        .ok_or(XmlError::Lacks("legal <vcpu>"))
}

impl Editor {
    /// A model and its features are those of the mode that named them. Topology, cache and NUMA cells stay.
    pub(super) fn set_cpu_mode(&mut self, domain: Node, value: &str) -> Result<(), XmlError> {
        let cpu = self.child_or_new(domain, "cpu")?;
        if value == "custom" {
            return Err(XmlError::Lacks(
                "model to be custom by; name one in the domain's definition",
            ));
        }
        for name in ["model", "vendor", "feature", "maxphysaddr"] {
            while let Some(node) = self.child(cpu, name) {
                self.xot.remove(node)?;
            }
        }
        for name in ["mode", "match", "check", "migratable"] {
            let name = self.xot.add_name(name);
            self.xot.remove_attribute(cpu, name);
        }
        if value == NONE {
            self.remove_husks(&[cpu])?;
        } else {
            self.set(cpu, "mode", value);
        }
        Ok(())
    }

    pub(super) fn set_topology(&mut self, domain: Node, value: &str) -> Result<(), XmlError> {
        let factors: Vec<_> = value.split('x').collect();
        let [sockets, cores, threads] = factors[..] else {
            return Err(XmlError::Parse(format!("{value} is no topology such as 1x2x1")));
        };
        let cpu = self.child_or_new(domain, "cpu")?;
        let topology = self.child_or_new(cpu, "topology")?;
        for name in ["dies", "clusters"] {
            let name = self.xot.add_name(name);
            self.xot.remove_attribute(topology, name);
        }
        for (name, value) in [("sockets", sockets), ("cores", cores), ("threads", threads)] {
            self.set(topology, name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{value, with_settings};
    use super::*;
    use crate::tunable::XmlSetting;

    const XML: &str = "<domain><vcpu>4</vcpu><cpu mode='custom' match='exact' check='full'>\
        <model fallback='forbid'>Haswell</model><topology sockets='2' dies='1' cores='2' threads='1'/>\
        <feature policy='disable' name='rtm'/></cpu><devices><disk><target dev='vda'/></disk></devices></domain>";

    fn edited(xml: &str, setting: &XmlSetting, to: &str) -> String {
        let xml = with_settings(xml, &[(setting.clone(), to.to_string())].into(), None).unwrap();
        assert_eq!(value(&xml, setting, None).unwrap(), to, "{xml}");
        xml
    }

    #[test]
    fn another_mode_takes_the_model_along_and_leaves_the_topology() {
        assert_eq!(mode(XML).unwrap(), "custom");
        let xml = edited(XML, &XmlSetting::CpuMode, "maximum");
        assert!(
            !xml.contains("Haswell") && !xml.contains("rtm") && xml.contains("sockets=\"2\""),
            "{xml}"
        );
        let xml = edited(&xml, &XmlSetting::CpuMode, "none");
        assert!(xml.contains("<cpu><topology"), "{xml}");
        let bare = XML.replace("<topology sockets='2' dies='1' cores='2' threads='1'/>", "");
        assert!(!edited(&bare, &XmlSetting::CpuMode, "none").contains("<cpu"));
        let to_custom = [(XmlSetting::CpuMode, "custom".to_string())].into();
        assert!(with_settings(XML, &to_custom, None).is_err());
    }

    #[test]
    fn a_topology_is_three_numbers() {
        assert_eq!(topology(XML).unwrap(), "2x2x1");
        assert_eq!(topology("<domain><vcpu>3</vcpu></domain>").unwrap(), "3x1x1");
        assert_eq!(topology(&XML.replace("dies='1'", "dies='2'")).unwrap(), "2x4x1");
        let xml = edited(XML, &XmlSetting::Topology, "1x2x2");
        assert!(!xml.contains("dies"), "{xml}");
    }
}
