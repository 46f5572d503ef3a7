//! Files of lines with a key and a value: sysctls, writes at boot, options of modules.

use super::{Conflict, OtherFile, matches_glob, spaced};
use crate::persist::OwnFile;
use crate::tunable::ModuleParameter;

/// Sysctls. All files count in the order of their names, the last value wins; `/etc/sysctl.conf` is read after all by
/// `sysctl --system`, and `/etc/ufw/sysctl.conf` when the firewall starts.
pub(super) fn sysctl(key: &str, ours: &str, other: &OtherFile, found: &mut Vec<Conflict>) {
    let own = OwnFile::Sysctl.path();
    let (wins, why) = match other.path.as_str() {
        "/etc/sysctl.conf" => (true, "sysctl --system reads it after all others"),
        "/etc/ufw/sysctl.conf" => (true, "the firewall ufw sets it when it starts"),
        _ if other.name() == "60-kvmtune.conf" => (true, "sysctl --system reads it instead of ours"),
        _ if after(other, own) => (true, "it is read after ours"),
        _ => (false, "it is read before ours"),
    };
    for (line, text) in lines(other, &['#', ';']) {
        // A leading `-` says that a failure does not matter; with it and no value globs leave the key out.
        let Some((name, value)) = text.split_once('=') else {
            continue;
        };
        let name = slashed(name.trim().trim_start_matches('-').trim());
        if matches_glob(&name, key) {
            let is_pattern = name != key && !other.path.ends_with("/sysctl.conf");
            let (wins, why) = if is_pattern {
                (false, "systemd-sysctl takes a key that is named before a pattern")
            } else {
                (wins, why)
            };
            push(
                found,
                other,
                line,
                &key.replace('/', "."),
                value,
                ours,
                (wins, why),
            );
        }
    }
}

/// Writes at boot. Of files of tmpfiles.d that write the same path the first in the order of their names counts, a later `w+`
/// besides; a pattern is another path to systemd-tmpfiles: it is written, too, in its turn. sysfsutils writes later.
///
/// Source: `parse_line` and `run` of systemd's tmpfiles.c.
pub(super) fn written(path: &str, ours: &str, other: &OtherFile, found: &mut Vec<Conflict>) {
    if other.path.starts_with("/etc/sysfs") {
        let Some(key) = path.strip_prefix("/sys/") else {
            return;
        };
        for (line, text) in lines(other, &['#']) {
            if let Some((name, value)) = text.split_once('=')
                && name.trim() == key
            {
                push(
                    found,
                    other,
                    line,
                    path,
                    value,
                    ours,
                    (true, "sysfsutils writes it after systemd-tmpfiles"),
                );
            }
        }
        return;
    }
    let is_after = after(other, OwnFile::Tmpfiles.path());
    for (line, text) in lines(other, &['#']) {
        let mut words = text.split_whitespace();
        let (Some(kind), Some(glob)) = (words.next(), words.next()) else {
            continue;
        };
        let glob = glob.trim_matches('"').replace("%%", "%");
        if !kind.starts_with('w') || !matches_glob(&glob, path) {
            continue;
        }
        let verdict = match (glob == path, is_after) {
            (true, true) if kind.contains('+') => (true, "it is added to the write of ours"),
            (true, true) => (
                false,
                "systemd-tmpfiles takes the first file that writes it, which is ours",
            ),
            (true, false) => (true, "systemd-tmpfiles takes the first file that writes it"),
            (false, true) => (true, "its pattern is written after ours"),
            (false, false) => (false, "its pattern is written before ours"),
        };
        let value: Vec<_> = words.skip(4).collect();
        push(found, other, line, path, &value.join(" "), ours, verdict);
    }
}

/// Options of modules. Those of all files are put in a row in the order of their names, and the kernel takes the last.
pub(super) fn option(parameter: &ModuleParameter, ours: &str, other: &OtherFile, found: &mut Vec<Conflict>) {
    let wins = after(other, OwnFile::Modprobe.path());
    let why = if wins {
        "its options come after ours"
    } else {
        "its options come before ours"
    };
    let name = parameter.as_str().split_once('.').map_or("", |(_, name)| name);
    for (line, text) in lines(other, &['#']) {
        let mut words = text.split_whitespace();
        let is_it = words.next() == Some("options")
            && words
                .next()
                .is_some_and(|module| module.replace('-', "_") == parameter.module());
        if !is_it {
            continue;
        }
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            if key.replace('-', "_") == name.replace('-', "_") {
                push(
                    found,
                    other,
                    line,
                    parameter.as_str(),
                    value.trim_matches('"'),
                    ours,
                    (wins, why),
                );
            }
        }
    }
}

