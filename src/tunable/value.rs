//! Values in canonical form, so that reading back is a comparison with `==`.
//!
//! Knows how texts are spelled (by users, the kernel, libvirt), not where they come from.

use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Longest text taken as a value; anything longer is a mistake or an attack.
const MAX_LEN: usize = 4096;

/// A text in the canonical form of its [`Kind`]: `16M` is `16777216`, `1,2` is `1-2`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Value(String);

impl Value {
    /// The canonical text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a value of the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct ValueError {
    text: String,
    /// What would have been legal, as a noun phrase.
    pub expected: String,
}

impl ValueError {
    /// `text` is cut and escaped, so that a hostile one stays a short line.
    pub(super) fn new(text: &str, expected: impl Into<String>) -> Self {
        Self {
            text: text.chars().take(60).flat_map(char::escape_default).collect(),
            expected: expected.into(),
        }
    }
}

/// What a legal value looks like, and its canonical spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A whole number in a closed range.
    Integer {
        /// Smallest legal value.
        min: i64,
        /// Largest legal value.
        max: i64,
    },
    /// A size in a closed range; canonical in bytes.
    Bytes {
        /// Smallest legal size.
        min: u64,
        /// Largest legal size.
        max: u64,
    },
    /// Several sizes, each at least the one before, as `net.ipv4.tcp_rmem` has three; canonical in bytes.
    Sizes {
        /// How many.
        count: usize,
        /// Largest legal size.
        max: u64,
    },
    /// A name made of letters, digits, `-`, `_`, `.`; old names are replaced by today's.
    Word {
        /// `(old, today)` pairs accepted from users.
        aliases: Vec<(String, String)>,
    },
    /// One of a fixed list.
    Choice(Vec<String>),
    /// Words or sizes separated by blanks, as in `net.ipv4.tcp_rmem` or a sysctl of unknown type.
    Words,
    /// One CPU set for each vCPU or I/O thread, `0=0-1 1=2`, or `none`: each on every CPU.
    Pins,
    /// A set of CPUs or of NUMA nodes: `0-3,8`.
    Set,
    /// Three factors that multiply to a number of vCPUs: `1x2x1`.
    Topology,
    /// vCPUs and memory on nodes of the host: `cpus=0-1 nodes=0 mode=strict`, or `none`.
    Placement,
    /// The value of a boot parameter; [`super::ABSENT`] when it is not there, [`super::PRESENT`] when it has none.
    Boot,
    /// The absolute path of a file, of plain characters, without `.` or `..` in it.
    Path {
        /// Also a name in its place, such as `none` or a kernel's release.
        named: bool,
    },
}

impl Kind {
    /// The canonical value of `text`.
    pub fn parse(&self, text: &str) -> Result<Value, ValueError> {
        let text = text.trim();
        let canonical = if text.is_empty() || text.len() > MAX_LEN || text.contains('\0') {
            None
        } else {
            self.canonical(text)
        };
        canonical
            .map(Value)
            .ok_or_else(|| ValueError::new(text, self.expected()))
    }

    fn canonical(&self, text: &str) -> Option<String> {
        match self {
            Self::Integer { min, max } => {
                let number: i64 = text.parse().ok()?;
                (*min..=*max).contains(&number).then(|| number.to_string())
            }
            Self::Bytes { min, max } => {
                let size = text.parse::<Bytes>().ok()?.0;
                (*min..=*max).contains(&size).then(|| size.to_string())
            }
            Self::Sizes { count, max } => canonical_sizes(text, *count, *max),
            Self::Word { aliases } => {
                let today = aliases
                    .iter()
                    .find(|(old, _)| old == text)
                    .map_or(text, |(_, today)| today);
                is_word(today).then(|| today.to_string())
            }
            Self::Choice(choices) => choices.iter().find(|c| *c == text).cloned(),
            Self::Words => {
                let words: Option<Vec<_>> = text.split_whitespace().map(canonical_word).collect();
                words.map(|w| w.join(" "))
            }
            Self::Pins => canonical_pins(text),
            Self::Set => text
                .parse::<CpuSet>()
                .ok()
                .filter(|set| !set.0.is_empty())
                .map(|set| set.to_string()),
            Self::Topology => {
                let factors: Option<Vec<u16>> = text
                    .split('x')
                    .map(|n| n.parse().ok().filter(|n| *n > 0))
                    .collect();
                let factors = factors.filter(|f| f.len() == 3)?;
                Some(factors.iter().map(u16::to_string).collect::<Vec<_>>().join("x"))
            }
            Self::Placement => canonical_placement(text),
            Self::Boot => is_boot_value(text).then(|| text.to_string()),
            Self::Path { named } => (is_path(text) || *named && is_release(text)).then(|| text.to_string()),
        }
    }

