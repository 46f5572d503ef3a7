//! A network of the lab's own: one namespace, one bridge. It does not know the guests on it.

use std::io;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};

/// Why the private network could not be made.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The bridge's name is not one.
    #[error("{0:?} is no name for a bridge: use 1 to 15 letters, digits and `-`, starting with a letter")]
    Name(String),
    /// The prefix length leaves no room for hosts.
    #[error("a prefix length of {0} leaves no addresses for guests; use 8 to 30")]
    Prefix(u8),
    /// No namespace of its own.
    #[error("cannot enter a network namespace; run as root with CAP_SYS_ADMIN")]
    Namespace(#[source] Errno),
    /// `ip` is missing.
    #[error("cannot run `ip`; install iproute2")]
    NoIp(#[source] io::Error),
    /// `ip` refused.
    #[error("`ip {arguments}` failed: {message}")]
    Ip {
        /// What `ip` was told.
        arguments: String,
        /// What it answered.
        message: String,
    },
}

/// Moves the calling thread into a network namespace of its own that holds loopback and a bridge with
/// `address/prefix`.
///
/// Only this thread and those it spawns later are inside: call it first, before a runtime or libvirt
/// starts threads. The namespace ends with its last process, and nothing outside it changes.
pub fn enter_private_network(bridge: &str, address: Ipv4Addr, prefix: u8) -> Result<(), NetError> {
    let letters = bridge.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    if bridge.len() > 15 || !letters || !bridge.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(NetError::Name(bridge.to_owned()));
    }
    if !(8..=30).contains(&prefix) {
        return Err(NetError::Prefix(prefix));
    }
    unshare(CloneFlags::CLONE_NEWNET).map_err(NetError::Namespace)?;
    ip(&["link", "set", "lo", "up"])?;
    ip(&["link", "add", "name", bridge, "type", "bridge"])?;
    ip(&["address", "add", &format!("{address}/{prefix}"), "dev", bridge])?;
    ip(&["link", "set", bridge, "up"])
}

fn ip(arguments: &[&str]) -> Result<(), NetError> {
    let mut command = Command::new("ip");
    let done = command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(NetError::NoIp)?;
    if done.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(NetError::Ip {
        arguments: arguments.join(" "),
        message,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_names_and_prefixes_never_reach_the_kernel() {
        for name in ["", "-br", "a b", "br;x", "a-name-that-is-long", "0br"] {
            let refused = enter_private_network(name, Ipv4Addr::LOCALHOST, 24);
            assert!(matches!(refused, Err(NetError::Name(_))), "{name}");
        }
        let refused = enter_private_network("br0", Ipv4Addr::LOCALHOST, 31);
        assert!(matches!(refused, Err(NetError::Prefix(31))));
    }
}
