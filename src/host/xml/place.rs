//! One text or attribute at a path of domain XML: reading it, putting it in, taking it out.
//!
//! Looks only at libvirt's own elements, those without a namespace. Does not know what a text means.

use super::{Editor, XmlError, disk};
use crate::tunable::{ABSENT, BootParameter, Choice, PRESENT, Step, XmlPlace};
use roxmltree::Document;
use xot::Node;

/// What stands at a place, or what is meant when nothing does.
pub(super) fn value(xml: &str, place: &XmlPlace, target: Option<&str>) -> Result<String, XmlError> {
    let document = Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    let target = target_of(xml, place, target)?;
    let mut node = document.root_element();
    let nothing = || Ok(place.default.clone().unwrap_or_else(|| ABSENT.into()));
    for (depth, step) in place.path.steps.iter().enumerate() {
        let named = node
            .children()
            .filter(|n| n.tag_name().namespace().is_none() && n.has_tag_name(step.name.as_str()));
        let found = match &step.choice {
            None => named.into_iter().next(),
            Some(Choice::Number(number)) => named.into_iter().nth(number - 1),
            Some(choice) => named.into_iter().find(|n| is_chosen(n, choice, &target)),
        };
        match found {
            Some(found) => node = found,
            None if is_device(place, depth) => return Err(no_device(place, step)),
            None => return nothing(),
        }
    }
    if let Some(name) = &place.path.attribute {
        let found = node.attribute(name.as_str());
        return found.map_or_else(nothing, |value| Ok(value.into()));
    }
    let text = node.text().map(str::trim).filter(|text| !text.is_empty());
    Ok(text.unwrap_or(PRESENT).to_string())
}

fn is_chosen(node: &roxmltree::Node, choice: &Choice, target: &str) -> bool {
    let attribute = |child: Option<&str>, name: &str, value: &str| match child {
        None => node.attribute(name) == Some(value),
        Some(child) => node
            .children()
            .any(|n| n.has_tag_name(child) && n.attribute(name) == Some(value)),
    };
    match choice {
        Choice::Number(_) => false,
        Choice::DataDisk => attribute(Some("target"), "dev", target),
        Choice::Attribute { child, name, value } => attribute(child.as_deref(), name, value),
        Choice::Text { child, value } => node
            .children()
            .any(|n| n.has_tag_name(child.as_str()) && n.text().map(str::trim) == Some(value)),
    }
}

/// The target name of the data disk, when the path goes by it; it must be there then.
fn target_of(xml: &str, place: &XmlPlace, target: Option<&str>) -> Result<String, XmlError> {
    let by_disk = place
        .path
        .steps
        .iter()
        .any(|s| s.choice == Some(Choice::DataDisk));
    if by_disk {
        return Ok(disk(xml, target)?.target);
    }
    Ok(String::new())
}

/// A device is more than one text: it is never made of one, nor taken away with one.
fn is_device(place: &XmlPlace, depth: usize) -> bool {
    depth == 1 && place.path.steps[0].name == "devices"
}

fn no_device(place: &XmlPlace, step: &Step) -> XmlError {
    fail(
        place,
        format!("it has no such <{}>, and a device is not made by it", step.name),
    )
}

fn fail(place: &XmlPlace, why: impl Into<String>) -> XmlError {
    XmlError::Place {
        path: place.path.to_string(),
        why: why.into(),
    }
}

/// The value of a parameter on the command line that the XML gives the guest's kernel.
pub(super) fn boot_value(xml: &str, parameter: &BootParameter) -> Result<String, XmlError> {
    let document = Document::parse(xml).map_err(|e| XmlError::Parse(e.to_string()))?;
    super::build::text(&document, &["os", "kernel"]).ok_or(NO_KERNEL)?;
    let line = super::build::text(&document, &["os", "cmdline"]).unwrap_or_default();
    Ok(parameter.value_in(&line))
}

const NO_KERNEL: XmlError = XmlError::Lacks(
    "<kernel>: the guest boots from its own disk, and its boot loader there has the command line; change it inside the \
     guest, or give the domain a kernel to boot directly",
);