    /// What is legal, as a noun phrase.
    pub fn expected(&self) -> String {
        match self {
            Self::Integer { min, max: i64::MAX } => format!("a whole number from {min} up"),
            Self::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Self::Bytes {
                min: 0,
                max: u64::MAX,
            } => "a size such as `16MiB`".into(),
            Self::Bytes { min, max } => format!("a size from {} to {}", Bytes(*min), Bytes(*max)),
            Self::Sizes { count, max } => {
                format!("{count} sizes that do not descend, none above {}", Bytes(*max))
            }
            Self::Word { .. } => "a name of letters, digits, `-`, `_` or `.`".into(),
            Self::Choice(choices) => format!("one of {}", choices.join(", ")),
            Self::Words => "a list of numbers, sizes or names".into(),
            Self::Pins => "a pin map such as `0=0-1 1=2`, or a word that makes one, such as `none`".into(),
            Self::Set => "a set of numbers such as `0-3,8`".into(),
            Self::Topology => "sockets, cores and threads such as `1x2x1`".into(),
            Self::Placement => {
                "a placement such as `cpus=0-1 nodes=0 mode=strict`, `none`, `node0`, `same-node` or \
                                `interleave`"
                    .into()
            }
            Self::Boot => "a word for the kernel's command line, `present` or `absent`".into(),
            Self::Path { named } => {
                let path = "an absolute path of letters, digits and `/._+-@`, without `..` or `//`";
                format!("{path}{}", if *named { ", or a name such as `none`" } else { "" })
            }
        }
    }
}

fn is_word(text: &str) -> bool {
    text.len() <= 64
        && !text.starts_with(['-', '.'])
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
}

/// Longer ones are refused by the kernel.
const MAX_PATH: usize = 1024;

fn is_path(text: &str) -> bool {
    let plain = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.starts_with('-')
            && part
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._+-@".contains(c))
    };
    text.len() <= MAX_PATH && text.strip_prefix('/').is_some_and(|t| t.split('/').all(plain))
}

/// A kernel's release is a word that may hold `+`.
fn is_release(text: &str) -> bool {
    is_word(&text.replace('+', "-"))
}

/// Sysctl values of unknown type: a size with a unit becomes bytes, everything else must be a tame word.
fn canonical_word(word: &str) -> Option<String> {
    let tame = word
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.:/,%+".contains(c));
    // The only sysctls that take a path are programs the kernel starts as root (kernel.modprobe, core_pattern).
    if !tame || word.starts_with('/') || word.contains("..") {
        return None;
    }
    let sized =
        word.starts_with(|c: char| c.is_ascii_digit()) && word.ends_with(|c: char| c.is_ascii_alphabetic());
    // A `b` alone is a digit of a mask rather than a unit.
    let digits = word.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let is_mask = word[digits.len()..].eq_ignore_ascii_case("b");
    match word.parse::<Bytes>() {
        Ok(bytes) if sized && !is_mask => Some(bytes.0.to_string()),
        _ => Some(word.to_string()),
    }
}

fn canonical_sizes(text: &str, count: usize, max: u64) -> Option<String> {
    let sizes: Option<Vec<u64>> = text
        .split_whitespace()
        .map(|word| Some(word.parse::<Bytes>().ok()?.0))
        .collect();
    let sizes = sizes.filter(|sizes| sizes.len() == count && sizes.is_sorted())?;
    let words: Vec<_> = sizes.iter().map(u64::to_string).collect();
    sizes
        .last()
        .is_none_or(|last| *last <= max)
        .then(|| words.join(" "))
}

/// No blank and no quote: it stays one word of the command line.
fn is_boot_value(text: &str) -> bool {
    text.len() <= 256
        && !text.contains("..")
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "_.,:/=+-@#".contains(c))
}

fn canonical_placement(text: &str) -> Option<String> {
    if text == "none" {
        return Some(text.into());
    }
    let parts: Vec<_> = text.split_whitespace().collect();
    let of = |name: &str| {
        let mut found = parts
            .iter()
            .filter_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        found.next().filter(|_| parts.len() == 3)
    };
    let set = |name| of(name)?.parse::<CpuSet>().ok().filter(|set| !set.0.is_empty());
    let mode = of("mode").filter(|mode| ["strict", "preferred", "interleave"].contains(mode))?;
    Some(format!(
        "cpus={} nodes={} mode={mode}",
        set("cpus")?,
        set("nodes")?
    ))
}

fn canonical_pins(text: &str) -> Option<String> {
    if text == "none" {
        return Some(text.into());
    }
    let mut pins = std::collections::BTreeMap::new();
    for pin in text.split_whitespace() {
        let (vcpu, cpus) = pin.split_once('=')?;
        let vcpu: u16 = vcpu.parse().ok()?;
        let cpus: CpuSet = cpus.parse().ok()?;
        // A thread that may run nowhere is none.
        if cpus.0.is_empty() || pins.insert(vcpu, cpus).is_some() {
            return None;
        }
    }
    let written: Vec<_> = pins.iter().map(|(vcpu, cpus)| format!("{vcpu}={cpus}")).collect();
    Some(written.join(" "))
}

/// A set of CPU numbers, written as the kernel does: `0-3,8`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CpuSet(pub BTreeSet<u16>);

impl CpuSet {
    /// The CPU numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<u16> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u16>>(cpus: I) -> Self {
        Self(cpus.into_iter().collect())
    }
}

