//! One domain: its life, its XML, its live values. It does not know what a good value is.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use uuid::Uuid;
use virt::domain::Domain as Inner;
use virt_sys as sys;

use super::typed::{self, Part, Wanted};
use super::{Connection, LibvirtError, TypedValue, check, process};
use crate::tunable::ParameterGroup;

/// A handle to a domain; clones share it. Its name and UUID are those at lookup.
#[derive(Debug, Clone)]
pub struct Domain {
    handle: Arc<Handle>,
    name: String,
    uuid: Uuid,
    run_dir: Option<PathBuf>,
}

#[derive(Debug)]
struct Handle(ManuallyDrop<Inner>);

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by this value and not used after; `Inner::drop` never runs,
        // because it would panic when freeing fails.
        unsafe { sys::virDomainFree(self.0.as_ptr()) };
    }
}

/// What a domain is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DomainState {
    /// Running, or blocked on a resource.
    Running,
    /// Paused, or suspended by the guest.
    Paused,
    /// The guest is shutting down.
    ShuttingDown,
    /// Not running.
    Off,
    /// Stopped by a crash.
    Crashed,
    /// A state this program does not know.
    Unknown,
}

/// Size and use of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DomainInfo {
    /// What it is doing.
    pub state: DomainState,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// CPU time used since the start.
    pub cpu_time: Duration,
}

/// Who is asked to shut the guest down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownBy {
    /// The guest agent.
    Agent,
    /// The ACPI power button.
    Acpi,
}

impl Domain {
    pub(super) fn new(inner: Inner, run_dir: Option<PathBuf>) -> Result<Self, LibvirtError> {
        let handle = Handle(ManuallyDrop::new(inner));
        let identity = handle.0.name().and_then(|name| Ok((name, handle.0.uuid()?)));
        let (name, uuid) =
            identity.map_err(|e| LibvirtError::from_virt("read a domain's name".to_owned(), &e))?;
        Ok(Self {
            handle: Arc::new(handle),
            name,
            uuid,
            run_dir,
        })
    }

    /// The domain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The domain's UUID.
    pub fn uuid(&self) -> Uuid {
        self.uuid
    }

    /// The driver's number for the running domain, asked afresh: a handle keeps the number it was looked up with.
    pub fn id(&self) -> Option<u32> {
        let uuid = *self.uuid.as_bytes();
        // SAFETY: the connection is borrowed from a valid handle, a UUID has the 16 bytes that are read, and what is
        // looked up is freed here.
        let id = unsafe {
            let now = sys::virDomainLookupByUUID(sys::virDomainGetConnect(self.raw()), uuid.as_ptr());
            if now.is_null() {
                return None;
            }
            let id = sys::virDomainGetID(now);
            sys::virDomainFree(now);
            id
        };
        // libvirt's -1 of a domain that is off.
        (id != u32::MAX).then_some(id)
    }

    /// Whether it runs.
    pub fn is_active(&self) -> Result<bool, LibvirtError> {
        self.inner().is_active().map_err(self.failed("look at"))
    }

    /// Whether it has a definition that survives its end.
    pub fn is_persistent(&self) -> Result<bool, LibvirtError> {
        self.inner().is_persistent().map_err(self.failed("look at"))
    }

    /// State, memory, virtual CPUs and CPU time.
    pub fn info(&self) -> Result<DomainInfo, LibvirtError> {
        let info = self.inner().info().map_err(self.failed("look at"))?;
        let state = match info.state.to_raw() {
            sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED => DomainState::Running,
            sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Paused,
            sys::VIR_DOMAIN_SHUTDOWN => DomainState::ShuttingDown,
            sys::VIR_DOMAIN_SHUTOFF => DomainState::Off,
            sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
            _ => DomainState::Unknown,
        };
        let cpu_time = Duration::from_nanos(info.cpu_time);
        Ok(DomainInfo {
            state,
            memory_bytes: info.memory * 1024,
            vcpus: info.nr_virt_cpu,
            cpu_time,
        })
    }

    /// The running domain's XML, without secrets.
    pub fn xml_live(&self) -> Result<String, LibvirtError> {
        self.inner().xml_desc(0).map_err(self.failed("read the XML of"))
    }

