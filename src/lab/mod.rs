//! The embedded default: a small guest of kvmtune's own, in a private network namespace, on a loop device.
//!
//! Knows how the lab is built and taken down; does not know treatments or workloads.

pub mod image;
pub mod net;
