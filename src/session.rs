//! A host opened for work: locked, its journal clean, its guest's leftovers noted; and given back afterwards.
//!
//! Joins `host`, `lab` and `change`; does not know plans or workloads.

use crate::across::{self, AcrossError};
use crate::change::{ChangeError, HostLock, Journal, RecoverReport, Restorer, SessionUndo, Undo, recover};
use crate::experiment::Guest;
use crate::host::{
    AnyHost, BareHost, Boots, Cancel, Host, HostError, KernelHost, LocalHost, Power, Scope, SimulatedHost,
    boot_id,
};
use crate::lab::{LabError, LabPlace, LabSize, take_down};
use crate::workload::Places;
use std::path::{Path, PathBuf};

/// Where kvmtune keeps what outlives a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Journal, lock and data disks.
    pub state: PathBuf,
    /// Guest images, by content.
    pub cache: PathBuf,
}

/// Held while a session is open, whatever its folders are.
pub const HOST_LOCK: &str = "/run/kvmtune.lock";

/// Why a host could not be opened or given back.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Journal and restoring.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A run across reboots.
    #[error(transparent)]
    Across(#[from] AcrossError),
}

/// A host with its journal. Must be ended with [`Session::close`]; what is dropped is left to `recover`.
pub struct Session {
    /// The host.
    pub host: AnyHost,
    /// Its undo journal.
    pub journal: Journal,
    hold: Hold,
    scratch: Option<String>,
}

/// What is given back with the session.
enum Hold {
    /// This machine: how the session is ended, and its number in the journal.
    Machine {
        undo: SessionUndo,
        seq: u64,
        _lock: HostLock,
    },
    /// The folder of a journal that nobody else reads.
    Simulation { _folder: PrivateFolder },
    /// This machine without a guest: its settings are in the journal, and there is nothing else to be ended.
    Bare { _lock: HostLock },
}

/// A folder of this process; removed with all that is in it when dropped. What a killed run leaves is a journal of a
/// machine that never was.
struct PrivateFolder(PathBuf);

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Session {
    /// Opens the host of `guest`. The calling thread enters the lab's network namespace, when it is the lab.
    pub fn open(guest: &Guest, dirs: &Dirs, cancel: Cancel) -> Result<Self, SessionError> {
        let mut journal = Journal::open(&dirs.state)?;
        across::settle(&mut KernelHost, &mut journal, &dirs.state)?;
        journal.require_clean()?;
        Self::open_with(journal, guest, dirs, cancel)
    }

    /// Opens it in a boot that a run across reboots made: what is noted of the host's own command line is that run's.
    pub fn open_in_boot(guest: &Guest, dirs: &Dirs, cancel: Cancel) -> Result<Self, SessionError> {
        let mut journal = Journal::open(&dirs.state)?;
        journal.adopt_next_boot();
        journal.require_clean()?;
        Self::open_with(journal, guest, dirs, cancel)
    }

    fn open_with(
        mut journal: Journal,
        guest: &Guest,
        dirs: &Dirs,
        cancel: Cancel,
    ) -> Result<Self, SessionError> {
        // A journal's own lock is one for each state folder; the host's settings are one for all.
        let lock = HostLock::take(Path::new(HOST_LOCK))?;
        let (host, undo, seq, scratch) = match guest {
            Guest::Lab { vcpus, memory, disk } => {
                let size = LabSize {
                    vcpus: *vcpus,
                    memory: *memory,
                    disk: *disk,
                };
                let (host, undo, seq) = open_lab(&mut journal, size, dirs, cancel)?;
                (host, undo, seq, Some("/dev/kvmtune-data".to_string()))
            }
            Guest::Domain {
                name,
                connect,
                disk,
                scratch,
            } => {
                let host = LocalHost::domain(connect, name, disk.as_deref(), cancel)?;
                let undo = SessionUndo::Domain {
                    connection: connect.clone(),
                    name: name.clone(),
                    uuid: host.uuid(),
                    instance: host.instance(),
                };
                let seq = note(&mut journal, &undo)?;
                (host, undo, seq, scratch.clone())
            }
            Guest::Host { scratch } => {
                return Ok(Self {
                    host: AnyHost::Bare(BareHost::new(scratch.as_deref(), cancel)),
                    journal,
                    hold: Hold::Bare { _lock: lock },
                    scratch: scratch.clone(),
                });
            }
        };
        Ok(Self {
            host: AnyHost::Local(Box::new(host)),
            journal,
            hold: Hold::Machine {
                undo,
                seq,
                _lock: lock,
            },
            scratch,
        })
    }

    /// Opens a host that is only described: nothing of this machine is locked, journaled or touched.
    pub fn simulate(host: SimulatedHost) -> Result<Self, SessionError> {
        let folder = std::env::temp_dir().join(format!("kvmtune-simulation-{}", uuid::Uuid::now_v7()));
        let folder = PrivateFolder(folder);
        Ok(Self {
            host: AnyHost::Simulated(Box::new(host)),
            journal: Journal::open(&folder.0)?,
            hold: Hold::Simulation { _folder: folder },
            scratch: None,
        })
    }

    /// Where workloads find their disk and their peers. Empty texts where this guest has none.
    pub fn places(&self) -> Places {
        let lab = self.host.local().is_some_and(|host| host.lab_of().is_some());
        let address = |a: std::net::Ipv4Addr| if lab { a.to_string() } else { String::new() };
        Places {
            scratch: self.scratch.clone().unwrap_or_default(),
            guest_address: address(crate::lab::GUEST_ADDRESS),
            host_address: address(crate::lab::HOST_ADDRESS),
        }
    }

    /// Gives the host back as it was found.
    pub fn close(mut self) -> Result<(), SessionError> {
        // The lock is bound, so that it is held to the end.
        let (Hold::Machine { undo, seq, _lock }, AnyHost::Local(mut host)) = (self.hold, self.host) else {
            return Ok(self.journal.compact()?);
        };
        match &undo {
            SessionUndo::Lab(place) => {
                host.power(Power::Off)?;
                drop(host);
                take_down(place)?;
            }
            SessionUndo::Domain { instance, .. } => host.give_back(instance.as_deref())?,
        }
        self.journal.close(vec![seq])?;
        Ok(self.journal.compact()?)
    }
}

