//! The set-up script against pretended machines: what it would run, and that it runs nothing when nothing is missing.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use tempfile::TempDir;

/// What the script prints in a dry run on a machine where these programs give these answers.
fn setup(what: &[&str], programs: &[(&str, &str)]) -> String {
    let folder = TempDir::new().unwrap();
    let always = [
        ("cargo", ""),
        ("cargo-nextest", ""),
        ("id", "echo 0"),
        ("dpkg", "echo amd64"),
    ];
    for (name, body) in always.iter().chain(programs) {
        let path = folder.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let done = Command::new("scripts/setup.sh")
        .args(what)
        .env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()))
        .env("SETUP_DRY_RUN", "1")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// Answers `dpkg-query`: with `installed` as installed, of which the last ones come from QEMU.
fn dpkg_query(installed: &str, of_qemu: &str) -> String {
    format!(
        "case \"$*\" in\n*source:Package*) for p in {of_qemu}; do echo \"installed qemu $p\"; done ;;\n\
         *) for p in {installed}; do echo \"$p installed\"; done; echo 'fio not-installed'; exit 1 ;;\nesac"
    )
}

#[test]
fn nothing_is_done_when_nothing_is_missing() {
    let all = "shift 3; for p in \"$@\"; do echo \"$p installed\"; done";
    let asked = [
        ("dpkg-query", all),
        ("apt-cache", "exit 9"),
        ("apt-get", "exit 9"),
    ];
    assert_eq!(setup(&[], &asked), "");
    assert_eq!(setup(&["test"], &asked), "");
}

#[test]
fn what_is_missing_is_installed_without_questions() {
    let apt_cache = "echo '  Candidate: 1:7.2+dfsg-7+b3'";
    let query = dpkg_query("qemu-utils mount", "qemu-utils");
    let printed = setup(&[], &[("dpkg-query", &query), ("apt-cache", apt_cache)]);
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("update"), "{printed}");
    assert!(
        lines[1].contains("DEBIAN_FRONTEND=noninteractive") && lines[1].contains("--yes"),
        "{printed}"
    );
    assert!(
        lines[1].contains(" fio ") && lines[1].contains(" qemu-system-x86 "),
        "{printed}"
    );
    assert!(
        !lines[1].contains("qemu-utils") && !lines[1].contains(" mount "),
        "{printed}"
    );
}

#[test]
fn parts_of_a_newer_qemu_go_back_to_the_version_that_fits() {
    let apt_cache = "case \"$*\" in\n\
        'policy qemu-system-x86') echo '  Candidate: 1:7.2+dfsg-7+b3' ;;\n\
        policy*) echo '  Candidate: 1:10.0.2+ds-1~bpo12+1' ;;\n\
        madison*) echo ' p | 1:10.0.2+ds-1~bpo12+1 | x'; echo ' p | 1:7.2+dfsg-7+b3 | x'; echo ' p | 1:7.2 | x' ;;\n\
        esac";
    let query = dpkg_query("qemu-utils", "qemu-utils");
    let printed = setup(&[], &[("dpkg-query", &query), ("apt-cache", apt_cache)]);
    assert!(printed.contains("--allow-downgrades"), "{printed}");
    assert!(
        printed.trim_end().ends_with(" qemu-utils=1:7.2+dfsg-7+b3"),
        "{printed}"
    );
}

#[test]
fn all_that_the_lab_guest_is_made_of_is_installed() {
    let apt_cache = "echo '  Candidate: 1:7.2'";
    let printed = setup(
        &[],
        &[("dpkg-query", &dpkg_query("", "")), ("apt-cache", apt_cache)],
    );
    let installs = |package: &str| printed.split_whitespace().any(|word| word == package);
    for (_, package) in kvmtune::lab::image::TOOLS {
        assert!(installs(package), "scripts/setup.sh lacks {package}");
    }
    let optional = ["cyclictest", "hackbench", "sockperf", "sysbench"];
    for package in optional.map(kvmtune::lab::image::package_of) {
        assert!(installs(package), "scripts/setup.sh lacks {package}");
    }
    for (_, package) in kvmtune::lab::ssh::PROGRAMS {
        assert!(installs(package), "scripts/setup.sh lacks {package}");
    }
    for lack in kvmtune::lab::image::missing() {
        assert!(installs(lack.package), "scripts/setup.sh lacks {}", lack.package);
    }
}

/// A hypervisor that is to be tuned gets no browser, and never another tuner.
#[test]
fn what_only_tests_take_is_installed_for_tests_only() {
    let apt_cache = "echo '  Candidate: 1:7.2'";
    let query = dpkg_query("tuned-utils", "");
    let installed = |what: &[&str]| setup(what, &[("dpkg-query", &query), ("apt-cache", apt_cache)]);
    let (usual, for_tests) = (installed(&[]), installed(&["test"]));
    for package in [" chromium ", " tuned"] {
        assert!(
            !usual.contains(package) && for_tests.contains(package),
            "{for_tests}"
        );
    }
    // Its service would set the machine anew.
    let masked = for_tests.find("ln -sf /dev/null /etc/systemd/system/tuned.service");
    assert!(
        masked < for_tests.find(" install ") && masked.is_some(),
        "{for_tests}"
    );
}