    /// The definition the next start will use. It holds secrets such as a VNC password, because a
    /// definition written back without them would lose them: do not store or print it.
    pub fn xml_inactive(&self) -> Result<String, LibvirtError> {
        let flags = sys::VIR_DOMAIN_XML_INACTIVE | sys::VIR_DOMAIN_XML_SECURE;
        self.inner()
            .xml_desc(flags)
            .map_err(self.failed("read the definition of"))
    }

    /// Starts it from its definition.
    pub fn create(&self) -> Result<(), LibvirtError> {
        self.inner()
            .create()
            .map_err(self.failed("start"))
            .inspect_err(settle)
    }

    /// Starts this defined but stopped domain with another XML for one run; the definition stays as it is,
    /// and is what the next start uses (libvirt keeps it beside the running one).
    ///
    /// The XML must carry this domain's name and UUID: otherwise libvirt would start a second domain.
    pub fn create_modified(&self, connection: &Connection, xml: &str) -> Result<(), LibvirtError> {
        let refuse = |why: &str| Err(LibvirtError::own(self.doing("start a changed"), why));
        if !self.is_persistent()? {
            return refuse("it has no definition to go back to");
        }
        if self.is_active()? {
            return refuse("it is running; shut it down first");
        }
        if identity(xml) != Some((self.name.clone(), self.uuid)) {
            return refuse("the changed XML names another domain");
        }
        let created = connection.inner.create_domain_xml(xml, sys::VIR_DOMAIN_NONE);
        let created = created
            .map_err(self.failed("start a changed"))
            .inspect_err(settle)?;
        Self::new(created, None).map(drop)
    }

    /// Ends it at once, like pulling the plug.
    pub fn destroy(&self) -> Result<(), LibvirtError> {
        self.inner().destroy().map_err(self.failed("destroy"))
    }

    /// Asks the guest to shut down; returns before it has.
    pub fn shutdown(&self, by: ShutdownBy) -> Result<(), LibvirtError> {
        let flags = match by {
            ShutdownBy::Agent => sys::VIR_DOMAIN_SHUTDOWN_GUEST_AGENT,
            ShutdownBy::Acpi => sys::VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN,
        };
        self.inner()
            .shutdown_flags(flags)
            .map_err(self.failed("shut down"))
    }

    /// Removes the definition.
    pub fn undefine(&self) -> Result<(), LibvirtError> {
        self.inner().undefine().map_err(self.failed("undefine"))
    }

    /// Sends one QMP command, as JSON. libvirt marks the domain as tainted.
    pub fn monitor(&self, json: &str) -> Result<String, LibvirtError> {
        self.inner()
            .qemu_monitor_command(json, 0)
            .map_err(self.failed("command the monitor of"))
    }

    /// Sends one guest agent command, as JSON; the limit is rounded up to whole seconds.
    /// Before that libvirt waits up to five seconds for the agent to synchronise.
    pub fn agent_command(&self, json: &str, timeout: Duration) -> Result<String, LibvirtError> {
        let sent = self.inner().qemu_agent_command(json, whole_seconds(timeout), 0);
        sent.map_err(self.failed("command the guest agent of"))
    }

    /// How long libvirt's own agent calls (shutdown, for one) may wait.
    pub fn set_agent_timeout(&self, timeout: Duration) -> Result<(), LibvirtError> {
        // SAFETY: a valid handle.
        let status = unsafe { sys::virDomainAgentSetResponseTimeout(self.raw(), whole_seconds(timeout), 0) };
        check(status, || self.doing("set the agent timeout of")).map(drop)
    }

    /// The live values of a group, by libvirt's names.
    pub fn parameters(&self, group: ParameterGroup) -> Result<BTreeMap<String, TypedValue>, LibvirtError> {
        // SAFETY: a valid handle.
        unsafe { typed::read(self.raw(), Part::Group(group), &self.name) }
    }

    /// Changes one live value of a group. Only names that [`Domain::parameters`] shows are taken.
    pub fn set_parameter(&self, group: ParameterGroup, field: &str, number: i64) -> Result<(), LibvirtError> {
        let wanted = [(field, Wanted::Number(number))];
        // SAFETY: a valid handle.
        unsafe { typed::write(self.raw(), Part::Group(group), &self.name, &wanted) }
    }

    /// Changes one live value of a group that is a text.
    pub fn set_text_parameter(
        &self,
        group: ParameterGroup,
        field: &str,
        text: &str,
    ) -> Result<(), LibvirtError> {
        let wanted = [(field, Wanted::Text(text.to_owned()))];
        // SAFETY: a valid handle.
        unsafe { typed::write(self.raw(), Part::Group(group), &self.name, &wanted) }
    }

