//! A process that ends itself as a power cut would.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// An observer that kills this process at a point.
pub(crate) fn die_at(point: u64) -> Box<dyn FnMut(u64) + Send> {
    Box::new(move |n| {
        if n == point {
            kill(Pid::this(), Signal::SIGKILL).unwrap();
        }
    })
}
