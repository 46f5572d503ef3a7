//! What a watchman does: it waits for its kvmtune to end, ends one that hangs, and restores what is left.
//!
//! Holds no lock while it waits. Knows how the host is restored as `recover` does; not what was measured.

use super::logbook::Logbook;
use super::watchman::{READY, Word};
use super::{Dirs, SessionError, recover_as};
use crate::change::{ChangeError, Keeper, journal_file};
use crate::host::remove_leftovers;
use crate::units::Span;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{dup2_stderr, dup2_stdout, getppid, setsid};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// For so long restoring is tried again when something could not be.
const PATIENCE: Duration = Duration::from_mins(10);
/// A killed process may have to wait for its disk before it ends.
const DYING: Duration = Duration::from_mins(1);

/// A killed process lets go of its locks a moment after its line.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);

/// How the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relief {
    /// Nothing was to be undone.
    Idle,
    /// The host is as it was.
    Restored,
    /// Something is left for `recover`.
    Left,
}

/// What was heard on the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Last(Word),
    Death,
    Silence,
}

/// One attempt to restore the host.
enum Attempt {
    Done,
    Locked,
    Failed,
}

/// A watch over the process that started this one.
pub struct Vigil {
    parent: Process,
    limit: Span,
    dirs: Dirs,
    log: Logbook,
}

impl Vigil {
    /// Takes up the watch over `parent`, in a session of its own that no terminal, Ctrl-C or shutdown of a group ends.
    pub fn begin(parent: u32, limit: Span, dirs: Dirs) -> io::Result<Self> {
        // It ends when its kvmtune has ended, which heeds these.
        let mut deaf = SigSet::empty();
        for signal in [
            Signal::SIGINT,
            Signal::SIGTERM,
            Signal::SIGHUP,
            Signal::SIGQUIT,
            Signal::SIGTSTP,
        ] {
            deaf.add(signal);
        }
        deaf.thread_block()?;
        setsid()?;
        let process = Process::open(parent)?;
        // Only now is it certain that the number had not been given to another process before.
        if u32::try_from(getppid().as_raw()) != Ok(parent) {
            return Err(io::Error::other(
                "its kvmtune is gone; only kvmtune itself starts a watchman",
            ));
        }
        Ok(Self {
            parent: process,
            limit,
            log: Logbook::of(&dirs.state),
            dirs,
        })
    }

    /// Watches until the watch is over.
    pub fn keep(&self) -> io::Result<Relief> {
        let mut line = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        detach()?;
        Ok(match listen(&mut line, self.limit.0) {
            Heard::Last(Word::Left) => {
                self.parent.wait(DYING);
                self.restore("kvmtune could not restore the host", Duration::ZERO)
            }
            Heard::Last(_) => Relief::Idle,
            Heard::Death => self.relieve("the last run was killed"),
            Heard::Silence => {
                let silent = format!("the last run gave no sign of life for {}", self.limit);
                self.log
                    .note(&format!("{silent}: process {} is ended", self.parent.pid));
                if let Err(error) = self.parent.end(DYING) {
                    self.log.note(&format!("it does not end: {error}"));
                }
                self.relieve(&silent)
            }
        })
    }

    /// Restores the host after a kvmtune that was ended, and removes what needs no restoring.
    fn relieve(&self, cause: &str) -> Relief {
        let relief = self.restore(cause, PATIENCE);
        remove_leftovers();
        relief
    }