    /// The limits QEMU keeps of the disk with this target name, by libvirt's names.
    pub fn throttle(&self, target: &str) -> Result<BTreeMap<String, TypedValue>, LibvirtError> {
        let target = self.target(target)?;
        // SAFETY: a valid handle.
        unsafe { typed::read(self.raw(), Part::Disk(&target), &self.name) }
    }

    /// Changes limits of a disk in one call. libvirt zeroes what belongs together and is not named: total, read and
    /// write of bytes, and of requests.
    pub fn set_throttle(&self, target: &str, limits: &[(&str, i64)]) -> Result<(), LibvirtError> {
        let target = self.target(target)?;
        let number = |&(field, number): &(_, i64)| (field, Wanted::Number(number));
        let wanted: Vec<_> = limits.iter().map(number).collect();
        // SAFETY: a valid handle.
        unsafe { typed::write(self.raw(), Part::Disk(&target), &self.name, &wanted) }
    }

    /// Bytes that the disk with this target name has read and written since the guest was started, by QEMU's reckoning.
    pub fn block_bytes(&self, target: &str) -> Result<(u64, u64), LibvirtError> {
        let told = self.inner().block_stats(target);
        let told = told.map_err(self.failed("read the block statistics of"))?;
        let bytes = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok((bytes(told.rd_bytes), bytes(told.wr_bytes)))
    }

    fn target(&self, target: &str) -> Result<CString, LibvirtError> {
        let doing = self.doing("find the disk of");
        CString::new(target).map_err(|_| LibvirtError::own(doing, "its target name holds a NUL byte"))
    }

    /// The process id of the domain's QEMU on this host.
    pub fn qemu_pid(&self) -> io::Result<u32> {
        match &self.run_dir {
            Some(run_dir) => process::pid(run_dir, &self.name, self.uuid),
            None => process::pid_by_command(self.uuid),
        }
    }

    /// The cgroup directory QEMU's main thread is in, for a controller such as `cpu`.
    pub fn cgroup(&self, controller: &str) -> io::Result<PathBuf> {
        process::cgroup(self.qemu_pid()?, controller)
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.handle.0
    }

    /// Valid while `self` lives.
    pub(super) fn raw(&self) -> sys::virDomainPtr {
        // SAFETY: only handed to calls that take no ownership and end before `self` does.
        unsafe { self.inner().as_ptr() }
    }

    pub(super) fn doing(&self, verb: &str) -> String {
        format!("{verb} domain {}", self.name)
    }

    pub(super) fn failed(&self, verb: &str) -> impl FnOnce(virt::error::Error) -> LibvirtError {
        let doing = self.doing(verb);
        move |error| LibvirtError::from_virt(doing, &error)
    }
}

/// Gives libvirt 9.0 time after a failed start: it handles the end of that QEMU's monitor later, and
/// would end the next start of the same domain with it ("domain is no longer running").
fn settle(_: &LibvirtError) {
    thread::sleep(Duration::from_millis(200));
}

/// The name and UUID a domain XML gives.
fn identity(xml: &str) -> Option<(String, Uuid)> {
    let document = roxmltree::Document::parse(xml).ok()?;
    let text = |name| {
        document
            .root_element()
            .children()
            .find(|n| n.has_tag_name(name))?
            .text()
    };
    Some((text("name")?.to_owned(), text("uuid")?.trim().parse().ok()?))
}

/// libvirt counts in whole seconds, and reads zero and negative numbers as something else.
fn whole_seconds(limit: Duration) -> i32 {
    i32::try_from(limit.as_millis().div_ceil(1000))
        .unwrap_or(i32::MAX)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_whole_positive_seconds() {
        let cases = [(0, 1), (1, 1), (1000, 1), (1001, 2), (5000, 5)];
        for (millis, seconds) in cases {
            assert_eq!(whole_seconds(Duration::from_millis(millis)), seconds);
        }
        assert_eq!(whole_seconds(Duration::MAX), i32::MAX);
    }

    #[test]
    fn identity_needs_both() {
        let uuid = Uuid::from_u128(5);
        let xml = format!("<domain><name>web</name><uuid>{uuid}</uuid></domain>");
        assert_eq!(identity(&xml), Some(("web".to_owned(), uuid)));
        assert_eq!(identity("<domain><name>web</name></domain>"), None);
        assert_eq!(identity("<domain"), None);
    }
}