fn open_lab(
    journal: &mut Journal,
    size: LabSize,
    dirs: &Dirs,
    cancel: Cancel,
) -> Result<(LocalHost, SessionUndo, u64), SessionError> {
    let place = LabPlace::new(&dirs.state);
    let undo = SessionUndo::Lab(place.clone());
    let seq = note(journal, &undo)?;
    match LocalHost::lab(&place, size, &dirs.cache, cancel) {
        Ok(host) => Ok((host, undo, seq)),
        Err(error) => {
            take_down(&place)?;
            journal.close(vec![seq])?;
            journal.compact()?;
            Err(error.into())
        }
    }
}

fn note(journal: &mut Journal, undo: &SessionUndo) -> Result<u64, ChangeError> {
    let entries = journal.append(vec![Undo::Session(undo.clone())])?;
    Ok(entries.first().map_or(0, |e| e.seq))
}

/// Undoes what a killed run left on this machine.
pub fn recover_host(dirs: &Dirs) -> Result<RecoverReport, SessionError> {
    let mut journal = Journal::open(&dirs.state)?;
    across::forget(&dirs.state)?;
    recover_journal(&mut journal)
}

/// The same with a journal that is open already.
pub fn recover_journal(journal: &mut Journal) -> Result<RecoverReport, SessionError> {
    let sessions = journal.open_entries().filter_map(|e| match &e.undo {
        Undo::Session(session) => Some(session.clone()),
        Undo::Write(_) | Undo::NextBoot(_) => None,
    });
    let mut restorer = LocalRestorer {
        sessions: sessions.collect(),
        reached: None,
        kernel: KernelHost,
    };
    Ok(recover(journal, &mut restorer)?)
}

struct LocalRestorer {
    sessions: Vec<SessionUndo>,
    reached: Option<Box<dyn Host>>,
    kernel: KernelHost,
}

impl Restorer for LocalRestorer {
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError> {
        self.reached = match scope {
            Scope::Boot { id } if *id == boot_id()? => Some(Box::new(KernelHost)),
            Scope::Domain { uuid, instance } => self.reach_domain(uuid, instance)?,
            // A rebooted kernel starts from its defaults, a private network ends with its lab, and a definition is
            // never changed on disk.
            Scope::Boot { .. } | Scope::Network { .. } | Scope::Definition { .. } => None,
        };
        Ok(match &mut self.reached {
            Some(host) => Some(host.as_mut()),
            None => None,
        })
    }

    fn boots(&mut self) -> Result<&mut dyn Boots, HostError> {
        Ok(&mut self.kernel)
    }

    fn end(&mut self, session: &SessionUndo) -> Result<(), HostError> {
        match session {
            SessionUndo::Lab(place) if !place.is_sane() => Err(HostError::new(
                "take down a lab",
                format!("{} is no place kvmtune makes", place.root.display()),
            )),
            SessionUndo::Lab(place) => take_down(place).map_err(|e| HostError::new("take down the lab", e)),
            SessionUndo::Domain {
                connection,
                name,
                uuid,
                instance,
            } => {
                if !LocalHost::has_domain(connection, name, uuid)? {
                    return Ok(());
                }
                let mut host = LocalHost::domain(connection, name, None, Cancel::default())?;
                host.assume_changed();
                host.give_back(instance.as_deref())
            }
        }
    }
}

impl LocalRestorer {
    fn reach_domain(&self, uuid: &str, instance: &str) -> Result<Option<Box<dyn Host>>, HostError> {
        for session in &self.sessions {
            if let SessionUndo::Domain {
                connection,
                name,
                uuid: known,
                ..
            } = session
                && known == uuid
                && LocalHost::has_domain(connection, name, uuid)?
            {
                let host = LocalHost::domain(connection, name, None, Cancel::default())?;
                return Ok(
                    (host.instance().as_deref() == Some(instance)).then(|| Box::new(host) as Box<dyn Host>)
                );
            }
        }
        // A lab's guest takes its values with it when the lab is taken down.
        Ok(None)
    }
}
