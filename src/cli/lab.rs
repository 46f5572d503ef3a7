//! `kvmtune lab build | shell | status | clean`.

use super::exit::Code;
use super::failure::Failure;
use super::recover::recover_patiently;
use super::watchman::open_host;
use super::{Common, print, print_json, say};
use crate::check::host_lacks;
use crate::experiment::{Company, Guest};
use crate::host::{Cancel, Host, HostError, Power};
use crate::lab::{image, probe};
use crate::session::{Session, Watch};
use crate::units::Bytes;
use std::fs;
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// What to do with the lab.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Build the guest's image from this machine's packages, unless it is built
    Build,
    /// Start the guest and run commands in it, one a line from stdin, each by `sh -c`
    Shell,
    /// Tell what is built and whether KVM is used
    Status,
    /// Take down leftovers and remove the images
    Clean,
}

pub(super) fn lab(common: &Common, verb: &Verb) -> Result<Code, Failure> {
    if matches!(verb, Verb::Build | Verb::Shell) {
        let lacks = host_lacks(None);
        if !lacks.is_empty() {
            return Err(Failure::Lacks(lacks));
        }
    }
    match verb {
        Verb::Build => build(common),
        Verb::Shell => shell(common),
        Verb::Status => status(common),
        Verb::Clean => clean(common),
    }
}

fn build(common: &Common) -> Result<Code, Failure> {
    let clock = Instant::now();
    let image = image::build(&common.cache).map_err(|e| Failure::environment(e.to_string()))?;
    let folder = image
        .kernel
        .parent()
        .map(|p| p.display().to_string())
        .unwrap_or_default();
    if common.json {
        print_json(&serde_json::json!({ "hash": image.hash.as_str(), "folder": folder }))?;
    } else {
        print(&format!(
            "{}\n{folder}\nready after {:.1?}",
            image.hash,
            clock.elapsed()
        ));
    }
    Ok(Code::Done)
}

fn status(common: &Common) -> Result<Code, Failure> {
    let missing = image::missing();
    let images = image_folders(common);
    let leftovers = crate::change::Journal::open(&common.state).map_or_else(
        |e| vec![e.to_string()],
        |j| j.left().iter().map(ToString::to_string).collect::<Vec<_>>(),
    );
    let kvm = if missing.is_empty() {
        let image = image::build(&common.cache).map_err(|e| Failure::environment(e.to_string()))?;
        match probe::probe_kvm(&image, probe::DEFAULT_LIMIT) {
            probe::KvmProbe::Works => "KVM: works".to_string(),
            probe::KvmProbe::Unusable { reason } => {
                format!("KVM: not usable ({reason}); software emulation is used")
            }
        }
    } else {
        format!("not installed: {}", image::install_command(&missing))
    };
    if common.json {
        print_json(&serde_json::json!({ "images": images, "kvm": kvm, "leftovers": leftovers }))?;
    } else {
        print(&kvm);
        for image in &images {
            print(&format!("image: {image}"));
        }
        for leftover in &leftovers {
            print(&format!("leftover: {leftover}"));
        }
    }
    Ok(Code::Done)
}

fn image_folders(common: &Common) -> Vec<String> {
    let entries = fs::read_dir(&common.cache).into_iter().flatten().flatten();
    let mut folders: Vec<_> = entries
        .map(|e| e.path())
        .filter(|p| p.join("vmlinuz").is_file())
        .map(|p| p.display().to_string())
        .collect();
    folders.sort();
    folders
}

/// Removes only what is recognisably an image or libvirt's answers about QEMU.
fn clean(common: &Common) -> Result<Code, Failure> {
    let report = recover_patiently(&common.dirs())?;
    for entry in &report.entries {
        print(&entry.to_string());
    }
    if !report.is_complete() {
        return Err(Failure::NotRestored("run `kvmtune recover`".into()));
    }
    for folder in image_folders(common) {
        fs::remove_dir_all(&folder)
            .map_err(|e| Failure::environment(format!("cannot remove {folder}: {e}")))?;
        print(&format!("removed {folder}"));
    }
    let answers = common.cache.join("libvirt");
    if answers.is_dir() {
        fs::remove_dir_all(&answers)
            .map_err(|e| Failure::environment(format!("cannot remove {}: {e}", answers.display())))?;
    }
    Ok(Code::Done)
}

fn shell(common: &Common) -> Result<Code, Failure> {
    let guest = Guest::Lab {
        vcpus: 2,
        memory: Bytes::mib(512),
        disk: Bytes::mib(256),
        ssh: false,
        company: Company::default(),
    };
    let failed = |e: HostError| Failure::environment(e.to_string());
    let mut session = open_host(common, &guest, false, Watch::default(), Cancel::default())?;
    let clock = Instant::now();
    let talked = session.host.power(Power::On).map_err(failed).and_then(|()| {
        say(&format!(
            "guest ready after {:.2}s; one command a line, end with Ctrl-D",
            clock.elapsed().as_secs_f64()
        ));
        talk(&session)
    });
    session.close().map_err(Failure::not_given_back)?;
    talked.map(|()| Code::Done)
}

/// No terminal in the guest: each line is a command of its own, its output printed when it ends.
fn talk(session: &Session) -> Result<(), Failure> {
    let host = session.host.local();
    let host = host.ok_or_else(|| Failure::environment("a simulated guest has no shell"))?;
    let guest = host
        .transport()
        .map_err(|e| Failure::environment(e.to_string()))?;
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        match guest.exec(&["/bin/sh", "-c", &line], None, Duration::from_mins(1)) {
            Ok(done) => {
                print_bytes(&done.stdout);
                say(&String::from_utf8_lossy(&done.stderr));
                if done.exit_code != 0 {
                    say(&format!("[exit {}]", done.exit_code));
                }
            }
            Err(error) => say(&format!("error: {error}")),
        }
    }
    Ok(())
}

fn print_bytes(bytes: &[u8]) {
    let _ = std::io::stdout().lock().write_all(bytes);
}
