//! Builds kvmtune's own program for guests (`guest/`), which `host::program` embeds: one binary to hand out, and a
//! program that is always optimised and static, however kvmtune itself is built.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Same sources and compiler, same bytes: images of the lab's guest are named by the hash of what is in them. So no
/// flag of the user's build reaches the program, and no path gets into it.
const FLAGS: &[&str] = &[
    "--crate-name=kvmtune_guest",
    "--crate-type=bin",
    "--edition=2024",
    "-Copt-level=3",
    "-Ccodegen-units=1",
    "-Ctarget-feature=+crt-static",
    "-Cpanic=abort",
    "-Cstrip=symbols",
];

fn main() {
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-changed=build.rs");
    let of = |name| env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name}"));
    let program = PathBuf::from(of("OUT_DIR")).join("kvmtune-guest");
    let target = env::var("TARGET").expect("cargo sets TARGET");
    // For the test that compiles the program once more.
    println!("cargo::rustc-env=KVMTUNE_TARGET={target}");
    if let Err(why) = compile(Path::new(&of("CARGO_MANIFEST_DIR")), &target, &program) {
        panic!(
            "the program for guests is not built: {why}\nIt is linked statically, which takes a C compiler and \
             libc.a: `apt-get install gcc libc6-dev`"
        );
    }
}

/// Compiles `guest/main.rs` below `project` into the file `program`.
pub(crate) fn compile(project: &Path, target: &str, program: &Path) -> Result<(), String> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(rustc);
    command
        .current_dir(project)
        .args(FLAGS)
        .args(["--target", target]);
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        command.arg("-C").arg(format!("linker={}", linker.display()));
    }
    command.arg("-o").arg(program).arg("guest/main.rs");
    let output = command.output().map_err(|e| format!("cannot start rustc: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}
