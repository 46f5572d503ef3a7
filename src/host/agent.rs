//! The guest agent's protocol: ping, files, short commands.
//! It does not know how a command reaches the guest, nor what the commands are for.
//!
//! The guest is not trusted: replies are parsed strictly, sizes and times are bounded.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::libvirt::{Domain, LibvirtError, LibvirtErrorKind};

#[cfg(test)]
mod tests;
mod wire;

pub use wire::AgentInfo;

/// The most bytes read by one command: above 8 MiB the agent, or libvirt's limit of 10 MiB per reply,
/// breaks.
const READ_CHUNK: usize = 1 << 20;

/// The most bytes written by one command, and the longest request: with libvirt 9.0 and QEMU 7.2
/// 128 KiB of data arrived, while a request with 256 KiB was never answered.
const WRITE_CHUNK: usize = 64 << 10;
pub(super) const MAX_REQUEST: usize = 128 << 10;

/// The most bytes one command may write to each output: libvirt refuses longer replies.
const MAX_EXEC_OUTPUT: usize = 4 << 20;

/// The longest reply looked at.
const MAX_REPLY: usize = 11 << 20;

/// Each single command's limit; libvirt counts whole seconds.
const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// A whole file must be through in this time, however small the pieces a guest hands out.
const FILE_LIMIT: Duration = Duration::from_mins(2);

/// Why the agent did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No reply in time, or nobody connected.
    #[error("the guest agent did not answer {command} within {after:.1?}")]
    NotAnswering {
        /// The agent's command.
        command: &'static str,
        /// How long it was waited for.
        after: Duration,
        /// What libvirt said.
        #[source]
        source: LibvirtError,
    },
    /// The guest or its agent answered with an error.
    #[error("the guest refused {command} on {object}")]
    Refused {
        /// The agent's command.
        command: &'static str,
        /// The file or program.
        object: String,
        /// What it answered.
        #[source]
        source: LibvirtError,
    },
    /// libvirt failed: the domain may be gone.
    #[error("cannot send {command} to the guest agent")]
    Transport {
        /// The agent's command.
        command: &'static str,
        /// What libvirt said.
        #[source]
        source: LibvirtError,
    },
    /// The reply is not what the protocol allows.
    #[error(
        "the guest agent answered {command} with nonsense: {detail}; update qemu-guest-agent in the guest"
    )]
    Malformed {
        /// The agent's command.
        command: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// More data than the caller allows.
    #[error("{object} in the guest holds more than {limit} bytes")]
    TooLarge {
        /// The file or output.
        object: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The command or file took too long; a command was killed.
    #[error("{object} in the guest did not finish within {limit:.1?}; it was stopped")]
    TooSlow {
        /// The program or file.
        object: String,
        /// The limit.
        limit: Duration,
    },
    /// The command may have run, but its result is gone: the agent tells it only once.
    #[error("the result of {object} in the guest is lost; run it again if that is safe")]
    ResultLost {
        /// The program.
        object: String,
    },
    /// A request that cannot be sent.
    #[error("cannot ask the guest agent for this: {0}")]
    Request(&'static str),
}

/// What a finished command left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecOutput {
    /// The exit code; 128 plus the signal's number after a signal, as shells have it.
    pub exit_code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

type Transport = dyn Fn(&str, Duration) -> Result<String, LibvirtError> + Send + Sync;

/// The agent in one guest. Commands go one at a time, whoever asks.
pub struct Agent {
    send: Box<Transport>,
    turn: Mutex<()>,
}

impl std::fmt::Debug for Agent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Agent").finish_non_exhaustive()
    }
}

impl Agent {
    /// The agent of a libvirt domain.
    pub fn new(domain: Domain) -> Self {
        Self::over(move |json, limit| domain.agent_command(json, limit))
    }

