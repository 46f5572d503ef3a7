//! Long workloads, detached from the transport: their output, times and exit code go to files in the guest.
//! It does not know what the workloads are.
//!
//! `guest-exec` alone would hold all output in the agent's memory and hand out the result only once; a command of an
//! ssh connection would be lost with it.

use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Transport, TransportError};
use crate::host::agent::MAX_REQUEST;

/// Makes the directory, moves the files that were put there for it into it, starts [`RUN`] in a session of its own and
/// prints its pid, which is also the session's. Arguments: `RUN`, directory, limit, then the command. Nothing is spliced
/// into the text.
const START: &str = r#"
umask 077
run=$1 dir=$2
shift
mkdir -p /run/kvmtune && mkdir -m 700 "$dir" && cd / || exit 1
put=/run/kvmtune-${dir##*/}.
for file in "$put"*; do
if [ -e "$file" ]; then mv "$file" "$dir/${file#"$put"}" || exit 1; fi
done
setsid sh -c "$run" kvmtune "$@" </dev/null >/dev/null 2>&1 &
echo "$!"
"#;

/// Runs the command. Output beyond the limit is thrown away, without SIGPIPE for the command. One byte
/// more than the limit is kept, to tell that it was passed. What the command leaves in its process
/// group is ended after it: at once, or after five seconds when it still holds the outputs (hence this
/// shell and the readers ignore SIGTERM, the command does not). `exec` keeps a program called like a
/// shell builtin a program. `rc` appears last and complete; it also tells the times and which outputs hold
/// anything, since each file that is read takes three requests.
const RUN: &str = r#"
umask 077
dir=$1 max=$2
shift 2
trap '' TERM
mkfifo "$dir/o" "$dir/e" || exit 1
{ head -c "$max" >"$dir/out"; cat >/dev/null; } <"$dir/o" &
a=$!
{ head -c "$max" >"$dir/err"; cat >/dev/null; } <"$dir/e" &
b=$!
exec 3>"$dir/o" 4>"$dir/e"
read -r start rest </proc/uptime
(trap - TERM; exec "$@") >&3 2>&4 3>&- 4>&-
rc=$?
read -r end rest </proc/uptime
exec 3>&- 4>&-
(trap - TERM; sleep 5; kill -s TERM 0) &
wait "$a"
wait "$b"
kill -s TERM 0
out=0 err=0
if [ -s "$dir/out" ]; then out=1; fi
if [ -s "$dir/err" ]; then err=1; fi
echo "$rc $start $end $out $err" >"$dir/rc.tmp"
mv "$dir/rc.tmp" "$dir/rc"
"#;

/// Kills the session unless the command ended, and removes the directory. Arguments: directory, pid.
/// dash insists on `--`; busybox complains about it, but kills all the same.
const STOP: &str = r#"
if [ ! -e "$1/rc" ] && [ "$2" -gt 1 ]; then kill -s KILL -- "-$2" 2>/dev/null; fi
rm -rf -- "$1"
"#;

/// Removes what was put or made for a job that did not start. Argument: the token.
const CLEAR: &str = r#"rm -rf -- "/run/kvmtune-$1."* "/run/kvmtune/$1""#;

/// The limit of the helper scripts, which take milliseconds.
const SCRIPT_LIMIT: Duration = Duration::from_secs(30);

/// A workload running in the guest. End it with [`Transport::collect_job`] or [`Transport::kill_job`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    directory: String,
    program: String,
    pid: u32,
    max_output: usize,
}

impl Job {
    /// The pid of the job's session leader in the guest.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The job's directory in the guest.
    pub fn directory(&self) -> &str {
        &self.directory
    }
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// No exit code yet.
    Running,
    /// The exit code is there to be collected.
    Ended,
}

/// What a job left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOutput {
    /// The exit code, by the shell's reckoning: 127 when the program was not found, 128 plus the
    /// signal's number after a signal.
    pub exit_code: i32,
    /// The command's own wall time by the guest's `/proc/uptime`, in steps of 10 ms.
    pub wall: Duration,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Whether either went beyond the limit.
    pub truncated: bool,
}

