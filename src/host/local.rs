//! This machine: its kernel, one libvirt domain on it, and the guest inside.
//!
//! Knows where settings live; does not know why they are changed or what is measured.

mod company;
mod lasting;
mod levels;
mod patience;
mod places;
mod reach;
mod together;
mod watch;

use super::libvirt::{Connection, Domain, LibvirtError, LibvirtErrorKind, ShutdownBy};
use super::{
    BesideJob, Exchanged, Host, HostError, Job, JobOutput, MAX_SETTING, Power, Scope, Together, build,
    guest_job, guest_module, kernel, readback, survey, xml,
};
use crate::experiment::{Company, LongPath, SshTarget};
use crate::facts::{Facts, Meaning};
use crate::lab::{Lab, LabPlace, LabSize};
use crate::telemetry::Series;
use crate::tunable::{Address, KernelFile, XmlSetting};
use reach::Guest;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::{Duration, Instant};
use watch::Watch;

/// Set when the user asks to stop; only a running workload looks at it.
pub type Cancel = Arc<AtomicBool>;

/// Whose guest it is.
#[derive(Debug)]
enum Owner {
    /// kvmtune's own: transient, ended by destroying it.
    Lab(Box<Lab>),
    /// The user's: its definition is changed by a commit alone, it is shut down rather than destroyed.
    User(Domain),
}

/// This machine with one guest.
#[derive(Debug)]
pub struct LocalHost {
    connection: Connection,
    owner: Owner,
    /// The XML without any change.
    definition: String,
    /// Changes that the next start takes up.
    pending: BTreeMap<XmlSetting, String>,
    guest: Option<Guest>,
    /// The guest's ssh server, when that is the way into it.
    ssh: Option<SshTarget>,
    /// Target name of the data disk.
    disk: String,
    /// Emulators the experiment names.
    emulators: Vec<String>,
    cancel: Cancel,
    /// What the first boot took.
    first_boot: Option<Duration>,
    /// What watches this machine beside a job.
    watch: Option<Watch>,
    /// The guests beside it that run, by name.
    company: BTreeMap<String, Guest>,
    /// The long path to the guest, as it is set.
    path: Option<LongPath>,
}

impl LocalHost {
    /// Sets up the lab at `place`; its guest is off. The calling thread is in the lab's network from here on.
    pub fn lab(
        place: &LabPlace,
        size: LabSize,
        company: &Company,
        cache: &Path,
        cancel: Cancel,
    ) -> Result<Self, HostError> {
        let lab =
            Lab::set_up(place, size, company, cache).map_err(|e| HostError::new("set up the lab", e))?;
        let uri = lab.uri().map_err(|e| HostError::new("set up the lab", e))?;
        let connection =
            Connection::open(&uri).map_err(|e| HostError::new("open the embedded libvirt", e))?;
        let definition = lab.definition().to_string();
        let disk = crate::lab::DATA_TARGET.to_string();
        Ok(Self {
            connection,
            owner: Owner::Lab(Box::new(lab)),
            definition,
            pending: BTreeMap::new(),
            guest: None,
            ssh: None,
            disk,
            emulators: Vec::new(),
            cancel,
            first_boot: None,
            watch: None,
            company: BTreeMap::new(),
            path: company.path,
        })
    }

    /// An existing domain, as it is: running or not.
    pub fn domain(connect: &str, name: &str, disk: Option<&str>, cancel: Cancel) -> Result<Self, HostError> {
        let fail = |e: LibvirtError| HostError::new(format!("use domain {name} of {connect}"), e);
        let connection = Connection::open(connect).map_err(fail)?;
        let domain = connection.lookup(name).map_err(fail)?;
        let definition = domain.xml_inactive().map_err(fail)?;
        let disk = xml::disk(&definition, disk)
            .map_err(|e| HostError::new(format!("use domain {name}"), e))?
            .target;
        let mut host = Self {
            connection,
            owner: Owner::User(domain.clone()),
            definition,
            pending: BTreeMap::new(),
            guest: None,
            ssh: None,
            disk,
            emulators: Vec::new(),
            cancel,
            first_boot: None,
            watch: None,
            company: BTreeMap::new(),
            path: None,
        };
        if domain.is_active().map_err(fail)? {
            host.guest = Some(host.guest_of(domain, false)?);
        }
        Ok(host)
    }

