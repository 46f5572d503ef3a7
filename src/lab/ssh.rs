//! An ssh server in the lab's guest, for experiments that ask for one: keys of this lab alone, and its start.
//!
//! The image stays the same for all labs, so the keys reach the guest through its agent. Does not know the client.

use super::image::find;
use super::{GUEST_ADDRESS, LabError, LabPlace, file_error};
use crate::experiment::SshTarget;
use crate::host::agent::{Agent, AgentError};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const PORT: u16 = 22;

/// Takes the authorized key as an argument and the host's key from standard input, then starts the server on the lab's
/// address, without passwords and forwarding; it goes to the background when it listens.
const START: &str = r#"
set -e
(umask 077; mkdir -p /root/.ssh /run/dropbear; echo "$1" >/root/.ssh/authorized_keys; cat >/run/dropbear/host)
exec dropbear -s -j -k -m -p "$2" -r /run/dropbear/host -P /run/dropbear/pid
"#;

/// What the lab needs for it on the host, with the packages.
pub const PROGRAMS: [(&str, &str); 4] = [
    ("dropbear", "dropbear-bin"),
    ("dropbearkey", "dropbear-bin"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
];

/// The keys of one lab's guest and of its only user.
#[derive(Debug)]
pub struct LabSsh {
    target: SshTarget,
    authorized: String,
    host_key: PathBuf,
}

impl LabSsh {
    /// Makes the keys below the lab's root, which goes with the lab.
    pub(super) fn make(place: &LabPlace) -> Result<Self, LabError> {
        let folder = place.root.join("keys");
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|source| file_error("make", &folder, source))?;
        let (identity, host_key, known_hosts) =
            (folder.join("id"), folder.join("host"), folder.join("known_hosts"));
        let user_words = ["-q", "-t", "ed25519", "-N", "", "-C", "kvmtune", "-f"];
        make_key("ssh-keygen", &user_words, &identity)?;
        let public = folder.join("id.pub");
        let authorized = fs::read_to_string(&public).map_err(|source| file_error("read", &public, source))?;
        let said = make_key("dropbearkey", &["-t", "ed25519", "-f"], &host_key)?;
        let host_line = public_part(&said).ok_or_else(|| LabError::Key {
            program: "dropbearkey",
            said: "it printed no public key".into(),
        })?;
        fs::write(&known_hosts, format!("{GUEST_ADDRESS} {host_line}\n"))
            .map_err(|source| file_error("write", &known_hosts, source))?;
        Ok(Self {
            target: SshTarget {
                host: GUEST_ADDRESS.to_string(),
                port: PORT,
                user: "root".into(),
                identity: identity.display().to_string(),
                known_hosts: known_hosts.display().to_string(),
            },
            authorized: authorized.trim().to_string(),
            host_key,
        })
    }

    /// Where it will listen.
    pub fn target(&self) -> &SshTarget {
        &self.target
    }

    /// Starts the server in a guest that has just booted.
    pub fn start(&self, agent: &Agent) -> Result<(), LabError> {
        let key = fs::read(&self.host_key).map_err(|source| file_error("read", &self.host_key, source))?;
        let listen = format!("{}:{PORT}", self.target.host);
        let argv = ["/bin/sh", "-c", START, "kvmtune", &self.authorized, &listen];
        let failed = |source: AgentError| LabError::SshServer(source.to_string());
        let done = agent
            .exec(&argv, Some(&key), Duration::from_secs(20))
            .map_err(failed)?;
        if done.exit_code == 0 {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).trim().to_string();
        Err(LabError::SshServer(format!(
            "exit code {}: {said}",
            done.exit_code
        )))
    }
}

/// Runs a program that makes a key and returns what it printed.
fn make_key(program: &'static str, words: &[&str], file: &Path) -> Result<String, LabError> {
    let failed = |said: String| LabError::Key { program, said };
    let path = find(program).ok_or_else(|| failed("it is not installed".into()))?;
    let done = Command::new(path)
        .args(words)
        .arg(file)
        .stdin(Stdio::null())
        .output();
    let done = done.map_err(|e| failed(e.to_string()))?;
    if done.status.success() {
        return Ok(String::from_utf8_lossy(&done.stdout).into_owned());
    }
    Err(failed(String::from_utf8_lossy(&done.stderr).trim().to_string()))
}

/// Kind and key of the line that dropbearkey prints among others.
fn public_part(said: &str) -> Option<String> {
    let line = said.lines().find(|line| line.starts_with("ssh-ed25519 "))?;
    let mut words = line.split_whitespace();
    Some(format!("{} {}", words.next()?, words.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_public_key_is_found_among_other_words() {
        let said = "Generating 256 bit ed25519 key, this may take a while...\nPublic key portion is:\n\
                    ssh-ed25519 AAAAC3 root@host\nFingerprint: SHA256:x\n";
        assert_eq!(public_part(said).as_deref(), Some("ssh-ed25519 AAAAC3"));
        assert_eq!(public_part("Public key portion is:\nssh-ed25519 \n"), None);
    }
}
