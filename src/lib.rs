//! kvmtune: a benchmark-driven auto-tuner for KVM guests.

pub mod analysis;
pub mod decision;
pub mod experiment;
