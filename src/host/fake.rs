//! A host without a machine: values in a map, kept in a file like a kernel keeps them when a process is killed.
//!
//! Clamps, drifts and failures are asked for by tests; jobs are closures. Does not know what a treatment is.

mod boots;
mod state;

pub use state::{FakeBoot, FakeNeighbour, FakeState};

use super::{Host, HostError, Job, JobOutput, Power, Scope};
use crate::facts::Facts;
use crate::tunable::{Address, Format};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

const UUID: &str = "00000000-0000-0000-0000-000000000001";

/// A failure of chosen calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The first call that fails, from 1.
    pub call: u64,
    /// True when every later call fails too.
    pub lasting: bool,
    /// True when the call does its work and fails nevertheless.
    pub done: bool,
    /// True when the guest hangs from then on.
    pub hangs_guest: bool,
}

type Jobs = Box<dyn FnMut(&Job, &FakeState) -> Result<JobOutput, HostError> + Send>;

/// A simulated host with one guest.
pub struct FakeHost {
    state: FakeState,
    file: Option<PathBuf>,
    facts: Facts,
    offered: BTreeMap<String, Vec<String>>,
    clamps: BTreeMap<String, String>,
    drifts: Vec<(Address, String)>,
    actors: Vec<String>,
    twins: Vec<(Address, Address)>,
    mortal: Option<String>,
    fault: Option<Fault>,
    calls: Vec<String>,
    observer: Option<Box<dyn FnMut(u64) + Send>>,
    jobs: Jobs,
}

