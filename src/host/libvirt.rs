//! Talks to libvirt: connections, domains, typed values, CPU maps.
//! It does not know tunables, experiments or the guest agent's protocol.
//!
//! This is the only place that names `virt` and `virt_sys`. The `virt` wrappers are used where they
//! are sound; its `Drop` implementations and its typed parameters panic, so handles are freed and typed
//! values are read here. libvirt's last error is thread-local: it is read in the call that failed.
#![allow(
    unsafe_code,
    reason = "libvirt is a C library; calls the `virt` crate lacks or gets wrong"
)]

use std::ffi::CString;
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use virt::connect::Connect;
use virt_sys as sys;

mod cpu_map;
mod domain;
mod embed;
mod error;
mod pins;
mod process;
mod typed;

pub use domain::{Domain, DomainInfo, DomainState, ShutdownBy};
pub use embed::{MAX_ROOT_LENGTH, embed_root, embed_uri};
pub use error::{LibvirtError, LibvirtErrorKind};
pub use typed::TypedValue;

/// A libvirt or hypervisor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
    /// The release within the minor number.
    pub release: u32,
}

impl Version {
    /// libvirt encodes versions as `major * 1,000,000 + minor * 1,000 + release`.
    fn from_raw(raw: u32) -> Self {
        Self {
            major: raw / 1_000_000,
            minor: raw / 1_000 % 1_000,
            release: raw % 1_000,
        }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.release)
    }
}

/// The versions behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The libvirt library linked into this process.
    pub library: Version,
    /// The hypervisor (QEMU) the connection would start.
    pub hypervisor: Version,
}

/// An open connection to a libvirt driver, in this process or in a daemon.
#[derive(Debug)]
pub struct Connection {
    inner: ManuallyDrop<Connect>,
    uri: String,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: the pointer is owned by this value and not used after; `Connect::drop` never runs,
        // because it would panic when closing fails, and nothing can be done about that here.
        unsafe { sys::virConnectClose(self.inner.as_ptr()) };
    }
}

impl Connection {
    /// Opens `uri`, such as `qemu:///system` or what [`embed_uri`] gives.
    ///
    /// The first call starts the event loop's thread. An embedded driver makes taps in the network
    /// namespace of the thread that starts a domain, and threads inherit the namespace of the one that
    /// spawned them: enter a private namespace before the first call.
    pub fn open(uri: &str) -> Result<Self, LibvirtError> {
        let doing = || format!("connect to {uri}");
        if uri.contains('\0') {
            return Err(LibvirtError::own(doing(), "the URI holds a NUL byte"));
        }
        start_event_loop()?;
        let inner = Connect::open(Some(uri)).map_err(|e| LibvirtError::from_virt(doing(), &e))?;
        Ok(Self {
            inner: ManuallyDrop::new(inner),
            uri: uri.to_owned(),
        })
    }

    /// The URI this connection was opened with.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether the driver still answers.
    pub fn is_alive(&self) -> bool {
        self.inner.is_alive().unwrap_or(false)
    }

    /// The versions of the library and of the hypervisor.
    pub fn version(&self) -> Result<Versions, LibvirtError> {
        let raw = Connect::version().and_then(|library| Ok((library, self.inner.hyp_version()?)));
        let (library, hypervisor) = raw.map_err(|e| self.error("read the versions", &e))?;
        Ok(Versions {
            library: Version::from_raw(library),
            hypervisor: Version::from_raw(hypervisor),
        })
    }

