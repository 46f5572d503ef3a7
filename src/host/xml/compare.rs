//! Two definitions of one domain beside each other: to be shown, and whether they differ only where kvmtune set something.
//!
//! Does not know which of them is older.

use super::{XmlError, with_settings, without_secrets};
use crate::tunable::{ABSENT, XmlSetting};
use std::collections::BTreeMap;
use xot::Xot;

/// The XML as it is shown: without secrets, and every element on a line of its own, so that two are compared line by line.
pub fn tidy(xml: &str) -> Result<String, XmlError> {
    let mut xot = Xot::new();
    let root = xot
        .parse(&without_secrets(xml))
        .map_err(|e| XmlError::Parse(e.to_string()))?;
    xot.remove_insignificant_whitespace(root);
    let parameters = xot::output::xml::Parameters {
        indentation: Some(xot::output::Indentation::default()),
        ..Default::default()
    };
    Ok(xot.serialize_xml_string(parameters, root)?)
}

/// Whether two definitions are the same but for what stands at these places. A change that takes more along than its own
/// place (another family of machines renumbers every device) makes them differ.
pub fn same_besides<'p>(
    left: &str,
    right: &str,
    places: impl Iterator<Item = &'p XmlSetting>,
    target: Option<&str>,
) -> Result<bool, XmlError> {
    let emptied: BTreeMap<_, _> = places.map(|p| (p.clone(), emptied(p, left, target))).collect();
    let mut xot = Xot::new();
    let mut bare = |xml: &str| -> Result<xot::Node, XmlError> {
        let xml = with_settings(xml, &emptied, target)?;
        let root = xot.parse(&xml).map_err(|e| XmlError::Parse(e.to_string()))?;
        xot.remove_insignificant_whitespace(root);
        Ok(root)
    };
    let (left, right) = (bare(left)?, bare(right)?);
    Ok(xot.deep_equal(left, right))
}

/// A value that both can have at the place: none, where that can be said.
fn emptied(place: &XmlSetting, xml: &str, target: Option<&str>) -> String {
    match place {
        XmlSetting::Hugepages => "off".into(),
        XmlSetting::CpuMode | XmlSetting::NumaMode | XmlSetting::Placement | XmlSetting::Initrd => {
            "none".into()
        }
        XmlSetting::NumaNodes | XmlSetting::GuestBoot(_) | XmlSetting::Place(_) => ABSENT.into(),
        XmlSetting::DiskCache => "writeback".into(),
        XmlSetting::DiskIo => "threads".into(),
        XmlSetting::Topology => "1x1x1".into(),
        XmlSetting::Machine | XmlSetting::Emulator | XmlSetting::Kernel | XmlSetting::DiskImage => {
            super::value(xml, place, target).unwrap_or_default()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const XML: &str = "<domain type='kvm'>\n  <name>a</name>\n  <vcpu>2</vcpu>\n  <devices>\n    <disk type='file'>\n      \
        <driver name='qemu'/><target dev='vda'/>\n    </disk>\n    <graphics type='vnc' passwd='secret'/>\n  </devices>\n</domain>\n";

    #[test]
    fn only_our_places_may_differ() {
        let shares = XmlSetting::Place(crate::tunable::XmlPlace {
            path: "/domain/cputune/shares".parse().unwrap(),
            default: None,
            qemu: None,
        });
        let ours: BTreeMap<_, _> = [
            (shares, "512".to_string()),
            (XmlSetting::DiskCache, "none".into()),
            (XmlSetting::CpuMode, "maximum".into()),
        ]
        .into();
        let edited = with_settings(XML, &ours, None).unwrap();
        let same = |other: &str| same_besides(other, XML, ours.keys(), None).unwrap();
        assert!(same(&edited) && same(XML));
        let turned = edited.replace("name=\"qemu\" cache=\"none\"", "cache=\"none\" name=\"qemu\"");
        assert!(
            turned != edited && same(&turned),
            "the order of attributes is nothing"
        );
        assert!(same(&edited.replace("  ", "\n")), "blanks are nothing");
        assert!(!same(&edited.replace("dev=\"vda\"", "dev=\"vda\" bus=\"scsi\"")));
        assert!(!same(&edited.replace("secret", "other")));
        assert!(!same(&edited.replace("<vcpu>2", "<vcpu>4")));
    }

    #[test]
    fn what_is_shown_has_no_secret_and_a_line_an_element() {
        let shown = tidy(XML).unwrap();
        assert!(!shown.contains("secret"), "{shown}");
        assert!(
            shown.contains("\n    <disk type=\"file\">\n      <driver name=\"qemu\"/>\n"),
            "{shown}"
        );
    }
}
