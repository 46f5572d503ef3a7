//! kvmtune: a benchmark-driven auto-tuner for KVM guests.

pub mod host;
pub mod lab;
