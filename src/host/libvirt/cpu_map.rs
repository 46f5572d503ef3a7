//! Sets of host CPUs, as libvirt's bit maps and as text. It does not know which CPUs exist.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// CPU numbers above this are refused: far beyond any host, and a bound for the bit map's size.
const MAX_CPU: u32 = 16_383;

/// A set of host CPUs; its text form is canonical (`0-2,5`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct CpuMap(BTreeSet<u32>);

/// Text that is no CPU list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a list of CPUs: write numbers and ranges up to {MAX_CPU}, such as 0-2,5")]
pub struct CpuMapError {
    text: String,
}

impl CpuMap {
    /// The CPUs in ascending order.
    pub fn cpus(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().copied()
    }

    /// How many CPUs are in the set.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether no CPU is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        self.0.contains(&cpu)
    }

    /// From libvirt's map: bit `n % 8` of byte `n / 8` is CPU `n`.
    pub(super) fn from_bits(bits: &[u8]) -> Self {
        let cpus = (0u32..).zip(
            bits.iter()
                .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1)),
        );
        Self(cpus.filter_map(|(cpu, set)| set.then_some(cpu)).collect())
    }

    /// To libvirt's map, as short as possible.
    pub(super) fn to_bits(&self) -> Vec<u8> {
        let length = self.0.last().map_or(0, |&last| last as usize / 8 + 1);
        let mut bits = vec![0u8; length];
        for &cpu in &self.0 {
            bits[cpu as usize / 8] |= 1 << (cpu % 8);
        }
        bits
    }
}

impl FromIterator<u32> for CpuMap {
    /// CPUs beyond the bound are left out.
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        Self(cpus.into_iter().filter(|&cpu| cpu <= MAX_CPU).collect())
    }
}

impl FromStr for CpuMap {
    type Err = CpuMapError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || CpuMapError {
            text: text.chars().take(80).collect(),
        };
        let number = |t: &str| match t.trim().parse::<u32>() {
            Ok(cpu) if cpu <= MAX_CPU => Ok(cpu),
            _ => Err(wrong()),
        };
        let mut cpus = BTreeSet::new();
        for part in text.trim().split(',') {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if last < first {
                return Err(wrong());
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.cpus().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if(|&next| next == last + 1) {
                last = next;
            }
            if first == last {
                write!(f, "{separator}{first}")?;
            } else {
                write!(f, "{separator}{first}-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn text_is_canonical() {
        for (text, canonical) in [("1,2", "1-2"), ("0-1,2,5", "0-2,5"), (" 7 ", "7"), ("3,1", "1,3")] {
            assert_eq!(text.parse::<CpuMap>().unwrap().to_string(), canonical);
        }
        for text in [
            "",
            "a",
            "1-",
            "2-1",
            "-1",
            "1,,2",
            "99999999",
            "0-4294967295",
            "^1",
        ] {
            assert!(text.parse::<CpuMap>().is_err(), "{text}");
        }
    }

    #[test]
    fn bits_round_trip() {
        let map: CpuMap = "0,9,31".parse().unwrap();
        assert_eq!(map.to_bits(), [0b1, 0b10, 0, 0x80]);
        assert_eq!(CpuMap::from_bits(&map.to_bits()), map);
        assert!(CpuMap::from_bits(&[]).is_empty());
    }
}
