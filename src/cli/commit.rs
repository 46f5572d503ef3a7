//! `kvmtune commit`: makes permanent what a chain of runs has proven.

mod committed;
mod domain;
mod overdue;
mod shown;
mod signals;

pub(super) use committed::{KeepArgs, RevertArgs, StatusArgs, keep, put_back_half_made, revert, status};

use super::exit::Code;
use super::failure::Failure;
use super::recommend::advice;
use super::watchman::tell_news;
use super::{Common, print, print_json, say};
use crate::change::Keeper as LockKeeper;
use crate::commit::HostSysfs;
use crate::commit::{
    Change, Commit, CommitError, Extent, Ledger, Opened, Tuned, Wanted, active_profile, host_part, others,
    split,
};
use crate::decision::{Advice, Minimality, Proven};
use crate::event::RunHeader;
use crate::host::{BareHost, Host, is_installed};
use crate::persist::conflict::{Conflict, conflicts};
use crate::persist::{CommitId, Keeper, Lasting, Stamp, followed};
use crate::report::tame;
use crate::store::Store;
use crate::tunable::Address;
use crate::units::Span;
use jiff::{SignedDuration, Timestamp};
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The profile that kvmtune's own builds upon where none is active.
const USUAL_PROFILE: &str = "virtual-host";
/// A deadline must leave time to look and to answer.
const SHORTEST: Span = Span::secs(1);

/// Arguments of `commit`.
#[allow(clippy::struct_excessive_bools, reason = "each is an option")]
#[derive(Debug, clap::Args)]
pub(super) struct CommitArgs {
    /// `latest`, an id or a piece of one, or the name of an experiment
    run: String,
    /// Only show what would be changed
    #[arg(long)]
    dry_run: bool,
    /// Write into the image below this folder: files only
    #[arg(long, value_name = "DIR", conflicts_with_all = ["live", "confirm"])]
    root: Option<PathBuf>,
    /// Change the running system only, until its next boot
    #[arg(long)]
    live: bool,
    /// Change what lasts only. Neither this nor --live: both
    #[arg(long)]
    config: bool,
    /// Take it back by itself after this time, unless `kvmtune keep` comes before
    #[arg(long, value_name = "TIME")]
    confirm: Option<Span>,
    /// Commit although another file sets the same and has the last word
    #[arg(long)]
    despite_conflicts: bool,
    #[command(flatten)]
    domain: domain::DomainArgs,
}

impl CommitArgs {
    fn extent(&self) -> Extent {
        match (self.root.is_some(), self.live, self.config) {
            (true, _, _) | (false, false, true) => Extent::Config,
            (false, true, false) => Extent::Live,
            (false, true, true) | (false, false, false) => Extent::Both,
        }
    }
}

pub(super) fn commit(common: &Common, args: &CommitArgs) -> Result<Code, Failure> {
    need_root("commit")?;
    if args.confirm.is_some_and(|time| time < SHORTEST) {
        return Err(Failure::environment(format!(
            "--confirm takes at least {SHORTEST}"
        )));
    }
    tell_news(&common.dirs());
    let proven = proven(common, &args.run)?;
    let mut host = BareHost::new(None, crate::host::Cancel::default());
    let strange = another_host(proven.header(), &mut host)?;
    match (&args.root, strange) {
        (None, Some(strange)) => {
            return Err(Failure::environment(format!(
                "{strange}: what was proven there is not proven here. Measure on this host; for an image that is made for \
                 that host use --root"
            )));
        }
        (Some(_), Some(strange)) => say(&format!("note: {strange}: see that the image is for such a host")),
        (_, None) => {}
    }
    let mut opened = open(common, args.root.as_deref(), args.dry_run, &mut host)?;
    if !args.dry_run {
        take_back_overdue(&mut opened)?;
    }
    let mut prepared = prepare(common, args, &proven, &mut opened)?;
    prepared.show(common, args)?;
    if args.dry_run {
        return Ok(Code::Done);
    }
    if prepared.conflicts.iter().any(Conflict::matters) && !args.despite_conflicts {
        return Err(Failure::environment(
            "another file has the last word over what would be committed (see above); nothing was changed. Change that file, \
             or commit all the same with --despite-conflicts",
        ));
    }
    let id = prepared.commit.stamp.commit;
    let restarts = domain::waiting(&prepared.changes, &prepared.commit);
    let _unheard = signals::unheard();
    opened.carry_out(prepared.next, prepared.changes)?;
    if let Some(deadline) = deadline(args) {
        // Should it fail the deadline stays the one that was set before the changes.
        if opened.await_keeping(id, deadline).is_ok() {
            prepared.commit.stamp.deadline = Some(deadline);
        }
    }
    if args.confirm.is_some()
        && let Err(error) = overdue::start(&common.state)
    {
        let (next, changes) = opened.reverting(id, Wanted::Forced)?;
        opened.carry_out(next, changes)?;
        return Err(Failure::environment(format!(
            "nothing would take the commit back in time ({error}): it was taken back at once"
        )));
    }
    if !common.json {
        print(&shown::done(
            &prepared.commit,
            args.root.as_deref(),
            &prepared.reboots,
        ));
        if !restarts.is_empty() {
            print(&format!(
                "NEEDS A RESTART OF THE DOMAIN to be in force: {}",
                restarts.join(", ")
            ));
        }
    }
    Ok(Code::Done)
}

