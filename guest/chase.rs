//! The latency of memory by the size of the working set: loads that each depend on the one before, in an order that no
//! prefetcher guesses.
//!
//! The lines of the working set are linked into one random cycle, so that each is visited once before any is visited
//! again (after `lat_mem_rd` of lmbench; `McVoy` and Staelin, 1996).

use super::Failure;
use super::options::Options;
use super::pages::{PagedMemory, Pages};
use std::fmt::Write;
use std::hint::black_box;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// Bytes of a cache line.
const LINE: usize = 64;
const WORDS: usize = LINE / size_of::<usize>();

const SMALLEST: u64 = 1 << 10;
const LARGEST: u64 = 1 << 40;
const MAX_SIZES: usize = 16;

/// Far longer than a look at the clock, far shorter than what a scheduler gives to others: most batches are then not
/// interrupted on a busy machine either, and the median is one of these.
const BATCH: Duration = Duration::from_micros(200);
/// A median of fewer says little; memory for more is not needed.
const BATCHES: std::ops::RangeInclusive<u32> = 5..=4000;

/// Bytes of one working set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size(usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let factor: u64 = match &text[digits.len()..] {
            "" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            unit => return Err(format!("no such unit: {unit:?}; write KiB, MiB or GiB")),
        };
        let number: u64 = digits.parse().map_err(|e| format!("{digits:?}: {e}"))?;
        let bytes = number.checked_mul(factor).filter(|bytes| *bytes <= LARGEST);
        let bytes = bytes.ok_or("more than 1024 GiB")?;
        if bytes < SMALLEST || bytes % SMALLEST != 0 {
            return Err("a working set is one or more whole KiB".into());
        }
        usize::try_from(bytes).map(Self).map_err(|e| e.to_string())
    }
}

impl Size {
    /// As in names of metrics: `16kib`.
    fn label(self) -> String {
        let units = [("gib", 1 << 30), ("mib", 1 << 20), ("kib", 1 << 10)];
        let unit = units.iter().find(|(_, bytes)| self.0.is_multiple_of(*bytes));
        unit.map_or_else(String::new, |(unit, bytes)| format!("{}{unit}", self.0 / bytes))
    }
}

#[derive(Debug)]
struct Order {
    sizes: Vec<Size>,
    pages: Pages,
    time: Duration,
    seed: u64,
}

/// In KiB, of memory that is in transparent huge pages by the `share`. Never 0, unlike the share, so that ratios of it can be
/// told.
fn mean_page(pages: Pages, share: f64) -> f64 {
    let ordinary = match pages {
        Pages::Huge => 2048.0,
        Pages::Gigantic => 1_048_576.0,
        Pages::Any | Pages::Small | Pages::Transparent => 4.0,
    };
    ((1.0 - share) / ordinary + share / 2048.0).recip()
}

/// Measures every size for its share of the time; gives `latency_16kib_ns` for each, `latency_ns` where there is one
/// only, `loads`, and `transparent_percent`: how much of the memory was of transparent huge pages; and
/// `page_kib`, the mean size of its pages.
pub(crate) fn run(arguments: &[String]) -> Result<String, Failure> {
    let order = order(arguments)?;
    let largest = order.sizes.iter().map(|size| size.0).max().unwrap_or(0);
    let mut memory = PagedMemory::take(largest, order.pages)?;
    memory.words().fill(0);
    memory.verify()?;
    let share = order.time / u32::try_from(order.sizes.len()).unwrap_or(u32::MAX);
    let (mut text, mut loads) = (String::from("{"), 0);
    for size in &order.sizes {
        let words = &mut memory.words()[..size.0 / size_of::<usize>()];
        link(words, &mut Random(order.seed));
        let measured = measure(words, share);
        loads += measured.loads;
        let name = match &order.sizes[..] {
            [_] => "latency_ns".to_string(),
            _ => format!("latency_{}_ns", size.label()),
        };
        let _ = write!(text, "\"{name}\": {:.4}, ", measured.nanoseconds);
    }
    // Pages may have been swapped, split or joined meanwhile.
    let huge = memory.verify()?;
    let page = mean_page(order.pages, huge / 100.0);
    let _ = write!(
        text,
        "\"loads\": {loads}, \"transparent_percent\": {huge:.2}, \"page_kib\": {page:.1}}}"
    );
    Ok(text)
}