fn push(
    found: &mut Vec<Conflict>,
    other: &OtherFile,
    line: usize,
    key: &str,
    value: &str,
    ours: &str,
    (wins, why): (bool, &str),
) {
    found.push(Conflict {
        path: other.path.clone(),
        line,
        key: key.into(),
        value: spaced(value),
        ours: spaced(ours),
        wins,
        why: why.into(),
    });
}

/// True when a file's name comes after that of ours.
fn after(other: &OtherFile, own: &str) -> bool {
    other.name() > own.rsplit('/').next().unwrap_or_default()
}

/// Lines that say something, with their numbers.
fn lines<'o>(other: &'o OtherFile, comments: &'static [char]) -> impl Iterator<Item = (usize, &'o str)> {
    let numbered = (1..).zip(other.text.lines());
    numbered
        .map(|(n, line)| (n, line.trim()))
        .filter(move |(_, line)| !line.is_empty() && !line.starts_with(comments))
}

/// The name of a sysctl as a path: the first separator that occurs is the one that separates (sysctl.d(5)).
fn slashed(name: &str) -> String {
    let dot = name.find('.').unwrap_or(usize::MAX);
    if name.find('/').unwrap_or(usize::MAX) < dot {
        return name.to_string();
    }
    let swap = |c| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> OtherFile {
        OtherFile {
            path: path.into(),
            text: text.into(),
        }
    }

    fn of_sysctl(path: &str, text: &str) -> Vec<(usize, String, bool)> {
        let mut found = Vec::new();
        sysctl("net/ipv4/tcp_rmem", "4096 1 2", &file(path, text), &mut found);
        found
            .into_iter()
            .map(|c| (c.line, c.value.clone(), c.matters()))
            .collect()
    }

    #[test]
    fn a_sysctl_is_found_however_it_is_spelled() {
        let text = "# net.ipv4.tcp_rmem = 0\n; net.ipv4.tcp_rmem=0\n -net.ipv4.tcp_rmem =  7\t8 9 \nnet/ipv4/tcp_rmem=4096 1  2\n\
                    net.ipv4.tcp_*=1\nnet.ipv4.tcp_rmem\nnet.ipv6.tcp_rmem=1\n";
        let expected = [
            (3, "7 8 9".to_string(), true),
            (4, "4096 1 2".into(), false),
            (5, "1".into(), false),
        ];
        assert_eq!(of_sysctl("/etc/sysctl.d/99-a.conf", text), expected);
        let before = of_sysctl("/usr/lib/sysctl.d/50-a.conf", "net.ipv4.tcp_rmem = 1");
        assert_eq!(before, [(1, "1".to_string(), false)]);
        assert!(of_sysctl("/etc/sysctl.conf", "net.ipv4.tcp_rmem = 1")[0].2);
    }

    #[test]
    fn the_first_write_at_boot_counts_and_the_last_option() {
        let write = |path: &str| {
            let mut found = Vec::new();
            let text = "d /run/x\nw /sys/kernel/mm/ksm/* - - - - 5\nw /sys/kernel/mm/ksm/run - - - - 5\n\
                        w+ /sys/kernel/mm/ksm/run - - - - 5\n";
            written("/sys/kernel/mm/ksm/run", "1", &file(path, text), &mut found);
            found
                .into_iter()
                .map(|c| (c.line, c.matters()))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            write("/etc/tmpfiles.d/10-a.conf"),
            [(2, false), (3, true), (4, true)]
        );
        assert_eq!(
            write("/etc/tmpfiles.d/90-a.conf"),
            [(2, true), (3, false), (4, true)]
        );
        let options = |path: &str| {
            let mut found = Vec::new();
            let text = "options kvm-intel nested=0\noptions kvm a=1 halt_poll_ns=7\n";
            let parameter = "kvm.halt_poll_ns".parse().expect("it is one");
            option(&parameter, "1", &file(path, text), &mut found);
            found
                .into_iter()
                .map(|c| (c.line, c.value.clone(), c.matters()))
                .collect::<Vec<_>>()
        };
        assert_eq!(options("/etc/modprobe.d/kvm.conf"), [(2, "7".to_string(), true)]);
        assert_eq!(
            options("/etc/modprobe.d/10-kvm.conf"),
            [(2, "7".to_string(), false)]
        );
    }
}
