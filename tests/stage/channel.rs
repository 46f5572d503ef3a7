//! The way to the lab host's agent: QEMU's socket, without libvirt.

use kvmtune::host::agent::Agent;
use kvmtune::host::libvirt::LibvirtError;
use serde_json::{Value, json};
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// As libvirt numbers its errors.
const INTERNAL_ERROR: u32 = 1;
const AGENT_UNRESPONSIVE: u32 = 86;
/// Its agent is given at least this: a lab host is emulated, and what it boots is emulated by that, on cores which
/// other work may have too.
const PATIENCE: Duration = Duration::from_mins(2);

/// A socket, connected when the first command is sent.
pub(super) struct Channel {
    socket: PathBuf,
    stream: Option<BufReader<UnixStream>>,
    syncs: u32,
    has_answered: bool,
}

impl Channel {
    pub(super) fn to(socket: PathBuf) -> Self {
        Self {
            socket,
            stream: None,
            syncs: 0,
            has_answered: false,
        }
    }

    pub(super) fn agent(self) -> Agent {
        let channel = Mutex::new(self);
        Agent::over(move |json, limit| channel.lock().unwrap().ask(json, limit))
    }

    fn ask(&mut self, json: &str, limit: Duration) -> Result<String, LibvirtError> {
        let reply = self.talk(json, Instant::now() + limit.max(PATIENCE));
        let reply = reply.map_err(|error| {
            let is_late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
            assert!(
                !(is_late && self.has_answered),
                "the lab host hangs: its agent answers nothing any more"
            );
            // Whatever comes late is not to be taken for the next command's answer.
            self.stream = None;
            failure(AGENT_UNRESPONSIVE, error.to_string())
        })?;
        self.has_answered = true;
        match serde_json::from_str::<Value>(&reply) {
            Ok(value) if value.get("error").is_some() => {
                let command = serde_json::from_str::<Value>(json).unwrap_or_default();
                let text = format!(
                    "agent command '{}': {}",
                    command["execute"].as_str().unwrap_or(""),
                    value["error"]
                );
                Err(failure(INTERNAL_ERROR, text))
            }
            _ => Ok(reply),
        }
    }

    fn talk(&mut self, json: &str, until: Instant) -> io::Result<String> {
        if self.stream.is_none() {
            self.stream = Some(BufReader::new(self.connect(until)?));
            self.syncs += 1;
            let sync = json!({ "execute": "guest-sync", "arguments": { "id": self.syncs } });
            self.send(&sync.to_string())?;
            let answer = json!({ "return": self.syncs });
            while serde_json::from_str::<Value>(&self.receive(until)?).ok() != Some(answer.clone()) {}
        }
        self.send(json)?;
        self.receive(until)
    }

    /// QEMU makes the socket a moment after it starts; one that answered before and does not now has ended.
    fn connect(&self, until: Instant) -> io::Result<UnixStream> {
        loop {
            match UnixStream::connect(&self.socket) {
                Err(_) if !self.has_answered && Instant::now() < until => {
                    thread::sleep(Duration::from_millis(20));
                }
                done => return done,
            }
        }
    }

    fn stream(&mut self) -> io::Result<&mut BufReader<UnixStream>> {
        self.stream
            .as_mut()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn send(&mut self, json: &str) -> io::Result<()> {
        self.stream()?.get_mut().write_all(format!("{json}\n").as_bytes())
    }

    fn receive(&mut self, until: Instant) -> io::Result<String> {
        let left = until.saturating_duration_since(Instant::now());
        let stream = self.stream()?;
        stream
            .get_mut()
            .set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut line = String::new();
        match stream.read_line(&mut line)? {
            0 => Err(io::Error::other("QEMU ended")),
            _ => Ok(line),
        }
    }
}

fn failure(code: u32, message: String) -> LibvirtError {
    LibvirtError {
        code,
        domain: 0,
        message,
        doing: "ask the lab host's agent".into(),
    }
}