impl FakeHost {
    /// A host with these values and a guest that is on; guest and domain values are also those of a fresh start.
    pub fn new<'v>(values: impl IntoIterator<Item = (Address, &'v str)>) -> Self {
        let mut state = FakeState {
            host: BTreeMap::new(),
            pending: BTreeMap::new(),
            defaults: BTreeMap::new(),
            running: BTreeMap::new(),
            on: false,
            hung: false,
            instance: 0,
            boot: None,
            neighbours: BTreeMap::new(),
        };
        for (address, value) in values {
            let place = match &address {
                a if a.is_of_host() => &mut state.host,
                Address::DomainXml(_) => &mut state.pending,
                Address::Neighbour(of) => state.defaults_of(&of.neighbour),
                _ => &mut state.defaults,
            };
            place.insert(address.to_string(), value.to_string());
        }
        state.power(Power::On);
        Self::with_state(state)
    }

    /// A host in this state.
    pub fn with_state(state: FakeState) -> Self {
        Self {
            state,
            file: None,
            facts: Facts::default(),
            offered: BTreeMap::new(),
            clamps: BTreeMap::new(),
            drifts: Vec::new(),
            actors: Vec::new(),
            twins: Vec::new(),
            mortal: None,
            fault: None,
            calls: Vec::new(),
            observer: None,
            jobs: Box::new(|_, _| Ok(JobOutput::default())),
        }
    }

    /// The host whose state was kept in `file`.
    pub fn load(file: &Path) -> io::Result<Self> {
        let state = serde_json::from_slice(&std::fs::read(file)?)?;
        let mut host = Self::with_state(state);
        host.file = Some(file.into());
        Ok(host)
    }

    /// Keeps the state in `file` from now on, also when this process is killed.
    pub fn keep_in(&mut self, file: &Path) -> io::Result<()> {
        self.file = Some(file.into());
        self.keep()
    }

    /// Makes it a host that runs with this command line and can be booted.
    pub fn set_command_line(&mut self, line: &str) {
        self.state.boot = Some(FakeBoot {
            line: line.into(),
            usual: line.into(),
            next: None,
            defaults: self.state.host.clone(),
            boots: 0,
        });
    }

    /// Boots it: the guest is off, its own values are those of a boot, and its command line is the one arranged for.
    pub fn reboot(&mut self) {
        self.state.power(Power::Off);
        if let Some(boot) = &mut self.state.boot {
            let line = boot.next.as_ref().map_or(boot.usual.as_str(), |next| next.trim());
            boot.line = line.to_string();
            boot.boots += 1;
            self.state.host = boot.defaults.clone();
        }
        self.keep().expect("a test's own folder can be written");
    }

    fn keep(&self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let next = file.with_extension("next");
        std::fs::write(&next, serde_json::to_vec(&self.state)?)?;
        std::fs::rename(next, file)
    }

    /// What the machine holds.
    pub fn state(&self) -> &FakeState {
        &self.state
    }

    /// What the host knows of itself, without readings.
    pub fn set_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// Writes of other words fail, and a bracketed file reads as the kernel's: `none [bfq]`.
    pub fn offer(&mut self, address: &Address, words: &[&str]) {
        let words = words.iter().map(ToString::to_string).collect();
        self.offered.insert(address.to_string(), words);
    }

    /// Of the two the one that was not written last is zero, and zero itself cannot be written.
    pub fn twin(&mut self, one: &Address, other: &Address) {
        self.twins.push((one.clone(), other.clone()));
    }

    /// Writes succeed, but this is held instead: a silent clamp.
    pub fn clamp(&mut self, address: &Address, held: &str) {
        self.clamps.insert(address.to_string(), held.into());
    }

    /// No more clamps.
    pub fn release(&mut self) {
        self.clamps.clear();
    }

    /// Each job changes this value while it runs, as somebody else's daemon might.
    pub fn drift(&mut self, address: &Address, to: &str) {
        self.drifts.push((address.clone(), to.into()));
    }

    /// This neighbour ends while the next job runs, which fails.
    pub fn lose_neighbour(&mut self, name: &str) {
        self.mortal = Some(name.into());
    }

    /// Programs that run and are said to set every place.
    pub fn set_actors(&mut self, actors: Vec<String>) {
        self.actors = actors;
    }

    /// Makes calls fail.
    pub fn fail(&mut self, fault: Option<Fault>) {
        self.fault = fault;
    }

    /// The calls so far, in words.
    pub fn calls(&self) -> &[String] {
        &self.calls
    }

    /// Forgets the calls so far, where nobody asks for them.
    pub(super) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    /// Calls `observer` before each call with its number, from 1.
    pub fn observe(&mut self, observer: Box<dyn FnMut(u64) + Send>) {
        self.observer = Some(observer);
    }

    /// What jobs do.
    pub fn set_jobs(
        &mut self,
        jobs: impl FnMut(&Job, &FakeState) -> Result<JobOutput, HostError> + Send + 'static,
    ) {
        self.jobs = Box::new(jobs);
    }

    /// Counts a call, does its work unless it is to fail before, and keeps the state.
    fn call<T>(
        &mut self,
        doing: &str,
        work: impl FnOnce(&mut Self) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        self.calls.push(doing.to_string());
        let calls = self.calls.len() as u64;
        if let Some(observer) = &mut self.observer {
            observer(calls);
        }
        let fault = self
            .fault
            .filter(|f| calls == f.call || (f.lasting && calls > f.call));
        let worked = match fault {
            Some(Fault { done: false, .. }) => None,
            _ => Some(work(self)),
        };
        if let Some(fault) = fault {
            self.state.hung |= fault.hangs_guest && self.state.on;
        }
        self.keep()
            .map_err(|e| HostError::new("keep the simulated host", e))?;
        match (fault, worked) {
            (None, Some(result)) => result,
            _ => Err(self.error(doing, "the fault that was asked for")),
        }
    }

    fn error(&self, doing: &str, cause: &str) -> HostError {
        let error = HostError::new(doing, cause);
        if self.state.hung {
            error.losing_guest()
        } else {
            error
        }
    }

    /// Fails when the guest must answer and does not.
    fn reach(&self, address: &Address, doing: &str) -> Result<(), HostError> {
        let in_guest = address.in_guest();
        let in_run = in_guest || matches!(address, Address::Domain(_) | Address::HostLink(_));
        if in_run && !self.state.on {
            return Err(HostError::new(doing, "the guest is off"));
        }
        if let Address::Neighbour(of) = address
            && !self.state.has_neighbour(&of.neighbour)
        {
            return Err(HostError::new(doing, "it does not run").losing_guest());
        }
        if in_guest && self.state.hung {
            return Err(HostError::new(doing, "the guest does not answer").losing_guest());
        }
        Ok(())
    }

    fn raw(&self, address: &Address, doing: &str) -> Result<String, HostError> {
        self.reach(address, doing)?;
        if let (Address::HostBoot(parameter), Some(boot)) = (address, &self.state.boot) {
            return Ok(parameter.value_in(&boot.line));
        }
        let missing = || HostError::new(doing, "No such file or directory");
        let value = self.state.get(address).ok_or_else(missing)?;
        let (Address::HostFile { format, .. } | Address::GuestFile { format, .. }) = address else {
            return Ok(value.to_string());
        };
        Ok(match (format, self.offered.get(&address.to_string())) {
            (Format::Bracketed, Some(words)) => {
                let shown = words
                    .iter()
                    .map(|w| if w == value { format!("[{w}]") } else { w.clone() });
                shown.collect::<Vec<_>>().join(" ") + "\n"
            }
            _ => format!("{value}\n"),
        })
    }

    fn set(&mut self, address: &Address, value: &str, doing: &str) -> Result<(), HostError> {
        self.reach(address, doing)?;
        let key = address.to_string();
        if self.state.get(address).is_none() {
            return Err(HostError::new(doing, "No such file or directory"));
        }
        if self
            .offered
            .get(&key)
            .is_some_and(|words| !words.iter().any(|w| w == value))
        {
            return Err(HostError::new(doing, "Invalid argument"));
        }
        if let (Address::GuestModule(module), "absent") = (address, value)
            && self.state.running.values().any(|used| used == module)
        {
            return Err(HostError::new(doing, "the module is in use"));
        }
        let is_in = |pair: &&(Address, Address)| pair.0 == *address || pair.1 == *address;
        if let Some((one, other)) = self.twins.iter().find(is_in).cloned() {
            if value == "0" {
                return Err(HostError::new(doing, "Invalid argument"));
            }
            let twin = if one == *address { other } else { one };
            self.state.place(&twin).insert(twin.to_string(), "0".into());
        }
        let held = self.clamps.get(&key).map_or(value, String::as_str).to_string();
        self.state.place(address).insert(key, held);
        Ok(())
    }
}

