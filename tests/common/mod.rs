//! What the lab tests share: whether there can be a lab, and where its image is kept.

use std::path::PathBuf;

/// Whether guests can be started here; otherwise says why the test is skipped. With `KVMTUNE_REQUIRE_LAB=1` a skip
/// is a failure.
pub(crate) fn lab_is_possible() -> bool {
    let mut lacks: Vec<String> = kvmtune::lab::image::missing()
        .iter()
        .map(|m| format!("{} ({})", m.package, m.what))
        .collect();
    if !nix::unistd::geteuid().is_root() {
        lacks.push("root".into());
    }
    if lacks.is_empty() {
        return true;
    }
    let why = format!("no lab here: {} missing", lacks.join(", "));
    assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}

/// The image is kept between runs: it is named by the hash of all it is made of.
pub(crate) fn cache() -> PathBuf {
    std::env::temp_dir().join("kvmtune-test-cache")
}

/// Whether the lab's guest can have an ssh server; otherwise says why the test is skipped.
#[allow(dead_code, reason = "not every test binary asks")]
pub(crate) fn ssh_is_possible() -> bool {
    let mut programs = kvmtune::lab::ssh::PROGRAMS.iter();
    let lacking = programs.find(|(program, _)| kvmtune::lab::image::find(program).is_none());
    let Some((_, package)) = lacking else { return true };
    let why = format!("no ssh to the lab: {package} missing");
    assert!(std::env::var_os("KVMTUNE_REQUIRE_LAB").is_none(), "{why}");
    eprintln!("skipped: {why}");
    false
}