impl Transport {
    /// Puts a file for the job of this token, which finds it in its directory; to be called before it is started.
    pub fn put_file(&self, token: Uuid, name: &str, bytes: &[u8]) -> Result<(), TransportError> {
        self.write_file(&format!("/run/kvmtune-{token}.{name}"), bytes)
    }

    /// Removes what was put into the guest for a job of this token that did not start.
    pub fn clear_job(&self, token: Uuid) -> Result<(), TransportError> {
        let token = token.to_string();
        let clear = ["/bin/sh", "-c", CLEAR, "kvmtune", &token];
        self.exec(&clear, None, SCRIPT_LIMIT).map(drop)
    }

    /// Starts `argv` detached, in `/run/kvmtune/TOKEN` in the guest (mode 700); at most `max_output` bytes
    /// are kept of each output. Starting a token twice is refused by the guest.
    pub fn start_job(&self, token: Uuid, argv: &[&str], max_output: usize) -> Result<Job, TransportError> {
        let &program = argv.first().ok_or(TransportError::Request("no program to run"))?;
        let directory = format!("/run/kvmtune/{token}");
        let limit = max_output.saturating_add(1).to_string();
        let mut start = vec!["/bin/sh", "-c", START, "kvmtune", RUN, &directory, &limit];
        start.extend(argv);
        let output = self.exec(&start, None, SCRIPT_LIMIT)?;
        let pid = std::str::from_utf8(&output.stdout)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match pid {
            Some(pid) if output.exit_code == 0 && pid > 1 => Ok(Job {
                directory,
                program: program.to_owned(),
                pid,
                max_output,
            }),
            _ => Err(TransportError::Nonsense(format!(
                "{directory} could not be made there (exit code {})",
                output.exit_code
            ))),
        }
    }

    /// Looks once for the exit code, and for the process while there is none.
    pub fn poll_job(&self, job: &Job) -> Result<JobState, TransportError> {
        if self.has_ended(job)? {
            return Ok(JobState::Ended);
        }
        if self.is_alive(job.pid)? {
            return Ok(JobState::Running);
        }
        // It may have ended between the two looks.
        if self.has_ended(job)? {
            return Ok(JobState::Ended);
        }
        Err(TransportError::Vanished {
            object: job.program.clone(),
        })
    }

