//! Why there is no connection, from the words of the ssh client, and what mends it.
//! It does not know how the client is started.

use super::tame;
use crate::experiment::SshTarget;
use std::fmt;
use std::time::Duration;

/// No connection to an ssh server: why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectError {
    /// Where to.
    pub target: Box<SshTarget>,
    /// Why not.
    pub problem: Problem,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Nothing listens.
    Refused,
    /// No way there, or no answer.
    Unreachable,
    /// Nothing came in time.
    Silent(Duration),
    /// The name leads nowhere.
    UnknownName,
    /// The server broke off.
    Closed,
    /// The server's key is not in the file of known hosts.
    UnknownHostKey,
    /// Another key is there.
    ChangedHostKey,
    /// The user's key is not accepted.
    Denied,
    /// The file of the user's key may be read by others: ssh does not use it.
    OpenKeyFile,
    /// The file of the user's key cannot be used.
    BadKeyFile,
    /// Anything else, as the client said it.
    Other(String),
}

impl Problem {
    /// What the client's words mean; the first that fits counts, so the more telling come first.
    pub(super) fn named(log: &[u8]) -> Self {
        let text = String::from_utf8_lossy(log);
        let signs = [
            ("REMOTE HOST IDENTIFICATION HAS CHANGED", Self::ChangedHostKey),
            ("Host key verification failed", Self::UnknownHostKey),
            ("UNPROTECTED PRIVATE KEY FILE", Self::OpenKeyFile),
            ("Load key ", Self::BadKeyFile),
            ("no such identity", Self::BadKeyFile),
            ("Permission denied (", Self::Denied),
            ("Too many authentication failures", Self::Denied),
            ("Connection refused", Self::Refused),
            ("Could not resolve hostname", Self::UnknownName),
            ("No route to host", Self::Unreachable),
            ("Network is unreachable", Self::Unreachable),
            ("timed out", Self::Unreachable),
            ("Connection closed", Self::Closed),
            ("Connection reset", Self::Closed),
            ("kex_exchange_identification", Self::Closed),
        ];
        let found = signs.into_iter().find(|(sign, _)| text.contains(sign));
        found.map_or_else(|| Self::Other(tame(log)), |(_, problem)| problem)
    }

    /// Whether waiting cannot help: a guest that boots becomes reachable, but does not change keys.
    pub fn is_final(&self) -> bool {
        match self {
            Self::UnknownHostKey
            | Self::ChangedHostKey
            | Self::Denied
            | Self::OpenKeyFile
            | Self::BadKeyFile => true,
            Self::Refused
            | Self::Unreachable
            | Self::Silent(_)
            | Self::UnknownName
            | Self::Closed
            | Self::Other(_) => false,
        }
    }
}

impl ConnectError {
    pub(super) fn new(target: &SshTarget, problem: Problem) -> Self {
        Self {
            target: Box::new(target.clone()),
            problem,
        }
    }

    /// Why, in words.
    pub fn why(&self) -> String {
        let SshTarget {
            identity,
            known_hosts,
            user,
            ..
        } = &*self.target;
        match &self.problem {
            Problem::Refused => "the connection is refused: nothing listens there".into(),
            Problem::Unreachable => "nothing answers at that address".into(),
            Problem::Silent(limit) => format!("no connection within {limit:.0?}"),
            Problem::UnknownName => "its name cannot be resolved".into(),
            Problem::Closed => "the server closed the connection".into(),
            Problem::UnknownHostKey => format!("its host key is not known: {known_hosts} does not have it"),
            Problem::ChangedHostKey => format!(
                "its host key has changed: it is not the one in {known_hosts}, and another machine may be answering"
            ),
            Problem::Denied => {
                format!("permission denied: the guest does not accept the key {identity} for {user}")
            }
            Problem::OpenKeyFile => format!("ssh does not use the key {identity}: others may read it"),
            Problem::BadKeyFile => format!("{identity} is no private key that ssh can use"),
            Problem::Other(said) if said.is_empty() => "the ssh client ended without a word".into(),
            Problem::Other(said) => said.clone(),
        }
    }

