//! `kvmtune watchman`, which kvmtune starts for itself, and what other verbs say of it.

use super::exit::Code;
use super::failure::Failure;
use super::{Common, say};
use crate::experiment::Guest;
use crate::host::Cancel;
use crate::session::{Dirs, Logbook, Relief, Session, SessionError, Vigil, Watch};
use crate::units::Span;

/// The option of verbs that change the host.
#[derive(Debug, clap::Args)]
pub(super) struct DeadMan {
    /// When kvmtune was stopped or hung for so long, end it and restore the host; when it was killed, restore at once.
    /// `off`: leave both to `kvmtune recover`
    #[arg(long, value_name = "TIME", default_value_t = Watch::default())]
    dead_man: Watch,
}

impl DeadMan {
    pub(super) fn watch(&self) -> Watch {
        self.dead_man
    }
}

/// Arguments of `watchman`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The process that is watched
    #[arg(long)]
    parent: u32,
    /// How long it may be silent
    #[arg(long)]
    limit: Span,
}

pub(super) fn watchman(common: &Common, args: &Args) -> Result<Code, Failure> {
    let failed = |e: std::io::Error| Failure::environment(format!("cannot watch: {e}"));
    let vigil = Vigil::begin(args.parent, args.limit, common.dirs()).map_err(failed)?;
    Ok(match vigil.keep().map_err(failed)? {
        Relief::Idle | Relief::Restored => Code::Done,
        Relief::Left => Code::NotRestored,
    })
}

/// Opens the host of `guest`, telling first what a watchman did since the last verb; `in_boot` when this boot is that of a
/// run across reboots.
pub(super) fn open_host(
    common: &Common,
    guest: &Guest,
    in_boot: bool,
    watch: Watch,
    cancel: Cancel,
) -> Result<Session, SessionError> {
    let dirs = common.dirs();
    tell_news(&dirs);
    if in_boot {
        Session::open_in_boot(guest, &dirs, watch, cancel)
    } else {
        Session::open(guest, &dirs, watch, cancel)
    }
}

/// Tells, once, what a watchman did since the last verb.
pub(super) fn tell_news(dirs: &Dirs) {
    if let Some(news) = Logbook::of(&dirs.state).news() {
        say(&format!("note: {news}"));
    }
}