fn order(arguments: &[String]) -> Result<Order, Failure> {
    let options = Options::read("chase", arguments, &[], &["bytes", "page", "time", "seed"])?;
    let mut sizes = Vec::new();
    for text in options.required("bytes")?.split(',') {
        let size: Size = text
            .parse()
            .map_err(|why| options.wrong(format_args!("--bytes {text:?}: {why}")))?;
        if sizes.contains(&size) {
            return Err(options.wrong(format_args!("--bytes has {text} twice")));
        }
        sizes.push(size);
    }
    if sizes.len() > MAX_SIZES {
        return Err(options.wrong(format_args!("--bytes has more than {MAX_SIZES} sizes")));
    }
    Ok(Order {
        sizes,
        pages: options.parsed("page")?,
        time: Duration::from_secs(options.number("time", None, 1..=86_400)?),
        seed: options.number("seed", Some(1), 0..=u64::MAX)?,
    })
}

/// splitmix64 (Steele, Lea & Flood 2014): the same seed gives the same cycle.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`, by the high half of a product (Lemire 2019, without the rejection: `bound` is far
    /// below 2^64).
    fn below(&mut self, bound: usize) -> usize {
        let product = u128::from(self.next()) * bound as u128;
        usize::try_from(product >> 64).unwrap_or(0)
    }
}

/// Writes into the first word of each line which word to go to next: one cycle through all lines, by Sattolo's shuffle
/// (1986).
fn link(words: &mut [usize], random: &mut Random) {
    let lines = words.len() / WORDS;
    for line in 0..lines {
        words[line * WORDS] = line * WORDS;
    }
    for line in (1..lines).rev() {
        words.swap(line * WORDS, random.below(line) * WORDS);
    }
}

/// Follows the cycle for so many loads.
#[inline(never)]
fn walk(words: &[usize], from: usize, loads: u64) -> usize {
    let mut at = from;
    for _ in 0..loads {
        at = words[at];
    }
    black_box(at)
}

#[derive(Debug)]
struct Measured {
    /// Of one load, the median of batches.
    nanoseconds: f64,
    loads: u64,
}

