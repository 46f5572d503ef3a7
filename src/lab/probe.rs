//! Finds out whether KVM really runs a guest here, by booting one until it falls silent.
//! `/dev/kvm` alone proves nothing: a nested or paravirtual host has it, and guests hang in early boot or
//! QEMU aborts. It does not know what is done with the answer.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::image::{COMMAND_LINE, Image, PROBE_LINE};

/// How long a booting guest may print nothing. Software emulation is never silent for a second on a slow two-core
/// machine, and KVM is faster; but KVM that is emulated itself, as on a host that is a guest, needs several.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

/// A guest that prints and prints has this many times the limit.
const MOST_LIMITS: u32 = 6;

/// Some twenty lines from the first moment on, where a guest that hangs prints one or two.
const MARKS: &str = "loglevel=6 earlyprintk=ttyS0";

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// What a guest or QEMU may print before it is no longer listened to.
const MOST_OUTPUT: u64 = 1 << 20;

/// Whether guests can use KVM on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvmProbe {
    /// A guest reached user space.
    Works,
    /// It did not.
    Unusable {
        /// In words, to be shown to the user.
        reason: String,
    },
}

/// The answer holds for one boot of this host, one QEMU and one limit; and for one image, beside which it is kept.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    boot: String,
    qemu_modified: u128,
    limit_ms: u128,
    answer: KvmProbe,
}

/// Boots the image under KVM, unless that was done since the host booted. A guest that is silent for `limit` hangs.
///
/// An answer that cannot be kept is still returned. No process is left behind.
pub fn probe_kvm(image: &Image, limit: Duration) -> KvmProbe {
    let file = image.kernel.with_file_name("kvm-probe.json");
    let circumstances = circumstances();
    if let Some((boot, qemu_modified)) = &circumstances
        && let Some(old) = read(&file)
        && (&old.boot, old.qemu_modified, old.limit_ms) == (boot, *qemu_modified, limit.as_millis())
    {
        return old.answer;
    }
    let answer = match fs::metadata("/dev/kvm") {
        Ok(_) => boot(image, Accelerator::Kvm, limit),
        Err(error) => unusable(format!(
            "/dev/kvm cannot be used ({error}); is virtualisation on in the firmware?"
        )),
    };
    if let Some((boot, qemu_modified)) = circumstances {
        let limit_ms = limit.as_millis();
        keep(
            &file,
            &Remembered {
                boot,
                qemu_modified,
                limit_ms,
                answer: answer.clone(),
            },
        );
    }
    answer
}

fn unusable(reason: String) -> KvmProbe {
    KvmProbe::Unusable { reason }
}

/// This boot of the host, and when its QEMU was installed.
fn circumstances() -> Option<(String, u128)> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let modified = fs::metadata(QEMU).ok()?.modified().ok()?;
    Some((
        boot.trim().to_owned(),
        modified.duration_since(UNIX_EPOCH).ok()?.as_nanos(),
    ))
}

fn read(file: &Path) -> Option<Remembered> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

/// Beside and renamed: two probes at once each leave a whole file. A failure only costs the next probe time.
fn keep(file: &Path, remembered: &Remembered) {
    let new = file.with_extension(format!("{}.new", std::process::id()));
    if let Ok(bytes) = serde_json::to_vec(remembered)
        && fs::write(&new, bytes).is_ok()
    {
        let _ = fs::rename(&new, file);
    }
}

#[derive(Clone, Copy)]
enum Accelerator {
    Kvm,
    #[cfg(test)]
    Emulation,
}