/// What is about to be committed.
struct Prepared {
    commit: Commit,
    next: Ledger,
    changes: Vec<Change>,
    conflicts: Vec<Conflict>,
    notes: Vec<String>,
    /// What is in force only after a reboot.
    reboots: Vec<String>,
}

impl Prepared {
    fn show(&self, common: &Common, args: &CommitArgs) -> Result<(), Failure> {
        if common.json {
            return print_json(&shown::json(
                &self.commit,
                args.dry_run,
                &self.changes,
                &self.conflicts,
                (&self.notes, &self.reboots),
            ));
        }
        print(&shown::bundle(&self.changes, &self.conflicts));
        for note in &self.notes {
            say(&format!("note: {note}"));
        }
        if args.dry_run {
            say("note: nothing was changed (--dry-run)");
        }
        Ok(())
    }
}

fn prepare(
    common: &Common,
    args: &CommitArgs,
    proven: &Proven,
    opened: &mut Opened<'_>,
) -> Result<Prepared, Failure> {
    let ledger = opened.ledger()?;
    let (settings, elsewhere) = split(proven.treatment(), proven.baseline());
    let extent = args.extent();
    let same = |commit: &&Commit| commit.run == proven.asked() && commit.extent == extent;
    if let Some(commit) = ledger.commits.iter().find(same) {
        return Err(Failure::environment(format!(
            "commit {} of this run is in force already; `kvmtune status` shows it",
            commit.stamp.commit
        )));
    }
    let mut notes = Vec::new();
    let scope = (extent, args.root.is_some());
    let domain = args.domain.part(&elsewhere, proven, scope, opened, &mut notes)?;
    let base = base_profile(&ledger, opened)?;
    let runs = opened.machine.tools.tuned.is_some();
    let tuned = base.clone().map(|base| Tuned { base, runs });
    let part = host_part(&settings, extent, tuned, &mut HostSysfs)?;
    let line = if args.root.is_some() {
        String::new()
    } else {
        command_line()
    };
    let active = active_profile(&opened.machine.root)?.unwrap_or_default();
    let (profile, is_own) = in_force(base.as_deref(), &active, part.activates_profile);
    let others = others(&opened.machine.root, profile, is_own, line)?;
    let mut searched = part.lasting.clone();
    if extent.is_config() {
        searched.extend(followed(&settings, &mut HostSysfs));
    }
    let conflicts = conflicts(&searched, &others);
    notes.extend(self::notes(args, proven, &part.lasting, opened));
    let (at, deadline) = (Timestamp::now(), deadline(args));
    let commit = Commit {
        stamp: Stamp {
            commit: ledger.next_id(),
            run: proven.asked().short(),
            experiment: tame(&proven.header().experiment, 60),
            at,
            evidence: proven.evidence(),
            deadline,
        },
        run: proven.asked(),
        extent,
        boot: opened.boot().unwrap_or_default().to_string(),
        keeper: deadline.map(|_| keeper(common)).transpose()?,
        host: part,
        domain,
    };
    let (next, changes) = opened.adding(commit.clone(), Wanted::Careful)?;
    let later: Vec<_> = settings
        .iter()
        .filter(|s| matches!(s.address, Address::HostBoot(_)))
        .collect();
    if extent == Extent::Live && !later.is_empty() {
        let places: Vec<_> = later.iter().map(|setting| setting.address.to_string()).collect();
        notes.push(format!(
            "left out with --live, because a reboot is needed: {}",
            places.join(", ")
        ));
        if changes.is_empty() {
            return Err(Failure::environment(
                "nothing of the winner can be set live: it needs a reboot; leave --live out",
            ));
        }
    }
    let reboots: Vec<_> = commit
        .host
        .lasting
        .iter()
        .filter(|item| matches!(item, Lasting::Boot(_)))
        .collect();
    let reboots = reboots
        .iter()
        .map(|item| format!("{}={}", item.key(), item.value()))
        .collect();
    notes.sort();
    Ok(Prepared {
        commit,
        next,
        changes,
        conflicts,
        notes,
        reboots,
    })
}

