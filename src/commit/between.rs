//! The changes that lead from one set of commits in force to another.

use super::change::ACTIVE_PROFILE;
use super::{Change, Commit, CommitError, HostSysfs, Ledger, Machine, domain, files, guest, live};
use crate::persist::{OwnFile, lasting, render};
use crate::tunable::{Address, Setting};
use std::path::Path;

/// What is wanted of the changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// To make them, unless somebody else has changed what they are about since.
    Careful,
    /// To make them in any case.
    Forced,
    /// To look whether what they lead to is in force.
    Verified,
}

/// The name of kvmtune's own profile of tuned.
const PROFILE: &str = "kvmtune";

/// The ledger with `commits` in force instead of those of `old`, and the changes that lead to it.
pub fn between(
    old: &Ledger,
    commits: Vec<Commit>,
    wanted: Wanted,
    machine: &mut Machine<'_>,
) -> Result<(Ledger, Vec<Change>), CommitError> {
    let mut next = Ledger {
        commits,
        ..old.clone()
    };
    let mut since = Vec::new();
    let files = files::between(old, &mut next, wanted, machine, &mut since)?;
    let values = values(old, &mut next, wanted, machine, &mut since)?;
    let profile = profile(old, &mut next, wanted, machine, &mut since)?;
    let (commits, origins) = (&next.commits, &mut next.origins);
    let of_domain = domain::between(&old.commits, commits, origins, wanted, machine, &mut since)?;
    let of_guest = guest::between(&old.commits, commits, origins, wanted, machine, &mut since)?;
    if !since.is_empty() && wanted == Wanted::Careful {
        return Err(CommitError::ChangedSince { changed: since });
    }
    // tuned puts back what it found when its profile is left: so the profile comes before the values, and is left before its
    // file goes. One that stays is read again after its file has changed, and, when that is undone, after it has changed back.
    let is_adding = next.commits.len() >= old.commits.len();
    let stays = profile
        .iter()
        .any(|change| matches!(change, Change::Profile { after, .. } if after == PROFILE));
    let again = if stays && has_profile(&old.commits).is_some() {
        profile.clone()
    } else {
        Vec::new()
    };
    let changes = match (is_adding, stays) {
        (true, _) => [again, files, profile, values, of_domain, of_guest],
        (false, true) => [of_guest, of_domain, again, files, profile, values],
        (false, false) => [of_guest, of_domain, profile, values, files, again],
    };
    Ok((next, changes.concat()))
}

fn values(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &mut Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let tops = |ledger: &Ledger| {
        let layers = ledger.commits.iter();
        live::tops(layers.map(|commit| (commit.extent, &commit.host.values[..])))
    };
    let tops = live::Tops {
        before: tops(old),
        after: tops(next),
        is_adding: next.commits.len() > old.commits.len(),
        same_devices: same_devices(&old.commits),
    };
    if tops.before.is_empty() && tops.after.is_empty() {
        return Ok(Vec::new());
    }
    let known = &mut next.origins.values;
    let change = live::between(&tops, known, wanted, machine.host()?, since)?;
    Ok(change.map(Change::Value).into_iter().collect())
}

/// The places of devices whose names still lead to the one device that all commits of each have set.
fn same_devices(commits: &[Commit]) -> Vec<Address> {
    let live = commits.iter().filter(|commit| commit.extent.is_live());
    let named = live.flat_map(|commit| commit.host.values.iter().map(move |setting| (setting, commit)));
    let (same, others): (Vec<_>, Vec<_>) =
        named.partition(|(setting, commit)| names_its_device(setting, commit) == Some(true));
    let is_other = |address: &Address| others.iter().any(|(setting, _)| setting.address == *address);
    let same = same.into_iter().map(|(setting, _)| setting.address.clone());
    same.filter(|address| !is_other(address)).collect()
}

/// Whether the setting's name of a disk or link still is the one of the device that was committed; `None` when that cannot
/// be told, or when it is no such name.
pub(super) fn names_its_device(setting: &Setting, commit: &Commit) -> Option<bool> {
    if !live::is_of_device(&setting.address) || !commit.extent.is_config() {
        return None;
    }
    let items = lasting(setting, &mut HostSysfs).ok()?;
    Some(items.iter().all(|item| commit.host.lasting.contains(item)))
}

fn has_profile(commits: &[Commit]) -> Option<String> {
    let layers: Vec<_> = commits.iter().map(Commit::layer).collect();
    let is_active = commits.iter().any(|commit| commit.host.activates_profile);
    render(OwnFile::Tuned, &layers).filter(|_| is_active)
}

fn profile(
    old: &Ledger,
    next: &mut Ledger,
    wanted: Wanted,
    machine: &Machine<'_>,
    since: &mut Vec<String>,
) -> Result<Vec<Change>, CommitError> {
    let (was, is) = (has_profile(&old.commits), has_profile(&next.commits));
    let own = || PROFILE.to_string();
    if wanted == Wanted::Verified {
        let (before, after) = (own(), own());
        return Ok(is
            .map(|_| Change::Profile { before, after })
            .into_iter()
            .collect());
    }
    if was == is {
        return Ok(Vec::new());
    }
    let active = machine.root.read(Path::new(ACTIVE_PROFILE))?.unwrap_or_default();
    let before = active.trim().to_string();
    if was.is_some() && before != PROFILE {
        since.push(format!(
            "tuned's active profile was changed since: it is `{}`, committed was `{PROFILE}`",
            before.escape_default()
        ));
    }
    let after = match (was, is) {
        (None, _) => {
            next.origins.profile = Some(before.clone());
            own()
        }
        (Some(_), Some(_)) => own(),
        (Some(_), None) => next.origins.profile.take().unwrap_or_default(),
    };
    Ok(vec![Change::Profile { before, after }])
}
