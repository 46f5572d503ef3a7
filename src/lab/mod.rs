//! The lab: a guest of our own in a network of its own. It does not know what is measured there.

pub mod net;
