//! Finds out whether KVM really runs a guest here, by booting one with a time limit.
//! `/dev/kvm` alone proves nothing: a nested or paravirtual host has it, and guests hang in early boot or
//! QEMU aborts. It does not know what is done with the answer.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::image::{COMMAND_LINE, Image, PROBE_LINE};

/// Software emulation reaches the probe line in about 2 s on a slow two-core machine, and KVM is faster:
/// five times that means it hangs.
pub const DEFAULT_LIMIT: Duration = Duration::from_secs(10);

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

/// Boots the image under KVM, unless that was done since the host booted, and waits at most `limit`.
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
        .args(["-append", &format!("{COMMAND_LINE} kvmtune.probe")])
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
    let booted = watch(&mut child).recv_timeout(limit);
    // Ending a child that has ended is not an error; waiting for it frees its pid.
    let _ = child.kill();
    let complaint = child
        .stderr
        .take()
        .and_then(|stderr| complaint(stderr.take(MOST_OUTPUT)));
    let status = child.wait();
    match booted {
        Ok(true) => KvmProbe::Works,
        Err(RecvTimeoutError::Timeout) => {
            unusable(format!("a guest did not boot within {} s", limit.as_secs()))
        }
        Ok(false) | Err(RecvTimeoutError::Disconnected) => {
            let ended = status.map_or_else(|error| error.to_string(), |status| status.to_string());
            unusable(format!(
                "QEMU stopped ({ended}): {}",
                complaint.as_deref().unwrap_or("it gave no reason")
            ))
        }
    }
}

/// Sends true when the probe line came, false when the console ended without it.
fn watch(child: &mut Child) -> Receiver<bool> {
    let (tell, told) = mpsc::channel();
    if let Some(console) = child.stdout.take() {
        thread::spawn(move || {
            let lines = BufReader::new(console.take(MOST_OUTPUT)).split(b'\n');
            let wanted = PROBE_LINE.as_bytes();
            let found = lines
                .map_while(Result::ok)
                .any(|line| line.windows(wanted.len()).any(|part| part == wanted));
            // The receiver is gone when the limit has passed.
            let _ = tell.send(found);
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
        let answer = unusable("a guest did not boot within 10 s".to_owned());
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
        assert_eq!(early, unusable("a guest did not boot within 0 s".to_owned()));
    }
}