    /// Whether the domain that had this UUID is still defined or running under its name.
    pub fn has_domain(connect: &str, name: &str, uuid: &str) -> Result<bool, HostError> {
        let fail = |e: LibvirtError| HostError::new(format!("look for domain {name} of {connect}"), e);
        match Connection::open(connect).map_err(fail)?.lookup(name) {
            Ok(domain) => Ok(domain.uuid().to_string() == uuid),
            Err(e) if e.kind() == LibvirtErrorKind::NoDomain => Ok(false),
            Err(e) => Err(fail(e)),
        }
    }

    /// Whether the definition has a channel for the guest agent.
    pub fn has_agent_channel(&self) -> bool {
        xml::has_agent_channel(&self.definition)
    }

    /// Whether the guest runs now.
    pub fn is_on(&self) -> bool {
        self.guest.is_some()
    }

    /// The lab, when the guest is kvmtune's own.
    pub fn lab_of(&self) -> Option<&Lab> {
        match &self.owner {
            Owner::Lab(lab) => Some(lab),
            Owner::User(_) => None,
        }
    }

    /// The UUID of the guest, from its definition.
    pub fn uuid(&self) -> String {
        xml::uuid(&self.definition).unwrap_or_default()
    }

    /// A user's domain runs again, or not, as it was `found`: from its own definition, in whatever state it is.
    pub fn give_back(&mut self, found: Option<&str>) -> Result<(), HostError> {
        self.pending.clear();
        self.take_program_away();
        match (found, self.instance()) {
            (None, _) => self.power(Power::Off),
            (Some(found), Some(now)) if found == now => Ok(()),
            (Some(_), Some(_)) if self.guest.as_ref().is_some_and(|g| !g.changed) => Ok(()),
            (Some(_), _) => {
                self.power(Power::Off)?;
                // However long its own boot takes: it is not waited for, and never switched off.
                self.guest = Some(self.launch()?);
                Ok(())
            }
        }
    }

    /// Takes a running guest for one that was started with a changed XML: after a crash nobody remembers.
    pub fn assume_changed(&mut self) {
        if let Some(guest) = &mut self.guest {
            guest.changed = true;
        }
    }

    /// The connection it uses.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The guest's definition with its secrets: never stored or shown as it is.
    pub(super) fn definition(&self) -> &str {
        &self.definition
    }

    /// The domain, while it runs.
    pub(super) fn running_domain(&self) -> Option<&Domain> {
        self.guest.as_ref().map(|guest| &guest.domain)
    }

    /// Target name of the data disk.
    pub fn disk(&self) -> &str {
        &self.disk
    }

    /// Tells this run of the guest from any other: settings of a run are gone with it.
    pub fn instance(&self) -> Option<String> {
        self.guest.as_ref()?.instance()
    }

    fn start(&mut self) -> Result<(), HostError> {
        self.gather_company()?;
        let guest = self.launch()?;
        let clock = Instant::now();
        let ready = self.wait_until_ready(&guest);
        let ready = ready.and_then(|()| self.lay_path(&guest));
        if ready.is_ok() {
            self.first_boot.get_or_insert(clock.elapsed());
        }
        self.guest = Some(guest);
        if ready.is_err() {
            // What does not stop is stopped with the session.
            let _ = self.stop();
        }
        ready
    }