impl Editor {
    /// Puts a value in; the default, or [`ABSENT`], takes out what stands there.
    pub(super) fn set_place(
        &mut self,
        domain: Node,
        place: &XmlPlace,
        value: &str,
        target: &str,
    ) -> Result<(), XmlError> {
        if place.path.is_identity() {
            return Err(fail(place, "kvmtune finds the guest by it"));
        }
        if value == ABSENT || place.default.as_deref() == Some(value) {
            self.take_out(domain, place, target)
        } else {
            self.put_in(domain, place, value, target)
        }
    }

    fn put_in(&mut self, domain: Node, place: &XmlPlace, value: &str, target: &str) -> Result<(), XmlError> {
        let mut node = domain;
        for (depth, step) in place.path.steps.iter().enumerate() {
            node = match self.step(node, step, target) {
                Some(found) => found,
                None if is_device(place, depth) => return Err(no_device(place, step)),
                None => self.new_step(node, place, step)?,
            };
        }
        if let Some(name) = &place.path.attribute {
            self.set(node, name, value);
            let again = self.way(domain, place, target).pop();
            let lost = || fail(place, "it is chosen by the very value that is to change");
            return (again == Some(node)).then_some(()).ok_or_else(lost);
        }
        let parts: Vec<_> = self.xot.children(node).collect();
        if value != PRESENT && parts.iter().any(|n| self.xot.is_element(*n)) {
            return Err(fail(place, "it has elements, not a text; name one of them"));
        }
        for part in parts {
            let is_text = self.xot.text_str(part).is_some();
            if is_text && (value != PRESENT || !self.is_blank(part)) {
                self.xot.remove(part)?;
            }
        }
        if value != PRESENT {
            self.xot.append_text(node, value)?;
        }
        Ok(())
    }

    fn take_out(&mut self, domain: Node, place: &XmlPlace, target: &str) -> Result<(), XmlError> {
        let way = self.way(domain, place, target);
        if let Some(missing) = place.path.steps.get(way.len() - 1) {
            let device = is_device(place, way.len() - 1);
            return if device {
                Err(no_device(place, missing))
            } else {
                Ok(())
            };
        }
        let mut depth = place.path.steps.len();
        match &place.path.attribute {
            Some(name) => {
                let name = self.xot.add_name(name);
                if self.xot.get_attribute(way[depth], name).is_none() {
                    return Ok(());
                }
                self.xot.remove_attribute(way[depth], name);
            }
            None if is_device(place, depth - 1) => return Err(fail(place, "it is a whole device")),
            None => {
                self.xot.remove(way[depth])?;
                depth -= 1;
            }
        }
        // What is left of the elements that only led there.
        while depth > 0 && !is_device(place, depth - 1) && place.path.steps[depth - 1].name != "devices" {
            if !self.is_husk(way[depth], &place.path.steps[depth - 1]) {
                break;
            }
            self.xot.remove(way[depth])?;
            depth -= 1;
        }
        Ok(())
    }

    /// The elements on the way that are there, from the root on.
    fn way(&mut self, domain: Node, place: &XmlPlace, target: &str) -> Vec<Node> {
        let mut way = vec![domain];
        for (depth, step) in place.path.steps.iter().enumerate() {
            match self.step(way[depth], step, target) {
                Some(found) => way.push(found),
                None => break,
            }
        }
        way
    }

    /// The element a step leads to.
    fn step(&mut self, parent: Node, step: &Step, target: &str) -> Option<Node> {
        let named: Vec<_> = self
            .xot
            .children(parent)
            .filter(|n| self.is(*n, &step.name))
            .collect();
        match &step.choice {
            None => named.first().copied(),
            Some(Choice::Number(number)) => named.get(number - 1).copied(),
            Some(Choice::DataDisk) => named
                .into_iter()
                .find(|n| self.has_attribute(*n, Some("target"), "dev", target)),
            Some(Choice::Attribute { child, name, value }) => named
                .into_iter()
                .find(|n| self.has_attribute(*n, child.as_deref(), name, value)),
            Some(Choice::Text { child, value }) => {
                named.into_iter().find(|n| self.has_text(*n, child, value))
            }
        }
    }

