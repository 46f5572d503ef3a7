//! Values of domain XML as levels name them: a lab kernel by its release, a machine type without its alias.
//!
//! Does not start guests or write anything.

use super::reach::Guest;
use super::{LocalHost, Owner};
use crate::facts::Meaning;
use crate::host::{HostError, MAX_SETTING, build, guest_job, proof, xml};
use crate::tunable::{ABSENT, XmlSetting};
use std::collections::BTreeMap;

impl LocalHost {
    /// What is pending, as libvirt is told: files in place of a lab kernel's release, and the machine type that the
    /// definition means, lest another emulator take it for its own newest.
    pub(super) fn changes(&self) -> Result<BTreeMap<XmlSetting, String>, xml::XmlError> {
        let mut changes = self.pending.clone();
        let release = self.pending.get(&XmlSetting::Kernel);
        let image = release.and_then(|release| self.lab_of()?.image_of(release));
        if let Some(image) = image {
            changes.insert(XmlSetting::Kernel, image.kernel.display().to_string());
            let initrd = image.initrd.display().to_string();
            changes.entry(XmlSetting::Initrd).or_insert(initrd);
        }
        self.complete(changes)
    }

    /// Changes with what libvirt needs beside them.
    pub(super) fn complete(
        &self,
        mut changes: BTreeMap<XmlSetting, String>,
    ) -> Result<BTreeMap<XmlSetting, String>, xml::XmlError> {
        if changes.contains_key(&XmlSetting::Emulator) && !changes.contains_key(&XmlSetting::Machine) {
            changes.insert(XmlSetting::Machine, self.defined(&XmlSetting::Machine)?);
        }
        // A mode alone means all nodes; libvirt does not start a guest with one and no nodes.
        let bound = changes
            .get(&XmlSetting::NumaMode)
            .is_some_and(|mode| mode != "none");
        if bound
            && !changes.contains_key(&XmlSetting::NumaNodes)
            && xml::value(&self.definition, &XmlSetting::NumaNodes, Some(&self.disk))? == ABSENT
            && let Some(nodes) = proof::nodes_with_memory()
        {
            changes.insert(XmlSetting::NumaNodes, nodes);
        }
        Ok(changes)
    }

    /// What the definition says, as levels do: without aliases, a lab kernel by its release.
    pub(super) fn defined(&self, setting: &XmlSetting) -> Result<String, xml::XmlError> {
        match setting {
            XmlSetting::Machine => build::defined_machine(&self.connection, &self.definition),
            other => Ok(self.as_level(other, xml::value(&self.definition, other, Some(&self.disk))?)),
        }
    }

    fn as_level(&self, setting: &XmlSetting, found: String) -> String {
        let release = match (setting, self.lab_of()) {
            (XmlSetting::Kernel, Some(lab)) => lab.release_of(&found),
            _ => None,
        };
        release.map(str::to_string).unwrap_or(found)
    }

    /// What runs. A lab kernel counts by its release when the guest itself says so too; only the guest has a command
    /// line.
    pub(super) fn runs(&self, guest: &Guest, setting: &XmlSetting) -> Result<String, HostError> {
        let told = |path: &str| {
            let told = guest.transport.read_file(path, MAX_SETTING);
            let told = told.map_err(|e| guest_job::failed(format!("read guest:{path}"), &e))?;
            Ok(String::from_utf8_lossy(&told).trim().to_string())
        };
        if let XmlSetting::GuestBoot(parameter) = setting {
            return Ok(parameter.value_in(&told("/proc/cmdline")?));
        }
        let asked = self.pending.get(setting).filter(|_| guest.changed).cloned();
        let asked = asked.or_else(|| self.defined(setting).ok()).unwrap_or_default();
        let found = proof::running(&guest.domain, setting, &self.disk, &asked)?;
        let found = self.as_level(setting, found);
        if *setting != XmlSetting::Kernel || self.lab_of().is_none() || found.starts_with('/') {
            return Ok(found);
        }
        let told = told("/proc/sys/kernel/osrelease")?;
        Ok(if told == found {
            found
        } else {
            format!("{told} (booted from {found})")
        })
    }

    /// What a level means here, or why it cannot be used.
    pub(super) fn judge(&mut self, setting: &XmlSetting, value: &str) -> Option<Meaning> {
        let lab = match &mut self.owner {
            Owner::Lab(lab) => Some(lab.as_mut()),
            Owner::User(_) => None,
        };
        let mut judge = build::Judge {
            connection: &self.connection,
            lab,
            definition: &self.definition,
            disk: &self.disk,
            emulators: &mut self.emulators,
        };
        judge.meaning(setting, value)
    }
}
