//! The machine and its guests: the effects. It knows how to read and change one thing, not why.

pub mod agent;
pub mod libvirt;
