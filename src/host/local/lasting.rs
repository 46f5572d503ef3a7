//! A user's domain made to keep settings: its definition, and what a definition must be known for.
//!
//! Does not know why a definition is changed, nor what it was before.

use super::{LocalHost, Owner, chain};
use crate::host::guest_file::GuestFiles;
use crate::host::libvirt::{Domain, LibvirtError};
use crate::host::transport::Transport;
use crate::host::{HostError, survey, xml};
use crate::tunable::XmlSetting;
use std::collections::BTreeMap;
use std::time::Duration;

/// A guest that answers at all does so by then.
const ANSWERS: Duration = Duration::from_secs(5);

impl LocalHost {
    fn user_domain(&self, doing: &str) -> Result<&Domain, HostError> {
        match &self.owner {
            Owner::User(domain) => Ok(domain),
            Owner::Lab(_) => Err(HostError::new(doing, "the lab's guest does not last")),
        }
    }

    /// The definition that the next start uses, as it is now. It holds secrets: not to be shown as it is.
    pub fn definition_now(&self) -> Result<String, HostError> {
        let doing = "read the domain's definition";
        let domain = self.user_domain(doing)?;
        let fail = |e: LibvirtError| HostError::new(doing, e);
        if !domain.is_persistent().map_err(fail)? {
            return Err(HostError::new(
                doing,
                format!(
                    "domain {} is transient: it has no definition, and all of it ends with its run; define it with \
                     `virsh define`",
                    domain.name()
                ),
            ));
        }
        domain.xml_inactive().map_err(fail)
    }

    /// Makes `text` the definition that the next start uses, and gives what libvirt made of it. A text of kvmtune's is held
    /// against libvirt's schema; one that libvirt itself gave is accepted back.
    pub fn define(&mut self, text: &str, is_ours: bool) -> Result<String, HostError> {
        let doing = "define the domain";
        let domain = self.user_domain(doing)?;
        if xml::uuid(text).as_deref() != Some(domain.uuid().to_string().as_str()) {
            return Err(HostError::new(doing, "the definition is of another domain"));
        }
        let defined = if is_ours {
            self.connection.define_validated(text)
        } else {
            self.connection.define_xml(text)
        };
        defined.map_err(|e| HostError::new(doing, e))?;
        self.definition = self.definition_now()?;
        Ok(self.definition.clone())
    }

    /// Parts of the definition with those that libvirt needs beside them.
    pub fn completed(
        &self,
        places: BTreeMap<XmlSetting, String>,
    ) -> Result<BTreeMap<XmlSetting, String>, HostError> {
        let completed = self.complete(places);
        completed.map_err(|e| HostError::new("change the domain's definition", e))
    }

    /// The host's block device behind the data disk: `/dev/sda`.
    pub fn device_behind(&self) -> Option<String> {
        let disk = xml::disk(&self.definition, Some(&self.disk)).ok()?;
        let name = disk.source.as_deref().and_then(survey::host_device)?;
        // In /sys a slash of a name is spelled so.
        Some(format!("/dev/{}", name.replace('!', "/")))
    }

    /// Number of vCPUs and of I/O threads of the definition.
    pub fn threads(&self) -> Result<(u16, u16), HostError> {
        let (vcpus, _) =
            xml::size(&self.definition).map_err(|e| HostError::new("read the domain's size", e))?;
        Ok((vcpus, xml::iothreads(&self.definition)))
    }

    /// The running guest's files, when it answers and lets them be changed.
    pub fn guest_files(&self) -> Result<GuestFiles<'_>, HostError> {
        let doing = "reach the guest";
        let fail = |cause: String| HostError::new(doing, cause);
        let Some(guest) = &self.guest else {
            return Err(fail(
                "it is off, and its part can only be changed inside it; start it".into(),
            ));
        };
        if let Transport::Agent(agent) = &guest.transport {
            if !self.has_agent_channel() {
                return Err(fail(
                    "the domain has no channel for a guest agent; add one named org.qemu.guest_agent.0"
                        .into(),
                ));
            }
            let info = agent.ping(ANSWERS).and_then(|()| agent.info());
            let lacking = info.map_err(|e| fail(chain(&e)))?.lacking();
            if !lacking.is_empty() {
                return Err(fail(format!(
                    "its agent blocks or lacks {}; allow them in the guest's configuration of qemu-ga (block-rpcs), or \
                     use ssh in the experiment",
                    lacking.join(", ")
                )));
            }
        } else if let Err(error) = guest.transport.ping(ANSWERS) {
            return Err(fail(chain(&error)));
        }
        Ok(GuestFiles::of(&guest.transport))
    }
}
