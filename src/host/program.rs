//! kvmtune's own program for guests, `kvmtune-guest`, whose source is the folder `guest/`: its bytes, and how it comes to
//! be where a job is to run it.
//!
//! In the lab's guest it is part of the image. Does not know what it is run for.

use super::guest_job::failed;
use super::transport::Transport;
use super::{HostError, Job};
use crate::workload::Side;
use nix::sys::memfd::{MFdFlags, memfd_create};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{LazyLock, OnceLock};
use std::time::Duration;

/// What it is called in a workload's `argv` and in the lab's guest.
pub(crate) const NAME: &str = "kvmtune-guest";

/// A static program for this machine's kind of processor, made by build.rs.
pub(crate) const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kvmtune-guest"));

/// In a guest it is named after its content: another kvmtune may have brought another one.
static IN_GUEST: LazyLock<String> = LazyLock::new(|| {
    let hash = Sha256::digest(BYTES);
    let digits = hash.iter().take(16).map(|byte| format!("{byte:02x}"));
    format!("/run/kvmtune/guest-{}", digits.collect::<String>())
});
/// What it is called while it is written.
static NEW: LazyLock<String> = LazyLock::new(|| format!("{}.new", *IN_GUEST));

/// Makes room for it. Arguments: where it will be, and under which name it is written.
const PREPARE: &str = r#"umask 077 && mkdir -p "${1%/*}" && rm -f -- "$2""#;
/// Gives it its name once it is whole, and tries it.
const INSTALL: &str = r#"chmod 700 "$2" && mv -- "$2" "$1" && "$1" --help >/dev/null"#;
/// Of sh: found, and not allowed to run.
const NOT_STARTED: i32 = 126;
const LIMIT: Duration = Duration::from_secs(30);

/// Whether a job runs it inside the guest.
pub(super) fn is_wanted_in_guest(job: &Job) -> bool {
    let is_it = |side, argv: &[String]| side == Side::Guest && argv.first().is_some_and(|a| a == NAME);
    is_it(job.side, &job.argv) || job.server.as_ref().is_some_and(|s| is_it(s.side, &s.argv))
}

/// The job with the program at `path` in the guest.
pub(super) fn at(path: &str, job: &Job) -> Job {
    let mut job = job.clone();
    let place = |side, argv: &mut Vec<String>| {
        if let (Side::Guest, Some(first)) = (side, argv.first_mut())
            && first == NAME
        {
            *first = path.to_string();
        }
    };
    place(job.side, &mut job.argv);
    if let Some(server) = &mut job.server {
        place(server.side, &mut server.argv);
    }
    job
}

/// Brings it into a guest, unless it is there, and says where it is. Of one that cannot be brought nothing stays.
pub(super) fn bring(guest: &Transport) -> Result<String, HostError> {
    let brought = install(guest);
    if brought.as_ref().is_err_and(|e| !e.guest_lost) {
        take_away(guest);
    }
    brought
}

fn install(guest: &Transport) -> Result<String, HostError> {
    let doing = || format!("bring {NAME} into the guest");
    let (path, new) = (IN_GUEST.clone(), NEW.clone());
    let is_whole = |path: &str| match guest.read_file(path, BYTES.len()) {
        Ok(found) => Ok(found == BYTES),
        Err(error) if error.is_refused() || error.is_too_large() => Ok(false),
        Err(error) => Err(failed(doing(), &error)),
    };
    let shell = |script: &str| {
        let argv = ["/bin/sh", "-c", script, "kvmtune", &path, &new];
        let done = guest.exec(&argv, None, LIMIT);
        done.map_err(|e| failed(doing(), &e))
    };
    if is_whole(&path)? {
        return Ok(path);
    }
    shell(PREPARE)?;
    guest.write_file(&new, BYTES).map_err(|e| failed(doing(), &e))?;
    if !is_whole(&new)? {
        return Err(HostError::new(
            doing(),
            format!("{new} does not hold what was written to it"),
        ));
    }
    match shell(INSTALL)?.exit_code {
        0 => Ok(path),
        NOT_STARTED => Err(HostError::new(
            doing(),
            "nothing in its /run can be started: is it mounted noexec? In the guest: `mount -o remount,exec /run`",
        )),
        code => Err(HostError::new(
            doing(),
            format!("it does not run there (exit code {code})"),
        )),
    }
}

