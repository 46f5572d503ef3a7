//! Names a user can write that become places: of sysctls, kernel files, module parameters, boot parameters.
//!
//! Each type is the proof that its text was checked: none can leave the folder it belongs to.

use super::value::ValueError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Makes a text that was checked behave like one, in files and in messages.
macro_rules! checked_text {
    ($name:ident) => {
        impl $name {
            /// The text as it was written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = ValueError;
            fn try_from(text: String) -> Result<Self, ValueError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The dotted name of a sysctl, safe to be made a path below /proc/sys.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SysctlName(String);

checked_text!(SysctlName);

impl SysctlName {
    /// The file that holds it. As in sysctl(8), a `/` in a name stands for a literal dot.
    pub fn path(&self) -> String {
        let swapped: String = self
            .0
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect();
        format!("/proc/sys/{swapped}")
    }
}

impl FromStr for SysctlName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let part_ok = |part: &str| {
            !part.is_empty()
                && !part.contains("//")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '/' | '@'))
                && !part.starts_with(['/', '-'])
                && !part.ends_with('/')
        };
        let ok = text.len() <= 200 && text.contains('.') && text.split('.').all(part_ok);
        if ok {
            Ok(Self(text.to_string()))
        } else {
            Err(ValueError::new(text, "a sysctl name such as `vm.swappiness`"))
        }
    }
}

/// A file of the host's kernel that holds a setting: below /sys (with its cgroups) or /proc/sys, never out of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KernelFile(String);

checked_text!(KernelFile);

impl KernelFile {
    /// True for a path kvmtune may read and write: below /proc/sys or /sys, without a way out.
    pub fn is_one(path: &str) -> bool {
        let below = path
            .strip_prefix("/proc/sys/")
            .or_else(|| path.strip_prefix("/sys/"));
        let plain = |part: &str| {
            !matches!(part, "" | "." | "..")
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._+-@:,=\\".contains(c))
        };
        path.len() < 500 && below.is_some_and(|rest| rest.split('/').all(plain))
    }
}

impl FromStr for KernelFile {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if Self::is_one(text) {
            Ok(Self(text.to_string()))
        } else {
            Err(ValueError::new(
                text,
                "a file below /sys, /proc/sys or a cgroup, such as `/sys/kernel/mm/ksm/run`, without `..`",
            ))
        }
    }
}

/// A parameter of a kernel module, `kvm.halt_poll_ns`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ModuleParameter(String);

checked_text!(ModuleParameter);

impl ModuleParameter {
    /// The module, spelled as in /sys.
    pub fn module(&self) -> &str {
        self.0.split_once('.').map_or("", |(module, _)| module)
    }

    /// The file that holds it while the module is loaded or built in.
    pub fn path(&self) -> String {
        let (module, parameter) = self.0.split_once('.').unwrap_or((&self.0, ""));
        format!("/sys/module/{module}/parameters/{parameter}")
    }
}

impl FromStr for ModuleParameter {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let error = || ValueError::new(text, "a module and its parameter such as `kvm.halt_poll_ns`");
        let (module, parameter) = text.split_once('.').ok_or_else(error)?;
        let ok = [module, parameter].iter().all(|part| is_identifier(part));
        // The kernel's own name of a module has underscores.
        let name = format!("{}.{parameter}", module.replace('-', "_"));
        if ok { Ok(Self(name)) } else { Err(error()) }
    }
}

/// The name of a kernel module.
pub(super) fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
}

/// A parameter of a kernel's command line: `mitigations`, `kvm.halt_poll_ns`; or a pair of which the first word says
/// what the second is about: `hugepagesz=1G hugepages`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BootParameter(String);

checked_text!(BootParameter);

/// The level of a boot parameter that is not on the command line.
pub const ABSENT: &str = "absent";
/// The level of one that stands there without a value.
pub const PRESENT: &str = "present";

