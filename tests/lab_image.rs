//! The lab's guest image: equal bytes from equal packages, a cache that survives accidents, and a guest that boots,
//! answers through its agent, runs the tools and shuts down. Emulated, so it runs where KVM does not.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use kvmtune::lab::image::{self, AGENT_PORT, COMMAND_LINE, DATA_SERIAL, Image, TOOLS_SERIAL};
use serde_json::{Value, json};

/// Generous: a machine busy with other tests boots slowly.
const PATIENCE: Duration = Duration::from_mins(2);

/// False, with the reason printed, where the lab cannot be made.
fn lab() -> bool {
    let missing = image::missing();
    if missing.is_empty() {
        return true;
    }
    let advice = image::install_command(&missing);
    assert!(
        std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(),
        "the lab is required: {advice}"
    );
    println!("skipped: the lab guest needs packages: {advice}");
    false
}

fn files(image: &Image) -> [&Path; 3] {
    [&image.kernel, &image.initrd, &image.tools]
}

#[test]
fn two_builds_from_scratch_give_the_same_bytes() {
    if !lab() {
        return;
    }
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = image::build(one.path()).unwrap();
    // Times are stored in whole seconds: the second build must not share the first one's.
    thread::sleep(Duration::from_millis(1100));
    let second = image::build(two.path()).unwrap();
    assert_eq!(first.hash, second.hash);
    for (a, b) in files(&first).into_iter().zip(files(&second)) {
        assert!(
            fs::read(a).unwrap() == fs::read(b).unwrap(),
            "{} differs",
            a.display()
        );
    }
}

#[test]
fn a_second_build_keeps_the_files_and_a_damaged_folder_is_made_again() {
    if !lab() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    // What a build that was killed leaves behind.
    fs::create_dir_all(cache.path().join("image-unfinished/old")).unwrap();
    let first = image::build(cache.path()).unwrap();
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    let before = files(&first).map(inode);
    assert_eq!(files(&image::build(cache.path()).unwrap()).map(inode), before);
    assert!(!cache.path().join("image-unfinished").exists());

    let bytes = fs::read(&first.initrd).unwrap();
    fs::remove_file(&first.initrd).unwrap();
    let again = image::build(cache.path()).unwrap();
    assert!(fs::read(&again.initrd).unwrap() == bytes);
}

#[test]
fn builds_at_the_same_time_agree() {
    if !lab() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let images: Vec<Image> = thread::scope(|scope| {
        let builds: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| image::build(cache.path()).unwrap()))
            .collect();
        builds.into_iter().map(|build| build.join().unwrap()).collect()
    });
    assert!(images.iter().all(|image| *image == images[0]));
    assert!(files(&images[0]).iter().all(|path| path.is_file()));
}

#[test]
fn the_guest_boots_runs_its_tools_and_shuts_down() {
    if !lab() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let image = image::build(folder.path()).unwrap();
    let mut guest = Guest::boot(&image, folder.path());

    assert_eq!(
        guest.run("/usr/bin/fio", &["--version"]).split('-').next(),
        Some("fio")
    );
    assert!(
        guest
            .run("/usr/bin/iperf3", &["--version"])
            .starts_with("iperf 3")
    );
    assert!(
        guest
            .run("/usr/bin/stress-ng", &["--version"])
            .starts_with("stress-ng")
    );
    assert!(
        guest
            .run("/usr/bin/kvmtune-guest", &["--help"])
            .starts_with("usage: kvmtune-guest")
    );
    assert_eq!(guest.shell("blockdev --getsize64 /dev/kvmtune-data"), "4194304\n");
    assert_eq!(guest.shell("hostname"), "lab7\n");
    assert!(
        guest
            .shell("ip address show dev eth0")
            .contains("inet 10.77.0.2/24")
    );
    let disk = "d=/sys/block/$(readlink /dev/kvmtune-data)/queue/scheduler";
    assert!(
        guest
            .shell(&format!("{disk}; echo bfq > $d; cat $d"))
            .contains("[bfq]")
    );
    assert!(
        guest
            .shell(&format!("{disk}; echo kyber > $d; cat $d"))
            .contains("[kyber]")
    );
    assert_eq!(
        guest.shell("sysctl -n -w net.ipv4.tcp_congestion_control=westwood"),
        "westwood\n"
    );
    guest.shell("modprobe null_blk && modprobe nf_conntrack && modprobe sch_netem && modprobe sch_fq");

    // The first process adopts orphans and must not leave them as zombies.
    guest.shell("(sleep 0.1 & ) ; sleep 1");
    assert_eq!(
        guest.shell("grep -l 'State:.Z' /proc/[0-9]*/status || echo none"),
        "none\n"
    );

    let agent = guest.shell("pidof qemu-ga");
    guest.send(
        "guest-exec",
        &json!({ "path": "/bin/kill", "arg": ["-9", agent.trim()] }),
    );
    while guest.ask("guest-ping", &json!({})).is_some() {}
    guest.wait_for_agent();
    assert_ne!(guest.shell("pidof qemu-ga"), agent);

    guest.send("guest-shutdown", &json!({}));
    assert!(guest.has_ended(), "the guest did not power off");
}