/// Takes it out of a guest again, whoever brought it: also a kvmtune that was killed over it. What cannot be removed is
/// gone with the guest's next boot.
pub(super) fn take_away(guest: &Transport) {
    let _ = guest.exec(&["/bin/rm", "-f", "--", &IN_GUEST, &NEW], None, LIMIT);
}

/// Where it is on this machine: in memory, so that nothing is left of a kvmtune that is killed, and no folder must allow
/// programs.
pub(super) fn here() -> Result<PathBuf, HostError> {
    static HELD: OnceLock<File> = OnceLock::new();
    let failed = |e: io::Error| HostError::new(format!("hold {NAME} in memory"), e);
    let file = if let Some(file) = HELD.get() {
        file
    } else {
        let made = hold().map_err(failed)?;
        HELD.get_or_init(|| made)
    };
    let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
    Ok(path.into())
}

fn hold() -> io::Result<File> {
    let written: OwnedFd = memfd_create(NAME, MFdFlags::MFD_CLOEXEC)?;
    let mut written = File::from(written);
    written.write_all(BYTES)?;
    // What is open for writing cannot be started.
    File::open(format!("/proc/self/fd/{}", written.as_raw_fd()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::host::ServerJob;
    use crate::host::guest_job::tests::stand_in;
    use crate::host::libvirt::LibvirtErrorKind;
    use crate::units::Bytes;
    use crate::workload::DropCaches;

    fn job(side: Side, program: &str, server: Option<(Side, &str)>) -> Job {
        let argv = |program: &str| vec![program.to_string(), NAME.to_string()];
        Job {
            side,
            argv: argv(program),
            server: server.map(|(side, program)| ServerJob {
                side,
                argv: argv(program),
                port: 1,
            }),
            expected: Duration::ZERO,
            limit: Duration::ZERO,
            max_output: Bytes(1),
            series: None,
            files: Vec::new(),
            drop_caches: DropCaches::Off,
        }
    }

    #[test]
    fn only_the_program_of_the_guests_side_is_put_in_its_place() {
        let one = job(Side::Guest, NAME, Some((Side::Host, NAME)));
        assert!(is_wanted_in_guest(&one));
        assert_eq!(at("/x", &one), job(Side::Guest, "/x", Some((Side::Host, NAME))));
        let other = job(Side::Host, NAME, Some((Side::Guest, NAME)));
        assert!(is_wanted_in_guest(&other));
        assert_eq!(at("/x", &other), job(Side::Host, NAME, Some((Side::Guest, "/x"))));
        assert!(!is_wanted_in_guest(&job(
            Side::Host,
            NAME,
            Some((Side::Guest, "fio"))
        )));
        assert!(!is_wanted_in_guest(&job(Side::Guest, "./kvmtune-guest", None)));
    }

    #[test]
    fn what_cannot_be_brought_is_taken_away_and_a_lost_guest_is_left_alone() {
        let (guest, asked) = stand_in(|request| match request {
            // There is none yet, and it cannot be written.
            _ if request.contains("guest-file-") => Err(LibvirtErrorKind::AgentRefused),
            _ => Ok(()),
        });
        assert!(!bring(&guest).unwrap_err().guest_lost);
        let asked = asked.lock().unwrap();
        let removed = asked.iter().find(|request| request.contains("/bin/rm")).unwrap();
        let names = [&*IN_GUEST, &*NEW].map(|name| format!("\"{name}\""));
        assert!(names.iter().all(|name| removed.contains(name)), "{removed}");

        let (guest, asked) = stand_in(|_| Err(LibvirtErrorKind::AgentTimeout));
        assert!(bring(&guest).unwrap_err().guest_lost);
        assert_eq!(asked.lock().unwrap().len(), 1);
    }

    #[test]
    fn it_runs_from_memory_and_its_name_follows_its_content() {
        let run = std::process::Command::new(here().unwrap())
            .arg("--help")
            .output()
            .unwrap();
        assert!(
            run.status.success() && run.stdout.starts_with(b"usage: kvmtune-guest"),
            "{run:?}"
        );
        assert_eq!(here().unwrap(), here().unwrap());
        let digits = IN_GUEST.strip_prefix("/run/kvmtune/guest-").unwrap();
        assert!(digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    }
}
