//! The system's ssh client as the holder of one connection, its control socket in a folder of its own.
//! It does not know what goes over the connection.

use super::problem::Problem;
use super::{ConnectError, SshError, tame};
use crate::experiment::SshTarget;
use openssh::Session;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Options of every connection. No configuration file is read, so all that is not named here has ssh's own default.
const OPTIONS: [&str; 17] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "GlobalKnownHostsFile=/dev/null",
    "UpdateHostKeys=no",
    "CheckHostIP=no",
    "PreferredAuthentications=publickey",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "ControlMaster=yes",
    "ControlPersist=no",
    // A guest that is gone is noticed after half a minute also when nothing is asked of it; a busy one is not.
    "ServerAliveInterval=5",
    "ServerAliveCountMax=6",
    // Banners of the server are not shown: they could be taken for the client's own words.
    "LogLevel=ERROR",
];

/// The client's own words are short.
const MAX_LOG: u64 = 16 << 10;

/// An open connection; dropping it closes it and removes its folder.
#[derive(Debug)]
pub(super) struct Master {
    child: Child,
    folder: Folder,
    session: Session,
}

/// Removed when dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn make(path: &Path) -> io::Result<Self> {
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        // Fails when somebody made it just now.
        DirBuilder::new().mode(0o700).create(path)?;
        Ok(Self(path.to_path_buf()))
    }

    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    fn said(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(log) = File::open(self.log()) {
            // What cannot be read is nothing that was said.
            let _ = log.take(MAX_LOG).read_to_end(&mut bytes);
        }
        bytes
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Master {
    /// Connects within `limit`. The client runs in the namespaces of the calling thread, and ends with it.
    pub(super) fn connect(target: &SshTarget, folder: &Path, limit: Duration) -> Result<Self, SshError> {
        let started = Instant::now();
        let folder = Folder::make(folder).map_err(SshError::Client)?;
        let log = File::create(folder.log()).map_err(SshError::Client)?;
        let child = command(target, &folder, limit)
            .stderr(log)
            .spawn()
            .map_err(SshError::Client)?;
        let mut child = Ends(Some(child));
        let failed = |problem| ConnectError::new(target, problem);
        loop {
            // It is made, complete, when the guest has let the client in.
            if folder.control().exists() {
                let session = Session::resume_mux(folder.control().into_boxed_path(), None);
                let child = child.0.take().ok_or(SshError::Request("no client"))?;
                return Ok(Self {
                    child,
                    folder,
                    session,
                });
            }
            if child.has_ended().map_err(SshError::Client)? {
                return Err(failed(Problem::named(&folder.said())).into());
            }
            if started.elapsed() > limit {
                return Err(failed(Problem::Silent(limit)).into());
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What the client said of its end, tamed.
    pub(super) fn said(&self) -> String {
        tame(&self.folder.said())
    }
}

impl Drop for Master {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A client that is ended unless it is taken.
struct Ends(Option<Child>);

impl Ends {
    fn has_ended(&mut self) -> io::Result<bool> {
        match &mut self.0 {
            Some(child) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            end(child);
        }
    }
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn command(target: &SshTarget, folder: &Folder, limit: Duration) -> Command {
    // The kernel ends the client with the thread that started it, also when kvmtune is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--", "ssh", "-F", "none", "-M", "-N", "-T"]);
    command.arg("-S").arg(folder.control());
    for option in OPTIONS {
        command.args(["-o", option]);
    }
    // A little more than is waited here, so that an address without answer is always told in the same way.
    let seconds = limit.as_secs() + 2;
    command.arg("-o").arg(format!("ConnectTimeout={seconds}"));
    command
        .arg("-o")
        .arg(format!("UserKnownHostsFile={}", target.known_hosts));
    command.args(["-i", &target.identity, "-l", &target.user]);
    command.args(["-p", &target.port.to_string(), "--", &target.host]);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        // Ctrl-C ends a run, whose settings are still to be given back over this connection.
        .process_group(0);
    command
}
