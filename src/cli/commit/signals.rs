//! Signals that would end a verb while it changes a machine: heard, and nothing more. What was begun ends or is undone.

use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// As long as this is there, and after it, Ctrl-C, a hang-up and a plain `kill` end nothing.
pub(super) struct Unheard {
    _signals: Vec<Signal>,
    _runtime: Runtime,
}

/// Does not heed these signals from now on; the programs it starts do. `None` where that cannot be had: a kill is then put
/// back by the next verb.
pub(super) fn unheard() -> Option<Unheard> {
    let runtime = Builder::new_current_thread().enable_all().build().ok()?;
    let kinds = [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ];
    let inside = runtime.enter();
    let signals = kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect();
    drop(inside);
    Some(Unheard {
        _signals: signals,
        _runtime: runtime,
    })
}
