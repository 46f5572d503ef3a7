//! `kvmtune revert`, `keep` and `status`: what becomes of commits.

use super::overdue;
use super::signals::unheard;
use super::{need_root, open, shown, try_to_take_back_overdue};
use crate::change::{ChangeError, Keeper};
use crate::cli::exit::Code;
use crate::cli::failure::Failure;
use crate::cli::watchman::tell_news;
use crate::cli::{Common, print, print_json, say};
use crate::commit::{CommitError, Held, Ledger, Opened, Wanted, is_half_made};
use crate::host::{BareHost, Cancel};
use crate::persist::CommitId;
use crate::report::tame;
use std::path::{Path, PathBuf};

/// Arguments of `revert`.
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct RevertArgs {
    /// Number of the commit, as `kvmtune status` shows it; without one the newest
    id: Option<CommitId>,
    /// Also overwrite what somebody changed since
    #[arg(long)]
    force: bool,
    /// Only show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// In the image below this folder
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Wait for the deadlines of `commit --confirm`, and take back what nobody kept
    #[arg(long, conflicts_with_all = ["id", "force", "dry_run", "root"])]
    overdue: bool,
    /// Started by kvmtune itself: wait in a session of its own
    #[arg(long, hide = true, requires = "overdue")]
    detached: bool,
}

/// Arguments of `keep`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct KeepArgs {
    /// Number of the commit; without one the newest that waits
    id: Option<CommitId>,
}

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct StatusArgs {
    /// Of the image below this folder
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
}

pub(in crate::cli) fn revert(common: &Common, args: &RevertArgs) -> Result<Code, Failure> {
    need_root("revert")?;
    if args.overdue {
        return overdue::wait(&common.state, args.detached);
    }
    tell_news(&common.dirs());
    let mut host = BareHost::new(None, Cancel::default());
    let mut opened = open(common, args.root.as_deref(), args.dry_run, &mut host)?;
    if !args.dry_run {
        let taken = try_to_take_back_overdue(&mut opened)?;
        // It was the newest, or the one that was meant: the next one is not.
        if !taken.is_empty() && args.id.is_none_or(|id| taken.contains(&id)) {
            return Ok(Code::Done);
        }
    }
    let id = opened.ledger()?.find(args.id)?.stamp.commit;
    let wanted = if args.force {
        Wanted::Forced
    } else {
        Wanted::Careful
    };
    let (next, changes) = opened.reverting(id, wanted)?;
    let reboots: Vec<_> = changes.iter().filter(|change| change.needs_reboot()).collect();
    let needs_reboot = !reboots.is_empty();
    if common.json {
        let shown: Vec<_> = changes.iter().map(shown::change).collect();
        print_json(&serde_json::json!({
            "reverted": id, "dry_run": args.dry_run, "changes": shown, "needs_reboot": needs_reboot,
        }))?;
    } else {
        print(&shown::bundle(&changes, &[]));
    }
    if args.dry_run {
        return Ok(Code::Done);
    }
    let _unheard = unheard();
    opened.carry_out(next, changes)?;
    if !common.json {
        print(&format!("commit {id} is taken back"));
        if needs_reboot {
            print("the command line of the running kernel stays as it is until a reboot");
        }
    }
    Ok(Code::Done)
}

pub(in crate::cli) fn keep(common: &Common, args: &KeepArgs) -> Result<Code, Failure> {
    need_root("keep")?;
    tell_news(&common.dirs());
    let mut host = BareHost::new(None, Cancel::default());
    let mut opened = open(common, None, false, &mut host)?;
    try_to_take_back_overdue(&mut opened)?;
    let ledger = opened.ledger()?;
    let waiting = ledger
        .commits
        .iter()
        .rfind(|commit| commit.stamp.deadline.is_some());
    let commit = match (args.id, waiting) {
        (Some(id), _) => ledger.find(Some(id))?,
        (None, Some(commit)) => commit,
        (None, None) => {
            return Err(Failure::environment(
                "no commit waits to be kept; `kvmtune status` shows them",
            ));
        }
    };
    let id = commit.stamp.commit;
    if commit.stamp.deadline.is_none() {
        print(&format!("commit {id} does not wait to be kept: it stays"));
        return Ok(Code::Done);
    }
    let (next, changes) = opened.keeping(id)?;
    let _unheard = unheard();
    opened.carry_out(next, changes)?;
    print(&format!("commit {id} is kept"));
    Ok(Code::Done)
}

pub(in crate::cli) fn status(common: &Common, args: &StatusArgs) -> Result<Code, Failure> {
    need_root("status")?;
    let mut host = BareHost::new(None, Cancel::default());
    let mut opened = match &args.root {
        Some(root) => Opened::image_looked_at(root)?,
        None if !common.state.exists() => return show(common, &Ledger::default(), &[], false),
        None => {
            tell_news(&common.dirs());
            Opened::looked_at(&common.state, &mut host)?
        }
    };
    let is_half_made = opened.is_half_made()?;
    let found = opened.status()?;
    show(common, &opened.ledger()?, &found, is_half_made)
}

fn show(
    common: &Common,
    ledger: &Ledger,
    found: &[crate::commit::Finding],
    is_half_made: bool,
) -> Result<Code, Failure> {
    let is_held = !is_half_made && !found.iter().any(|finding| matches!(finding.held, Held::No(_)));
    if common.json {
        print_json(&serde_json::json!({
            "held": is_held, "half_made": is_half_made, "commits": ledger.commits, "found": found,
        }))?;
    } else {
        print(&shown::status(ledger, found));
        if is_half_made {
            say(
                "a verb was killed half-way, or is at work now: the next commit or revert, or `kvmtune recover` for a host, puts back what it did",
            );
        }
    }
    Ok(if is_held { Code::Done } else { Code::NotHeld })
}

/// For `recover`: puts back what a verb of commits had half made when it was killed; with `force` what cannot be put back in
/// domains and their guests is given up. Gives lines that say so.
pub(in crate::cli) fn put_back_half_made(state: &Path, force: bool) -> Result<Vec<String>, Failure> {
    if !is_half_made(state) {
        return Ok(Vec::new());
    }
    let mut host = BareHost::new(None, Cancel::default());
    if force {
        let (_, given_up) = Opened::giving_up(state, &mut host, Keeper::Verb)?;
        let given_up = given_up
            .iter()
            .map(|what| format!("given up, put it back by hand: {}", tame(what, 400)));
        return Ok(["a commit that was killed half-way: put back".to_string()]
            .into_iter()
            .chain(given_up)
            .collect());
    }
    match Opened::host(state, &mut host, Keeper::Verb) {
        Ok((_, Some(count))) => Ok(vec![format!(
            "a commit that was killed half-way: {count} changes put back"
        )]),
        Ok((_, None)) => Ok(vec!["a commit that was killed at its end: it is whole".into()]),
        Err(CommitError::Change(error @ ChangeError::Unclean { .. })) => {
            Err(Failure::environment(error.to_string()))
        }
        Err(error @ CommitError::NotPutBack { .. }) => Err(Failure::NotRestored(format!(
            "{error}; mend that and run `kvmtune recover` again, or give up what is in a lost guest: `kvmtune recover --force`"
        ))),
        Err(error) => Err(error.into()),
    }
}
