//! Memory of pages of a wanted size, and the proof that it is.

use super::Failure;
use super::sys::{Memory, Transparent};
use std::fs;
use std::io;
use std::str::FromStr;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const GIB: usize = 1024 * MIB;

/// Exit code where the guest has no such pages.
pub(crate) const NO_PAGES: u8 = 3;

/// What the memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// Whatever the guest's settings make of ordinary memory.
    Any,
    /// 4 KiB, and no huge ones in their place.
    Small,
    /// Huge ones that the kernel makes by itself.
    Transparent,
    /// 2 MiB from the guest's pool.
    Huge,
    /// 1 GiB from the guest's pool.
    Gigantic,
}

impl FromStr for Pages {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "any" => Ok(Self::Any),
            "4k" => Ok(Self::Small),
            "thp" => Ok(Self::Transparent),
            "2m" => Ok(Self::Huge),
            "1g" => Ok(Self::Gigantic),
            _ => Err("pages are any, 4k, thp, 2m or 1g"),
        }
    }
}

impl Pages {
    /// Bytes of one page.
    fn size(self) -> usize {
        match self {
            Self::Small => 4 * KIB,
            Self::Any | Self::Transparent | Self::Huge => 2 * MIB,
            Self::Gigantic => GIB,
        }
    }

    fn is_pool(self) -> bool {
        matches!(self, Self::Huge | Self::Gigantic)
    }
}

/// Memory that begins where a page of its kind does.
#[derive(Debug)]
pub(crate) struct PagedMemory {
    memory: Memory,
    pages: Pages,
    /// Bytes before the first whole page.
    skipped: usize,
    length: usize,
}

impl PagedMemory {
    /// At least `bytes`, in whole pages; not yet there before it is written to.
    pub(crate) fn take(bytes: usize, pages: Pages) -> Result<Self, Failure> {
        let length = bytes.next_multiple_of(pages.size());
        if !pages.is_pool() {
            fits(length)?;
        }
        let memory = match pages {
            Pages::Small => Memory::ordinary(length, Transparent::Unwanted),
            // Only whole, aligned pages are made huge.
            Pages::Any => Memory::ordinary(length + pages.size(), Transparent::Unsaid),
            Pages::Transparent => Memory::ordinary(length + pages.size(), Transparent::Wanted),
            Pages::Huge | Pages::Gigantic => Memory::from_pool(length, pages.size()),
        };
        let memory = memory.map_err(|error| none(length, pages, &error))?;
        let skipped = memory.address().next_multiple_of(pages.size()) - memory.address();
        Ok(Self {
            memory,
            pages,
            skipped,
            length,
        })
    }

    /// All of it.
    pub(crate) fn words(&mut self) -> &mut [usize] {
        let first = self.skipped / size_of::<usize>();
        &mut self.memory.words()[first..][..self.length / size_of::<usize>()]
    }

    /// Asks the kernel what the pages are, once all of them were written to: the share of transparent huge ones in
    /// percent, or an error where the pages are not of the wanted kind.
    pub(crate) fn verify(&self) -> Result<f64, Failure> {
        let smaps = fs::read_to_string("/proc/self/smaps")
            .map_err(|e| Failure::failed("see the pages in /proc/self/smaps", e))?;
        verify(
            &smaps,
            self.memory.address() + self.skipped,
            self.length,
            self.pages,
        )
    }
}

/// An error where the guest would have to kill somebody to hold this much.
fn fits(length: usize) -> Result<(), Failure> {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    match number_of(&meminfo, "MemAvailable:") {
        Some(free) if length / KIB > free => Err(Failure {
            exit: 1,
            message: format!(
                "{} MiB do not fit: {} MiB are available; take a smaller working set or a larger guest",
                length.div_ceil(MIB),
                free * KIB / MIB
            ),
        }),
        _ => Ok(()),
    }
}

/// Why there is no such memory, and how to get it.
fn none(length: usize, pages: Pages, error: &io::Error) -> Failure {
    let (needed, kib) = (length / pages.size(), pages.size() / KIB);
    let pool = format!("/sys/kernel/mm/hugepages/hugepages-{kib}kB");
    let count = |name: &str| {
        let text = fs::read_to_string(format!("{pool}/{name}")).ok()?;
        text.trim().parse::<usize>().ok()
    };
    let message = match (pages, count("free_hugepages"), count("nr_hugepages")) {
        (Pages::Any | Pages::Small | Pages::Transparent, ..) => {
            format!("{} MiB of memory: {error}", length.div_ceil(MIB))
        }
        (Pages::Gigantic, None, _) => {
            "this guest has no pages of 1 GiB: its CPU must have the feature pdpe1gb".to_string()
        }
        (_, free, all) => {
            let (free, all) = (free.unwrap_or(0), all.unwrap_or(0));
            let (size, tunable) = match pages {
                Pages::Gigantic => ("1 GiB", "guest.hugepages.1GiB"),
                _ => ("2 MiB", "guest.hugepages.2MiB"),
            };
            format!(
                "it takes {needed} of the guest's pages of {size}, and {free} of the {all} in its pool are free ({error}); \
                 reserve them in the guest: `echo {needed} > {pool}/nr_hugepages`, or the tunable {tunable}"
            )
        }
    };
    Failure {
        exit: NO_PAGES,
        message,
    }
}

