//! From settings to what keeps them.

pub mod definition;
