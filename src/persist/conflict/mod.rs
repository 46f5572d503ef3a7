//! Other files that set the same as kvmtune's own, and which of them has the last word.
//!
//! Knows how each program reads its folders; is handed the files' texts.

mod boot;
mod keyed;
mod profile;
mod rules;

use super::lasting::Lasting;
use super::own_file::OwnFile;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;

/// Somebody's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherFile {
    /// Where it stands.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl OtherFile {
    /// Its last part.
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// What of a machine may set the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Others {
    /// Files of the folders in [`folders`] and of [`singles`], the folders in that order, each with the kind that reads it.
    pub files: Vec<(OwnFile, OtherFile)>,
    /// tuned's active profile and those it includes, the one that counts first; empty when none is active.
    pub profiles: Vec<OtherFile>,
    /// Whether kvmtune's own profile is made the active one, on top of those.
    pub own_profile: bool,
    /// The command line of the running kernel; empty for an image.
    pub command_line: String,
}

/// A place that sets the same as something committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// The file.
    pub path: String,
    /// Its line, from 1; 0 where there are none.
    pub line: usize,
    /// What it sets.
    pub key: String,
    /// To what.
    pub value: String,
    /// What is committed.
    pub ours: String,
    /// Whether it has the last word, and so the commit would not be in force after a reboot.
    pub wins: bool,
    /// Why it has, or has not.
    pub why: String,
}

impl Conflict {
    /// True for one that would undo the commit.
    pub fn matters(&self) -> bool {
        self.wins && self.value != self.ours
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = if self.line > 0 {
            format!(":{}", self.line)
        } else {
            String::new()
        };
        let verdict = match (self.wins, self.value == self.ours) {
            (_, true) => "the same",
            (true, false) => "IT WOULD WIN",
            (false, false) => "ours wins",
        };
        write!(
            f,
            "{}{line} sets {} = {} ({verdict}: {})",
            shown(&self.path),
            shown(&self.key),
            shown(&self.value),
            self.why
        )
    }
}

/// A text of somebody's as one short line.
fn shown(text: &str) -> String {
    text.chars().take(160).flat_map(char::escape_debug).collect()
}

/// Where the readers of a file look for more, the folder that hides equal names of the others first, and how the names end.
///
/// Sources: sysctl.d(5), sysctl(8), tmpfiles.d(5), udev(7), modprobe.d(5), grub-mkconfig (`/etc/default/grub.d/*.cfg`).
pub fn folders(file: OwnFile) -> (&'static [&'static str], &'static str) {
    match file {
        OwnFile::Sysctl => (
            &[
                "/etc/sysctl.d",
                "/run/sysctl.d",
                "/usr/local/lib/sysctl.d",
                "/usr/lib/sysctl.d",
                "/lib/sysctl.d",
            ],
            ".conf",
        ),
        OwnFile::Tmpfiles => (
            &[
                "/etc/tmpfiles.d",
                "/run/tmpfiles.d",
                "/usr/local/lib/tmpfiles.d",
                "/usr/lib/tmpfiles.d",
                "/etc/sysfs.d",
            ],
            ".conf",
        ),
        OwnFile::Udev => (
            &[
                "/etc/udev/rules.d",
                "/run/udev/rules.d",
                "/usr/local/lib/udev/rules.d",
                "/usr/lib/udev/rules.d",
                "/lib/udev/rules.d",
            ],
            ".rules",
        ),
        OwnFile::Modprobe => (
            &[
                "/etc/modprobe.d",
                "/run/modprobe.d",
                "/usr/local/lib/modprobe.d",
                "/usr/lib/modprobe.d",
                "/lib/modprobe.d",
            ],
            ".conf",
        ),
        OwnFile::Grub => (&["/etc/default/grub.d"], ".cfg"),
        OwnFile::ModulesLoad | OwnFile::Unit | OwnFile::UnitWanted | OwnFile::Tuned | OwnFile::Overdue => {
            (&[], "")
        }
    }
}

/// Single files that the same, or programs that come later, read.
pub fn singles(file: OwnFile) -> &'static [&'static str] {
    match file {
        OwnFile::Sysctl => &["/etc/sysctl.conf", "/etc/ufw/sysctl.conf"],
        OwnFile::Tmpfiles => &["/etc/sysfs.conf"],
        OwnFile::Grub => &["/etc/default/grub"],
        _ => &[],
    }
}

/// Everything that sets the same as `items`.
pub fn conflicts(items: &[Lasting], others: &Others) -> Vec<Conflict> {
    let mut found = Vec::new();
    for item in items {
        let file = item.file();
        for other in in_force(file, others) {
            match item {
                Lasting::Sysctl { key, value } => keyed::sysctl(key, value, other, &mut found),
                Lasting::File { path, value } => keyed::written(path, value, other, &mut found),
                Lasting::Device {
                    device,
                    attribute,
                    value,
                } => {
                    rules::assigned(device, attribute, value, other, &mut found);
                }
                Lasting::Parameter { parameter, value } => keyed::option(parameter, value, other, &mut found),
                Lasting::Module(_) | Lasting::Command { .. } => {}
                Lasting::Boot(edit) => boot::drop_in(edit, other, &mut found),
            }
        }
        if let Lasting::Parameter { parameter, value } = item {
            boot::command_line(parameter, value, &others.command_line, &mut found);
        }
        profile::set(item, others, &mut found);
    }
    found
}

/// The files of a kind that are read: of equal names in several folders the first only, and none that is kvmtune's own.
fn in_force(file: OwnFile, others: &Others) -> Vec<&OtherFile> {
    let mut seen = BTreeSet::new();
    let own = file.path();
    let own_name = own.rsplit('/').next().unwrap_or_default();
    let read = |(kind, other): &&(OwnFile, OtherFile)| {
        let single = singles(file).contains(&other.path.as_str());
        // procps lets /run hide /etc, systemd the other way round: such a file is hidden by ours for one of them only.
        let hidden = other.name() == own_name && !other.path.starts_with("/run/");
        // Two programs read files of this kind: neither hides a name from the other.
        let reader = other.path.starts_with("/etc/sysfs.d/");
        *kind == file
            && other.path != own
            && !hidden
            && (single || seen.insert((reader, other.name().to_string())))
    };
    others.files.iter().filter(read).map(|(_, other)| other).collect()
}

/// True when `text` is what a glob of `*` and `?` describes; with `/`, a star stays in its part.
fn matches_glob(glob: &str, text: &str) -> bool {
    fn at(glob: &[char], text: &[char]) -> bool {
        match (glob.first(), text.first()) {
            (None, None) => true,
            (Some('*'), _) => {
                at(&glob[1..], text) || text.first().is_some_and(|c| *c != '/' && at(glob, &text[1..]))
            }
            (Some('?'), Some(c)) if *c != '/' => at(&glob[1..], &text[1..]),
            (Some(g), Some(c)) if g == c => at(&glob[1..], &text[1..]),
            _ => false,
        }
    }
    // A glob of many stars would take long, and is none that somebody has written.
    if glob.matches('*').count() > 6 || glob.len() > 300 || text.len() > 300 {
        return false;
    }
    let (glob, text): (Vec<_>, Vec<_>) = (glob.chars().collect(), text.chars().collect());
    at(&glob, &text)
}

/// Blanks as one, so that `1  2` and `1\t2` are the same value.
fn spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
