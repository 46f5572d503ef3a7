//! The verbs of commits as a user calls them, on this host inside a namespace of mounts and networks of its own, with the real
//! tools: sysctl, systemd-sysctl, systemd-tmpfiles, tuned, grub-mkconfig, udevadm and modprobe read what was written.
//!
//! Nothing of it reaches the machine: /etc has a layer of its own, the files of the kernel are covered by plain ones, and the
//! sysctl that is real is of the private network.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "the image of the lab is not used")]
mod common;
#[path = "lab_commit/place.rs"]
mod place;
#[path = "lab_commit/tools.rs"]
mod tools;

use nix::sys::signal::Signal;
use place::{Place, is_possible, tree};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Everything is done by one process inside the namespace; the tests outside start it.
const INSIDE: &str = "KVMTUNE_TEST_INSIDE";

/// Covers what is written to. `$1` is a folder for all that is kept of it.
const NAMESPACE: &str = r#"
set -eu
scratch=$1; shift
mount --make-rprivate /
mount -t tmpfs tmpfs "$scratch"
mkdir -p "$scratch/up" "$scratch/work" "$scratch/bin" "$scratch/boot"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$scratch/up,workdir=$scratch/work" /etc
for folder in /run /boot /usr/lib/sysctl.d /usr/lib/tmpfiles.d /var/lib/tuned /var/log/tuned; do
    [ ! -d "$folder" ] || mount -t tmpfs tmpfs "$folder"
