//! kvmtune's own program for guests, `kvmtune-guest`, whose source is the folder `guest/`.
//!
//! Knows its bytes; does not know what it is run for.

/// What it is called in a workload's `argv` and in the lab's guest.
pub(crate) const NAME: &str = "kvmtune-guest";

/// A static program for this machine's kind of processor, made by build.rs.
pub(crate) const BYTES: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/kvmtune-guest"));
