//! A machine opened for commits: nobody else changes it meanwhile, and nothing on it is half-made.

use super::{
    Change, Commit, CommitError, Domains, Finding, Ledger, LedgerStore, Machine, Root, Tools, Wanted, Watch,
    between, carry_out, give_up_half_made, put_back_half_made, status,
};
use crate::change::{HOST_LOCK, HostLock, Journal, Keeper};
use crate::host::{Host, boot_id, retuning};
use crate::persist::CommitId;
use jiff::Timestamp;
use std::path::Path;

/// A machine and its ledger.
pub struct Opened<'m> {
    /// What is reached.
    pub machine: Machine<'m>,
    store: LedgerStore,
    boot: Option<String>,
    _hold: Option<(Journal, HostLock)>,
}

impl<'m> Opened<'m> {
    /// This host, locked against runs and other commits; refused while a run has left something to be undone. What a verb
    /// that was killed had half made is put back first; the number of its changes is given, if there were any.
    pub fn host(
        state: &Path,
        host: &'m mut dyn Host,
        keeper: Keeper,
    ) -> Result<(Self, Option<usize>), CommitError> {
        let mut opened = Self::locked(state, host, keeper)?;
        let half = put_back_half_made(&opened.store, &mut opened.machine)?;
        Ok((opened, half))
    }

    /// The same, but what was half made in domains and their guests, and cannot be put back, is given up and told.
    pub fn giving_up(
        state: &Path,
        host: &'m mut dyn Host,
        keeper: Keeper,
    ) -> Result<(Self, Vec<String>), CommitError> {
        let mut opened = Self::locked(state, host, keeper)?;
        let given_up = give_up_half_made(&opened.store, &mut opened.machine)?;
        Ok((opened, given_up))
    }

    fn locked(state: &Path, host: &'m mut dyn Host, keeper: Keeper) -> Result<Self, CommitError> {
        let journal = Journal::open_as(state, keeper)?;
        journal.require_clean()?;
        let lock = HostLock::take(Path::new(HOST_LOCK), keeper)?;
        Ok(Self {
            _hold: Some((journal, lock)),
            ..Self::looked_at(state, host)?
        })
    }

    /// This host, only to be looked at.
    pub fn looked_at(state: &Path, host: &'m mut dyn Host) -> Result<Self, CommitError> {
        let machine = Machine {
            root: Root::open(Path::new("/"))?,
            host: Some(host),
            tools: Tools::of_host(!retuning("tuned").is_empty()),
            watch: Watch::default(),
            domains: Domains::default(),
        };
        Ok(Self {
            machine,
            store: LedgerStore::of_host(Root::open(state)?),
            boot: Some(boot_id()?),
            _hold: None,
        })
    }

    /// The image in a folder, locked against other commits; what was half made is put back first.
    pub fn image(folder: &Path) -> Result<(Self, Option<usize>), CommitError> {
        let mut opened = Self::image_looked_at(folder)?;
        opened.machine.root.lock()?;
        let half = put_back_half_made(&opened.store, &mut opened.machine)?;
        Ok((opened, half))
    }

    /// The image in a folder, only to be looked at.
    pub fn image_looked_at(folder: &Path) -> Result<Self, CommitError> {
        let root = Root::open(folder)?;
        if root.is_running_system()? {
            return Err(CommitError::Refused(format!(
                "{} is the running system, not an image: leave --root out",
                folder.display()
            )));
        }
        let machine = Machine {
            root,
            host: None,
            tools: Tools::default(),
            watch: Watch::default(),
            domains: Domains::default(),
        };
        Ok(Self {
            machine,
            store: LedgerStore::of_image(Root::open(folder)?),
            boot: None,
            _hold: None,
        })
    }

    /// The boot of the host; `None` for an image.
    pub fn boot(&self) -> Option<&str> {
        self.boot.as_deref()
    }

    /// What is in force.
    pub fn ledger(&self) -> Result<Ledger, CommitError> {
        self.store.load()
    }

