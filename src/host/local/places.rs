//! Places that are neither a kernel file nor libvirt's: modules of the host, its end of the guest's link, commands in
//! the guest, the command line it was booted with.
//!
//! Does not know why they are set.

use super::{Guest, LocalHost};
use crate::host::{HostError, guest_job, host_link, kernel, xml};
use crate::tunable::{Address, GuestCommands};
use std::time::Duration;

/// Commands that read or set a value are short.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// Stands for the value in a command that sets it.
const VALUE: &str = "{value}";

impl LocalHost {
    pub(super) fn read_elsewhere(&self, address: &Address) -> Result<String, HostError> {
        let doing = format!("read {address}");
        match address {
            Address::HostModule(module) => Ok(kernel::module_state(module).into()),
            Address::HostBoot(parameter) => kernel::command_line().map(|line| parameter.value_in(&line)),
            Address::HostLink(field) => host_link::read(&link(self.running(&doing)?, &doing)?, *field),
            Address::GuestCommand(commands) => get(self.running(&doing)?, commands, &doing),
            _ => Err(HostError::new(doing, "it is no place of this kind")),
        }
    }

    pub(super) fn write_elsewhere(&self, address: &Address, value: &str) -> Result<(), HostError> {
        let doing = format!("write `{value}` to {address}");
        match address {
            Address::HostModule(module) => kernel::set_module(module, value),
            Address::HostBoot(_) => Err(HostError::new(
                doing,
                "it takes a reboot of the host; use `kvmtune run --across-reboots`",
            )),
            Address::HostLink(field) => {
                host_link::write(&link(self.running(&doing)?, &doing)?, *field, value)
            }
            Address::GuestCommand(commands) => set(self.running(&doing)?, commands, value, &doing),
            _ => Err(HostError::new(doing, "it is no place of this kind")),
        }
    }
}

/// The host's name of the guest's first link.
fn link(guest: &Guest, doing: &str) -> Result<String, HostError> {
    let live = guest.domain.xml_live().map_err(|e| HostError::new(doing, e))?;
    xml::link(&live)
        .and_then(|link| link.device)
        .ok_or_else(|| HostError::new(doing, "the guest has no network link of its own on this host"))
}

/// The only line a command prints.
fn get(guest: &Guest, commands: &GuestCommands, doing: &str) -> Result<String, HostError> {
    let text = exec(guest, &commands.get, doing)?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    match lines.as_slice() {
        [line] if line.len() <= 1000 => Ok((*line).to_string()),
        [] => Err(HostError::new(doing, "it prints nothing")),
        _ => Err(HostError::new(
            doing,
            "it prints more than one line of at most 1000 bytes",
        )),
    }
}

fn set(guest: &Guest, commands: &GuestCommands, value: &str, doing: &str) -> Result<(), HostError> {
    let argv: Vec<_> = commands
        .set
        .iter()
        .map(|word| word.replace(VALUE, value))
        .collect();
    exec(guest, &argv, doing).map(drop)
}

fn exec(guest: &Guest, argv: &[String], doing: &str) -> Result<String, HostError> {
    let argv: Vec<_> = argv.iter().map(String::as_str).collect();
    let done = guest.agent.exec(&argv, None, COMMAND_LIMIT);
    let done = done.map_err(|e| guest_job::failed(doing.to_string(), &e))?;
    if done.exit_code == 0 {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    let said: String = String::from_utf8_lossy(&done.stderr)
        .trim()
        .chars()
        .take(200)
        .collect();
    Err(HostError::new(
        doing,
        format!("it gave {}: {}", done.exit_code, said.escape_debug()),
    ))
}
