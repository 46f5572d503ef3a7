//! Jobs of the guest, alone or with others in its neighbours: these start at one instant.
//!
//! The barrier is a clock: each guest's is compared with the host's, each job is started beforehand and waits in its guest
//! for the same instant, so that it does not matter how long an agent takes to start one after the other. The real
//! starts are read back. Does not know what the jobs are.

use super::LocalHost;
use super::reach::Guest;
use crate::host::agent::Agent;
use crate::host::transport::Job as GuestJob;
use crate::host::{
    BesideJob, HostError, Job, JobOutput, Together, caches, guest_job, host_job, placed, program, readback,
};
use crate::lab::ROUTER;
use crate::workload::Side;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

/// Questions to a clock, of which the fastest counts: it was read somewhere within the answer's time.
const QUESTIONS: u32 = 5;
/// From the last comparison of clocks to the instant, for each guest: starting a job takes some 50 ms in emulation.
const LEAD: Duration = Duration::from_millis(120);
/// Each job must have been started so long before the instant, to be there in time.
const READY: Duration = Duration::from_millis(60);
/// Each time the lead is doubled.
const TRIES: u32 = 4;
/// Beside the result in the job's own folder.
const STARTED: &str = "{result}.started";
/// Bytes in that file at most.
const WRITTEN: usize = 40;

/// A guest with what it runs.
struct Part<'p> {
    name: &'p str,
    guest: &'p Guest,
    job: &'p Job,
    /// What the guest's clock shows is so much more than the time since the anchor.
    offset: Duration,
}

/// A job that waits for its instant.
struct Waiting {
    job: GuestJob,
    launched: Duration,
}

impl LocalHost {
    /// Runs a job with no others beside it.
    pub(super) fn run_one(&self, job: &Job) -> Result<JobOutput, HostError> {
        let guest = self.running("run a workload")?;
        let job = self.placed(guest, job)?;
        let job = job.as_ref();
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        caches::drop_caches(job.drop_caches, &guest.transport, &cancelled)?;
        let began = || self.tell_began();
        let end = self.server_guest(guest, job)?;
        let server = job
            .server
            .as_ref()
            .map(|server| guest_job::Server::start(server, &end.transport, job.max_output));
        let server = server.transpose()?;
        let ready = server
            .as_ref()
            .map_or(Ok(()), |s| s.wait_until_listening(&end.transport, &cancelled));
        let output = ready.and_then(|()| match job.side {
            Side::Guest | Side::Neighbour => guest_job::run(job, &guest.transport, &began, &cancelled),
            Side::Host => host_job::run(job, &began, &cancelled),
        });
        let ended = server.map_or(Ok(()), |s| s.end(&end.transport));
        let output = output.map_err(|e| self.note_death(e));
        let output = output.and_then(|o| ended.map(|()| o))?;
        self.require_path()?;
        Ok(output)
    }

    /// Whose server a job of `guest` talks to.
    fn server_guest<'g>(&'g self, guest: &'g Guest, job: &Job) -> Result<&'g Guest, HostError> {
        match &job.server {
            Some(server) if server.side == Side::Neighbour => self.companion(&self.first_neighbour()?),
            _ => Ok(guest),
        }
    }

    fn first_neighbour(&self) -> Result<String, HostError> {
        let all = self.lab_of().map_or(&[][..], |lab| lab.companions());
        let first = all.iter().find(|c| c.name != ROUTER).map(|c| c.name.clone());
        first.ok_or_else(|| HostError::new("start the workload's server", "there is no neighbour"))
    }

    /// A workload that failed because QEMU ended took the guest with it.
    fn note_death(&self, error: HostError) -> HostError {
        let dead = self
            .guest
            .as_ref()
            .and_then(|g| g.pid)
            .is_some_and(|pid| !readback::process_lives(pid));
        if dead { error.losing_guest() } else { error }
    }

    /// Runs a job with others in the neighbours.
    pub(super) fn run_beside(&self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let done = self.lockstep(job, beside).map_err(|e| self.note_death(e))?;
        self.require_path()?;
        Ok(done)
    }