    /// True when a verb was killed half-way, or is under way.
    pub fn is_half_made(&self) -> Result<bool, CommitError> {
        Ok(self.store.pending::<serde_json::Value>()?.is_some())
    }

    /// What a further commit changes, and the ledger it leads to.
    pub fn adding(&mut self, commit: Commit, wanted: Wanted) -> Result<(Ledger, Vec<Change>), CommitError> {
        let old = self.ledger()?;
        let last = commit.stamp.commit.0;
        let commits = old.commits.iter().cloned().chain([commit]).collect();
        let (next, changes) = between(&old, commits, wanted, &mut self.machine)?;
        Ok((Ledger { last, ..next }, changes))
    }

    /// What taking a commit back changes.
    pub fn reverting(&mut self, id: CommitId, wanted: Wanted) -> Result<(Ledger, Vec<Change>), CommitError> {
        let old = self.ledger()?;
        old.find(Some(id))?;
        let commits = old
            .commits
            .iter()
            .filter(|commit| commit.stamp.commit != id)
            .cloned()
            .collect();
        between(&old, commits, wanted, &mut self.machine)
    }

    /// What it changes that a commit need no longer be kept.
    pub fn keeping(&mut self, id: CommitId) -> Result<(Ledger, Vec<Change>), CommitError> {
        let old = self.ledger()?;
        old.find(Some(id))?;
        let mut commits = old.commits.clone();
        for commit in commits.iter_mut().filter(|commit| commit.stamp.commit == id) {
            commit.stamp.deadline = None;
        }
        between(&old, commits, Wanted::Careful, &mut self.machine)
    }

    /// Sets when a commit in force is taken back unless it is kept: only now has its user time to look at it.
    pub fn await_keeping(&mut self, id: CommitId, deadline: Timestamp) -> Result<(), CommitError> {
        let mut ledger = self.ledger()?;
        for commit in ledger.commits.iter_mut().filter(|c| c.stamp.commit == id) {
            commit.stamp.deadline = Some(deadline);
        }
        self.store.save(&ledger, &self.machine.watch)
    }

    /// Makes the changes, all or none.
    pub fn carry_out(&mut self, next: Ledger, changes: Vec<Change>) -> Result<(), CommitError> {
        carry_out(&self.store, &mut self.machine, next, changes)
    }

    /// Takes back, the newest first, what nobody kept in time. What somebody changed since is overwritten: nobody may be there
    /// to be asked. Gives the commits.
    pub fn revert_overdue(&mut self, now: Timestamp) -> Result<Vec<CommitId>, CommitError> {
        let overdue: Vec<_> = overdue(&self.ledger()?, now);
        for id in &overdue {
            let (next, changes) = self.reverting(*id, Wanted::Forced)?;
            self.carry_out(next, changes)?;
        }
        Ok(overdue)
    }

    /// Whether what is committed is in force.
    pub fn status(&mut self) -> Result<Vec<Finding>, CommitError> {
        let ledger = self.ledger()?;
        status(&ledger, self.boot.as_deref(), &mut self.machine)
    }
}

/// Commits that nobody kept in time, the newest first.
fn overdue(ledger: &Ledger, now: Timestamp) -> Vec<CommitId> {
    let is_overdue = |commit: &&Commit| commit.stamp.deadline.is_some_and(|deadline| deadline <= now);
    ledger
        .commits
        .iter()
        .rev()
        .filter(is_overdue)
        .map(|commit| commit.stamp.commit)
        .collect()
}

/// The next deadline in the ledger of this host; `None` when nothing waits to be kept.
pub fn next_deadline(state: &Path) -> Result<Option<Timestamp>, CommitError> {
    let ledger = LedgerStore::of_host(Root::open(state)?).load()?;
    Ok(ledger
        .commits
        .iter()
        .filter_map(|commit| commit.stamp.deadline)
        .min())
}
