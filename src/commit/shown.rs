//! Changes as a reader wants to see them before they are made.

use super::{Afterwards, Change, DomainChange, FileChange, FileState, ValueChange};
use crate::tunable::Address;
use similar::TextDiff;
use std::fmt::Write;

impl Change {
    /// What it changes: a unified diff of a text, lines of values. It holds names and texts of guests as they are.
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
            Self::Domain(change) => domain(change),
            Self::GuestFile(change) => {
                let path = format!("{} guest:{}", change.domain.name, change.path);
                unified(change.before.text(), change.after.text(), &path)
            }
            Self::GuestValue(change) => of(&change.domain.name, &values(&change.values)),
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

/// Each line with whose it is before it.
fn of(name: &str, lines: &str) -> String {
    let line = |text: String, line: &str| text + name + ": " + line + "\n";
    lines.lines().fold(String::new(), line)
}

fn domain(change: &DomainChange) -> String {
    let mut text = String::new();
    let name = &change.domain.name;
    if let Some(definition) = &change.definition {
        match definition.shown() {
            Ok((before, after)) => {
                text.push_str(&unified(Some(before), Some(after), &format!("domain {name}.xml")));
            }
            Err(error) => {
                let _ = writeln!(text, "domain {name}: its definition cannot be shown: {error}");
            }
        }
    }
    for setting in &change.late {
        let _ = writeln!(
            text,
            "domain {name}: {} = {} NEEDS A RESTART OF THE DOMAIN",
            setting.address, setting.value
        );
    }
    if let Some(live) = &change.live {
        text.push_str(&of(&format!("domain {name}"), &values(live)));
    }
    text
}

/// The two texts as a unified diff.
fn unified(before: Option<String>, after: Option<String>, path: &str) -> String {
    let name = |text: &Option<String>, side| match text {
        Some(_) => format!("{side}/{path}"),
        None => "/dev/null".to_string(),
    };
    let (old, new) = (name(&before, "a"), name(&after, "b"));
    let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
    let diff = TextDiff::from_lines(&before, &after);
    diff.unified_diff()
        .context_radius(3)
        .header(&old, &new)
        .to_string()
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
    let mut text = unified(change.before.text(), change.after.text(), path);
    if matches!(change.then, Some(Afterwards::Menu { .. })) {
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
