//! Live limits of a domain that exclude or bound each other, and the order in which they can be set.
//!
//! Pure: what no setting names is taken from the readings.

use super::Setting;
use crate::facts::Facts;
use crate::tunable::{Address, DomainSetting, Home, ParameterGroup, Tunable};

/// The limits of a disk of which the first excludes the others.
///
/// Source: QEMU util/throttle.c, "bps/iops/max total values and read/write values cannot be used at the same time".
const THROTTLES: [[&str; 3]; 2] = [
    ["total_bytes_sec", "read_bytes_sec", "write_bytes_sec"],
    ["total_iops_sec", "read_iops_sec", "write_iops_sec"],
];

const HARD: &str = "hard_limit";
const SWAP: &str = "swap_hard_limit";

fn limit(group: ParameterGroup, field: &str) -> Address {
    Address::Domain(DomainSetting::Parameter(group, field.into()))
}

impl Tunable {
    /// The places of this tunable's limit and of those it is bounded by.
    pub(super) fn bounding(&self) -> Vec<Address> {
        let Home::Domain(DomainSetting::Parameter(group, field)) = &self.home else {
            return Vec::new();
        };
        let fields: &[&str] = match group {
            ParameterGroup::Throttle => {
                let family = THROTTLES.iter().find(|f| f.contains(&field.as_str()));
                family.map_or(&[], <[&str; 3]>::as_slice)
            }
            ParameterGroup::Memory if [HARD, SWAP].contains(&field.as_str()) => &[HARD, SWAP],
            _ => &[],
        };
        let others = fields.iter().filter(|other| *other != field);
        others.map(|other| limit(*group, other)).collect()
    }
}

/// Why limits cannot hold together; `None` when they can, or none of them is set.
pub(super) fn conflict(settings: &[Setting], facts: &Facts) -> Option<String> {
    let throttles = THROTTLES.iter().find_map(|f| exclusion(*f, settings, facts));
    throttles.or_else(|| swap_below_memory(settings, facts))
}

fn exclusion([total, read, write]: [&str; 3], settings: &[Setting], facts: &Facts) -> Option<String> {
    let limit = |field| limit(ParameterGroup::Throttle, field);
    let is_set = |field| set(settings, &limit(field)).is_some();
    if ![total, read, write].into_iter().any(is_set) {
        return None;
    }
    let value = |field| value(settings, facts, &limit(field)).unwrap_or(0);
    let other = [read, write].into_iter().find(|field| value(field) > 0)?;
    (value(total) > 0).then(|| {
        format!(
            "QEMU takes either a total limit or one of reads and writes, not {total} = {} with {other} = {}; set one \
             of them to 0",
            value(total),
            value(other)
        )
    })
}

fn swap_below_memory(settings: &[Setting], facts: &Facts) -> Option<String> {
    let [hard, swap] = [HARD, SWAP].map(|field| limit(ParameterGroup::Memory, field));
    if set(settings, &hard).is_none() && set(settings, &swap).is_none() {
        return None;
    }
    // A limit is never 0: there it was not read.
    let value = |address| value(settings, facts, address).filter(|number| *number > 0);
    let (hard, swap) = (value(&hard)?, value(&swap)?);
    (swap < hard).then(|| {
        format!(
            "domain.memory.swap-hard-limit counts memory and swap together, so {swap} KiB cannot be below \
             domain.memory.hard-limit, which is {hard} KiB; set both"
        )
    })
}

fn set<'s>(settings: &'s [Setting], address: &Address) -> Option<&'s str> {
    let found = settings.iter().rev().find(|s| s.address == *address);
    found.map(|s| s.value.as_str())
}

fn value(settings: &[Setting], facts: &Facts, address: &Address) -> Option<u64> {
    let text = set(settings, address).or_else(|| facts.reading(address))?;
    text.trim().parse().ok()
}