/// When what is committed now is taken back unless it is kept.
fn deadline(args: &CommitArgs) -> Option<Timestamp> {
    let time = args.confirm?;
    Some(Timestamp::now() + SignedDuration::try_from(time.0).unwrap_or(SignedDuration::ZERO))
}

/// What kvmtune's own profile of tuned builds upon; `None` where tuned is not installed.
fn base_profile(ledger: &Ledger, opened: &Opened<'_>) -> Result<Option<String>, Failure> {
    let mut newest_first = ledger.commits.iter().rev();
    let before = newest_first.find_map(|commit| commit.host.tuned.clone());
    let active = active_profile(&opened.machine.root)?;
    Ok(active.map(|active| match active.as_str() {
        "kvmtune" => before.unwrap_or_else(|| USUAL_PROFILE.to_string()),
        "" => USUAL_PROFILE.to_string(),
        _ => active,
    }))
}

/// The profile that tuned sets beside or below what is committed, and whether kvmtune's own is in force above it. A tuned
/// that does not run begins with the profile it was left with; where that is none, nothing is known of what it would set.
fn in_force<'p>(base: Option<&'p str>, active: &'p str, activates: bool) -> (Option<&'p str>, bool) {
    let is_own = activates || active == "kvmtune";
    match active {
        _ if is_own => (base, true),
        "" => (None, false),
        active => (Some(active), false),
    }
}

/// What should be known and stops nothing.
fn notes(args: &CommitArgs, proven: &Proven, items: &[Lasting], opened: &Opened<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if args.root.is_none() {
        let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        notes.push(format!(
            "a run records no machine by name: this one, {}, has the CPU and kernel of the one that was measured; that it is the same \
             is for you to know",
            tame(name.trim(), 60)
        ));
    }
    if proven.minimality() == Minimality::NotAblated {
        notes.push(
            "the winner was not taken apart: some of its settings may do nothing. `kvmtune recommend` measures which".into(),
        );
    } else if !proven.is_minimal() {
        notes.push(
            "the winner was taken apart, and which of its settings are needed is not proven: some may do nothing".into(),
        );
    }
    if items.iter().any(|item| matches!(item, Lasting::Boot(_))) {
        let is_grub =
            is_installed("grub-mkconfig") || opened.machine.root.is_folder(Path::new("/etc/default/grub.d"));
        if args.root.is_some() {
            notes.push("the image needs its boot menu made: run update-grub in it".into());
        } else if opened.machine.tools.menu.is_none() && is_grub {
            notes.push("GRUB's menu is not made: neither update-grub nor grub-mkconfig is installed".into());
        } else if !is_grub {
            notes.push(
                "no GRUB was found: put the words of the drop-in on the command line of your own boot loader"
                    .into(),
            );
        }
    }
    if items.iter().any(|item| matches!(item, Lasting::Parameter { .. })) {
        notes.push(
            "modules that are loaded from the initramfs need it to be made anew (update-initramfs -u)".into(),
        );
    }
    notes
}

fn keeper(common: &Common) -> Result<Keeper, Failure> {
    let failed =
        |e: std::io::Error| Failure::environment(format!("cannot tell where kvmtune is installed: {e}"));
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    Ok(Keeper {
        program: std::env::current_exe().map(text).map_err(failed)?,
        state: common.state.canonicalize().map(text).map_err(failed)?,
    })
}

fn command_line() -> String {
    std::fs::read_to_string("/proc/cmdline").unwrap_or_default()
}