fn measure(words: &[usize], share: Duration) -> Measured {
    let started = Instant::now();
    let batch_time = BATCH.max(share / *BATCHES.end());
    let (mut at, mut size) = (0, 1024);
    // Batches that grow to the wanted length: the caches are as they will be, and none of them counts.
    let lines = (words.len() / WORDS) as u64;
    let mut warmed = 0;
    loop {
        let batch = Instant::now();
        at = walk(words, at, size);
        warmed += size;
        let long_enough = batch.elapsed() >= batch_time;
        if long_enough && (warmed >= lines || started.elapsed() >= share / 4) {
            break;
        }
        if !long_enough {
            size *= 2;
        }
    }
    let mut batches = Vec::new();
    while started.elapsed() < share || batches.len() < *BATCHES.start() as usize {
        let batch = Instant::now();
        at = walk(words, at, size);
        batches.push(batch.elapsed().as_secs_f64() * 1e9 / size as f64);
    }
    let loads = size * batches.len() as u64;
    Measured {
        nanoseconds: median(&mut batches),
        loads,
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let half = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[half - 1], values[half])
    } else {
        values[half]
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_links_are_one_cycle_through_all_lines(lines in 1_usize..2000, seed: u64) {
            let mut words = vec![0; lines * WORDS];
            link(&mut words, &mut Random(seed));
            let mut seen = vec![false; lines];
            let mut at: usize = 0;
            for _ in 0..lines {
                prop_assert!(at.is_multiple_of(WORDS) && !seen[at / WORDS]);
                seen[at / WORDS] = true;
                at = words[at];
            }
            prop_assert_eq!(at, 0);
            prop_assert_eq!(walk(&words, 0, lines as u64 * 2), 0);
        }
    }

    #[test]
    fn the_seed_makes_the_order_and_no_order_is_the_plain_one() {
        let linked = |seed| {
            let mut words = vec![0; 512 * WORDS];
            link(&mut words, &mut Random(seed));
            words
        };
        assert_eq!(linked(1), linked(1));
        assert_ne!(linked(1), linked(2));
        let words = linked(1);
        let beside = (0..512).filter(|line| words[line * WORDS].abs_diff(line * WORDS) == WORDS);
        assert!(beside.count() < 20);
    }

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(String::from).collect()
    }

    #[test]
    fn sizes_give_their_names() {
        let label = |text: &str| text.parse::<Size>().map(Size::label);
        for (text, name) in [
            ("16KiB", "16kib"),
            ("4MiB", "4mib"),
            ("2048KiB", "2mib"),
            ("1536KiB", "1536kib"),
            ("65536", "64kib"),
            ("1GiB", "1gib"),
        ] {
            assert_eq!(label(text).unwrap(), name);
        }
        for text in [
            "",
            "0",
            "0KiB",
            "100",
            "KiB",
            "-1KiB",
            "1kib",
            "1.5MiB",
            "2000GiB",
            "17179869184GiB",
        ] {
            assert!(label(text).is_err(), "{text}");
        }
    }

    #[test]
    fn wrong_arguments_are_named() {
        for (line, says) in [
            ("--page 4k --time 1", "--bytes is missing"),
            ("--bytes 4KiB --time 1", "--page is missing"),
            ("--bytes 4KiB --page 4k", "--time is missing"),
            ("--bytes 4KiB --page 3m --time 1", "any, 4k, thp, 2m or 1g"),
            ("--bytes 0 --page 4k --time 1", "whole KiB"),
            ("--bytes 4KiB,,8KiB --page 4k --time 1", "--bytes \"\""),
            ("--bytes 1MiB,1024KiB --page 4k --time 1", "twice"),
            ("--bytes 1MiB --page 4k --time 0", "not from 1 to 86400"),
            ("--bytes 1MiB --page 4k --time 1 --seed x", "--seed"),
        ] {
            let failure = order(&words(line)).unwrap_err();
            assert!(
                failure.exit == 2 && failure.message.contains(says),
                "{line}: {failure:?}"
            );
        }
        let many: Vec<_> = (1..=17).map(|n| format!("{n}KiB")).collect();
        let line = format!("--bytes {} --page 4k --time 1", many.join(","));
        assert!(order(&words(&line)).unwrap_err().message.contains("more than 16"));
    }

    #[test]
    fn several_sizes_are_measured_and_named() {
        let text = run(&words("--bytes 1KiB,64KiB --page 4k --time 1")).unwrap();
        let numbers: std::collections::BTreeMap<String, f64> = serde_json::from_str(&text).unwrap();
        let names: Vec<_> = numbers.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "latency_1kib_ns",
                "latency_64kib_ns",
                "loads",
                "page_kib",
                "transparent_percent"
            ]
        );
        assert!(names[..3].iter().all(|name| numbers[*name] > 0.0), "{text}");
        // A working set that is smaller than a page lies in one.
        let text = run(&words("--bytes 4KiB --page any --time 1")).unwrap();
        assert!(text.starts_with("{\"latency_ns\": "), "{text}");
    }

    #[test]
    fn the_mean_page_is_by_number_not_by_bytes() {
        for (pages, share, kib) in [
            (Pages::Any, 0.0, 4.0),
            (Pages::Any, 1.0, 2048.0),
            (Pages::Any, 0.5, 2.0 / (0.25 + 1.0 / 2048.0)),
            (Pages::Huge, 0.0, 2048.0),
            (Pages::Gigantic, 0.0, 1_048_576.0),
        ] {
            assert!((mean_page(pages, share) - kib).abs() < 1e-6, "{pages:?} {share}");
        }
    }

    #[test]
    fn a_median_is_in_the_middle() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }
}
