//! kvmtune: a benchmark-driven auto-tuner for KVM guests.

pub mod lab;
