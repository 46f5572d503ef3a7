//! The embedded lab: the default place to run an experiment, made from this machine's own packages.
//! It does not know what a trial, a treatment or a workload is.

pub mod image;
pub mod probe;
