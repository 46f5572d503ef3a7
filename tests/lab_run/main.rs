//! The whole tool in the lab: what it finds, that the host is as before, and that nothing kills it for good.
//!
//! Each test runs the binary on guests of its own. The host must be otherwise quiet: its settings are compared.
#![allow(clippy::unwrap_used, reason = "tests")]

mod by_ssh;
#[path = "../common/mod.rs"]
mod common;
mod disk;
mod effect;
mod hostile;
mod kills;
mod place;
mod program;
mod stopped;
mod unchanged;
mod unproven;
mod watched;
