//! Commands that are run once at boot: a oneshot unit of systemd, and what has the boot want it.
//!
//! Source: systemd.service(5) "COMMAND LINES", systemd.unit(5) for the drop-in of a target.

use super::lasting::Lasting;
use super::own_file::OwnFile;
use super::stamp::Stamp;
use std::fmt::Write;

/// Stands for the value in a command.
const VALUE: &str = "{value}";

/// The unit, after its head of comments.
pub(super) fn service(parts: &[(&Stamp, Vec<&Lasting>)]) -> String {
    let mut text = String::from(
        "[Unit]\nDescription=Settings that kvmtune proved\nAfter=network.target\n\n[Service]\nType=oneshot\n\
         RemainAfterExit=yes\n",
    );
    for item in parts.iter().flat_map(|(_, items)| items) {
        if let Lasting::Command { argv, value } = item {
            let words: Vec<_> = argv
                .iter()
                .map(|word| quoted(&word.replace(VALUE, value)))
                .collect();
            let _ = writeln!(text, "ExecStart={}", words.join(" "));
        }
    }
    text
}

/// A drop-in of the usual target, so that no link has to be made.
pub(super) fn wanted() -> String {
    let path = OwnFile::Unit.path();
    let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
    format!("[Unit]\nWants={name}\n")
}

/// One word of a command line, whatever is in it: no specifier, no variable, no escape of its own.
fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '\\' | '"' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::render::{Layer, render};
    use super::super::stamp::CommitId;
    use super::*;

    fn command(set: &[&str], value: &str) -> Lasting {
        Lasting::Command {
            argv: set.iter().map(ToString::to_string).collect(),
            value: value.into(),
        }
    }

    fn stamp(commit: u32) -> Stamp {
        Stamp {
            commit: CommitId(commit),
            run: "0198".into(),
            experiment: "e".into(),
            at: "2026-01-02T03:04:05Z".parse().unwrap(),
            evidence: vec!["better".into()],
            deadline: None,
        }
    }

    #[test]
    fn commands_become_a_unit_of_which_the_newest_value_counts() {
        let set = ["ethtool", "-K", "eth0", "tso", "{value}"];
        let (first, second) = (
            [command(&set, "on"), command(&["x", "a\"b %h $y\\\r"], "1")],
            [command(&set, "off")],
        );
        let (one, two) = (stamp(1), stamp(2));
        let layers = [
            Layer {
                stamp: &one,
                items: &first,
                tuned: None,
                keeper: None,
            },
            Layer {
                stamp: &two,
                items: &second,
                tuned: None,
                keeper: None,
            },
        ];
        let unit = render(OwnFile::Unit, &layers).unwrap();
        assert!(
            unit.contains("ExecStart=\"ethtool\" \"-K\" \"eth0\" \"tso\" \"off\"\n"),
            "{unit}"
        );
        assert!(!unit.contains("\"on\""), "{unit}");
        assert!(unit.contains(r#"ExecStart="x" "a\"b %%h $$y\\\r""#), "{unit}");
        assert!(unit.contains("kvmtune revert 2"), "{unit}");
        let wanted = render(OwnFile::UnitWanted, &layers).unwrap();
        assert!(
            wanted.ends_with("[Unit]\nWants=kvmtune-settings.service\n"),
            "{wanted}"
        );
        let none = [Layer {
            stamp: &one,
            items: &[],
            tuned: None,
            keeper: None,
        }];
        assert_eq!(
            (render(OwnFile::Unit, &none), render(OwnFile::UnitWanted, &none)),
            (None, None)
        );
    }
}
