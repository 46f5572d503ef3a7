//! Places that are neither a kernel file nor libvirt's: modules of the host, its end of the guest's link, commands in
//! the guest, the command line it was booted with.
//!
//! Does not know why they are set.

use super::{Guest, LocalHost};
use crate::host::actors::{self, Process};
use crate::host::{Host, HostError, batch, guest_job, host_link, kernel, xml};
use crate::tunable::{Address, GuestCommands, KernelFile};
use std::time::Duration;

/// Commands that read or set a value are short.
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// Stands for the value in a command that sets it.
const VALUE: &str = "{value}";

impl LocalHost {
    pub(super) fn read_elsewhere(&self, address: &Address) -> Result<String, HostError> {
        let doing = format!("read {address}");
        match address {
            Address::HostBoot(parameter) => kernel::command_line().map(|line| parameter.value_in(&line)),
            Address::HostLink(field) => host_link::read(&link(self.running(&doing)?, &doing)?, *field),
            Address::GuestCommand(commands) => get(self.running(&doing)?, commands, &doing),
            _ => Err(HostError::new(doing, "it is no place of this kind")),
        }
    }

    pub(super) fn write_elsewhere(&self, address: &Address, value: &str) -> Result<(), HostError> {
        let doing = format!("write `{value}` to {address}");
        match address {
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
    let done = guest.transport.exec(&argv, None, COMMAND_LIMIT);
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

/// Several places at once: files of the guest go in one command, where they are many.
impl LocalHost {
    pub(super) fn read_many(&mut self, addresses: &[Address]) -> Vec<Result<String, HostError>> {
        self.exchange_many(&[], addresses).read
    }

    pub(super) fn write_many(&mut self, writes: &[(Address, String)]) -> Vec<Result<(), HostError>> {
        self.exchange_many(writes, &[]).written
    }

    /// Writes in this order, then reads. Files of the guest that are written one after the other are one command, the last
    /// of which also reads.
    pub(super) fn exchange_many(
        &mut self,
        writes: &[(Address, String)],
        reads: &[Address],
    ) -> batch::Exchanged {
        let mut paths: Vec<_> = reads.iter().filter_map(guest_path).collect();
        let is_file = |(address, _): &(Address, String)| guest_path(address).is_some();
        let last = writes.iter().rposition(is_file);
        let (mut written, mut read) = (Vec::new(), None);
        for run in writes.chunk_by(|a, b| is_file(a) == is_file(b)) {
            let files: Vec<_> = run
                .iter()
                .filter_map(|(address, value)| Some((guest_path(address)?, value.as_str())))
                .collect();
            let end = written.len() + run.len();
            // What is written later must not be able to change what is read with this run.
            let harmless = |(address, _): &(Address, String)| matches!(address, Address::HostFile { .. });
            let is_last = last.is_some_and(|last| (written.len()..end).contains(&last))
                && writes[end..].iter().all(harmless);
            match &self.guest {
                Some(guest) if files.len() >= batch::WORTH_IT => {
                    let reads = if is_last { paths.split_off(0) } else { Vec::new() };
                    let done = batch::exchange(&guest.transport, &files, &reads);
                    written.extend(done.written);
                    read = is_last.then_some(done.read).or(read);
                }
                _ => written.extend(run.iter().map(|(address, value)| self.write(address, value))),
            }
        }
        let mut batched = match (&self.guest, read) {
            (_, Some(read)) => read,
            (Some(guest), None) if paths.len() >= batch::WORTH_IT => {
                batch::exchange(&guest.transport, &[], &paths).read
            }
            _ => Vec::new(),
        }
        .into_iter();
        let one = |address: &Address| match guest_path(address).and_then(|_| batched.next()) {
            Some(result) => result,
            None => self.read(address),
        };
        batch::Exchanged {
            written,
            read: reads.iter().map(one).collect(),
        }
    }
}

impl LocalHost {
    /// Programs that may have set a place: those of the guest for what is inside it.
    pub(super) fn likely_actors(&self, address: &Address) -> Vec<String> {
        let processes = match &self.guest {
            Some(guest) if address.in_guest() => guest_processes(guest),
            _ => actors::processes(),
        };
        actors::likely(address, &processes)
    }
}

/// The processes of the guest; none when it cannot be asked.
fn guest_processes(guest: &Guest) -> Vec<Process> {
    const LIST: &str =
        r#"for p in /proc/[0-9]*; do read -r name < "$p/comm" && echo "${p#/proc/} $name"; done 2>/dev/null"#;
    let done = guest
        .transport
        .exec(&["/bin/sh", "-c", LIST], None, COMMAND_LIMIT);
    let text = done
        .map(|done| String::from_utf8_lossy(&done.stdout).into_owned())
        .unwrap_or_default();
    let process = |line: &str| {
        let (pid, name) = line.split_once(' ')?;
        let tame = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let name = Some(name).filter(|name| name.len() <= 15 && name.chars().all(tame))?;
        Some(Process {
            name: name.to_string(),
            pid: pid.parse().ok()?,
        })
    };
    text.lines().filter_map(process).collect()
}

/// The path of a file of the guest that may be set.
fn guest_path(address: &Address) -> Option<&str> {
    match address {
        Address::GuestFile { path, .. } if KernelFile::is_one(path) => Some(path),
        _ => None,
    }
}