impl Host for FakeHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        self.call("read the facts", |host| Ok(host.facts.clone()))
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        let doing = format!("read {address}");
        self.call(&doing, |host| host.raw(address, &doing))
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        let doing = format!("write {address} = {value}");
        self.call(&doing, |host| host.set(address, value, &doing))
    }

    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        self.call(&format!("tell the scope of {address}"), |host| {
            let uuid = UUID.to_string();
            Ok(match address {
                a if a.is_of_host() => Scope::Boot {
                    id: host.state.boot_id(),
                },
                Address::DomainXml(_) => Scope::Definition { uuid },
                Address::Neighbour(of) => host.state.scope_of(&of.neighbour),
                _ if host.state.on => Scope::Domain {
                    uuid,
                    instance: host.state.instance.to_string(),
                },
                _ => Scope::Domain {
                    uuid,
                    instance: Scope::OFF.into(),
                },
            })
        })
    }

    fn power(&mut self, power: Power) -> Result<(), HostError> {
        self.call(&format!("turn the guest {power:?}"), |host| {
            host.state.power(power);
            Ok(())
        })
    }

    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        self.call("run a job", |host| {
            if !host.state.on || host.state.hung {
                return Err(HostError::new("run a job", "the guest does not answer").losing_guest());
            }
            if let Some(name) = host.mortal.take() {
                let doing = format!("reach neighbour {name}");
                host.state.lose_neighbour(&name);
                return Err(HostError::new(doing, "it does not run").losing_guest());
            }
            for (address, value) in &host.drifts {
                let place = match address {
                    a if a.is_of_host() => &mut host.state.host,
                    _ => &mut host.state.running,
                };
                place.insert(address.to_string(), value.clone());
            }
            (host.jobs)(job, &host.state)
        })
    }

    fn actors(&mut self, _: &Address) -> Vec<String> {
        self.actors.clone()
    }

    fn pause(&mut self, _: Duration) {}
}
