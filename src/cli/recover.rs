//! `kvmtune recover`.

use super::commit::put_back_half_made;
use super::exit::Code;
use super::failure::Failure;
use super::watchman::tell_news;
use super::{Common, print, print_json, say};
use crate::change::{ChangeError, Holder, Keeper, RecoverReport};
use crate::session::{Dirs, SessionError, recover_host};
use std::thread;
use std::time::{Duration, Instant};

/// For how long whoever holds the lock is waited for.
fn patience(holder: Holder) -> Duration {
    match holder {
        // A guest that does not shut down holds it up for five minutes.
        Holder::Known(Keeper::Watchman, _) => Duration::from_mins(10),
        // A lock is taken a moment before its holder is written down.
        Holder::Unknown => Duration::from_millis(500),
        // It may take a night.
        Holder::Known(Keeper::Verb, _) => Duration::ZERO,
    }
}

/// Arguments of `recover`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Give up what a killed commit left in domains and their guests where it cannot be put back: a guest that never starts again
    #[arg(long)]
    force: bool,
}

pub(super) fn recover(common: &Common, args: &Args) -> Result<Code, Failure> {
    let dirs = common.dirs();
    let report = recover_patiently(&dirs)?;
    tell_news(&dirs);
    let mut lines: Vec<_> = report.entries.iter().map(ToString::to_string).collect();
    if report.is_complete() {
        lines.extend(put_back_half_made(&dirs.state, args.force)?);
    }
    if common.json {
        print_json(&serde_json::json!({ "complete": report.is_complete(), "entries": lines }))?;
    } else if lines.is_empty() {
        print("nothing to recover: no killed run has left anything on this host");
    } else {
        for line in &lines {
            print(line);
        }
    }
    if report.is_complete() {
        Ok(Code::Done)
    } else if report.awaits_reboot() {
        Ok(Code::AwaitsReboot)
    } else {
        Err(Failure::NotRestored(
            "see the entries above; mend what they name and run `kvmtune recover` again".into(),
        ))
    }
}

/// Recovers, after a watchman that is about it already.
pub(super) fn recover_patiently(dirs: &Dirs) -> Result<RecoverReport, SessionError> {
    let started = Instant::now();
    let mut is_told = false;
    loop {
        match recover_host(dirs) {
            Err(SessionError::Change(ChangeError::Locked { holder, .. }))
                if started.elapsed() < patience(holder) =>
            {
                if !is_told && started.elapsed() > Duration::from_secs(1) {
                    say(&format!("waiting: {holder}"));
                    is_told = true;
                }
                thread::sleep(Duration::from_millis(50));
            }
            done => return done,
        }
    }
}
