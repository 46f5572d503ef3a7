//! The agent's replies as they travel. Private: nothing outside sees an unchecked reply.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Real agents know about fifty commands.
const MAX_COMMANDS: usize = 1000;
const MAX_NAME: usize = 64;

/// The envelope of every reply that is not an error (libvirt turns those into its own).
#[derive(Deserialize)]
struct Reply<T> {
    #[serde(rename = "return")]
    value: T,
}

/// `{}`: newer agents may say more, which is ignored.
#[derive(Deserialize)]
pub(super) struct Empty {}

#[derive(Deserialize)]
pub(super) struct Pid {
    pub(super) pid: i64,
}

#[derive(Deserialize)]
pub(super) struct Read {
    pub(super) count: u64,
    #[serde(rename = "buf-b64")]
    pub(super) buf: String,
    pub(super) eof: bool,
}

#[derive(Deserialize)]
pub(super) struct Written {
    pub(super) count: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct ExecStatus {
    pub(super) exited: bool,
    pub(super) exitcode: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) out_data: Option<String>,
    pub(super) err_data: Option<String>,
    #[serde(default)]
    pub(super) out_truncated: bool,
    #[serde(default)]
    pub(super) err_truncated: bool,
}

#[derive(Deserialize)]
pub(super) struct Info {
    version: String,
    supported_commands: Vec<Command>,
}

#[derive(Deserialize)]
struct Command {
    name: String,
    enabled: bool,
}

/// What an agent says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentInfo {
    /// Its version, as it writes it.
    pub version: String,
    /// Commands it carries out.
    pub enabled: BTreeSet<String>,
    /// Commands it knows, but was told to refuse.
    pub disabled: BTreeSet<String>,
}

impl AgentInfo {
    /// The commands this program needs to measure in a guest.
    pub const NEEDED: [&str; 7] = [
        "guest-exec",
        "guest-exec-status",
        "guest-file-close",
        "guest-file-flush",
        "guest-file-open",
        "guest-file-read",
        "guest-file-write",
    ];

    /// Those of [`AgentInfo::NEEDED`] this agent does not carry out.
    pub fn lacking(&self) -> Vec<&'static str> {
        Self::NEEDED
            .into_iter()
            .filter(|name| !self.enabled.contains(*name))
            .collect()
    }
}

impl Info {
    pub(super) fn checked(self) -> Result<AgentInfo, String> {
        let clean =
            |text: &str| text.len() <= MAX_NAME && text.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if self.supported_commands.len() > MAX_COMMANDS {
            return Err(format!("{} commands", self.supported_commands.len()));
        }
        if !clean(&self.version) || !self.supported_commands.iter().all(|c| clean(&c.name)) {
            return Err("a version or command name that is too long or not printable".to_owned());
        }
        let (enabled, disabled): (Vec<_>, Vec<_>) =
            self.supported_commands.into_iter().partition(|c| c.enabled);
        let names = |commands: Vec<Command>| commands.into_iter().map(|c| c.name).collect();
        Ok(AgentInfo {
            version: self.version,
            enabled: names(enabled),
            disabled: names(disabled),
        })
    }
}

pub(super) fn parse<T: DeserializeOwned>(reply: &str) -> Result<T, String> {
    serde_json::from_str::<Reply<T>>(reply)
        .map(|reply| reply.value)
        .map_err(|e| e.to_string())
}
