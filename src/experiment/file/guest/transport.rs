//! How the guest is reached: `transport` and `ssh` of the `[guest]` table.

use crate::decode::{Field, Reader};
use crate::experiment::SshTarget;
use crate::experiment::ssh::{is_host, is_key_file, is_user};

const DEFAULT_PORT: u16 = 22;
const DEFAULT_USER: &str = "root";

#[derive(Clone, Copy, PartialEq)]
enum Transport {
    Agent,
    Ssh,
}

const WORDS: [(&str, Transport); 2] = [("agent", Transport::Agent), ("ssh", Transport::Ssh)];

/// Whether the lab's guest is reached by ssh.
pub(super) fn lab(table: &mut Reader<'_>) -> Option<bool> {
    table.refuse(
        "ssh",
        "it is for a domain of yours; transport = \"ssh\" is all the lab needs",
    );
    let stated = table
        .take("transport")
        .map_or(Some(Transport::Agent), |f| f.word(&WORDS));
    Some(stated? == Transport::Ssh)
}

/// There was a mistake, and the user is told of it.
pub(super) struct Told;

/// The ssh server of a user's guest, when it is reached by that.
pub(super) fn domain(table: &mut Reader<'_>) -> Result<Option<SshTarget>, Told> {
    let transport = table.take("transport");
    let server = table.take("ssh");
    let stated = match &transport {
        Some(field) => Some(field.word(&WORDS).ok_or(Told)?),
        None => None,
    };
    match (stated, server) {
        (None | Some(Transport::Agent), None) => Ok(None),
        (None | Some(Transport::Ssh), Some(server)) => target(&server).map(Some).ok_or(Told),
        (Some(Transport::Agent), Some(server)) => {
            server.wrong(
                "`ssh` has no meaning here",
                "remove it, or write transport = \"ssh\"",
            );
            Err(Told)
        }
        (Some(Transport::Ssh), None) => {
            if let Some(field) = transport {
                field.wrong(
                    "nothing says where the guest's ssh server is",
                    "add ssh = { host = \"10.0.0.5\", identity = \"/root/.ssh/id_ed25519\", known-hosts = \
                     \"/root/.ssh/known_hosts\" }",
                );
            }
            Err(Told)
        }
    }
}

fn target(field: &Field<'_>) -> Option<SshTarget> {
    let mut table = field.table()?;
    let host = table
        .required("host", "write the guest's address, such as host = \"10.0.0.5\"")
        .and_then(|f| f.text_if(is_host, "an IP address or a DNS name, such as \"10.0.0.5\""));
    let port = table.take("port").map_or(Some(DEFAULT_PORT), |f| {
        f.integer(1..=65535).and_then(|n| u16::try_from(n).ok())
    });
    let user = table.take("user").map_or(Some(DEFAULT_USER), |f| {
        f.text_if(is_user, "a user's name: letters, digits, `_`, `-`, `.`")
    });
    let path = "an absolute path of letters, digits, `/`, `.`, `_`, `-`, `@`, `+`";
    let identity = table
        .required("identity", "name the file of a private key without a passphrase")
        .and_then(|f| f.text_if(is_key_file, path));
    let known_hosts = table
        .required(
            "known-hosts",
            "name the file that holds the guest's host key; kvmtune never accepts an unknown one",
        )
        .and_then(|f| f.text_if(is_key_file, path));
    table.finish();
    Some(SshTarget {
        host: host?.to_string(),
        port: port?,
        user: user?.to_string(),
        identity: identity?.to_string(),
        known_hosts: known_hosts?.to_string(),
    })
}