impl FromStr for BootParameter {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let plain = |word: &str| {
            (1..=100).contains(&word.len())
                && word.starts_with(|c: char| c.is_ascii_alphanumeric())
                && word
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        let ok = match text.split_once(' ') {
            None => plain(text),
            Some((leader, name)) => {
                plain(name) && leader.split_once('=').is_some_and(|(a, b)| plain(a) && plain(b))
            }
        };
        if ok {
            Ok(Self(text.to_string()))
        } else {
            Err(ValueError::new(text, "a kernel parameter such as `mitigations`"))
        }
    }
}

impl BootParameter {
    /// Its value on a command line: the last one counts, [`PRESENT`] when it has none, [`ABSENT`] when it is not there.
    ///
    /// A word after `--` is for init, not for the kernel.
    pub fn value_in(&self, command_line: &str) -> String {
        let (words, _) = words(command_line);
        self.places(&words)
            .last()
            .map_or_else(|| ABSENT.into(), |&at| self.value_of(&words[at]))
    }

    /// The command line with this value: where it stood, or at the end.
    pub fn put_in(&self, command_line: &str, value: &str) -> String {
        let (mut words, rest) = words(command_line);
        let places = self.places(&words);
        let (leader, name) = self.parts();
        for &at in places.iter().rev() {
            words.remove(at);
            if leader.is_some() {
                words.remove(at - 1);
            }
        }
        let first = places
            .first()
            .map_or(words.len(), |&at| at - usize::from(leader.is_some()));
        let mut new: Vec<String> = Vec::new();
        if value != ABSENT {
            new.extend(leader.map(str::to_string));
            new.push(match value {
                PRESENT => name.to_string(),
                value => format!("{name}={value}"),
            });
        }
        let at = first.min(words.len());
        words.splice(at..at, new);
        words.extend(rest);
        words.join(" ")
    }

    /// The word before it, for the second of a pair, and its name.
    pub(super) fn parts(&self) -> (Option<&str>, &str) {
        match self.0.split_once(' ') {
            Some((leader, name)) => (Some(leader), name),
            None => (None, &self.0),
        }
    }

    fn name(&self) -> &str {
        self.parts().1
    }

    fn places(&self, words: &[String]) -> Vec<usize> {
        let (leader, name) = self.parts();
        let is_it = |at: &usize| {
            let word = &words[*at];
            let named = word == name || word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
            named && leader.is_none_or(|leader| *at > 0 && words[at - 1] == leader)
        };
        (0..words.len()).filter(is_it).collect()
    }

    fn value_of(&self, word: &str) -> String {
        let value = word
            .strip_prefix(self.name())
            .and_then(|rest| rest.strip_prefix('='));
        value.map_or_else(|| PRESENT.into(), str::to_string)
    }
}

