//! What a simulated host holds.
//!
//! Does not know how it is asked.

use crate::host::{Power, Scope};
use crate::tunable::Address;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the machine holds, by addresses as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeState {
    /// Values of the host's kernel.
    pub host: BTreeMap<String, String>,
    /// Stored domain XML.
    pub pending: BTreeMap<String, String>,
    /// What a start of the guest sets its own values to.
    pub defaults: BTreeMap<String, String>,
    /// Values of the running guest, with its domain XML; empty while it is off.
    pub running: BTreeMap<String, String>,
    /// True while the guest runs.
    pub on: bool,
    /// True when the running guest does not answer.
    pub hung: bool,
    /// Counts the starts of the guest.
    pub instance: u64,
    /// What booting does; nothing, on a host whose command line does not matter.
    #[serde(default)]
    pub boot: Option<FakeBoot>,
    /// The neighbours, by name: they run on while the guest is off.
    #[serde(default)]
    pub neighbours: BTreeMap<String, FakeNeighbour>,
}

/// A guest beside the one that is measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FakeNeighbour {
    /// What a start sets its values to.
    pub defaults: BTreeMap<String, String>,
    /// Its values; empty while it does not run.
    pub running: BTreeMap<String, String>,
    /// True while it runs; it is started with the guest when it does not.
    pub on: bool,
    /// Counts its starts.
    pub instance: u64,
}

/// The command line of a host that can be booted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FakeBoot {
    /// What it runs with.
    pub line: String,
    /// What it is booted with when nothing is arranged for.
    pub usual: String,
    /// What is arranged for the next boot, until it is taken away: a whole line.
    pub next: Option<String>,
    /// What a boot sets its own values to.
    pub defaults: BTreeMap<String, String>,
    /// Counts the boots.
    pub boots: u64,
}

impl FakeState {
    /// The value at an address: from the running guest where it runs, else from what is pending.
    pub fn get(&self, address: &Address) -> Option<&str> {
        let key = address.to_string();
        let place = match address {
            a if a.is_of_host() => &self.host,
            Address::DomainXml(_) if !self.on => &self.pending,
            Address::Neighbour(of) => &self.neighbours.get(&of.neighbour)?.running,
            _ => &self.running,
        };
        place.get(&key).map(String::as_str)
    }

    pub(super) fn boot_id(&self) -> String {
        let boots = self.boot.as_ref().map_or(0, |boot| boot.boots);
        format!("simulated {boots}")
    }

    pub(super) fn place(&mut self, address: &Address) -> &mut BTreeMap<String, String> {
        match address {
            a if a.is_of_host() => &mut self.host,
            Address::DomainXml(_) => &mut self.pending,
            Address::Neighbour(of) => &mut self.neighbours.entry(of.neighbour.clone()).or_default().running,
            _ => &mut self.running,
        }
    }

    pub(super) fn defaults_of(&mut self, neighbour: &str) -> &mut BTreeMap<String, String> {
        &mut self.neighbours.entry(neighbour.into()).or_default().defaults
    }

    pub(super) fn has_neighbour(&self, name: &str) -> bool {
        self.neighbours.get(name).is_some_and(|n| n.on)
    }

    pub(super) fn lose_neighbour(&mut self, name: &str) {
        if let Some(neighbour) = self.neighbours.get_mut(name) {
            neighbour.running.clear();
            neighbour.on = false;
        }
    }

    pub(super) fn scope_of(&self, neighbour: &str) -> Scope {
        let runs = self.neighbours.get(neighbour).filter(|n| n.on);
        Scope::Domain {
            uuid: runs.map(|_| neighbour.to_string()).unwrap_or_default(),
            instance: runs.map_or_else(|| Scope::OFF.into(), |n| n.instance.to_string()),
        }
    }

    pub(super) fn power(&mut self, power: Power) {
        match power {
            Power::Off => {
                self.running.clear();
                (self.on, self.hung) = (false, false);
            }
            Power::On if self.on => {}
            Power::On => {
                self.running = self.defaults.clone();
                self.running.extend(self.pending.clone());
                (self.on, self.instance) = (true, self.instance + 1);
                for neighbour in self.neighbours.values_mut().filter(|n| !n.on) {
                    neighbour.running = neighbour.defaults.clone();
                    (neighbour.on, neighbour.instance) = (true, neighbour.instance + 1);
                }
            }
        }
    }
}