    /// An agent reached by `send`, which takes a command as JSON and its time limit.
    pub fn over(
        send: impl Fn(&str, Duration) -> Result<String, LibvirtError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            send: Box::new(send),
            turn: Mutex::new(()),
        }
    }

    /// Whether the agent answers within `limit` (whole seconds).
    pub fn ping(&self, limit: Duration) -> Result<(), AgentError> {
        let _: wire::Empty = self.call_within("guest-ping", "the agent", &json!({}), limit)?;
        Ok(())
    }

    /// The agent's version and the commands it allows: guests often block `guest-exec` and
    /// `guest-file-*`.
    pub fn info(&self) -> Result<AgentInfo, AgentError> {
        let info: wire::Info = self.call("guest-info", "the agent", &json!({}))?;
        info.checked().map_err(|detail| malformed("guest-info", detail))
    }

    /// What the guest's clock shows, since 1970; and how long the question took: it was read somewhere within that time.
    pub fn time(&self) -> Result<(Duration, Duration), AgentError> {
        let asked = Instant::now();
        let nanoseconds: u64 = self.call("guest-get-time", "the clock", &json!({}))?;
        Ok((Duration::from_nanos(nanoseconds), asked.elapsed()))
    }

    /// Reads a file of at most `max_bytes`. Files of procfs and sysfs, whose size is 0, work.
    pub fn read_file(&self, path: &str, max_bytes: usize) -> Result<Vec<u8>, AgentError> {
        let handle = self.open_file(path, "r")?;
        let read = self.read_handle(handle, path, max_bytes);
        // What was read is valid whether or not the agent could close; a handle left is the guest's loss.
        drop(self.close_file(handle, path));
        read
    }

    /// Whether a file can be opened. Every refusal counts as no: the messages are the guest's, in its
    /// language, and what stays wrong runs into the time limit.
    pub fn exists(&self, path: &str) -> Result<bool, AgentError> {
        match self.open_file(path, "r") {
            Ok(handle) => self.close_file(handle, path).map(|()| true),
            Err(AgentError::Refused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes a file, with what is there before replaced. A kernel file's refusal (`EINVAL` of a
    /// sysctl) comes back as [`AgentError::Refused`].
    pub fn write_file(&self, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let handle = self.open_file(path, "w")?;
        let written = self.write_handle(handle, path, bytes);
        let closed = self.close_file(handle, path);
        written.and(closed)
    }

    /// Runs a short command and waits for its end. Its output must stay below 4 MiB: the agent holds
    /// all of it in memory and breaks above 8 MiB, so anything longer is a job. Arguments and standard
    /// input together must stay below 96 KiB.
    pub fn exec(
        &self,
        argv: &[&str],
        stdin: Option<&[u8]>,
        limit: Duration,
    ) -> Result<ExecOutput, AgentError> {
        let started = Instant::now();
        let (&program, arguments) = argv
            .split_first()
            .ok_or(AgentError::Request("no program to run"))?;
        let mut request = json!({ "path": program, "arg": arguments, "capture-output": true });
        if let Some(bytes) = stdin {
            request["input-data"] = Value::String(BASE64.encode(bytes));
        }
        let pid = self.call::<wire::Pid>("guest-exec", program, &request)?.pid;
        let mut pause = Duration::from_millis(5);
        loop {
            match self.exec_status(pid, program) {
                Ok(Some(output)) => return Ok(output),
                Ok(None) => {}
                // A late agent is asked again: it may have dropped the result, but only if it was there.
                Err(AgentError::NotAnswering { .. }) if started.elapsed() < limit => {}
                Err(error) => return Err(error),
            }
            if started.elapsed() >= limit {
                self.kill_exec(pid);
                return Err(AgentError::TooSlow {
                    object: program.to_owned(),
                    limit,
                });
            }
            thread::sleep(pause.min(limit.saturating_sub(started.elapsed())));
            pause = (pause * 2).min(Duration::from_millis(500));
        }
    }

    /// The result of a command, once it ended. The agent forgets it when told: a reply that is lost on
    /// the way cannot be asked for again.
    fn exec_status(&self, pid: i64, program: &str) -> Result<Option<ExecOutput>, AgentError> {
        let command = "guest-exec-status";
        let status: wire::ExecStatus = match self.call(command, program, &json!({ "pid": pid })) {
            Err(AgentError::Refused { .. }) => {
                return Err(AgentError::ResultLost {
                    object: program.to_owned(),
                });
            }
            other => other?,
        };
        if !status.exited {
            return Ok(None);
        }
        if status.out_truncated || status.err_truncated {
            let object = format!("the output of {program}");
            return Err(AgentError::TooLarge {
                object,
                limit: MAX_EXEC_OUTPUT,
            });
        }
        let decode = |data: Option<String>| decode(command, &data.unwrap_or_default(), MAX_EXEC_OUTPUT);
        let exit_code = match (status.exitcode, status.signal) {
            (Some(code), None) => code,
            (None, Some(signal)) if (1..128).contains(&signal) => 128 + signal,
            _ => return Err(malformed(command, "neither an exit code nor a signal".to_owned())),
        };
        Ok(Some(ExecOutput {
            exit_code,
            stdout: decode(status.out_data)?,
            stderr: decode(status.err_data)?,
        }))
    }

    /// Kills a command that took too long; how that goes changes nothing for the caller.
    fn kill_exec(&self, pid: i64) {
        let script = "kill -s KILL \"$1\"";
        let request = json!({ "path": "/bin/sh", "arg": ["-c", script, "kvmtune", pid.to_string()] });
        if self.call::<wire::Pid>("guest-exec", "/bin/sh", &request).is_ok() {
            // Collects the dead command, which the agent would keep for ever.
            drop(self.exec_status(pid, "/bin/sh"));
        }
    }

    fn open_file(&self, path: &str, mode: &str) -> Result<i64, AgentError> {
        self.call("guest-file-open", path, &json!({ "path": path, "mode": mode }))
    }

    fn close_file(&self, handle: i64, path: &str) -> Result<(), AgentError> {
        let _: wire::Empty = self.call("guest-file-close", path, &json!({ "handle": handle }))?;
        Ok(())
    }

    fn read_handle(&self, handle: i64, path: &str, max_bytes: usize) -> Result<Vec<u8>, AgentError> {
        let command = "guest-file-read";
        let started = Instant::now();
        let mut bytes = Vec::new();
        loop {
            // One byte more than allowed tells a file at its limit from one beyond.
            let wanted = (max_bytes - bytes.len()).saturating_add(1).min(READ_CHUNK);
            let reply: wire::Read =
                self.call(command, path, &json!({ "handle": handle, "count": wanted }))?;
            let chunk = decode(command, &reply.buf, wanted)?;
            if Ok(chunk.len()) != usize::try_from(reply.count) {
                return Err(malformed(
                    command,
                    format!("{} bytes announced, {} sent", reply.count, chunk.len()),
                ));
            }
            bytes.extend_from_slice(&chunk);
            if bytes.len() > max_bytes {
                return Err(AgentError::TooLarge {
                    object: path.to_owned(),
                    limit: max_bytes,
                });
            }
            if reply.eof || chunk.is_empty() {
                return Ok(bytes);
            }
            if started.elapsed() > FILE_LIMIT {
                return Err(AgentError::TooSlow {
                    object: path.to_owned(),
                    limit: FILE_LIMIT,
                });
            }
        }
    }

    fn write_handle(&self, handle: i64, path: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let command = "guest-file-write";
        let started = Instant::now();
        let mut rest = bytes;
        while !rest.is_empty() {
            let (chunk, _) = rest.split_at(rest.len().min(WRITE_CHUNK));
            let request = json!({ "handle": handle, "buf-b64": BASE64.encode(chunk) });
            let reply: wire::Written = self.call(command, path, &request)?;
            let count = usize::try_from(reply.count)
                .ok()
                .filter(|&n| (1..=chunk.len()).contains(&n));
            let detail = || {
                malformed(
                    command,
                    format!("{} of {} bytes written", reply.count, chunk.len()),
                )
            };
            rest = &rest[count.ok_or_else(detail)?..];
            if started.elapsed() > FILE_LIMIT {
                return Err(AgentError::TooSlow {
                    object: path.to_owned(),
                    limit: FILE_LIMIT,
                });
            }
        }
        // The agent's writes are buffered: only now does the kernel see them, and answer.
        let _: wire::Empty = self.call("guest-file-flush", path, &json!({ "handle": handle }))?;
        Ok(())
    }

    fn call<T: DeserializeOwned>(
        &self,
        command: &'static str,
        object: &str,
        arguments: &Value,
    ) -> Result<T, AgentError> {
        self.call_within(command, object, arguments, COMMAND_LIMIT)
    }

    fn call_within<T: DeserializeOwned>(
        &self,
        command: &'static str,
        object: &str,
        arguments: &Value,
        limit: Duration,
    ) -> Result<T, AgentError> {
        let request = json!({ "execute": command, "arguments": arguments }).to_string();
        if request.len() > MAX_REQUEST {
            return Err(AgentError::Request(
                "more than 128 KiB at once; write a file in the guest first",
            ));
        }
        // The lock guards no data, so a panic of another holder left nothing broken.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let started = Instant::now();
        let reply = (self.send)(&request, limit);
        drop(turn);
        let reply = reply.map_err(|source| match source.kind() {
            LibvirtErrorKind::AgentRefused => AgentError::Refused {
                command,
                object: object.to_owned(),
                source,
            },
            _ if source.is_no_answer() => AgentError::NotAnswering {
                command,
                after: started.elapsed(),
                source,
            },
            _ => AgentError::Transport { command, source },
        })?;
        if reply.len() > MAX_REPLY {
            return Err(malformed(command, format!("{} bytes", reply.len())));
        }
        wire::parse(&reply).map_err(|detail| malformed(command, detail))
    }
}

fn malformed(command: &'static str, detail: String) -> AgentError {
    AgentError::Malformed { command, detail }
}

/// Decodes base64 of at most `limit` bytes.
fn decode(command: &'static str, text: &str, limit: usize) -> Result<Vec<u8>, AgentError> {
    let bytes = BASE64
        .decode(text)
        .map_err(|e| malformed(command, format!("no base64: {e}")))?;
    if bytes.len() > limit {
        return Err(malformed(
            command,
            format!("{} bytes where {limit} are allowed", bytes.len()),
        ));
    }
    Ok(bytes)
}