impl FromStr for CpuSet {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let bad = || ValueError::new(text, "a CPU list such as `0-3,8`");
        let mut cpus = BTreeSet::new();
        // A memory-only NUMA node has an empty list.
        for range in text.trim().split(',').filter(|_| !text.trim().is_empty()) {
            let (low, high) = range.split_once('-').unwrap_or((range, range));
            let low: u16 = low.trim().parse().map_err(|_| bad())?;
            let high: u16 = high.trim().parse().map_err(|_| bad())?;
            if low > high {
                return Err(bad());
            }
            cpus.extend(low..=high);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for cpu in self.iter() {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == cpu => *last = cpu,
                _ => runs.push((cpu, cpu)),
            }
        }
        for (i, (low, high)) in runs.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
        }
        Ok(())
    }
}

impl From<CpuSet> for String {
    fn from(cpus: CpuSet) -> String {
        cpus.to_string()
    }
}

impl TryFrom<String> for CpuSet {
    type Error = ValueError;
    fn try_from(text: String) -> Result<Self, ValueError> {
        text.parse()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(kind: &Kind, text: &str) -> Option<String> {
        kind.parse(text).ok().map(|v| v.to_string())
    }

    #[test]
    fn spells_values_canonically() {
        let word = Kind::Word {
            aliases: vec![("noop".into(), "none".into())],
        };
        for (kind, text, want) in [
            (&bytes(), "16M", Some("16777216")),
            (&bytes(), "3G", None),
            (&sizes(), "4k 1M 2M", Some("4096 1048576 2097152")),
            (&sizes(), "4k 1M", None),
            (&sizes(), "4k 2M 1M", None),
            (&sizes(), "4k 2M 3G", None),
            (&Kind::Set, "3,0-1", Some("0-1,3")),
            (&Kind::Set, "a", None),
            (&Kind::Boot, "auto,nosmt", Some("auto,nosmt")),
            (&Kind::Boot, "a b", None),
            (&Kind::Boot, "a\"b", None),
            (&Kind::Words, "4096  131072\t6M", Some("4096 131072 6291456")),
            (&Kind::Words, "3b", Some("3b")),
            (&Kind::Words, "a;rm", None),
            (&Kind::Words, "../../etc", None),
            (&Kind::Words, "/tmp/program", None),
            (&word, "noop", Some("none")),
            (&word, "../x", None),
            (&Kind::Pins, "1=2,3 0=1", Some("0=1 1=2-3")),
            (&Kind::Pins, "0=1 0=2", None),
            (&Kind::Integer { min: 2, max: 9 }, "10", None),
            (&bytes(), "", None),
            (&Kind::Words, "a\0b", None),
            (
                &path(false),
                " /boot/vmlinuz-6.12+deb12 ",
                Some("/boot/vmlinuz-6.12+deb12"),
            ),
            (&path(false), "none", None),
            (&path(true), "none", Some("none")),
            (
                &path(true),
                "6.12.117+deb12-cloud-amd64",
                Some("6.12.117+deb12-cloud-amd64"),
            ),
            (&path(true), "boot/vmlinuz", None),
            (&path(true), "..", None),
        ] {
            assert_eq!(canonical(kind, text).as_deref(), want, "{kind:?} {text:?}");
        }
        assert!(Kind::Words.parse(&"9".repeat(10_000_000)).is_err());
    }

    fn bytes() -> Kind {
        Kind::Bytes { min: 0, max: 1 << 31 }
    }

    fn sizes() -> Kind {
        Kind::Sizes {
            count: 3,
            max: 1 << 31,
        }
    }

    fn path(named: bool) -> Kind {
        Kind::Path { named }
    }

    #[test]
    fn paths_are_absolute_and_plain() {
        for bad in [
            "", "/", "//", "/a//b", "/a/", "/a/../b", "/./a", "/a/..", "a/b", "/a b", "/a;b", "/a$b", "/a`b",
            "/a,b", "/a'b", "/a\"b", "/a\\b", "/a\nb", "/a\0b", "/a&b", "/a<b", "/ä", "/-a", "~/a",
            "file:/a",
        ] {
            assert_eq!(canonical(&path(false), bad), None, "{bad:?}");
            assert_eq!(canonical(&path(true), bad), None, "{bad:?}");
        }
        assert!(path(false).parse(&"/a".repeat(1000)).is_err());
    }

    proptest! {
        #[test]
        fn cpu_sets_survive_a_round_trip(cpus in proptest::collection::btree_set(0u16..512, 1..40)) {
            let set = CpuSet(cpus);
            prop_assert_eq!(set.to_string().parse::<CpuSet>().unwrap(), set);
        }

        #[test]
        fn canonical_is_idempotent(text in "\\PC{0,40}") {
            for kind in [bytes(), sizes(), Kind::Set, Kind::Boot, Kind::Words, Kind::Pins, Kind::Word { aliases: vec![] }, path(true)] {
                if let Ok(once) = kind.parse(&text) {
                    prop_assert_eq!(kind.parse(once.as_str()).unwrap(), once);
                }
            }
        }
    }
}
