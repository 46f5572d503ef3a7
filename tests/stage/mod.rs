//! The lab host: a guest of two NUMA nodes that plays the host. Its root is this machine's own (read-only, with a
//! layer above it), so that `kvmtune` and test binaries run in it by the path they have here; QEMU lets it use KVM,
//! so that its guests are not emulated twice; and it can be booted again with another kernel command line.
//!
//! Knows how a host is staged; does not know what is tested on it.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod channel;
mod initrd;

use crate::common;
use channel::Channel;
use kvmtune::host::agent::{Agent, ExecOutput};
use kvmtune::lab::image::{self, AGENT_PORT, COMMAND_LINE, Image};
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The memory of each of the two nodes.
pub const NODE_MIB: u64 = 1280;

/// The distance between the nodes.
pub const DISTANCE: u16 = 21;

/// Part of QEMU's package in Debian 12.
const VIRTIOFSD: &str = "/usr/lib/qemu/virtiofsd";

/// On the kernel command line: whoever finds it is in the lab host.
const MARK: &str = "kvmtune.lab-host";

/// It takes five seconds where nothing else runs.
const BOOT_LIMIT: Duration = Duration::from_mins(2);

/// Whether a lab host can be booted here; otherwise says why the test is skipped, as [`common::lab_is_possible`].
pub fn is_possible() -> bool {
    if !common::lab_is_possible() {
        return false;
    }
    if Path::new(VIRTIOFSD).exists() {
        return true;
    }
    let why = format!("no lab host here: {VIRTIOFSD} missing (package qemu-system-common of Debian 12)");
    assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// Whether this process runs in a lab host. Tests that are to run there are ignored everywhere, and ask.
pub fn is_here() -> bool {
    let words = fs::read_to_string("/proc/cmdline").unwrap_or_default();
    words.split_whitespace().any(|word| word == MARK)
}

/// What brings the lab host up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// A few lines of shell: what kvmtune needs to start guests.
    Busybox,
    /// The machine's own, with udev, and without the units that the machine wants.
    Systemd,
}

/// A host that can be booted, shut down and booted again; what it wrote to its root stays.
pub struct LabHost {
    image: Image,
    folder: TempDir,
    init: Init,
    running: Option<Running>,
}

/// One boot of it. Both processes die with the thread that started them.
struct Running {
    qemu: Child,
    files: Child,
    agent: Agent,
}

impl LabHost {
    /// Boots a fresh one.
    pub fn boot() -> Self {
        let image = image::build(&common::cache()).unwrap();
        let folder = tempfile::Builder::new()
            .prefix("kvmtune-host-")
            .tempdir()
            .unwrap();
        fs::write(folder.path().join("initrd"), initrd::of(&image)).unwrap();
        let disk = folder.path().join("disk");
        File::create(&disk).unwrap().set_len(2 << 30).unwrap();
        let made = Command::new("mke2fs")
            .args(["-q", "-F", "-t", "ext4"])
            .arg(&disk)
            .status();
        assert!(made.unwrap().success(), "mke2fs failed");
        let mut host = Self {
            image,
            folder,
            init: Init::Busybox,
            running: None,
        };
        host.start("");
        host
    }

    /// Shuts it down in order and boots it with `words` added to its usual command line.
    pub fn reboot(&mut self, words: &str) {
        self.reboot_with(self.init, words);
    }

    /// The same; from then on `init` brings it up.
    pub fn reboot_with(&mut self, init: Init, words: &str) {
        let poweroff: &[&str] = match self.init {
            Init::Busybox => &["/usr/bin/busybox", "poweroff"],
            Init::Systemd => &["/bin/systemctl", "poweroff"],
        };
        let running = self.running.as_mut().unwrap();
        // The agent is gone before it can answer.
        let _ = running.agent.exec(poweroff, None, Duration::from_secs(5));
        wait("the lab host to power off", || {
            running.qemu.try_wait().unwrap().is_some()
        });
        self.cut_power();
        self.init = init;
        self.start(words);
    }

    /// Ends it at once, whatever it does; [`LabHost::start`] boots it again.
    pub fn cut_power(&mut self) {
        self.running = None;
    }

    /// Boots it after [`LabHost::cut_power`].
    pub fn start(&mut self, words: &str) {
        assert!(self.running.is_none(), "it runs");
        let clock = Instant::now();
        let running = self.launch(words);
        self.running = Some(running);
        let limit = BOOT_LIMIT;
        if let Err(error) = self.agent().ping(limit) {
            panic!("the lab host does not answer: {error}\n{}", self.last_words());
        }
        eprintln!("lab host up after {:.1?}", clock.elapsed());
    }

    fn launch(&self, words: &str) -> Running {
        let file = |name: &str| self.folder.path().join(name);
        let socket = file("files.socket");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        // A mount namespace of its own, where the root is read-only: nothing in the lab host can change this machine.
        let script = "mount -o remount,bind,ro / && exec \"$@\"";
        let files = dying_with_us()
            .args([
                "unshare", "--mount", "sh", "-c", script, "sh", VIRTIOFSD, "-f", "--fd=0",
            ])
            .args(["-o", "source=/,sandbox=chroot,cache=always", "--rlimit-nofile=0"])
            .stdin(Stdio::from(OwnedFd::from(listener)))
            .stdout(Stdio::null())
            .stderr(File::create(file("files.log")).unwrap())
            .spawn()
            .unwrap();
        let qemu = self.qemu(words, &socket).spawn();
        Running {
            qemu: qemu.unwrap(),
            files,
            agent: Channel::to(file("agent.socket")).agent(),
        }
    }