    fn launch(&self) -> Result<Guest, HostError> {
        let doing = "start the guest";
        let changes = self.changes().map_err(|e| HostError::new(doing, e))?;
        let xml = xml::with_settings(&self.definition, &changes, Some(&self.disk));
        let xml = xml.map_err(|e| HostError::new(doing, e))?;
        if !self.pending.is_empty() {
            build::require_format(&xml, &self.disk)?;
        }
        let fail = |e: LibvirtError| HostError::new(doing, e).losing_guest();
        let domain = match &self.owner {
            Owner::Lab(_) => self.connection.create_xml(&xml).map_err(fail)?,
            Owner::User(domain) if self.pending.is_empty() => {
                domain.create().map_err(fail)?;
                domain.clone()
            }
            Owner::User(domain) => {
                domain.create_modified(&self.connection, &xml).map_err(fail)?;
                domain.clone()
            }
        };
        let guest = self.guest_of(domain.clone(), !self.pending.is_empty());
        if guest.is_err() {
            // A guest that nobody holds would run on, and with another XML than its own.
            let _ = domain.destroy();
        }
        guest
    }

    fn stop(&mut self) -> Result<(), HostError> {
        let Some(guest) = &self.guest else { return Ok(()) };
        let fail = |e: LibvirtError| HostError::new("stop the guest", e).losing_guest();
        if matches!(self.owner, Owner::User(_)) && guest.domain.is_active().map_err(fail)? {
            ask_to_end(&guest.domain).map_err(fail)?;
        }
        if guest.domain.is_active().unwrap_or(false) {
            guest.domain.destroy().map_err(fail)?;
        }
        // Memory such as huge pages is free only when the process is gone.
        let deadline = Instant::now() + Duration::from_secs(10);
        while guest.pid.is_some_and(readback::process_lives) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        self.guest = None;
        Ok(())
    }

    fn running(&self, doing: &str) -> Result<&Guest, HostError> {
        self.guest
            .as_ref()
            .ok_or_else(|| HostError::new(doing, "the guest is not running"))
    }
}

