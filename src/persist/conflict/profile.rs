//! What tuned's active profile sets.

use super::{Conflict, Others, matches_glob, spaced};
use crate::persist::Lasting;

/// What a key of one of tuned's plugins comes to, as a file of the kernel; `*` stands for any device or CPU.
///
/// Source: the plugins' own `_get_…` and `_set_…` functions, tuned 2.20.
const PLUGINS: [(&str, &str, &str); 6] = [
    (
        "vm",
        "transparent_hugepages",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ),
    (
        "vm",
        "transparent_hugepage",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ),
    (
        "vm",
        "transparent_hugepage.defrag",
        "/sys/kernel/mm/transparent_hugepage/defrag",
    ),
    (
        "cpu",
        "governor",
        "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    ),
    ("disk", "elevator", "queue/scheduler"),
    ("disk", "readahead", "queue/read_ahead_kb"),
];

/// Adds what the active profile, or one it includes, says of the same place. A sysctl or a file below /sys is in kvmtune's
/// own profile too, which has the last word where it is the active one; of devices it has none.
pub(super) fn set(item: &Lasting, others: &Others, found: &mut Vec<Conflict>) {
    for profile in &others.profiles {
        let mut section = "";
        for (number, line) in (1..).zip(profile.text.lines()) {
            let line = line.trim();
            if line.starts_with(['#', ';']) {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.trim();
                continue;
            }
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            if !is_same(item, section, key.trim()) {
                continue;
            }
            let ours_counts = others.own_profile && !matches!(item, Lasting::Device { .. });
            let why = if ours_counts {
                "kvmtune's own profile builds on it and says otherwise"
            } else {
                "tuned sets it when it starts, after systemd"
            };
            found.push(Conflict {
                path: profile.path.clone(),
                line: number,
                key: item.key(),
                value: spaced(value.trim().trim_matches('"')),
                ours: spaced(item.value()),
                wins: !ours_counts,
                why: why.into(),
            });
            // Of profiles that include each other the outer one counts.
            return;
        }
    }
}

fn is_same(item: &Lasting, section: &str, key: &str) -> bool {
    let place = match item {
        Lasting::Sysctl { key: ours, .. } => {
            return section == "sysctl" && (key.replace('.', "/") == *ours || key == *ours);
        }
        Lasting::File { path, .. } => path,
        Lasting::Device { attribute, .. } => attribute,
        _ => return false,
    };
    if section == "sysfs" {
        return matches_glob(key, place);
    }
    PLUGINS
        .iter()
        .any(|(plugin, name, path)| *plugin == section && *name == key && matches_glob(path, place))
}
