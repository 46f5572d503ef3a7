//! The host of a session: this machine with a guest or without, or one that is only described.
//!
//! Hands every call on; knows nothing of what is called.

use super::{
    BareHost, BesideJob, Exchanged, Host, HostError, Job, JobOutput, LocalHost, Power, Scope, SimulatedHost,
    Together,
};
use crate::facts::{Facts, Meaning};
use crate::telemetry::Series;
use crate::tunable::{Address, XmlSetting};
use jiff::Timestamp;
use std::time::Duration;

/// One of the three.
pub enum AnyHost {
    /// A guest on this machine.
    Local(Box<LocalHost>),
    /// This machine without a guest.
    Bare(BareHost),
    /// A model.
    Simulated(Box<SimulatedHost>),
}

impl AnyHost {
    /// This machine with its guest, where there is one.
    pub fn local(&self) -> Option<&LocalHost> {
        match self {
            Self::Local(host) => Some(host),
            Self::Bare(_) | Self::Simulated(_) => None,
        }
    }

    fn inner(&mut self) -> &mut dyn Host {
        match self {
            Self::Local(host) => host.as_mut(),
            Self::Bare(host) => host,
            Self::Simulated(host) => host.as_mut(),
        }
    }
}

impl Host for AnyHost {
    fn facts(&mut self) -> Result<Facts, HostError> {
        self.inner().facts()
    }

    fn read(&mut self, address: &Address) -> Result<String, HostError> {
        self.inner().read(address)
    }

    fn write(&mut self, address: &Address, value: &str) -> Result<(), HostError> {
        self.inner().write(address, value)
    }

    fn read_all(&mut self, addresses: &[Address]) -> Vec<Result<String, HostError>> {
        self.inner().read_all(addresses)
    }

    fn write_all(&mut self, writes: &[(Address, String)]) -> Vec<Result<(), HostError>> {
        self.inner().write_all(writes)
    }

    fn is_read_only(&mut self, address: &Address) -> bool {
        self.inner().is_read_only(address)
    }

    fn exchange(&mut self, writes: &[(Address, String)]) -> Vec<Exchanged> {
        self.inner().exchange(writes)
    }

    fn scope(&mut self, address: &Address) -> Result<Scope, HostError> {
        self.inner().scope(address)
    }

    fn power(&mut self, power: Power) -> Result<(), HostError> {
        self.inner().power(power)
    }

    fn run(&mut self, job: &Job) -> Result<JobOutput, HostError> {
        self.inner().run(job)
    }

    fn run_together(&mut self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        self.inner().run_together(job, beside)
    }

    fn watch(&mut self) {
        self.inner().watch();
    }

    fn watched(&mut self) -> Option<Series> {
        self.inner().watched()
    }

    fn meaning(&mut self, setting: &XmlSetting, value: &str) -> Option<Meaning> {
        self.inner().meaning(setting, value)
    }

    fn actors(&mut self, address: &Address) -> Vec<String> {
        self.inner().actors(address)
    }

    fn pause(&mut self, time: Duration) {
        self.inner().pause(time);
    }

    fn now(&mut self) -> Timestamp {
        self.inner().now()
    }

    fn clock(&mut self) -> Duration {
        self.inner().clock()
    }
}