    /// Does what `recover` does, again and again while something is left.
    fn restore(&self, cause: &str, patience: Duration) -> Relief {
        let mut failing: Option<Instant> = None;
        let mut pause = SHORTEST_PAUSE;
        // Asked before a lock is taken: whoever comes next must not meet a watchman with nothing to do.
        while is_journaled(&self.dirs) {
            match self.attempt(cause) {
                Attempt::Done => return Relief::Restored,
                Attempt::Locked => {}
                Attempt::Failed => {
                    if failing.get_or_insert_with(Instant::now).elapsed() >= patience {
                        self.log.note("given up: run `kvmtune recover`");
                        return Relief::Left;
                    }
                }
            }
            thread::sleep(pause);
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
        Relief::Idle
    }

    fn attempt(&self, cause: &str) -> Attempt {
        match recover_as(&self.dirs, Keeper::Watchman) {
            Ok(report) => {
                for entry in &report.entries {
                    self.log.note(&format!("{cause}: {entry}"));
                }
                // The host's own command line comes back with its next boot, whoever waits.
                if !report.is_complete() && !report.awaits_reboot() {
                    return Attempt::Failed;
                }
                if !report.entries.is_empty() {
                    self.log
                        .announce(&format!("{cause}; its watchman restored the host"));
                }
                Attempt::Done
            }
            // Whoever holds the lock restores the host, or has changed it since and must undo that first.
            Err(SessionError::Change(ChangeError::Locked { .. })) => Attempt::Locked,
            Err(error) => {
                self.log.note(&format!("{cause}: {error}"));
                Attempt::Failed
            }
        }
    }
}

/// Tells kvmtune that the watch is taken up, and lets go of its outputs.
fn detach() -> io::Result<()> {
    let nothing = OpenOptions::new().write(true).open("/dev/null")?;
    io::stdout().write_all(READY.as_bytes())?;
    io::stdout().flush()?;
    dup2_stdout(&nothing)?;
    dup2_stderr(&nothing)?;
    Ok(())
}

fn is_journaled(dirs: &Dirs) -> bool {
    match fs::metadata(journal_file(&dirs.state)) {
        Ok(found) => found.len() > 0,
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// Waits for the last word, the end of the line, or a silence of `limit`.
///
/// Silence is added up from short waits, so that a machine that was suspended, or a watchman that was stopped together
/// with its kvmtune, does not count the time in which neither could do anything.
fn listen(line: &mut (impl Read + AsFd), limit: Duration) -> Heard {
    let slice = limit / 10;
    let mut silence = Duration::ZERO;
    let mut words = [0; 256];
    while silence < limit {
        let asked = Instant::now();
        if !is_ready(&*line, slice) {
            silence += asked.elapsed().min(slice);
            continue;
        }
        match line.read(&mut words) {
            Ok(0) => return Heard::Death,
            Ok(n) => {
                silence = Duration::ZERO;
                let heard = |word: Word| words[..n].contains(&(word as u8));
                if let Some(last) = [Word::Done, Word::Left].into_iter().find(|w| heard(*w)) {
                    return Heard::Last(last);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A line that cannot be read any more is as good as none.
            Err(_) => return Heard::Death,
        }
    }
    Heard::Silence
}

/// Whether there is something to be read within `limit`; an interrupted wait has found nothing.
fn is_ready(fd: impl AsFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).ok();
    let mut fds = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    poll(&mut fds, limit.as_ref()).is_ok_and(|ready| ready > 0)
}

/// One process, whoever has its number later.
struct Process {
    pid: u32,
    fd: OwnedFd,
}

impl Process {
    fn open(pid: u32) -> io::Result<Self> {
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let raw = raw.ok_or_else(|| io::Error::other(format!("{pid} is no process")))?;
        let fd = pidfd_open(raw, PidfdFlags::empty())?;
        Ok(Self { pid, fd })
    }

    /// Kills it and waits for its end. One that has ended is no failure.
    fn end(&self, limit: Duration) -> io::Result<()> {
        match pidfd_send_signal(&self.fd, rustix::process::Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(errno) => return Err(errno.into()),
        }
        if self.wait(limit) {
            Ok(())
        } else {
            Err(io::Error::other(format!("process {} is still there", self.pid)))
        }
    }

    /// Whether it ends within `limit`.
    fn wait(&self, limit: Duration) -> bool {
        is_ready(&self.fd, limit)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use std::process::{Child, Command};

    const LONG: Duration = Duration::from_mins(1);

    fn child() -> Child {
        Command::new("sleep").arg("600").spawn().unwrap()
    }

    #[test]
    fn the_last_word_ends_the_watch() {
        for word in [Word::Done, Word::Left] {
            let (mut reader, mut writer) = io::pipe().unwrap();
            writer
                .write_all(&[Word::Alive as u8, Word::Alive as u8, word as u8])
                .unwrap();
            drop(writer);
            assert_eq!(listen(&mut reader, LONG), Heard::Last(word));
        }
    }

    #[test]
    fn the_end_of_the_line_is_a_death() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&[Word::Alive as u8]).unwrap();
        drop(writer);
        assert_eq!(listen(&mut reader, LONG), Heard::Death);
    }

    #[test]
    fn signs_of_life_keep_the_watch_and_silence_ends_it() {
        let (mut reader, mut writer) = io::pipe().unwrap();
        let limit = Duration::from_secs(1);
        let started = Instant::now();
        let alive = thread::spawn(move || {
            for _ in 0..15 {
                writer.write_all(&[Word::Alive as u8]).unwrap();
                thread::sleep(limit / 10);
            }
            writer
        });
        assert_eq!(listen(&mut reader, limit), Heard::Silence);
        assert!(started.elapsed() >= 2 * limit, "{:?}", started.elapsed());
        // Kept open until now: it was silence, not the end of the line.
        drop(alive.join().unwrap());
    }

    #[test]
    fn a_process_is_ended_and_its_end_seen() {
        let mut child = child();
        let process = Process::open(child.id()).unwrap();
        assert!(!process.wait(Duration::from_millis(50)));
        process.end(LONG).unwrap();
        assert!(child.try_wait().unwrap().is_some());
        process.end(LONG).unwrap();
    }

    /// The number of a process that ended is given to another one, which must not be hit.
    #[test]
    fn a_recycled_number_is_not_ended() {
        const NEXT: &str = "/proc/sys/kernel/ns_last_pid";
        let mut first = child();
        let pid = first.id();
        let process = Process::open(pid).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        // Others start processes too: it takes a few trials.
        for _ in 0..500 {
            if fs::write(NEXT, (pid - 1).to_string()).is_err() {
                eprintln!("skipped: only root chooses the number of a process");
                return;
            }
            let mut second = child();
            if second.id() == pid {
                process.end(LONG).unwrap();
                thread::sleep(Duration::from_millis(50));
                let ended = second.try_wait().unwrap();
                second.kill().unwrap();
                second.wait().unwrap();
                assert_eq!(ended, None, "somebody else's process was killed");
                return;
            }
            second.kill().unwrap();
            second.wait().unwrap();
        }
        panic!("process number {pid} was not given again");
    }
}