    fn qemu(&self, words: &str, files: &Path) -> Command {
        let file = |name: &str| self.folder.path().join(name).display().to_string();
        let init = match self.init {
            Init::Busybox => "",
            Init::Systemd => " kvmtune.systemd systemd.unit=multi-user.target",
        };
        let mut qemu = dying_with_us();
        // AMD's virtualisation is what QEMU emulates; its `max` has it.
        qemu.args([
            "qemu-system-x86_64",
            "-machine",
            "q35",
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
        ])
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-nic",
            "none",
            "-no-reboot",
        ])
        .args([
            "-smp",
            "4,sockets=2,cores=1,threads=2",
            "-m",
            &format!("{}M", 2 * NODE_MIB),
        ]);
        for (node, cpus) in [(0, "0-1"), (1, "2-3")] {
            // The file server shares the memory.
            let memory = format!("memory-backend-memfd,id=m{node},size={NODE_MIB}M,share=on");
            qemu.args(["-object", &memory])
                .args(["-numa", &format!("node,nodeid={node},memdev=m{node},cpus={cpus}")]);
        }
        qemu.args(["-numa", &format!("dist,src=0,dst=1,val={DISTANCE}")]);
        let disk = format!("if=none,id=disk,format=raw,cache=unsafe,file={}", file("disk"));
        let agent = format!("socket,id=agent,server=on,wait=off,path={}", file("agent.socket"));
        qemu.args(["-serial", &format!("file:{}", file("console.log"))])
            .args(["-chardev", &format!("socket,id=files,path={}", files.display())])
            .args(["-device", "vhost-user-fs-pci,chardev=files,tag=machine"])
            .args([
                "-drive",
                &disk,
                "-device",
                "virtio-blk-pci,drive=disk,serial=lab-host",
            ])
            .args(["-chardev", &agent, "-device", "virtio-serial-pci"])
            .args([
                "-device",
                &format!("virtserialport,chardev=agent,name={AGENT_PORT}"),
            ])
            .arg("-kernel")
            .arg(&self.image.kernel)
            .args(["-initrd", &file("initrd")])
            .args([
                "-append",
                &format!("{COMMAND_LINE} rdinit=/stage/init {MARK}{init} {words}"),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(file("qemu.log")).unwrap());
        qemu
    }

    /// Runs programs and handles files in it.
    pub fn agent(&self) -> &Agent {
        &self.running.as_ref().unwrap().agent
    }

    /// Runs a program to its end.
    pub fn exec(&self, argv: &[&str], stdin: &str, limit: Duration) -> ExecOutput {
        match self.agent().exec(argv, Some(stdin.as_bytes()), limit) {
            Ok(done) => done,
            Err(error) => panic!("{argv:?}: {error}\n{}", self.last_words()),
        }
    }

    /// The output of a program that must succeed.
    pub fn run(&self, argv: &[&str]) -> String {
        let done = self.exec(argv, "", Duration::from_mins(2));
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&done.stdout), text(&done.stderr));
        assert_eq!(done.exit_code, 0, "{argv:?}: {out}{err}");
        out
    }

    /// What a file of it holds.
    pub fn read(&self, path: &str) -> String {
        let bytes = self.agent().read_file(path, 1 << 20).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Runs the test `name` of this test binary in the lab host; it is ignored elsewhere.
    pub fn test(&self, name: &str, limit: Duration) {
        let program = std::env::current_exe().unwrap();
        let argv = [
            program.to_str().unwrap(),
            "--exact",
            name,
            "--ignored",
            "--nocapture",
        ];
        let clock = Instant::now();
        let done = self.exec(&argv, "", limit);
        let (out, err) = (
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr),
        );
        eprintln!("{name} in the lab host, {:.1?}:\n{err}", clock.elapsed());
        assert!(
            done.exit_code == 0 && out.contains("test result: ok. 1 passed"),
            "{out}{err}"
        );
    }

    fn last_words(&self) -> String {
        let end = |name: &str| {
            let bytes = fs::read(self.folder.path().join(name)).unwrap_or_default();
            let tail = &bytes[bytes.len().saturating_sub(2000)..];
            format!("{name}: {}\n", String::from_utf8_lossy(tail))
        };
        ["console.log", "qemu.log", "files.log"].map(end).concat()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for process in [&mut self.qemu, &mut self.files] {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn dying_with_us() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command
}

fn wait(what: &str, mut done: impl FnMut() -> bool) {
    let clock = Instant::now();
    while !done() {
        assert!(clock.elapsed() < BOOT_LIMIT, "waited too long for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a command wrote, its errors last.
#[allow(dead_code, reason = "not every test asks")]
pub fn said(done: &ExecOutput) -> String {
    [&done.stdout, &done.stderr]
        .map(|b| String::from_utf8_lossy(b).into_owned())
        .concat()
}

/// The `kvmtune` that is tested: it has the same path in the lab host.
pub fn kvmtune() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_kvmtune"))
}
