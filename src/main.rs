//! The binary: call the library, hand on its exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    // First, because it needs the process to have a single thread.
    kvmtune::host::libvirt::silence_log();
    kvmtune::cli::main()
}
