//! kvmtune: a benchmark-driven auto-tuner for KVM guests.

pub mod change;
pub mod diagnostic;
pub mod experiment;
pub mod facts;
pub mod host;
pub mod tunable;
pub mod units;
pub mod workload;