    /// Starts all at one instant, waits for their ends, and takes what they left.
    fn lockstep(&self, job: &Job, beside: &[BesideJob]) -> Result<Together, HostError> {
        let guest = self.running("run a workload")?;
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        let mut parts = Vec::new();
        for other in beside {
            parts.push((
                other.neighbour.as_str(),
                self.companion(&other.neighbour)?,
                &other.job,
            ));
        }
        // Last, so that the one that is measured waits least.
        parts.push(("the guest", guest, job));
        for (_, guest, job) in &parts {
            caches::drop_caches(job.drop_caches, &guest.transport, &cancelled)?;
        }
        let mut servers = Vec::new();
        let mut done = Ok(());
        for (_, guest, job) in &parts {
            let Some(server) = &job.server else { continue };
            done = self.server_guest(guest, job).and_then(|end| {
                let server = guest_job::Server::start(server, &end.transport, job.max_output)?;
                let ready = server.wait_until_listening(&end.transport, &cancelled);
                // Also one that does not listen is to be ended.
                servers.push((server, end));
                ready
            });
            if done.is_err() {
                break;
            }
        }
        let began = || self.tell_began();
        let done = done.and_then(|()| barrier(&parts, &began, &cancelled));
        let mut ended = Ok(());
        for (server, guest) in servers {
            ended = ended.and(server.end(&guest.transport));
        }
        done.and_then(|together| ended.map(|()| together))
    }
}

fn barrier(
    parts: &[(&str, &Guest, &Job)],
    began: &dyn Fn(),
    cancelled: &dyn Fn() -> bool,
) -> Result<Together, HostError> {
    let anchor = Instant::now();
    let parts: Vec<Part<'_>> = parts
        .iter()
        .map(|&(name, guest, job)| {
            Ok(Part {
                name,
                guest,
                job,
                offset: offset(guest, anchor)?,
            })
        })
        .collect::<Result<_, HostError>>()?;
    let count = u32::try_from(parts.len()).unwrap_or(u32::MAX);
    let mut lead = LEAD.saturating_mul(count);
    for _ in 0..TRIES {
        let instant = anchor.elapsed() + lead;
        let waiting = launch(&parts, anchor, instant)?;
        // One that is late is known before anything was measured: then all begin anew.
        if waiting.iter().flatten().all(|w| w.launched + READY <= instant) {
            thread::sleep(instant.saturating_sub(anchor.elapsed()));
            began();
            return follow(&parts, &waiting, anchor, cancelled);
        }
        kill_all(&parts, &waiting);
        lead *= 2;
    }
    Err(HostError::new(
        "start the guests together",
        format!(
            "starting their jobs took longer than {:.1?}; the host is too busy",
            lead / 2
        ),
    ))
}

/// How far the guest's clock is ahead of the time since `anchor`.
fn offset(guest: &Guest, anchor: Instant) -> Result<Duration, HostError> {
    let agent = Agent::new(guest.domain.clone());
    let mut best: Option<(Duration, Duration)> = None;
    for _ in 0..QUESTIONS {
        let (shown, took) = agent
            .time()
            .map_err(|e| guest_job::failed("compare a guest's clock".into(), &e.into()))?;
        let read = anchor.elapsed().saturating_sub(took / 2);
        if best.is_none_or(|(fastest, _)| took < fastest) {
            best = Some((took, shown.saturating_sub(read)));
        }
    }
    Ok(best.map_or(Duration::ZERO, |(_, offset)| offset))
}