done
mkdir -p /run/dbus /run/tuned /boot/grub /etc/sysctl.d /etc/tmpfiles.d /etc/default/grub.d /etc/tuned/base
# The values are replaced by some of the same length: a plain file is not cut when it is written to.
printf '20\n' > "$scratch/sleep"
mount --bind "$scratch/sleep" /sys/kernel/mm/ksm/sleep_millisecs
printf '60\n' > "$scratch/swappiness"
mount --bind "$scratch/swappiness" /proc/sys/vm/swappiness
# There is no boot disk to be asked for.
printf '#!/bin/sh\ncase "$*" in *device*) echo /dev/sda1;; *) echo ext2;; esac\n' > "$scratch/probe"
chmod 755 "$scratch/probe"
[ ! -e /usr/sbin/grub-probe ] || mount --bind "$scratch/probe" /usr/sbin/grub-probe
rm -f /etc/grub.d/*
printf '#!/bin/sh\necho "linux /vmlinuz $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT"\n' > /etc/grub.d/10_linux
chmod 755 /etc/grub.d/10_linux
printf 'GRUB_CMDLINE_LINUX_DEFAULT="quiet mitigations=auto"\n' > /etc/default/grub
printf '[main]\nsummary=For a test\n[sysctl]\nnet.ipv4.tcp_fin_timeout=55\n' > /etc/tuned/base/tuned.conf
ip link set lo up
sysctl -qw net.ipv4.tcp_keepalive_time=7200
exec "$@"
"#;

/// Starts a scene inside; its output is that of this test.
fn in_namespace(scene: &str) {
    if !is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
            "sh",
            "-c",
            NAMESPACE,
            "sh",
        ])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "inside", "--nocapture", "--test-threads=1"])
        .env(INSIDE, scene)
        .status()
        .unwrap();
    assert!(status.success(), "{scene}: {status}");
}

/// The scenes. Does nothing when run as a test.
#[test]
fn inside() {
    match std::env::var(INSIDE).as_deref() {
        Ok("whole") => whole(),
        Ok("deadline") => deadline(),
        Ok("trouble") => trouble(),
        Ok("tools") => tools::read_what_is_rendered(),
        _ => {}
    }
}

#[test]
fn the_real_tools_take_what_is_committed_and_a_revert_leaves_nothing() {
    in_namespace("whole");
}

#[test]
fn what_nobody_keeps_in_time_is_taken_back() {
    in_namespace("deadline");
}

#[test]
fn full_disks_read_only_folders_and_kills_leave_nothing_half_written() {
    in_namespace("trouble");
}

#[test]
fn udev_and_modprobe_read_their_files() {
    in_namespace("tools");
}

fn values() -> Vec<String> {
    let paths = [
        "/proc/sys/vm/swappiness",
        "/sys/kernel/mm/ksm/sleep_millisecs",
        "/proc/sys/net/ipv4/tcp_keepalive_time",
    ];
    paths
        .iter()
        .map(|path| fs::read_to_string(path).unwrap().trim().to_string())
        .collect()
}

fn whole() {
    let place = Place::new();
    let tuned = tools::Tuned::start();
    let (before, values_before) = (tree(Path::new("/etc")), values());

    // A file that would win is named, and nothing is done.
    fs::write(
        "/etc/sysctl.d/99-local.conf",
        "\nnet.ipv4.tcp_keepalive_time = 7200\n",
    )
    .unwrap();
    let said = place.fails(5, "commit latest");
    assert!(
        said.contains("/etc/sysctl.d/99-local.conf:2 sets net.ipv4.tcp_keepalive_time = 7200 (IT WOULD WIN"),
        "{said}"
    );
    fs::remove_file("/etc/sysctl.d/99-local.conf").unwrap();
    let said = place.does("commit latest --dry-run");
    for part in [
        "+++ b/etc/sysctl.d/60-kvmtune.conf",
        "+vm.swappiness = 10",
        "tuned: profile base -> kvmtune",
        "60 -> 10",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(
        (tree(Path::new("/etc")), values()),
        (before.clone(), values_before.clone())
    );

    let said = place.does("commit latest");
    assert!(
        said.contains("NEEDS A REBOOT") && said.contains("kvmtune revert 1"),
        "{said}"
    );
    assert_eq!(values(), ["10", "50", "600"]);
    tools::sysctl();
    tools::tmpfiles();
    tools::grub();
    tuned.verify("kvmtune");
    let status = place.json("status");
    assert_eq!(
        (
            status["held"].as_bool(),
            status["commits"][0]["stamp"]["commit"].as_u64()
        ),
        (Some(true), Some(1))
    );
    let said = place.does("status");
    assert!(
        said.contains("mitigations = off") && said.contains("waits for a reboot"),
        "{said}"
    );
    assert!(place.fails(5, "commit latest").contains("is in force already"));

    // What somebody changes is seen, and not overwritten.
    fs::write("/proc/sys/net/ipv4/tcp_keepalive_time", "7200").unwrap();
    assert!(place.fails(9, "status").contains("NOT HELD: it reads `7200`"));
    assert!(
        place
            .fails(5, "revert")
            .contains("tcp_keepalive_time was changed since")
    );
    assert!(place.fails(5, "revert 7").contains("no commit 7"));
    fs::write("/proc/sys/net/ipv4/tcp_keepalive_time", "600").unwrap();

    place.does("revert 1");
    assert_eq!(values(), values_before);
    tuned.verify("base");
    assert!(
        !fs::read_to_string("/boot/grub/grub.cfg")
            .unwrap()
            .contains("mitigations=off")
    );
    drop(tuned);
    assert_eq!(place::differences(&before, &tree(Path::new("/etc"))), "");
    assert!(place.does("status").contains("nothing is committed"));

    // The one or the other only.
    place.does("commit latest --live");
    assert_eq!(values(), ["10", "50", "600"]);
    assert!(!Path::new("/etc/sysctl.d/60-kvmtune.conf").exists());
    place.does("revert");
    place.does("commit latest --config");
    assert_eq!(values(), values_before);
    assert!(place.does("status").contains("waits for a reboot"));
    place.does("revert");
    assert_eq!(place::differences(&before, &tree(Path::new("/etc"))), "");
    image(&place);
}

/// Files of an image only, and a ledger inside it.
fn image(place: &Place) {
    let image = place.path("image");
    fs::create_dir_all(image.join("etc/tuned")).unwrap();
    let (before, etc) = (tree(&image.join("etc")), tree(Path::new("/etc")));
    let said = place.does("commit latest --root image");
    assert!(said.contains("revert 1 --root image"), "{said}");
    let text = fs::read_to_string(image.join("etc/sysctl.d/60-kvmtune.conf")).unwrap();
    assert!(text.contains("vm.swappiness = 10"), "{text}");
    assert!(
        image.join("etc/tuned/kvmtune/tuned.conf").exists() && image.join("var/lib/kvmtune/commits").is_dir()
    );
    place.does("status --root image");
    fs::remove_file(image.join("etc/sysctl.d/60-kvmtune.conf")).unwrap();
    assert!(
        place
            .fails(9, "status --root image")
            .contains("NOT HELD: it is not there")
    );
    place.does("revert 1 --root image --force");
    assert_eq!(place::differences(&before, &tree(&image.join("etc"))), "");
    assert_eq!(place::differences(&etc, &tree(Path::new("/etc"))), "");
    // A link of the image that leads out of it leads nowhere.
    std::os::unix::fs::symlink("/../../../../etc/sysctl.d", image.join("etc/sysctl.d")).unwrap();
    place.fails(5, "commit latest --root image");
    assert_eq!(place::differences(&etc, &tree(Path::new("/etc"))), "");
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_mins(1), "{what} does not come");
        thread::sleep(Duration::from_millis(50));
    }
}

fn deadline() {
    let place = Place::new();
    let (before, values_before) = (tree(Path::new("/etc")), values());
    let is_back = || values() == values_before && !Path::new("/etc/sysctl.d/60-kvmtune.conf").exists();
    place.does("commit latest --confirm 2s");
    let unit = fs::read_to_string("/etc/systemd/system/kvmtune-overdue.service").unwrap();
    assert!(
        unit.contains("revert --overdue")
            && unit.contains("\nRestart=on-failure\n")
            && unit.contains(" tuned.service")
            && unit.contains(&place.path("state").display().to_string()),
        "{unit}"
    );
    assert!(!is_back());
    wait_for("the revert", is_back);
    wait_for("the end of the process", || tools::waiting().is_empty());
    assert_eq!(place::differences(&before, &tree(Path::new("/etc"))), "");
    let said = place.both("status");
    assert!(
        said.contains("commit 1 was not kept in time") && said.contains("nothing is committed"),
        "{said}"
    );

    // Kept, it stays, and nobody waits any longer.
    place.does("commit latest --confirm 1h");
    assert_eq!(tools::waiting().len(), 1);
    assert!(place.does("keep").contains("commit 2 is kept"));
    assert!(!Path::new("/etc/systemd/system/kvmtune-overdue.service").exists());
    wait_for("the end of the process", || tools::waiting().is_empty());
    assert!(place.fails(5, "keep").contains("no commit waits"));
    place.does("status");
    place.does("revert");

    // Where the process is gone, the next verb does it; or the unit, after a reboot.
    for verb in ["commit nothing-of-this-name", "revert --overdue"] {
        place.does("commit latest --confirm 1s");
        for pid in tools::waiting() {
            let pid = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        }
        thread::sleep(Duration::from_millis(1200));
        if verb.starts_with("commit") {
            assert!(!is_back());
            place.fails(5, "keep");
        } else {
            place.does(verb);
        }
        assert!(is_back(), "{verb}");
        assert_eq!(place::differences(&before, &tree(Path::new("/etc"))), "");
    }
    failing(&place);
    assert_eq!(place::differences(&before, &tree(Path::new("/etc"))), "");
}

fn trouble() {
    let place = Place::new();
    let (before, values_before) = (tree(Path::new("/etc")), values());
    let unchanged = |case: &str| {
        assert_eq!(
            place::differences(&before, &tree(Path::new("/etc"))),
            "",
            "{case}"
        );
        assert_eq!(values(), values_before, "{case}");
        assert!(place.does("status").contains("nothing is committed"), "{case}");
    };
    let run = |argv: &[&str]| {
        assert!(
            Command::new(argv[0]).args(&argv[1..]).status().unwrap().success(),
            "{argv:?}"
        );
    };

    // A disk without a free byte.
    run(&[
        "mount",
        "-t",
        "tmpfs",
        "-o",
        "size=4k,nr_inodes=2",
        "tmpfs",
        "/etc/tmpfiles.d",
    ]);
    fs::write("/etc/tmpfiles.d/fill", vec![b'#'; 4096]).unwrap();
    let said = place.fails(5, "commit latest");
    assert!(
        said.contains("failed to write /etc/tmpfiles.d/60-kvmtune.conf: No space left"),
        "{said}"
    );
    run(&["umount", "/etc/tmpfiles.d"]);
    unchanged("full disk");

    // A folder that may not be written to.
    run(&["mount", "--bind", "/etc/default", "/etc/default"]);
    run(&["mount", "-o", "remount,bind,ro", "/etc/default"]);
    let said = place.fails(5, "commit latest");
    assert!(
        said.contains("/etc/default/grub.d/60-kvmtune.cfg: Read-only file system"),
        "{said}"
    );
    run(&["umount", "/etc/default"]);
    unchanged("read-only");

    // A menu that cannot be made.
    fs::write("/etc/grub.d/10_linux", "#!/bin/sh\nexit 3\n").unwrap();
    let broken = tree(Path::new("/etc"));
    let said = place.fails(5, "commit latest");
    assert!(said.contains("update-grub"), "{said}");
    assert_eq!(values(), values_before);
    fs::write("/etc/grub.d/10_linux", MENU).unwrap();
    assert_eq!(
        place::differences(&broken, &tree(Path::new("/etc")))
            .matches("10_linux")
            .count(),
        1
    );
    unchanged("no menu");

    killed(&place);
    unchanged("killed");

    // What a run has left is undone first.
    fs::write(
        place.path("state/journal.jsonl"),
        "{\"opened\":{\"seq\":0,\"undo\":{\"write\":{\"address\":{\"host-file\":{\"path\":\"/proc/sys/vm/swappiness\",\"format\":\"plain\"}},\
         \"kind\":{\"integer\":{\"min\":0,\"max\":100}},\"old\":\"60\",\"scope\":{\"boot\":{\"id\":\"x\"}}}}}}\n",
    )
    .unwrap();
    assert!(place.fails(5, "commit latest").contains("run `kvmtune recover`"));
    place.does("recover");
    unchanged("an open journal");
    bad_inputs(&place);
    unchanged("bad inputs");
}

const MENU: &str = "#!/bin/sh\necho \"linux /vmlinuz $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT\"\n";

/// A commit while it makes the menu, which takes this many seconds.
fn making_the_menu(place: &Place, verb: &str, seconds: u32) -> std::process::Child {
    let _ = fs::remove_file("/run/made");
    let first = format!("#!/bin/sh\ntouch /run/made\nsleep {seconds}\n");
    let slow = MENU.replace("#!/bin/sh\n", &first);
    fs::write("/etc/grub.d/10_linux", slow).unwrap();
    let child = place.command(verb).spawn().unwrap();
    wait_for("the menu", || Path::new("/run/made").exists());
    assert!(Path::new("/etc/sysctl.d/60-kvmtune.conf").exists());
    child
}

/// Killed while it makes the menu: no run begins, and recover puts everything back; what nobody can keep is put back by what
/// waits for deadlines, too. A signal that can be heeded ends nothing half-way.
fn killed(place: &Place) {
    let mut child = making_the_menu(place, "commit latest", 60);
    let said = place.fails(5, "commit latest");
    assert!(said.contains("another kvmtune"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write("/etc/grub.d/10_linux", MENU).unwrap();
    assert!(place.fails(9, "status").contains("killed half-way"));
    assert!(place.fails(5, "run some.toml").contains("kvmtune recover"));
    assert!(
        place
            .does("recover")
            .contains("a commit that was killed half-way")
    );

    let mut child = making_the_menu(place, "commit latest --confirm 1h", 60);
    child.kill().unwrap();
    child.wait().unwrap();
    fs::write("/etc/grub.d/10_linux", MENU).unwrap();
    place.does("revert --overdue");
    assert!(!Path::new("/etc/sysctl.d/60-kvmtune.conf").exists());
    assert!(place.both("status").contains("killed half-way: what it had done"));

    let mut child = making_the_menu(place, "commit latest", 2);
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    for signal in [Signal::SIGINT, Signal::SIGHUP, Signal::SIGTERM] {
        nix::sys::signal::kill(pid, signal).unwrap();
    }
    assert!(child.wait().unwrap().success());
    fs::write("/etc/grub.d/10_linux", MENU).unwrap();
    place.does("status");
    place.does("revert");
}

/// What nobody may keep and what cannot be taken back: told, tried again, and no reason not to keep it.
fn failing(place: &Place) {
    let folder = "/etc/sysctl.d";
    let read_only = |options: &str| {
        for argv in [
            vec!["mount", "--bind", folder, folder],
            vec!["mount", "-o", options, folder],
        ] {
            assert!(Command::new(argv[0]).args(&argv[1..]).status().unwrap().success());
        }
    };
    let news = || fs::read_to_string(place.path("state/watchman.log")).unwrap();
    for keeps in [true, false] {
        let before = news().matches("could not be taken back").count();
        place.does("commit latest --confirm 3s");
        read_only("remount,bind,ro");
        wait_for("the failure", || {
            news().matches("could not be taken back").count() > before
        });
        if keeps {
            let said = place.both("keep");
            assert!(
                said.contains("could not be taken back") && said.contains("is kept"),
                "{said}"
            );
        }
        assert!(Command::new("umount").arg(folder).status().unwrap().success());
        wait_for("the end of the process", || tools::waiting().is_empty());
        assert_eq!(Path::new("/etc/sysctl.d/60-kvmtune.conf").exists(), keeps);
        if keeps {
            place.does("revert");
        }
    }
}

/// What proves nothing, and what is not there.
fn bad_inputs(place: &Place) {
    assert!(place.fails(5, "commit no-such-run").contains("no-such-run"));
    assert!(place.fails(5, "revert").contains("nothing is committed"));
    assert!(place.fails(4, "commit none").contains("has no winner"));
    assert!(place.fails(5, "commit simulated").contains("is a simulation"));
    assert!(place.fails(5, "commit elsewhere").contains("another host"));
    assert!(
        place
            .fails(2, "commit latest --root image --live")
            .contains("cannot be used with")
    );
    place.fails(2, "revert zero");
}