/// What a run and those that belong to it prove; a refusal when that is nothing.
fn proven(common: &Common, wanted: &str) -> Result<Box<Proven>, Failure> {
    let store = Store::open_existing(&common.results)?;
    let run = store.find(wanted)?;
    let short = run.short();
    if let Some(model) = store.header(run)?.facts.simulated() {
        return Err(Failure::environment(format!(
            "run {short} is a simulation of {}: nothing about a real host is proven by it",
            tame(model, 60)
        )));
    }
    match advice(&store, run)? {
        Advice::Adopt(proven) => Ok(proven),
        Advice::Keep(_) => Err(Failure::NothingProven(format!(
            "run {short} has no winner: keeping the baseline is right. `kvmtune recommend {short}` says why"
        ))),
        Advice::Unfinished { .. } => Err(Failure::NothingProven(format!(
            "run {short} proves nothing yet: a winner must be measured again on fresh guests. `kvmtune recommend {short}` \
             does it"
        ))),
    }
}

/// In what this host differs from the one a run was made on; `None` when it is of the same kind.
fn another_host(header: &RunHeader, host: &mut BareHost) -> Result<Option<String>, Failure> {
    let here = host.facts().map_err(CommitError::from)?;
    let differs = ["host.cpu.model", "host.kernel"].into_iter().find_map(|name| {
        let (there, here) = (header.facts.record.get(name), here.record.get(name));
        let told = |fact: Option<&String>| {
            fact.map_or("not recorded".into(), |text| format!("`{}`", tame(text, 80)))
        };
        (there != here).then(|| {
            format!(
                "the run was made on another host ({name} is {} here and was {} there)",
                told(here),
                told(there)
            )
        })
    });
    Ok(differs)
}

/// The machine that is meant, with nothing half-made on it.
fn open<'h>(
    common: &Common,
    root: Option<&Path>,
    only_looked_at: bool,
    host: &'h mut BareHost,
) -> Result<Opened<'h>, Failure> {
    if let Some(root) = root {
        if only_looked_at {
            return nothing_half_made(Opened::image_looked_at(root)?, "commit or revert --root");
        }
        let (opened, half) = Opened::image(root)?;
        tell_half(half);
        return Ok(opened);
    }
    if only_looked_at {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&common.state)
            .map_err(|e| Failure::environment(format!("cannot make {}: {e}", common.state.display())))?;
        let opened = Opened::looked_at(&common.state, host)?;
        return nothing_half_made(opened, "recover");
    }
    let (opened, half) = Opened::host(&common.state, host, LockKeeper::Verb)?;
    tell_half(half);
    Ok(opened)
}

fn nothing_half_made<'h>(opened: Opened<'h>, verb: &str) -> Result<Opened<'h>, Failure> {
    if opened.is_half_made()? {
        return Err(Failure::environment(format!(
            "another verb changes this machine now, or was killed half-way: run `kvmtune {verb}`"
        )));
    }
    Ok(opened)
}

/// Takes back what nobody kept in time, and says so.
fn take_back_overdue(opened: &mut Opened<'_>) -> Result<Vec<CommitId>, CommitError> {
    let _unheard = signals::unheard();
    let taken = opened.revert_overdue(Timestamp::now())?;
    for id in &taken {
        say(&format!(
            "note: commit {id} was not kept in time: it was taken back"
        ));
    }
    Ok(taken)
}

/// The same for a verb that may be needed just because that fails: it is told, and goes on unless something is half-made now.
fn try_to_take_back_overdue(opened: &mut Opened<'_>) -> Result<Vec<CommitId>, Failure> {
    match take_back_overdue(opened) {
        Err(error @ CommitError::NotPutBack { .. }) => Err(error.into()),
        Err(error) => {
            say(&format!(
                "note: a commit that nobody kept in time could not be taken back: {error}"
            ));
            Ok(Vec::new())
        }
        Ok(taken) => Ok(taken),
    }
}

fn tell_half(half: Option<usize>) {
    if half.is_some() {
        say("note: a verb was killed half-way; what it had done was put back first");
    }
}

/// Files of root's, and the kernel's settings, are changed by root only.
fn need_root(verb: &str) -> Result<(), Failure> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::environment(format!(
        "`kvmtune {verb}` needs root: try `sudo kvmtune {verb} …`"
    )))
}

#[cfg(test)]
mod tests {
    /// Where no profile is active, nothing says that tuned would set those that ours would build upon.
    #[test]
    fn only_profiles_in_force_are_searched() {
        let in_force = |active, activates| super::in_force(Some("base"), active, activates);
        assert_eq!(in_force("", false), (None, false));
        assert_eq!(in_force("other", false), (Some("other"), false));
        assert_eq!(in_force("kvmtune", false), (Some("base"), true));
        assert_eq!(in_force("other", true), (Some("base"), true));
    }
}