/// Starts every job, to wait in its guest; one of the host is started when it is time.
fn launch(parts: &[Part<'_>], anchor: Instant, instant: Duration) -> Result<Vec<Option<Waiting>>, HostError> {
    let mut waiting = Vec::new();
    for part in parts {
        let job = match part.job.side {
            Side::Host => Ok(None),
            Side::Guest | Side::Neighbour => {
                let at = (instant + part.offset).as_nanos().to_string();
                let through = [program::NAME, "at", &at, "--started", STARTED, "--"].map(String::from);
                guest_job::start(part.job, &through, &part.guest.transport).map(Some)
            }
        };
        match job {
            Ok(job) => waiting.push(job.map(|job| Waiting {
                job,
                launched: anchor.elapsed(),
            })),
            Err(error) => {
                kill_all(parts, &waiting);
                return Err(named(part, error));
            }
        }
    }
    Ok(waiting)
}

/// Waits for all, which have just started, the guest's own first, and takes what they left.
fn follow(
    parts: &[Part<'_>],
    waiting: &[Option<Waiting>],
    anchor: Instant,
    cancelled: &dyn Fn() -> bool,
) -> Result<Together, HostError> {
    let mut ends: Vec<_> = Vec::new();
    for (part, own) in parts.iter().zip(waiting).rev() {
        // The others have had their time when the first has.
        let expected = if ends.is_empty() {
            part.job.expected
        } else {
            Duration::ZERO
        };
        match end(part, own.as_ref(), anchor, expected, cancelled) {
            Ok(ended) => ends.push(ended),
            Err(error) => {
                kill_all(parts, waiting);
                return Err(named(part, error));
            }
        }
    }
    let starts = || ends.iter().map(|(start, _)| *start);
    let (first, last) = (starts().min(), starts().max());
    let skew = last.unwrap_or_default().saturating_sub(first.unwrap_or_default());
    let ended = |(start, output): &(Duration, JobOutput)| *start + output.wall;
    let own = ends.first().map(ended).unwrap_or_default();
    let first_gone = ends.iter().skip(1).map(ended).min();
    let alone = own.saturating_sub(first_gone.unwrap_or(own));
    let mut outputs = ends.into_iter().map(|(_, output)| output);
    let output = outputs.next().unwrap_or_default();
    let mut beside: Vec<_> = outputs.collect();
    beside.reverse();
    Ok(Together {
        output,
        beside,
        skew,
        alone,
    })
}

/// Waits for one: when it started, since the anchor, and what it left.
fn end(
    part: &Part<'_>,
    waiting: Option<&Waiting>,
    anchor: Instant,
    expected: Duration,
    cancelled: &dyn Fn() -> bool,
) -> Result<(Duration, JobOutput), HostError> {
    let Some(waiting) = waiting else {
        let start = anchor.elapsed();
        return Ok((start, host_job::run(part.job, &|| {}, cancelled)?));
    };
    let transport = &part.guest.transport;
    let failed = |e| guest_job::failed("wait for a job that was started with others".into(), &e);
    transport
        .wait_job(&waiting.job, expected, part.job.limit, cancelled)
        .map_err(failed)?;
    let file = placed(STARTED, waiting.job.directory());
    let written = transport.read_file(&file, WRITTEN);
    let mut output = guest_job::take(part.job, &waiting.job, transport)?;
    let start = written.ok().as_deref().and_then(start_in);
    let Some(start) = start else {
        let said = crate::diagnostic::one_line(&String::from_utf8_lossy(&output.stderr), 200);
        return Err(HostError::new(
            "read when a job started",
            format!("it did not tell: {said}"),
        ));
    };
    let start = start.saturating_sub(part.offset);
    // Waiting for the others is no work.
    output.wall = output.wall.saturating_sub(start.saturating_sub(waiting.launched));
    Ok((start, output))
}

/// Nanoseconds since 1970 on a line.
fn start_in(written: &[u8]) -> Option<Duration> {
    let text = std::str::from_utf8(written).ok()?.strip_suffix('\n')?;
    text.parse().ok().map(Duration::from_nanos)
}

fn kill_all(parts: &[Part<'_>], waiting: &[Option<Waiting>]) {
    for (part, waiting) in parts.iter().zip(waiting) {
        if let Some(waiting) = waiting {
            // A guest that does not answer is started afresh anyway.
            let _ = part.guest.transport.kill_job(&waiting.job);
        }
    }
}

fn named(part: &Part<'_>, error: HostError) -> HostError {
    HostError {
        doing: format!("{} ({})", error.doing, part.name),
        ..error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_number_on_a_line() {
        assert_eq!(start_in(b"1500000000\n"), Some(Duration::from_millis(1500)));
        for bad in [
            &b""[..],
            b"15",
            b"-1\n",
            b"1.5\n",
            b"1\n2\n",
            b"99999999999999999999999\n",
        ] {
            assert_eq!(start_in(bad), None);
        }
    }
}
