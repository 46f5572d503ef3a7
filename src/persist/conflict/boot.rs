//! The kernel's command line, as it is now and as GRUB's configuration makes it.

use super::{Conflict, OtherFile, spaced};
use crate::persist::OwnFile;
use crate::tunable::{ABSENT, BootEdit, BootParameter, ModuleParameter};

/// Lines of GRUB's configuration that put the parameter on the command line. Ours takes every word before it out, so only
/// what is read later wins.
pub(super) fn drop_in(edit: &BootEdit, other: &OtherFile, found: &mut Vec<Conflict>) {
    let own = OwnFile::Grub.path().rsplit('/').next().unwrap_or_default();
    let is_single = !other.path.contains("/grub.d/");
    let wins = !is_single && other.name() > own;
    let why = if wins {
        "it is read after ours"
    } else {
        "it is read before ours, which takes the old words out"
    };
    for (number, line) in (1..).zip(other.text.lines()) {
        let line = line.trim();
        let Some((variable, value)) = line.split_once('=') else {
            continue;
        };
        if line.starts_with('#') || !variable.trim().starts_with("GRUB_CMDLINE_LINUX") {
            continue;
        }
        let set = edit.parameter.value_in(&value.replace(['"', '\''], " "));
        if set != ABSENT {
            found.push(Conflict {
                path: other.path.clone(),
                line: number,
                key: edit.parameter.to_string(),
                value: spaced(&set),
                ours: edit.value.to_string(),
                wins,
                why: why.into(),
            });
        }
    }
}

/// A module's parameter on the command line of this boot: modprobe puts it after all options of files.
pub(super) fn command_line(parameter: &ModuleParameter, ours: &str, line: &str, found: &mut Vec<Conflict>) {
    let Ok(name) = parameter.as_str().parse::<BootParameter>() else {
        return;
    };
    let set = name.value_in(line);
    if set != ABSENT {
        found.push(Conflict {
            path: "/proc/cmdline".into(),
            line: 0,
            key: parameter.to_string(),
            value: spaced(&set),
            ours: spaced(ours),
            wins: true,
            why: "the kernel's command line counts after modprobe.d".into(),
        });
    }
}