    /// Waits for the end, looking rarely and with one command while the job is expected to run (see
    /// [`next_look`]), and for a lost process after that. After
    /// `limit`, or once `cancelled` says so, the job is killed and its directory removed.
    pub fn wait_job(
        &self,
        job: &Job,
        expected: Duration,
        limit: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(), TransportError> {
        let started = Instant::now();
        loop {
            let pause = next_look(expected, started.elapsed());
            let until = Instant::now() + pause.min(limit.saturating_sub(started.elapsed()));
            while Instant::now() < until {
                if cancelled() {
                    self.kill_job(job)?;
                    return Err(TransportError::Cancelled {
                        object: job.program.clone(),
                    });
                }
                let left = until.saturating_duration_since(Instant::now());
                thread::sleep(left.min(Duration::from_millis(100)));
            }
            match self.look(job, started.elapsed() >= expected) {
                Ok(JobState::Ended) => return Ok(()),
                Ok(JobState::Running) => {}
                // A busy guest is late; the limit tells when that is no excuse any more.
                Err(error) if error.is_late() && started.elapsed() < limit => {}
                Err(error) => return Err(error),
            }
            if started.elapsed() >= limit {
                self.kill_job(job)?;
                return Err(TransportError::TooSlow {
                    object: job.program.clone(),
                    limit,
                });
            }
        }
    }

    /// Takes the results of an ended job and removes its directory, also when they are unusable.
    pub fn collect_job(&self, job: &Job) -> Result<JobOutput, TransportError> {
        let output = self.read_results(job);
        let removed = self.kill_job(job);
        let output = output?;
        removed.map(|()| output)
    }

    /// Kills a job, unless it ended, with all that stayed in its session's process group, and removes
    /// its directory.
    pub fn kill_job(&self, job: &Job) -> Result<(), TransportError> {
        let pid = job.pid.to_string();
        let stop = ["/bin/sh", "-c", STOP, "kvmtune", &job.directory, &pid];
        self.exec(&stop, None, SCRIPT_LIMIT).map(drop)
    }

    fn read_results(&self, job: &Job) -> Result<JobOutput, TransportError> {
        let read = |name: &str, limit| self.read_file(&format!("{}/{name}", job.directory), limit);
        let end = parse_end(&read("rc", 96)?).ok_or_else(|| {
            let place = &job.directory;
            TransportError::Nonsense(format!("{place}/rc is not what was written there"))
        })?;
        let output = |name: &str, is_there: bool| {
            let limit = job.max_output.saturating_add(1);
            if is_there {
                read(name, limit)
            } else {
                Ok(Vec::new())
            }
        };
        let mut stdout = output("out", end.out)?;
        let mut stderr = output("err", end.err)?;
        let truncated = stdout.len().max(stderr.len()) > job.max_output;
        stdout.truncate(job.max_output);
        stderr.truncate(job.max_output);
        Ok(JobOutput {
            exit_code: end.exit_code,
            wall: end.wall,
            stdout,
            stderr,
            truncated,
        })
    }

    fn look(&self, job: &Job, overdue: bool) -> Result<JobState, TransportError> {
        if overdue {
            return self.poll_job(job);
        }
        Ok(if self.has_ended(job)? {
            JobState::Ended
        } else {
            JobState::Running
        })
    }

    fn has_ended(&self, job: &Job) -> Result<bool, TransportError> {
        self.exists(&format!("{}/rc", job.directory))
    }

    /// Whether the process runs; a zombie does not, and stays for as long as the guest's init lets it.
    fn is_alive(&self, pid: u32) -> Result<bool, TransportError> {
        match self.read_file(&format!("/proc/{pid}/stat"), 4096) {
            // The name before the state may hold anything, also parentheses.
            Ok(stat) => Ok(!String::from_utf8_lossy(&stat)
                .rsplit_once(") ")
                .is_none_or(|(_, rest)| rest.starts_with('Z'))),
            Err(error) if error.is_refused() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// How long to leave a job alone that has run for `elapsed` of `expected`: one early look for jobs that
/// fail at once, one in each quarter, so that the measured time is hardly touched; after the expected
/// end every 50 ms at first, then ever more slowly up to a second, so that an end is noticed about 3 % late.
pub fn next_look(expected: Duration, elapsed: Duration) -> Duration {
    const EARLY: Duration = Duration::from_millis(500);
    const FIRST: Duration = Duration::from_millis(50);
    let left = expected.saturating_sub(elapsed);
    if left.is_zero() {
        return (elapsed.saturating_sub(expected) / 16).clamp(FIRST, Duration::from_secs(1));
    }
    let pause = if elapsed < EARLY {
        EARLY
    } else {
        (expected / 4).max(EARLY)
    };
    left.min(pause)
}

/// How a job ended, and what there is of it.
#[derive(Debug, PartialEq)]
struct End {
    exit_code: i32,
    wall: Duration,
    out: bool,
    err: bool,
}

/// `CODE START END OUT ERR`: the times are seconds since boot with two decimals.
fn parse_end(bytes: &[u8]) -> Option<End> {
    let line = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
    let [code, start, end, out, err] = line.split(' ').collect::<Vec<_>>()[..] else {
        return None;
    };
    let code: u8 = code.parse().ok()?;
    let instant = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let flag = |text: &str| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    };
    Some(End {
        exit_code: code.into(),
        wall: instant(end)?.checked_sub(instant(start)?)?,
        out: flag(out)?,
        err: flag(err)?,
    })
}

const _: () = assert!(
    RUN.len() + START.len() < MAX_REQUEST / 8,
    "scripts travel in one request"
);

#[cfg(test)]
mod tests;