/// Sorts what bounds each other among the places it has.
pub(super) fn order(settings: &mut [Setting], facts: &Facts) {
    for family in THROTTLES {
        let addresses = family.map(|field| limit(ParameterGroup::Throttle, field));
        // What a limit excludes is taken away before it is set.
        sort(settings, &addresses, |s| s.value.as_str() != "0");
    }
    let addresses = [HARD, SWAP].map(|field| limit(ParameterGroup::Memory, field));
    let (hard, swap) = (set(settings, &addresses[0]), facts.reading(&addresses[1]));
    let number = |text: Option<&str>| text.and_then(|t| t.trim().parse::<u64>().ok()).filter(|n| *n > 0);
    let raises = number(swap).is_some_and(|old| number(hard).is_some_and(|new| new > old));
    let hard = addresses[0].clone();
    sort(settings, &addresses, |s| (s.address == hard) == raises);
}

/// Those of `settings` that are at `addresses`, in the order of a key, in the same places.
fn sort(settings: &mut [Setting], addresses: &[Address], key: impl Fn(&Setting) -> bool) {
    let places: Vec<_> = (0..settings.len())
        .filter(|i| addresses.contains(&settings[*i].address))
        .collect();
    let mut sorted: Vec<_> = places.iter().map(|i| settings[*i].clone()).collect();
    sorted.sort_by_key(&key);
    for (place, setting) in places.into_iter().zip(sorted) {
        settings[place] = setting;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::tunable::lookup;

    fn setting(name: &str, text: &str) -> Setting {
        let tunable = lookup(name).unwrap();
        let address = tunable.address(&Facts::default()).unwrap();
        Setting::own(address, tunable.kind.parse(text).unwrap(), tunable.kind)
    }

    fn read(name: &str, text: &str) -> Facts {
        let address = setting(name, text).address.to_string();
        Facts {
            readings: [(address, text.to_string())].into(),
            ..Facts::default()
        }
    }

    fn conflict_of(settings: &[Setting], facts: &Facts) -> Option<String> {
        Setting::conflict(settings, facts)
    }

    #[test]
    fn a_total_excludes_reads_and_writes_of_its_kind() {
        let total = setting("domain.disk.throttle.total-iops", "500");
        let read_iops = setting("domain.disk.throttle.read-iops", "100");
        let bytes = setting("domain.disk.throttle.write-bytes", "1M");
        let none = Facts::default();
        assert_eq!(conflict_of(&[total.clone(), bytes], &none), None);
        let why = conflict_of(&[total.clone(), read_iops.clone()], &none).unwrap();
        assert!(
            why.contains("total_iops_sec = 500 with read_iops_sec = 100"),
            "{why}"
        );
        let ambient = read("domain.disk.throttle.total-iops", "500");
        assert!(conflict_of(std::slice::from_ref(&read_iops), &ambient).is_some());
        let off = setting("domain.disk.throttle.total-iops", "0");
        assert_eq!(conflict_of(&[read_iops.clone(), off.clone()], &ambient), None);
        assert_eq!(conflict_of(&[], &ambient), None);

        let mut settings = vec![read_iops.clone(), total.clone(), off.clone()];
        Setting::in_safe_order(&mut settings, &ambient);
        assert_eq!(settings, [off, read_iops, total]);
    }

    #[test]
    fn memory_with_swap_is_not_less_than_memory() {
        let hard = |kib: &str| setting("domain.memory.hard-limit", kib);
        let swap = |kib: &str| setting("domain.memory.swap-hard-limit", kib);
        let unlimited = read("domain.memory.hard-limit", "9007199254740991");
        let why = conflict_of(&[swap("2000000")], &unlimited).unwrap();
        assert!(why.contains("2000000 KiB cannot be below"), "{why}");
        assert_eq!(conflict_of(&[swap("2000000"), hard("1000000")], &unlimited), None);
        assert_eq!(conflict_of(&[hard("1000000")], &Facts::default()), None);

        let order = |facts: &Facts| {
            let mut settings = vec![swap("3000000"), hard("2000000")];
            Setting::in_safe_order(&mut settings, facts);
            settings
                .into_iter()
                .map(|s| s.value.to_string())
                .collect::<Vec<_>>()
        };
        let down = read("domain.memory.swap-hard-limit", "9007199254740991");
        assert_eq!(order(&down), ["2000000", "3000000"]);
        let up = read("domain.memory.swap-hard-limit", "1500000");
        assert_eq!(order(&up), ["3000000", "2000000"]);
    }
}