    fn has_text(&self, node: Node, child: &str, value: &str) -> bool {
        let mut all = self.xot.children(node);
        all.any(|n| self.is(n, child) && self.all_text(n).trim() == value)
    }

    fn has_attribute(&mut self, node: Node, child: Option<&str>, name: &str, value: &str) -> bool {
        let nodes: Vec<_> = match child {
            None => vec![node],
            Some(child) => {
                let all = self.xot.children(node);
                all.filter(|n| self.is(*n, child)).collect()
            }
        };
        nodes
            .into_iter()
            .any(|n| self.attribute(n, name).as_deref() == Some(value))
    }

    fn new_step(&mut self, parent: Node, place: &XmlPlace, step: &Step) -> Result<Node, XmlError> {
        if let Some(Choice::Number(_) | Choice::DataDisk) = step.choice {
            return Err(fail(place, format!("there is no such <{}>", step.name)));
        }
        let node = self.new_element(parent, &step.name)?;
        if let Some(Choice::Text { child, value }) = &step.choice {
            self.set_text(node, child, value)?;
        }
        if let Some(Choice::Attribute { child, name, value }) = &step.choice {
            let holder = match child {
                Some(child) => self.new_element(node, child)?,
                None => node,
            };
            self.set(holder, name, value);
        }
        Ok(node)
    }

    /// Nothing is in it but what it was chosen by.
    fn is_husk(&mut self, node: Node, step: &Step) -> bool {
        let (own, child) = match &step.choice {
            Some(Choice::Attribute {
                child: None, name, ..
            }) => (Some(name), None),
            Some(Choice::Attribute {
                child: Some(child),
                name,
                ..
            }) => (None, Some((child, name))),
            _ => (None, None),
        };
        let bare_but = |editor: &mut Self, node: Node, name: Option<&String>| {
            let name = name.map(|name| editor.xot.add_name(name));
            editor.xot.attributes(node).keys().all(|key| Some(key) == name)
        };
        if !bare_but(self, node, own) {
            return false;
        }
        let children: Vec<_> = self.xot.children(node).collect();
        children.into_iter().all(|n| {
            let by_child = child.is_some_and(|(child, name)| {
                self.is(n, child) && self.xot.first_child(n).is_none() && bare_but(self, n, Some(name))
            });
            let by_text = matches!(&step.choice, Some(Choice::Text { child, value })
                if self.is(n, child) && self.all_text(n).trim() == value);
            by_child || by_text || self.is_blank(n)
        })
    }

    /// Takes elements away, from the innermost, as far as nothing is in them.
    pub(super) fn remove_husks(&mut self, nodes: &[Node]) -> Result<(), xot::Error> {
        for node in nodes {
            let bare = self.xot.attributes(*node).is_empty();
            if !bare || self.xot.children(*node).any(|n| !self.is_blank(n)) {
                break;
            }
            self.xot.remove(*node)?;
        }
        Ok(())
    }

    fn is_blank(&self, node: Node) -> bool {
        self.xot.text_str(node).is_some_and(|t| t.trim().is_empty())
    }

    /// Puts a parameter on the command line of the guest's kernel.
    pub(super) fn set_boot(
        &mut self,
        domain: Node,
        parameter: &BootParameter,
        value: &str,
    ) -> Result<(), XmlError> {
        let os = self.child(domain, "os").ok_or(NO_KERNEL)?;
        self.child(os, "kernel").ok_or(NO_KERNEL)?;
        let old = self.child(os, "cmdline");
        let line = old.map(|n| self.all_text(n)).unwrap_or_default();
        let line = parameter.put_in(&line, value);
        match old {
            Some(node) if line.is_empty() => self.xot.remove(node)?,
            None if line.is_empty() => {}
            _ => self.set_text(os, "cmdline", &line)?,
        }
        Ok(())
    }

    fn all_text(&self, node: Node) -> String {
        let parts = self.xot.children(node);
        parts.filter_map(|n| self.xot.text_str(n)).collect()
    }
}

#[cfg(test)]
mod tests;
