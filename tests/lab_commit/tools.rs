//! The real tools, and what they make of the files.

use kvmtune::persist::*;
use kvmtune::tunable::ModuleParameter;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// What a program prints that ends well, its errors too.
fn says(argv: &[&str]) -> String {
    let done = Command::new(argv[0]).args(&argv[1..]).output().unwrap();
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    assert!(done.status.success(), "{argv:?}: {}: {said}", done.status);
    said
}

fn keepalive() -> String {
    let text = fs::read_to_string("/proc/sys/net/ipv4/tcp_keepalive_time").unwrap();
    text.trim().to_string()
}

/// Both readers of sysctl.d take the file and set what is in it.
pub(crate) fn sysctl() {
    for argv in [&["sysctl", "--system"][..], &["/lib/systemd/systemd-sysctl"]] {
        fs::write("/proc/sys/net/ipv4/tcp_keepalive_time", "7200").unwrap();
        let said = says(argv);
        assert!(
            !said.contains("60-kvmtune.conf:") && !said.to_lowercase().contains("invalid"),
            "{said}"
        );
        assert_eq!(keepalive(), "600", "{said}");
    }
}

pub(crate) fn tmpfiles() {
    let place = "/sys/kernel/mm/ksm/sleep_millisecs";
    fs::write(place, "77").unwrap();
    let said = says(&["systemd-tmpfiles", "--create", "/etc/tmpfiles.d/60-kvmtune.conf"]);
    assert_eq!(
        (said.as_str(), fs::read_to_string(place).unwrap().trim()),
        ("", "50")
    );
}

/// grub-mkconfig has made the menu of the drop-in.
pub(crate) fn grub() {
    says(&["sh", "-n", "/etc/default/grub.d/60-kvmtune.cfg"]);
    let menu = fs::read_to_string("/boot/grub/grub.cfg").unwrap();
    let line = menu.lines().find(|line| line.starts_with("linux ")).unwrap();
    let words: Vec<_> = line.split_whitespace().collect();
    assert_eq!(words, ["linux", "/vmlinuz", "quiet", "mitigations=off"]);
}

/// The processes that wait for a deadline.
pub(crate) fn waiting() -> Vec<i32> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains("\0--overdue\0--detached")
    })
    .collect()
}

/// tuned with a message bus of its own.
pub(crate) struct Tuned {
    bus: Child,
    daemon: Child,
}

impl Tuned {
    pub(crate) fn start() -> Self {
        let bus = Command::new("dbus-daemon")
            .args([
                "--system",
                "--nofork",
                "--nopidfile",
                "--address=unix:path=/run/dbus/system_bus_socket",
            ])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        fs::write("/etc/tuned/active_profile", "base\n").unwrap();
        fs::write("/etc/tuned/profile_mode", "manual\n").unwrap();
        wait("the bus", || fs::exists("/run/dbus/system_bus_socket").unwrap());
        let daemon = Command::new("/usr/sbin/tuned")
            .args(["--log=/run/tuned.log"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let tuned = Self { bus, daemon };
        wait("tuned", || is_active("base"));
        tuned
    }

    /// The profile is the active one, and tuned finds that all of it is in force.
    pub(crate) fn verify(&self, profile: &str) {
        assert!(is_active(profile));
        let said = says(&["tuned-adm", "verify"]);
        assert!(said.contains("succeeded"), "process {}: {said}", self.daemon.id());
    }
}

impl Drop for Tuned {
    fn drop(&mut self) {
        for child in [&mut self.daemon, &mut self.bus] {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn is_active(profile: &str) -> bool {
    let done = Command::new("tuned-adm").arg("active").output().unwrap();
    String::from_utf8_lossy(&done.stdout).contains(&format!("Current active profile: {profile}\n"))
}

fn wait(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_mins(1), "{what} does not come");
        thread::sleep(Duration::from_millis(100));
    }
}

/// The queues' lengths of both links once udev has seen them come.
fn lengths_after_udev() -> [String; 2] {
    ["one", "two"].map(|link| {
        let folder = format!("/sys/class/net/{link}");
        let said = says(&["udevadm", "test", "--action=add", &folder]);
        assert!(
            !said.contains("60-kvmtune.rules:") || said.contains("ATTR"),
            "{said}"
        );
        assert!(!said.to_lowercase().contains("invalid key/value"), "{said}");
        let text = fs::read_to_string(format!("{folder}/tx_queue_len")).unwrap();
        text.trim().to_string()
    })
}

/// udev finds the device by its address and not another one; modprobe has the option, after those that come before it.
pub(crate) fn read_what_is_rendered() {
    let stamp = Stamp {
        commit: CommitId(3),
        run: "0123456789ab".into(),
        experiment: "some".into(),
        at: "2026-07-01T10:00:00Z".parse().unwrap(),
        evidence: vec!["iops +9 % \"$(reboot)\" %p".into()],
        deadline: None,
    };
    says(&[
        "ip",
        "link",
        "add",
        "one",
        "address",
        "02:00:00:00:00:01",
        "type",
        "veth",
        "peer",
        "name",
        "two",
    ]);
    says(&["mount", "-t", "sysfs", "sysfs", "/sys"]);
    let device = Device {
        subsystem: Subsystem::Net,
        name: "one".into(),
        known_by: DeviceMatch::Address("02:00:00:00:00:01".into()),
    };
    let parameter: ModuleParameter = "kvm.halt_poll_ns".parse().unwrap();
    let items = [
        Lasting::Device {
            device,
            attribute: "tx_queue_len".into(),
            value: "77".into(),
        },
        Lasting::Parameter {
            parameter,
            value: "100".into(),
        },
        Lasting::Module("tcp_htcp".into()),
    ];
    let layers = [Layer {
        stamp: &stamp,
        items: &items,
        tuned: None,
        keeper: None,
    }];
    for file in [OwnFile::Udev, OwnFile::Modprobe, OwnFile::ModulesLoad] {
        fs::create_dir_all(std::path::Path::new(file.path()).parent().unwrap()).unwrap();
        fs::write(file.path(), render(file, &layers).unwrap()).unwrap();
    }
    // A link that is made by software may have the address of the one below it: it is not meant.
    assert_eq!(lengths_after_udev(), ["1000", "1000"]);
    let rule = OwnFile::Udev.path();
    let text = fs::read_to_string(rule).unwrap();
    let without = text.replace("DRIVERS==\"?*\", ", "");
    assert_ne!(text, without);
    fs::write(rule, without).unwrap();
    assert_eq!(lengths_after_udev(), ["77", "1000"]);
    fs::write("/etc/modprobe.d/10-kvm.conf", "options kvm halt_poll_ns=7\n").unwrap();
    let shown = says(&["modprobe", "--showconfig"]);
    let options: Vec<_> = shown
        .lines()
        .filter(|line| line.starts_with("options kvm "))
        .collect();
    assert_eq!(
        options,
        ["options kvm halt_poll_ns=7", "options kvm halt_poll_ns=100"]
    );
}
