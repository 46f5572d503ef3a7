//! Whether what is committed is in force, layer by layer.

use super::between::names_its_device;
use super::change::{Change, Finding, Held, Layer};
use super::{Commit, CommitError, Ledger, Machine, Wanted, between};
use crate::tunable::{Address, Setting};

/// What is found of all commits in force. `boot` names this boot of the host; nothing of it is looked at in an image.
pub fn status(
    ledger: &Ledger,
    boot: Option<&str>,
    machine: &mut Machine<'_>,
) -> Result<Vec<Finding>, CommitError> {
    let nothing = Ledger {
        commits: Vec::new(),
        ..ledger.clone()
    };
    let (_, changes) = between(&nothing, ledger.commits.clone(), Wanted::Verified, machine)?;
    let mut found = Vec::new();
    for change in changes
        .iter()
        .filter(|change| !matches!(change, Change::Value(_)))
    {
        found.extend(change.verify(machine));
    }
    if let Some(boot) = boot {
        let is_there = |(setting, commit): &(&Setting, &Commit)| {
            commit.boot == boot || names_its_device(setting, commit) != Some(false)
        };
        for (setting, commit) in newest(&ledger.commits).into_iter().filter(is_there) {
            found.push(value(setting, commit, boot, machine));
        }
    }
    found.sort_by_key(|finding| finding.layer);
    Ok(found)
}

/// The newest setting of each place.
fn newest(commits: &[Commit]) -> Vec<(&Setting, &Commit)> {
    let mut newest: Vec<(&Setting, &Commit)> = Vec::new();
    for commit in commits {
        for setting in &commit.host.checked {
            newest.retain(|(other, _)| other.address != setting.address);
            newest.push((setting, commit));
        }
    }
    newest
}

fn value(setting: &Setting, commit: &Commit, boot: &str, machine: &mut Machine<'_>) -> Finding {
    let is_boot = matches!(setting.address, Address::HostBoot(_));
    let same_boot = commit.boot == boot;
    let held = match machine.host().and_then(|host| Ok(host.read(&setting.address)?)) {
        Ok(raw) if setting.canonical(&raw).as_ref() == Some(&setting.value) => Held::Yes,
        Ok(_) if same_boot && (is_boot || !commit.extent.is_live()) => {
            Held::NotYet("a reboot of the host".into())
        }
        Ok(raw) => {
            let reads = format!("it reads `{}`", setting.address.selected(&raw).escape_default());
            if commit.extent.is_config() || same_boot {
                Held::No(reads)
            } else {
                Held::No(format!(
                    "{reads}: it was set live only, and the host was rebooted since"
                ))
            }
        }
        Err(error) => Held::No(error.to_string()),
    };
    Finding {
        layer: if is_boot { Layer::Boot } else { Layer::Value },
        place: setting.address.to_string(),
        wanted: setting.value.to_string(),
        held,
    }
}
