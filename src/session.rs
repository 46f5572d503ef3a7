//! A host opened for work: locked, its journal clean, its guest's leftovers noted; and given back afterwards.
//!
//! Joins `host`, `lab` and `change`; does not know plans or workloads.

mod logbook;
mod vigil;
mod watchman;

pub use crate::change::HOST_LOCK;
pub use logbook::Logbook;
pub use vigil::{Relief, Vigil};
pub use watchman::{VERB, Watch, WatchmanError};

use crate::across::{self, AcrossError};
use crate::change::{
    ChangeError, HostLock, Journal, Keeper, RecoverReport, Restorer, SessionUndo, Undo, recover,
};
use crate::commit;
use crate::experiment::{Company, Guest};
use crate::host::{
    AnyHost, BareHost, Boots, Cancel, Host, HostError, KernelHost, LocalHost, Power, Scope, SimulatedHost,
    boot_id, remove_leftovers,
};
use crate::lab::{LabError, LabPlace, LabSize, take_down};
use crate::workload::Places;
use std::path::{Path, PathBuf};
use watchman::Watchman;

/// Where kvmtune keeps what outlives a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Journal, lock and data disks.
    pub state: PathBuf,
    /// Guest images, by content.
    pub cache: PathBuf,
}

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
    /// Nobody would restore the host after a kill.
    #[error(transparent)]
    Watchman(#[from] WatchmanError),
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
#[allow(clippy::large_enum_variant, reason = "there is one")]
enum Hold {
    /// This machine: how the session is ended, and its number in the journal.
    Machine {
        undo: Box<SessionUndo>,
        seq: u64,
        watchman: Option<Watchman>,
        _lock: HostLock,
    },
    /// The folder of a journal that nobody else reads.
    Simulation { _folder: PrivateFolder },
    /// This machine without a guest: its settings are in the journal, and there is nothing else to be ended.
    Bare {
        watchman: Option<Watchman>,
        _lock: HostLock,
    },
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
    pub fn open(guest: &Guest, dirs: &Dirs, watch: Watch, cancel: Cancel) -> Result<Self, SessionError> {
        let mut journal = Journal::open(&dirs.state)?;
        across::settle(&mut KernelHost, &mut journal, &dirs.state)?;
        journal.require_clean()?;
        Self::open_with(journal, guest, dirs, watch, cancel)
    }

    /// Opens it in a boot that a run across reboots made: what is noted of the host's own command line is that run's.
    pub fn open_in_boot(
        guest: &Guest,
        dirs: &Dirs,
        watch: Watch,
        cancel: Cancel,
    ) -> Result<Self, SessionError> {
        let mut journal = Journal::open(&dirs.state)?;
        journal.adopt_next_boot();
        journal.require_clean()?;
        Self::open_with(journal, guest, dirs, watch, cancel)
    }

    fn open_with(
        mut journal: Journal,
        guest: &Guest,
        dirs: &Dirs,
        watch: Watch,
        cancel: Cancel,
    ) -> Result<Self, SessionError> {
        // A journal's own lock is one for each state folder; the host's settings are one for all.
        let lock = HostLock::take(Path::new(HOST_LOCK), Keeper::Verb)?;
        if commit::is_half_made(&dirs.state) {
            return Err(ChangeError::HalfCommitted.into());
        }
        // Before the first change, and before the lab's network is entered, which must end with the lab.
        let watchman = Watchman::start(watch, &dirs.state)?;
        if let Guest::Host { scratch } = guest {
            return Ok(Self {
                host: AnyHost::Bare(BareHost::new(scratch.as_deref(), cancel)),
                journal,
                hold: Hold::Bare {
                    watchman,
                    _lock: lock,
                },
                scratch: scratch.clone(),
            });
        }
        let opened = match open_guest(&mut journal, guest, dirs, cancel) {
            Ok(opened) => opened,
            Err(error) => {
                dismiss(watchman, &journal);
                return Err(error);
            }
        };
        Ok(Self {
            host: AnyHost::Local(Box::new(opened.host)),
            journal,
            hold: Hold::Machine {
                undo: Box::new(opened.undo),
                seq: opened.seq,
                watchman,
                _lock: lock,
            },
            scratch: opened.scratch,
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
            neighbours: self
                .host
                .local()
                .map_or_else(Vec::new, LocalHost::neighbour_addresses),
        }
    }

    /// Gives the host back as it was found.
    pub fn close(self) -> Result<(), SessionError> {
        let mut journal = self.journal;
        // The lock is bound, so that it is held to the end.
        if let Hold::Bare { watchman, _lock } = self.hold {
            let compacted = journal.compact();
            dismiss(watchman, &journal);
            return Ok(compacted?);
        }
        let (
            Hold::Machine {
                undo,
                seq,
                watchman,
                _lock,
            },
            AnyHost::Local(host),
        ) = (self.hold, self.host)
        else {
            return Ok(());
        };
        let given = give_back(*host, &undo).and_then(|()| {
            journal.close(vec![seq])?;
            Ok(journal.compact()?)
        });
        dismiss(watchman, &journal);
        given
    }

    /// The last resort when a setting does not come back, or the journal cannot be written: stops the guest, then does
    /// what `recover` does.
    pub fn rescue(mut self) -> Result<RecoverReport, SessionError> {
        // Whether or not it stops, recovery looks for itself.
        let _ = self.host.power(Power::Off);
        if let AnyHost::Local(host) = &mut self.host {
            // A driver that sees them end later would write into a folder that is gone.
            host.dismiss_company();
        }
        drop(self.host);
        let report = recover_journal(&mut self.journal, false);
        if let Hold::Machine { watchman, .. } | Hold::Bare { watchman, .. } = self.hold {
            dismiss(watchman, &self.journal);
        }
        report
    }
}

fn dismiss(watchman: Option<Watchman>, journal: &Journal) {
    if let Some(watchman) = watchman {
        watchman.dismiss(journal);
    }
}

fn give_back(mut host: LocalHost, undo: &SessionUndo) -> Result<(), SessionError> {
    match undo {
        SessionUndo::Lab(place) => {
            host.power(Power::Off)?;
            host.dismiss_company();
            drop(host);
            Ok(take_down(place)?)
        }
        SessionUndo::Domain { instance, .. } => Ok(host.give_back(instance.as_deref())?),
    }
}

/// A guest's host, and how its session is ended.
struct Opened {
    host: LocalHost,
    undo: SessionUndo,
    seq: u64,
    scratch: Option<String>,
}

fn open_guest(
    journal: &mut Journal,
    guest: &Guest,
    dirs: &Dirs,
    cancel: Cancel,
) -> Result<Opened, SessionError> {
    match guest {
        Guest::Lab {
            vcpus,
            memory,
            disk,
            ssh,
            company,
        } => {
            let size = LabSize {
                vcpus: *vcpus,
                memory: *memory,
                disk: *disk,
            };
            let (host, undo, seq) = open_lab(journal, size, (company, *ssh), dirs, cancel)?;
            Ok(Opened {
                host,
                undo,
                seq,
                scratch: Some("/dev/kvmtune-data".to_string()),
            })
        }
        Guest::Domain {
            name,
            connect,
            disk,
            scratch,
            ssh,
        } => {
            let mut host = LocalHost::domain(connect, name, disk.as_deref(), cancel)?;
            if let Some(target) = ssh {
                host.reach_by_ssh(target.clone())?;
            }
            let undo = SessionUndo::Domain {
                connection: connect.clone(),
                name: name.clone(),
                uuid: host.uuid(),
                instance: host.instance(),
                disk: Some(host.disk().to_string()),
                ssh: ssh.clone(),
            };
            let seq = note(journal, &undo)?;
            Ok(Opened {
                host,
                undo,
                seq,
                scratch: scratch.clone(),
            })
        }
        Guest::Host { .. } => Err(HostError::new("open the guest", "there is none").into()),
    }
}

fn open_lab(
    journal: &mut Journal,
    size: LabSize,
    (company, ssh): (&Company, bool),
    dirs: &Dirs,
    cancel: Cancel,
) -> Result<(LocalHost, SessionUndo, u64), SessionError> {
    let place = LabPlace::new(&dirs.state);
    let undo = SessionUndo::Lab(place.clone());
    let seq = note(journal, &undo)?;
    let opened = LocalHost::lab(&place, size, company, &dirs.cache, cancel).and_then(|mut host| {
        if ssh {
            host.reach_lab_by_ssh()?;
        }
        Ok(host)
    });
    match opened {
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
    recover_as(dirs, Keeper::Verb)
}

fn recover_as(dirs: &Dirs, keeper: Keeper) -> Result<RecoverReport, SessionError> {
    remove_leftovers();
    let mut journal = Journal::open_as(&dirs.state, keeper)?;
    // A run across reboots goes on from its record; where its boots were is in the journal. A watchman leaves the state:
    // how often the host was booted is in it.
    if keeper == Keeper::Verb {
        across::forget(&dirs.state)?;
    }
    if journal.is_clean() {
        return Ok(RecoverReport::default());
    }
    // What a session with another folder has changed since is undone first: its old values are ours.
    let _lock = HostLock::take(Path::new(HOST_LOCK), keeper)?;
    recover_journal(&mut journal, across::is_under_way(&dirs.state))
}

/// The same with a journal that is open already; a run across reboots that goes on keeps its note.
fn recover_journal(journal: &mut Journal, goes_on: bool) -> Result<RecoverReport, SessionError> {
    let sessions = journal.open_entries().filter_map(|e| match &e.undo {
        Undo::Session(session) => Some(session.clone()),
        Undo::Write(_) | Undo::NextBoot(_) => None,
    });
    let mut restorer = LocalRestorer {
        sessions: sessions.collect(),
        reached: None,
        kernel: KernelHost,
        goes_on,
    };
    Ok(recover(journal, &mut restorer)?)
}

struct LocalRestorer {
    sessions: Vec<SessionUndo>,
    reached: Option<Box<dyn Host>>,
    kernel: KernelHost,
    /// Whether a run across reboots does after this recovery.
    goes_on: bool,
}

impl Restorer for LocalRestorer {
    fn reach(&mut self, scope: &Scope) -> Result<Option<&mut dyn Host>, HostError> {
        self.reached = match scope {
            Scope::Boot { id } if *id == boot_id()? => Some(Box::new(KernelHost)),
            Scope::Domain { uuid, instance } => self.reach_domain(uuid, instance)?,
            // A rebooted kernel starts from its defaults, a private network ends with its lab, and a definition is
            // never changed by a run.
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

    fn keeps_next_boot(&self) -> bool {
        self.goes_on
    }

    fn end(&mut self, session: &SessionUndo) -> Result<(), HostError> {
        match session {
            SessionUndo::Lab(place) if !place.is_sane() => Err(HostError::new(
                "take down a lab",
                format!("{} is no place kvmtune makes", place.root.display()),
            )),
            SessionUndo::Lab(place) => take_down(place).map_err(|e| HostError::new("take down the lab", e)),
            SessionUndo::Domain { instance, ssh, .. } => {
                if ssh.is_some() {
                    LocalHost::remove_ssh_leftovers()?;
                }
                let Some(mut host) = domain_of(session)? else {
                    return Ok(());
                };
                if let Some(target) = ssh {
                    // What is in the guest is taken away where it can be reached.
                    let _ = host.reach_by_ssh(target.clone());
                }
                host.assume_changed();
                host.give_back(instance.as_deref())
            }
        }
    }
}

/// The domain of a session with the disk that the session was about, if it is still there.
fn domain_of(session: &SessionUndo) -> Result<Option<LocalHost>, HostError> {
    match session {
        SessionUndo::Domain {
            connection,
            name,
            uuid,
            disk,
            ..
        } if LocalHost::has_domain(connection, name, uuid)? => {
            LocalHost::domain(connection, name, disk.as_deref(), Cancel::default()).map(Some)
        }
        SessionUndo::Domain { .. } | SessionUndo::Lab(_) => Ok(None),
    }
}

impl LocalRestorer {
    fn reach_domain(&self, uuid: &str, instance: &str) -> Result<Option<Box<dyn Host>>, HostError> {
        for session in &self.sessions {
            if let SessionUndo::Domain { uuid: known, ssh, .. } = session
                && known == uuid
                && let Some(mut host) = domain_of(session)?
            {
                if let Some(target) = ssh {
                    host.reach_by_ssh(target.clone())?;
                }
                return Ok(
                    (host.instance().as_deref() == Some(instance)).then(|| Box::new(host) as Box<dyn Host>)
                );
            }
        }
        // A lab's guest takes its values with it when the lab is taken down.
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
