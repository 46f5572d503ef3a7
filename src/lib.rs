//! kvmtune: a benchmark-driven auto-tuner for KVM guests. The modules in the order data passes through them:
//!
//! ```text
//! experiment.toml ─► experiment ─► design ─► runner ─► event ─► store
//!                        ▲           ▲         │                  │ fold
//!          tunable, workload, facts ─┘         ▼                  ▼
//!                              change ─► host, lab      decision ─► analysis ─► report
//! ```
//!
//! ARCHITECTURE.md tells what each knows and does not know.

// Words of every module.
pub mod diagnostic;
pub mod units;

// What is asked for; pure.
mod decode;
pub mod experiment;
pub mod facts;
pub mod persist;
pub mod tunable;

// In what order; pure.
pub mod design;

// On what, when there is no machine; pure.
pub mod simulation;

// What the machine did meanwhile; pure.
pub mod telemetry;

// The machine.
pub mod across;
pub mod change;
pub mod check;
pub mod commit;
pub mod host;
pub mod lab;
pub mod session;
pub mod workload;

// Doing it and keeping it.
pub mod event;
pub mod runner;
pub mod store;

// What it shows.
pub mod analysis;
pub mod decision;
pub mod report;

pub mod cli;
