//! Where domain XML says a guest's memory and vCPUs are to be: `<numatune>` and `cpuset=` of `<vcpu>`.
//!
//! Does not know a host's nodes.

use super::{Editor, XmlError, build};
use crate::tunable::ABSENT;
use xot::Node;

const NONE: &str = "none";

/// `mode=` of `<numatune><memory>`.
pub(super) fn mode(xml: &str) -> Result<String, XmlError> {
    let document = build::parse(xml)?;
    let memory = build::at(&document, &["numatune", "memory"]);
    // Without a mode libvirt takes strict.
    Ok(memory
        .map_or(NONE, |m| m.attribute("mode").unwrap_or("strict"))
        .to_string())
}

/// `nodeset=` of it.
pub(super) fn nodes(xml: &str) -> Result<String, XmlError> {
    let document = build::parse(xml)?;
    let memory = build::at(&document, &["numatune", "memory"]);
    Ok(memory
        .and_then(|m| m.attribute("nodeset"))
        .unwrap_or(ABSENT)
        .to_string())
}

/// vCPUs and memory as one value.
pub(super) fn placement(xml: &str) -> Result<String, XmlError> {
    let document = build::parse(xml)?;
    let cpus = build::at(&document, &["vcpu"]).and_then(|v| v.attribute("cpuset"));
    Ok(placed(cpus, &mode(xml)?, &nodes(xml)?))
}

/// One value of three; half of one is none that can be written.
pub(in crate::host) fn placed(cpus: Option<&str>, mode: &str, nodes: &str) -> String {
    match cpus {
        None if mode == NONE => NONE.into(),
        cpus => format!("cpus={} nodes={nodes} mode={mode}", cpus.unwrap_or(ABSENT)),
    }
}

impl Editor {
    pub(super) fn set_numa_mode(&mut self, domain: Node, value: &str) -> Result<(), XmlError> {
        if value == NONE {
            return self.set_memory(domain, None);
        }
        self.set_memory(domain, Some(("mode", value)))
    }

    pub(super) fn set_numa_nodes(&mut self, domain: Node, value: &str) -> Result<(), XmlError> {
        if value == ABSENT {
            return self.set_memory(domain, None);
        }
        self.set_memory(domain, Some(("nodeset", value)))
    }

    /// Sets one attribute, or takes all away.
    fn set_memory(&mut self, domain: Node, attribute: Option<(&str, &str)>) -> Result<(), XmlError> {
        let Some((name, value)) = attribute else {
            let Some(tune) = self.child(domain, "numatune") else {
                return Ok(());
            };
            if let Some(memory) = self.child(tune, "memory") {
                self.xot.remove(memory)?;
            }
            return Ok(self.remove_husks(&[tune])?);
        };
        let tune = self.child_or_new(domain, "numatune")?;
        let memory = self.child_or_new(tune, "memory")?;
        // A placement by numad names no nodes.
        let placement = self.xot.add_name("placement");
        self.xot.remove_attribute(memory, placement);
        self.set(memory, name, value);
        Ok(())
    }

    /// Single pins and single cells would stand above what is said for all: they go.
    pub(super) fn set_placement(&mut self, domain: Node, value: &str) -> Result<(), XmlError> {
        let vcpu = self.child(domain, "vcpu").ok_or(XmlError::Lacks("<vcpu>"))?;
        if let Some(tune) = self.child(domain, "cputune") {
            while let Some(pin) = self.child(tune, "vcpupin") {
                self.xot.remove(pin)?;
            }
            self.remove_husks(&[tune])?;
        }
        for name in ["cpuset", "placement"] {
            let name = self.xot.add_name(name);
            self.xot.remove_attribute(vcpu, name);
        }
        self.set_memory(domain, None)?;
        if value == NONE {
            return Ok(());
        }
        for part in value.split_whitespace() {
            match part.split_once('=') {
                Some(("cpus", cpus)) => self.set(vcpu, "cpuset", cpus),
                Some(("nodes", nodes)) => self.set_memory(domain, Some(("nodeset", nodes)))?,
                Some(("mode", mode)) => self.set_memory(domain, Some(("mode", mode)))?,
                _ => return Err(XmlError::Parse(format!("{value} is no placement"))),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{value, with_settings};
    use crate::tunable::XmlSetting;

    const XML: &str = "<domain><vcpu placement='static'>2</vcpu><devices><disk><target dev='vda'/></disk></devices></domain>";

    fn edited(settings: &[(XmlSetting, &str)]) -> String {
        let changes = settings
            .iter()
            .map(|(s, v)| (s.clone(), (*v).to_string()))
            .collect();
        let xml = with_settings(XML, &changes, None).unwrap();
        for (setting, wanted) in settings {
            assert_eq!(value(&xml, setting, None).unwrap(), *wanted, "{xml}");
        }
        xml
    }

    #[test]
    fn mode_and_nodes_are_one_element() {
        let xml = edited(&[
            (XmlSetting::NumaMode, "interleave"),
            (XmlSetting::NumaNodes, "0-1"),
        ]);
        assert_eq!(xml.matches("<memory").count(), 1, "{xml}");
        let back = [(XmlSetting::NumaMode, "none".to_string())].into();
        let back = with_settings(&xml, &back, None).unwrap();
        assert!(!back.contains("numatune"), "{back}");
        edited(&[(XmlSetting::NumaMode, "none")]);
    }

    #[test]
    fn a_placement_is_cpus_and_memory() {
        let xml = edited(&[(XmlSetting::Placement, "cpus=0-1 nodes=0 mode=strict")]);
        assert!(
            xml.contains("cpuset=\"0-1\"") && xml.contains("nodeset=\"0\""),
            "{xml}"
        );
        let back = [(XmlSetting::Placement, "none".to_string())].into();
        let back = with_settings(&xml, &back, None).unwrap();
        assert!(!back.contains("numatune") && !back.contains("cpuset"), "{back}");
        assert_eq!(
            value(&xml.replace(" cpuset=\"0-1\"", ""), &XmlSetting::Placement, None).unwrap(),
            "cpus=absent nodes=0 mode=strict"
        );
    }
}