impl Accelerator {
    fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            #[cfg(test)]
            Self::Emulation => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// QEMU dies with us whatever happens (`setpriv --pdeathsig`), and in its own group gets no Ctrl-C of the terminal.
fn command(image: &Image, accelerator: Accelerator) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", QEMU, "-machine", "q35"])
        .args(accelerator.arguments())
        .args([
            "-m",
            "256",
            "-smp",
            "1",
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
        ])
        .args(["-no-reboot", "-serial", "stdio", "-kernel"])
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initrd)
        .args(["-append", &format!("{COMMAND_LINE} {MARKS} kvmtune.probe")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

fn boot(image: &Image, accelerator: Accelerator, limit: Duration) -> KvmProbe {
    let mut child = match command(image, accelerator).spawn() {
        Ok(child) => child,
        Err(error) => return unusable(format!("{QEMU} cannot be started ({error})")),
    };
    let booted = wait(&watch(&mut child), limit);
    // Ending a child that has ended is not an error; waiting for it frees its pid.
    let _ = child.kill();
    let complaint = child
        .stderr
        .take()
        .and_then(|stderr| complaint(stderr.take(MOST_OUTPUT)));
    let status = child.wait();
    match booted {
        Booted::Yes => KvmProbe::Works,
        Booted::Hangs => unusable(format!("a guest hung for {} s while it booted", limit.as_secs())),
        Booted::Ended => {
            let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            unusable(format!(
                "QEMU stopped ({ended}): {}",
                complaint.as_deref().unwrap_or("it gave no reason")
            ))
        }
    }
}

/// How a guest's boot went.
enum Booted {
    Yes,
    Hangs,
    /// Its console was closed.
    Ended,
}

fn wait(lines: &Receiver<bool>, limit: Duration) -> Booted {
    let start = Instant::now();
    loop {
        match lines.recv_timeout(limit) {
            Ok(true) => return Booted::Yes,
            Ok(false) if start.elapsed() < limit * MOST_LIMITS => {}
            Ok(false) | Err(RecvTimeoutError::Timeout) => return Booted::Hangs,
            Err(RecvTimeoutError::Disconnected) => return Booted::Ended,
        }
    }
}

/// Sends for each line of the console whether it is the probe line.
fn watch(child: &mut Child) -> Receiver<bool> {
    let (tell, told) = mpsc::channel();
    if let Some(console) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(console.take(MOST_OUTPUT)).split(b'\n');
            let wanted = PROBE_LINE.as_bytes();
            for line in lines.map_while(Result::ok) {
                let found = line.windows(wanted.len()).any(|part| part == wanted);
                // Nobody listens any more when the time is over.
                if tell.send(found).is_err() {
                    break;
                }
            }
        });
    }
    told
}

/// The first line QEMU printed that is not a mere warning, made safe to show.
fn complaint(stderr: impl Read) -> Option<String> {
    let lines = BufReader::new(stderr).split(b'\n').map_while(Result::ok);
    lines
        .map(|line| {
            String::from_utf8_lossy(&line)
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect::<String>()
        })
        .find(|line| !line.trim().is_empty() && !line.contains("warning:"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::lab::image::{build, missing};

    #[test]
    fn a_complaint_is_the_first_line_that_is_no_warning() {
        let text = "qemu: warning: TCG doesn't support it\n\nqemu: \u{1b}[31mcould not set MSR\nmore\n";
        assert_eq!(complaint(text.as_bytes()).unwrap(), "qemu: [31mcould not set MSR");
        assert_eq!(complaint(&b""[..]), None);
    }

    #[test]
    fn the_answer_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("kvm-probe.json");
        let answer = unusable("a guest hung for 10 s while it booted".to_owned());
        let old = Remembered {
            boot: "b".to_owned(),
            qemu_modified: 1,
            limit_ms: 10_000,
            answer,
        };
        keep(&file, &old);
        assert_eq!(read(&file).unwrap(), old);
        fs::write(&file, "half").unwrap();
        assert_eq!(read(&file), None);
    }

    #[test]
    fn a_guest_that_prints_has_more_time_but_not_for_ever() {
        let limit = Duration::from_millis(200);
        let boot = |marks: u32, end: Option<bool>| {
            let (tell, told) = mpsc::channel();
            let guest = thread::spawn(move || {
                for _ in 0..marks {
                    thread::sleep(limit / 4);
                    let _ = tell.send(false);
                }
                match end {
                    Some(found) => drop(tell.send(found)),
                    None => thread::sleep(limit * 2),
                }
            });
            let booted = wait(&told, limit);
            guest.join().unwrap();
            booted
        };
        assert!(matches!(boot(8, Some(true)), Booted::Yes), "slow");
        assert!(matches!(boot(2, None), Booted::Hangs), "silent");
        assert!(
            matches!(boot(4 * MOST_LIMITS + 2, Some(true)), Booted::Hangs),
            "endless"
        );
        assert!(matches!(boot(2, Some(false)), Booted::Ended), "closed");
    }

    /// Shows that the probe can say yes: emulation boots everywhere.
    #[test]
    fn a_guest_that_boots_is_seen_and_one_without_time_is_not() {
        let absent = missing();
        if !absent.is_empty() {
            assert!(
                std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(),
                "missing: {absent:?}"
            );
            println!("skipped: the lab guest needs {absent:?}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let image = build(folder.path()).unwrap();
        assert_eq!(
            boot(&image, Accelerator::Emulation, Duration::from_mins(2)),
            KvmProbe::Works
        );
        let early = boot(&image, Accelerator::Emulation, Duration::from_millis(1));
        assert_eq!(early, unusable("a guest hung for 0 s while it booted".to_owned()));
    }
}