    /// A step that mends it.
    pub fn mend(&self) -> String {
        let SshTarget {
            host,
            port,
            user,
            identity,
            known_hosts,
        } = &*self.target;
        // How ssh names a host in that file.
        let name = if *port == 22 {
            host.clone()
        } else {
            format!("[{host}]:{port}")
        };
        match &self.problem {
            Problem::Refused => "start sshd in the guest, or correct `host` and `port`".into(),
            Problem::Unreachable | Problem::Silent(_) => {
                "see that the guest has this address, and that no firewall is between".into()
            }
            Problem::UnknownName => "correct `host`, or write the guest's address".into(),
            Problem::Closed => "look into the log of sshd in the guest".into(),
            Problem::UnknownHostKey => format!(
                "add the line that `ssh-keyscan -p {port} {host}` prints to {known_hosts}, once its key is the one in \
                 the guest's /etc/ssh/ssh_host_*_key.pub"
            ),
            Problem::ChangedHostKey => format!(
                "find out who answers; only when the guest has a new key, remove the old one: ssh-keygen -R '{name}' \
                 -f {known_hosts}"
            ),
            Problem::Denied => format!(
                "in the guest, add the line of {identity}.pub to the file .ssh/authorized_keys of {user}; a key with a \
                 passphrase cannot be used"
            ),
            Problem::OpenKeyFile => format!("chmod 600 {identity}"),
            Problem::BadKeyFile => "name the private key, without a passphrase, as `identity`".into(),
            Problem::Other(_) => format!("try `ssh -F none -i {identity} -p {port} {user}@{host} true`"),
        }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot reach the guest by ssh as {}: {}; {}",
            self.target,
            self.why(),
            self.mend()
        )
    }
}

impl std::error::Error for ConnectError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_words_are_understood() {
        let cases = [
            (
                "No ED25519 host key is known for 10.0.0.5 and you have requested strict checking.\r\n\
                 Host key verification failed.\r\n",
                Problem::UnknownHostKey,
            ),
            (
                "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\r\nHost key verification failed.\r\n",
                Problem::ChangedHostKey,
            ),
            (
                "ssh: connect to host 10.0.0.5 port 22: Connection refused\r\n",
                Problem::Refused,
            ),
            (
                "ssh: connect to host 10.0.0.5 port 22: No route to host\r\n",
                Problem::Unreachable,
            ),
            (
                "ssh: connect to host 10.0.0.5 port 22: Connection timed out\r\n",
                Problem::Unreachable,
            ),
            (
                "ssh: Could not resolve hostname nope: Name or service not known\r\n",
                Problem::UnknownName,
            ),
            (
                "root@10.0.0.5: Permission denied (publickey).\r\n",
                Problem::Denied,
            ),
            (
                "@ WARNING: UNPROTECTED PRIVATE KEY FILE! @\r\nLoad key \"/k\": bad permissions\r\n\
                 root@10.0.0.5: Permission denied (publickey).\r\n",
                Problem::OpenKeyFile,
            ),
            (
                "Load key \"/k\": error in libcrypto\r\nroot@10.0.0.5: Permission denied (publickey).\r\n",
                Problem::BadKeyFile,
            ),
            (
                "kex_exchange_identification: Connection closed by remote host\r\n",
                Problem::Closed,
            ),
            ("\u{1b}[2Jodd\r\n", Problem::Other("[2Jodd".into())),
        ];
        for (said, problem) in cases {
            assert_eq!(Problem::named(said.as_bytes()), problem, "{said}");
        }
    }

    #[test]
    fn an_error_names_where_why_and_what_next() {
        let target = SshTarget {
            host: "10.0.0.5".into(),
            port: 2222,
            user: "root".into(),
            identity: "/k/id".into(),
            known_hosts: "/k/known".into(),
        };
        let error = ConnectError::new(&target, Problem::ChangedHostKey).to_string();
        for part in [
            "root@10.0.0.5 port 2222",
            "has changed",
            "/k/known",
            "ssh-keygen -R '[10.0.0.5]:2222'",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