/// A running guest without a way out: its one network card is connected to nothing.
struct Guest {
    qemu: Child,
    agent: BufReader<UnixStream>,
    syncs: u32,
}

impl Guest {
    fn boot(image: &Image, folder: &Path) -> Self {
        let (socket, data) = (folder.join("agent"), folder.join("data"));
        fs::File::create(&data).unwrap().set_len(4 << 20).unwrap();
        let drive = |id: &str, path: &Path, more: &str| {
            format!("if=none,id={id},format=raw,file={}{more}", path.display())
        };
        let disk = |id: &str, serial: &str| format!("virtio-blk-pci,drive={id},serial={serial}");
        let qemu = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "KILL",
                "qemu-system-x86_64",
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi",
            ])
            .args([
                "-m",
                "512",
                "-smp",
                "2",
                "-nodefaults",
                "-display",
                "none",
                "-serial",
                "stdio",
                "-kernel",
            ])
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(&image.initrd)
            .args([
                "-append",
                &format!("{COMMAND_LINE} kvmtune.ip=10.77.0.2/24 kvmtune.hostname=lab7"),
            ])
            .args(["-device", "virtio-serial-pci", "-chardev"])
            .arg(format!(
                "socket,id=agent,server=on,wait=off,path={}",
                socket.display()
            ))
            .args([
                "-device",
                &format!("virtserialport,chardev=agent,name={AGENT_PORT}"),
            ])
            .args([
                "-drive",
                &drive("data", &data, ""),
                "-device",
                &disk("data", DATA_SERIAL),
            ])
            .args([
                "-drive",
                &drive("tools", &image.tools, ",readonly=on"),
                "-device",
                &disk("tools", TOOLS_SERIAL),
            ])
            .args([
                "-netdev",
                "hubport,id=net,hubid=0",
                "-device",
                "virtio-net-pci,netdev=net,romfile=",
            ])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let agent = BufReader::new(connect(&socket));
        let mut guest = Self {
            qemu,
            agent,
            syncs: 0,
        };
        guest.wait_for_agent();
        guest
    }

    fn send(&mut self, command: &str, arguments: &Value) {
        let message = json!({ "execute": command, "arguments": arguments });
        self.agent
            .get_mut()
            .write_all(format!("{message}\n").as_bytes())
            .unwrap();
    }

    /// The next answer; none where no answer comes or it is an error.
    fn receive(&mut self) -> Option<Value> {
        let mut line = String::new();
        self.agent.read_line(&mut line).ok()?;
        serde_json::from_str::<Value>(&line).ok()?.get("return").cloned()
    }

    fn ask(&mut self, command: &str, arguments: &Value) -> Option<Value> {
        self.send(command, arguments);
        self.receive()
    }

    /// Numbers each attempt, so that an answer that came late is never taken for the next one's.
    fn wait_for_agent(&mut self) {
        let start = Instant::now();
        loop {
            self.syncs += 1;
            let number = json!(self.syncs);
            self.send("guest-sync", &json!({ "id": number }));
            while let Some(answer) = self.receive() {
                if answer == number {
                    return;
                }
            }
            assert!(self.qemu.try_wait().unwrap().is_none(), "QEMU ended");
            assert!(start.elapsed() < PATIENCE, "the agent did not answer");
        }
    }

    /// Standard output of a program that must succeed.
    fn run(&mut self, path: &str, arguments: &[&str]) -> String {
        let request = json!({ "path": path, "arg": arguments, "capture-output": true });
        let pid = self.ask("guest-exec", &request).unwrap()["pid"].clone();
        let start = Instant::now();
        loop {
            let status = self.ask("guest-exec-status", &json!({ "pid": pid })).unwrap();
            if status["exited"] == true {
                assert_eq!(status["exitcode"], 0, "{path} {arguments:?}: {status}");
                return output(&status);
            }
            assert!(start.elapsed() < PATIENCE, "{path} did not end");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn shell(&mut self, script: &str) -> String {
        self.run("/bin/sh", &["-c", script])
    }

    fn has_ended(&mut self) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.qemu.try_wait().unwrap().is_some() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn connect(socket: &Path) -> UnixStream {
    let start = Instant::now();
    loop {
        if let Ok(stream) = UnixStream::connect(socket) {
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            return stream;
        }
        assert!(start.elapsed() < PATIENCE, "QEMU did not start");
        thread::sleep(Duration::from_millis(20));
    }
}

fn output(status: &Value) -> String {
    let encoded = status["out-data"].as_str().unwrap_or_default();
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(encoded).unwrap()).unwrap()
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
