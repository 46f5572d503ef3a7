//! Changes as a reader wants to see them before they are made.

use super::{Afterwards, Change, FileChange, FileState, ValueChange};
use crate::tunable::Address;
use similar::TextDiff;
use std::fmt::Write;

impl Change {
    /// What it changes: a unified diff of a text, lines of values.
    pub fn shown(&self) -> String {
        match self {
            Self::File(change) => file(change),
            Self::Value(change) => values(change),
            Self::Profile { before, after } if before == after => {
                format!("tuned: profile {after} read again\n")
            }
            Self::Profile { before, after } => {
                format!("tuned: profile {} -> {}\n", named(before), named(after))
            }
            Self::Domain(_) | Self::GuestFile(_) | Self::GuestValue(_) => String::new(),
        }
    }

    /// True when it is in force only after a reboot.
    pub fn needs_reboot(&self) -> bool {
        matches!(self, Self::File(change) if change.path.starts_with("/etc/default/grub.d"))
    }
}

fn named(profile: &str) -> &str {
    if profile.is_empty() { "none" } else { profile }
}

fn file(change: &FileChange) -> String {
    let path = change.path.display().to_string();
    let path = path.trim_start_matches('/');
    match (&change.before, &change.after) {
        (FileState::Absent, FileState::Folder) => return format!("new folder /{path}\n"),
        (FileState::Folder, FileState::Absent) => return format!("folder /{path} removed\n"),
        (_, FileState::Link { target }) => return format!("new link /{path} -> {target}\n"),
        (FileState::Link { .. }, FileState::Absent) => return format!("link /{path} removed\n"),
        _ => {}
    }
    let (before, after) = (change.before.text(), change.after.text());
    let name = |text: &Option<String>, side| match text {
        Some(_) => format!("{side}/{path}"),
        None => "/dev/null".to_string(),
    };
    let (old, new) = (name(&before, "a"), name(&after, "b"));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let diff = TextDiff::from_lines(&before, &after);
    let mut text = diff
        .unified_diff()
        .context_radius(3)
        .header(&old, &new)
        .to_string();
    if change.then == Some(Afterwards::Menu) {
        text.push_str("then GRUB's menu is made; NEEDS A REBOOT\n");
    }
    text
}

fn values(change: &ValueChange) -> String {
    let mut text = String::new();
    let before = |address: &Address| {
        let found = change.before.iter().find(|undo| undo.address == *address);
        found.map_or("?", |undo| undo.old.as_str())
    };
    for setting in &change.set {
        let _ = writeln!(
            text,
            "live {}: {} -> {}",
            setting.address,
            before(&setting.address).escape_default(),
            setting.value
        );
    }
    for undo in &change.back {
        let (now, old) = (before(&undo.address).escape_default(), undo.old.escape_default());
        let _ = writeln!(text, "live {}: {now} -> {old}", undo.address);
    }
    text
}
