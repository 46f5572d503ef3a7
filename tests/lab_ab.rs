//! Two builds compared in one interleaved run: every trial is measured on the build its treatment names, as the
//! processes of this host show, and nothing of it stays.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(missing_docs, reason = "tests")]

#[allow(dead_code, unreachable_pub, reason = "shared with tests that use more of it")]
mod libvirtd;

use jiff::{SignedDuration, Timestamp};
use libvirtd::{Agents, Daemon};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

const QEMU: &str = "/usr/bin/qemu-system-x86_64";

/// Two treatments of two blocks, after the discarded one.
const TRIALS: usize = 6;

/// One look at a guest's process.
struct Seen {
    at: Timestamp,
    program: String,
    command: String,
}

/// The process of the guest whose name begins with `guest`.
fn look(guest: &str) -> Option<Seen> {
    let needle = format!("guest={guest}");
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let command = fs::read(entry.path().join("cmdline")).ok()?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        let program = fs::read_link(entry.path().join("exe")).ok()?;
        let is_guest = command.contains(&needle) && command.contains(" -uuid ");
        is_guest.then(|| Seen {
            at: Timestamp::now(),
            program: program.display().to_string(),
            command,
        })
    })
}

/// Runs `command` to its end, which must be a good one, and watches the guest meanwhile.
fn watch(command: &mut Command, guest: &str) -> Vec<Seen> {
    let mut run = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut seen = Vec::new();
    while run.try_wait().unwrap().is_none() {
        seen.extend(look(guest));
        thread::sleep(Duration::from_millis(100));
    }
    assert!(run.wait().unwrap().success());
    seen
}

/// Each trial, as exported, was measured while only builds of its treatment were seen. `is_build` tells whether what
/// was seen is what the treatment of this name sets.
fn assert_each_had_its_build(jsonl: &[u8], seen: &[Seen], is_build: impl Fn(&str, &Seen) -> bool) {
    let lines = jsonl.split(|b| *b == b'\n').filter(|line| !line.is_empty());
    let events: Vec<Value> = lines.map(|line| serde_json::from_slice(line).unwrap()).collect();
    let treatments = events[0]["event"]["header"]["plan"]["treatments"]
        .as_array()
        .unwrap();
    let records = events
        .iter()
        .map(|e| &e["event"]["record"])
        .filter(|r| r.is_object());
    let mut measured = 0;
    for record in records {
        assert_eq!(record["outcome"]["outcome"], "measured", "{record:#}");
        let id = &record["trial"]["treatment"];
        let name = treatments.iter().find(|t| t["id"] == *id).unwrap()["name"]
            .as_str()
            .unwrap();
        let start: Timestamp = record["started"].as_str().unwrap().parse().unwrap();
        let seconds = record["timing"]["total"]["secs"].as_i64().unwrap();
        let end = start + SignedDuration::from_secs(seconds);
        let during: Vec<_> = seen.iter().filter(|s| s.at > start && s.at < end).collect();
        assert!(!during.is_empty(), "nothing was seen of {name} at {start}");
        for look in during {
            assert!(is_build(name, look), "{name}: {} {}", look.program, look.command);
        }
        measured += 1;
    }
    assert_eq!(measured, TRIALS);
}

fn kvmtune(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvmtune"));
    command
        .current_dir(folder)
        .args(["--state", "state", "--results", "results", "--cache"])
        .arg(libvirtd::common::cache())
        .args(arguments);
    command
}

/// An a-b experiment in the lab on treatments `one` and `two`, run to its end.
fn compare_in_lab(folder: &Path, one: &str, two: &str, is_build: impl Fn(&str, &Seen) -> bool) {
    let treatment = |name, set| format!("[[treatment]]\nname = \"{name}\"\nset = {{ {set} }}\n");
    let text = format!(
        "{}{}[workload]\nuse = \"fio-randread-4k\"\ntime = \"2s\"\nwarmup = \"0s\"\n\
         [design]\nkind = \"a-b\"\nblocks = 2\nconfirm = false\n",
        treatment("one", one),
        treatment("two", two)
    );
    fs::write(folder.join("ab.toml"), text).unwrap();
    let seen = watch(&mut kvmtune(folder, &["run", "--quiet", "ab.toml"]), "kvmtune-");
    let exported = kvmtune(folder, &["export", "--jsonl"]).output().unwrap();
    assert!(exported.status.success(), "{exported:?}");
    assert_each_had_its_build(&exported.stdout, &seen, is_build);
    // Neither a guest nor its disk, and nothing left to undo.
    assert!(look("kvmtune-").is_none());
    let left: Vec<_> = fs::read_dir(folder.join("state")).unwrap().flatten().collect();
    assert!(
        !left
            .iter()
            .any(|e| e.file_name().to_string_lossy().ends_with(".img")),
        "{left:?}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("state/journal.jsonl")).unwrap(),
        ""
    );
}

