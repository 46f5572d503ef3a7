//! The places of a domain XML that can be named: a small part of `XPath`, just enough to say where a text stands.
//!
//! Not a full `XPath`, because a place that is not there yet must be made, and a query cannot be. Does not read XML.

use super::value::ValueError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The text or attribute at the end of a path: `/domain/devices/disk[target/@dev='vdb']/driver/@io`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct XmlPath {
    text: String,
    /// From below the root down to the element.
    pub steps: Vec<Step>,
    /// The attribute of that element; its text when absent.
    pub attribute: Option<String>,
}

/// One element on the way.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Step {
    /// The element's name.
    pub name: String,
    /// Which one, where there are several; the first when absent.
    pub choice: Option<Choice>,
}

/// Tells one element from others of its name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Choice {
    /// The data disk: `[$disk]`.
    DataDisk,
    /// By its place from 1: `[2]`.
    Number(usize),
    /// By the text of a child, `[path='/dev/sda']`.
    Text {
        /// The child.
        child: String,
        /// Its text.
        value: String,
    },
    /// By an attribute of its own, `[@type='pci']`, or of a child, `[target/@dev='vdb']`.
    Attribute {
        /// The child, if it is one's.
        child: Option<String>,
        /// The attribute's name.
        name: String,
        /// The attribute's value.
        value: String,
    },
}

const EXPECTED: &str = "a path such as `/domain/devices/disk[target/@dev='vdb']/driver/@io`: element names from \
    /domain down, each with at most one of [N], [@name='value'], [child/@name='value'], [child='text'] or [$disk], then \
    an attribute or nothing for the element's text";

impl XmlPath {
    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// True when kvmtune finds a guest again by what stands there, however the place is spelled.
    pub fn is_identity(&self) -> bool {
        matches!(&self.steps[..], [only] if matches!(only.name.as_str(), "name" | "uuid"))
    }
}

impl FromStr for XmlPath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        parse(text).ok_or_else(|| ValueError::new(text, EXPECTED))
    }
}

impl TryFrom<String> for XmlPath {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

impl From<XmlPath> for String {
    fn from(path: XmlPath) -> String {
        path.text
    }
}

impl fmt::Display for XmlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse(text: &str) -> Option<XmlPath> {
    if text.len() > 300 {
        return None;
    }
    let mut parts = split(text.strip_prefix('/')?)?;
    let attribute = match parts.last()?.strip_prefix('@') {
        Some(name) => Some(name.to_string()).filter(|name| is_name(name)),
        None => None,
    };
    if parts.last()?.starts_with('@') {
        attribute.as_ref()?;
        parts.pop();
    }
    let mut steps = parts
        .into_iter()
        .map(step)
        .collect::<Option<Vec<_>>>()?
        .into_iter();
    let root = steps.next()?;
    let steps: Vec<_> = steps.collect();
    (root.name == "domain" && root.choice.is_none() && (!steps.is_empty() || attribute.is_some())).then(
        || XmlPath {
            text: text.to_string(),
            steps,
            attribute,
        },
    )
}

/// The parts between slashes; those in brackets do not count.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0);
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            '/' if depth == 0 => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return None;
        }
    }
    parts.push(&text[start..]);
    (depth == 0).then_some(parts)
}

fn step(part: &str) -> Option<Step> {
    let (name, choice) = match part.split_once('[') {
        None => (part, None),
        Some((name, rest)) => (name, Some(choice(rest.strip_suffix(']')?)?)),
    };
    is_name(name).then(|| Step {
        name: name.to_string(),
        choice,
    })
}

fn choice(text: &str) -> Option<Choice> {
    if text == "$disk" {
        return Some(Choice::DataDisk);
    }
    if let Ok(number) = text.parse::<usize>() {
        return (1..=1000).contains(&number).then_some(Choice::Number(number));
    }
    let (place, value) = text.split_once('=')?;
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let value = value.strip_prefix(quote)?.strip_suffix(quote)?;
    let is_plain = !value.contains(['\'', '"', '[', ']']);
    if is_name(place) {
        return is_plain.then(|| Choice::Text {
            child: place.to_string(),
            value: value.to_string(),
        });
    }
    let (child, name) = match place.split_once('/') {
        Some((child, name)) => (Some(child), name),
        None => (None, place),
    };
    let name = name.strip_prefix('@')?;
    let tame = is_name(name) && child.is_none_or(is_name) && is_plain;
    tame.then(|| Choice::Attribute {
        child: child.map(str::to_string),
        name: name.to_string(),
        value: value.to_string(),
    })
}

/// Names of libvirt's elements and attributes; those of other namespaces cannot be told.
fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_apart() {
        let path: XmlPath = "/domain/devices/disk[target/@dev='vdb']/driver/@io"
            .parse()
            .unwrap();
        assert_eq!(path.attribute.as_deref(), Some("io"));
        let names: Vec<_> = path.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["devices", "disk", "driver"]);
        assert_eq!(
            path.steps[1].choice,
            Some(Choice::Attribute {
                child: Some("target".into()),
                name: "dev".into(),
                value: "vdb".into()
            })
        );
        let path: XmlPath = "/domain/blkiotune/device[path='/dev/sda']/weight"
            .parse()
            .unwrap();
        assert_eq!(
            path.steps[1].choice,
            Some(Choice::Text {
                child: "path".into(),
                value: "/dev/sda".into()
            })
        );
        let path: XmlPath = "/domain/iothreads".parse().unwrap();
        assert_eq!((path.steps.len(), path.attribute), (1, None));
        let path: XmlPath = "/domain/devices/interface[2]/mtu/@size".parse().unwrap();
        assert_eq!(path.steps[1].choice, Some(Choice::Number(2)));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for bad in [
            "",
            "/",
            "domain",
            "/domain",
            "/domain/",
            "//domain",
            "/host/a",
            "/domain[1]/a",
            "/domain/../a",
            "/domain/a[",
            "/domain/a]",
            "/domain/a[[1]]",
            "/domain/a[0]",
            "/domain/a[@b]",
            "/domain/a[@b=c]",
            "/domain/a[@b='c]",
            "/domain/a[last()]",
            "/domain/*",
            "/domain/a/@",
            "/domain/@b/c",
            "/domain/a b",
            "/domain/a[1][2]",
            "/domain/qemu:commandline",
            "/domain/a\0",
            "/domain/a[@b='x'y']",
            "/domain/a[b='x'y']",
            "/domain/a[b=x]",
        ] {
            assert!(bad.parse::<XmlPath>().is_err(), "{bad}");
        }
    }
}