/// The kernel's own words, and `--` with what follows it; a quoted word stays whole.
fn words(command_line: &str) -> (Vec<String>, Vec<String>) {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in command_line.trim().chars() {
        quoted ^= c == '"';
        match words.last_mut() {
            Some(word) if quoted || !c.is_whitespace() => word.push(c),
            _ => words.push(String::new()),
        }
    }
    words.retain(|w| !w.is_empty());
    let end = words.iter().position(|w| w == "--").unwrap_or(words.len());
    let rest = words.split_off(end);
    (words, rest)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn sysctl_names_cannot_leave_proc_sys() {
        assert_eq!(
            "net.ipv4.tcp_rmem".parse::<SysctlName>().unwrap().path(),
            "/proc/sys/net/ipv4/tcp_rmem"
        );
        assert_eq!(
            "net.ipv4.conf.eth0/5.mtu".parse::<SysctlName>().unwrap().path(),
            "/proc/sys/net/ipv4/conf/eth0.5/mtu"
        );
        for bad in [
            "",
            "vm",
            "..",
            "a..b",
            "/etc.passwd",
            "vm.x;y",
            "vm.\0",
            "a.//b",
            "a.b/",
            "vm swappiness.x",
        ] {
            let path = bad.parse::<SysctlName>().map(|n| n.path());
            assert!(
                path.as_ref().is_err() || !path.as_ref().unwrap().contains(".."),
                "{bad} gave {path:?}"
            );
        }
        assert!("a.//.//b".parse::<SysctlName>().is_err());
    }

    #[test]
    fn kernel_files_stay_below_their_folders() {
        for good in [
            "/sys/kernel/mm/ksm/run",
            "/proc/sys/vm/swappiness",
            "/sys/fs/cgroup/cpu,cpuacct/machine/qemu-1\\x2da.scope/cpu.shares",
        ] {
            assert!(good.parse::<KernelFile>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "/sys",
            "/sys/",
            "/etc/passwd",
            "/proc/self/mem",
            "/proc/sysrq-trigger",
            "/sys/../etc/passwd",
            "/sys//x",
            "/sys/./x",
            "sys/x",
            "/sys/a b",
            "/sys/$(x)",
            "/sys/a\0b",
            "/sys/a;b",
            "/proc/sys",
        ] {
            assert!(bad.parse::<KernelFile>().is_err(), "{bad}");
        }
    }

    #[test]
    fn module_parameters_are_two_names() {
        let found: ModuleParameter = "kvm-intel.nested".parse().unwrap();
        assert_eq!(
            (found.module(), found.as_str()),
            ("kvm_intel", "kvm_intel.nested")
        );
        assert_eq!(found.path(), "/sys/module/kvm_intel/parameters/nested");
        for bad in [
            "", "kvm", "kvm.", ".x", "a/b.c", "..", "../a.b", "kvm.x y", "a.b.c",
        ] {
            assert!(bad.parse::<ModuleParameter>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_command_line_is_read_and_edited_word_by_word() {
        let line =
            "root=/dev/vda mitigations=auto quiet dyndbg=\"file a.c +p\" mitigations=off -- quiet single";
        let of = |name: &str| name.parse::<BootParameter>().unwrap();
        assert_eq!(of("mitigations").value_in(line), "off");
        assert_eq!(of("quiet").value_in(line), PRESENT);
        assert_eq!(of("single").value_in(line), ABSENT);
        assert_eq!(
            of("mitigations").put_in(line, "auto,nosmt"),
            "root=/dev/vda mitigations=auto,nosmt quiet dyndbg=\"file a.c +p\" -- quiet single"
        );
        assert_eq!(of("quiet").put_in("a quiet b", ABSENT), "a b");
        // What is quoted is one word, also when it holds the `--` that ends the kernel's words.
        let quoted = "a dyndbg=\"x -- y\" b -- single c";
        assert_eq!(
            of("quiet").put_in(quoted, PRESENT),
            "a dyndbg=\"x -- y\" b quiet -- single c"
        );
        assert_eq!(of("b").put_in(quoted, ABSENT), "a dyndbg=\"x -- y\" -- single c");
        assert_eq!(of("nosmt").put_in("a", PRESENT), "a nosmt");

        let pages = of("hugepagesz=1G hugepages");
        let line = "a hugepagesz=2M hugepages=8 hugepagesz=1G hugepages=2 b";
        assert_eq!(pages.value_in(line), "2");
        assert_eq!(
            pages.put_in(line, "4"),
            "a hugepagesz=2M hugepages=8 hugepagesz=1G hugepages=4 b"
        );
        assert_eq!(pages.put_in(line, ABSENT), "a hugepagesz=2M hugepages=8 b");
        assert_eq!(pages.put_in("a", "1"), "a hugepagesz=1G hugepages=1");
        for bad in ["", "a b", "a=b", "x;y", "\"", "a=b c=d", "$(x)", "a\nb"] {
            assert!(bad.parse::<BootParameter>().is_err(), "{bad}");
        }
    }
}