#[test]
fn two_machine_types() {
    if !libvirtd::common::lab_is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = ("\"domain.machine\" = \"q35\"", "\"domain.machine\" = \"pc\"");
    compare_in_lab(folder.path(), one, two, |name, seen| {
        let wanted = if name == "one" {
            "-machine pc-q35-"
        } else {
            "-machine pc-i440fx-"
        };
        seen.command.contains(wanted)
    });
}

#[test]
fn two_emulators() {
    if !libvirtd::common::lab_is_possible() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // QEMU finds its modules and firmware from where it stands.
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink("/usr/lib", folder.path().join("lib")).unwrap();
    symlink("/usr/share", folder.path().join("share")).unwrap();
    let copy = bin.join("qemu-system-x86_64");
    fs::copy(QEMU, &copy).unwrap();
    let copy = fs::canonicalize(copy).unwrap().display().to_string();

    let factor = "[factor]\ntunable = \"domain.emulator\"\nlevels = [\"/no/such/qemu\", \"/usr/bin/env\"]\n";
    let text = format!("{factor}[workload]\nuse = \"fio-randread-4k\"\n");
    fs::write(folder.path().join("bad.toml"), text).unwrap();
    let refused = kvmtune(folder.path(), &["plan", "bad.toml"]).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(3), "{said}");
    let marks = [
        "level `/no/such/qemu`",
        "there is no file",
        "level `/usr/bin/env`",
        "`qemu` in its name",
    ];
    for mark in marks {
        assert!(said.contains(mark), "{said}");
    }

    let set = |path: &str| format!("\"domain.emulator\" = \"{path}\"");
    compare_in_lab(folder.path(), &set(QEMU), &set(&copy), |name, seen| {
        seen.program == if name == "one" { QEMU } else { &copy }
    });
}

#[test]
fn two_machines_and_images_of_a_users_domain() {
    let Some(daemon) = Daemon::start() else { return };
    let user = daemon.define("kt-user", Agents::Willing);
    let image = |name: &str| daemon.folder().join(name).display().to_string();
    let (own, other) = (image("kt-user.img"), image("other.img"));
    fs::write(&other, vec![7; 64 << 20]).unwrap();
    let before = fs::read(&own).unwrap();
    let experiment = |one: &str, two: &str| {
        let text = format!(
            "[guest]\ndomain = \"kt-user\"\nconnect = \"{}\"\ndisk = \"vdb\"\nscratch = \"/tmp/kvmtune.dat\"\n\
             [[treatment]]\nname = \"one\"\nset = {{ \"domain.machine\" = \"q35\", \"domain.disk.image\" = \"{one}\" }}\n\
             [[treatment]]\nname = \"two\"\nset = {{ \"domain.machine\" = \"pc\", \"domain.disk.image\" = \"{two}\" }}\n\
             [workload]\nuse = \"tiny\"\ntime = \"2s\"\n[design]\nkind = \"a-b\"\nblocks = 2\nconfirm = false\n",
            daemon.uri()
        );
        let file = daemon.experiment("kt-user", "");
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let tools = kvmtune::lab::image::build(&libvirtd::common::cache())
        .unwrap()
        .tools;
    for (two, why) in [
        (image("missing.img"), "there is no file"),
        (tools.display().to_string(), "own disk vda already"),
    ] {
        let refused = daemon.expect(3, &["plan", &experiment(&own, &two)]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(why), "{said}");
    }

    let file = experiment(&own, &other);
    let seen = watch(&mut daemon.kvmtune(&["run", "--quiet", &file]), "kt-user,");
    let exported = daemon.expect(0, &["export", "--jsonl"]);
    assert_each_had_its_build(&exported.stdout, &seen, |name, seen| {
        let (machine, image) = if name == "one" {
            ("pc-q35-", &own)
        } else {
            ("pc-i440fx-", &other)
        };
        seen.command.contains(&format!("-machine {machine}")) && seen.command.contains(image)
    });
    assert!(!user.is_on());
    assert_eq!(daemon.journal(), "");
    assert!(fs::read(&own).unwrap() == before);
    user.assert_definition_is_untouched();
}
