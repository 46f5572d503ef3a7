//! Where a guest's ssh server is, and the files that say who may use it and how it is known.
//!
//! Does not know how it is reached.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// An ssh server of a guest. What stands in it is safe as a word of ssh's command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SshTarget {
    /// An address, or a name that the host can resolve.
    pub host: String,
    /// Its TCP port.
    pub port: u16,
    /// The user in the guest.
    pub user: String,
    /// File of the private key on this host.
    pub identity: String,
    /// File on this host with the guest's host key.
    pub known_hosts: String,
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} port {}", self.user, self.host, self.port)
    }
}

/// An address, or a DNS name: nothing that ssh would take for an option, a user or a URI.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let tame = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len())
            && label.chars().all(tame)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A name whose last label is a number is taken for an address by the resolver, and is none.
    let numeric = |label: &str| label.chars().all(|c| c.is_ascii_digit());
    let is_name =
        text.len() <= 253 && text.split('.').all(label) && !text.rsplit('.').next().is_some_and(numeric);
    text.parse::<IpAddr>().is_ok() || is_name
}

/// A user as `useradd` allows them.
pub(super) fn is_user(text: &str) -> bool {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    (1..=32).contains(&text.len())
        && text.chars().all(tame)
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// An absolute path without what ssh expands or splits in the values of its options.
pub(super) fn is_key_file(text: &str) -> bool {
    let tame = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '@' | '+');
    text.starts_with('/') && !text.ends_with('/') && text.len() <= 300 && text.chars().all(tame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_an_address_or_a_name() {
        for good in [
            "10.0.0.5",
            "::1",
            "fe80::5054:ff:fe00:1",
            "web",
            "web-1.example.org",
            "xn--bcher-kva.example",
        ] {
            assert!(is_host(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in [
            "",
            "-oProxyCommand=reboot",
            "root@web",
            "ssh://web",
            "web:22",
            "web web",
            "web;reboot",
            "$(reboot)",
            "web..example",
            "web.",
            ".web",
            "web-",
            "10.0.0",
            "10.0.0.256",
            "fe80::1%eth0",
            "[::1]",
            "w\u{e4}b",
            "web\n",
            long.as_str(),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
    }

    #[test]
    fn users_and_files_are_tame() {
        for good in ["root", "kvm_tune-1", "_apt", "a.b"] {
            assert!(is_user(good), "{good}");
        }
        for bad in ["", "-l", "1a", "a b", "a@b", "a;b", "a%h"] {
            assert!(!is_user(bad), "{bad}");
        }
        assert!(is_key_file("/root/.ssh/id_ed25519"));
        for bad in [
            "",
            "/",
            "~/.ssh/id",
            "id",
            "/a b",
            "/a%h",
            "/a\"b",
            "/a,b",
            "/a\n",
            "/root/.ssh/",
            "/a${HOME}",
        ] {
            assert!(!is_key_file(bad), "{bad}");
        }
    }
}