/// The share of transparent huge pages in the mapping at `address`, which must be made of `pages`, by the text of an
/// smaps.
fn verify(smaps: &str, address: usize, length: usize, pages: Pages) -> Result<f64, Failure> {
    let wrong = |what: String| Failure {
        exit: NO_PAGES,
        message: format!("the pages are not what was asked for: {what}"),
    };
    let mapping = mapping(smaps, address).ok_or_else(|| wrong("smaps does not have them".into()))?;
    let kib = |name: &str| number_of(mapping, name).ok_or_else(|| wrong(format!("smaps has no {name}")));
    let size = kib("KernelPageSize:")?;
    let transparent = kib("AnonHugePages:")?;
    let wanted = match pages {
        Pages::Any | Pages::Transparent => 4,
        Pages::Small | Pages::Huge | Pages::Gigantic => pages.size() / KIB,
    };
    if size != wanted {
        return Err(wrong(format!("they have {size} KiB, not {wanted} KiB")));
    }
    match pages {
        Pages::Small if transparent > 0 => Err(wrong(format!("{transparent} KiB of them are huge"))),
        Pages::Transparent if transparent < length / KIB => Err(wrong(format!(
            "{transparent} of {} KiB are huge; memory may be in pieces, or \
             /sys/kernel/mm/transparent_hugepage/enabled be `never`",
            length / KIB
        ))),
        // The mapping may be longer than what is used of it.
        _ => Ok((transparent as f64 / (length / KIB) as f64 * 100.0).min(100.0)),
    }
}

/// What smaps says of the mapping that holds an address.
fn mapping(smaps: &str, address: usize) -> Option<&str> {
    let mut found = None;
    let mut at = 0;
    for line in smaps.split_inclusive('\n') {
        if let Some((first, last)) = range(line) {
            if let Some(start) = found {
                return smaps.get(start..at);
            }
            found = (first..last).contains(&address).then_some(at);
        }
        at += line.len();
    }
    smaps.get(found?..)
}

/// The addresses in the first line of a mapping: `7f00-7f08 rw-p …`.
fn range(line: &str) -> Option<(usize, usize)> {
    let (first, last) = line.split_whitespace().next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some((number(first)?, number(last)?))
}

/// The number after a name, as in `MemAvailable:  123 kB`.
fn number_of(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SMAPS: &str = "1000-2000 r-xp 00000000 00:00 0\nSize: 4 kB\nKernelPageSize: 4 kB\nAnonHugePages: 8 kB\n\
                         200000-600000 rw-p 00000000 00:00 0 [anon]\nKernelPageSize:        4 kB\nAnonHugePages:      2048 kB\n\
                         800000-a00000 rw-p 00000000 00:0f 1 /anon_hugepage (deleted)\nKernelPageSize: 2048 kB\n\
                         AnonHugePages: 0 kB\n";

    #[test]
    fn pages_are_told_by_their_own_mapping() {
        let says = |address, length, pages| {
            verify(SMAPS, address, length, pages)
                .map(f64::round)
                .map_err(|f| f.message)
        };
        assert_eq!(says(0x80_0000, 2 * MIB, Pages::Huge), Ok(0.0));
        assert_eq!(says(0x20_0000, 2 * MIB, Pages::Transparent), Ok(100.0));
        assert_eq!(says(0x20_0000, 3 * MIB, Pages::Any), Ok(67.0));
        let wrong = [
            (says(0x20_0000, 4 * MIB, Pages::Transparent), "2048 of 4096 KiB"),
            (
                says(0x20_0000, 2 * MIB, Pages::Small),
                "2048 KiB of them are huge",
            ),
            (says(0x20_0000, 2 * MIB, Pages::Huge), "they have 4 KiB, not 2048"),
            (says(0x80_0000, 2 * MIB, Pages::Small), "they have 2048 KiB"),
            (says(0x60_0000, 2 * MIB, Pages::Small), "does not have them"),
            (
                verify("garbage", 0, 1, Pages::Small).map_err(|f| f.message),
                "does not have them",
            ),
        ];
        for (said, words) in wrong {
            assert!(
                said.as_ref().is_err_and(|s| s.contains(words)),
                "{said:?} {words}"
            );
        }
    }

    #[test]
    fn small_pages_are_taken_written_and_proved() {
        let mut memory = PagedMemory::take(100 * KIB + 1, Pages::Small).unwrap();
        memory.words().fill(1);
        assert_eq!(memory.words().len() * 8, 104 * KIB);
        memory.verify().unwrap();
    }

    #[test]
    fn what_does_not_fit_is_refused_and_says_what_is_needed() {
        let failure = PagedMemory::take(1 << 45, Pages::Small).unwrap_err();
        assert!(failure.message.contains("do not fit"), "{failure:?}");
        let failure = PagedMemory::take(1 << 45, Pages::Huge).unwrap_err();
        assert_eq!(failure.exit, NO_PAGES);
        assert!(
            failure
                .message
                .contains("it takes 16777216 of the guest's pages of 2 MiB"),
            "{failure:?}"
        );
        assert!(failure.message.contains("echo 16777216 > /sys/"), "{failure:?}");
    }
}
