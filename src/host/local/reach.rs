//! The guest that runs and the way into it: by its agent, or by ssh.
//!
//! Does not know what is asked of the guest.

use super::{LocalHost, Owner, chain, patience};
use crate::experiment::SshTarget;
use crate::host::agent::Agent;
use crate::host::libvirt::Domain;
use crate::host::ssh::Ssh;
use crate::host::transport::{Transport, TransportError};
use crate::host::{HostError, Job, kernel, program, readback};
use crate::lab::{Lab, console_tail};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Where the ssh client of a user's guest has its control socket. There is one session on a host.
const SSH_FOLDER: &str = "/run/kvmtune/ssh";

/// A guest that answers at all does so by then.
const ANSWERS: Duration = Duration::from_secs(2);

/// A guest that runs.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) domain: Domain,
    pub(super) transport: Transport,
    pub(super) pid: Option<u32>,
    /// Started with an XML that is not its definition.
    pub(super) changed: bool,
    /// Where kvmtune's own program is in it, once it was brought there.
    pub(super) program: OnceCell<String>,
}

impl Guest {
    /// Tells this run of it from any other; libvirt's number of the run begins anew with each boot of the host.
    pub(super) fn instance(&self) -> Option<String> {
        Some(format!(
            "{} of boot {}",
            self.domain.id()?,
            kernel::boot_id().ok()?
        ))
    }
}

impl LocalHost {
    /// Reaches the guest of the user's domain by its ssh server, not by its agent.
    pub fn reach_by_ssh(&mut self, target: SshTarget) -> Result<(), HostError> {
        self.ssh = Some(target);
        if let Some(guest) = &self.guest {
            self.guest = Some(self.guest_of(guest.domain.clone(), guest.changed)?);
        }
        Ok(())
    }

    /// Reaches the lab's guest by an ssh server that is started in it, with keys of this lab alone.
    pub fn reach_lab_by_ssh(&mut self) -> Result<(), HostError> {
        if let Owner::Lab(lab) = &mut self.owner {
            let ssh = lab
                .prepare_ssh()
                .map_err(|e| HostError::new("prepare the lab's ssh server", e))?;
            self.ssh = Some(ssh.target().clone());
        }
        Ok(())
    }

    /// Removes what the ssh client of a killed run left; the client itself ended with the run.
    pub fn remove_ssh_leftovers() -> Result<(), HostError> {
        match fs::remove_dir_all(SSH_FOLDER) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(HostError::new(format!("remove {SSH_FOLDER}"), e))
            }
            _ => Ok(()),
        }
    }

    /// Whether the guest can be reached, as far as its definition tells: by ssh, or by a channel for its agent.
    pub fn has_way_in(&self) -> bool {
        self.ssh.is_some() || self.has_agent_channel()
    }

    /// The way into the running guest.
    pub fn transport(&self) -> Result<&Transport, HostError> {
        Ok(&self.running("reach the guest")?.transport)
    }

    /// The job as it runs in this guest: kvmtune's own program is part of the lab's image, and brought into any other.
    pub(super) fn placed<'j>(&self, guest: &Guest, job: &'j Job) -> Result<Cow<'j, Job>, HostError> {
        if matches!(self.owner, Owner::Lab(_)) || !program::is_wanted_in_guest(job) {
            return Ok(Cow::Borrowed(job));
        }
        let path = if let Some(path) = guest.program.get() {
            path
        } else {
            let path = program::bring(&guest.transport)?;
            guest.program.get_or_init(|| path)
        };
        Ok(Cow::Owned(program::at(path, job)))
    }

    /// Takes kvmtune's own program out of a user's guest that answers, also when an earlier run brought it there.
    pub(super) fn take_program_away(&self) {
        if let (Owner::User(_), Some(guest)) = (&self.owner, &self.guest)
            && guest.transport.ping(ANSWERS).is_ok()
        {
            program::take_away(&guest.transport);
        }
    }

    pub(super) fn guest_of(&self, domain: Domain, changed: bool) -> Result<Guest, HostError> {
        let transport = match &self.ssh {
            None => Transport::Agent(Agent::new(domain.clone())),
            Some(target) => {
                let folder = self
                    .lab_of()
                    .map_or_else(|| PathBuf::from(SSH_FOLDER), |lab| lab.root().join("ssh"));
                let ssh = open(target, &folder)?;
                Transport::Ssh(Box::new(ssh))
            }
        };
        Ok(Guest {
            pid: domain.qemu_pid().ok(),
            domain,
            transport,
            changed,
            program: OnceCell::new(),
        })
    }

    /// Waits until the guest answers; one that boots and cannot be reached by ssh for good is told from one that boots.
    pub(super) fn wait_until_ready(&self, guest: &Guest) -> Result<(), HostError> {
        if let (Owner::Lab(lab), Transport::Ssh(_)) = (&self.owner, &guest.transport) {
            let agent = Agent::new(guest.domain.clone());
            self.wait_for(guest, Some(&lab.console_log()), &|limit| Ok(agent.ping(limit)?))?;
            lab.start_ssh(&agent)
                .map_err(|e| HostError::new("start the guest", e).losing_guest())?;
        }
        let console = self.lab_of().map(Lab::console_log);
        self.wait_for(guest, console.as_deref(), &|limit| guest.transport.ping(limit))
    }

    /// Waits until a companion's agent answers.
    pub(super) fn wait_for_companion(&self, name: &str, guest: &Guest) -> Result<(), HostError> {
        let console = self.lab_of().map(|lab| lab.console_log_of(name));
        let ready = self.wait_for(guest, console.as_deref(), &|limit| guest.transport.ping(limit));
        ready.map_err(|e| HostError {
            doing: format!("start {name}, a guest beside the one that is measured"),
            ..e
        })
    }

    /// Waits until a ping succeeds; an error tells the end of the guest's `console`, where there is one.
    fn wait_for(
        &self,
        guest: &Guest,
        console: Option<&Path>,
        ping: &dyn Fn(Duration) -> Result<(), TransportError>,
    ) -> Result<(), HostError> {
        let started = Instant::now();
        let limit = match self.owner {
            Owner::Lab(_) => patience::with_lab(self.first_boot),
            Owner::User(_) => patience::WITH_USER,
        };
        let said = || {
            let end = console.map(console_tail);
            end.map_or_else(String::new, |end| format!("; its console ends: {end}"))
        };
        let lost = |cause: String| HostError::new("start the guest", cause).losing_guest();
        loop {
            let error = match ping(Duration::from_secs(2)) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_final() => return Err(lost(chain(&error))),
                Err(error) => error,
            };
            if guest.pid.is_some_and(|pid| !readback::process_lives(pid)) {
                return Err(lost(format!("QEMU ended while the guest booted{}", said())));
            }
            if started.elapsed() > limit {
                let _ = guest.domain.destroy();
                return Err(lost(match error {
                    TransportError::Ssh(error) => {
                        format!("it cannot be used after {limit:.0?}{}: {}", said(), chain(&error))
                    }
                    _ => format!(
                        "its agent did not answer within {limit:.0?}{}; see that qemu-guest-agent starts with \
                         the guest",
                        said()
                    ),
                }));
            }
            // A client for each try would itself slow the boot.
            let by_ssh = matches!(error, TransportError::Ssh(_));
            thread::sleep(Duration::from_millis(if by_ssh { 100 } else { 5 }));
        }
    }
}

fn open(target: &SshTarget, folder: &Path) -> Result<Ssh, HostError> {
    Ssh::new(target.clone(), folder).map_err(|e| HostError::new("prepare an ssh client", chain(&e)))
}
