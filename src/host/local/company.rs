//! The guests beside the one that is measured: started before it, kept while they are well, ended with the lab.
//!
//! Knows how they are started and led over the long path; does not know what they run.

use super::reach::Guest;
use super::{LocalHost, Owner, readback};
use crate::host::agent::Agent;
use crate::host::{HostError, Scope};
use crate::lab::{ROUTER, router};
use std::cell::OnceCell;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A command that sets something up.
const LIMIT: Duration = Duration::from_secs(20);
/// A guest that is well answers at once, also when it is busy.
const PING: Duration = Duration::from_secs(5);
/// Larger than any answer to what is asked here.
const TAIL: usize = 200;

impl LocalHost {
    /// The addresses of the neighbours, in their order.
    pub fn neighbour_addresses(&self) -> Vec<String> {
        let all = self.lab_of().map_or(&[][..], |lab| lab.companions());
        let neighbours = all.iter().filter(|c| c.name != ROUTER);
        neighbours.map(|c| c.address.to_string()).collect()
    }

    /// A companion that runs.
    pub(super) fn companion(&self, name: &str) -> Result<&Guest, HostError> {
        self.company.get(name).ok_or_else(|| {
            HostError::new(format!("reach neighbour {name}"), "it does not run").losing_guest()
        })
    }

    /// What the settings of a companion live and die with: those of one that does not run are gone.
    pub(super) fn scope_of(&self, name: &str) -> Scope {
        let guest = self.company.get(name);
        Scope::Domain {
            uuid: guest.map(|g| g.domain.uuid().to_string()).unwrap_or_default(),
            instance: guest
                .and_then(Guest::instance)
                .unwrap_or_else(|| Scope::OFF.into()),
        }
    }

    /// Starts those that do not run, or are not well any more; all of them boot at the same time.
    pub(super) fn gather_company(&mut self) -> Result<(), HostError> {
        let mut fresh = Vec::new();
        let started = self.start_company(&mut fresh);
        let ready = started.and_then(|()| self.make_company_ready(&fresh));
        if ready.is_err() {
            // One that runs and was never made ready must not be taken for well the next time.
            for guest in fresh.iter().filter_map(|name| self.company.remove(name)) {
                let _ = guest.domain.destroy();
            }
        }
        ready
    }

    /// Starts them and tells which are `fresh`, also when one cannot be started.
    fn start_company(&mut self, fresh: &mut Vec<String>) -> Result<(), HostError> {
        let Owner::Lab(lab) = &self.owner else {
            return Ok(());
        };
        for companion in lab.companions().to_vec() {
            if let Some(guest) = self.company.remove(&companion.name) {
                if is_well(&guest) {
                    self.company.insert(companion.name, guest);
                    continue;
                }
                // One that is gone already cannot be ended.
                let _ = guest.domain.destroy();
            }
            let doing = format!(
                "start {}, a guest beside the one that is measured",
                companion.name
            );
            let domain = self
                .connection
                .create_xml(&companion.definition)
                .map_err(|e| HostError::new(doing, e).losing_guest())?;
            let guest = Guest {
                pid: domain.qemu_pid().ok(),
                transport: crate::host::transport::Transport::Agent(Agent::new(domain.clone())),
                domain,
                changed: false,
                program: OnceCell::new(),
            };
            self.company.insert(companion.name.clone(), guest);
            fresh.push(companion.name);
        }
        Ok(())
    }

    fn make_company_ready(&self, fresh: &[String]) -> Result<(), HostError> {
        for name in fresh {
            self.wait_for_companion(name, self.companion(name)?)?;
            if name == ROUTER {
                self.make_router()?;
            }
        }
        Ok(())
    }

    /// Ends the companions, before their driver is left; those that resist end with the lab.
    pub fn dismiss_company(&mut self) {
        for guest in std::mem::take(&mut self.company).into_values() {
            let _ = guest.domain.destroy();
        }
    }

    fn make_router(&self) -> Result<(), HostError> {
        let Some(path) = &self.path else { return Ok(()) };
        let guest = self.companion(ROUTER)?;
        prepare(guest, &router::router_commands(path), &router::router_files())?;
        for (file, value) in router::host_files() {
            fs::write(&file, value)
                .map_err(|e| HostError::new(format!("write {file} of the lab's network"), e))?;
        }
        for argv in router::host_commands() {
            here(&argv)?;
        }
        Ok(())
    }

    /// Leads a guest that has just booted over the router, and measures that it is so.
    pub(super) fn lay_path(&self, guest: &Guest) -> Result<(), HostError> {
        let Some(path) = &self.path else { return Ok(()) };
        prepare(guest, &router::guest_commands(), &router::guest_files())?;
        self.require_path()?;
        let doing = "prove the long path to the guest";
        let said = exec(guest, &router::ping(path))?;
        let measured = router::shortest(&said).ok_or_else(|| {
            let said = crate::diagnostic::one_line(&String::from_utf8_lossy(&said), TAIL);
            HostError::new(doing, format!("ping tells no round trip: {said}"))
        })?;
        let (least, most) = (path.rtt.0.mul_f64(0.98), router::most(path.rtt.0));
        if (least..=most).contains(&measured) {
            return Ok(());
        }
        let cause = format!(
            "the round trip is {measured:.1?}, and {} was to be added to it (at most {most:.1?} in all)",
            path.rtt
        );
        Err(HostError::new(doing, cause).losing_guest())
    }

    /// An error when the router does not do what it was told.
    pub(super) fn require_path(&self) -> Result<(), HostError> {
        let Some(path) = &self.path else { return Ok(()) };
        let told = exec(self.companion(ROUTER)?, &router::look())?;
        router::is_in_effect(path, &told)
            .map_err(|why| HostError::new("prove the long path to the guest", why).losing_guest())
    }
}

fn is_well(guest: &Guest) -> bool {
    guest.pid.is_some_and(readback::process_lives) && guest.transport.ping(PING).is_ok()
}

fn prepare(guest: &Guest, commands: &[router::Command], files: &[(String, &str)]) -> Result<(), HostError> {
    for argv in commands {
        exec(guest, argv)?;
    }
    for (file, value) in files {
        let written = guest.transport.write_file(file, value.as_bytes());
        written.map_err(|e| super::guest_job::failed(format!("write {file} of a guest"), &e))?;
    }
    Ok(())
}

fn exec(guest: &Guest, argv: &[String]) -> Result<Vec<u8>, HostError> {
    let doing = || format!("run `{}` in {}", argv.join(" "), guest.domain.name());
    let words: Vec<_> = argv.iter().map(String::as_str).collect();
    let done = guest.transport.exec(&words, None, LIMIT);
    let done = done.map_err(|e| super::guest_job::failed(doing(), &e))?;
    if done.exit_code == 0 {
        return Ok(done.stdout);
    }
    let said = crate::diagnostic::one_line(&String::from_utf8_lossy(&done.stderr), TAIL);
    Err(HostError::new(
        doing(),
        format!("exit code {}: {said}", done.exit_code),
    ))
}

/// In the lab's network, where the calling thread is.
fn here(argv: &[String]) -> Result<(), HostError> {
    let doing = || format!("run `{}` in the lab's network", argv.join(" "));
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| HostError::new("run a command", "there is none"))?;
    let done = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let done = done.map_err(|e| HostError::new(doing(), e))?;
    if done.status.success() {
        return Ok(());
    }
    let said = crate::diagnostic::one_line(&String::from_utf8_lossy(&done.stderr), TAIL);
    Err(HostError::new(doing(), said))
}