impl Host for LocalHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        survey::facts(self)
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        let doing = format!("read {address}");
        match address {
            Address::HostFile { path, .. } => kernel::read(path),
            Address::GuestFile { path, .. } => {
                let guest = self.running(&doing)?;
                if !KernelFile::is_one(path) {
                    return Err(HostError::new(doing, "not below /proc/sys or /sys"));
                }
                let bytes = guest
                    .transport
                    .read_file(path, MAX_SETTING)
                    .map_err(|e| guest_job::failed(doing.clone(), &e))?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
            Address::GuestModule(module) => {
                let loaded = guest_module::is_loaded(&self.running(&doing)?.transport, module)?;
                Ok(if loaded { "loaded" } else { "absent" }.into())
            }
            Address::HostLink(_) | Address::HostBoot(_) | Address::GuestCommand(_) => {
                self.read_elsewhere(address)
            }
            Address::Domain(setting) => readback::live(&self.running(&doing)?.domain, setting, &self.disk),
            Address::Neighbour(of) => {
                let guest = self.companion(&of.neighbour)?;
                readback::live(&guest.domain, &of.setting, &self.disk)
            }
            Address::DomainXml(setting) => match (&self.guest, self.pending.get(setting)) {
                (Some(guest), _) => self.runs(guest, setting),
                (None, Some(value)) => Ok(value.clone()),
                (None, None) => self.defined(setting).map_err(|e| HostError::new(doing, e)),
            },
        }
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        let doing = format!("write `{value}` to {address}");
        match address {
            Address::HostFile { path, .. } => kernel::write(path, value),
            Address::GuestFile { path, .. } => {
                let guest = self.running(&doing)?;
                if !KernelFile::is_one(path) {
                    return Err(HostError::new(doing, "not below /proc/sys or /sys"));
                }
                guest
                    .transport
                    .write_file(path, if value.is_empty() { b"\n" } else { value.as_bytes() })
                    .map_err(|e| guest_job::failed(doing.clone(), &e))
            }
            Address::GuestModule(module) => {
                guest_module::set(&self.running(&doing)?.transport, module, value)
            }
            Address::HostLink(_) | Address::HostBoot(_) | Address::GuestCommand(_) => {
                self.write_elsewhere(address, value)
            }
            Address::Domain(setting) => {
                readback::set_live(&self.running(&doing)?.domain, setting, value, &self.disk)
            }
            Address::Neighbour(of) => {
                let guest = self.companion(&of.neighbour)?;
                readback::set_live(&guest.domain, &of.setting, value, &self.disk)
            }
            Address::DomainXml(setting) => {
                let defined = self.defined(setting);
                if defined.map_err(|e| HostError::new(doing.clone(), e))? == value {
                    self.pending.remove(setting);
                    return Ok(());
                }
                // Files may be gone since the plan was made. Of a machine type an emulator that is written later may
                // decide; libvirt refuses to start what that one lacks.
                if *setting != XmlSetting::Machine
                    && let Some(Meaning::Unusable(why)) = self.judge(setting, value)
                {
                    return Err(HostError::new(doing, why));
                }
                self.pending.insert(setting.clone(), value.to_string());
                Ok(())
            }
        }
    }

    fn read_all(&mut self, addresses: &[Address]) -> Vec<Result<String, HostError>> {
        self.read_many(addresses)
    }

    fn write_all(&mut self, writes: &[(Address, String)]) -> Vec<Result<(), HostError>> {
        self.write_many(writes)
    }

    fn is_read_only(&mut self, address: &Address) -> bool {
        kernel::is_read_only(address)
    }

    fn exchange(&mut self, writes: &[(Address, String)]) -> Vec<Exchanged> {
        let addresses: Vec<_> = writes.iter().map(|(address, _)| address.clone()).collect();
        let done = self.exchange_many(writes, &addresses);
        done.written.into_iter().zip(done.read).collect()
    }

    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        let uuid = self.uuid();
        Ok(match address {
            Address::HostFile { path, .. }
                if self.lab_of().is_some() && path.starts_with("/proc/sys/net/") =>
            {
                Scope::Network {
                    inode: kernel::network_inode()?,
                }
            }
            // What the next boot is to have outlives this one; who writes it keeps its own undo.
            Address::HostFile { .. } | Address::HostBoot(_) => Scope::Boot {
                id: kernel::boot_id()?,
            },
            Address::DomainXml(_) => Scope::Definition { uuid },
            Address::Neighbour(of) => self.scope_of(&of.neighbour),
            Address::GuestFile { .. }
            | Address::GuestModule(_)
            | Address::GuestCommand(_)
            | Address::HostLink(_)
            | Address::Domain(_) => Scope::Domain {
                uuid,
                instance: self.instance().unwrap_or_else(|| Scope::OFF.into()),
            },
        })
    }

    fn power(&mut self, power: Power) -> Result<(), HostError> {
        match (power, &self.guest) {
            (Power::On, None) => self.start(),
            (Power::Off, Some(_)) => self.stop(),
            _ => Ok(()),
        }
    }

    fn actors(&mut self, address: &Address) -> Vec<String> {
        self.likely_actors(address)
    }

    fn watch(&mut self) {
        self.begin_to_watch();
    }

    fn watched(&mut self) -> Option<Series> {
        self.end_watching()
    }

    fn meaning(&mut self, setting: &XmlSetting, value: &str) -> Option<Meaning> {
        self.judge(setting, value)
    }

    fn run_together(&mut self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let ran = self.run_beside(job, beside)?;
        self.tell_ended();
        Ok(ran)
    }

    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        let output = self.run_one(job)?;
        self.tell_ended();
        Ok(output)
    }
}

/// Asks a guest to shut down, again and again because one that still boots does not listen, until it is off or its
/// time is up.
fn ask_to_end(domain: &Domain) -> Result<(), LibvirtError> {
    let started = Instant::now();
    while started.elapsed() < patience::WITH_USER {
        let by_agent = domain.shutdown(ShutdownBy::Agent);
        let asked = by_agent.or_else(|_| domain.shutdown(ShutdownBy::Acpi));
        let again = Instant::now() + Duration::from_secs(5);
        while domain.is_active()? && Instant::now() < again {
            thread::sleep(Duration::from_millis(50));
        }
        if !domain.is_active()? || asked.is_err() {
            break;
        }
    }
    Ok(())
}

/// An error with its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
