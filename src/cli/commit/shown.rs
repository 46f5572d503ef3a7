//! A commit on paper: what it changes, what is in its way, and what comes next.

use crate::commit::{Change, Commit, Extent, Finding, Held, Layer, Ledger};
use crate::persist::conflict::Conflict;
use crate::report::tame_lines;
use serde_json::{Value, json};
use std::fmt::Write;
use std::path::Path;

/// What a change changes. Names of domains, and what was found in guests, write nothing else to a terminal.
pub(super) fn change(change: &Change) -> String {
    tame_lines(&change.shown(), usize::MAX)
}

/// Diff and conflicts.
pub(super) fn bundle(changes: &[Change], conflicts: &[Conflict]) -> String {
    let mut text = String::new();
    for change in changes {
        text.push_str(&self::change(change));
    }
    if changes.is_empty() {
        text.push_str("nothing is to be changed\n");
    }
    if !conflicts.is_empty() {
        text.push_str("\nothers that set the same:\n");
        for conflict in conflicts {
            let _ = writeln!(text, "  {conflict}");
        }
    }
    text
}

pub(super) fn json(
    commit: &Commit,
    dry_run: bool,
    changes: &[Change],
    conflicts: &[Conflict],
    (notes, reboots): (&[String], &[String]),
) -> Value {
    let shown =
        |change: &Change| json!({ "shown": self::change(change), "needs_reboot": change.needs_reboot() });
    json!({
        "commit": commit.stamp.commit,
        "run": commit.run,
        "extent": commit.extent,
        "dry_run": dry_run,
        "changes": changes.iter().map(shown).collect::<Vec<_>>(),
        "conflicts": conflicts,
        "notes": notes,
        "needs_reboot": reboots,
        "deadline": commit.stamp.deadline,
    })
}

/// What to know after a commit.
pub(super) fn done(commit: &Commit, root: Option<&Path>, reboots: &[String]) -> String {
    let id = commit.stamp.commit;
    let option = root.map_or_else(String::new, |root| format!(" --root {}", root.display()));
    let mut text = format!("commit {id} is made: take it back with `kvmtune revert {id}{option}`\n");
    if !reboots.is_empty() {
        let _ = writeln!(text, "NEEDS A REBOOT to be in force: {}", reboots.join(" "));
    }
    if let Some(deadline) = commit.stamp.deadline {
        let _ = writeln!(
            text,
            "it is taken back by itself at {deadline:.0}, unless you say `kvmtune keep {id}` before"
        );
    }
    text
}

/// What is committed, and what was found of it; names of domains and what is of guests tamed.
pub(super) fn status(ledger: &Ledger, found: &[Finding]) -> String {
    if ledger.commits.is_empty() {
        return "nothing is committed\n".into();
    }
    let mut text = String::new();
    for commit in ledger.commits.iter().rev() {
        let stamp = &commit.stamp;
        let extent = match commit.extent {
            Extent::Live => "live",
            Extent::Config => "config",
            Extent::Both => "live and config",
        };
        let _ = writeln!(
            text,
            "commit {} of {:.0}: run {}, experiment {} ({extent})",
            stamp.commit, stamp.at, stamp.run, stamp.experiment
        );
        if let Some(deadline) = stamp.deadline {
            let _ = writeln!(
                text,
                "  is taken back at {deadline:.0}, unless you say `kvmtune keep {}`",
                stamp.commit
            );
        }
    }
    text.push('\n');
    let places = found
        .iter()
        .map(|f| place(f).chars().count())
        .max()
        .unwrap_or(0)
        .min(90);
    for finding in found {
        let held = match &finding.held {
            Held::Yes => "held".to_string(),
            Held::No(why) => format!("NOT HELD: {why}"),
            Held::NotYet(what) => format!("not yet: waits for {what}"),
        };
        let _ = writeln!(
            text,
            "{:<10} {:<places$}  {held}",
            layer(finding.layer),
            place(finding)
        );
    }
    tame_lines(&text, usize::MAX)
}

fn place(finding: &Finding) -> String {
    let is_file = matches!(finding.layer, Layer::File | Layer::GuestFile);
    if is_file {
        finding.place.clone()
    } else {
        format!("{} = {}", finding.place, finding.wanted)
    }
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::File => "file",
        Layer::Value => "value",
        Layer::Profile => "profile",
        Layer::Boot => "boot",
        Layer::Definition => "definition",
        Layer::Domain => "domain",
        Layer::GuestFile => "guest file",
        Layer::GuestValue => "guest",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::{FileState, GuestFileChange};
    use crate::persist::domain::DomainRef;

    #[test]
    fn a_guest_cannot_write_to_the_terminal() {
        let domain = DomainRef {
            connection: "qemu:///system".into(),
            name: "a\u{9b}2Jb".into(),
            uuid: String::new(),
            disk: "vda".into(),
            ssh: None,
        };
        let change = Change::GuestFile(GuestFileChange {
            domain,
            path: "/etc/sysctl.d/60-kvmtune.conf".into(),
            before: FileState::new("#\u{1b}]0;owned\u{7}\r\u{202e}\n\tkept\n"),
            after: FileState::new("vm.swappiness = 10\n"),
            folders: Vec::new(),
        });
        let shown = bundle(&[change], &[]);
        assert!(
            !shown.contains(['\u{1b}', '\u{9b}', '\u{7}', '\r', '\u{202e}']),
            "{shown:?}"
        );
        assert!(
            shown.contains("-\tkept\n") && shown.contains("+vm.swappiness = 10\n"),
            "{shown}"
        );
    }
}
