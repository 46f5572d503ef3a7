//! udev rules that assign the same file of a device.

use super::{Conflict, OtherFile, matches_glob, spaced};
use crate::persist::{Device, OwnFile, Subsystem};

/// Rules that assign the attribute and do not say that they are about another device. Files count in the order of their
/// names, the last assignment wins: of an attribute udev takes `:=` and `+=` for `=` (`parse_token` of udev-rules.c).
pub(super) fn assigned(
    device: &Device,
    attribute: &str,
    ours: &str,
    other: &OtherFile,
    found: &mut Vec<Conflict>,
) {
    let own = OwnFile::Udev.path().rsplit('/').next().unwrap_or_default();
    let after = other.name() > own;
    let mut start = 0;
    let mut whole = String::new();
    for (number, line) in (1..).zip(other.text.lines()) {
        if whole.is_empty() {
            start = number;
        }
        // A backslash at its end goes on with the next line.
        if let Some(part) = line.strip_suffix('\\') {
            whole.push_str(part);
            continue;
        }
        whole.push_str(line);
        let rule = std::mem::take(&mut whole);
        if rule.trim_start().starts_with('#') {
            continue;
        }
        let parts = parts(&rule);
        if !may_be_about(device, &parts) {
            continue;
        }
        let wanted = format!("ATTR{{{attribute}}}");
        for (key, operator, value) in &parts {
            if *key != wanted || !matches!(*operator, "=" | ":=" | "+=") {
                continue;
            }
            let (wins, why) = if after {
                (true, "it is read after ours, and may be about this device")
            } else {
                (false, "it is read before ours")
            };
            found.push(Conflict {
                path: other.path.clone(),
                line: start,
                key: format!("{device} {attribute}"),
                value: spaced(value),
                ours: spaced(ours),
                wins,
                why: why.into(),
            });
        }
    }
}

/// Key, operator and value of each part of a rule.
fn parts(rule: &str) -> Vec<(&str, &str, &str)> {
    let mut rest = rule;
    let mut parts = Vec::new();
    while let Some((before, tail)) = rest.split_once('"') {
        let Some((value, after)) = tail.split_once('"') else {
            break;
        };
        let before = before.trim_matches([' ', '\t', ',']);
        let split = before
            .find(['=', '!', '+', '-', ':'])
            .filter(|_| !before.is_empty());
        // The name of an attribute may hold such a character: its braces end it.
        let split = before.rfind('}').map_or(split, |brace| Some(brace + 1));
        if let Some(at) = split {
            let (key, operator) = before.split_at(at);
            parts.push((key.trim(), operator.trim(), value));
        }
        rest = after;
    }
    parts
}

/// False for a rule that names another device: by its name now, or its subsystem.
fn may_be_about(device: &Device, parts: &[(&str, &str, &str)]) -> bool {
    let subsystem = match device.subsystem {
        Subsystem::Block => "block",
        Subsystem::Net => "net",
    };
    parts.iter().all(|(key, operator, value)| {
        let known = match *key {
            "KERNEL" => device.name.as_str(),
            "SUBSYSTEM" => subsystem,
            _ => return true,
        };
        let is_it = value.split('|').any(|glob| may_match(glob, known));
        match *operator {
            "==" => is_it,
            "!=" => !is_it || value.contains('['),
            _ => true,
        }
    })
}

/// A set of characters counts as any one.
fn may_match(glob: &str, text: &str) -> bool {
    let mut plain = String::new();
    let mut inside = false;
    for c in glob.chars() {
        match c {
            '[' => inside = true,
            ']' if inside => {
                inside = false;
                plain.push('?');
            }
            _ if inside => {}
            c => plain.push(c),
        }
    }
    matches_glob(&plain, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::persist::DeviceMatch;

    #[test]
    fn rules_for_this_disk_are_found_and_those_for_others_are_not() {
        let text = "# ATTR{queue/scheduler}=\"none\"\n\
                    ACTION==\"add|change\", KERNEL==\"sd[a-z]\", ATTR{queue/rotational}==\"1\", \\\n  ATTR{queue/scheduler}=\"bfq\"\n\
                    KERNEL==\"nvme*\", ATTR{queue/scheduler}=\"none\"\n\
                    SUBSYSTEM==\"net\", ATTR{queue/scheduler}=\"x\"\n\
                    KERNEL!=\"sda\", ATTR{queue/scheduler}=\"y\"\n\
                    ATTR{queue/scheduler}==\"z\"\n\
                    SUBSYSTEM==\"block\", ATTR{queue/scheduler}:=\"kyber\"\n";
        let device = Device {
            subsystem: Subsystem::Block,
            name: "sda".into(),
            known_by: DeviceMatch::Serial("1".into()),
        };
        let find = |name: &str| {
            let other = OtherFile {
                path: format!("/etc/udev/rules.d/{name}"),
                text: text.into(),
            };
            let mut found = Vec::new();
            assigned(&device, "queue/scheduler", "mq-deadline", &other, &mut found);
            found
                .into_iter()
                .map(|c| (c.line, c.value.clone(), c.matters()))
                .collect::<Vec<_>>()
        };
        let (bfq, kyber) = ("bfq".to_string(), "kyber".to_string());
        assert_eq!(
            find("99-a.rules"),
            [(2, bfq.clone(), true), (8, kyber.clone(), true)]
        );
        assert_eq!(find("10-a.rules"), [(2, bfq, false), (8, kyber, false)]);
    }
}
