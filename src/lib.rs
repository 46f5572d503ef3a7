//! kvmtune: a benchmark-driven auto-tuner for KVM guests.

pub mod analysis;
pub mod change;
pub mod check;
pub mod cli;
pub mod decision;
mod decode;
pub mod design;
pub mod diagnostic;
pub mod event;
pub mod experiment;
pub mod facts;
pub mod host;
pub mod lab;
pub mod report;
pub mod runner;
pub mod session;
pub mod store;
pub mod tunable;
pub mod units;
pub mod workload;