    /// The names of all domains, running or not, sorted.
    pub fn domains(&self) -> Result<Vec<String>, LibvirtError> {
        let found = self
            .inner
            .list_all_domains(0)
            .map_err(|e| self.error("list the domains", &e))?;
        let domains: Result<Vec<_>, _> = found.into_iter().map(|d| self.domain(d)).collect();
        let mut names: Vec<_> = domains?.iter().map(|d| d.name().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    /// The machine type that an emulator means by `name`, or its default: without aliases. Fails for what libvirt
    /// cannot start. The emulator is run to be asked, unless libvirt remembers its answers.
    pub fn machine(
        &self,
        emulator: Option<&str>,
        arch: &str,
        name: Option<&str>,
        kind: &str,
    ) -> Result<String, LibvirtError> {
        let doing = || format!("ask for machine types at {}", self.uri);
        let text = self
            .inner
            .domain_capabilities(emulator, Some(arch), name, Some(kind), 0)
            .map_err(|e| LibvirtError::from_virt(doing(), &e))?;
        let machine = roxmltree::Document::parse(&text).ok().and_then(|document| {
            let mut parts = document.root_element().children();
            Some(parts.find(|n| n.has_tag_name("machine"))?.text()?.to_owned())
        });
        machine.ok_or_else(|| LibvirtError::own(doing(), "the answer names none"))
    }

    /// The modes of `<cpu>` that a guest of this machine type and kind can have.
    pub fn cpu_modes(
        &self,
        emulator: &str,
        arch: &str,
        machine: &str,
        kind: &str,
    ) -> Result<Vec<String>, LibvirtError> {
        let doing = || format!("ask for CPU modes at {}", self.uri);
        let text = self
            .inner
            .domain_capabilities(Some(emulator), Some(arch), Some(machine), Some(kind), 0)
            .map_err(|e| LibvirtError::from_virt(doing(), &e))?;
        let document =
            roxmltree::Document::parse(&text).map_err(|e| LibvirtError::own(doing(), &e.to_string()))?;
        let mut parts = document.root_element().children();
        let cpu = parts.find(|n| n.has_tag_name("cpu"));
        let modes = cpu
            .into_iter()
            .flat_map(|cpu| cpu.children())
            .filter(|n| n.has_tag_name("mode") && n.attribute("supported") == Some("yes"));
        Ok(modes
            .filter_map(|n| n.attribute("name").map(str::to_owned))
            .collect())
    }

    /// The domain called `name`.
    pub fn lookup(&self, name: &str) -> Result<Domain, LibvirtError> {
        let doing = format!("find domain {name}");
        self.domain(
            self.inner
                .lookup_domain_by_name(name)
                .map_err(|e| self.error(&doing, &e))?,
        )
    }

    /// Starts a transient domain; it outlives this connection and this process.
    pub fn create_xml(&self, xml: &str) -> Result<Domain, LibvirtError> {
        let created = self.inner.create_domain_xml(xml, sys::VIR_DOMAIN_NONE);
        self.domain(created.map_err(|e| self.error("start a domain", &e))?)
    }

    /// Makes `xml` the persistent definition of the domain it names, without starting it. It is not
    /// checked against libvirt's schema: what a host holds already must be accepted back.
    pub fn define_xml(&self, xml: &str) -> Result<Domain, LibvirtError> {
        let defined = self.inner.define_domain_xml(xml);
        self.domain(defined.map_err(|e| self.error("define a domain", &e))?)
    }

    /// The same with the XML held against libvirt's schema first, as `virsh define --validate` does: what kvmtune edits
    /// must not hide behind what libvirt ignores.
    pub fn define_validated(&self, xml: &str) -> Result<Domain, LibvirtError> {
        let doing = || format!("define a domain at {}", self.uri);
        let text = CString::new(xml).map_err(|_| LibvirtError::own(doing(), "the XML holds a NUL byte"))?;
        // SAFETY: a valid connection and a text that ends with NUL; what is returned is owned by the handle made of it.
        unsafe {
            let raw = sys::virDomainDefineXMLFlags(
                self.inner.as_ptr(),
                text.as_ptr(),
                sys::VIR_DOMAIN_DEFINE_VALIDATE,
            );
            if raw.is_null() {
                return Err(LibvirtError::from_virt(
                    doing(),
                    &virt::error::Error::last_error(),
                ));
            }
            self.domain(virt::domain::Domain::from_ptr(raw))
        }
    }

    fn domain(&self, inner: virt::domain::Domain) -> Result<Domain, LibvirtError> {
        Domain::new(inner, self.run_dir())
    }

    fn error(&self, doing: &str, source: &virt::error::Error) -> LibvirtError {
        LibvirtError::from_virt(format!("{doing} at {}", self.uri), source)
    }

    /// Where the driver keeps `NAME.pid`, when the URI tells.
    fn run_dir(&self) -> Option<PathBuf> {
        if let Some(root) = embed::root_of(&self.uri) {
            return Some(root.join("run/qemu"));
        }
        (self.uri == "qemu:///system").then(|| Path::new("/run/libvirt/qemu").to_owned())
    }
}

/// Registers the default event loop once and runs it in a thread: agent replies and monitor events
/// of an embedded driver are only read by it.
fn start_event_loop() -> Result<(), LibvirtError> {
    static STARTED: OnceLock<Result<(), LibvirtError>> = OnceLock::new();
    let start = || {
        // libvirt prints every error to stderr unless told otherwise; ours are returned.
        virt::error::clear_error_callback();
        let doing = || "start libvirt's event loop".to_owned();
        virt::event::event_register_default_impl().map_err(|e| LibvirtError::from_virt(doing(), &e))?;
        let spawned = thread::Builder::new()
            .name("libvirt-events".to_owned())
            .spawn(run_events);
        spawned
            .map(drop)
            .map_err(|e: io::Error| LibvirtError::own(doing(), &e.to_string()))
    };
    STARTED.get_or_init(start).clone()
}

fn run_events() {
    loop {
        if virt::event::event_run_default_impl().is_err() {
            // Without a pause a broken poll would spin; the calls that wait for it time out and report.
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Keeps libvirt's own log off stderr: an embedded driver warns there of things we chose, and repeats
/// errors that are returned anyway. A log destination the user chose is respected.
///
/// libvirt can only be told by its environment. Call this first in `main`: with a second thread running
/// nothing is changed, and false is returned.
pub fn silence_log() -> bool {
    const OUTPUTS: &str = "LIBVIRT_LOG_OUTPUTS";
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads != 1 {
        return false;
    }
    if std::env::var_os(OUTPUTS).is_none() {
        // SAFETY: no other thread exists that could read the environment meanwhile.
        #[expect(
            clippy::disallowed_methods,
            reason = "sound here, and libvirt reads nothing else"
        )]
        unsafe {
            std::env::set_var(OUTPUTS, "4:file:/dev/null");
        }
    }
    true
}

/// Turns a C status into a result; must be called right after the call, in the same thread.
fn check(status: i32, doing: impl FnOnce() -> String) -> Result<i32, LibvirtError> {
    if status < 0 {
        return Err(LibvirtError::from_virt(
            doing(),
            &virt::error::Error::last_error(),
        ));
    }
    Ok(status)
}
